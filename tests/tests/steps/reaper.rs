//! Which bakes a prune run takes for dead, by their records and by what carries their tags, and how many it acts on.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{
        bake::Status,
        id::AmiId,
        tags::{TAG_BAKE, TAG_EXPIRES, TAG_PIPELINE, TAG_ROLE},
    },
    ports::Execution,
    steps::prune::{MOST_AWAY, MOST_PER_RUN},
};
use ovenbird_testkit::Fault;
use ovenbird_testkit::walk::{
    account::walk,
    machine::{Diary, End},
    scenarios::{PLAIN, Run, Scenario},
};
use serde_json::json;

use super::desk::{Desk, TWO};

const ONE: Scenario = Scenario { before: &["v1.jar"], ..PLAIN };

/// An account in which the execution of bake `lost` ended just before it ordered the tests: it has a builder.
fn lost_with_a_builder() -> Desk {
    // Before that it writes the plan, the first order, the URLs and the user data.
    lost_before_one("s3:PutObject", 4)
}

/// An account in which the execution of bake `lost` ended just before its first call of `action`.
fn lost_before(action: &str) -> Desk {
    lost_before_one(action, 0)
}

fn lost_before_one(action: &str, number: usize) -> Desk {
    let desk = Desk::new(&ONE);
    let run = [("lost".to_owned(), (0, Run::Upload("v2.jar")))];
    let rehearsal = desk.clone();
    let first = rehearsal.cloud.calls().len();
    walk(&rehearsal.cloud, &run, &Diary::default());
    let calls = rehearsal.cloud.calls();
    let mut numbers = (first..calls.len()).filter(|number| calls[*number].actions[0] == action);
    desk.cloud.inject(numbers.nth(number).unwrap(), Fault::ExecutionEndsBefore);
    assert_eq!(walk(&desk.cloud, &run, &Diary::default())["lost"], End::Lost);
    desk
}

fn expires(desk: &Desk) -> Timestamp {
    desk.bake("lost").spec.expires
}

/// Lets time go on to a moment.
fn pass_to(desk: &Desk, moment: Timestamp) {
    desk.cloud.pass(moment.duration_since(desk.now()));
}

fn builder(desk: &Desk) -> String {
    let builder = |world: &mut ovenbird_sim::World| {
        let mut live = world.live_instances().filter(|one| one.tags[TAG_BAKE] == "lost");
        live.next().map(|one| one.id.to_string())
    };
    desk.cloud.with(builder).expect("it has a builder")
}

fn stands(desk: &Desk, execution: Execution) {
    desk.cloud.stands(&"lost".parse().unwrap(), execution);
}

#[test]
fn a_bake_is_dead_as_soon_as_its_execution_is_over_and_lives_as_long_as_that_runs() {
    let desk = lost_with_a_builder();
    for over in [Execution::Stopped { cause: String::new() }, Execution::TimedOut, Execution::Failed] {
        stands(&desk, over);
        assert_eq!(desk.dead(), ["lost"]);
    }
    stands(&desk, Execution::Running);
    assert!(desk.dead().is_empty());
    pass_to(&desk, expires(&desk) + SignedDuration::from_hours(1));
    assert!(desk.dead().is_empty(), "late, and at work");
}

#[test]
fn a_record_that_is_older_than_its_execution_s_success_says_nothing_of_what_may_go() {
    // The table was put back to an earlier time.
    let desk = lost_with_a_builder();
    stands(&desk, Execution::Succeeded);
    pass_to(&desk, expires(&desk) + SignedDuration::from_hours(1));
    assert!(desk.dead().is_empty());
    let (answer, _) = desk.plan();
    assert!(answer["problems"].to_string().contains("put back to an earlier time"), "{answer}");
    let error = desk.act("clean", &json!({"pipeline": "storefront", "bake": "lost"})).unwrap_err();
    assert!(error.to_string().contains("the record is older"), "{error}");
}

#[test]
fn a_bake_whose_execution_is_forgotten_is_dead_when_it_has_expired_and_not_a_moment_sooner() {
    let desk = lost_with_a_builder();
    desk.cloud.forget_execution(&"lost".parse().unwrap());
    assert!(desk.dead().is_empty());
    pass_to(&desk, expires(&desk) - SignedDuration::from_secs(1));
    assert!(desk.dead().is_empty());
    pass_to(&desk, expires(&desk));
    assert!(desk.dead().is_empty(), "its last moment");
    desk.cloud.pass(SignedDuration::from_secs(1));
    assert_eq!(desk.dead(), ["lost"]);
}

#[test]
fn the_reaper_takes_no_running_bake_whatever_its_tags_say() {
    for tag in ["2020-01-01T00:00:00Z", "soon"] {
        let desk = lost_with_a_builder();
        stands(&desk, Execution::Running);
        desk.tag(&builder(&desk), TAG_EXPIRES, tag);
        assert!(desk.dead().is_empty(), "{tag}: its record says that it runs");
        // Ended, it is dead.
        desk.edit_bake("lost", |doc| doc["status"] = json!("failed"));
        assert_eq!(desk.dead(), ["lost"], "{tag}");
    }
}

