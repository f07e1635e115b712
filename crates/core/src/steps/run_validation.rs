//! run-validation: starts the tests on the builder.

use jiff::Timestamp;

use super::{comment, resume, wrong_stage};
use crate::{
    domain::{
        bake::{Bake, Stage, To},
        error::Result,
        plan,
    },
    ports::{Commands, Table},
    store::Ledger,
};

/// Sends the test command, once.
///
/// The tests only look, so that a command delivered twice (its reply lost) does no harm; undo is not needed.
pub async fn run(document: Bake, ssm: &impl Commands, table: &impl Table, now: Timestamp) -> Result<Bake> {
    match document.stage {
        Stage::Builder => {}
        Stage::Launch
        | Stage::AwaitTwin
        | Stage::Validation
        | Stage::Seal
        | Stage::Image
        | Stage::Boot
        | Stage::Promotion
        | Stage::CleanUp => return Err(wrong_stage(&document, "run-validation")),
    }
    let mut bake = resume(table, &document).await?;
    if bake.stage == Stage::Builder {
        bake.enter(Stage::Validation, now);
        bake.command = None;
        Ledger(table).save(&bake).await?;
    }
    if bake.command.is_none() {
        let comment = comment(&bake, Stage::Validation);
        let builder = bake.builder()?;
        let command = match ssm.find(builder, &comment).await? {
            Some(command) => command,
            None => {
                ssm.send(builder, &comment, plan::TEST_SCRIPT, bake.settings.deadlines.validation).await?
            }
        };
        bake.command = Some(command);
        Ledger(table).save(&bake).await?;
    }
    Ok(bake.go(To::Await))
}
