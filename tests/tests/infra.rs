//! The template against the rest: the functions, the state machines, the calls that the adapters make.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

const TEMPLATE: &str = include_str!("../../infra/template.yaml");

/// The only actions by which something that was made can be lost. All of them are prune's.
const DESTRUCTIVE: [&str; 5] = [
    "dynamodb:DeleteItem",
    "ec2:DeleteSnapshot",
    "ec2:DeregisterImage",
    "ec2:TerminateInstances",
    "ssm:DeleteParameter",
];

/// Allowed, and yet no adapter names them: AWS asks for them as a part of other calls.
const IMPLIED: [(&str, &str); 6] = [
    ("dynamodb:ConditionCheckItem", "a check in a transaction"),
    ("dynamodb:DeleteItem", "a deletion in a transaction"),
    ("ec2:CreateTags", "tags given at creation"),
    ("iam:CreateServiceLinkedRole", "an account's first spot request"),
    ("iam:PassRole", "the builder's profile"),
    ("s3:GetObjectVersion", "an object read by its version"),
];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A resource of the template: its lines, found by its name's indentation.
fn resources() -> BTreeMap<String, Vec<&'static str>> {
    let mut found: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    let mut name = None;
    for line in TEMPLATE
        .lines()
        .skip_while(|line| *line != "Resources:")
        .skip(1)
        .take_while(|line| *line != "Outputs:")
    {
        if line.starts_with("  ") && line.as_bytes().get(2).is_some_and(u8::is_ascii_uppercase) {
            name = line.trim().strip_suffix(':').map(str::to_owned);
        } else if let Some(name) = &name {
            found.entry(name.clone()).or_default().push(line);
        }
    }
    found
}

/// The functions: folder, and the resource's lines.
fn functions() -> BTreeMap<String, Vec<&'static str>> {
    let all =
        resources().into_values().filter(|lines| lines.contains(&"    Type: AWS::Serverless::Function"));
    all.map(|lines| {
        let uri = value(&lines, "CodeUri").unwrap();
        (uri.trim_start_matches("../build/").trim_end_matches('/').to_owned(), lines)
    })
    .collect()
}

fn value<'l>(lines: &[&'l str], key: &str) -> Option<&'l str> {
    let value = lines.iter().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))?;
    Some(value.split(" #").next().unwrap_or_default().trim())
}

/// A policy's statements, each as its lines.
fn statements<'l>(lines: &[&'l str]) -> Vec<Vec<&'l str>> {
    let mut statements: Vec<Vec<&str>> = Vec::new();
    for line in lines {
        if line.trim().starts_with("- Sid:") {
            statements.push(Vec::new());
        }
        if let Some(statement) = statements.last_mut() {
            statement.push(line);
        }
    }
    statements
}

/// What a statement allows, in any of YAML's three ways to write it.
fn actions<'l>(statement: &[&'l str]) -> BTreeSet<&'l str> {
    let at = statement
        .iter()
        .position(|line| line.trim().starts_with("Action:"))
        .expect("a statement has an action");
    let inline = value(&statement[at..], "Action").unwrap_or_default();
    let listed = statement[at + 1..]
        .iter()
        .map_while(|line| line.trim().strip_prefix("- "))
        .filter(|_| inline.is_empty());
    inline
        .trim_matches(['[', ']'])
        .split(',')
        .map(str::trim)
        .filter(|action| !action.is_empty())
        .chain(listed)
        .collect()
}

fn role<'l>(lines: &[&'l str]) -> BTreeSet<&'l str> {
    statements(lines).iter().flat_map(|statement| actions(statement)).collect()
}

