//! Each finding, by facts in which one thing is not as it should be.

mod network;
mod recipes;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    facts::{Facts, Machine, Network, OfStack, Pipeline},
    network::{Way, way},
    *,
};
use crate::{
    domain::recipe::Recipe,
    ports::{
        Caller, Endpoint, EndpointKind, Image, ImageState, ParameterKind, Protection, RouteTable, Rule, Run,
        Subnet, Subscription, VolumeEncryption, Vpc,
    },
};

const VPC: &str = "vpc-00000001";
const KEY: &str = "arn:aws:kms:eu-central-1:123456789012:key/one";

fn now() -> Timestamp {
    "2026-01-02T00:00:00Z".parse().unwrap()
}

fn recipe(more: &str) -> Recipe {
    let promote = if more.contains("[promote]") { "" } else { "[promote]\nchannel = \"production\"\n" };
    let text = format!(
        "pipeline = \"shop\"\n[base]\nimage = \"ami-00000001\"\n[[step]]\nshell = \"true\"\n\
         [[test]]\ncommand = \"true\"\n{promote}{more}"
    );
    Recipe::parse_pushed(&text).unwrap_or_else(|errors| panic!("{errors}"))
}

fn base(architecture: &str) -> Image {
    Image {
        id: "ami-00000001".parse().unwrap(),
        name: "base".into(),
        owner: String::new(),
        state: ImageState::Available,
        reason: String::new(),
        created: now(),
        architecture: architecture.into(),
        root_device: None,
        gib: None,
        devices: Vec::new(),
        deprecated: None,
        protection: Protection::Off,
        imdsv2: false,
        launched: None,
        snapshots: Vec::new(),
        tags: BTreeMap::new(),
    }
}

fn subnet(id: &str) -> Subnet {
    Subnet {
        id: id.into(),
        vpc: VPC.into(),
        zone: "eu-central-1a".into(),
        free: 4091,
        is_default: true,
        gives_public_address: true,
    }
}

fn table(internet: Option<&str>) -> RouteTable {
    RouteTable {
        id: "rtb-1".into(),
        vpc: VPC.into(),
        is_main: true,
        subnets: Vec::new(),
        internet: internet.map(str::to_owned),
    }
}

fn rule() -> Rule {
    Rule { name: "on-upload".into(), is_enabled: true }
}

fn denied(operation: &str) -> Error {
    Error::Denied { operation: operation.into(), subject: "all".into(), source: None }
}

/// A stack with one pipeline, in which all is well.
fn well() -> Facts {
    let stack = Deployed {
        version: Some("1.0.0".into()),
        bucket: "things".into(),
        topic: Some("arn:topic".into()),
        since: Some("2026-01-01T00:00:00Z".parse().unwrap()),
        secrets: Some("/ovenbird/secrets/".into()),
        ..Deployed::default()
    };
    let types = BTreeMap::from([
        ("m7i.large".to_owned(), BTreeSet::from(["x86_64".to_owned()])),
        ("m6i.large".to_owned(), BTreeSet::from(["x86_64".to_owned()])),
        ("m7i-flex.large".to_owned(), BTreeSet::from(["x86_64".to_owned()])),
    ]);
    let ran = Run { name: "p1".parse().unwrap(), started: now(), ended_badly: false };
    Facts {
        command: "1.0.0".into(),
        local: false,
        now: now(),
        name: "ovenbird".into(),
        caller: Ok(Caller {
            account: "123456789012".into(),
            name: "user/alice".into(),
            region: "eu-central-1".into(),
        }),
        stack: Ok(stack),
        encryption: Some(Ok(VolumeEncryption { by_default: true, key: "alias/aws/ebs".into() })),
        network: Network {
            vpcs: Ok(vec![Vpc { id: VPC.into(), is_default: true }]),
            subnets: Ok(vec![subnet("subnet-00000001")]),
            tables: Some(Ok(vec![table(Some("igw-1"))])),
            endpoints: Some(Ok(Vec::new())),
        },
        of_stack: Some(OfStack {
            uploads: Ok(true),
            triggers: Ok(vec![rule()]),
            tellers: Some(Ok(vec![rule()])),
            subscriptions: Some(Ok(vec![Subscription {
                protocol: "email".into(),
                endpoint: "a@example.com".into(),
                is_confirmed: true,
            }])),
            runs: vec![(Machine::Prune, Ok(vec![ran]))],
            pipelines: Ok(vec![Pipeline {
                name: "shop".parse().unwrap(),
                recipe: Ok(recipe("")),
                base: Some(Ok(base("x86_64"))),
            }]),
            runners: BTreeMap::from([("x86_64".to_owned(), Ok(true))]),
            types: Some(Ok(types)),
            parameters: Ok(BTreeMap::new()),
            templates: BTreeMap::new(),
            groups: BTreeMap::new(),
        }),
    }
}