#[test]
fn a_builder_that_was_to_be_kept_is_reaped_only_when_its_bake_has_expired() {
    let desk = lost_with_a_builder();
    desk.edit_bake("lost", |doc| {
        doc["status"] = json!("failed");
        doc["options"]["keep-builder"] = json!(true);
    });
    assert!(desk.dead().is_empty());
    pass_to(&desk, expires(&desk) - SignedDuration::from_secs(1));
    assert!(desk.dead().is_empty());
    desk.cloud.pass(SignedDuration::from_secs(1));
    assert_eq!(desk.dead(), ["lost"]);
    // Gone, it is no reason any more.
    let builder = builder(&desk);
    desk.cloud.with(|world| world.terminate_instances(&[builder], false)).unwrap();
    assert!(desk.dead().is_empty());
}

#[test]
fn an_image_without_a_proof_and_a_snapshot_without_an_image_give_a_dead_bake_away() {
    let desk = lost_at_promotion();
    desk.edit_bake("lost", |doc| doc["status"] = json!("failed"));
    assert_eq!(desk.dead(), ["lost"]);
    let image = desk.image("lost");
    desk.cloud.deregister(&image);
    assert_eq!(desk.dead(), ["lost"], "its snapshot is still there");
}

/// The execution of bake `lost` ended with its image made, and nothing of it validated; its builder is gone.
fn lost_at_promotion() -> Desk {
    let desk = Desk::new(&ONE);
    let run = [("lost".to_owned(), (0, Run::Upload("v2.jar")))];
    let rehearsal = desk.clone();
    walk(&rehearsal.cloud, &run, &Diary::default());
    let calls = rehearsal.cloud.calls();
    let first = calls.iter().position(|call| call.by.starts_with("lost/Promote#")).unwrap();
    desk.cloud.inject(first, Fault::ExecutionEndsBefore);
    assert_eq!(walk(&desk.cloud, &run, &Diary::default())["lost"], End::Lost);
    let builder = builder(&desk);
    desk.cloud.with(|world| world.terminate_instances(&[builder], false)).unwrap();
    desk.cloud.pass(SignedDuration::from_secs(10));
    desk
}

#[test]
fn the_image_of_a_bake_that_ended_well_is_retention_s_business_and_nobody_s_leaving() {
    use Status::{Cancelled, Failed, Promoted, Running, Superseded, Validated};
    for status in [Promoted, Validated, Superseded, Running, Failed, Cancelled] {
        let desk = Desk::new(&TWO);
        desk.cloud.forget_execution(&"before-0".parse().unwrap());
        let dead = match status {
            Promoted | Validated | Superseded => Vec::new(),
            Running | Failed | Cancelled => vec!["before-0".to_owned()],
        };
        // Its own record doesn't say that it was proven.
        desk.edit_image("before-0", |doc| doc["status"] = json!("baking"));
        let long_ago = "2020-01-01T00:00:00Z";
        desk.edit_bake("before-0", |doc| {
            doc["status"] = json!(status);
            doc["expires"] = json!(long_ago);
        });
        desk.tag(desk.image("before-0").as_str(), TAG_EXPIRES, long_ago);
        assert_eq!(desk.dead(), dead, "{status:?}");
    }
}

#[test]
fn an_image_whose_record_says_that_it_still_bakes_is_not_proven() {
    let desk = Desk::new(&TWO);
    desk.tag(desk.image("before-0").as_str(), TAG_EXPIRES, "2020-01-01T00:00:00Z");
    desk.edit_bake("before-0", |doc| doc["status"] = json!("failed"));
    assert!(desk.dead().is_empty());
    desk.edit_image("before-0", |doc| doc["status"] = json!("baking"));
    assert_eq!(desk.dead(), ["before-0"]);
}

#[test]
fn no_run_acts_on_more_than_the_cap() {
    for (count, most) in [(MOST_PER_RUN - 1, MOST_PER_RUN - 1), (MOST_PER_RUN + 2, MOST_PER_RUN)] {
        let desk = Desk::new(&ONE);
        for number in 0..count {
            desk.add_expired(&format!("dead-{number}"));
        }
        let (answer, plan) = desk.plan();
        assert_eq!(answer["dead_bakes"].as_array().unwrap().len(), most, "dead bakes of {count}");
        assert_eq!(plan["dead_bakes"].as_array().unwrap().len(), most);
    }
}

