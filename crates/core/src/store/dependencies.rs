//! Which pipelines have which channel as their base: an index that `recipe push` keeps, so that a promotion finds them at
//! once.

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, encode, expect, read};
use crate::{
    domain::{
        error::{Error, Result},
        id::{ChannelName, PipelineName},
    },
    ports::{Expect, Index, Key, Table, Write},
};

/// The longest chain of layers: a pipeline on the channel of a pipeline on the channel of a pipeline, and so on.
pub const DEEPEST: usize = 32;

/// A pipeline whose base is a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// Whether its images hold an artifact.
    pub artifact: bool,
}

/// The channel that a pipeline's images start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Whose channel.
    pub pipeline: PipelineName,
    /// Which.
    pub channel: ChannelName,
}

impl<T: Table> Ledger<'_, T> {
    /// The pipelines that stand on a channel.
    pub async fn children(&self, pipeline: &PipelineName, channel: &ChannelName) -> Result<Vec<Child>> {
        self.all(&format!("PIPELINE#{pipeline}"), &format!("CHILD#{channel}#")).await
    }

    /// Notes what a pipeline stands on from now on; one that would stand on itself is refused.
    ///
    /// What was read of its ancestors is a condition of the write: two pushes at once make no circle either.
    pub async fn stand_on(&self, child: &Child, base: Option<&Ancestor>) -> Result<()> {
        let mut writes = Vec::new();
        let key = base_key(&child.pipeline);
        let row = self.0.get(&key).await?;
        let before = read::<Ancestor>(row.clone())?.map(|(_, ancestor)| ancestor);
        if let Some(left) = before.as_ref().filter(|before| base != Some(before)) {
            let key = child_key(left, &child.pipeline);
            if let Some(row) = self.0.get(&key).await? {
                writes.push(Write::Delete { key, expect: Expect::Version(row.version) });
            }
        }
        match (base, &row) {
            (Some(base), _) => {
                let child_key = child_key(base, &child.pipeline);
                let child_row = self.0.get(&child_key).await?;
                for (key, doc, row) in [(key, encode(base), row), (child_key, encode(child), child_row)] {
                    if row.as_ref().is_none_or(|row| row.doc != doc) {
                        let expect = expect(row.as_ref());
                        writes.push(Write::Put { key, doc, expect, index: Index::default() });
                    }
                }
                let checks = self.ancestors(&child.pipeline, base).await?;
                if !writes.is_empty() {
                    writes.extend(checks);
                }
            }
            (None, Some(row)) => {
                writes.push(Write::Delete { key, expect: Expect::Version(row.version) });
            }
            (None, None) => {}
        }
        if writes.is_empty() { Ok(()) } else { self.0.commit(writes).await }
    }

    /// Walks up from a base; gives the conditions under which what was seen still holds.
    async fn ancestors(&self, child: &PipelineName, base: &Ancestor) -> Result<Vec<Write>> {
        let mut chain = vec![child.to_string(), base.pipeline.to_string()];
        let mut checks = Vec::new();
        let mut at = base.pipeline.clone();
        while at != *child && chain.len() <= DEEPEST {
            let key = base_key(&at);
            let row = self.0.get(&key).await?;
            checks.push(Write::Check { key, expect: expect(row.as_ref()) });
            let Some((_, ancestor)) = read::<Ancestor>(row)? else { return Ok(checks) };
            at = ancestor.pipeline;
            chain.push(at.to_string());
        }
        let problem = if at == *child { "stands on itself" } else { "stands on too many layers" };
        Err(Error::bad_input(
            format!("the base of pipeline `{child}`"),
            format!("{problem}: {}", chain.join(" → ")),
            "Give one of these recipes another `[base]`, and push that first",
        ))
    }
}

fn base_key(pipeline: &PipelineName) -> Key {
    Key { pk: format!("PIPELINE#{pipeline}"), sk: "BASE".to_owned() }
}

fn child_key(base: &Ancestor, child: &PipelineName) -> Key {
    Key { pk: format!("PIPELINE#{}", base.pipeline), sk: format!("CHILD#{}#{child}", base.channel) }
}
