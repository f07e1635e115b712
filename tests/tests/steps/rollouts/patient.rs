//! Groups that give their machines five minutes before a target group may judge them, as most groups do.

use jiff::SignedDuration;
use ovenbird_core::domain::rollout::{Outcome, Phase};
use ovenbird_sim::auto_scaling::UpdateGroup;
use ovenbird_testkit::{
    Fitness,
    walk::scenarios::{Follows, Scenario, Steer},
};

use super::{STREET, Walked, channel, rollouts, view, walked_with};

/// What becomes of an image whose machines answer like that.
fn walked(follows: Follows, fitness: Fitness) -> Walked {
    walked_with(&Scenario { follows, fitness, ..STREET }, |cloud| {
        cloud.with(|world| {
            // Without a warm-up of its own, a refresh would wait for so long for each machine.
            let (health_check_grace, default_warmup) = (Some(300), Some(Some(0)));
            let patient = UpdateGroup { health_check_grace, default_warmup, ..UpdateGroup::default() };
            let groups: Vec<String> = world.auto_scaling_groups().map(|group| group.name.clone()).collect();
            for name in groups {
                world.update_auto_scaling_group(&name, &patient).unwrap();
            }
        });
    })
}

/// After two failed checks, 10 seconds, a target group says that they are unhealthy. They have `healthy-within`, a minute.
#[test]
fn a_machine_that_is_not_up_yet_is_not_sick() {
    for follows in [Follows::Group(1), Follows::Group(3), Follows::Pair(2)] {
        let Walked { cloud, .. } = walked(follows, Fitness::After(25));
        let rollout = rollouts(&cloud).remove(0);
        assert_eq!(rollout.progress.outcome, Some(Outcome::Settled), "{follows:?}: {:#?}", rollout.progress);
    }
}

#[test]
fn a_machine_that_is_never_up_is_sick_after_its_time_with_the_target_group_s_reason() {
    for follows in [Follows::Group(1), Follows::Group(3), Follows::Pair(2)] {
        let Walked { cloud, before, after, .. } = walked(follows, Fitness::Silent);
        let progress = rollouts(&cloud).remove(0).progress;
        assert_eq!(progress.outcome, Some(Outcome::Reverted), "{follows:?}: {progress:#?}");
        let reason = progress.reason.unwrap();
        assert!(reason.contains("its target group finds it unhealthy: Target.Timeout"), "{reason}");
        let bad = progress.timeline.iter().find(|entry| entry.what.starts_with("goes back")).unwrap();
        let took = bad.at.duration_since(progress.began);
        assert!((60..90).contains(&took.as_secs()), "{follows:?}: after {took}");
        assert_eq!(after, before);
        assert_eq!(channel(&cloud).rejected.len(), 1);
    }
}

/// What answers is up: nobody waits for it.
#[test]
fn a_machine_that_gives_a_wrong_answer_is_sick_at_once() {
    for follows in [Follows::Group(1), Follows::Pair(2)] {
        let Walked { cloud, .. } = walked(follows, Fitness::Answers(500));
        let progress = rollouts(&cloud).remove(0).progress;
        let bad = progress.timeline.iter().find(|entry| entry.what.starts_with("goes back")).unwrap();
        let took = bad.at.duration_since(progress.began);
        assert!(took < SignedDuration::from_secs(40), "{follows:?}: after {took}");
    }
}

/// After the first stage it is as it was before it, and until the last one ends. So all that EC2 does by itself goes back.
#[test]
fn a_group_launches_the_earlier_image_until_all_of_it_has_the_new_one() {
    let Walked { cloud, before, .. } = super::steered_with(&[(40, Steer::Pause)]);
    let rollout = rollouts(&cloud).remove(0);
    let (launches, machines) = (view(&cloud).launches, view(&cloud).machines);
    assert_eq!(rollout.progress.phase, Phase::Paused);
    assert!(machines.contains(&rollout.spec.image.to_string()), "{machines:?}");
    assert_eq!(launches, before.launches);
}

/// Whenever they die: Auto Scaling finds them healthy for minutes, and nobody may wait for that.
#[test]
fn machines_that_die_in_any_stage_are_gone_soon() {
    for size in [2, 3] {
        for second in [15, 20, 25, 30, 35, 40, 50, 60, 70, 80, 90, 110] {
            let follows = Follows::Group(size);
            let Walked { cloud, before, after, .. } = walked(follows, Fitness::DiesAfter(second));
            let progress = rollouts(&cloud).remove(0).progress;
            let at = format!("{size} machines that die after {second} s: {progress:#?}");
            assert_eq!(progress.outcome, Some(Outcome::Reverted), "{at}");
            let bad = progress.timeline.iter().find(|entry| entry.what.starts_with("goes back")).unwrap();
            let took = progress.timeline.last().unwrap().at.duration_since(bad.at);
            assert!(took <= SignedDuration::from_secs(90), "{took} {at}");
            assert_eq!(after, before, "{at}");
        }
    }
}
