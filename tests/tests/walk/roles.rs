//! The roles against the walk: each must allow every call that its function was seen to make, and no other.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_testkit::Call;
use ovenbird_tests::template;

/// By function, as its folder is called: every action that IAM was asked for.
pub type Needs = BTreeMap<String, BTreeSet<&'static str>>;

/// Allowed for what happens on AWS alone: an account's first spot request makes a role, and SSM asks for a second
/// read before it takes an image's id, as its guide has it:
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html>
const UNSEEN: &[(&str, &str)] = &[
    ("launch-builder", "iam:CreateServiceLinkedRole"),
    ("promote", "ssm:GetParameters"),
    // Auto Scaling asks for these in the name of who starts a refresh.
    ("promote", "ec2:CreateTags"),
    ("promote", "ec2:RunInstances"),
    ("promote", "iam:PassRole"),
    // A refresh that can't be rolled back is one that somebody changed meanwhile.
    ("promote", "autoscaling:CancelInstanceRefresh"),
    // A volume that outlives its instance is somebody's work against the launch's own mapping.
    ("prune", "ec2:DeleteVolume"),
];

/// Notes the calls; whose they are stands at their caller's end: `run-0/Promote#29 PromoteArn`.
pub fn note<'c>(needs: &mut Needs, calls: impl IntoIterator<Item = &'c Call>) {
    for call in calls {
        let Some(function) = call.by.rsplit(' ').next().and_then(|last| last.strip_suffix("Arn")) else {
            continue;
        };
        needs.entry(folder(function)).or_default().extend(&call.actions);
    }
}

/// Adds what others noted.
pub fn add(needs: &mut Needs, more: Needs) {
    for (function, actions) in more {
        needs.entry(function).or_default().extend(actions);
    }
}

/// `LaunchBuilder` is in the folder `launch-builder`.
fn folder(function: &str) -> String {
    let mut folder = String::new();
    for letter in function.chars() {
        if letter.is_ascii_uppercase() && !folder.is_empty() {
            folder.push('-');
        }
        folder.push(letter.to_ascii_lowercase());
    }
    folder
}

/// What a role lacks, or allows although nothing ever needs it.
pub fn wrong(needs: &Needs) -> Vec<String> {
    let mut wrong = Vec::new();
    for (function, resource) in template::functions() {
        let allowed = template::role(resource);
        let needed = needs.get(&function).cloned().unwrap_or_default();
        wrong.extend(
            needed.difference(&allowed).map(|action| format!("{function} needs {action}: not allowed")),
        );
        let unused =
            allowed.difference(&needed).filter(|action| !UNSEEN.contains(&(function.as_str(), **action)));
        wrong.extend(unused.map(|action| format!("{function} may {action}: never needed")));
    }
    wrong
}
