//! The template against the rest: the functions, the state machines, the calls that the adapters make.

use std::{collections::BTreeSet, fs, process::Command};

use ovenbird_tests::{
    clients::repository,
    template::{
        Node, actions, at, each, functions, pairs, resources, role, statements, template, text, text_at,
    },
};
use serde_json::Value;

/// The only actions by which something that was made can be lost. All of them are prune's.
const DESTRUCTIVE: [&str; 9] = [
    "dynamodb:DeleteItem",
    "ec2:DeleteLaunchTemplateVersions",
    "ec2:DeleteSnapshot",
    "ec2:DeleteVolume",
    "ec2:DeregisterImage",
    "ec2:DisableImage",
    "ec2:DisableImageDeregistrationProtection",
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
    for (machine, file) in [
        ("BakeStateMachine", "bake.asl.json"),
        ("RolloutStateMachine", "rollout.asl.json"),
        ("PruneStateMachine", "prune.asl.json"),
    ] {
        let definition = fs::read_to_string(repository().join("statemachine").join(file)).unwrap();
        let used: BTreeSet<&str> =
            definition.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
        let resources = resources();
        let given = at(resources[machine], &["Properties", "DefinitionSubstitutions"]).unwrap();
        assert_eq!(pairs(given).map(|(name, _)| name).collect::<BTreeSet<_>>(), used, "{file}");
        for (name, arn) in pairs(given) {
            let wanted = match name {
                "Partition" => "!Ref AWS::Partition".to_owned(),
                name => format!("!GetAtt {}", name.replace("Arn", "Function.Arn")),
            };
            assert_eq!(text(arn), wanted, "{file}");
        }
    }
}