#[test]
fn the_template_has_every_function_and_no_other() {
    let folders: BTreeSet<String> = fs::read_dir(repository().join("functions"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(functions().into_keys().collect::<BTreeSet<_>>(), folders);
}

#[test]
fn substitutions_name_the_functions_they_are_named_for() {
    for (machine, file) in [("BakeStateMachine", "bake.asl.json"), ("PruneStateMachine", "prune.asl.json")] {
        let text = fs::read_to_string(repository().join("statemachine").join(file)).unwrap();
        let used: BTreeSet<&str> =
            text.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        let resources = resources();
        let lines = &resources[machine];
        let after = lines.iter().position(|line| line.trim() == "DefinitionSubstitutions:").unwrap();
        let given = lines[after + 1..].iter().map_while(|line| line.trim().split_once(": !GetAtt "));
        let given: BTreeMap<&str, &str> = given.collect();
        assert_eq!(given.keys().copied().collect::<BTreeSet<_>>(), used, "{file}");
        for (name, arn) in given {
            assert_eq!(arn, name.replace("Arn", "Function.Arn"), "{file}");
        }
    }
}

#[test]
fn a_task_waits_longer_than_its_function_runs() {
    let globals =
        value(&TEMPLATE.lines().skip_while(|line| *line != "Globals:").collect::<Vec<_>>(), "Timeout")
            .unwrap();
    let resources = resources();
    let mut tasks = 0;
    for file in ["bake.asl.json", "prune.asl.json"] {
        let text = fs::read_to_string(repository().join("statemachine").join(file)).unwrap();
        for task in tasks_of(&serde_json::from_str(&text).unwrap()) {
            let arn = task["Resource"].as_str().unwrap();
            let function = format!("{}Function", arn.trim_start_matches("${").trim_end_matches("Arn}"));
            let timeout = value(&resources[&function], "Timeout").unwrap_or(globals).parse::<u64>().unwrap();
            let waits = task["TimeoutSeconds"].as_u64().unwrap();
            assert!(waits > timeout, "{file}: {function} may run {timeout} s, a task waits {waits} s");
            tasks += 1;
        }
    }
    assert!(tasks > 15);
}

fn tasks_of(machine: &Value) -> Vec<Value> {
    let states = machine["States"].as_object().unwrap().values();
    states
        .flat_map(|state| match state["Type"].as_str().unwrap() {
            "Task" => vec![state.clone()],
            "Map" => tasks_of(&state["ItemProcessor"]),
            _ => Vec::new(),
        })
        .collect()
}

#[test]
fn only_prune_may_destroy_and_only_what_carries_our_tag() {
    for (function, lines) in functions() {
        for statement in statements(&lines) {
            let destroys = actions(&statement).into_iter().any(|action| DESTRUCTIVE.contains(&action));
            assert!(!destroys || function == "prune", "{function}: {statement:?}");
            if actions(&statement)
                .iter()
                .any(|action| DESTRUCTIVE.contains(action) && action.starts_with("ec2:"))
            {
                let tagged = statement
                    .iter()
                    .any(|line| line.contains(r#""Null": { "aws:ResourceTag/ovenbird:bake": "false" }"#));
                assert!(tagged, "{statement:?}");
            }
        }
    }
    assert!(DESTRUCTIVE.iter().all(|action| role(&functions()["prune"]).contains(action)));
}

#[test]
fn poll_readiness_only_looks() {
    for action in role(&functions()["poll-readiness"]) {
        let verb = action.split_once(':').unwrap().1;
        assert!(["Describe", "Get", "List"].iter().any(|look| verb.starts_with(look)), "{action}");
    }
}

#[test]
fn nothing_is_allowed_on_everything_but_looking() {
    for (function, lines) in functions() {
        for statement in
            statements(&lines).iter().filter(|statement| value(statement, "Resource") == Some("\"*\""))
        {
            for action in actions(statement) {
                let verb = action.split_once(':').unwrap().1;
                assert!(
                    ["Describe", "Get", "List"].iter().any(|look| verb.starts_with(look)),
                    "{function}: {action} on *"
                );
            }
        }
        assert!(role(&lines).iter().all(|action| !action.contains('*')), "{function} allows by wildcard");
    }
}

#[test]
fn roles_allow_what_the_adapters_call_and_nothing_else() {
    let mut called = BTreeSet::new();
    for entry in fs::read_dir(repository().join("crates/aws/src")).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let quoted = text.split('"').skip(1).step_by(2).filter(|quoted| {
            let known =
                ["dynamodb:", "ec2:", "s3:", "ssm:"].iter().find_map(|service| quoted.strip_prefix(service));
            known.is_some_and(|verb| !verb.is_empty() && verb.bytes().all(|byte| byte.is_ascii_alphabetic()))
        });
        called.extend(quoted.map(str::to_owned));
    }
    assert!(called.len() > 15, "the adapters name their calls otherwise now: {called:?}");
    let allowed: BTreeSet<String> =
        functions().values().flat_map(|lines| role(lines)).map(str::to_owned).collect();
    let missing: Vec<_> = called.difference(&allowed).collect();
    assert!(missing.is_empty(), "no role allows {missing:?}");
    let implied = |action: &String| IMPLIED.iter().any(|(implied, _)| implied == action);
    let unused: Vec<_> = allowed.difference(&called).filter(|action| !implied(action)).collect();
    assert!(unused.is_empty(), "no adapter calls {unused:?}");
}
