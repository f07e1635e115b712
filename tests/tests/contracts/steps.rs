//! The state machine of a bake asks for the steps of `core::steps::STEPS`, each of its own function, and for no others.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::steps::{Action, Function, STEPS};
use ovenbird_tests::clients::repository;
use serde_json::Value;

use super::generated;

/// What each state of the bake's state machine asks of which function.
fn asked() -> Vec<(String, String, Action)> {
    let text = std::fs::read_to_string(repository().join("statemachine/bake.asl.json")).unwrap();
    let machine: Value = serde_json::from_str(&text).unwrap();
    let states = machine["States"].as_object().unwrap().clone();
    let tasks = states
        .into_iter()
        .filter(|(_, state)| state["Type"] == "Task" && state["Parameters"].get("action").is_some());
    let asked = tasks.map(|(name, state)| {
        let action = serde_json::from_value(state["Parameters"]["action"].clone());
        (name.clone(), state["Resource"].as_str().unwrap().to_owned(), action.expect(&name))
    });
    asked.collect()
}

fn resource(function: Function) -> String {
    let words = function.as_str().split('-');
    let name: String = words.map(|word| word[..1].to_uppercase() + &word[1..]).collect();
    format!("${{{name}Arn}}")
}

#[test]
fn every_state_asks_the_function_that_has_its_step() {
    let functions: BTreeMap<Action, Function> =
        STEPS.iter().map(|step| (step.action, step.function)).collect();
    assert_eq!(functions.len(), STEPS.len(), "an action is of one step");
    for (state, asked, action) in asked() {
        assert_eq!(asked, resource(functions[&action]), "{state} asks for {action:?}");
    }
}

#[test]
fn every_step_is_asked_for() {
    let asked: BTreeSet<Action> = asked().into_iter().map(|(_, _, action)| action).collect();
    let known: BTreeSet<Action> = STEPS.iter().map(|step| step.action).collect();
    assert_eq!(asked, known);
}

/// The steps as a table for people.
#[test]
fn the_readme_has_the_steps_as_they_are() {
    let mut table =
        "| action | function | takes a bake in stage | if its execution dies here, it may leave |\n|---|---|---|---|\n"
            .to_owned();
    for step in STEPS {
        let takes: Vec<&str> = step.takes.iter().map(|stage| stage.as_str()).collect();
        let takes = if takes.is_empty() { "any".to_owned() } else { takes.join(", ") };
        let leaves: Vec<&str> = step.leaves.iter().map(|one| one.as_str()).collect();
        let leaves = if leaves.is_empty() { "nothing".to_owned() } else { leaves.join(", ") };
        let (action, function) = (step.action.as_str(), step.function);
        table.push_str(&format!("| `{action}` | {function} | {takes} | {leaves} |\n"));
    }
    generated("statemachine/README.md", "steps: made by tests/tests/contracts/steps.rs", &table);
}
