//! The policies for people: each command's calls are allowed by the policy it belongs to, and none allows what would
//! reach beyond it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use ovenbird_tests::{
    clients::repository,
    template::{Node, actions, at, each, resources, role, statements, text, text_at},
};
use regex::Regex;

use super::port_actions::Side;

const UPLOADER: &str = "UploaderPolicy";
const PUSHER: &str = "PusherPolicy";
const VIEWER: &str = "ViewerPolicy";
const OPERATOR: &str = "OperatorPolicy";

/// The commands' files below `crates/cli/src`, and the policies that who uses them has. What is not in it talks to no
/// account, but for `runner.rs`: nobody of these may push a runner.
const COMMANDS: &[(&str, &[&str])] = &[
    ("complete.rs", &[VIEWER]),
    ("explain.rs", &[VIEWER]),
    ("find.rs", &[VIEWER]),
    ("fleet.rs", &[VIEWER]),
    ("follow.rs", &[VIEWER]),
    ("follow/ended.rs", &[VIEWER]),
    ("list.rs", &[VIEWER]),
    ("reports.rs", &[VIEWER]),
    ("show.rs", &[VIEWER]),
    ("status.rs", &[VIEWER]),
    ("target.rs", &[VIEWER]),
    ("recipe/history.rs", &[VIEWER, PUSHER]),
    ("recipe/pull.rs", &[VIEWER]),
    ("recipe/sign.rs", &[VIEWER, PUSHER]),
    ("recipe/push.rs", &[VIEWER, PUSHER]),
    ("bake.rs", &[VIEWER, OPERATOR]),
    ("channels.rs", &[VIEWER, OPERATOR]),
    ("pipeline.rs", &[VIEWER, OPERATOR]),
    ("pipeline/limits.rs", &[VIEWER, OPERATOR]),
    ("pipeline/rename.rs", &[VIEWER]),
    ("prune.rs", &[VIEWER, OPERATOR]),
    ("rollout.rs", &[VIEWER, OPERATOR]),
    ("ui.rs", &[VIEWER, OPERATOR]),
    ("upload.rs", &[VIEWER, OPERATOR]),
];

/// What commands call by core's views and steps: no file of theirs names it.
const BY_CORE: &[(&str, &[&str])] = &[
    (
        VIEWER,
        &[
            "Images::image",
            "Images::matching",
            "Parameters::kinds",
            "Parameters::parameter",
            "Parameters::values",
            "Bucket::text",
            "Bucket::newest",
            "Bucket::head",
            "Builders::console",
            "Table::get",
            "Table::list",
            "Table::by_status",
            "Table::by_time",
            "Table::by_image",
            "Traffic::traffic",
            "Workflow::bake_execution",
            "Workflow::rollout_execution",
            // Doctor's.
            "Account::instance_types",
            "Account::volume_encryption",
            "Groups::group",
            "Networks::endpoints",
            "Networks::route_tables",
            "Networks::subnets",
            "Networks::vpcs",
            "Signals::rules",
            "Signals::runs",
            "Signals::subscriptions",
            "Signals::uploads_are_told",
            "Templates::default_version",
        ],
    ),
    (OPERATOR, &["Table::commit", "Workflow::start_rollout", "Workflow::start_bake"]),
    (PUSHER, &["Bucket::put_text"]),
];

/// Asks for no permission.
const FREE: &[&str] = &["sts:GetCallerIdentity"];

/// What an adapter names and S3 and DynamoDB ask for only of some requests: an object's named version, and parts of a
/// transaction.
const SOMETIMES: &[&str] = &["s3:GetObjectVersion"];

fn policy(name: &str) -> &'static Node {
    resources()[name]
}

fn allowed(policies: &[&str]) -> BTreeSet<&'static str> {
    policies.iter().flat_map(|name| role(policy(name))).collect()
}

/// The resources of a policy's statements that allow an action.
fn on(name: &str, action: &str) -> Vec<String> {
    let statements = statements(policy(name)).into_iter().filter(|one| actions(one).contains(action));
    let listed = statements.filter_map(|one| at(one, &["Resource"]));
    listed.flat_map(each).map(text).collect()
}

