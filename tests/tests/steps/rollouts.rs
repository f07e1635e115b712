//! Rollouts: stages, verdicts, the way back, and what a channel says meanwhile.

mod approval;
mod pace;
mod patient;
mod short;

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        bake::Status,
        id::{BakeId, InstanceId},
        rollout::{Outcome, Phase, Rollout},
    },
    ops::{
        plan::{PromotionPlan, plan},
        promotion::{Person, back_to},
    },
    store::{Channel, Ledger},
};
use ovenbird_sim::{
    auto_scaling::{Configuration, Override, Process, UpdateGroup},
    launch_templates::{CreateLaunchTemplateVersion, InstanceRequirements, LaunchTemplateData, TemplateSpec},
};
use ovenbird_testkit::{
    Cloud, Fitness,
    walk::{
        account::walk,
        machine::{Diary, End},
        scenarios::{Follows, PLAIN, Run, Scenario, Steer, Thing},
        street::{GROUP, mixed},
    },
};

/// A group of machines of v1 behind a load balancer, and v2 uploaded.
const STREET: Scenario = Scenario {
    name: "",
    follows: Follows::Group(3),
    before: &["v1.jar"],
    runs: &[(0, Run::Upload("v2.jar"))],
    ..PLAIN
};

/// What a street looked like before, and after its own runs.
struct Walked {
    cloud: Cloud,
    ends: BTreeMap<String, End>,
    before: View,
    after: View,
}

/// What operators would look at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    /// The image of the channel.
    channel: Option<String>,
    /// The image of each machine of the group.
    machines: Vec<String>,
    /// The image of the version that the group launches.
    launches: String,
    /// The image of the template's default version.
    default: String,
    /// The value of the parameter.
    parameter: Option<String>,
}

fn channel(cloud: &Cloud) -> Channel {
    block_on(Ledger(cloud).channels(&"storefront".parse().unwrap())).unwrap().remove(0)
}

fn view(cloud: &Cloud) -> View {
    let pipeline = "storefront".parse().unwrap();
    let channel = block_on(Ledger(cloud).channels(&pipeline)).unwrap();
    let image = |channel: &Channel| channel.current.as_ref().map(|target| target.image.to_string());
    let parameters = cloud.parameters();
    cloud.with(|world| {
        let group = world.auto_scaling_group(GROUP).unwrap();
        let template = world.launch_templates().next().unwrap();
        let of = |version: u64| template.version(version).unwrap().data.image.clone().unwrap();
        let version = group.configuration.base().version.clone().unwrap();
        View {
            channel: channel.first().and_then(image),
            machines: group.members.iter().map(|member| member.image.to_string()).collect(),
            launches: of(version.parse().unwrap()),
            default: of(template.default_version),
            parameter: parameters.get(&"/images/storefront/production".parse().unwrap()).cloned(),
        }
    })
}

fn walked(scenario: &Scenario) -> Walked {
    walked_with(scenario, |_| ())
}

fn walked_with(scenario: &Scenario, change: impl FnOnce(&Cloud)) -> Walked {
    let (cloud, ends) = scenario.account();
    assert!(ends.values().all(|end| matches!(end, End::Succeeded(_))), "{ends:?}");
    change(&cloud);
    let before = view(&cloud);
    let ends = walk(&cloud, &scenario.runs(), &Diary::default());
    cloud.pass(SignedDuration::from_secs(60));
    let after = view(&cloud);
    Walked { cloud, ends, before, after }
}

fn rollouts(cloud: &Cloud) -> Vec<Rollout> {
    block_on(Ledger(cloud).rollouts(&"storefront".parse().unwrap())).unwrap()
}

