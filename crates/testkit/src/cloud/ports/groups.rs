//! Auto Scaling groups, launch templates, target groups and alarms, by the model.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::{
        error::{Error, Retry},
        id::{AmiId, GroupName, TemplateName},
        rollout::{self, AlarmState, Launched, Launches, RefreshState, Sizes, Template},
        tags::TAG_STACK,
        template::{LaunchTemplate, Version, description},
    },
    ports::{GoesBack, Groups, LAUNCHING, RefreshOrder, Templates},
};
use ovenbird_sim::{
    ApiError, Asked, Filter, Paging, Subnet, World,
    alarms::DescribeAlarms,
    auto_scaling::{
        self, ActivityStatus, Configuration, MixedInstancesPolicy, UpdateGroup,
        refresh::{RefreshPreferences, RefreshStatus, StartInstanceRefresh, WhenFound},
    },
    launch_templates::{
        CreateLaunchTemplateVersion, DescribeLaunchTemplates, LaunchTemplateData, LaunchTemplateVersion,
        TemplateSpec,
    },
    load_balancing::TargetState,
};

use super::{super::Cloud, translate};

/// A group of the model in core's words.
fn group_of(world: &World, group: &auto_scaling::Group, stack: &str) -> rollout::Group {
    let version = |spec: &TemplateSpec| Some((spec.id.clone()?, spec.version.as_ref()?.parse().ok()?));
    let pinned = |spec: &TemplateSpec| match version(spec) {
        Some((id, version)) => template(world, &id, version).map_or_else(
            || Launches::Unpinned { what: "a template that is gone".into(), fix: String::new() },
            Launches::Template,
        ),
        None => Launches::Unpinned { what: "no version by its number".into(), fix: String::new() },
    };
    let overrides = group.configuration.overrides();
    let told = overrides.iter().map(|one| rollout::Override {
        template: one.template.is_some(),
        image: one.image.is_some(),
        attributes: one.requirements.is_some(),
    });
    let launches = Launches::mixed(pinned(group.configuration.base()), &told.collect::<Vec<_>>());
    rollout::Group {
        name: GroupName::parse(&group.name).expect("the walk names its groups"),
        launches,
        min: group.min_size,
        max: group.max_size,
        desired: group.desired,
        members: group
            .members
            .iter()
            .map(|member| rollout::Member {
                instance: member.instance.clone(),
                version: version(&member.template),
                lifecycle: member.lifecycle.as_str().to_owned(),
                healthy: member.unhealthy.is_none(),
            })
            .collect(),
        target_groups: group.target_groups.clone(),
        suspended: group.suspended.keys().map(|process| process.as_str().to_owned()).collect(),
        subnets: group.subnets.clone(),
        warm_pool: false,
        weighted: overrides.iter().any(|one| one.weight.is_some()),
        ours: group.tags.get(TAG_STACK).is_some_and(|of| of == stack),
    }
}

/// What a group launches now, with this version.
fn launching(world: &World, group: &GroupName, to: &Template) -> Configuration {
    let spec = TemplateSpec::of(&to.id, to.version);
    match world.auto_scaling_group(group.as_str()).map(|group| group.configuration.clone()) {
        Ok(Configuration::Mixed(policy)) => {
            Configuration::Mixed(MixedInstancesPolicy { template: spec, ..policy })
        }
        Ok(Configuration::Template(_)) | Err(_) => Configuration::Template(spec),
    }
}

fn template(world: &World, id: &str, version: u64) -> Option<Template> {
    let found = world.launch_templates().find(|one| one.id == id || one.name == id)?;
    Some(Template { id: found.id.clone(), name: found.name.clone(), version })
}

fn state_of(status: RefreshStatus) -> RefreshState {
    match status {
        RefreshStatus::Pending | RefreshStatus::InProgress | RefreshStatus::Baking => RefreshState::Running,
        RefreshStatus::RollbackInProgress => RefreshState::RollingBack,
        RefreshStatus::Cancelling => RefreshState::Cancelling,
        RefreshStatus::Successful => RefreshState::Successful,
        RefreshStatus::RollbackSuccessful => RefreshState::RolledBack,
        RefreshStatus::Failed | RefreshStatus::Cancelled | RefreshStatus::RollbackFailed => {
            RefreshState::Failed
        }
    }
}

