//! A prune run's plan, from the look of a person to the act: what is shown, what is done, what fails the run.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error, Result,
    domain::{id::PipelineName, reference::Kind},
    functions,
    ports::Bucket as _,
    steps::prune::{self, DeadBake, Plan, Reason, Request},
    store::{Ledger, keys},
};
use ovenbird_testkit::{
    Cloud, Fault,
    walk::scenarios::{Follows, Scenario},
};
use serde_json::{Value, json};

use super::desk::{Desk, TWO};

/// An account with one image to retire.
fn due() -> Desk {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    desk
}

fn plan(desk: &Desk, run: &str, request: &Value) -> Result<Value> {
    let input = json!({"run": run, "action": "plan", "request": request});
    block_on(functions::prune(&desk.cloud, input, desk.now()))
}

#[test]
fn a_dry_run_orders_nothing_and_its_plan_is_what_is_done_later() {
    let desk = due();
    desk.add_expired("dead");
    let shown = plan(&desk, "look", &json!({"dry-run": true})).unwrap();
    for list in ["dead_bakes", "retire", "problems"] {
        assert_eq!(shown[list], json!([]), "{list}: {shown}");
    }
    let done = plan(&desk, "act", &json!({"act": "look"})).unwrap();
    assert_eq!(done["retire"][0]["image"], desk.image("before-0").as_str(), "{done}");
    assert_eq!(done["dead_bakes"][0]["bake"], "dead", "{done}");
}

#[test]
fn a_plan_that_was_seen_more_than_an_hour_ago_is_not_acted_on() {
    let desk = due();
    plan(&desk, "look", &json!({"dry-run": true})).unwrap();
    desk.cloud.pass(SignedDuration::from_hours(1));
    plan(&desk, "act", &json!({"act": "look"})).unwrap();
    desk.cloud.pass(SignedDuration::from_secs(1));
    let error = plan(&desk, "act", &json!({"act": "look"})).unwrap_err();
    assert!(matches!(&error, Error::BadInput { .. }), "{error:?}");
    assert!(error.to_string().contains("more than an hour old"), "{error}");
}

#[test]
fn what_a_plan_found_wrong_fails_the_run_once_all_else_is_done() {
    let desk = due();
    let report = |problems: Value| {
        let input = json!({"run": "one", "action": "report", "cleaned": [], "retired": [{"image": "ami-1"}],
            "problems": problems});
        block_on(functions::prune(&desk.cloud, input, desk.now()))
    };
    assert_eq!(report(json!([])).unwrap()["retired"], 1);
    let error = report(json!(["pipeline storefront: its images stay"])).unwrap_err();
    assert!(matches!(&error, Error::PruneIncomplete { .. }), "{error:?}");
    assert!(error.to_string().contains("pipeline storefront: its images stay"), "{error}");
}

#[test]
fn a_parameter_is_not_released_under_a_channel_that_points_at_an_image() {
    let desk = due();
    let ledger = Ledger(&desk.cloud);
    let name = "/images/storefront/production".parse().unwrap();
    // Another bake promoted between the look of a first promotion's undo and its release.
    block_on(ledger.release_parameter(&desk.bake("before-0").spec.destination())).unwrap();
    assert!(block_on(ledger.parameter_owner(&name)).unwrap().is_some());
    desk.edit_channel(|doc| doc["current"] = Value::Null);
    block_on(ledger.release_parameter(&desk.bake("before-0").spec.destination())).unwrap();
    assert!(block_on(ledger.parameter_owner(&name)).unwrap().is_none());
}

#[test]
fn who_acts_on_a_plan_has_seen_its_problems_and_is_not_failed_for_them() {
    let desk = due();
    plan(&desk, "look", &json!({"dry-run": true})).unwrap();
    let key = keys::prune_plan(&"look".parse().unwrap());
    let mut seen: Value = serde_json::from_str(&block_on(desk.cloud.text(&key)).unwrap().unwrap()).unwrap();
    seen["problems"] = json!(["pipeline other: its images stay"]);
    seen["halted"] = json!("four images have no record");
    block_on(desk.cloud.put_text(&key, &seen.to_string())).unwrap();
    let done = plan(&desk, "act", &json!({"act": "look"})).unwrap();
    assert_eq!(done["problems"], json!([]), "{done}");
}

#[test]
fn what_became_of_an_image_is_told_whatever_the_plan_said() {
    let desk = due();
    let (image, old) = (desk.image("before-0"), desk.image("before-1"));
    let mut verdict = desk.verdict(&image);
    // Without its bake nobody can say that the bake made it.
    let mut nobody_s = verdict.clone();
    nobody_s.as_object_mut().unwrap().remove("bake");
    assert_eq!(desk.act("retire", &nobody_s).unwrap()["reason"], "unrecorded");
    let mut kept = desk.verdict(&old);
    kept["by"] = json!("another");
    kept["act"] = json!("deregister");
    assert_eq!(desk.act("retire", &kept).unwrap()["by"], "storefront/production");
    verdict["reason"] = json!("young");
    verdict["by"] = json!("another");
    let gone = desk.act("retire", &verdict).unwrap();
    assert_eq!((&gone["reason"], &gone["by"]), (&json!("retired"), &json!("")), "{gone}");
    assert!(!desk.exists(&image));
}

