//! What the parameters say that follow channels: of many, a part is read each time.

use std::{cell::RefCell, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::id::{AmiId, ParameterName},
    ports::Parameters,
    views::status::{self, Follower, ParameterStatus, PipelineStatus, Values},
};

use crate::read::FRESH;

/// How many are read at once: two calls of ten. SSM takes 40 calls a second; those for a pipeline's own parameters, and for
/// the bases that recipes name by a parameter, are of the same: <https://docs.aws.amazon.com/general/latest/gr/ssm.html>
const MOST: usize = 20;

/// How long it is believed that a parameter says what its channel does.
const BELIEVED: SignedDuration = SignedDuration::from_mins(1);

/// What was read of parameters, and how many more are read at once.
#[derive(Debug)]
pub struct Memory {
    said: RefCell<BTreeMap<ParameterName, Said>>,
    most: usize,
}

/// What a parameter said.
#[derive(Debug)]
struct Said {
    at: Timestamp,
    value: Option<String>,
    /// What its channel pointed at then.
    image: Option<AmiId>,
}

impl Memory {
    /// Reads a part at a time, for a page that is made again and again.
    pub fn in_turn() -> Self {
        Self { said: RefCell::default(), most: MOST }
    }

    /// Reads all at once, for pages that are made once.
    pub fn whole() -> Self {
        Self { said: RefCell::default(), most: usize::MAX }
    }

    /// What the parameters say, as far as that is known; and why no more could be read.
    pub async fn values(
        &self,
        cloud: &impl Parameters,
        followers: &[Follower],
        now: Timestamp,
    ) -> (Values, Option<Error>) {
        let due = self.due(followers, now);
        let names: Vec<_> = due.iter().map(|one| one.owner.parameter.clone()).collect();
        let read = status::values(cloud, &names).await;
        let mut said = self.said.borrow_mut();
        said.retain(|name, _| followers.iter().any(|one| one.owner.parameter == *name));
        let lost = read.map(|mut values| {
            for one in due {
                let value = values.remove(&one.owner.parameter).flatten();
                said.insert(one.owner.parameter.clone(), Said { at: now, value, image: one.image.clone() });
            }
        });
        // With so many that a turn takes longer, each is believed until its next.
        let turns = i32::try_from(followers.len() / self.most + 1).unwrap_or(i32::MAX);
        let long = BELIEVED.max(FRESH.saturating_mul(turns).saturating_mul(2));
        let known = followers.iter().filter_map(|one| {
            let said = said.get(&one.owner.parameter)?;
            let holds = said.image == one.image && now.duration_since(said.at) < long;
            holds.then(|| (one.owner.parameter.clone(), said.value.clone()))
        });
        (known.collect(), lost.err())
    }

    /// What to read now: what was not read since the channel moved, then what was read longest ago.
    fn due<'a>(&self, followers: &'a [Follower], now: Timestamp) -> Vec<&'a Follower> {
        let said = self.said.borrow();
        let due = followers.iter().filter_map(|one| {
            let said = said.get(&one.owner.parameter).filter(|said| said.image == one.image);
            let at = said.map(|said| said.at);
            // A parameter is written shortly after its channel moves: one that differs is soon right.
            let well =
                said.is_some_and(|said| said.value.as_deref() == one.image.as_ref().map(AmiId::as_str));
            let is_due = !well || at.is_none_or(|at| now.duration_since(at) >= BELIEVED);
            is_due.then_some((at, one))
        });
        let mut due: Vec<_> = due.collect();
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().take(self.most).map(|(_, one)| one).collect()
    }
}

/// Reads those of a pipeline's parameters that were left for later.
///
/// # Errors
/// When SSM can't be asked; then they are as before.
pub async fn read_rest(cloud: &impl Parameters, one: &mut PipelineStatus) -> Result<()> {
    let all = one.channels.iter().flat_map(|channel| &channel.parameters);
    let names: Vec<_> = all.filter(|one| one.unread).map(|one| one.parameter.clone()).collect();
    let values = status::values(cloud, &names).await?;
    for channel in &mut one.channels {
        let image = channel.current.as_ref().map(|current| &current.image);
        for parameter in channel.parameters.iter_mut().filter(|parameter| parameter.unread) {
            *parameter = ParameterStatus::new(&parameter.parameter, image, &values);
        }
    }
    Ok(())
}
