//! run-validation: orders the tests on the builder.

use jiff::Timestamp;

use super::{Action, order, resume, table::check};
use crate::{
    domain::{
        bake::{Document, Stage, To},
        error::Result,
        mailbox::Order,
    },
    ports::{Bucket, Table},
    store::Ledger,
};

/// Orders the tests. They only look, and ordered twice is ordered once; undo is not needed.
pub async fn run(document: Document, cloud: &(impl Bucket + Table), now: Timestamp) -> Result<Document> {
    check(Action::Test, &document)?;
    let mut bake = resume(cloud, &document).await?;
    if bake.progress.stage == Stage::Builder {
        bake.progress.enter(Stage::Validation, now);
        Ledger(cloud).save(&mut bake).await?;
    }
    order(&bake, Stage::Validation, Order::Test, cloud).await?;
    Ok(bake.into_inner().go(To::Await).signed(document.seen.signed))
}
