//! Blue/green: of two groups one serves, and the other one takes over.

use std::collections::BTreeMap;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::rollout::{Outcome, Phase, Rollout},
    store::Ledger,
};
use ovenbird_sim::load_balancing::Action;
use ovenbird_testkit::{
    Cloud, Fitness,
    walk::{
        account::walk,
        machine::Diary,
        scenarios::{Follows, PLAIN, Run, Scenario, Steer, Thing},
    },
};

const PAIR: Scenario = Scenario {
    name: "",
    follows: Follows::Pair(2),
    before: &["v1.jar"],
    runs: &[(0, Run::Upload("v2.jar"))],
    ..PLAIN
};

/// Each group's share of the requests, and the images of its machines.
fn street(cloud: &Cloud) -> BTreeMap<String, (u16, Vec<String>)> {
    cloud.with(|world| {
        let listener = world.listeners().next().unwrap();
        let Some(Action::Forward(forward)) = listener.default_action() else { panic!("it forwards") };
        let groups = world.auto_scaling_groups().map(|group| {
            let weight =
                forward.groups.iter().find(|one| group.target_groups.contains(&one.group)).unwrap().weight;
            let staying = group.members.iter().filter(|member| !member.lifecycle.is_ending());
            (group.name.clone(), (weight, staying.map(|member| member.image.to_string()).collect()))
        });
        groups.collect()
    })
}

fn rollouts(cloud: &Cloud) -> Vec<Rollout> {
    block_on(Ledger(cloud).rollouts(&"storefront".parse().unwrap())).unwrap()
}

fn walked(scenario: &Scenario) -> (Cloud, BTreeMap<String, (u16, Vec<String>)>) {
    let (cloud, _) = scenario.account();
    let before = street(&cloud);
    walk(&cloud, &scenario.runs(), &Diary::default());
    cloud.pass(SignedDuration::from_secs(60));
    (cloud, before)
}

#[test]
fn the_other_group_takes_over_and_the_first_one_goes_after_a_while() {
    let (cloud, before) = walked(&PAIR);
    let rollouts = rollouts(&cloud);
    assert_eq!(rollouts.len(), 2);
    for rollout in &rollouts {
        assert_eq!(rollout.progress.outcome, Some(Outcome::Settled), "{rollout:#?}");
    }
    let machines = |rollout: &Rollout| vec![rollout.spec.image.to_string(); 2];
    let serves = |group: &str| {
        [("storefront", "storefront-green"), ("storefront-green", "storefront")]
            .into_iter()
            .find(|(one, _)| *one == group)
            .map(|(one, other)| (one.to_owned(), other.to_owned()))
            .unwrap()
    };
    let (green, blue) = serves("storefront-green");
    let expected = [(green.clone(), (100, machines(&rollouts[1]))), (blue.clone(), (0, Vec::new()))].into();
    assert_eq!(before, expected);
    let expected = [(blue, (100, machines(&rollouts[0]))), (green, (0, Vec::new()))].into();
    assert_eq!(street(&cloud), expected);
}

#[test]
fn a_bad_image_gets_no_more_than_its_stage_and_its_machines_go() {
    for (fitness, most) in [
        (Fitness::Answers(500), 0),
        (Fitness::Silent, 0),
        (Fitness::DiesAfter(10), 50),
        (Fitness::DiesAfter(60), 100),
    ] {
        let (cloud, before) = walked(&Scenario { fitness, ..PAIR });
        let rollout = &rollouts(&cloud)[0];
        assert_eq!(rollout.progress.outcome, Some(Outcome::Reverted), "{fitness:?}: {rollout:#?}");
        assert_eq!(street(&cloud), before, "{fitness:?}: {rollout:#?}");
        let said = |percent: u32| {
            let part = format!("{percent} % of the requests to go");
            rollout.progress.timeline.iter().any(|entry| entry.what.starts_with(&part))
        };
        for percent in [50, 100] {
            assert_eq!(said(percent), percent <= most, "{fitness:?}: {rollout:#?}");
        }
    }
}

