//! What EventBridge is told is a promise: `docs/events.md` and `docs/events.schema.json` are made of the types that are put.

use std::{collections::BTreeSet, fs};

use ovenbird_core::domain::{
    event::{EventKind, SOURCE},
    event_details::VERSION,
};
use ovenbird_tests::clients::repository;
use serde_json::Value;

use super::{
    generated,
    json::{broken, model::Model, types::Types},
};

/// The detail of each `detail-type`.
const DETAILS: &[(&str, &str)] = &[
    ("Approval Needed", "ApprovalNeeded"),
    ("Bake Failed", "BakeFailed"),
    ("Image Baked", "ImageBaked"),
    ("Image Promoted", "ImagePromoted"),
    ("Image Retired", "ImageRetired"),
    ("Parameter Drifted", "ParameterDrifted"),
    ("Rollout Reverted", "RolloutReverted"),
];

fn model() -> Model {
    let types = Types::read(&["crates/core/src"]);
    let mut model = Model::default();
    for (kind, detail) in DETAILS {
        let json = types.json(&syn::parse_str(detail).expect("a type"), None, &mut model);
        model.documents.push(((*kind).to_owned(), json));
    }
    model
}

#[test]
fn the_events_are_what_docs_say_and_nothing_of_a_version_goes() {
    let model = model();
    let docs = fs::read_to_string(repository().join("docs/events.md")).expect("docs/events.md");
    let broken = broken(&docs, VERSION.into(), &model.rows());
    assert!(
        broken.is_empty(),
        "whoever listens needs what is gone or has another type now; keep it, or make it a version of its own: {broken:#?}"
    );
    let kinds = model.commands().replace("| command | what it prints |", "| detail-type | detail |");
    generated("docs/events.md", "events", &format!("Version {VERSION}\n\n{kinds}"));
    generated("docs/events.md", "details", &model.tables());
    let title = format!("The details of Ovenbird's events, version {VERSION}");
    let schema = format!("{}\n", serde_json::to_string_pretty(&model.schema(&title)).expect("a schema"));
    let path = repository().join("docs/events.schema.json");
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(&path, &schema).expect("a schema that can be written");
    }
    assert_eq!(
        fs::read_to_string(&path).unwrap_or_default(),
        schema,
        "docs/events.schema.json is old: OVENBIRD_UPDATE=1 cargo test -p ovenbird-tests --test contracts"
    );
}

#[test]
fn every_kind_of_event_has_a_detail_and_is_put_in_our_name() {
    let refusal = serde_json::from_value::<EventKind>("nothing".into()).unwrap_err().to_string();
    let known: BTreeSet<&str> = refusal.split('`').skip(3).step_by(2).collect();
    assert_eq!(known, DETAILS.iter().map(|(kind, _)| *kind).collect());
    let template = fs::read_to_string(repository().join("infra/template.yaml")).expect("the template");
    let only = format!("{{ StringEquals: {{ \"events:source\": {SOURCE} }} }}");
    assert_eq!(template.matches("Action: events:PutEvents").count(), 3, "one for each state machine");
    assert_eq!(template.matches(only.as_str()).count(), 3, "each puts in our name alone");
}

/// What all details have, so that one rule fits every event.
#[test]
fn all_details_begin_alike() {
    let schema = model().schema("");
    for (kind, detail) in DETAILS {
        let required = schema["$defs"][detail]["required"].as_array().expect(kind);
        for field in ["version", "id", "summary", "pipeline"] {
            assert!(required.contains(&Value::from(field)), "{kind} has no {field}");
        }
    }
}