fn of(facts: &mut Facts) -> &mut OfStack {
    facts.of_stack.as_mut().unwrap()
}

fn stack(facts: &mut Facts) -> &mut Deployed {
    facts.stack.as_mut().unwrap()
}

fn with_recipe(facts: &mut Facts, more: &str) {
    of(facts).pipelines.as_mut().unwrap()[0].recipe = Ok(recipe(more));
}

fn told(facts: &Facts) -> Vec<(Severity, String)> {
    let checkup = checkup(facts);
    let findings: Vec<_> = checkup.checks.iter().flat_map(|check| &check.findings).collect();
    assert!(findings.iter().all(|one| !one.why.is_empty() && !one.fix.is_empty()), "{findings:#?}");
    assert_eq!(checkup.bakes_would_fail, findings.iter().any(|one| one.severity == Severity::Fails));
    findings.into_iter().map(|one| (one.severity, one.what.clone())).collect()
}

/// The one finding after a change, and nothing else.
#[track_caller]
fn only(change: impl FnOnce(&mut Facts)) -> (Severity, String) {
    let mut facts = well();
    change(&mut facts);
    let mut told = told(&facts);
    assert_eq!(told.len(), 1, "{told:#?}");
    told.remove(0)
}

#[track_caller]
fn fails(words: &str, change: impl FnOnce(&mut Facts)) {
    let (severity, what) = only(change);
    assert!(severity == Severity::Fails && what.contains(words), "{severity:?} {what}");
}

#[track_caller]
fn weaker(words: &str, change: impl FnOnce(&mut Facts)) {
    let (severity, what) = only(change);
    assert!(severity == Severity::Weaker && what.contains(words), "{severity:?} {what}");
}

#[test]
fn of_what_is_well_nothing_is_said() {
    assert_eq!(told(&well()), []);
    let mut facts = well();
    facts.local = true;
    (facts.network.tables, facts.network.endpoints, facts.encryption) = (None, None, None);
    of(&mut facts).types = None;
    assert_eq!(told(&facts), []);
}

#[test]
fn without_credentials_or_a_stack_it_is_said_and_the_network_is_looked_at_all_the_same() {
    fails("no credentials", |facts| facts.caller = Err(denied("sts:GetCallerIdentity")));
    let mut facts = well();
    (facts.local, facts.caller) = (true, Err(denied("sts:GetCallerIdentity")));
    assert!(told(&facts)[0].1.contains("the local cloud doesn't answer"));
    fails("is not deployed", |facts| {
        facts.stack = Err(Error::bad_input("stack `ovenbird`", "is not deployed", "make deploy"));
        facts.of_stack = None;
    });
    let mut facts = well();
    facts.stack = Err(Error::bad_input("stack `ovenbird`", "is not deployed", "make deploy"));
    facts.of_stack = None;
    facts.network.vpcs = Ok(Vec::new());
    let told = told(&facts);
    assert!(told[1].1.contains("no default network"), "{told:?}");
}

#[test]
fn another_version_is_told() {
    weaker("the stack is 0.9.0, this command is 1.0.0", |facts| {
        stack(facts).version = Some("0.9.0".into());
    });
    weaker("too old to say its version", |facts| stack(facts).version = None);
}

#[test]
fn what_may_not_be_asked_is_a_finding_and_hides_nothing_else() {
    let mut facts = well();
    facts.encryption = Some(Err(denied("ec2:GetEbsEncryptionByDefault")));
    facts.network.tables = Some(Err(denied("ec2:DescribeRouteTables")));
    let of = of(&mut facts);
    of.uploads = Err(denied("s3:GetBucketNotification"));
    of.triggers = Err(denied("events:ListRuleNamesByTarget"));
    of.subscriptions = Some(Err(denied("sns:ListSubscriptionsByTopic")));
    of.runs = vec![(Machine::Bake, Err(denied("states:ListExecutions")))];
    of.runners = BTreeMap::from([("x86_64".to_owned(), Err(denied("s3:GetObject")))]);
    of.types = Some(Err(denied("ec2:DescribeInstanceTypes")));
    of.parameters = Err(denied("ssm:DescribeParameters"));
    let expected = [
        "ec2:GetEbsEncryptionByDefault",
        "ec2:DescribeRouteTables",
        "s3:GetBucketNotification",
        "events:ListRuleNamesByTarget",
        "sns:ListSubscriptionsByTopic",
        "states:ListExecutions",
        "s3:GetObject",
        "ec2:DescribeInstanceTypes",
        "ssm:DescribeParameters",
    ];
    let expected: Vec<_> =
        expected.iter().map(|one| (Severity::Unknown, format!("could not look: {one}"))).collect();
    assert_eq!(told(&facts), expected);
    let checkup = checkup(&facts);
    let one = &checkup.checks[2].findings[0];
    assert_eq!(one.fix, "Allow ec2:GetEbsEncryptionByDefault to whoever runs `ovenbird doctor`");
}

