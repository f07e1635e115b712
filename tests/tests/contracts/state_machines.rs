//! The state machines' graphs: no linter of AWS's looks behind `DefinitionUri`, so these tests do.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::{Error, domain::bake::To, steps::rollout};
use serde_json::Value;

const BAKE: &str = include_str!("../../../statemachine/bake.asl.json");
const PRUNE: &str = include_str!("../../../statemachine/prune.asl.json");
const ROLLOUT: &str = include_str!("../../../statemachine/rollout.asl.json");

/// What AWS tells every Lambda task to retry, and the two names by which our steps ask for it.
const RETRIED: [&str; 7] = [
    "Lambda.ServiceException",
    "Lambda.AWSLambdaException",
    "Lambda.SdkClientException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.TooManyRequestsException",
    "Throttled",
    "TryAgain",
];

type States = serde_json::Map<String, Value>;

/// One level of states with its start, and the levels inside its Maps.
struct Graph {
    name: String,
    start: String,
    states: States,
}

fn graphs() -> Vec<Graph> {
    let mut graphs = Vec::new();
    for (name, text) in [("bake", BAKE), ("rollout", ROLLOUT), ("prune", PRUNE)] {
        collect(name, &serde_json::from_str(text).unwrap(), &mut graphs);
    }
    graphs
}

fn collect(name: &str, machine: &Value, graphs: &mut Vec<Graph>) {
    let states = machine["States"].as_object().unwrap().clone();
    for (state, definition) in &states {
        if let Some(inner) = definition.get("ItemProcessor") {
            collect(&format!("{name}/{state}"), inner, graphs);
        }
    }
    graphs.push(Graph {
        name: name.to_owned(),
        start: machine["StartAt"].as_str().unwrap().to_owned(),
        states,
    });
}

/// Step Functions' own way to EventBridge: a task without a function.
const PUT_EVENTS: &str = "arn:${Partition}:states:::events:putEvents";

/// Where a state may go: next, by choice, by default, by catch.
fn targets(state: &Value) -> Vec<&str> {
    let lists = ["Choices", "Catch"].into_iter().filter_map(|key| state[key].as_array()).flatten();
    let listed = lists.map(|one| &one["Next"]);
    [&state["Next"], &state["Default"]].into_iter().chain(listed).filter_map(Value::as_str).collect()
}

fn of_type<'g>(graph: &'g Graph, kind: &'g str) -> impl Iterator<Item = (&'g String, &'g Value)> {
    graph.states.iter().filter(move |(_, state)| state["Type"] == kind)
}

#[test]
fn only_the_plain_language_is_used() {
    for Graph { name, states, .. } in graphs() {
        for (state, definition) in &states {
            let kind = definition["Type"].as_str().unwrap();
            assert!(
                ["Task", "Choice", "Wait", "Map", "Succeed", "Fail"].contains(&kind),
                "{name}: {state} is a {kind}"
            );
        }
    }
    for text in [BAKE, ROLLOUT, PRUNE] {
        assert!(
            !text.contains("States.Format") && !text.contains("QueryLanguage") && !text.contains("{%"),
            "no intrinsics"
        );
    }
}

#[test]
fn every_target_exists_every_state_is_reached_and_every_way_ends() {
    for Graph { name, start, states } in graphs() {
        for (state, definition) in &states {
            for target in targets(definition) {
                assert!(states.contains_key(target), "{name}: {state} goes to {target}, which is nowhere");
            }
            let ends = definition["End"] == true
                || ["Succeed", "Fail"].contains(&definition["Type"].as_str().unwrap());
            assert!(ends || !targets(definition).is_empty(), "{name}: {state} neither ends nor goes on");
        }
        let mut reached = BTreeSet::new();
        let mut ways = vec![start.as_str()];
        while let Some(state) = ways.pop() {
            if reached.insert(state) {
                ways.extend(targets(&states[state]));
            }
        }
        let unreached: Vec<_> = states.keys().filter(|state| !reached.contains(state.as_str())).collect();
        assert!(unreached.is_empty(), "{name}: nothing leads to {unreached:?}");

        // From everywhere some way leads to an end.
        let mut ending: BTreeSet<&str> = BTreeSet::new();
        loop {
            let before = ending.len();
            for (state, definition) in &states {
                let ways = targets(definition);
                if ways.is_empty() || ways.iter().any(|way| ending.contains(way)) {
                    ending.insert(state);
                }
            }
            if ending.len() == before {
                break;
            }
        }
        assert_eq!(ending.len(), states.len(), "{name}: some states never end");
    }
}

#[test]
fn every_loop_waits_and_looks() {
    for graph in graphs() {
        for breaks in [
            |state: &Value| state["Type"] == "Wait",
            // A rollout's own steps look before they act.
            |state: &Value| {
                ["${PollReadinessArn}", "${PromoteArn}"].contains(&state["Resource"].as_str().unwrap_or(""))
            },
        ] {
            // What is left of the graph once these states are taken out has an order, or there is another loop.
            let mut left: BTreeMap<&str, &Value> = graph
                .states
                .iter()
                .filter(|(_, state)| !breaks(state))
                .map(|(name, state)| (name.as_str(), state))
                .collect();
            while !left.is_empty() {
                let done: Vec<&str> = left
                    .iter()
                    .filter(|(_, state)| !targets(state).iter().any(|target| left.contains_key(target)))
                    .map(|(name, _)| *name)
                    .collect();
                assert!(
                    !done.is_empty(),
                    "{}: a loop that doesn't wait, or doesn't look, in {:?}",
                    graph.name,
                    left.keys()
                );
                left.retain(|name, _| !done.contains(name));
            }
        }
    }
}