impl Groups for Cloud {
    async fn group(&self, name: &GroupName) -> Result<Option<rollout::Group>> {
        let stack = self.stack.to_string();
        self.call(&["autoscaling:DescribeAutoScalingGroups"], |state| {
            let group = state.world.auto_scaling_groups().find(|group| group.name == name.as_str());
            Ok(group.filter(|group| !group.deleting).map(|group| group_of(&state.world, group, &stack)))
        })
        .await
    }

    async fn newest_refresh(&self, group: &GroupName) -> Result<Option<rollout::Refresh>> {
        self.call(&["autoscaling:DescribeInstanceRefreshes"], |state| {
            let found = state.world.describe_instance_refreshes(group.as_str(), &[], &Paging::default());
            let found = found.map_err(|error| {
                translate("autoscaling:DescribeInstanceRefreshes", group.as_str(), &error)
            })?;
            Ok(found.items.into_iter().next().map(|one| rollout::Refresh {
                id: one.id.clone(),
                state: state_of(one.status),
                status: one.status.as_str().to_owned(),
                reason: one.reason.clone().unwrap_or_default(),
                percent: one.percentage,
                desired: one.desired.as_ref().map(Configuration::base).and_then(|spec| {
                    spec.id.clone().zip(spec.version.as_ref().and_then(|version| version.parse().ok()))
                }),
            }))
        })
        .await
    }

    async fn failed_launch(
        &self,
        group: &GroupName,
        since: Timestamp,
    ) -> Result<Option<rollout::FailedLaunch>> {
        let operation = "autoscaling:DescribeScalingActivities";
        self.call(&[operation], |state| {
            let paging = Paging { max_results: Some(100), ..Paging::default() };
            let found = state.world.describe_scaling_activities(Some(group.as_str()), &[], &paging);
            let found = found.map_err(|error| translate(operation, group.as_str(), &error))?;
            let launches = found
                .items
                .into_iter()
                .filter(|one| one.description.starts_with(LAUNCHING) && one.started >= since);
            let ended = launches.filter_map(|one| {
                let succeeded = match one.status {
                    ActivityStatus::Successful => true,
                    ActivityStatus::Failed => false,
                    _ => return None,
                };
                Some((one.started, succeeded, one.message.unwrap_or_default()))
            });
            Ok(rollout::FailedLaunch::of(ended))
        })
        .await
    }

    async fn free_addresses(&self, subnets: &[String]) -> Result<BTreeMap<String, u32>> {
        self.call(&["ec2:DescribeSubnets"], |state| {
            let only = [Filter { name: "subnet-id".into(), values: subnets.to_vec() }];
            let found = state.world.describe_subnets(&[], &only);
            let found =
                found.map_err(|error| translate("ec2:DescribeSubnets", &subnets.join(" "), &error))?;
            let free = |subnet: Subnet| (subnet.id.clone(), state.world.free_addresses(&subnet));
            Ok(found.into_iter().map(free).collect())
        })
        .await
    }

    async fn start_refresh(&self, order: &RefreshOrder) -> Result<String> {
        self.call(&["autoscaling:DescribeAutoScalingGroups", "autoscaling:StartInstanceRefresh"], |state| {
            let preferences = RefreshPreferences {
                min_healthy: Some(100),
                max_healthy: Some(200),
                skip_matching: true,
                auto_rollback: order.auto_rollback,
                protected: Some(WhenFound::Replace),
                standby: Some(WhenFound::Ignore),
                checkpoints: order.percent.into_iter().collect(),
                checkpoint_delay: order.percent.map(|_| 0),
                alarms: order.alarms.clone(),
                ..RefreshPreferences::default()
            };
            let desired = launching(&state.world, &order.group, &order.to);
            let request =
                StartInstanceRefresh { group: order.group.to_string(), desired: Some(desired), preferences };
            let now = state.now;
            match state.world.start_instance_refresh(now, &request) {
                Ok(id) => Ok(id),
                Err(ApiError { code: "InstanceRefreshInProgress", .. }) => {
                    Err(Error::TryAgain { what: "the refresh".into(), why: Retry::Unseen })
                }
                Err(error) => {
                    Err(translate("autoscaling:StartInstanceRefresh", order.group.as_str(), &error))
                }
            }
        })
        .await
    }