#[test]
fn a_good_image_comes_to_all_machines_then_to_the_channel_and_to_all_that_follows_it() {
    for size in [1, 3] {
        let Walked { cloud, ends, before, after } =
            walked(&Scenario { follows: Follows::Group(size), ..STREET });
        let rollout = &rollouts(&cloud)[0];
        assert_eq!(rollout.progress.outcome, Some(Outcome::Settled), "{ends:?} {rollout:#?}");
        let image = rollout.spec.image.to_string();
        assert_ne!(before.channel, Some(image.clone()));
        let all = View {
            channel: Some(image.clone()),
            machines: vec![image.clone(); size as usize],
            launches: image.clone(),
            default: image.clone(),
            parameter: Some(image),
        };
        assert_eq!(after, all);
        let channel = channel(&cloud);
        assert_eq!((channel.rolling, channel.waiting, channel.rejected), (None, None, Vec::new()));
    }
}

#[test]
fn a_bad_image_is_gone_and_all_is_as_before() {
    for fitness in [Fitness::Answers(500), Fitness::Silent, Fitness::DiesAfter(10), Fitness::DiesAfter(70)] {
        for size in [1, 3] {
            let Walked { cloud, ends, before, after } =
                walked(&Scenario { follows: Follows::Group(size), fitness, ..STREET });
            let rollout = &rollouts(&cloud)[0];
            assert_eq!(
                rollout.progress.outcome,
                Some(Outcome::Reverted),
                "{fitness:?} {ends:?} {rollout:#?}"
            );
            assert_eq!(after, before, "{fitness:?}");
            let reason = rollout.progress.reason.clone().unwrap();
            let sick = rollout.progress.sick.iter().map(InstanceId::as_str);
            assert!(sick.clone().count() > 0 && sick.take(3).all(|id| reason.contains(id)), "{rollout:#?}");
            let channel = channel(&cloud);
            assert_eq!(channel.rolling, None);
            assert_eq!(channel.rejected[0].image, rollout.spec.image);
            assert!(channel.closed_to(&rollout.spec.image).unwrap().contains(&reason));
        }
    }
}

/// A street on which a person says something at some second.
fn steered(second: u64, steer: Steer) -> Walked {
    steered_with(&[(second, steer)])
}

fn steered_with(words: &[(u64, Steer)]) -> Walked {
    let mut runs: Vec<(u64, Run)> =
        words.iter().map(|(second, steer)| (*second, Run::Steer(*steer))).collect();
    runs.insert(0, (0, Run::Upload("v2.jar")));
    walked(&Scenario { runs: runs.leak(), ..STREET })
}

#[test]
fn a_person_brings_a_rollout_back_at_any_moment() {
    // From the preflight over both stages to the soak.
    for second in [25, 35, 45, 55, 65, 75, 85, 100, 120, 140] {
        let Walked { cloud, before, after, ends } = steered(second, Steer::Abort);
        let rollout = &rollouts(&cloud)[0];
        if matches!(ends["run-1"], End::Failed { .. }) {
            // There was nothing to abort yet, or not any more.
            assert_eq!(rollout.progress.outcome, Some(Outcome::Settled), "{second}");
            continue;
        }
        assert_eq!(rollout.progress.outcome, Some(Outcome::Aborted), "{second} {:#?}", rollout.progress);
        assert_eq!(after, before, "{second}");
        assert_eq!(channel(&cloud).rejected, Vec::new(), "a person's word is no verdict over the image");
    }
}

#[test]
fn a_paused_rollout_waits_without_an_execution_until_it_is_resumed() {
    let Walked { cloud, .. } = steered_with(&[(40, Steer::Pause)]);
    let rollout = rollouts(&cloud).remove(0);
    assert_eq!(rollout.progress.phase, Phase::Paused);
    let images: BTreeSet<String> = view(&cloud).machines.into_iter().collect();
    assert_eq!(images.len(), 2, "one machine has the new image, the others the old one");
    // A week later a person lets it go on.
    cloud.pass(SignedDuration::from_hours(24 * 7));
    let runs = [("go-on".to_owned(), (0, Run::Steer(Steer::Resume)))];
    walk(&cloud, &runs, &Diary::default());
    let rollout = rollouts(&cloud).remove(0);
    assert_eq!((rollout.progress.outcome, rollout.progress.run), (Some(Outcome::Settled), 2));
    assert_eq!(view(&cloud).machines, vec![rollout.spec.image.to_string(); 3]);
}