#[test]
fn every_task_has_a_timeout_retries_and_a_catch_that_keeps_the_document() {
    for graph in graphs() {
        for (state, task) in of_type(&graph, "Task") {
            let at = format!("{}: {state}", graph.name);
            assert!(task["TimeoutSeconds"].as_u64().is_some(), "{at} has no timeout");
            let retry: Vec<&str> = errors(&task["Retry"]);
            if task["Resource"] == PUT_EVENTS {
                assert_eq!(retry, ["States.ALL"], "{at}");
            }
            for error in RETRIED.into_iter().filter(|_| task["Resource"] != PUT_EVENTS) {
                assert!(retry.contains(&error), "{at} doesn't retry {error}");
            }
            let catch = task["Catch"].as_array().unwrap_or_else(|| panic!("{at} has no catch"));
            assert_eq!(catch.last().unwrap()["ErrorEquals"], serde_json::json!(["States.ALL"]), "{at}");
            for catcher in catch {
                let keeps = catcher["ResultPath"].is_null() && catcher.get("ResultPath").is_some();
                assert!(keeps || task["Resource"] != PUT_EVENTS, "{at}: nothing may hang on who listens");
                // `null` keeps the document as it is.
                let path = if catcher["ResultPath"].is_null() && catcher.get("ResultPath").is_some() {
                    "$.nothing"
                } else {
                    catcher["ResultPath"].as_str().unwrap_or("$")
                };
                assert!(path.starts_with("$.") && path.len() > 2, "{at}: a catch that drops the document");
            }
            for error in retry.into_iter().chain(errors(&task["Catch"])) {
                let of_aws = error.contains('.');
                assert!(of_aws || Error::NAMES.contains(&error), "{at}: no error of ours is named {error}");
            }
        }
    }
}

fn errors(clauses: &Value) -> Vec<&str> {
    let clauses = clauses.as_array().map(Vec::as_slice).unwrap_or_default();
    clauses
        .iter()
        .flat_map(|clause| clause["ErrorEquals"].as_array().unwrap())
        .map(|error| error.as_str().unwrap())
        .collect()
}

#[test]
fn every_failure_of_a_bake_leads_to_its_clean_up() {
    let graph = graphs().into_iter().find(|graph| graph.name == "bake").unwrap();
    for (state, task) in of_type(&graph, "Task") {
        // What can't be told changes nothing of the way.
        if task["Resource"] == PUT_EVENTS {
            let caught: Vec<_> =
                task["Catch"].as_array().unwrap().iter().map(|catcher| &catcher["Next"]).collect();
            assert_eq!(caught, [&task["Next"]], "{state}");
            continue;
        }
        // After its clean-up a bake has nothing any more to clean up, and its promotion stands.
        if !["CleanUp", "CleanUpFailed", "StartChildren"].contains(&state.as_str()) {
            let ways: Vec<_> =
                task["Catch"].as_array().unwrap().iter().map(|catcher| &catcher["Next"]).collect();
            assert_eq!(ways, ["CleanUpFailed"], "{state}");
        }
    }
    // A word that no choice knows raises an error that nothing can catch, unless there is a default.
    for (state, choice) in of_type(&graph, "Choice") {
        assert_eq!(choice["Default"], "CleanUpFailed", "{state}");
    }
}

#[test]
fn the_choices_know_every_way_a_step_can_send_and_no_other() {
    // Serde lists every word in its refusal of another one.
    let refusals = [
        ("bake", serde_json::from_str::<To>("\"nowhere\"").unwrap_err().to_string()),
        ("rollout", serde_json::from_str::<rollout::To>("\"nowhere\"").unwrap_err().to_string()),
    ];
    for (name, refusal) in refusals {
        let graph = graphs().into_iter().find(|graph| graph.name == name).unwrap();
        let choices = of_type(&graph, "Choice").flat_map(|(_, choice)| choice["Choices"].as_array().unwrap());
        let words: BTreeSet<&str> = choices.map(|choice| choice["StringEquals"].as_str().unwrap()).collect();
        let known: BTreeSet<&str> = refusal.split('`').skip(3).step_by(2).collect();
        assert!(known.len() > 5, "{refusal}");
        assert_eq!(words, known, "{name}");
    }
}

#[test]
fn every_failure_of_a_rollout_leads_back_or_is_picked_up() {
    let graph = graphs().into_iter().find(|graph| graph.name == "rollout").unwrap();
    for (state, task) in of_type(&graph, "Task") {
        let ways: Vec<_> = task["Catch"].as_array().unwrap().iter().map(|catcher| &catcher["Next"]).collect();
        let way = match state.as_str() {
            "Revert" | "RevertAfterError" => "NotReverted",
            "Finish" => "NotFinished",
            "Tell" => "Finish",
            "Ask" => "Paused",
            _ => "RevertAfterError",
        };
        assert_eq!(ways, [way], "{state}");
    }
    for (state, choice) in of_type(&graph, "Choice") {
        let way = match state.as_str() {
            "AfterRevert" => "NotReverted",
            "AfterFinish" => "NotFinished",
            _ => "Revert",
        };
        assert_eq!(choice["Default"], way, "{state}");
    }
}