    async fn roll_back_refresh(&self, group: &GroupName) -> Result<GoesBack> {
        self.call(&["autoscaling:RollbackInstanceRefresh"], |state| {
            let now = state.now;
            match state.world.rollback_instance_refresh(now, group.as_str()) {
                Ok(_) => Ok(GoesBack::Yes),
                Err(ApiError { code: "ActiveInstanceRefreshNotFound", .. }) => Ok(GoesBack::None),
                Err(ApiError { code: "IrreversibleInstanceRefresh", .. }) => Ok(GoesBack::Never),
                Err(error) => Err(translate("autoscaling:RollbackInstanceRefresh", group.as_str(), &error)),
            }
        })
        .await
    }

    async fn cancel_refresh(&self, group: &GroupName) -> Result<()> {
        self.call(&["autoscaling:CancelInstanceRefresh"], |state| {
            match state.world.cancel_instance_refresh(group.as_str(), true) {
                Ok(_) | Err(ApiError { code: "ActiveInstanceRefreshNotFound", .. }) => Ok(()),
                Err(error) => Err(translate("autoscaling:CancelInstanceRefresh", group.as_str(), &error)),
            }
        })
        .await
    }

    async fn change(
        &self,
        group: &GroupName,
        template: Option<&Template>,
        sizes: Option<Sizes>,
    ) -> Result<()> {
        self.call(&["autoscaling:DescribeAutoScalingGroups", "autoscaling:UpdateAutoScalingGroup"], |state| {
            let configuration = template.map(|one| launching(&state.world, group, one));
            let change = UpdateGroup {
                configuration,
                min_size: sizes.map(|sizes| sizes.min),
                max_size: sizes.map(|sizes| sizes.max),
                desired: sizes.map(|sizes| sizes.desired),
                ..UpdateGroup::default()
            };
            let changed = state.world.update_auto_scaling_group(group.as_str(), &change);
            changed
                .map(drop)
                .map_err(|error| translate("autoscaling:UpdateAutoScalingGroup", group.as_str(), &error))
        })
        .await
    }

    async fn targets(&self, target_group: &str) -> Result<Vec<rollout::Target>> {
        self.call(&["elasticloadbalancing:DescribeTargetHealth"], |state| {
            let found = match state.world.describe_target_health(target_group, &[]) {
                Err(error) if error.code == "TargetGroupNotFound" => return Ok(Vec::new()),
                found => found.map_err(|error| {
                    translate("elasticloadbalancing:DescribeTargetHealth", target_group, &error)
                })?,
            };
            Ok(found
                .into_iter()
                .map(|target| rollout::Target {
                    instance: target.instance.parse().expect("the model registers instances"),
                    state: match target.health.state {
                        TargetState::Initial => rollout::TargetState::Initial,
                        TargetState::Healthy => rollout::TargetState::Healthy,
                        TargetState::Unhealthy => rollout::TargetState::Unhealthy,
                        TargetState::Draining => rollout::TargetState::Draining,
                        TargetState::Unused => rollout::TargetState::Unused,
                    },
                    silent: matches!(
                        target.health.reason,
                        Some("Target.Timeout" | "Target.FailedHealthChecks")
                    ),
                    reason: target.health.reason.unwrap_or_default().to_owned(),
                    anomalous: target.anomaly.anomalous,
                })
                .collect())
        })
        .await
    }

    async fn alarms(&self, names: &[String]) -> Result<Vec<(String, AlarmState)>> {
        self.call(&["cloudwatch:DescribeAlarms"], |state| {
            let mut found = Vec::new();
            for composite in [false, true] {
                let request = DescribeAlarms {
                    names: names.to_vec(),
                    composite: Some(composite),
                    ..DescribeAlarms::default()
                };
                let page = state.world.describe_alarms(&request);
                found.extend(
                    page.map_err(|error| translate("cloudwatch:DescribeAlarms", "the alarms", &error))?.items,
                );
            }
            Ok(names
                .iter()
                .map(|name| {
                    let alarm = found.iter().find(|alarm| alarm.name == *name).map(|alarm| alarm.state);
                    let state = match alarm {
                        Some(ovenbird_sim::alarms::AlarmState::Ok) => AlarmState::Ok,
                        Some(ovenbird_sim::alarms::AlarmState::Alarm) => AlarmState::Alarm,
                        Some(ovenbird_sim::alarms::AlarmState::InsufficientData) => {
                            AlarmState::InsufficientData
                        }
                        None => AlarmState::Missing,
                    };
                    (name.clone(), state)
                })
                .collect())
        })
        .await
    }
}

