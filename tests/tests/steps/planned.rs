//! A prune run's plan, from the look of a person to the act: what is shown, what is done, what fails the run.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error, Result, functions,
    ports::Bucket as _,
    store::{Ledger, keys},
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
