//! The template against the rest: the functions, the state machines, the calls that the adapters make.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ovenbird_tests::{
    clients::repository,
    template::{TEMPLATE, actions, functions, resources, role, statements, value},
};
use serde_json::Value;

/// The only actions by which something that was made can be lost. All of them are prune's.
const DESTRUCTIVE: [&str; 6] = [
    "dynamodb:DeleteItem",
    "ec2:DeleteSnapshot",
    "ec2:DeleteVolume",
    "ec2:DeregisterImage",
    "ec2:TerminateInstances",
    "ssm:DeleteParameter",
];

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
                let tagged = statement.iter().any(|line| {
                    line.contains(r#"StringEquals: { "aws:ResourceTag/ovenbird:stack": !Ref AWS::StackId }"#)
                });
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

/// A launch is tagged at birth, takes IMDSv2 only and the builder's profile only; a role goes to EC2 only.
#[test]
fn launches_and_roles_are_bound_by_conditions() {
    let all = functions();
    let statement = |sid: &str| -> String {
        let found = all.values().flat_map(|lines| statements(lines)).find(|lines| lines[0].ends_with(sid));
        found.unwrap_or_else(|| panic!("no statement {sid}")).join("\n")
    };
    let demands = [
        ("LaunchTagged", r#""aws:RequestTag/ovenbird:stack": !Ref AWS::StackId"#),
        ("LaunchTagged", r#""ec2:MetadataHttpTokens": required"#),
        ("LaunchTagged", r#""ec2:InstanceProfile""#),
        ("LaunchWithOwnProfile", r#""ec2:MetadataHttpTokens": required"#),
        ("LaunchWithOwnProfile", r#""ec2:InstanceProfile": !Ref BuilderInstanceProfiles"#),
        ("LaunchWithVolume", r#""aws:RequestTag/ovenbird:stack": !Ref AWS::StackId"#),
        ("LaunchWithVolume", r#""ec2:Encrypted": "true""#),
        ("GiveTheBuilderItsRole", r#""iam:PassedToService": !Sub "ec2.${AWS::URLSuffix}""#),
        ("GiveTheBuilderItsRole", "BuilderRole.Arn"),
        ("GiveTheBuilderAnotherRole", r#""iam:PassedToService": !Sub "ec2.${AWS::URLSuffix}""#),
        ("GiveTheBuilderAnotherRole", "!Ref BuilderRoles"),
        ("LaunchIntoOwnGroups", "!Ref BuilderSecurityGroups"),
        ("EncryptVolume", r#""kms:ViaService": !Sub "ec2."#),
        ("EncryptVolume", "!Ref BuilderKmsKeys"),
        ("LendKeyToVolume", r#""kms:ViaService": !Sub "ec2."#),
        ("LendKeyToVolume", r#""kms:GrantIsForAWSResource": "true""#),
        ("LendKeyToVolume", "!Ref BuilderKmsKeys"),
        ("ImageTagged", r#""aws:RequestTag/ovenbird:stack": !Ref AWS::StackId"#),
        ("ImageOfBuilder", r#""aws:ResourceTag/ovenbird:stack": !Ref AWS::StackId"#),
        ("SendToBuilders", r#""ssm:resourceTag/ovenbird:stack": !Ref AWS::StackId"#),
    ];
    for (sid, condition) in demands {
        assert!(statement(sid).contains(condition), "{sid} doesn't demand {condition}");
    }
    for (function, lines) in &all {
        for statement in statements(lines) {
            let launches = actions(&statement).contains("ec2:RunInstances");
            let makes = ["instance/*", "volume/*"]
                .iter()
                .any(|made| statement.iter().any(|line| line.contains(made)));
            let tagged = statement.iter().any(|line| line.contains("aws:RequestTag/ovenbird:stack"));
            assert!(!launches || !makes || tagged, "{function}: {statement:?} launches what isn't tagged");
        }
    }
}

/// The roles as a table for people; `OVENBIRD_UPDATE=1 cargo test -p ovenbird-tests --test contracts` writes it anew.
#[test]
fn the_readme_has_the_roles_as_they_are() {
    let path = repository().join("infra/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = ("<!-- roles: made by tests/tests/contracts/infra.rs -->\n", "<!-- end of roles -->");
    let (head, rest) = text.split_once(begin).expect("infra/README.md has a place for the roles");
    let (table, tail) = rest.split_once(end).expect("infra/README.md has an end of the roles");
    let made = roles_table();
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(&path, format!("{head}{begin}{made}{end}{tail}")).unwrap();
    } else {
        assert!(
            table == made,
            "infra/README.md is old: OVENBIRD_UPDATE=1 cargo test -p ovenbird-tests --test contracts"
        );
    }
}

fn roles_table() -> String {
    let mut table = "| function | may | on | only if |\n|---|---|---|---|\n".to_owned();
    for (function, lines) in functions() {
        for statement in statements(&lines) {
            let actions: Vec<&str> = actions(&statement).into_iter().collect();
            let cell = |key: &str| -> String {
                let at = statement.iter().position(|line| line.trim().starts_with(&format!("{key}:")));
                let Some(at) = at else { return String::new() };
                let depth = statement[at].len() - statement[at].trim_start().len();
                let below = statement[at + 1..]
                    .iter()
                    .take_while(|line| line.len() - line.trim_start().len() > depth)
                    .map(|line| line.trim());
                let words: Vec<String> = std::iter::once(value(&statement[at..], key).unwrap_or_default())
                    .chain(below)
                    .map(|word| plain(word.split(" #").next().unwrap_or_default()))
                    .filter(|word| !word.is_empty())
                    .collect();
                words.join("<br>")
            };
            let (on, only) = (cell("Resource"), cell("Condition"));
            table += &format!("| {function} | {} | {on} | {only} |\n", actions.join("<br>"));
        }
    }
    table
}

/// A line of the template as a person reads it.
fn plain(line: &str) -> String {
    let line = line.trim_start_matches("- ").trim_start_matches("!Sub ").trim_start_matches("!GetAtt ");
    let line = line.replace("arn:${AWS::Partition}:", "").replace("${AWS::Region}:${AWS::AccountId}:", "");
    let line = line.replace("${AWS::Region}:", "").replace("${AWS::AccountId}:", "").replace('|', "\\|");
    match line.trim() {
        "\"*\"" => "everything".to_owned(),
        line => line.replace('"', ""),
    }
}