#[test]
fn a_paused_rollout_can_be_brought_back() {
    let Walked { cloud, before, .. } = steered_with(&[(40, Steer::Pause)]);
    let runs = [("back".to_owned(), (0, Run::Steer(Steer::Abort)))];
    walk(&cloud, &runs, &Diary::default());
    cloud.pass(SignedDuration::from_secs(60));
    assert_eq!(rollouts(&cloud)[0].progress.outcome, Some(Outcome::Aborted));
    assert_eq!(view(&cloud), before);
}

#[test]
fn skipping_leaves_out_the_watch_and_the_soak() {
    let took = |walked: &Walked| {
        let progress = rollouts(&walked.cloud).remove(0).progress;
        assert_eq!(progress.outcome, Some(Outcome::Settled));
        progress.timeline.last().unwrap().at.duration_since(progress.began).as_secs()
    };
    let (whole, short) = (took(&walked(&STREET)), took(&steered(50, Steer::Skip)));
    assert!(short + 60 < whole, "{short} s with `skip`, {whole} s without");
}

#[test]
fn a_channel_that_was_rolled_back_is_held_until_a_person_promotes() {
    let scenario = Scenario {
        before: &["v1.jar", "v2.jar"],
        runs: &[(0, Run::Steer(Steer::RollBack)), (400, Run::Upload("v3.jar"))],
        ..STREET
    };
    let Walked { cloud, before, after, .. } = walked(&scenario);
    let found = channel(&cloud);
    assert_ne!(after.channel, before.channel);
    assert_eq!(after.machines, vec![after.channel.clone().unwrap(); 3], "{:#?}", rollouts(&cloud));
    assert_eq!(found.hold.as_ref().unwrap().by, "user/alice");
    assert_eq!(found.current.as_ref().unwrap().why.as_deref(), Some("by hand"));
    let bake = block_on(Ledger(&cloud).bakes(&"storefront".parse().unwrap(), 1)).unwrap().remove(0);
    assert_eq!(bake.progress.status, Status::Validated);
    assert!(bake.progress.not_promoted.unwrap().contains("user/alice holds channel storefront/production"));
    // A rollback takes no detour over a single machine: that image was good lately.
    assert!(rollouts(&cloud)[0].progress.timeline.iter().any(|entry| entry.what.contains("no stages")));
    // A person ends it.
    let runs = [("on".to_owned(), (0, Run::Steer(Steer::Promote("v3.jar"))))];
    walk(&cloud, &runs, &Diary::default());
    let found = channel(&cloud);
    assert_eq!((found.hold, found.current.unwrap().image), (None, bake.progress.image.unwrap()));
}

#[test]
fn of_the_versions_that_wait_the_newest_comes_next() {
    let scenario = Scenario {
        runs: &[(0, Run::Upload("v2.jar")), (35, Run::Upload("v3.jar")), (60, Run::Upload("v4.jar"))],
        ..STREET
    };
    let Walked { cloud, after, .. } = walked(&scenario);
    let mut all = rollouts(&cloud);
    all.reverse();
    let outcomes: Vec<Outcome> = all.iter().map(|one| one.progress.outcome.unwrap()).collect();
    assert_eq!(outcomes, [Outcome::Settled, Outcome::Settled, Outcome::Refused, Outcome::Settled]);
    assert_eq!(after.machines, vec![all[3].spec.image.to_string(); 3]);
    assert_eq!(after.channel, Some(all[3].spec.image.to_string()));
}

