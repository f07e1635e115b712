//! One line of log for each decision, with the ids that an operator filters by.
//!
//! A wait is no decision: its line is for debugging alone. No line holds a URL, a secret or an account's number.

use serde_json::Value;

use crate::domain::{
    bake::{Document, Stage, To},
    error::{Error, Result},
};
use crate::steps::Function;

/// Logs what a step decided about a bake, or why it failed.
pub(super) fn logged(function: Function, input: &Value, outcome: Result<Document>) -> Result<Document> {
    match &outcome {
        Ok(document) => decided(function, document),
        Err(error) => failed(function, input, error),
    }
    outcome
}

fn decided(function: Function, document: &Document) {
    let bake = &document.bake;
    let (id, pipeline, stage) = (&bake.spec.id, &bake.spec.pipeline, bake.progress.stage);
    let image = bake.progress.image.as_ref().map(ToString::to_string).unwrap_or_default();
    let words = words(document);
    match document.next.to {
        To::Wait => {
            tracing::debug!(%function, bake.id = %id, %pipeline, %stage, image.id = image, "{words}");
        }
        To::Await | To::Go | To::Verify | To::Promote | To::Twin | To::Launch | To::Done | To::Nothing => {
            tracing::info!(%function, bake.id = %id, %pipeline, %stage, image.id = image, "{words}");
        }
    }
}

fn words(document: &Document) -> String {
    let bake = &document.bake;
    let builder = || bake.progress.builder.as_ref().map(ToString::to_string).unwrap_or_default();
    match document.next.to {
        To::Await => match bake.progress.stage {
            Stage::Builder => format!("launched builder {}", builder()),
            Stage::Validation => "started the tests on the builder".to_owned(),
            Stage::Seal => "started to seal the builder".to_owned(),
            Stage::Image => "ordered the image".to_owned(),
            Stage::Boot => "launched an instance of the image, to test it".to_owned(),
            Stage::Promotion => "promoted; waits for the parameter".to_owned(),
            Stage::Launch | Stage::AwaitTwin | Stage::AwaitTurn | Stage::CleanUp => {
                format!("started {}", bake.progress.stage)
            }
        },
        To::Wait => format!("still waits in stage {}", bake.progress.stage),
        To::Go => format!("stage {} is done", bake.progress.stage),
        To::Verify => "the image is there; boots an instance of it".to_owned(),
        To::Promote if bake.progress.reused => "takes the image that is there for its digest".to_owned(),
        To::Promote => "the image passed its tests; promotes it".to_owned(),
        To::Twin => "another bake of its digest is at work; waits for that".to_owned(),
        To::Launch => "the other bake of its digest gave up; launches".to_owned(),
        To::Done => format!("ends {}", document.ends.unwrap_or(bake.progress.status).as_str()),
        To::Nothing => "has nothing to do".to_owned(),
    }
}

/// Logs the failure of a function that was given something about a bake.
pub(super) fn failed(function: Function, input: &Value, error: &Error) {
    let id = input.get("bake").and_then(Value::as_str).unwrap_or_default();
    let stage = input.get("stage").and_then(Value::as_str).unwrap_or_default();
    let (name, kind) = (error.name(), error.kind());
    tracing::error!(%function, bake.id = id, stage, error = name, ?kind, "{error}");
}
