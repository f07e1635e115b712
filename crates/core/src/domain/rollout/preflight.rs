//! What is checked before anything changes: a rollout that could not go back, or would go dark, is not begun.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{AlarmState, Group, Launched, Launches, Seen};
use crate::domain::{destination::Policy, id::AmiId};

/// Why a rollout is not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// What is wrong with what.
    pub problem: String,
    /// The command or the change that fixes it.
    pub fix: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  fix: {}", self.problem, self.fix)
    }
}

/// Without these a refresh can't replace, or nobody notices that the new instances are sick.
const NEEDED: [&str; 6] =
    ["Launch", "Terminate", "HealthCheck", "ReplaceUnhealthy", "AddToLoadBalancer", "InstanceRefresh"];

/// Everything for which a group can't be brought to an image now, and back. `launched` is the version that it launches;
/// none when there is none, or it has no number.
pub fn refusals(seen: &Seen, launched: Option<&Launched>, policy: &Policy) -> Vec<Refusal> {
    let (group, name) = (&seen.group, &seen.group.name);
    let mut found = Vec::new();
    let mut refuse = |problem: String, fix: String| found.push(Refusal { problem, fix });
    if !group.ours {
        refuse(
            format!("group `{name}` does not carry this stack's tag, so that Ovenbird may not change it"),
            format!(
                "aws autoscaling create-or-update-tags --tags \
                 ResourceId={name},ResourceType=auto-scaling-group,Key=ovenbird:stack,Value=STACK_ID,PropagateAtLaunch=false"
            ),
        );
    }
    if let Launches::Unpinned { what, fix } = &group.launches {
        refuse(format!("group `{name}` launches {what}: EC2 can't bring it back to that"), fix.clone());
    } else if launched.is_some_and(|one| one.by_attributes) {
        refuse(
            format!(
                "group `{name}` launches instance types that are chosen by attributes (`InstanceRequirements`): EC2 can't \
                 bring it back to that"
            ),
            "Make a version of the launch template that names an instance type, and let the group launch it"
                .into(),
        );
    } else if launched.is_none_or(|one| one.image.is_none()) {
        refuse(
            format!(
                "the version that group `{name}` launches names no image by its id: EC2 can't bring it back to that"
            ),
            "Make a version of the launch template with `ImageId=ami-…`, and let the group launch it".into(),
        );
    }
    let suspended: Vec<&str> =
        NEEDED.into_iter().filter(|process| group.suspended.iter().any(|one| one == process)).collect();
    if !suspended.is_empty() {
        let names = suspended.join(" ");
        refuse(
            format!("processes of group `{name}` are suspended: {names}"),
            format!(
                "aws autoscaling resume-processes --auto-scaling-group-name {name} --scaling-processes {names}"
            ),
        );
    }
    if let Some(refresh) = seen.refresh.as_ref().filter(|refresh| refresh.state.is_active()) {
        refuse(
            format!("an instance refresh of group `{name}` is under way: {}", refresh.status),
            format!(
                "Wait for it, or: aws autoscaling rollback-instance-refresh --auto-scaling-group-name {name}"
            ),
        );
    }
    if group.warm_pool {
        refuse(
            format!("group `{name}` has a warm pool, whose instances no target group judges"),
            format!("aws autoscaling delete-warm-pool --auto-scaling-group-name {name}"),
        );
    }
    if group.weighted {
        refuse(
            format!(
                "instances of group `{name}` have weights: a refresh may replace all of them at once, when one weighs as \
                 much as the group is to have"
            ),
            "Take `WeightedCapacity` out of the overrides of its policy of mixed instances".into(),
        );
    }
    let count = group.members.iter().filter(|member| !member.is_ending()).count();
    if count < group.desired as usize {
        refuse(
            format!("group `{name}` has {count} of {} instances: it can't launch even now", group.desired),
            format!("aws autoscaling describe-scaling-activities --auto-scaling-group-name {name}"),
        );
    }
    for member in group.members.iter().filter(|member| member.in_service() && !seen.serves(member)) {
        let reason =
            seen.targets_of(&member.instance).map(|one| one.reason.as_str()).find(|one| !one.is_empty());
        refuse(
            format!(
                "{} of group `{name}` does not serve even now{}: nobody could tell whether the new image is to blame",
                member.instance,
                reason.map(|reason| format!(" ({reason})")).unwrap_or_default()
            ),
            "Wait until the group is healthy, or make it so".into(),
        );
    }
    for (alarm, state) in &seen.alarms {
        let (problem, fix) = match state {
            AlarmState::Ok => continue,
            AlarmState::Alarm => ("is raised", "Wait until it is quiet"),
            AlarmState::InsufficientData => (
                "has too little data: a refresh with it is refused",
                "Wait until it has data, or let it treat missing data as good",
            ),
            AlarmState::Missing => ("is not there", "Correct `alarms` in the recipe's `[rollout]`"),
        };
        refuse(format!("alarm `{alarm}` {problem}"), fix.into());
    }
    // EC2 takes ten alarms, and it is asked to watch them too.
    if policy.alarms.len() > 10 {
        refuse(
            format!("{} alarms are more than the 10 that a refresh takes", policy.alarms.len()),
            "Use a composite alarm".into(),
        );
    }
    found
}