#[test]
fn a_group_that_somebody_changes_meanwhile_is_left_to_them_and_loses_the_new_image() {
    let Walked { cloud, after, before, .. } = steered(95, Steer::ChangeGroup);
    let rollout = &rollouts(&cloud)[0];
    assert_eq!(rollout.progress.outcome, Some(Outcome::Reverted), "{:#?}", rollout.progress);
    assert!(rollout.progress.reason.as_ref().unwrap().contains("somebody let group"));
    assert_eq!((after.channel, after.default), (before.channel, before.default));
    let new = rollout.spec.image.to_string();
    assert!(!after.machines.contains(&new), "{:?}", after.machines);
}

#[test]
fn a_rollout_ends_though_somebody_deletes_what_it_works_with() {
    for thing in [Thing::Group(GROUP), Thing::Template] {
        for second in [15, 40, 60, 80, 95, 110, 130, 150, 170] {
            for fitness in [Fitness::Well, Fitness::DiesAfter(60)] {
                let runs = Box::leak(Box::new([
                    (0, Run::Upload("v2.jar")),
                    (second, Run::Steer(Steer::Delete(thing))),
                ]));
                let walked = Scenario { runs, fitness, ..STREET };
                let (cloud, _) = walked.account();
                walk(&cloud, &walked.runs(), &Diary::default());
                let rollout = rollouts(&cloud).remove(0);
                let at = format!("{thing:?} at {second}, {fitness:?}: {:#?}", rollout.progress);
                assert!(rollout.progress.outcome.is_some(), "{at}");
                assert_eq!(channel(&cloud).rolling, None, "{at}");
            }
        }
    }
}

#[test]
fn of_a_policy_of_mixed_instances_nothing_changes_but_the_version() {
    for (fitness, outcome) in
        [(Fitness::Answers(200), Outcome::Settled), (Fitness::Answers(500), Outcome::Reverted)]
    {
        let Walked { cloud, before, after, .. } =
            walked(&Scenario { follows: Follows::Mixed(3), fitness, ..STREET });
        let rollout = &rollouts(&cloud)[0];
        assert_eq!(rollout.progress.outcome, Some(outcome), "{rollout:#?}");
        let launches = match outcome {
            Outcome::Settled => {
                assert_eq!(after.machines, vec![rollout.spec.image.to_string(); 3]);
                rollout.progress.groups[0].after.as_ref().unwrap()
            }
            _ => {
                assert_eq!(after, before);
                &rollout.progress.groups[0].before
            }
        };
        let expected = mixed(TemplateSpec::of(&launches.id, launches.version));
        assert_eq!(
            cloud.with(|world| world.auto_scaling_group(GROUP).unwrap().configuration.clone()),
            expected
        );
    }
}

#[test]
fn what_a_policy_of_mixed_instances_can_t_be_brought_back_to_is_refused() {
    type Change = fn(&mut Override);
    let changes: [(Change, &str); 4] = [
        (|one| one.image = Some("ami-0123456789abcdef0".into()), "an image that an override"),
        (|one| one.template = Some(TemplateSpec::of("web", 1)), "a launch template that an override"),
        (
            |one| one.requirements = Some(InstanceRequirements { vcpus_min: 2, memory_mib_min: 4096 }),
            "attributes",
        ),
        (|one| one.weight = Some(2), "have weights"),
    ];
    for (change, problem) in changes {
        let Walked { cloud, .. } = walked(&Scenario { follows: Follows::Mixed(2), ..STREET });
        cloud.with(|world| {
            let Configuration::Mixed(mut policy) =
                world.auto_scaling_group(GROUP).unwrap().configuration.clone()
            else {
                panic!("a policy of mixed instances")
            };
            for one in &mut policy.overrides {
                change(one);
                if let Some(template) = &mut one.template {
                    template.clone_from(&policy.template);
                }
                if one.requirements.is_some() {
                    one.instance_type = None;
                }
            }
            let configuration = Some(Configuration::Mixed(policy));
            world
                .update_auto_scaling_group(GROUP, &UpdateGroup { configuration, ..UpdateGroup::default() })
                .unwrap();
        });
        let plan = way_back(&cloud);
        let problems: Vec<&str> = plan.refused.iter().map(|one| one.problem.as_str()).collect();
        assert!(problems.iter().any(|one| one.contains(problem)), "{problem}: {problems:?}");
    }
}

