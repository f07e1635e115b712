//! Each finding, by facts in which one thing is not as it should be.

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
        Caller, Endpoint, EndpointKind, Image, ImageState, ParameterKind, RouteTable, Rule, Run, Subnet,
        Subscription, VolumeEncryption, Vpc,
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
        state: ImageState::Available,
        reason: String::new(),
        created: now(),
        architecture: architecture.into(),
        root_device: None,
        gib: None,
        devices: Vec::new(),
        deprecated: None,
        protected: false,
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
    weaker("of before it said so", |facts| stack(facts).version = None);
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
fn a_network_that_is_not_there_is_told() {
    fails("no default network", |facts| facts.network.vpcs = Ok(Vec::new()));
    fails("network vpc-00000009 does not exist", |facts| stack(facts).vpc = Some("vpc-00000009".into()));
    fails("subnet subnet-00000009, which the stack names, does not exist", |facts| {
        stack(facts).subnets = vec!["subnet-00000001".into(), "subnet-00000009".into()];
    });
    fails("which pipeline shop names, does not exist", |facts| {
        with_recipe(facts, "[builder]\nsubnets = [\"subnet-00000009\"]");
    });
    let elsewhere = Subnet { vpc: "vpc-00000002".into(), is_default: false, ..subnet("subnet-00000002") };
    let two = || {
        let second = RouteTable { id: "rtb-2".into(), vpc: "vpc-00000002".into(), ..table(Some("nat-1")) };
        Some(Ok(vec![table(Some("igw-1")), second]))
    };
    fails("is in vpc-00000002, and the stack's security group in vpc-00000001", |facts| {
        facts.network.subnets = Ok(vec![subnet("subnet-00000001"), elsewhere.clone()]);
        facts.network.tables = two();
        with_recipe(facts, "[builder]\nsubnets = [\"subnet-00000002\"]");
    });
    // With a group of its own, it may be anywhere.
    let mut facts = well();
    facts.network.subnets = Ok(vec![subnet("subnet-00000001"), elsewhere]);
    facts.network.tables = two();
    with_recipe(
        &mut facts,
        "[builder]\nsubnets = [\"subnet-00000002\"]\nsecurity-groups = [\"sg-00000001\"]",
    );
    assert_eq!(told(&facts), []);
}

#[test]
fn a_subnet_with_few_free_addresses_is_told_and_one_without_any_fails() {
    let free = |id: &str, free| Subnet { free, ..subnet(id) };
    weaker("has 3 free addresses", |facts| facts.network.subnets = Ok(vec![free("subnet-00000001", 3)]));
    weaker("subnet-00000001 in eu-central-1a has 0", |facts| {
        facts.network.subnets = Ok(vec![free("subnet-00000001", 0), free("subnet-00000002", 100)]);
    });
    fails("has 0 free addresses", |facts| facts.network.subnets = Ok(vec![free("subnet-00000001", 0)]));
}

#[test]
fn a_subnet_without_a_way_to_s3_is_told() {
    fails("has no route to the internet", |facts| facts.network.tables = Some(Ok(vec![table(None)])));
    fails("gives its instances no public address", |facts| {
        let private = Subnet { gives_public_address: false, ..subnet("subnet-00000001") };
        facts.network.subnets = Ok(vec![private]);
    });
}