#[test]
fn volumes_that_the_stack_would_refuse_or_can_not_encrypt_are_told() {
    let set = |facts: &mut Facts, by_default, key: &str| {
        facts.encryption = Some(Ok(VolumeEncryption { by_default, key: key.into() }));
    };
    fails("refuses unencrypted builders", |facts| {
        set(facts, false, "alias/aws/ebs");
        stack(facts).encrypted_only = true;
    });
    fails("which the functions may not use", |facts| set(facts, true, KEY));
    weaker("a key of another account", |facts| {
        let key = KEY.replace("123456789012", "999999999999");
        set(facts, true, &key);
        stack(facts).keys = vec![key];
    });
    fails("pipeline shop encrypts with alias/mine", |facts| {
        with_recipe(facts, "[builder]\nvolume = { kms-key = \"alias/mine\" }");
    });
    let other = "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789012";
    fails("pipeline shop encrypts with arn:aws:kms", |facts| {
        with_recipe(facts, &format!("[builder]\nvolume = {{ kms-key = \"{other}\" }}"));
        stack(facts).keys = vec![KEY.into()];
    });
    let mut facts = well();
    set(&mut facts, true, KEY);
    stack(&mut facts).keys = vec![KEY.into()];
    assert_eq!(told(&facts), []);
}

#[test]
fn an_upload_that_starts_nothing_is_told() {
    fails("bucket things doesn't tell EventBridge", |facts| of(facts).uploads = Ok(false));
    fails("no rule leads from uploads", |facts| of(facts).triggers = Ok(Vec::new()));
    fails("rule on-upload is disabled", |facts| {
        of(facts).triggers = Ok(vec![Rule { is_enabled: false, ..rule() }]);
    });
    weaker("the stack was deployed 120 s ago".replace("120 s", "2 min").as_str(), |facts| {
        stack(facts).since = Some(now() - SignedDuration::from_mins(2));
    });
}

#[test]
fn failures_that_nobody_is_told_of_are_told() {
    weaker("nobody is told of failures", |facts| of(facts).subscriptions = Some(Ok(Vec::new())));
    weaker("a@example.com has not confirmed", |facts| {
        let Some(Ok(all)) = &mut of(facts).subscriptions else { panic!("no subscriptions") };
        all[0].is_confirmed = false;
    });
    weaker("no rule leads from failures", |facts| of(facts).tellers = Some(Ok(Vec::new())));
    weaker("rule on-upload is disabled", |facts| {
        of(facts).tellers = Some(Ok(vec![Rule { is_enabled: false, ..rule() }]));
    });
}

#[test]
fn what_failed_within_a_day_is_told_and_what_failed_earlier_is_history() {
    let run = |name: &str, hours, ended_badly| Run {
        name: name.parse().unwrap(),
        started: now() - SignedDuration::from_hours(hours),
        ended_badly,
    };
    for (machine, words) in [
        (Machine::Bake, "2 of the newest 4 bakes failed within a day: b4, b2"),
        (Machine::Rollout, "2 of the newest 4 rollouts failed within a day: b4, b2"),
        (Machine::Prune, "2 of the newest 4 prune runs failed within a day: b4, b2"),
    ] {
        weaker(words, |facts| {
            let runs =
                vec![run("b4", 1, true), run("b3", 2, false), run("b2", 23, true), run("b1", 25, true)];
            of(facts).runs = vec![(machine, Ok(runs))];
        });
    }
    weaker("prune has not run for 2 d", |facts| {
        of(facts).runs = vec![(Machine::Prune, Ok(vec![run("p1", 49, false)]))];
    });
    weaker("prune has not run for 3 d", |facts| {
        stack(facts).since = Some(now() - SignedDuration::from_hours(80));
        of(facts).runs = vec![(Machine::Prune, Ok(Vec::new()))];
    });
}
