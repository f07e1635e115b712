//! Whose parameter it is: the first promotion that writes a parameter claims it for its pipeline.
//!
//! Without a claim, a recipe that names another pipeline's parameter would put its own image into production there.

use serde::{Deserialize, Serialize};

use super::{
    channels::{Channel, channel_key},
    ledger::{Ledger, encode, expect, read},
};
use crate::{
    domain::{
        destination::Destination,
        error::{Error, Result},
        id::{ChannelName, ParameterName, PipelineName},
    },
    ports::{Expect, Index, Key, Table, Write},
};

/// All claims are in one partition: prune reads them all before it destroys an image.
const PARTITION: &str = "PARAMETERS";

/// What every claim's sort key begins with: DynamoDB takes no empty prefix.
const PREFIX: &str = "PARAMETER#";

/// The channel that a parameter follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterOwner {
    /// The parameter.
    pub parameter: ParameterName,
    /// Whose it is. Only this pipeline may write it.
    pub pipeline: PipelineName,
    /// Which of its channels the parameter follows.
    pub channel: ChannelName,
}

impl<T: Table> Ledger<'_, T> {
    /// Whose a parameter is; none when no promotion has written it yet.
    pub async fn parameter_owner(&self, name: &ParameterName) -> Result<Option<ParameterOwner>> {
        read(self.0.get(&parameter_key(name)).await?).map(|found| found.map(|(_, owner)| owner))
    }

    /// Every parameter that follows a channel.
    pub async fn parameters(&self) -> Result<Vec<ParameterOwner>> {
        self.all(PARTITION, PREFIX).await
    }

    /// Refuses a parameter that is another pipeline's.
    pub async fn check_parameter(&self, name: &ParameterName, pipeline: &PipelineName) -> Result<()> {
        match self.parameter_owner(name).await? {
            Some(owner) if owner.pipeline != *pipeline => Err(taken(owner)),
            Some(_) | None => Ok(()),
        }
    }

    /// Claims a channel's parameter for it, if it isn't yet.
    pub async fn claim_parameter(&self, to: &Destination) -> Result<()> {
        match self.owned_parameter(to).await? {
            Some(write @ Write::Put { .. }) => self.0.commit(vec![write]).await,
            Some(Write::Check { .. } | Write::Delete { .. }) | None => Ok(()),
        }
    }

    /// Gives a channel's parameter back, if the channel points at nothing: its first promotion was taken back.
    pub async fn release_parameter(&self, to: &Destination) -> Result<()> {
        let Some(name) = &to.parameter else { return Ok(()) };
        let key = parameter_key(name);
        let Some((row, owner)) = read::<ParameterOwner>(self.0.get(&key).await?)? else { return Ok(()) };
        let channel_key = channel_key(&to.pipeline, &to.channel);
        let channel_row = self.0.get(&channel_key).await?;
        let pointed = read::<Channel>(channel_row.clone())?.is_some_and(|(_, one)| one.current.is_some());
        if pointed || owner.pipeline != to.pipeline || owner.channel != to.channel {
            return Ok(());
        }
        let unmoved = Write::Check { key: channel_key, expect: expect(channel_row.as_ref()) };
        self.0.commit(vec![Write::Delete { key, expect: Expect::Version(row.version) }, unmoved]).await
    }

    /// The write under which a channel's parameter is its own: the claim, or the check that it still is.
    pub(super) async fn owned_parameter(&self, to: &Destination) -> Result<Option<Write>> {
        let Some(parameter) = to.parameter.clone() else { return Ok(None) };
        let key = parameter_key(&parameter);
        let row = self.0.get(&key).await?;
        let before = read::<ParameterOwner>(row.clone())?.map(|(_, owner)| owner);
        let (pipeline, channel) = (to.pipeline.clone(), to.channel.clone());
        let owner = ParameterOwner { parameter, pipeline, channel };
        let expect = expect(row.as_ref());
        match before {
            Some(before) if before.pipeline != owner.pipeline => Err(taken(before)),
            Some(before) if before == owner => Ok(Some(Write::Check { key, expect })),
            Some(_) | None => {
                Ok(Some(Write::Put { key, doc: encode(&owner), expect, index: Index::default() }))
            }
        }
    }
}

fn taken(owner: ParameterOwner) -> Error {
    Error::ParameterTaken {
        parameter: owner.parameter,
        owner: format!("{}/{}", owner.pipeline, owner.channel),
    }
}

pub(super) fn parameter_key(name: &ParameterName) -> Key {
    Key { pk: PARTITION.to_owned(), sk: format!("{PREFIX}{name}") }
}