#[test]
fn a_plan_of_one_pipeline_leaves_all_others_alone() {
    let desk = Desk::new(&Scenario { layered: true, ..TWO });
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    desk.add_expired("dead");
    // Long enough for nobody to have used any of them.
    let days = SignedDuration::from_hours(24);
    for _ in 0..95 {
        desk.cloud.pass(days);
        if desk.now().as_second() / 86_400 % 30 == 0 {
            plan(&desk, "daily", &json!({})).unwrap();
        }
    }
    let whole = planned(&desk, None);
    let of = |plan: &Plan, pipeline: &str| {
        let count = |all: Vec<&PipelineName>| all.iter().filter(|one| one.as_str() == pipeline).count();
        [
            count(plan.dead_bakes.iter().map(|one| &one.pipeline).collect()),
            count(plan.retire.iter().map(|one| &one.pipeline).collect()),
            count(plan.keep.iter().map(|one| &one.pipeline).collect()),
            count(plan.unused.iter().map(|one| &one.pipeline).collect()),
        ]
    };
    assert!(of(&whole, "storefront").iter().all(|count| *count > 0), "{whole:?}");
    assert!(of(&whole, "jvm-runtime")[2] > 0, "{whole:?}");
    for (pipeline, other) in [("storefront", "jvm-runtime"), ("jvm-runtime", "storefront")] {
        let plan = planned(&desk, Some(pipeline));
        assert_eq!(of(&plan, other), [0; 4], "{plan:?}");
        assert_eq!(of(&plan, pipeline), of(&whole, pipeline), "{plan:?}");
    }
}

fn planned(desk: &Desk, pipeline: Option<&str>) -> Plan {
    let pipeline = pipeline.map(|name| name.parse().unwrap());
    let request = Request::Everything { pipeline, dry_run: true };
    block_on(prune::planned(&request, &desk.cloud, desk.now())).unwrap().0
}

/// Nobody is asked about a plan that is empty.
#[test]
fn a_plan_is_empty_if_it_neither_cleans_up_nor_retires() {
    let quiet = Desk::new(&TWO);
    assert!(planned(&quiet, None).is_empty());
    quiet.add_expired("dead");
    assert!(!planned(&quiet, None).is_empty());
    assert!(!planned(&due(), None).is_empty());
}

/// A plan without a word where something was not looked at would be taken for whole.
#[test]
fn what_goes_by_ends_the_plan_and_what_does_not_is_told() {
    let desk = Desk::new(&Scenario { follows: Follows::Template, ..TWO });
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let plan = |desk: &Desk| block_on(prune::plan(&desk.cloud, &desk.cloud, desk.now()));
    let rehearsal = desk.clone();
    let first = rehearsal.cloud.calls().len();
    assert!(plan(&rehearsal).unwrap().problems.is_empty());
    let calls = rehearsal.cloud.calls();
    let mut told = Vec::new();
    for (number, call) in calls.iter().enumerate().skip(first) {
        let under = |fault| {
            let desk = desk.clone();
            desk.cloud.inject(number, fault);
            plan(&desk)
        };
        let action = call.actions[0];
        for fault in [Fault::Throttled, Fault::ReplyLost] {
            assert!(under(fault).is_err_and(|error| error.goes_by()), "{fault:?}: {action} at {number}");
        }
        if let Ok(plan) = under(Fault::Refused) {
            assert!(!plan.problems.is_empty(), "{action} at {number}: {plan:?}");
            told.extend(plan.problems);
        }
    }
    // Each keeps what hangs on it alone.
    for problem in ["no version of a launch template is deleted", "pipeline storefront: its images stay"] {
        assert!(told.iter().any(|one| one.starts_with(problem)), "{problem}: {told:#?}");
    }
}

#[test]
fn a_parameter_that_is_written_while_the_plan_is_made_keeps_its_image() {
    let desk = due();
    let image = desk.image("before-0");
    let plan = async |cloud: &Cloud| prune::plan(cloud, cloud, cloud.now()).await.unwrap();
    let rehearsal = desk.clone();
    block_on(plan(&rehearsal.cloud));
    let reads = rehearsal.times("ssm:GetParameters") - desk.times("ssm:GetParameters");
    assert_eq!(reads, 2, "the basis's and the guard's");
    let write =
        || desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), image.as_str());
    // The last one is the guard's: all that names images was read before.
    let plan = desk.interrupt(plan, "ssm:GetParameters", reads - 1, write);
    let verdict = plan.verdicts().find(|verdict| verdict.image == image).unwrap();
    assert_eq!(verdict.reason, Reason::Named(Kind::Parameter));
}

#[test]
fn a_parameter_is_not_told_as_drifted_while_a_bake_promotes() {
    let told = |stage: &str| {
        let desk = Desk::new(&TWO);
        desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), "ami-00000000000000000");
        desk.add_bake("now", |doc| (doc["status"], doc["stage"]) = (json!("running"), json!(stage)));
        block_on(prune::plan_and_drifts(&desk.cloud, &desk.cloud, desk.now())).unwrap().1.len()
    };
    assert_eq!((told("promotion"), told("validation")), (0, 1));
}

#[test]
fn the_plan_of_a_bake_that_ended_well_names_nothing_of_its_image() {
    let desk = Desk::new(&TWO);
    let dead = DeadBake::new("storefront".parse().unwrap(), "before-1".parse().unwrap());
    let request = Request::Bake { dead, dry_run: true };
    let (plan, ..) = block_on(prune::planned(&request, &desk.cloud, desk.now())).unwrap();
    assert_eq!(plan.dead_bakes[0].leaves, [""; 0]);
}
