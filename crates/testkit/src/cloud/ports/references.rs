//! What of the account names images: what the model has, and what a test says beside it.

use ovenbird_core::{
    Result,
    domain::{
        id::StackId,
        reference::{Kind, Reference, images_in},
        tags::TAG_STACK,
        template::Pin,
    },
    ports::{Look, References, Source, Versions},
};
use ovenbird_sim::{
    Asked, InstanceState,
    auto_scaling::{Configuration, Group},
    launch_templates::{DescribeLaunchTemplateVersions, TemplateSpec},
};

use super::{
    super::{Cloud, State},
    pages, translate,
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
        let pins = self.pins.iter().filter(|(of, _)| *of == source);
        look.pins.extend(pins.map(|(_, pin)| pin.clone()));
        look.seen = self.seen.get(&source).copied().unwrap_or(look.seen);
        look
    }

    fn templates(&self, versions: Versions, stack: &StackId) -> Result<Look> {
        let mut look = Look::default();
        let world = self.shown(Asked::Templates);
        for template in world.launch_templates() {
            look.seen += 1;
            if template.tags.get(TAG_STACK).map(String::as_str) == Some(stack.as_str()) {
                look.ours.extend(template.name.parse());
            }
            let mut request = DescribeLaunchTemplateVersions {
                template: TemplateSpec { id: Some(template.id.clone()), ..TemplateSpec::default() },
                ..DescribeLaunchTemplateVersions::default()
            };
            if versions == Versions::NewestAndDefault {
                request.versions = vec!["$Latest".to_owned(), "$Default".to_owned()];
            }
            let page = world.describe_launch_template_versions(&request);
            let page = page
                .map_err(|error| translate("ec2:DescribeLaunchTemplateVersions", &template.name, &error))?;
            assert!(
                page.next_token.is_none(),
                "a test's template has so many versions that they need a page"
            );
            for version in page.items {
                let image = version.data.image.unwrap_or_default();
                let mut reference = Reference::version(&template.name, version.number);
                let value = match image.strip_prefix(ALIAS) {
                    Some(name) => {
                        reference.id = format!("{}, by parameter {name}", reference.id);
                        let known = self.parameters.iter().find(|(known, _)| known.as_str() == name);
                        known.map(|(_, value)| value.clone()).unwrap_or_default()
                    }
                    None => image,
                };
                look.named.extend(images_in(&value).map(|image| (image, reference.clone())));
            }
        }
        Ok(look)
    }

    fn groups(&self) -> Look {
        let mut look = Look::default();
        let mut note = |group: &Group, configuration: &Configuration| {
            let by = format!("group {}", group.name);
            let policy = match configuration {
                Configuration::Template(spec) => {
                    look.pins.extend(pin(spec, &by));
                    return;
                }
                Configuration::Mixed(policy) => policy,
            };
            let own = policy.overrides.iter().filter_map(|one| one.template.as_ref());
            look.pins.extend(own.chain([&policy.template]).filter_map(|spec| pin(spec, &by)));
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
        for group in self.world.auto_scaling_groups() {
            let by = format!("group {}", group.name);
            look.pins.extend(group.members.iter().filter_map(|member| pin(&member.template, &by)));
        }
        look.seen = seen;
        look
    }
}

/// What is launched by a version, if it is named by its number.
fn pin(spec: &TemplateSpec, by: &str) -> Option<Pin> {
    let template = spec.id.clone().or(spec.name.clone())?;
    let version = spec.version.as_ref()?.parse().ok()?;
    Some(Pin { template, version, by: by.to_owned() })
}

impl References for Cloud {
    async fn named_by_instances(&self) -> Result<Look> {
        self.call(&["ec2:DescribeInstances"], |state| {
            let world = state.shown(Asked::Instances);
            let all = pages(|paging| world.describe_instances(state.now, &[], &[], paging), |one| one);
            let all = all.map_err(|error| translate("ec2:DescribeInstances", "", &error))?;
            let going = [InstanceState::ShuttingDown, InstanceState::Terminated];
            let alive = all.into_iter().filter(|one| !going.contains(&one.state));
            let mut look = Look::default();
            for one in alive {
                let tag = |key: &str| one.tags.get(key).cloned();
                let spec = TemplateSpec {
                    id: tag("aws:ec2launchtemplate:id"),
                    name: None,
                    version: tag("aws:ec2launchtemplate:version"),
                };
                look.pins.extend(pin(&spec, &format!("instance {}", one.id)));
                look.named.push((one.image, Reference::new(Kind::Instance, one.id.as_str())));
            }
            look.seen = look.named.len();
            Ok(state.seen(Source::Instances, look))
        })
        .await
    }

    async fn named_by_launch_templates(&self, versions: Versions) -> Result<Look> {
        let actions =
            &["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions", "ssm:GetParameters"];
        self.call(actions, |state| {
            Ok(state.seen(Source::LaunchTemplates, state.templates(versions, &self.stack)?))
        })
        .await
    }

    async fn named_by_groups(&self) -> Result<Look> {
        let actions = &[
            "autoscaling:DescribeAutoScalingGroups",
            "autoscaling:DescribeInstanceRefreshes",
            "ssm:GetParameters",
        ];
        self.call(actions, |state| Ok(state.seen(Source::AutoScalingGroups, state.groups()))).await
    }

    async fn named_by_launch_configurations(&self) -> Result<Look> {
        self.call(&["autoscaling:DescribeLaunchConfigurations", "ssm:GetParameters"], |state| {
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
        self.call(&["ec2:DescribeSpotFleetRequests", "ssm:GetParameters"], |state| {
            Ok(state.seen(Source::SpotFleets, Look::default()))
        })
        .await
    }

    async fn named_by_parameters(&self) -> Result<Look> {
        self.call(&["ssm:DescribeParameters", "ssm:GetParameters"], |state| {
            let mut look = Look { seen: state.parameters.len(), ..Look::default() };
            for (name, value) in &state.parameters {
                let by = || Reference::new(Kind::Parameter, name.as_str());
                look.named.extend(images_in(value).map(|image| (image, by())));
            }
            Ok(state.seen(Source::Parameters, look))
        })
        .await
    }
}
