//! A group that lacks what its new instances need.

use ovenbird_core::domain::rollout::Outcome;
use ovenbird_sim::{Lack, Shortage};
use ovenbird_testkit::{
    Cloud,
    walk::scenarios::{Follows, Run, Scenario, Steer},
};

use super::{STREET, Walked, channel, rollouts, walked_with};

/// A refresh says nothing of why no instance starts, and tries for an hour. That says nothing against the image.
#[test]
fn a_rollout_that_can_launch_nothing_names_the_quota_and_its_image_is_not_rejected() {
    for follows in [Follows::Group(3), Follows::Pair(2)] {
        let scenario = Scenario { before: &["v1.jar", "v2.jar"], follows, ..STREET };
        let runs = &[(0, Run::Steer(Steer::RollBack))];
        let Walked { cloud, before, after, .. } = walked_with(&Scenario { runs, ..scenario }, |cloud| {
            cloud.with(|world| world.set_shortages(vec![Shortage::of(Lack::VcpuQuota)]));
        });
        let rollout = rollouts(&cloud).remove(0);
        let reason = rollout.progress.reason.unwrap_or_default();
        assert_eq!(rollout.progress.outcome, Some(Outcome::Reverted), "{follows:?}: {reason}");
        assert!(reason.contains("; Auto Scaling can't launch an instance: "), "{follows:?}: {reason}");
        assert!(reason.contains("vCPU"), "{follows:?}: {reason}");
        // `healthy-within` is a minute, and a look comes every few seconds.
        let waited =
            reason.strip_prefix("after ").and_then(|rest| rest.split(' ').next()?.parse::<u32>().ok());
        assert!(waited.is_some_and(|seconds| (60..90).contains(&seconds)), "{reason}");
        assert_eq!(channel(&cloud).rejected, Vec::new(), "{follows:?}");
        assert_eq!(after, before);
    }
}

/// New machines come before old ones go: they need addresses of their own.
#[test]
fn a_rollout_that_finds_no_addresses_is_refused_before_anything_changes() {
    let short = |short: Shortage| move |cloud: &Cloud| cloud.with(|world| world.set_shortages(vec![short]));
    for (follows, needed) in [(Follows::Group(3), 3), (Follows::Pair(2), 2)] {
        // A baked image is there: only its rollout meets the shortage.
        let scenario = Scenario { before: &["v1.jar", "v2.jar"], follows, ..STREET };
        let runs = &[(0, Run::Steer(Steer::RollBack))];
        let Walked { cloud, before, after, .. } =
            walked_with(&Scenario { runs, ..scenario }, short(Shortage::of(Lack::Addresses)));
        let rollout = rollouts(&cloud).remove(0);
        let reason = rollout.progress.reason.unwrap_or_default();
        assert_eq!(rollout.progress.outcome, Some(Outcome::Refused), "{follows:?}: {reason}");
        assert!(reason.contains(&format!("have 0 free addresses, and {needed} new")), "{reason}");
        assert!(
            reason.contains("aws ec2 describe-subnets --filters Name=subnet-id,Values=subnet-"),
            "{reason}"
        );
        assert_eq!(after, before);
        // Auto Scaling takes another zone where one has no room.
        let zone = Shortage::of(Lack::Addresses).in_zone("us-east-1a");
        let Walked { cloud, .. } = walked_with(&Scenario { runs, ..scenario }, short(zone));
        assert_eq!(rollouts(&cloud)[0].progress.outcome, Some(Outcome::Settled), "{follows:?}");
    }
}
