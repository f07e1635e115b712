//! What was pushed for a pipeline, when, and by whom: each push of a recipe notes itself.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, encode};
use crate::{
    domain::{
        error::Result,
        id::{Digest, PipelineName},
    },
    ports::{Expect, Index, Key, Table, Write},
};

/// What every push's sort key begins with.
const PREFIX: &str = "PUSH#";

/// One push of a recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push {
    /// The pipeline whose recipe it is.
    pub pipeline: PipelineName,
    /// The version that became the current one.
    pub version: Digest,
    /// When.
    pub at: Timestamp,
    /// Who, as AWS knows the caller: `user/alice`.
    pub by: String,
    /// What they said of it.
    pub message: Option<String>,
    /// The commit that the recipe's folder was at, with `+` behind it when files in the folder differed from it.
    pub git: Option<String>,
}

impl<T: Table> Ledger<'_, T> {
    /// Notes a push. Two of one moment are two: the version is in the key.
    pub async fn note_push(&self, push: &Push) -> Result<()> {
        // To the nanosecond, so that the order of the texts is that of the times.
        let sk = format!("{PREFIX}{:.9}#{}", push.at, push.version);
        // Not beside the pipeline's other records: who may push may write here, and there not.
        let key = Key { pk: format!("PUSHES#{}", push.pipeline), sk };
        let (expect, index) = (Expect::Absent, Index::default());
        self.0.commit(vec![Write::Put { key, doc: encode(push), expect, index }]).await
    }

    /// The pushes of a pipeline's recipes, the newest first. Those of an Ovenbird that noted none are not among them.
    pub async fn pushes(&self, pipeline: &PipelineName) -> Result<Vec<Push>> {
        let mut pushes = self.all(&format!("PUSHES#{pipeline}"), PREFIX).await?;
        // Where they were noted at first.
        pushes.extend(self.all::<Push>(&format!("PIPELINE#{pipeline}"), PREFIX).await?);
        Ok(pushes)
    }
}
