//! Which pipelines there are, and which of them a person paused or removed: launch-builder notes the pipeline of each recipe
//! that is pushed.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    channels::{Channel, channel_key},
    ledger::{Ledger, among_others, doc, encode, expect, read},
    parameters::parameter_key,
};
use crate::{
    domain::{
        error::{Error, Result},
        id::PipelineName,
    },
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

/// A pipeline that was pushed, and what a person said of it since.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Known {
    pipeline: PipelineName,
    /// Nothing starts a bake of it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Said>,
    /// Nothing bakes it, and its images go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed: Option<Said>,
}

/// A person's word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Whose word, as AWS knows them: `user/alice`.
    pub by: String,
    /// Why.
    pub why: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Why a pipeline isn't baked as usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Halt {
    /// Nothing starts a bake of it by itself; people may.
    Paused(Said),
    /// Nothing and nobody starts a bake of it.
    Removed(Said),
}

/// How all pipelines stand.
#[derive(Debug, Default)]
pub struct Standing {
    /// Those that are there; with a person's word if they are paused.
    pub here: BTreeMap<PipelineName, Option<Said>>,
    /// Those that were removed.
    pub removed: BTreeMap<PipelineName, Said>,
}

impl<T: Table> Ledger<'_, T> {
    /// Every pipeline that has a recipe and wasn't removed.
    pub async fn pipelines(&self, bucket: &impl Bucket) -> Result<BTreeSet<PipelineName>> {
        Ok(self.standing(bucket).await?.here.into_keys().collect())
    }

    /// How all pipelines stand.
    ///
    /// The first stage noted none. Until the next push, its pipelines are looked for in the bucket.
    pub async fn standing(&self, bucket: &impl Bucket) -> Result<Standing> {
        let (known, complete) = self.known_pipelines().await?;
        let mut standing = Standing::default();
        for Known { pipeline, paused, removed } in known {
            match removed {
                Some(said) => drop(standing.removed.insert(pipeline, said)),
                None => drop(standing.here.insert(pipeline, paused)),
            }
        }
        if !complete {
            for pipeline in in_bucket(bucket).await? {
                if !standing.removed.contains_key(&pipeline) {
                    standing.here.entry(pipeline).or_default();
                }
            }
        }
        Ok(standing)
    }

    /// Why a pipeline isn't baked as usual; none when it is.
    pub async fn halt(&self, pipeline: &PipelineName) -> Result<Option<Halt>> {
        let found = read::<Known>(self.0.get(&key(pipeline)).await?)?;
        Ok(found.and_then(|(_, Known { paused, removed, .. })| match (removed, paused) {
            (Some(said), _) => Some(Halt::Removed(said)),
            (None, Some(said)) => Some(Halt::Paused(said)),
            (None, None) => None,
        }))
    }

    /// Whether a pipeline is among those that are there.
    pub async fn is_noted(&self, pipeline: &PipelineName) -> Result<bool> {
        let found = read::<Known>(self.0.get(&key(pipeline)).await?)?;
        Ok(found.is_some_and(|(_, known)| known.removed.is_none()))
    }

    /// Pauses a pipeline, or lets it go on.
    pub async fn pause(&self, pipeline: &PipelineName, said: Option<Said>) -> Result<()> {
        among_others(async || {
            let row = self.0.get(&key(pipeline)).await?;
            let known = read::<Known>(row.clone())?.map(|(_, known)| known);
            let removed = known.and_then(|known| known.removed);
            let known = Known { pipeline: pipeline.clone(), paused: said.clone(), removed };
            self.0.commit(vec![put(&known, expect(row.as_ref()))]).await
        })
        .await
    }

    /// Removes a pipeline: with its channels as they were seen, and its claims of parameters.
    ///
    /// # Errors
    /// `TryAgain` when a channel moved meanwhile: whoever asked saw another plan.
    pub async fn remove_pipeline(
        &self,
        pipeline: &PipelineName,
        said: Said,
        channels: &[Channel],
    ) -> Result<()> {
        let row = self.0.get(&key(pipeline)).await?;
        let known = Known { pipeline: pipeline.clone(), paused: None, removed: Some(said) };
        let mut writes = vec![put(&known, expect(row.as_ref()))];
        for channel in channels {
            let key = channel_key(pipeline, &channel.name);
            let row = self.0.get(&key).await?;
            match read::<Channel>(row)? {
                Some((row, now)) if now == *channel => {
                    writes.push(Write::Delete { key, expect: Expect::Version(row.version) });
                }
                Some(_) | None => {
                    return Err(Error::changed(format!("channel {pipeline}/{}", channel.name)));
                }
            }
        }
        for owner in self.parameters().await?.iter().filter(|owner| owner.pipeline == *pipeline) {
            let key = parameter_key(&owner.parameter);
            if let Some(row) = self.0.get(&key).await? {
                writes.push(Write::Delete { key, expect: Expect::Version(row.version) });
            }
        }
        self.0.commit(writes).await
    }

    /// Notes a pipeline, and with the first one all that lie in the bucket. One that was removed is there again.
    pub async fn note_pipeline(&self, pipeline: &PipelineName, bucket: &impl Bucket) -> Result<()> {
        among_others(async || {
            let (known, complete) = self.known_pipelines().await?;
            let mut missing = if complete { BTreeSet::new() } else { in_bucket(bucket).await? };
            missing.insert(pipeline.clone());
            let removed = known.iter().any(|one| one.pipeline == *pipeline && one.removed.is_some());
            let noted: BTreeSet<PipelineName> = known.into_iter().map(|one| one.pipeline).collect();
            let new = |pipeline: PipelineName| {
                put(&Known { pipeline, paused: None, removed: None }, Expect::Absent)
            };
            let mut items: Vec<Write> = missing.difference(&noted).cloned().map(new).collect();
            if removed {
                let row = self.0.get(&key(pipeline)).await?;
                let known = Known { pipeline: pipeline.clone(), paused: None, removed: None };
                items.push(put(&known, expect(row.as_ref())));
            }
            for some in items.chunks(MOST) {
                self.0.commit(some.to_vec()).await?;
            }
            if complete {
                return Ok(());
            }
            // Last: until here the bucket is looked through.
            let complete = Write::Put {
                key: Key { pk: PARTITION.to_owned(), sk: COMPLETE.to_owned() },
                doc: encode(&serde_json::json!({"complete": true})),
                expect: Expect::Absent,
                index: Index::default(),
            };
            self.0.commit(vec![complete]).await
        })
        .await
    }

    /// The pipelines that were noted, and whether these are all.
    async fn known_pipelines(&self) -> Result<(Vec<Known>, bool)> {
        let rows = self.0.list(PARTITION, EVERYTHING).await?;
        let complete = rows.iter().any(|row| row.key.sk == COMPLETE);
        let noted = rows.iter().filter(|row| row.key.sk != COMPLETE);
        Ok((noted.map(doc::<Known>).collect::<Result<_>>()?, complete))
    }
}

fn key(pipeline: &PipelineName) -> Key {
    Key { pk: PARTITION.to_owned(), sk: format!("{PREFIX}{pipeline}") }
}

fn put(known: &Known, expect: Expect) -> Write {
    Write::Put { key: key(&known.pipeline), doc: encode(known), expect, index: Index::default() }
}

async fn in_bucket(bucket: &impl Bucket) -> Result<BTreeSet<PipelineName>> {
    let names = bucket.folders("recipes/").await?;
    Ok(names.iter().filter_map(|name| PipelineName::parse(name).ok()).collect())
}