/// A command's source without its tests.
fn source(file: &str) -> String {
    let text = fs::read_to_string(repository().join("crates/cli/src").join(file)).expect(file);
    text.split("#[cfg(test)]").next().unwrap_or_default().to_owned()
}

#[test]
fn every_command_s_calls_are_allowed_by_the_policy_it_belongs_to() {
    let side = Side::read("crates/aws/src");
    let call = Regex::new(r"cloud\s*\.\s*(\w+)\(").unwrap();
    let mut checked = 0;
    for (file, policies) in COMMANDS {
        let (text, allowed) = (source(file), allowed(policies));
        for called in call.captures_iter(&text) {
            for action in side.called(&called[1]) {
                checked += 1;
                let fine = allowed.contains(action.as_str())
                    || FREE.contains(&action.as_str())
                    || SOMETIMES.contains(&action.as_str());
                assert!(fine, "{file} calls {action}, and {policies:?} don't allow it");
            }
        }
    }
    assert!(checked > 30, "{checked}");
    for (name, methods) in BY_CORE {
        let allowed = self::allowed(&[name]);
        for method in *methods {
            let called = side.actions(method);
            assert!(!called.is_empty(), "{method}");
            for action in called.iter().map(String::as_str).filter(|one| !SOMETIMES.contains(one)) {
                assert!(allowed.contains(action), "{method} calls {action}, and {name} doesn't allow it");
            }
        }
    }
}

#[test]
fn every_command_that_talks_to_an_account_has_its_policy() {
    let mut unknown = Vec::new();
    let call = Regex::new(r"\.cloud\b|\bcloud\s*\.\s*\w+\(|Ledger\(").unwrap();
    for path in super::sources("crates/cli/src") {
        let file =
            path.strip_prefix(repository().join("crates/cli/src")).unwrap().to_str().unwrap().to_owned();
        let known = COMMANDS.iter().any(|(one, _)| *one == file) || file == "runner.rs";
        // The local cloud's own command talks to none.
        if !known && !file.starts_with("local") && call.is_match(&source(&file)) {
            unknown.push(file);
        }
    }
    assert!(unknown.is_empty(), "whose policy allows what these call? {unknown:?}");
}

/// Who looks changes nothing, and an uploader and a pusher change one pipeline alone.
#[test]
fn nobody_reaches_beyond_what_the_policy_is_for() {
    let writes = Regex::new(r":(Abort|Put|Delete|Create|Start|Stop|Modify|Update|Terminate|Pass)").unwrap();
    let may: BTreeMap<&str, Vec<&str>> = [UPLOADER, PUSHER, VIEWER, OPERATOR]
        .map(|name| (name, allowed(&[name]).into_iter().filter(|action| writes.is_match(action)).collect()))
        .into();
    assert_eq!(may[VIEWER], [""; 0]);
    assert_eq!(may[UPLOADER], ["s3:AbortMultipartUpload", "s3:PutObject"]);
    assert_eq!(may[PUSHER], ["dynamodb:PutItem", "s3:PutObject"]);
    assert_eq!(
        may[OPERATOR],
        [
            "dynamodb:DeleteItem",
            "dynamodb:PutItem",
            "s3:AbortMultipartUpload",
            "s3:PutObject",
            "states:StartExecution",
            "states:StopExecution"
        ]
    );
    let tag = "${!aws:PrincipalTag/ovenbird-pipeline}";
    assert_eq!(on(UPLOADER, "s3:PutObject"), [format!("!Sub ${{Bucket.Arn}}/artifacts/{tag}/*")]);
    assert_eq!(on(PUSHER, "s3:PutObject"), [format!("!Sub ${{Bucket.Arn}}/recipes/{tag}/*")]);
    let note = statements(policy(PUSHER)).into_iter().find(|one| actions(one).contains("dynamodb:PutItem"));
    let condition = text_at(note.unwrap(), &["Condition"]).unwrap();
    assert_eq!(
        condition,
        "{ ForAllValues:StringEquals: { dynamodb:LeadingKeys: \
         [PUSHES#${aws:PrincipalTag/ovenbird-pipeline}], dynamodb:Attributes: [pk, sk, version, doc] }, \
         Null: { dynamodb:LeadingKeys: false, dynamodb:Attributes: false } }"
    );
    // Nobody writes runners, plans or reports, and who looks reads no presigned URL.
    for name in [UPLOADER, PUSHER, VIEWER, OPERATOR] {
        let written = on(name, "s3:PutObject");
        let prefixes = ["${Bucket.Arn}/artifacts/", "${Bucket.Arn}/recipes/"];
        let fine = |one: &String| prefixes.iter().any(|prefix| one.contains(prefix));
        assert!(written.iter().all(fine), "{name}: {written:?}");
        for read in on(name, "s3:GetObject") {
            let secret = ["/bakes/*/*urls.json", "/bakes/*/*plan.json", "/bakes/*/*user-data", "/bakes/*"];
            assert!(!secret.iter().any(|one| read.ends_with(one)), "{name} reads {read}");
        }
    }
}