/// A version of the model in core's words.
fn version_of(version: &LaunchTemplateVersion) -> Version {
    Version {
        number: version.number,
        image: version.data.image.as_deref().and_then(|image| AmiId::parse(image).ok()),
        description: version.description.clone().unwrap_or_default(),
        created: version.created,
    }
}

/// The image of a version, if it names one by its id.
fn image_of(world: &World, id: &str, version: u64) -> Option<AmiId> {
    let template = world.launch_templates().find(|one| one.id == id)?;
    AmiId::parse(template.version(version)?.data.image.as_deref()?).ok()
}

impl Templates for Cloud {
    async fn default_version(&self, name: &TemplateName) -> Result<Option<(Template, Option<AmiId>)>> {
        self.call(&["ec2:DescribeLaunchTemplateVersions"], |state| {
            let request = DescribeLaunchTemplates {
                names: vec![name.to_string()],
                ..DescribeLaunchTemplates::default()
            };
            let world = state.shown(Asked::Templates);
            let Ok(page) = world.describe_launch_templates(&request) else { return Ok(None) };
            let Some(found) = page.items.into_iter().next() else { return Ok(None) };
            let image = image_of(world, &found.id, found.default_version);
            let version = found.default_version;
            Ok(Some((Template { id: found.id, name: name.to_string(), version }, image)))
        })
        .await
    }

    async fn launched(&self, template: &Template) -> Result<Option<Launched>> {
        self.call(&["ec2:DescribeLaunchTemplateVersions"], |state| {
            let found = state.shown(Asked::Templates).launch_templates().find(|one| one.id == template.id);
            Ok(found.and_then(|one| one.version(template.version)).map(|version| Launched {
                image: version_of(version).image,
                by_attributes: version.data.requirements.is_some(),
            }))
        })
        .await
    }

    async fn every_version(&self, name: &TemplateName) -> Result<Option<LaunchTemplate>> {
        let stack = self.stack.to_string();
        self.call(&["ec2:DescribeLaunchTemplates", "ec2:DescribeLaunchTemplateVersions"], |state| {
            let mut templates = state.shown(Asked::Templates).launch_templates();
            let found = templates.find(|one| one.name == name.as_str());
            Ok(found.map(|found| LaunchTemplate {
                id: found.id.clone(),
                name: name.clone(),
                ours: found.tags.get(TAG_STACK) == Some(&stack),
                default: found.default_version,
                versions: found.versions().map(version_of).collect(),
            }))
        })
        .await
    }

    async fn with_image(&self, template: &Template, image: &AmiId, token: &str) -> Result<Template> {
        self.call(&["ec2:CreateLaunchTemplateVersion"], |state| {
            let request = CreateLaunchTemplateVersion {
                template: TemplateSpec { id: Some(template.id.clone()), name: None, version: None },
                source_version: Some(template.version.to_string()),
                description: Some(description(image)),
                data: LaunchTemplateData { image: Some(image.to_string()), ..LaunchTemplateData::default() },
                client_token: Some(token.to_owned()),
                dry_run: false,
            };
            let now = state.now;
            let made = state.world.create_launch_template_version(now, &request);
            let made =
                made.map_err(|error| translate("ec2:CreateLaunchTemplateVersion", &template.name, &error))?;
            Ok(Template { version: made.number, ..template.clone() })
        })
        .await
    }

    async fn make_default(&self, template: &Template) -> Result<()> {
        self.call(&["ec2:ModifyLaunchTemplate"], |state| {
            let spec = TemplateSpec { id: Some(template.id.clone()), name: None, version: None };
            // A version that was just made may not be there yet for the call that names it.
            let known = state.shown(Asked::Templates).launch_templates().find(|one| one.id == template.id);
            if known.is_some_and(|known| known.version(template.version).is_none())
                && image_of(&state.world, &template.id, template.version).is_some()
            {
                return Err(Error::TryAgain { what: template.name.clone(), why: Retry::Unseen });
            }
            let changed = state.world.modify_launch_template(&spec, &template.version.to_string(), false);
            changed.map(drop).map_err(|error| translate("ec2:ModifyLaunchTemplate", &template.name, &error))
        })
        .await
    }
}
