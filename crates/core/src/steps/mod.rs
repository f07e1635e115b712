//! The six verbs, one file each. A step looks for what an earlier try left, does, and records.
//!
//! Launch-builder, run-validation, snapshot and promote start things; poll-readiness only looks; prune is the
//! only one that may destroy, and undoes for all of them.

pub mod cascade;
pub mod clean_up;
pub mod events;
pub mod followers;
pub mod guard;
pub mod inputs;
pub mod inventory;
pub mod launch_builder;
pub mod poll_readiness;
pub mod promote;
pub mod prune;
pub mod register;
pub mod rollout;
pub mod run_validation;
pub mod snapshot;
mod table;

pub use self::table::{Action, Function, Leaves, STEPS, Step};

use jiff::Timestamp;

use crate::{
    domain::{
        bake::{Available, Bake, BakeSpec, Document, Stage, Status},
        error::{Error, Result},
        id::{AmiId, BakeId},
        mailbox::Order,
        turn::Limits,
    },
    ports::{Bucket, Image, Protection, Role, Stack, Table, Workflow},
    store::{Ledger, Mailbox, Versioned},
};

/// So many questions that don't wait for each other are asked at once, of the table and the bucket: both take thousands a
/// second.
///
/// They are asked by `join_all`, of no more than this. Up to 30 it polls all of them each time, and needs no waker: so steps
/// run in the walk, too, which wakes nothing.
const AT_ONCE: usize = 16;

/// So many at once of EC2, which refills 20 of a kind a second, for everybody in the account.
const AT_ONCE_OF_EC2: usize = 4;

/// The bake's record, which is at least as new as the document that an earlier try of this step was given, with what
/// poll-readiness saw since; an error when the bake has ended, because nobody looks after what a step makes then.
///
/// The document's stage says which step is asked for, the record's ids say how far an earlier try got.
async fn resume(table: &impl Table, document: &Document) -> Result<Versioned<Bake>> {
    let mut bake = recorded(table, &document.bake).await?;
    if bake.progress.status != Status::Running {
        return Err(Error::BakeEnded { bake: bake.spec.id.clone(), status: bake.progress.status });
    }
    bake.progress.adopt(&document.seen);
    Ok(bake)
}

/// The commands by which a person deregisters an image. EC2 refuses the second one alone: an image that passed its tests is
/// protected.
fn deregistration(image: &AmiId) -> String {
    format!(
        "aws ec2 disable-image-deregistration-protection --image-id {image}; aws ec2 deregister-image --image-id {image}"
    )
}

/// The bake's record; each bake has one before its execution leaves the first state.
pub(crate) async fn recorded(table: &impl Table, bake: &Bake) -> Result<Versioned<Bake>> {
    let record = Ledger(table).bake(&bake.spec.pipeline, &bake.spec.id).await?;
    record.ok_or_else(|| {
        Error::bad_input(
            format!("bake `{}`", bake.spec.id),
            "has no record",
            "Start bakes with `ovenbird bake PIPELINE`, not with a document",
        )
    })
}

/// Whether the execution of another bake is over, whatever its record says.
async fn is_over(bake: &BakeId, workflow: &impl Workflow) -> Result<bool> {
    Ok(workflow.bake_execution(bake).await?.is_some_and(|execution| execution.is_over()))
}

/// How an image stands that EC2 shows as available, asked at this moment.
fn available(image: &Image, now: Timestamp) -> Available {
    let protected = image.protection != Protection::Off;
    Available { since: now, imdsv2: image.imdsv2, protected }
}

/// How many bakes may have a builder at the same time, as a bake's recipe and its stack say.
fn limits(spec: &BakeSpec, stack: &impl Stack) -> Result<Limits> {
    let number = |most: u32| usize::try_from(most).unwrap_or(usize::MAX);
    Ok(Limits { pipeline: number(spec.settings.concurrency), stack: number(stack.most_builders()?) })
}

/// Orders something of the builder, unless the bake is further already: an order that comes late must not take the place
/// of the next one.
async fn order(bake: &Bake, stage: Stage, order: Order, bucket: &impl Bucket) -> Result<()> {
    if bake.progress.stage != stage {
        return Ok(());
    }
    Mailbox::new(bucket, &bake.spec, Role::Builder).order(order).await
}
