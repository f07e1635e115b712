//! A prune run's plan, from the look of a person to the act: what is shown, what is done, what fails the run.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{Error, Result, functions, store::Ledger};
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
    block_on(ledger.release_parameter(&desk.bake("before-0"))).unwrap();
    assert!(block_on(ledger.parameter_owner(&name)).unwrap().is_some());
    desk.edit_channel(|doc| doc["current"] = Value::Null);
    block_on(ledger.release_parameter(&desk.bake("before-0"))).unwrap();
    assert!(block_on(ledger.parameter_owner(&name)).unwrap().is_none());
}
