//! What the page asks of an account: core's ports, and a few questions that only operators ask.

use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::id::BakeId,
    ports::{Bucket, Groups, Images, Parameters, Table, Traffic, Workflow},
    views::{doctor::Checkup, status::Fleet},
};

/// A prune run.
#[derive(Debug, Clone)]
pub struct PruneRun {
    /// Its name.
    pub name: BakeId,
    /// When it began.
    pub started: Timestamp,
    /// Whether it ended well; none while it is on its way.
    pub succeeded: Option<bool>,
}

/// An account with Ovenbird deployed, as an operator reaches it with their own credentials.
#[expect(async_fn_in_trait, reason = "the server runs every page on one thread; no future needs Send")]
pub trait Account {
    /// What answers core's ports.
    type Cloud: Bucket + Groups + Images + Parameters + Table + Traffic + Workflow;

    /// The ports.
    fn cloud(&self) -> &Self::Cloud;

    /// The instances that are starting or running and aren't a bake's, by the image they were started from.
    ///
    /// # Errors
    /// When EC2 can't be asked.
    async fn fleet(&self) -> Result<Fleet>;

    /// Who acts, as AWS knows them.
    ///
    /// # Errors
    /// When AWS can't be asked.
    async fn caller(&self) -> Result<String>;

    /// Who started a bake by hand; none for one that nobody started, or that Step Functions has forgotten.
    ///
    /// # Errors
    /// When Step Functions can't be asked.
    async fn starter(&self, bake: &BakeId) -> Result<Option<String>>;

    /// So many of the newest prune runs, the newest first.
    ///
    /// # Errors
    /// When Step Functions can't be asked.
    async fn prune_runs(&self, most: u8) -> Result<Vec<PruneRun>>;

    /// What of the account and the stack would make a bake fail.
    ///
    /// # Errors
    /// When not even the account can be asked.
    async fn checkup(&self, now: Timestamp) -> Result<Checkup>;

    /// Starts a prune run under this name.
    ///
    /// # Errors
    /// When Step Functions refuses it.
    async fn start_prune(&self, run: &BakeId, input: &serde_json::Value) -> Result<()>;

    /// The bakes that ended badly lately, the newest first: some of them never had a record.
    ///
    /// # Errors
    /// When Step Functions can't be asked.
    async fn failed(&self) -> Result<Vec<(BakeId, Timestamp)>>;
}