/// A careless `s3:*` of somebody's is no way to a builder's root.
#[test]
fn the_bucket_lets_only_the_functions_write_plans_and_reports_and_only_the_named_ones_runners_and_recipes() {
    let fence = |sid: &str| {
        let all = statements(policy("BucketPolicy"));
        let found = all.into_iter().find(|one| text_at(one, &["Sid"]).as_deref() == Some(sid)).expect(sid);
        let value = |key| text_at(found, &[key]).unwrap();
        assert_eq!((value("Effect"), value("Principal")), ("Deny".into(), "*".into()), "{sid}");
        assert!(actions(found).contains("s3:PutObject"), "{sid}");
        (value("Resource"), value("Condition"))
    };
    let (resource, condition) = fence("OnlyFunctionsWriteOfBakes");
    assert_eq!(resource, "[!Sub ${Bucket.Arn}/bakes/*, !Sub ${Bucket.Arn}/prunes/*]");
    // Everybody who has it in its role: what a function signs, an instance writes in its name.
    let mut writers: Vec<String> = Vec::new();
    for (name, resource) in resources() {
        let of_bakes = |one: &&Node| {
            let resources: Vec<String> =
                at(one, &["Resource"]).map_or(&[][..], each).iter().map(text).collect();
            let there =
                |one: &String| one.contains("${Bucket.Arn}/bakes/") || one.contains("${Bucket.Arn}/prunes/");
            actions(one).contains("s3:PutObject") && resources.iter().any(there)
        };
        let function = text_at(resource, &["Type"]).as_deref() == Some("AWS::Serverless::Function");
        if function && statements(resource).iter().any(of_bakes) {
            writers.push(format!("!GetAtt {name}Role.Arn"));
        }
    }
    let listed = condition.split_once("aws:PrincipalArn: [").unwrap().1;
    let mut listed: Vec<&str> = listed.split(']').next().unwrap().split(", ").collect();
    listed.sort_unstable();
    assert_eq!(listed, writers);
    for (sid, resource, parameter) in [
        ("OnlyTheseWriteRunners", "runner", "RunnerPushers"),
        ("OnlyTheseWriteRecipes", "recipes", "RecipePushers"),
    ] {
        let condition = format!("{{ ArnNotLike: {{ aws:PrincipalArn: !Ref {parameter} }} }}");
        assert_eq!(fence(sid), (format!("!Sub ${{Bucket.Arn}}/{resource}/*"), condition));
    }
}

/// Who reads that something is held by a test must find it.
#[test]
fn every_test_that_the_security_page_names_is_there() {
    let page = fs::read_to_string(repository().join("docs/security.md")).unwrap();
    let named = Regex::new("`([a-z0-9]+(?:_[a-z0-9]+){3,})`").unwrap();
    let folders = ["crates", "tests/tests"];
    let sources = folders.iter().flat_map(super::sources).map(|path| fs::read_to_string(path).unwrap());
    let sources: String = sources.collect();
    let named: BTreeSet<&str> =
        named.captures_iter(&page).map(|name| name.get(1).unwrap().as_str()).collect();
    assert!(named.len() > 25, "{}", named.len());
    let missing: Vec<_> = named.iter().filter(|name| !sources.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
