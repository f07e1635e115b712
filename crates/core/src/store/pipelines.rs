//! Which pipelines there are: each push of a recipe notes its pipeline.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, among_others, encode};
use crate::{
    domain::{error::Result, id::PipelineName},
    ports::{Bucket, Expect, Index, Key, Table, Write},
};

/// All are in one partition: whoever lists them reads a few hundred bytes for each.
const PARTITION: &str = "PIPELINES";

/// What every pipeline's sort key begins with.
const PREFIX: &str = "PIPELINE#";

/// The item that says that every pipeline has one. It is listed with the others: what they begin with, it does, too.
const COMPLETE: &str = "PIPELINES";

/// What the sort keys of all items of the partition begin with.
const EVERYTHING: &str = "PIPELINE";

/// How many items are written in one transaction; DynamoDB takes 100.
const MOST: usize = 50;

/// A pipeline that was pushed.
#[derive(Debug, Serialize, Deserialize)]
struct Known {
    pipeline: PipelineName,
}

impl<T: Table> Ledger<'_, T> {
    /// Every pipeline that ever had a recipe.
    ///
    /// The first stage noted none. Until the next push, its pipelines are looked for in the bucket.
    pub async fn pipelines(&self, bucket: &impl Bucket) -> Result<BTreeSet<PipelineName>> {
        let (mut pipelines, complete) = self.known_pipelines().await?;
        if !complete {
            pipelines.extend(in_bucket(bucket).await?);
        }
        Ok(pipelines)
    }

    /// Notes a pipeline, and with the first one all that lie in the bucket.
    pub async fn note_pipeline(&self, pipeline: &PipelineName, bucket: &impl Bucket) -> Result<()> {
        among_others(async || {
            let (known, complete) = self.known_pipelines().await?;
            let mut missing = if complete { BTreeSet::new() } else { in_bucket(bucket).await? };
            missing.insert(pipeline.clone());
            let new = |sk: String, doc| Write::Put {
                key: Key { pk: PARTITION.to_owned(), sk },
                doc,
                expect: Expect::Absent,
                index: Index::default(),
            };
            let missing = missing.difference(&known).cloned();
            let items =
                missing.map(|pipeline| new(format!("{PREFIX}{pipeline}"), encode(&Known { pipeline })));
            let items: Vec<Write> = items.collect();
            for some in items.chunks(MOST) {
                self.0.commit(some.to_vec()).await?;
            }
            if complete {
                return Ok(());
            }
            // Last: until here the bucket is looked through.
            self.0
                .commit(vec![new(COMPLETE.to_owned(), encode(&serde_json::json!({"complete": true})))])
                .await
        })
        .await
    }

    /// The pipelines that were noted, and whether these are all.
    async fn known_pipelines(&self) -> Result<(BTreeSet<PipelineName>, bool)> {
        let rows = self.0.list(PARTITION, EVERYTHING).await?;
        let complete = rows.iter().any(|row| row.key.sk == COMPLETE);
        let noted = rows.iter().filter(|row| row.key.sk != COMPLETE);
        let pipelines = noted.map(|row| super::ledger::doc::<Known>(row).map(|known| known.pipeline));
        Ok((pipelines.collect::<Result<_>>()?, complete))
    }
}

async fn in_bucket(bucket: &impl Bucket) -> Result<BTreeSet<PipelineName>> {
    let names = bucket.folders("recipes/").await?;
    Ok(names.iter().filter_map(|name| PipelineName::parse(name).ok()).collect())
}
