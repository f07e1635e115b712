//! What of the account names images: what the model has, and what a test says beside it.

use ovenbird_core::{
    Result,
    domain::reference::{Kind, Reference, images_in},
    ports::{Look, References, Source, Versions},
};
use ovenbird_sim::{
    InstanceState, Paging,
    auto_scaling::{Configuration, Group},
    launch_templates::{DescribeLaunchTemplateVersions, TemplateSpec},
};

use super::{
    super::{Cloud, State},
    translate,
};

/// What an image's name begins with where it is a parameter's.
const ALIAS: &str = "resolve:ssm:";

impl State {
    /// A look at a kind of thing: what the model has of it, and what a test says beside it.
    fn seen(&self, source: Source, mut look: Look) -> Look {
        let beside = self.references.iter().filter(|(of, ..)| *of == source);
        for (_, image, reference) in beside {
            look.seen += 1;
            look.named.push((image.clone(), reference.clone()));
        }
        look.seen = self.seen.get(&source).copied().unwrap_or(look.seen);
        look
    }

    fn templates(&self, versions: Versions) -> Result<Look> {
        let mut look = Look::default();
        for template in self.world.launch_templates() {
            look.seen += 1;
            let mut request = DescribeLaunchTemplateVersions {
                template: TemplateSpec { id: Some(template.id.clone()), ..TemplateSpec::default() },
                ..DescribeLaunchTemplateVersions::default()
            };
            if versions == Versions::NewestAndDefault {
                request.versions = vec!["$Latest".to_owned(), "$Default".to_owned()];
            }
            let page = self.world.describe_launch_template_versions(&request);
            let page = page
                .map_err(|error| translate("ec2:DescribeLaunchTemplateVersions", &template.name, &error))?;
            assert!(
                page.next_token.is_none(),
                "a test's template has so many versions that they need a page"
            );
            for version in page.items {
                let id = format!("{} version {}", template.name, version.number);
                let image = version.data.image.unwrap_or_default();
                let value = match image.strip_prefix(ALIAS) {
                    Some(name) => {
                        let known = self.parameters.iter().find(|(known, _)| known.as_str() == name);
                        known.map(|(_, value)| value.clone()).unwrap_or_default()
                    }
                    None => image,
                };
                let named = images_in(&value).map(|image| (image, Reference::new(Kind::LaunchTemplate, &id)));
                look.named.extend(named);
            }
        }
        Ok(look)
    }

    fn groups(&self) -> Look {
        let mut look = Look::default();
        let mut note = |group: &Group, configuration: &Configuration| {
            let Configuration::Mixed(policy) = configuration else { return };
            for image in policy.overrides.iter().filter_map(|one| one.image.as_deref()) {
                let named = images_in(image)
                    .map(|image| (image, Reference::new(Kind::AutoScalingGroup, &group.name)));
                look.named.extend(named);
            }
        };
        let mut seen = 0;
        for group in self.world.auto_scaling_groups() {
            seen += 1;
            note(group, &group.configuration);
            // What a refresh under way launches; the group has it when the refresh has ended.
            note(group, group.launching());
        }
        look.seen = seen;
        look
    }
}

impl References for Cloud {
    async fn named_by_instances(&self) -> Result<Look> {
        self.call(&["ec2:DescribeInstances"], |state| {
            let page = state.world.describe_instances(state.now, &[], &[], &Paging::default());
            let page = page.map_err(|error| translate("ec2:DescribeInstances", "", &error))?;
            let going = [InstanceState::ShuttingDown, InstanceState::Terminated];
            let alive = page.items.into_iter().filter(|one| !going.contains(&one.state));
            let named = alive.map(|one| (one.image, Reference::new(Kind::Instance, one.id.as_str())));
            let named: Vec<_> = named.collect();
            Ok(state.seen(Source::Instances, Look { seen: named.len(), named }))
        })
        .await
    }

    async fn named_by_launch_templates(&self, versions: Versions) -> Result<Look> {
        let actions =
            &["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", "ssm:GetParameters"];
        self.call(actions, |state| Ok(state.seen(Source::LaunchTemplates, state.templates(versions)?))).await
    }

    async fn named_by_groups(&self) -> Result<Look> {
        let actions = &["autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeInstanceRefreshes"];
        self.call(actions, |state| Ok(state.seen(Source::AutoScalingGroups, state.groups()))).await
    }

    async fn named_by_launch_configurations(&self) -> Result<Look> {
        self.call(&["autoscaling:DescribeLaunchConfigurations"], |state| {
            Ok(state.seen(Source::LaunchConfigurations, Look::default()))
        })
        .await
    }

    async fn named_by_fleets(&self) -> Result<Look> {
        self.call(&["ec2:DescribeFleets", "ssm:GetParameters"], |state| {
            Ok(state.seen(Source::Fleets, Look::default()))
        })
        .await
    }

    async fn named_by_spot_fleets(&self) -> Result<Look> {
        self.call(&["ec2:DescribeSpotFleetRequests"], |state| {
            Ok(state.seen(Source::SpotFleets, Look::default()))
        })
        .await
    }

    async fn named_by_parameters(&self) -> Result<Look> {
        self.call(&["ssm:DescribeParameters", "ssm:GetParameters"], |state| {
            let mut look = Look { seen: state.parameters.len(), named: Vec::new() };
            for (name, value) in &state.parameters {
                let by = || Reference::new(Kind::Parameter, name.as_str());
                look.named.extend(images_in(value).map(|image| (image, by())));
            }
            Ok(state.seen(Source::Parameters, look))
        })
        .await
    }
}