#[test]
fn a_task_waits_longer_than_its_function_runs() {
    let globals = template(&["Globals", "Function", "Timeout"]).unwrap();
    let resources = resources();
    let mut tasks = 0;
    for file in ["bake.asl.json", "rollout.asl.json", "prune.asl.json"] {
        let text = fs::read_to_string(repository().join("statemachine").join(file)).unwrap();
        for task in tasks_of(&serde_json::from_str(&text).unwrap()) {
            let arn = task["Resource"].as_str().unwrap();
            if arn.ends_with(":events:putEvents") {
                continue;
            }
            let function = format!("{}Function", arn.trim_start_matches("${").trim_end_matches("Arn}"));
            let own = at(resources[function.as_str()], &["Properties", "Timeout"]);
            let timeout = own.unwrap_or(globals).as_integer().unwrap();
            let waits = task["TimeoutSeconds"].as_i64().unwrap();
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
fn what_is_kept_outlives_its_stack_and_a_failed_first_deploy_leaves_no_bucket() {
    let resources = resources();
    let says = |name: &str, key: &str| text(at(resources[name], &[key]).unwrap()).to_owned();
    assert_eq!(says("Bucket", "DeletionPolicy"), "RetainExceptOnCreate");
    assert_eq!(says("Table", "DeletionPolicy"), "Retain");
    for name in ["Bucket", "Table"] {
        assert_eq!(says(name, "UpdateReplacePolicy"), "Retain", "{name}");
    }
}

#[test]
fn only_prune_may_destroy_and_only_what_carries_our_tag() {
    for (function, resource) in functions() {
        for statement in statements(resource) {
            let actions = actions(statement);
            let destroys = actions.iter().any(|action| DESTRUCTIVE.contains(action));
            assert!(!destroys || function == "prune", "{function}: {}", text(statement));
            if actions.iter().any(|action| DESTRUCTIVE.contains(action) && action.starts_with("ec2:")) {
                let tag = ["Condition", "StringEquals", "aws:ResourceTag/ovenbird:stack"];
                let tag = text_at(statement, &tag);
                assert_eq!(tag.as_deref(), Some("!Ref AWS::StackId"), "{}", text(statement));
            }
        }
    }
    assert!(DESTRUCTIVE.iter().all(|action| role(functions()["prune"]).contains(action)));
}

/// With it an image can be shared, too.
#[test]
fn only_promote_and_prune_change_an_image_s_attributes_and_only_of_what_carries_our_tag() {
    let mut may = BTreeSet::new();
    for (function, resource) in functions() {
        for statement in statements(resource) {
            if actions(statement).contains("ec2:ModifyImageAttribute") {
                let tag = ["Condition", "StringEquals", "aws:ResourceTag/ovenbird:stack"];
                assert_eq!(text_at(statement, &tag).as_deref(), Some("!Ref AWS::StackId"));
                may.insert(function.clone());
            }
        }
    }
    assert_eq!(may, ["promote", "prune"].map(str::to_owned).into());
}

/// It writes the URLs, and what it signs for an instance may be done with them. Plans and orders it can't write.
#[test]
fn poll_readiness_only_looks_and_signs() {
    let function = functions()["poll-readiness"];
    for statement in statements(function) {
        let written = actions(statement).contains("s3:PutObject");
        for action in actions(statement).into_iter().filter(|action| *action != "s3:PutObject") {
            let verb = action.split_once(':').unwrap().1;
            assert!(["Describe", "Get", "List"].iter().any(|look| verb.starts_with(look)), "{action}");
        }
        if written {
            let names = [
                "urls.json",
                "progress.json",
                "provision.json",
                "steps.log",
                "test.json",
                "junit.xml",
                "seal.json",
            ];
            let on: Vec<String> = each(at(statement, &["Resource"]).unwrap()).iter().map(text).collect();
            assert_eq!(on.len(), names.len(), "{on:?}");
            for name in names {
                let whole = format!("bakes/*/*{name}");
                assert!(on.iter().any(|on| on.ends_with(&whole)), "{name}: {on:?}");
            }
        }
    }
}

/// Who starts things orders them, and writes nothing else.
#[test]
fn the_orders_are_all_that_run_validation_and_snapshot_write() {
    for name in ["run-validation", "snapshot"] {
        let writes: Vec<_> = statements(functions()[name])
            .into_iter()
            .filter(|statement| actions(statement).contains("s3:PutObject"))
            .flat_map(|statement| each(at(statement, &["Resource"]).unwrap()))
            .map(text)
            .collect();
        let [orders] = &writes[..] else { panic!("{name}: {writes:?}") };
        assert!(orders.ends_with("/bakes/*/orders.json"), "{name}: {orders}");
    }
}

#[test]
fn nothing_is_allowed_on_everything_but_looking() {
    for (function, resource) in functions() {
        for statement in statements(resource) {
            if each(at(statement, &["Resource"]).unwrap()).iter().all(|on| text(on) != "*") {
                continue;
            }
            for action in actions(statement) {
                let verb = action.split_once(':').unwrap().1;
                assert!(
                    ["Describe", "Get", "List"].iter().any(|look| verb.starts_with(look)),
                    "{function}: {action} on *"
                );
            }
        }
        assert!(role(resource).iter().all(|action| !action.contains('*')), "{function} allows by wildcard");
    }
}

/// A launch is tagged at birth, takes IMDSv2 only and the builder's profile only; a role goes to EC2 only.
#[test]
fn launches_and_roles_are_bound_by_conditions() {
    let all = functions();
    let statement = |sid: &str| -> String {
        let mut all = all.values().flat_map(|resource| statements(resource));
        let found = all.find(|statement| text_at(statement, &["Sid"]).as_deref() == Some(sid));
        text(found.unwrap_or_else(|| panic!("no statement {sid}")))
    };
    let demands = [
        ("LaunchTagged", "aws:RequestTag/ovenbird:stack: !Ref AWS::StackId"),
        ("LaunchTagged", "ec2:MetadataHttpTokens: required"),
        ("LaunchTagged", "ec2:InstanceProfile"),
        ("LaunchWithOwnProfile", "ec2:MetadataHttpTokens: required"),
        ("LaunchWithOwnProfile", "ec2:InstanceProfile: !Ref BuilderInstanceProfiles"),
        ("LaunchWithVolume", "aws:RequestTag/ovenbird:stack: !Ref AWS::StackId"),
        ("LaunchWithVolume", "ec2:Encrypted: true"),
        ("GiveTheBuilderItsRole", "iam:PassedToService: !Sub ec2.${AWS::URLSuffix}"),
        ("GiveTheBuilderItsRole", "BuilderRole.Arn"),
        ("GiveTheBuilderAnotherRole", "iam:PassedToService: !Sub ec2.${AWS::URLSuffix}"),
        ("GiveTheBuilderAnotherRole", "!Ref BuilderRoles"),
        ("LaunchIntoOwnGroups", "!Ref BuilderSecurityGroups"),
        ("EncryptVolume", "kms:ViaService: !Sub ec2."),
        ("EncryptVolume", "!Ref BuilderKmsKeys"),
        ("DecryptArtifact", "kms:ViaService: !Sub s3."),
        ("DecryptArtifact", "!Ref ArtifactKmsKeys"),
        ("LendKeyToVolume", "kms:ViaService: !Sub ec2."),
        ("LendKeyToVolume", "kms:GrantIsForAWSResource: true"),
        ("LendKeyToVolume", "!Ref BuilderKmsKeys"),
        ("LaunchByTemplate", "launch-template/*"),
        ("RollGroups", "aws:ResourceTag/ovenbird:stack: !Ref AWS::StackId"),
        ("Versions", "aws:ResourceTag/ovenbird:stack: !Ref AWS::StackId"),
        ("PassRolesOfGroups", "!Ref RolloutRoles"),
        ("PassRolesOfGroups", "iam:PassedToService: !Sub ec2.${AWS::URLSuffix}"),
        ("ImageTagged", "aws:RequestTag/ovenbird:stack: !Ref AWS::StackId"),
        ("ImageOfBuilder", "aws:ResourceTag/ovenbird:stack: !Ref AWS::StackId"),
    ];
    for (sid, condition) in demands {
        assert!(statement(sid).contains(condition), "{sid} doesn't demand {condition}");
    }
    for (function, resource) in &all {
        for statement in statements(resource) {
            let launches = actions(statement).contains("ec2:RunInstances");
            let made = text_at(statement, &["Resource"]).unwrap();
            let makes = made.ends_with('*') && !made.contains('/')
                || ["instance/*", "volume/*"].iter().any(|one| made.contains(one));
            let tagged =
                at(statement, &["Condition", "StringEquals", "aws:RequestTag/ovenbird:stack"]).is_some();
            // Auto Scaling asks for it in the name of who starts a refresh.
            let by_template = at(statement, &["Condition", "ArnLike", "ec2:LaunchTemplate"]).is_some();
            let tagged = tagged || by_template && function == "promote";
            assert!(
                !launches || !makes || tagged,
                "{function}: {} launches what isn't tagged",
                text(statement)
            );
        }
    }
}

/// The roles as a table for people.
#[test]
fn the_readme_has_the_roles_as_they_are() {
    super::generated("infra/README.md", "roles: made by tests/tests/contracts/infra.rs", &roles_table());
}

fn roles_table() -> String {
    let mut table = "| function | may | on | only if |\n|---|---|---|---|\n".to_owned();
    for (function, resource) in functions() {
        for statement in statements(resource) {
            let may: Vec<&str> = actions(statement).into_iter().collect();
            let on: Vec<String> = each(at(statement, &["Resource"]).unwrap()).iter().map(plain).collect();
            let only: Vec<String> =
                at(statement, &["Condition"]).into_iter().flat_map(pairs).flat_map(condition).collect();
            table += &format!(
                "| {function} | {} | {} | {} |\n",
                may.join("<br>"),
                on.join("<br>"),
                only.join("<br>")
            );
        }
    }
    table
}

/// One operator of a condition: of several keys each is on a line of its own.
fn condition((operator, on): (&str, &Node)) -> Vec<String> {
    match on.as_mapping() {
        Some(keys) if keys.len() > 1 => {
            let keys = pairs(on).map(|(key, value)| format!("{key}: {}", text(value)));
            std::iter::once(format!("{operator}:")).chain(keys).collect()
        }
        _ => vec![format!("{operator}: {}", text(on))],
    }
}

/// A resource as a person reads it.
fn plain(resource: &Node) -> String {
    let text = text(resource);
    let text = text.trim_start_matches("!Sub ").trim_start_matches("!GetAtt ");
    let text = text.replace("arn:${AWS::Partition}:", "").replace("${AWS::Region}:${AWS::AccountId}:", "");
    match text.replace("${AWS::Region}:", "").replace("${AWS::AccountId}:", "").replace('|', "\\|").as_str() {
        "*" => "everything".to_owned(),
        text => text.to_owned(),
    }
}

/// `ovenbird doctor` compares what the stack says with its own version.
#[test]
fn the_stack_says_the_version_that_the_command_has() {
    let resources = resources();
    let said = text(at(resources["Operator"], &["Properties", "Value"]).unwrap());
    let version = format!(r#""version":"{}""#, env!("CARGO_PKG_VERSION"));
    assert!(said.contains(&version), "infra/template.yaml, Operator: {said}");
}

/// China and `GovCloud` have partitions of their own, and China a DNS suffix of its own.
#[test]
fn the_template_names_no_partition() {
    let text = fs::read_to_string(repository().join("infra/template.yaml")).unwrap();
    for (number, line) in text.lines().enumerate() {
        // An example in a description has the account that AWS's own examples have.
        let is_example = line.contains(":123456789012:");
        assert!(is_example || !line.contains("arn:aws"), "infra/template.yaml:{}: {line}", number + 1);
        // Of the services that are named, EC2 alone has another name in China.
        assert!(!line.contains("ec2.amazonaws.com"), "infra/template.yaml:{}: {line}", number + 1);
    }
}

/// `make deploy` builds for minutes: what it is told wrong is said before that.
#[test]
fn a_deploy_that_could_not_work_is_refused_before_the_build() {
    let deploy = |arguments: &[&str]| {
        let mut command = Command::new(repository().join("tools/check-deploy"));
        let output = command.arg("infra/template.yaml").args(arguments).current_dir(repository());
        let output = output.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.success(), said.is_empty(), "{said}");
        said
    };
    for good in [
        &["ovenbird"][..],
        &["team-a", "VpcId=vpc-00000001", "SubnetIds=subnet-00000001,subnet-00000002", "AlarmEmail=a@b.c"],
    ] {
        assert_eq!(deploy(good), "", "{good:?}");
    }
    let long = "a".repeat(50);
    for (bad, words) in [
        (&["1st"][..], "can't be the stack's name"),
        (&[&long], "can't be the stack's name"),
        (&["Ssm-images"], "must not begin with aws or ssm"),
        (&["ovenbird", "SubnetIds=subnet-00000001"], "VpcId and SubnetIds come together"),
        (&["ovenbird", "BuilderRoles=arn"], "BuilderInstanceProfiles and BuilderRoles come together"),
        (&["ovenbird", "SubnetId=subnet-00000001"], "no parameter `SubnetId`"),
        (&["ovenbird", "Architecture=arm64"], "make deploy ARCHITECTURE=arm64"),
        (&["ovenbird", "VpcId"], "`VpcId` is no parameter"),
    ] {
        let said = deploy(bad);
        assert!(said.contains(words) && said.contains("fix:"), "{bad:?}: {said}");
    }
}

/// Half of a pair deploys well, and then every bake fails: CloudFormation refuses it.
#[test]
fn parameters_that_come_together_have_a_rule() {
    let rules = template(&["Rules"]).unwrap();
    let asserted: Vec<String> = pairs(rules).map(|(_, rule)| text(rule)).collect();
    for pair in [["VpcId", "SubnetIds"], ["BuilderInstanceProfiles", "BuilderRoles"]] {
        let of_both =
            |rule: &&String| pair.iter().all(|name| rule.matches(&format!("!Ref {name}")).count() == 2);
        assert!(asserted.iter().any(|rule| of_both(&rule)), "{pair:?}: {asserted:#?}");
    }
}

/// It starts the functions without AWS and without the template: one that is told too little ends before it can be measured.
#[test]
fn the_measure_of_cold_starts_tells_a_function_all_that_it_requires() {
    let read = |path: &str| fs::read_to_string(repository().join(path)).unwrap();
    let (settings, tool) = (read("crates/aws/src/settings.rs"), read("tools/cold-start"));
    let required = regex::Regex::new(r#"required\("?(\w+)"?\)\?"#).unwrap();
    let mut names = BTreeSet::new();
    for name in required.captures_iter(&settings).map(|found| found[1].to_owned()) {
        let constant = regex::Regex::new(&format!(r#"const {name}: &str = "(\w+)""#)).unwrap();
        names.insert(constant.captures(&settings).map_or(name, |found| found[1].to_owned()));
    }
    assert_eq!(names.len(), 3, "{names:?}");
    for name in names {
        assert!(tool.contains(&format!("\"{name}\": ")), "tools/cold-start doesn't set {name}");
    }
}