#[test]
fn every_way_to_s3_is_known() {
    let service = "com.amazonaws.eu-central-1.s3".to_owned();
    let gateway = Endpoint {
        id: "vpce-1".into(),
        vpc: VPC.into(),
        service,
        kind: EndpointKind::Gateway,
        is_available: true,
        tables: vec!["rtb-1".into()],
        has_usual_name: false,
    };
    let interface = Endpoint { kind: EndpointKind::Interface, tables: Vec::new(), ..gateway.clone() };
    let named = Endpoint { has_usual_name: true, ..interface.clone() };
    let pending = Endpoint { is_available: false, ..gateway.clone() };
    let other = Endpoint { service: "com.amazonaws.eu-central-1.dynamodb".into(), ..gateway.clone() };
    let far = Endpoint { vpc: "vpc-00000002".into(), ..gateway.clone() };
    let unrouted = Endpoint { tables: vec!["rtb-7".into()], ..gateway.clone() };
    let from = subnet("subnet-00000001");
    let private = Subnet { gives_public_address: false, ..from.clone() };
    let none = [table(None)];
    for endpoint in [interface, pending, other, far, unrouted] {
        assert_eq!(way(&from, &none, std::slice::from_ref(&endpoint)), Way::None, "{endpoint:?}");
    }
    assert_eq!(way(&private, &none, &[gateway]), Way::Gateway("vpce-1".into()));
    assert_eq!(way(&private, &none, &[named]), Way::Interface("vpce-1".into()));
    let to = |target: &str| [table(Some(target))];
    assert_eq!(way(&from, &to("igw-1"), &[]), Way::Internet("igw-1".into()));
    assert_eq!(way(&private, &to("igw-1"), &[]), Way::NoAddress);
    assert_eq!(way(&private, &to("nat-1"), &[]), Way::Behind("nat-1".into()));
    // A table of its own counts, and not the network's.
    let own = RouteTable { is_main: false, subnets: vec![from.id.clone()], ..table(None) };
    assert_eq!(way(&from, &[table(Some("igw-1")), own], &[]), Way::None);
    // Another network's main table is nobody's here.
    let foreign = RouteTable { vpc: "vpc-00000002".into(), ..table(Some("igw-1")) };
    assert_eq!(way(&from, &[foreign], &[]), Way::None);
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

#[test]
fn a_runner_that_a_base_needs_and_is_not_there_is_told() {
    let (_, what) = only(|facts| of(facts).runners = BTreeMap::from([("x86_64".to_owned(), Ok(false))]));
    assert_eq!(what, "no runner for x86_64, which the base of shop is of");
}

#[test]
fn a_recipe_or_a_base_that_a_bake_would_end_with_is_told() {
    let pipeline = || "shop".parse::<crate::domain::id::PipelineName>().unwrap();
    fails("no recipe for pipeline", |facts| {
        let one = &mut of(facts).pipelines.as_mut().unwrap()[0];
        (one.recipe, one.base) = (Err(Error::NoRecipe { pipeline: pipeline() }), None);
    });
    let gone = || Error::NoBase { what: "parameter `/x`".into(), problem: "does not exist".into() };
    fails("no base image: parameter `/x` does not exist", |facts| {
        of(facts).pipelines.as_mut().unwrap()[0].base = Some(Err(gone()));
    });
    // A look that was refused is no word on the base.
    let (severity, what) = only(|facts| {
        of(facts).pipelines.as_mut().unwrap()[0].base = Some(Err(denied("ec2:DescribeImages")));
    });
    assert_eq!((severity, what.as_str()), (Severity::Unknown, "could not look: ec2:DescribeImages"));
}

#[test]
fn instance_types_that_can_not_run_the_base_are_told() {
    fails("the base is arm64, and instance type m7i.large runs x86_64", |facts| {
        with_recipe(facts, "[builder]\ninstance-types = [\"m7i.large\"]");
        of(facts).pipelines.as_mut().unwrap()[0].base = Some(Ok(base("arm64")));
    });
    weaker("this Region has no instance type m6i.large", |facts| {
        let Some(Ok(types)) = &mut of(facts).types else { panic!("no types") };
        types.remove("m6i.large");
    });
    fails("this Region has no instance type m7i.large, m6i.large, m7i-flex.large", |facts| {
        of(facts).types = Some(Ok(BTreeMap::new()));
    });
}

#[test]
fn a_parameter_that_a_promotion_can_not_write_is_told_before_a_bake() {
    let kind = |kind: &str, data_type: &str, tier: &str, has_policies| ParameterKind {
        kind: kind.into(),
        data_type: data_type.into(),
        tier: tier.into(),
        has_policies,
        written: now(),
    };
    let put = |facts: &mut Facts, kind: ParameterKind| {
        with_recipe(facts, "[promote]\nchannel = \"production\"\nparameter = \"/images/shop\"");
        of(facts).parameters = Ok(BTreeMap::from([("/images/shop".parse().unwrap(), kind)]));
    };
    fails("/images/shop is a SecureString", |facts| {
        put(facts, kind("SecureString", "text", "Standard", false));
    });
    fails("is of data type text, and not aws:ec2:image", |facts| {
        put(facts, kind("String", "text", "Standard", false));
    });
    weaker("has a policy", |facts| put(facts, kind("String", "aws:ec2:image", "Advanced", true)));
    weaker("advanced tier", |facts| put(facts, kind("String", "aws:ec2:image", "Advanced", false)));
    let mut facts = well();
    put(&mut facts, kind("String", "aws:ec2:image", "Standard", false));
    assert_eq!(told(&facts), []);
}

#[test]
fn secrets_that_a_builder_can_not_read_are_told() {
    let step = |name: &str| format!("[[step]]\nshell = \"true\"\nsecrets = {{ TOKEN = \"{name}\" }}");
    fails("reads /ovenbird/secrets/token, which does not exist", |facts| {
        with_recipe(facts, &step("/ovenbird/secrets/token"));
    });
    fails("reads /other/token, and builders may read below /ovenbird/secrets/ alone", |facts| {
        with_recipe(facts, &step("/other/token"));
        let there = ParameterKind {
            kind: "SecureString".into(),
            data_type: "text".into(),
            tier: "Standard".into(),
            has_policies: false,
            written: now(),
        };
        of(facts).parameters = Ok(BTreeMap::from([("/other/token".parse().unwrap(), there)]));
    });
}

#[test]
fn templates_and_groups_that_are_not_there_are_told() {
    let promote = "[promote]\nchannel = \"production\"\nlaunch-templates = [\"web\"]\ngroups = [\"fleet\"]";
    fails("launch template web does not exist", |facts| {
        with_recipe(facts, promote);
        of(facts).templates = BTreeMap::from([("web".parse().unwrap(), Ok(false))]);
    });
    fails("Auto Scaling group fleet does not exist", |facts| {
        with_recipe(facts, promote);
        of(facts).groups = BTreeMap::from([("fleet".parse().unwrap(), Ok(false))]);
    });
    let (severity, _) = only(|facts| {
        with_recipe(facts, promote);
        let look = Err(denied("autoscaling:DescribeAutoScalingGroups"));
        of(facts).groups = BTreeMap::from([("fleet".parse().unwrap(), look)]);
    });
    assert_eq!(severity, Severity::Unknown);
}
