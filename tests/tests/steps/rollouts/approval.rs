//! A person is asked before a stage: who is told, and what becomes of a rollout that nobody answers.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{
        event_details::ApprovalNeeded,
        rollout::{Outcome, Phase},
    },
    ports::Stack as _,
    views::{
        status::{self, Fleet},
        worries::approval,
    },
};
use ovenbird_testkit::{
    Cloud,
    walk::{
        account::walk,
        machine::Diary,
        scenarios::{Follows, Run, Scenario, Steer},
    },
};

use super::{STREET, Walked, channel, rollouts, view, walked};

/// One that the recipe lets a person approve before its last stage, and that nobody has answered.
fn asked() -> Walked {
    walked(&Scenario { follows: Follows::Asked(3), ..STREET })
}

fn questions(cloud: &Cloud) -> Vec<ApprovalNeeded> {
    let all = cloud.told().into_iter().filter(|event| event["DetailType"] == "Approval Needed");
    all.map(|event| serde_json::from_value(event["Detail"].clone()).unwrap()).collect()
}

#[test]
fn a_person_is_asked_for_approval_and_the_rollout_goes_on_with_it() {
    let Walked { cloud, .. } = asked();
    let rollout = rollouts(&cloud).remove(0);
    assert!(rollout.awaits_approval(), "{rollout:#?}");
    let [_of_v1, question] = &questions(&cloud)[..] else { panic!("{:?}", questions(&cloud)) };
    assert_eq!((question.stage, question.until), (2, rollout.approval_ends()));
    assert_eq!(&question.stack, cloud.stack());
    assert_eq!(rollout.progress.awaits, format!("a person's approval, until {:.0}", question.until.unwrap()));
    let command = "ovenbird rollout storefront --channel production approve";
    assert!(question.summary.ends_with(command), "{question:?}");
    // `ovenbird status` names it, with the command of the answer.
    let records = block_on(status::records(&cloud, &rollout.spec.to.pipeline)).unwrap();
    let one = block_on(status::status(&cloud, &[records], &Fleet::new(), cloud.now())).unwrap().remove(0);
    let coming = one.channels[0].rolling.as_ref().unwrap();
    assert_eq!(
        (coming.phase, coming.awaits.as_deref()),
        (Some(Phase::Paused), Some(&*rollout.progress.awaits))
    );
    let worry = approval(&one, &one.channels[0]).unwrap();
    assert!(worry.what.ends_with(&rollout.progress.awaits), "{worry:?}");
    // An hour is nearly over, and prune runs go by.
    cloud.pass(SignedDuration::from_mins(50));
    walk(&cloud, &[("sweep".to_owned(), (0, Run::Prune))], &Diary::default());
    assert_eq!(rollouts(&cloud)[0].progress.phase, Phase::Paused);
    walk(&cloud, &[("approve".to_owned(), (0, Run::Steer(Steer::Resume)))], &Diary::default());
    assert_eq!(rollouts(&cloud)[0].progress.outcome, Some(Outcome::Settled));
    assert_eq!(questions(&cloud).len(), 2, "nobody is asked twice");
}

#[test]
fn what_nobody_approves_in_time_goes_back_and_is_not_rejected() {
    let Walked { cloud, before, .. } = asked();
    cloud.pass(SignedDuration::from_mins(61));
    assert_eq!(rollouts(&cloud)[0].progress.phase, Phase::Paused);
    walk(&cloud, &[("sweep".to_owned(), (0, Run::Prune))], &Diary::default());
    cloud.pass(SignedDuration::from_secs(60));
    let rollout = rollouts(&cloud).remove(0);
    assert_eq!(rollout.progress.outcome, Some(Outcome::Aborted), "{rollout:#?}");
    assert_eq!(rollout.progress.reason.as_deref(), Some("nobody approved it in time"));
    assert_eq!(view(&cloud), before);
    assert_eq!(channel(&cloud).rejected, Vec::new(), "that nobody looked says nothing against an image");
}

#[test]
fn a_person_s_own_pause_has_no_limit_and_asks_nobody() {
    // The watch of the first stage is on: the pause comes before the second.
    let scenario = Scenario { runs: &[(0, Run::Upload("v2.jar")), (40, Run::Steer(Steer::Pause))], ..STREET };
    let Walked { cloud, .. } = walked(&scenario);
    let progress = &rollouts(&cloud)[0].progress;
    assert_eq!(
        (progress.phase, progress.awaits.as_str()),
        (Phase::Paused, "a person, who resumes or aborts it")
    );
    assert_eq!(questions(&cloud), []);
    cloud.pass(SignedDuration::from_hours(24 * 40));
    walk(&cloud, &[("sweep".to_owned(), (0, Run::Prune))], &Diary::default());
    assert_eq!(rollouts(&cloud)[0].progress.phase, Phase::Paused);
}

#[test]
fn nobody_is_asked_about_an_image_that_was_good_lately() {
    let scenario = Scenario { before: &["v1.jar", "v2.jar"], follows: Follows::Asked(2), ..STREET };
    let (cloud, _) = scenario.account();
    walk(&cloud, &[("back".to_owned(), (0, Run::Steer(Steer::RollBack)))], &Diary::default());
    assert_eq!(rollouts(&cloud)[0].progress.outcome, Some(Outcome::Settled));
    assert_eq!(questions(&cloud).len(), 2, "about v1 and v2, when they were new");
}
