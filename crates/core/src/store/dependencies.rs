//! Which pipelines have which channel as their base: an index that launch-builder keeps when a recipe is pushed, so that a
//! promotion finds them at once.

use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, encode, expect, read};
use crate::{
    domain::{
        error::{Error, Result},
        id::{ChannelName, PipelineName},
        recipe::{Base, Recipe},
    },
    ports::{Index, Key, Row, Table, Write},
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
    /// Whether it left: it stands on something else now. It is noted and not deleted, because launch-builder, which registers
    /// pushes, may delete nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
}

/// The channel that a pipeline's images start from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ancestor {
    /// Whose channel.
    pub pipeline: PipelineName,
    /// Which.
    pub channel: ChannelName,
}

/// What a pipeline stands on, as it is noted: nothing when its base is no channel any more.
#[derive(Debug, Serialize, Deserialize)]
struct Stands {
    #[serde(flatten)]
    on: Option<Ancestor>,
}

impl Child {
    /// A pipeline that stands on a channel.
    pub fn new(pipeline: PipelineName, artifact: bool) -> Self {
        Self { pipeline, artifact, left: false }
    }

    /// The pipeline of a recipe.
    pub fn of(recipe: &Recipe) -> Self {
        Self::new(recipe.pipeline.clone(), recipe.artifact.is_some())
    }
}

impl Ancestor {
    /// The channel that a recipe stands on; none of one whose base is no channel.
    pub fn of(recipe: &Recipe) -> Option<Self> {
        match &recipe.base {
            Base::Channel { pipeline, channel } => {
                Some(Self { pipeline: pipeline.clone(), channel: channel.clone() })
            }
            Base::Image(_) | Base::Parameter(_) | Base::Newest { .. } => None,
        }
    }
}

impl<T: Table> Ledger<'_, T> {
    /// The pipelines that stand on a channel.
    pub async fn children(&self, pipeline: &PipelineName, channel: &ChannelName) -> Result<Vec<Child>> {
        let noted = self.all(&format!("PIPELINE#{pipeline}"), &format!("CHILD#{channel}#")).await?;
        Ok(noted.into_iter().filter(|child: &Child| !child.left).collect())
    }

    /// Notes what a pipeline stands on from now on; one that would stand on itself is refused.
    ///
    /// What was read of its ancestors is a condition of the write: two pushes at once make no circle either.
    pub async fn stand_on(&self, child: &Child, base: Option<&Ancestor>) -> Result<()> {
        let writes = self.standing_on(child, base).await?;
        if writes.is_empty() { Ok(()) } else { self.0.commit(writes).await }
    }

    /// Whether that is noted already.
    ///
    /// # Errors
    /// As of [`Self::stand_on`]: a pipeline that would stand on itself is refused.
    pub async fn stands_on(&self, child: &Child, base: Option<&Ancestor>) -> Result<bool> {
        Ok(self.standing_on(child, base).await?.is_empty())
    }

    /// What is to be written for it.
    async fn standing_on(&self, child: &Child, base: Option<&Ancestor>) -> Result<Vec<Write>> {
        let mut writes = Vec::new();
        let mut note = |key: Key, doc: serde_json::Value, row: Option<Row>| {
            if row.as_ref().is_none_or(|row| row.doc != doc) {
                let expect = expect(row.as_ref());
                writes.push(Write::Put { key, doc, expect, index: Index::default() });
            }
        };
        let key = base_key(&child.pipeline);
        let row = self.0.get(&key).await?;
        let before = read::<Stands>(row.clone())?.and_then(|(_, stands)| stands.on);
        if let Some(left) = before.as_ref().filter(|before| base != Some(before)) {
            let key = child_key(left, &child.pipeline);
            if let Some(row) = self.0.get(&key).await? {
                note(key, encode(&Child { left: true, ..child.clone() }), Some(row));
            }
        }
        if base.is_some() || before.is_some() {
            note(key, encode(&Stands { on: base.cloned() }), row);
        }
        if let Some(base) = base {
            let key = child_key(base, &child.pipeline);
            let row = self.0.get(&key).await?;
            note(key, encode(child), row);
            let checks = self.ancestors(&child.pipeline, base).await?;
            if !writes.is_empty() {
                writes.extend(checks);
            }
        }
        Ok(writes)
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
            let Some(ancestor) = read::<Stands>(row)?.and_then(|(_, stands)| stands.on) else {
                return Ok(checks);
            };
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
