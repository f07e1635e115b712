//! A group launches an instance.

use jiff::{SignedDuration, Timestamp};

use super::{
    Activity, ActivityStatus, Configuration, Group, Lifecycle, Member, checks::not_found,
    configuration::Choice,
};
use crate::{
    ApiError, Instance, Result, RunInstances, Tags, World,
    launch_templates::{TemplateSpec, aws_tags},
};

/// After a launch that failed, the next one is tried after so long. AWS documents no figure.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

impl World {
    /// Launches one instance, in the emptiest zone that has what it takes. A launch that fails is a failed activity.
    /// Gives the units of capacity that it is.
    pub(super) fn launch_member(&mut self, now: Timestamp, group: &mut Group, cause: &str) -> Option<u32> {
        let configuration = group.launching().clone();
        let activity = Activity {
            id: self.scaling_id("activity"),
            group: group.name.clone(),
            instance: None,
            description: "Launching a new EC2 instance".into(),
            cause: cause.to_owned(),
            started: now,
            ended: None,
            status: ActivityStatus::PreInService,
            message: None,
            progress: 30,
        };
        match self.try_launch(now, group, &configuration) {
            Ok((instance, choice)) => {
                let description = format!("Launching a new EC2 instance: {}", instance.id);
                let activity = Activity { instance: Some(instance.id.clone()), description, ..activity };
                let activity = Some(group.begin(activity));
                let version = &choice.version;
                group.members.push(Member {
                    instance: instance.id,
                    instance_type: instance.instance_type,
                    zone: instance.zone,
                    image: instance.image,
                    template: TemplateSpec {
                        id: Some(version.template.clone()),
                        name: Some(version.name.clone()),
                        version: Some(version.number.to_string()),
                    },
                    weight: choice.weight,
                    lifecycle: Lifecycle::Pending,
                    unhealthy: None,
                    protected: group.protects_new_instances,
                    launched: now,
                    in_service: None,
                    waits: Vec::new(),
                    activity,
                });
                Some(choice.weight)
            }
            Err(error) => {
                let id = group.begin(activity);
                let message = format!("{} Launching EC2 instance failed.", error.message);
                group.note(now, Some(&id), ActivityStatus::Failed, Some(message));
                group.launch_failed(now);
                None
            }
        }
    }

    fn try_launch(
        &mut self,
        now: Timestamp,
        group: &Group,
        configuration: &Configuration,
    ) -> Result<(Instance, Choice)> {
        for arn in &group.target_groups {
            self.target_group(arn).map_err(|_| not_found(arn))?;
        }
        let choices = self.choices(configuration)?;
        let mut subnets: Vec<_> =
            self.subnets.iter().filter(|one| group.subnets.contains(&one.id)).cloned().collect();
        let size = |zone: &str| {
            group.members.iter().filter(|member| member.lifecycle.counts() && member.zone == zone).count()
        };
        subnets.sort_by_key(|subnet| size(&subnet.zone));
        let spot = self.wants_spot(group, configuration);
        let mut refused = ApiError::missing("SubnetId");
        for subnet in &subnets {
            for choice in &choices {
                let mut data = choice.version.data.with(&choice.over);
                data.spot = spot.or(data.spot);
                let mut own = aws_tags(&choice.version);
                own.insert("aws:autoscaling:groupName".into(), group.name.clone());
                let mut tags = data.tags.clone();
                tags.entry("instance".into()).or_default().extend(propagated(group));
                let launch = RunInstances { subnet: Some(subnet.id.clone()), tags, ..data.launch()? };
                match self.run_with_tags(now, &launch, &own) {
                    Ok(launched) => {
                        if let Some(instance) = launched.into_iter().next() {
                            return Ok((instance, choice.clone()));
                        }
                    }
                    Err(error) => refused = error,
                }
            }
        }
        Err(refused)
    }

    /// Whether the next instance is a spot instance, where the group says it.
    fn wants_spot(&self, group: &Group, configuration: &Configuration) -> Option<bool> {
        let Configuration::Mixed(policy) = configuration else { return None };
        let members = || group.members.iter().filter(|member| member.lifecycle.counts());
        let is_spot = |member: &&Member| self.instances.get(&member.instance).is_some_and(|one| one.spot);
        let on_demand: u32 = members().filter(|member| !is_spot(member)).map(|member| member.weight).sum();
        let base = policy.distribution.on_demand_base;
        let above = (group.capacity() + 1).saturating_sub(base);
        let wanted = base + (above * policy.distribution.on_demand_percentage).div_ceil(100);
        Some(on_demand >= wanted)
    }
}

impl Group {
    /// A launch came to nothing: the next one is tried later, and a refresh that goes on like this fails in the end.
    pub(super) fn launch_failed(&mut self, now: Timestamp) {
        self.launch_after = Some(now + PAUSE);
        if let Some(refresh) = self.active_refresh_mut() {
            refresh.block(now, "Launching instances fails; see the scaling activities.");
        }
    }
}

fn propagated(group: &Group) -> Tags {
    let tags = group.tags.iter().filter(|(key, _)| group.propagated.contains(*key));
    tags.map(|(key, value)| (key.clone(), value.clone())).collect()
}
