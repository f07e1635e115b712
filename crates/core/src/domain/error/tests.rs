//! How errors read.

use super::*;
use crate::domain::report;

#[test]
fn a_rendering_names_the_operation_the_subject_and_the_cause() {
    let error = Error::Denied {
        operation: "ec2:CreateImage".into(),
        subject: "i-0123456789abcdef0".into(),
        source: Some(Box::new(Error::Aws {
            operation: "ec2:CreateImage".into(),
            subject: "i-0123456789abcdef0".into(),
            code: "UnauthorizedOperation".into(),
            message: "You are not authorized".into(),
            request_id: "1f2e".into(),
        })),
    };
    insta::assert_snapshot!(error.chain(), @r"
    not allowed to call ec2:CreateImage on i-0123456789abcdef0
      caused by: ec2:CreateImage on i-0123456789abcdef0: UnauthorizedOperation: You are not authorized (request 1f2e)
    ");
    assert!(Error::NAMES.contains(&error.name()));
}

/// One of each variant, where a text has more than one form one of each form.
fn all() -> Vec<Error> {
    let bake = || BakeId::parse("storefront-1").unwrap();
    let image = || AmiId::parse("ami-0123456789abcdef0").unwrap();
    let instance = || InstanceId::parse("i-0123456789abcdef0").unwrap();
    let pipeline = || PipelineName::parse("storefront").unwrap();
    let aws = || {
        Some(Box::new(Error::Aws {
            operation: "ec2:RunInstances".into(),
            subject: "c7i.large".into(),
            code: "InsufficientInstanceCapacity".into(),
            message: "We do not have enough.".into(),
            request_id: String::new(),
        }))
    };
    let no_capacity = |shortage| Error::NoCapacity {
        tried: "c7i.large on demand (InsufficientInstanceCapacity)".into(),
        shortage,
        source: aws(),
    };
    let step = |step: &str| Error::StepFailed {
        step: step.into(),
        exit: "exit 1".into(),
        output: "E: no such package".into(),
    };
    let late = |stage| Error::DeadlinePassed {
        stage,
        allowed: 600,
        awaited: "the steps to end",
        seen: "instance i-1 running, no report yet".into(),
    };
    let again = |why| Error::TryAgain { what: "snapshot snap-1".into(), why };
    let denied = |operation: &str| Error::Denied {
        operation: operation.into(),
        subject: "c7i.large".into(),
        source: aws(),
    };
    vec![
        Error::bad_input("`--stack`", "is empty", "Give the stack's name"),
        Error::NoRecipe { pipeline: pipeline() },
        Error::BadRecipe { pipeline: pipeline(), problem: "line 3, column 1: unknown key `stpes`".into() },
        Error::NoArtifact {
            pipeline: pipeline(),
            key: "artifacts/storefront/v1.war".into(),
            problem: "is not there".into(),
        },
        Error::NoBase { what: "image = \"ami-1\"".into(), problem: "is not there".into() },
        no_capacity(Shortage::Offer),
        no_capacity(Shortage::Quota),
        step("install"),
        step(report::FETCH),
        Error::TestsFailed {
            failed: 1,
            total: 3,
            detail: "http: status 500".into(),
            bake: "storefront-1".parse().unwrap(),
        },
        Error::SealFailed { instance: instance(), problem: "`/etc/ssh/key` can't be removed".into() },
        Error::RunnerFailed { instance: instance(), problem: "the plan is of another version".into() },
        Error::BuilderSilent {
            instance: instance(),
            stage: Stage::Builder,
            seconds: 300,
            heard: false,
            what: "was not heard of since its launch".into(),
            console: "boot".into(),
        },
        Error::BuilderLost {
            instance: instance(),
            stage: Stage::Builder,
            state: "terminated".into(),
            reason: ": Server.SpotInstanceTermination: reclaimed".into(),
            loss: Loss::SpotReclaimed,
            console: "login:".into(),
        },
        late(Stage::Builder),
        late(Stage::Validation),
        late(Stage::Image),
        late(Stage::Promotion),
        late(Stage::AwaitTwin),
        Error::ImageFailed { image: image(), reason: "Client.InvalidSnapshot".into() },
        Error::NotPromotable { image: image(), problem: "it has not passed its tests".into() },
        Error::ParameterTaken {
            parameter: ParameterName::parse("/images/storefront").unwrap(),
            owner: "other/production".into(),
        },
        Error::ParameterBusy {
            parameter: ParameterName::parse("/images/storefront").unwrap(),
            what: "may still take ami-1".into(),
        },
        Error::Unseen { bake: bake(), what: "instance i-1".into() },
        Error::NotFollowed {
            channel: "storefront/production".into(),
            what: "parameter `/images/storefront` is ami-1".into(),
        },
        Error::BakeEnded { bake: bake(), status: Status::Cancelled },
        Error::LeaseLost { bake: bake() },
        Error::LeftBehind {
            bake: bake(),
            what: "volume vol-1; `aws ec2 delete-volume --volume-id vol-1`".into(),
        },
        Error::PruneIncomplete { run: "prune-1".into(), failures: "image ami-1: Denied".into() },
        again(Retry::Changed),
        again(Retry::Unseen),
        again(Retry::InUse),
        again(Retry::Unfinished),
        Error::Throttled { operation: "ec2:DescribeImages".into(), source: aws() },
        denied("ec2:RunInstances"),
        denied("ec2:CreateImage"),
        *aws().unwrap(),
        Error::Corrupt {
            what: "item PIPELINE#storefront BAKE#1".into(),
            source: serde_json::from_str::<u8>("x").unwrap_err(),
        },
    ]
}

#[test]
fn every_error_says_what_happened_and_what_to_do() {
    let all = all();
    let names: std::collections::BTreeSet<_> = all.iter().map(Error::name).collect();
    let known: std::collections::BTreeSet<_> = Error::NAMES.iter().copied().collect();
    assert_eq!(names, known, "an error that is not in the list above");
    let told = all.iter().map(|error| {
        let (name, kind, status) = (error.name(), error.kind(), error.kind().exit_status());
        format!("{name} ({kind:?}, exit {status})\n{}\nhint: {}\n", error.chain(), error.hint())
    });
    insta::assert_snapshot!(told.collect::<Vec<_>>().join("\n"));
}
