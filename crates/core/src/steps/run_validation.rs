//! run-validation: starts the tests on the builder.

use jiff::Timestamp;

use super::{Action, comment, resume, table::check};
use crate::{
    domain::{
        bake::{Document, Stage, To},
        error::Result,
        plan,
    },
    ports::{Commands, Table},
    store::Ledger,
};

/// Sends the test command, once.
///
/// The tests only look, so that a command delivered twice (its reply lost) does no harm; undo is not needed.
pub async fn run(document: Document, cloud: &(impl Commands + Table), now: Timestamp) -> Result<Document> {
    check(Action::Test, &document)?;
    let mut bake = resume(cloud, &document).await?;
    if bake.progress.stage == Stage::Builder {
        bake.progress.enter(Stage::Validation, now);
        bake.progress.command = None;
        Ledger(cloud).save(&mut bake).await?;
    }
    if bake.progress.command.is_none() {
        let comment = comment(&bake, Stage::Validation);
        let builder = bake.builder()?;
        let command = match cloud.find(builder, &comment).await? {
            Some(command) => command,
            None => {
                let deadline = bake.spec.settings.deadlines.validation;
                cloud.send(builder, &comment, plan::TEST_SCRIPT, deadline).await?
            }
        };
        bake.progress.command = Some(command);
        Ledger(cloud).save(&mut bake).await?;
    }
    Ok(bake.into_inner().go(To::Await))
}
