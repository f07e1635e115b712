//! What an operator said that the recipes of a pipeline may ask for.

use serde::{Deserialize, Serialize};

use super::{
    ledger::{Ledger, among_others, encode, expect, read},
    pipelines::Said,
};
use crate::{
    domain::{builder_limits::BuilderLimits, error::Result, id::PipelineName},
    ports::{Expect, Index, Key, Table, Write},
};

/// The limits of a pipeline, and whose word they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limited {
    /// The limits.
    pub limits: BuilderLimits,
    /// Who set them, and when.
    pub said: Said,
}

impl<T: Table> Ledger<'_, T> {
    /// The limits of a pipeline; none when nobody set any.
    pub async fn builder_limits(&self, pipeline: &PipelineName) -> Result<Option<Limited>> {
        Ok(read(self.0.get(&key(pipeline)).await?)?.map(|(_, limited)| limited))
    }

    /// Sets a pipeline's limits in place of those that it has, or takes them away. The pipeline need not be there yet.
    pub async fn limit_builders(&self, pipeline: &PipelineName, limited: Option<&Limited>) -> Result<()> {
        among_others(async || {
            let key = key(pipeline);
            let row = self.0.get(&key).await?;
            let write = match (limited, row) {
                (Some(limited), row) => {
                    let (doc, expect) = (encode(limited), expect(row.as_ref()));
                    Write::Put { key, doc, expect, index: Index::default() }
                }
                (None, Some(row)) => Write::Delete { key, expect: Expect::Version(row.version) },
                (None, None) => return Ok(()),
            };
            self.0.commit(vec![write]).await
        })
        .await
    }
}

fn key(pipeline: &PipelineName) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: "LIMITS".to_owned() }
}
