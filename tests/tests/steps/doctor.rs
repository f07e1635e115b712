//! What `ovenbird doctor` asks of an account, and what it says where things are as people leave them.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error,
    ports::ParameterKind,
    store::keys,
    views::doctor::{Checkup, Deployed, Severity, checkup, gather},
};
use ovenbird_testkit::Fault;

use super::desk::{Desk, TWO};

const VERSION: &str = "1.0.0";

fn deployed(desk: &Desk) -> Deployed {
    Deployed {
        version: Some(VERSION.to_owned()),
        bucket: "bucket".to_owned(),
        bake_machine: "arn:bake".to_owned(),
        rollout_machine: Some("arn:rollout".to_owned()),
        prune_machine: "arn:prune".to_owned(),
        topic: Some("arn:topic".to_owned()),
        since: Some(desk.now() - SignedDuration::from_hours(1)),
        ..Deployed::default()
    }
}

fn look(desk: &Desk) -> Checkup {
    let stack = Ok(deployed(desk));
    checkup(&block_on(gather(&desk.cloud, "ovenbird", stack, VERSION, false, desk.now())))
}

fn told(desk: &Desk) -> Vec<(Severity, String)> {
    let checks = look(desk).checks;
    checks.into_iter().flat_map(|one| one.findings).map(|one| (one.severity, one.what)).collect()
}

#[test]
fn an_account_in_which_bakes_go_well_is_well() {
    let desk = Desk::new(&TWO);
    let checkup = look(&desk);
    assert_eq!(told(&desk), []);
    assert!(!checkup.bakes_would_fail);
    let names: Vec<&str> = checkup.checks.iter().map(|check| check.name.as_str()).collect();
    let expected = [
        "account",
        "stack",
        "encryption",
        "network",
        "uploads",
        "alarms",
        "bakes",
        "rollouts",
        "prune runs",
        "runner",
        "pipeline storefront",
    ];
    assert_eq!(names, expected);
}

#[test]
fn what_a_bake_would_fail_by_is_found_in_the_account() {
    let desk = Desk::new(&TWO);
    let parameter = "/images/storefront/production".parse().unwrap();
    let text = ParameterKind {
        kind: "String".to_owned(),
        data_type: "text".to_owned(),
        tier: "Standard".to_owned(),
        has_policies: false,
        version: 1,
        written: desk.now(),
    };
    desk.cloud.around(|around| {
        around.kinds.insert(parameter, text);
        (around.uploads, around.rules) = (false, false);
        around.subscriptions.clear();
        around.types.clear();
        around.tables = Some(Vec::new());
    });
    let told = told(&desk);
    for words in [
        "bucket bucket doesn't tell EventBridge of uploads",
        "rule to-bake is disabled",
        "rule to-topic is disabled",
        "nobody is told of failures",
        "this Region has no instance type",
        "has no route to the internet",
        "is of data type text",
    ] {
        assert!(told.iter().any(|(_, what)| what.contains(words)), "{words}: {told:#?}");
    }
    assert!(look(&desk).bakes_would_fail);
}

#[test]
fn a_runner_that_nobody_pushed_for_the_base_is_found() {
    let desk = Desk::new(&TWO);
    for architecture in ["x86_64", "arm64"] {
        desk.cloud.delete_object(&keys::runner_pointer(architecture));
    }
    let told = told(&desk);
    assert!(told.len() == 1 && told[0].1.contains("no runner for"), "{told:#?}");
}

/// Each call may be refused: that is a finding, and every other check is made all the same.
#[test]
fn whatever_may_not_be_asked_is_said_and_the_rest_is_looked_at() {
    let calls = {
        let desk = Desk::new(&TWO);
        let before = desk.cloud.calls().len();
        look(&desk);
        desk.cloud.calls().split_off(before)
    };
    assert!(calls.len() > 20, "{calls:?}");
    for (number, call) in calls.iter().enumerate() {
        let desk = Desk::new(&TWO);
        let before = desk.cloud.calls().len();
        desk.cloud.inject(before + number, Fault::Refused);
        let checkup = look(&desk);
        let findings: Vec<_> = checkup.checks.iter().flat_map(|check| &check.findings).collect();
        let action = call.actions[0];
        if action == "sts:GetCallerIdentity" {
            assert!(findings[0].what.contains("no credentials"), "{findings:#?}");
            continue;
        }
        let [finding] = findings[..] else { panic!("{action}: {findings:#?}") };
        assert_eq!(finding.severity, Severity::Unknown, "{action}: {finding:#?}");
        assert!(finding.what.starts_with("could not look: "), "{action}: {finding:#?}");
        assert!(!checkup.bakes_would_fail, "{action}");
    }
}

#[test]
fn before_the_first_deploy_the_account_alone_is_looked_at() {
    let desk = Desk::new(&TWO);
    let missing = Err(Error::bad_input("stack `ovenbird`", "is not deployed", "make deploy"));
    let facts = block_on(gather(&desk.cloud, "ovenbird", missing, VERSION, false, desk.now()));
    let checkup = checkup(&facts);
    let names: Vec<&str> = checkup.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["account", "stack", "encryption", "network"]);
    assert!(checkup.bakes_would_fail);
}
