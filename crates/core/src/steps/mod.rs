//! The six verbs, one file each. A step looks for what an earlier try left, does, and records.
//!
//! Launch-builder, run-validation, snapshot and promote start things; poll-readiness only looks; prune is the
//! only one that may destroy, and undoes for all of them.

pub mod cascade;
pub mod clean_up;
pub mod guard;
pub mod inputs;
pub mod launch_builder;
pub mod poll_readiness;
pub mod promote;
pub mod prune;
pub mod run_validation;
pub mod snapshot;

use crate::{
    domain::{
        bake::{Bake, Stage, Status},
        error::{Error, Result},
        id::BakeId,
    },
    ports::{Table, Workflow},
    store::Ledger,
};

/// The bake's record, which is at least as new as the document that an earlier try of this step was given; an error
/// when the bake has ended, because nobody looks after what a step makes then.
///
/// The document's stage says which step is asked for, the record's ids say how far an earlier try got.
async fn resume(table: &impl Table, document: &Bake) -> Result<Bake> {
    let record = Ledger(table).bake(&document.pipeline, &document.bake).await?;
    let mut bake = record.ok_or_else(|| {
        Error::bad_input(
            format!("bake `{}`", document.bake),
            "has no record",
            "Start bakes with `ovenbird bake PIPELINE`, not with a document",
        )
    })?;
    if bake.status != Status::Running {
        return Err(Error::BakeEnded { bake: bake.bake, status: bake.status });
    }
    bake.tests_passed = bake.tests_passed.or(document.tests_passed);
    bake.snapshots.clone_from(&document.snapshots);
    Ok(bake)
}

/// Whether the execution of another bake is over, whatever its record says.
async fn is_over(bake: &BakeId, workflow: &impl Workflow) -> Result<bool> {
    Ok(workflow.bake_execution(bake).await?.is_some_and(|execution| execution.is_over()))
}

fn wrong_stage(document: &Bake, step: &str) -> Error {
    Error::bad_input(
        format!("bake `{}` in stage {}", document.bake, document.stage),
        format!("can't be worked on by {step}, which takes bakes in other stages"),
        "Deploy functions and state machine of one version",
    )
}

/// The comment under which a command of this bake is found again: `SendCommand` has no client token.
fn comment(bake: &Bake, stage: Stage) -> String {
    format!("ovenbird {} {stage}", bake.bake)
}