#[test]
fn while_the_earlier_machines_are_kept_a_return_is_a_change_of_weights() {
    let scenario = Scenario { runs: &[(0, Run::Upload("v2.jar")), (KEPT, Run::Steer(Steer::Abort))], ..PAIR };
    let (cloud, before) = walked(&scenario);
    let rollout = &rollouts(&cloud)[0];
    assert_eq!(rollout.progress.outcome, Some(Outcome::Aborted), "{rollout:#?}");
    assert_eq!(street(&cloud), before);
    let at = |part: &str| {
        let entry = rollout.progress.timeline.iter().find(|entry| entry.what.contains(part));
        entry.unwrap_or_else(|| panic!("no {part}: {rollout:#?}")).at
    };
    assert!(at("the channel has the image") < at("goes back"), "{rollout:#?}");
    let took = at("0 % of the requests").duration_since(at("goes back")).as_secs();
    assert!(took <= 15, "{took} s: {rollout:#?}");
}

#[test]
fn a_rollout_of_a_pair_ends_though_somebody_deletes_what_it_works_with() {
    let groups = ["storefront", "storefront-green"].map(Thing::Group);
    for thing in groups.into_iter().chain([Thing::Template, Thing::Rule]) {
        for second in [15, 40, 60, 80, 100, 130, KEPT, 210, 216, 222] {
            for fitness in [Fitness::Well, Fitness::DiesAfter(60)] {
                let runs = [(0, Run::Upload("v2.jar")), (second, Run::Steer(Steer::Delete(thing)))];
                let runs = Box::leak(Box::new(runs));
                let (cloud, _) = walked(&Scenario { runs, fitness, ..PAIR });
                let rollout = rollouts(&cloud).remove(0);
                let at = format!("{thing:?} at {second}, {fitness:?}: {:#?}", rollout.progress);
                assert!(rollout.progress.outcome.is_some(), "{at}");
                let channel =
                    block_on(Ledger(&cloud).channels(&"storefront".parse().unwrap())).unwrap().remove(0);
                assert_eq!(channel.rolling, None, "{at}");
            }
        }
    }
}

#[test]
fn a_person_ends_what_can_never_be_brought_back() {
    // The earlier machines go, and their template is deleted; then the new ones are, and nothing can be launched any more.
    let delete = |second: u64, thing: Thing| (second, Run::Steer(Steer::Delete(thing)));
    let mut runs = vec![
        (0, Run::Upload("v2.jar")),
        delete(216, Thing::Template),
        delete(217, Thing::Group("storefront")),
    ];
    let (cloud, _) = walked(&Scenario { runs: runs.clone().leak(), ..PAIR });
    let rollout = rollouts(&cloud).remove(0);
    assert_eq!((rollout.progress.phase, rollout.progress.outcome), (Phase::Reverting, None), "{rollout:#?}");

    runs.push((300, Run::Steer(Steer::Leave)));
    let (cloud, _) = walked(&Scenario { runs: runs.leak(), ..PAIR });
    let rollout = rollouts(&cloud).remove(0);
    assert_eq!(rollout.progress.outcome, Some(Outcome::Left), "{rollout:#?}");
    let channel = block_on(Ledger(&cloud).channels(&"storefront".parse().unwrap())).unwrap().remove(0);
    // Somebody deleted the group: that says nothing against the image.
    assert_eq!((channel.rolling, channel.rejected.len()), (None, 0));
}

#[test]
fn only_what_goes_back_already_is_left_as_it_stands() {
    for second in [60, KEPT] {
        let runs = Box::leak(Box::new([(0, Run::Upload("v2.jar")), (second, Run::Steer(Steer::Leave))]));
        let (cloud, _) = walked(&Scenario { runs, ..PAIR });
        assert_eq!(rollouts(&cloud)[0].progress.outcome, Some(Outcome::Settled));
    }
}

/// A second at which the channel has the image, and the earlier machines are there.
const KEPT: u64 = 170;

#[test]
fn a_newer_version_does_not_wait_until_the_earlier_machines_are_kept_no_longer() {
    let scenario = Scenario { runs: &[(0, Run::Upload("v2.jar")), (KEPT, Run::Upload("v3.jar"))], ..PAIR };
    let (cloud, _) = walked(&scenario);
    let rollouts = rollouts(&cloud);
    let kept = rollouts[1].progress.timeline.iter().find(|entry| entry.what.contains("machines of group"));
    assert!(kept.is_some(), "{:#?}", rollouts[1]);
    assert_eq!(rollouts[0].progress.outcome, Some(Outcome::Settled), "{:#?}", rollouts[0]);
    assert_ne!(rollouts[0].progress.phase, Phase::Keeping);
    let serving: Vec<_> = street(&cloud).into_values().filter(|(weight, _)| *weight > 0).collect();
    assert_eq!(serving, [(100, vec![rollouts[0].spec.image.to_string(); 2])]);
}
