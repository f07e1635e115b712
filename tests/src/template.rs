//! `infra/template.yaml`, read as it is written: line by line, because its conventions are ours.

use std::collections::{BTreeMap, BTreeSet};

/// The template.
pub const TEMPLATE: &str = include_str!("../../infra/template.yaml");

/// A resource of the template: its lines, found by its name's indentation.
pub fn resources() -> BTreeMap<String, Vec<&'static str>> {
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
pub fn functions() -> BTreeMap<String, Vec<&'static str>> {
    let all =
        resources().into_values().filter(|lines| lines.contains(&"    Type: AWS::Serverless::Function"));
    all.map(|lines| {
        let uri = value(&lines, "CodeUri").unwrap();
        (uri.trim_start_matches("../build/").trim_end_matches('/').to_owned(), lines)
    })
    .collect()
}

/// The value of a key on a line of its own.
pub fn value<'l>(lines: &[&'l str], key: &str) -> Option<&'l str> {
    let value = lines.iter().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "))?;
    Some(value.split(" #").next().unwrap_or_default().trim())
}

/// A policy's statements, each as its lines.
pub fn statements<'l>(lines: &[&'l str]) -> Vec<Vec<&'l str>> {
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
pub fn actions<'l>(statement: &[&'l str]) -> BTreeSet<&'l str> {
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

/// Every action that a function's role allows.
pub fn role<'l>(lines: &[&'l str]) -> BTreeSet<&'l str> {
    let allows = |statement: &&Vec<&str>| value(statement, "Effect") == Some("Allow");
    statements(lines).iter().filter(allows).flat_map(|statement| actions(statement)).collect()
}