/// The refusal where the subnets of a group can't hold the instances that start at once, beside those that run. EC2 would
/// begin, find no address, and wait until the deadline.
///
/// A group may name a subnet that somebody deleted: Auto Scaling goes on in the others, as long as they have room.
pub fn no_room(group: &Group, free: &BTreeMap<String, u32>, needed: u32) -> Option<Refusal> {
    let all: u32 = free.values().sum();
    (all < needed).then(|| Refusal {
        problem: format!(
            "the subnets of group `{}` have {all} free addresses, and {needed} new instances start before old ones go{}",
            group.name,
            gone(group, free)
        ),
        fix: format!(
            "Give the group another subnet, free addresses, or use smaller `stages`. See what is free: aws ec2 \
             describe-subnets --filters Name=subnet-id,Values={}",
            group.subnets.join(",")
        ),
    })
}

/// The subnets that the group names and that are not there, in words.
fn gone(group: &Group, free: &BTreeMap<String, u32>) -> String {
    let gone: Vec<_> =
        group.subnets.iter().filter(|one| !free.contains_key(*one)).map(String::as_str).collect();
    if gone.is_empty() { String::new() } else { format!("; not there any more: {}", gone.join(", ")) }
}

/// The refusal of an image that the group's machines can't start from.
pub fn wrong_architecture(image: &AmiId, new: &str, before: &AmiId, old: &str) -> Option<Refusal> {
    (new != old).then(|| Refusal {
        problem: format!("{image} is for {new}, and the group runs {before}, which is for {old}"),
        fix: "Promote an image of the group's architecture, or let the group launch another instance type"
            .into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_that_is_gone_is_named_where_the_others_have_no_room() {
        let launches = Launches::Unpinned { what: String::new(), fix: String::new() };
        let group = Group {
            name: "web".parse().unwrap(),
            launches,
            min: 1,
            max: 4,
            desired: 2,
            members: Vec::new(),
            target_groups: Vec::new(),
            suspended: Vec::new(),
            subnets: vec!["subnet-1".into(), "subnet-2".into()],
            warm_pool: false,
            weighted: false,
            ours: true,
        };
        let free = |all: &[(&str, u32)]| all.iter().map(|(id, free)| ((*id).to_owned(), *free)).collect();
        let refused = |all: &[(&str, u32)]| no_room(&group, &free(all), 3).map(|one| one.problem);
        assert_eq!(refused(&[("subnet-1", 1), ("subnet-2", 2)]), None);
        assert_eq!(refused(&[("subnet-2", 3)]), None, "Auto Scaling launches where it can");
        let text = refused(&[("subnet-2", 2)]).unwrap();
        assert!(text.contains("have 2 free addresses, and 3 new"), "{text}");
        assert!(text.ends_with("; not there any more: subnet-1"), "{text}");
        assert!(!refused(&[("subnet-1", 1), ("subnet-2", 1)]).unwrap().contains("not there"));
    }
}