#[test]
fn no_run_takes_away_more_images_than_ten_or_a_tenth_and_the_oldest_go_first() {
    // Beside the channel's own image, the newest stays.
    for (count, most) in [(3, 1), (18, 1), (19, 2), (98, 9), (103, MOST_AWAY)] {
        let desk = Desk::new(&ONE);
        desk.add_images(count);
        let (answer, plan) = desk.plan();
        let retired: Vec<_> =
            answer["retire"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        let oldest: Vec<_> = (0..most).map(|number| format!("more-{number}")).collect();
        assert_eq!(retired, oldest, "of {count}");
        assert_eq!(plan["retire"].as_array().unwrap().len(), most);
        // All others are told of.
        assert_eq!(answer["kept"].as_u64(), Some((count + 1 - most) as u64));
        let later = plan["keep"].as_array().unwrap().iter().filter(|one| one["reason"] == "later").count();
        assert_eq!((later, plan["later"].as_u64()), (count - 1 - most, Some(later as u64)));
        assert!(answer["dead_bakes"].as_array().unwrap().is_empty());
    }
}

#[test]
fn what_carries_no_bake_and_no_pipeline_is_nobody_s() {
    let desk = lost_with_a_builder();
    desk.edit_bake("lost", |doc| doc["status"] = json!("failed"));
    pass_to(&desk, expires(&desk) + SignedDuration::from_secs(1));
    let builder = builder(&desk);
    for (tag, wrong, right) in [(TAG_PIPELINE, "Not A Name", "storefront"), (TAG_ROLE, "whatever", "builder")]
    {
        desk.tag(&builder, tag, wrong);
        assert!(desk.dead().is_empty(), "{tag}");
        let (answer, _) = desk.plan();
        assert!(answer["problems"].to_string().contains(&builder), "it is told of: {answer}");
        desk.tag(&builder, tag, right);
        assert_eq!(desk.dead(), ["lost"]);
    }
}

#[test]
fn a_dead_bake_that_moved_its_channel_is_finished_and_any_other_is_taken_back() {
    // It died with the channel moved and the parameter not.
    let desk = lost_before("ssm:PutParameter");
    let (old, new) = (desk.image("before-0"), desk.image("lost"));
    assert_eq!((desk.current(), desk.parameter()), (Some(new.clone()), Some(old.to_string())));
    pass_to(&desk, expires(&desk) + SignedDuration::from_secs(1));
    let (answer, _) = desk.plan();
    desk.act("clean", &answer["dead_bakes"][0]).unwrap();
    assert_eq!(desk.bake("lost").progress.status, Status::Promoted);
    assert_eq!((desk.current(), desk.parameter()), (Some(new.clone()), Some(new.to_string())));

    // It died with its image proven and the channel not moved.
    let desk = lost_before("ec2:CreateImage");
    pass_to(&desk, expires(&desk) + SignedDuration::from_secs(1));
    let (answer, _) = desk.plan();
    desk.act("clean", &answer["dead_bakes"][0]).unwrap();
    let bake = desk.bake("lost");
    assert_eq!(
        (bake.progress.status, bake.progress.failure.unwrap().error.as_str()),
        (Status::Cancelled, "Cancelled")
    );
    assert_eq!((desk.current(), desk.parameter()), (Some(old.clone()), Some(old.to_string())));
    desk.cloud.pass(SignedDuration::from_secs(10));
    assert_eq!(desk.cloud.with(|world| world.live_instances().count()), 0);
}

/// Bakes would look for the image, find none, and look again with the next one.
#[test]
fn the_record_of_an_image_goes_only_when_somebody_else_deregistered_the_image() {
    let record = |desk: &Desk, image: &AmiId| {
        let pk = format!("IMAGE#{image}");
        desk.cloud.rows().iter().any(|row| row.key.pk == pk)
    };
    let clean = |bake: &str| json!({"pipeline": "storefront", "bake": bake});
    let desk = Desk::new(&TWO);
    desk.cloud.pass(SignedDuration::from_hours(1));
    let (gone, there) = (desk.image("before-0"), desk.image("before-1"));
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    desk.cloud.deregister(&gone);
    assert_eq!(desk.dead(), ["before-0"], "its snapshots give it away");
    desk.act("clean", &clean("before-0")).unwrap();
    desk.act("clean", &clean("before-1")).unwrap();
    assert!(!record(&desk, &gone) && record(&desk, &there));
}

#[test]
fn a_bake_that_somebody_stopped_says_so_with_or_without_a_word_of_theirs() {
    for (said, cause) in [("", "Somebody stopped its execution"), ("too late", "too late")] {
        let desk = lost_with_a_builder();
        stands(&desk, Execution::Stopped { cause: said.into() });
        desk.act("clean", &json!({"pipeline": "storefront", "bake": "lost"})).unwrap();
        let failure = desk.bake("lost").progress.failure.unwrap();
        assert_eq!((failure.error.as_str(), failure.cause.as_str()), ("Cancelled", cause));
    }
}

/// Somebody's copy has the same tags.
#[test]
fn a_snapshot_that_its_bake_did_not_make_is_told_of_and_left_alone() {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    desk.cloud.deregister(&desk.image("before-0"));
    desk.edit_bake("before-0", |doc| (doc["snapshots"], doc["builder"]) = (json!([]), json!("i-00000000")));
    let (answer, _) = desk.plan();
    assert_eq!(answer["dead_bakes"], json!([]));
    let problems: Vec<String> = serde_json::from_value(answer["problems"].clone()).unwrap();
    assert!(problems.iter().any(|one| one.starts_with("snapshot snap-")), "{problems:?}");
}
