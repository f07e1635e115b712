//! `infra/template.yaml`, as tests ask about it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use saphyr::{LoadableYamlNode as _, Scalar, Yaml};

/// A node of the template: short forms like `!Ref` are its tags.
pub type Node = Yaml<'static>;

static TEMPLATE: LazyLock<Node> = LazyLock::new(|| read(include_str!("../../infra/template.yaml")));

/// Reads a template, or a part of one.
pub fn read(text: &'static str) -> Node {
    let mut documents = Yaml::load_from_str(text).expect("a template is YAML");
    documents.pop().expect("a template has a document")
}

/// What is at a path of keys, from the template's top.
pub fn template(path: &[&str]) -> Option<&'static Node> {
    at(&TEMPLATE, path)
}

/// What is at a path of keys below a node.
pub fn at<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, key| node.as_mapping_get(key))
}

/// The text of what is at a path below a node.
pub fn text_at(node: &Node, path: &[&str]) -> Option<String> {
    at(node, path).map(text)
}

/// A node in one line, as a person writes it; quotes are left out.
pub fn text(node: &Node) -> String {
    let pair = |(key, value): (&Node, &Node)| format!("{}: {}", text(key), text(value));
    match node {
        Yaml::Value(Scalar::Null) => String::new(),
        Yaml::Value(Scalar::Boolean(value)) => value.to_string(),
        Yaml::Value(Scalar::Integer(value)) => value.to_string(),
        Yaml::Value(Scalar::FloatingPoint(value)) => value.to_string(),
        Yaml::Value(Scalar::String(value)) => value.to_string(),
        Yaml::Sequence(nodes) => format!("[{}]", nodes.iter().map(text).collect::<Vec<_>>().join(", ")),
        Yaml::Mapping(pairs) => {
            format!("{{ {} }}", pairs.iter().map(pair).collect::<Vec<_>>().join(", "))
        }
        Yaml::Tagged(tag, node) => format!("{}{} {}", tag.handle, tag.suffix, text(node)),
        Yaml::Representation(..) | Yaml::Alias(_) | Yaml::BadValue => panic!("no node of ours: {node:?}"),
    }
}

/// The pairs of a mapping, in the template's order.
pub fn pairs(node: &Node) -> impl Iterator<Item = (&str, &Node)> {
    let pairs = node.as_mapping().unwrap_or_else(|| panic!("no mapping: {}", text(node)));
    pairs.iter().map(|(key, value)| (key.as_str().expect("a key is a text"), value))
}

/// The nodes of a sequence; a node that is none is the only one.
pub fn each(node: &Node) -> &[Node] {
    node.as_vec().map_or(std::slice::from_ref(node), Vec::as_slice)
}

/// The resources by name.
pub fn resources() -> BTreeMap<&'static str, &'static Node> {
    pairs(template(&["Resources"]).expect("it has resources")).collect()
}

/// The functions: folder, and the resource.
pub fn functions() -> BTreeMap<String, &'static Node> {
    let function =
        |resource: &&Node| text_at(resource, &["Type"]) == Some("AWS::Serverless::Function".into());
    let named = |resource| {
        let uri = text_at(resource, &["Properties", "CodeUri"]).expect("a function has its code");
        (uri.trim_start_matches("../build/").trim_end_matches('/').to_owned(), resource)
    };
    resources().into_values().filter(function).map(named).collect()
}

/// The statements of a resource's policies, those too that are there on a condition only.
pub fn statements(resource: &Node) -> Vec<&Node> {
    let own = at(resource, &["Properties", "PolicyDocument"]);
    let listed = at(resource, &["Properties", "Policies"]).map_or(&[][..], each);
    let listed = listed.iter().map(|policy| at(policy, &["PolicyDocument"]).unwrap_or(policy));
    let of_policy = |policy| {
        let statement = at(policy, &["Statement"]);
        // Else a policy of AWS's or a template of SAM's would allow what no test sees.
        each(statement.unwrap_or_else(|| panic!("no statement of our own: {}", text(policy))))
    };
    own.into_iter().chain(listed).flat_map(of_policy).flat_map(branches).collect()
}

/// Whatever an `!If` may come to; `AWS::NoValue` is nothing.
fn branches(node: &Node) -> Vec<&Node> {
    match node {
        Yaml::Tagged(tag, of) if tag.suffix == "If" => each(of)[1..].iter().flat_map(branches).collect(),
        Yaml::Tagged(..) if text(node) == "!Ref AWS::NoValue" => Vec::new(),
        node => vec![node],
    }
}

/// What a statement allows or denies.
pub fn actions(statement: &Node) -> BTreeSet<&str> {
    let actions = at(statement, &["Action"]).unwrap_or_else(|| panic!("no action: {}", text(statement)));
    each(actions).iter().map(|action| action.as_str().expect("an action is a text")).collect()
}

/// Every action that a function's role allows.
pub fn role(resource: &Node) -> BTreeSet<&str> {
    let allows = |statement: &&Node| text_at(statement, &["Effect"]) == Some("Allow".into());
    statements(resource).into_iter().filter(allows).flat_map(actions).collect()
}
