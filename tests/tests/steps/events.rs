//! What EventBridge is told, in which words, and when it is told again.

use ovenbird_core::domain::{
    event_details::{BakeFailed, ImagePromoted, ParameterDrifted},
    id::PipelineName,
};
use ovenbird_testkit::{
    Fault,
    walk::{
        account::walk,
        machine::{Diary, End},
        scenarios::{Machines, PLAIN, Run, Scenario},
    },
};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::desk::Desk;

const ONE: Scenario = Scenario { before: &["v1.jar"], ..PLAIN };

fn run(desk: &Desk, name: &str, run: Run) -> End {
    let ended = walk(&desk.cloud, &[(name.to_owned(), (0, run))], &Diary::default());
    ended[name].clone()
}

/// What was told of a kind, in order.
fn told<D: DeserializeOwned>(desk: &Desk, kind: &str) -> Vec<D> {
    let all = desk.cloud.told().into_iter().filter(|event| event["DetailType"] == kind);
    all.map(|event| serde_json::from_value(event["Detail"].clone()).unwrap()).collect()
}

#[test]
fn a_promotion_names_the_image_before() {
    let desk = Desk::new(&ONE);
    assert!(matches!(run(&desk, "second", Run::Upload("v2.jar")), End::Succeeded(_)));
    let promoted: Vec<ImagePromoted> = told(&desk, "Image Promoted");
    let [first, second] = &promoted[..] else { panic!("{promoted:?}") };
    assert_eq!((&first.previous, &second.previous), (&None, &Some(first.image.clone())));
    assert_eq!(second.id, "promoted/second/production");
    assert_eq!(second.summary, format!("pipeline storefront: channel production has {}", second.image));
}

#[test]
fn a_failed_bake_tells_its_pipeline_its_stage_and_its_cause() {
    let desk = Desk::new(&Scenario { machines: Machines::FailAStep, ..PLAIN });
    assert!(matches!(run(&desk, "run-0", Run::Upload("v1.jar")), End::Failed { .. }));
    let failed: Vec<BakeFailed> = told(&desk, "Bake Failed");
    let [failed] = &failed[..] else { panic!("{failed:?}") };
    assert_eq!(failed.pipeline.as_ref().map(PipelineName::as_str), Some("storefront"));
    assert_eq!((failed.id.as_str(), failed.error.as_str()), ("failed/run-0", "StepFailed"));
    assert_eq!(failed.artifact.as_deref(), Some("artifacts/storefront/v1.jar"));
    assert!(failed.cause.contains("it is broken"), "{}", failed.cause);
}

/// A bake that failed before it had a record is no less a failed bake.
#[test]
fn a_bake_without_a_record_tells_its_pipeline_too() {
    let desk = Desk::new(&PLAIN);
    let missing = Run::Manual(r#"{"pipeline": "nothing-like-it"}"#);
    assert!(matches!(run(&desk, "early", missing), End::Failed { .. }));
    let failed: Vec<BakeFailed> = told(&desk, "Bake Failed");
    assert_eq!(failed[0].pipeline.as_ref().map(PipelineName::as_str), Some("nothing-like-it"));
    assert_eq!(failed[0].error, "NoRecipe");
}

/// EventBridge is down for good: the bake is promoted all the same.
#[test]
fn what_can_not_be_told_stops_no_bake() {
    let desk = Desk::new(&PLAIN);
    let rehearsal = desk.clone();
    run(&rehearsal, "first", Run::Upload("v1.jar"));
    let put = rehearsal.cloud.calls().iter().position(|call| call.actions == ["events:PutEvents"]).unwrap();
    desk.cloud.inject(put, Fault::AlwaysDies);
    assert!(matches!(run(&desk, "first", Run::Upload("v1.jar")), End::Succeeded(_)));
    assert_eq!(desk.bake("first").progress.status.as_str(), "promoted");
    assert_eq!(told::<ImagePromoted>(&desk, "Image Promoted"), []);
    assert!(desk.cloud.tellings().len() >= 2, "it was tried");
}

/// The execution ends between the record and the event. EventBridge then starts a prune run that names the bake.
#[test]
fn a_bake_whose_execution_was_stopped_is_told_of_by_the_prune_run() {
    let desk = Desk::new(&Scenario { machines: Machines::FailAStep, ..PLAIN });
    let rehearsal = desk.clone();
    run(&rehearsal, "run-0", Run::Upload("v1.jar"));
    let put = rehearsal.cloud.calls().iter().position(|call| call.actions == ["events:PutEvents"]).unwrap();
    desk.cloud.inject(put, Fault::ExecutionEndsBefore);
    assert_eq!(run(&desk, "run-0", Run::Upload("v1.jar")), End::Lost);
    assert_eq!(told::<BakeFailed>(&desk, "Bake Failed"), []);
    let cleaned = desk.act("clean", &json!({"pipeline": "storefront", "bake": "run-0"})).unwrap();
    assert_eq!((&cleaned["next"]["to"], &cleaned["status"]), (&json!("tell"), &json!("failed")));
    let failed: BakeFailed = serde_json::from_value(cleaned["events"][0]["Detail"].clone()).unwrap();
    assert_eq!((failed.id.as_str(), failed.error.as_str()), ("failed/run-0", "StepFailed"));
}

#[test]
fn a_parameter_that_somebody_wrote_by_hand_is_told_by_each_run_with_the_same_id() {
    let desk = Desk::new(&ONE);
    let parameter = "/images/storefront/production".parse().unwrap();
    run(&desk, "sweep-0", Run::Prune);
    assert_eq!(told::<ParameterDrifted>(&desk, "Parameter Drifted"), []);
    desk.cloud.put_parameter(&parameter, "ami-00000000000000000");
    for sweep in ["sweep-1", "sweep-2"] {
        assert!(matches!(run(&desk, sweep, Run::Prune), End::Succeeded(_)));
    }
    let drifted: Vec<ParameterDrifted> = told(&desk, "Parameter Drifted");
    let [first, second] = &drifted[..] else { panic!("{drifted:?}") };
    assert_eq!(first, second);
    assert_eq!(first.value.as_deref(), Some("ami-00000000000000000"));
    assert_eq!(first.parameter, parameter);
}
