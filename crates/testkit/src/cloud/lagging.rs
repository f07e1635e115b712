//! Answers that show what was so a while ago, by the model's [`Consistency`].

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{error::Retry, id::AmiId},
    ports::{Index, Key, Row},
};
use ovenbird_sim::{Asked, Consistency, ImageState, Past, World};

use super::{Cloud, State};

/// When an item changed, which one, and what it was before.
type Before = (Timestamp, Key, Option<(Row, Index)>);

/// What answers may show of the past.
#[derive(Debug, Clone, Default)]
pub(super) struct Lagging {
    consistency: Consistency,
    past: Past,
    /// What items were before each change, the oldest first.
    items: VecDeque<Before>,
}

impl Cloud {
    /// From now on answers are as consistent as this.
    pub fn answer_by(&self, consistency: Consistency) {
        let state = &mut *self.state.borrow_mut();
        // What was there before is seen by everybody.
        state.lagging = Lagging { consistency, ..Lagging::default() };
        state.keep_past();
    }
}

impl State {
    /// Keeps how all was at the end of this moment.
    pub(super) fn keep_past(&mut self) {
        if self.lagging.consistency != Consistency::AtOnce {
            self.lagging.past.keep(self.now, &self.world);
        }
    }

    /// The moment that the answer to the call under way is of.
    fn moment(&self, asked: Asked) -> Timestamp {
        self.now - self.lagging.consistency.lag(asked, self.calls.len())
    }

    /// The world as the answer to the call under way shows it.
    pub(super) fn shown(&self, asked: Asked) -> &World {
        let moment = self.moment(asked);
        let past = if moment < self.now { self.lagging.past.at(moment) } else { None };
        past.unwrap_or(&self.world)
    }

    /// Notes what an item is before it changes.
    pub(super) fn note_item(&mut self, key: &Key) {
        if self.lagging.consistency == Consistency::AtOnce {
            return;
        }
        let items = &mut self.lagging.items;
        let now = self.now;
        while items.front().is_some_and(|(at, ..)| now.duration_since(*at) > Asked::Index.longest()) {
            items.pop_front();
        }
        items.push_back((now, key.clone(), self.table.get(key).cloned()));
    }

    /// The answer to a call that removes what is gone.
    pub(super) fn gone(&self, operation: &str, subject: &str) -> Result<()> {
        if self.lagging.consistency.refuses_gone(self.calls.len()) {
            return Err(Error::Denied {
                operation: operation.to_owned(),
                subject: subject.to_owned(),
                source: None,
            });
        }
        Ok(())
    }

    /// The answer to a call that removes an image whose snapshot is under way; nothing if that is removed as any other.
    pub(super) fn pending(&self, image: &AmiId) -> Result<()> {
        let pending = self.world.image(image).is_some_and(|image| image.state == ImageState::Pending);
        if pending && self.lagging.consistency.refuses_pending(self.calls.len()) {
            return Err(Error::TryAgain { what: image.to_string(), why: Retry::InUse });
        }
        Ok(())
    }

    /// The items as an index shows them to the call under way.
    pub(super) fn indexed(&self) -> impl Iterator<Item = (&Row, &Index)> {
        let moment = self.moment(Asked::Index);
        let mut before: BTreeMap<&Key, Option<&(Row, Index)>> = BTreeMap::new();
        for (at, key, item) in &self.lagging.items {
            if *at > moment {
                before.entry(key).or_insert(item.as_ref());
            }
        }
        let changed: Vec<_> = before.values().copied().flatten().collect();
        let same = self.table.iter().filter(move |(key, _)| !before.contains_key(key)).map(|(_, item)| item);
        same.chain(changed).map(|(row, index)| (row, index))
    }
}