#[test]
fn a_version_that_chooses_types_by_attributes_is_refused() {
    let Walked { cloud, .. } = walked(&STREET);
    cloud.with(|world| {
        let (now, spec) = ("2026-01-02T00:00:00Z".parse().unwrap(), world.auto_scaling_group(GROUP).unwrap());
        let spec = spec.configuration.base().clone();
        let data = LaunchTemplateData {
            requirements: Some(InstanceRequirements { vcpus_min: 2, memory_mib_min: 4096 }),
            image: Some("ami-0123456789abcdef0".into()),
            ..LaunchTemplateData::default()
        };
        let template = TemplateSpec { version: None, ..spec };
        let request = CreateLaunchTemplateVersion {
            template: template.clone(),
            source_version: None,
            description: None,
            data,
            client_token: None,
            dry_run: false,
        };
        let version = world.create_launch_template_version(now, &request).unwrap().number;
        let configuration =
            Some(Configuration::Template(TemplateSpec { version: Some(version.to_string()), ..template }));
        world
            .update_auto_scaling_group(GROUP, &UpdateGroup { configuration, ..UpdateGroup::default() })
            .unwrap();
    });
    let plan = way_back(&cloud);
    assert!(plan.refused[0].problem.contains("InstanceRequirements"), "{:?}", plan.refused);
}

/// What `rollback --dry-run` says of the channel of a street.
fn way_back(cloud: &Cloud) -> PromotionPlan {
    let (pipeline, channel) = ("storefront".parse().unwrap(), "production".parse().unwrap());
    let person = Person { by: "user/alice".into(), why: None, request: BakeId::parse("by-hand-1").unwrap() };
    let what = block_on(back_to(&pipeline, &channel, None, cloud)).unwrap();
    block_on(plan(&what, &person, cloud, cloud.now())).unwrap()
}

#[test]
fn a_plan_names_all_that_a_way_back_changes_in_its_order_and_changes_nothing() {
    let Walked { cloud, before, after, .. } = walked(&STREET);
    let (old, new) = (before.channel.unwrap(), after.channel.clone().unwrap());
    let plan = way_back(&cloud);
    assert_eq!(view(&cloud), after);
    assert_eq!(channel(&cloud).rolling, None);
    assert_eq!((plan.image.as_str(), plan.waits_for, plan.refused), (old.as_str(), None, Vec::new()));
    let changes: Vec<(&str, bool, bool)> = plan
        .changes
        .iter()
        .map(|one| (one.what.as_str(), one.before.as_ref().unwrap().contains(&new), one.after.contains(&old)))
        .collect();
    let expected = [
        "group storefront with 3 instances",
        "channel storefront/production",
        "default version of launch template storefront",
        "parameter /images/storefront/production",
    ];
    assert_eq!(changes, expected.map(|what| (what, true, true)));
    // The image was good lately: its machines come in one stage.
    assert!(plan.changes[0].after.ends_with("in stages: 100%"), "{:?}", plan.changes[0]);
}

#[test]
fn a_plan_says_why_a_rollout_would_be_refused() {
    let Walked { cloud, .. } = walked(&STREET);
    let now = cloud.now();
    cloud.with(|world| world.suspend_processes(now, GROUP, &[Process::Terminate])).unwrap();
    let plan = way_back(&cloud);
    assert_eq!(plan.refused.len(), 1, "{:?}", plan.refused);
    assert!(plan.refused[0].fix.contains("resume-processes"), "{:?}", plan.refused);
}
