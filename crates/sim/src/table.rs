//! A kind of resource by its key, which notes what of it changes: whoever keeps the world writes that, and not all.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    ops::{Bound, Deref},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::Paging;

/// Rows by key. They are read as a map is; each way to change one notes its key.
#[derive(Debug, Clone)]
pub(crate) struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// The keys of rows that were added, maybe changed, or removed.
    changed: BTreeSet<K>,
    /// How often anything was noted.
    revision: u64,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeSet::new(), revision: 0 }
    }
}

impl<K, V> Deref for Table<K, V> {
    type Target = BTreeMap<K, V>;

    fn deref(&self) -> &BTreeMap<K, V> {
        &self.rows
    }
}

impl<K: Ord + Clone, V> From<BTreeMap<K, V>> for Table<K, V> {
    fn from(rows: BTreeMap<K, V>) -> Self {
        let changed = rows.keys().cloned().collect();
        Self { rows, changed, revision: 0 }
    }
}

impl<K: Ord + Clone, V> Table<K, V> {
    /// A number that grows with each change, and with what may be one.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The rows from the first one of a page on: so all pages together go through the rows once.
    pub fn paged(&self, paging: &Paging) -> impl Iterator<Item = &V>
    where
        K: FromStr,
    {
        let first = paging.first().and_then(|key| key.parse().ok());
        let first: Bound<K> = first.map_or(Bound::Unbounded, Bound::Included);
        self.rows.range((first, Bound::Unbounded)).map(|(_, row)| row)
    }

    pub fn insert(&mut self, key: K, row: V) -> Option<V> {
        self.revision += 1;
        self.changed.insert(key.clone());
        self.rows.insert(key, row)
    }

    pub fn remove<Q>(&mut self, key: &Q) -> Option<V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (key, row) = self.rows.remove_entry(key)?;
        self.revision += 1;
        self.changed.insert(key);
        Some(row)
    }

    pub fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
        Q: Ord + ?Sized,
    {
        let (own, _) = self.rows.get_key_value(key)?;
        self.revision += 1;
        self.changed.insert(own.clone());
        self.rows.get_mut(key)
    }

    /// The first row that is wanted, to change it.
    pub fn find_mut(&mut self, wanted: impl Fn(&V) -> bool) -> Option<&mut V> {
        let (key, row) = self.rows.iter_mut().find(|(_, row)| wanted(row))?;
        self.revision += 1;
        self.changed.insert(key.clone());
        Some(row)
    }

    /// The rows that are wanted, to change them.
    pub fn filter_mut<'a>(
        &'a mut self,
        wanted: impl Fn(&V) -> bool + 'a,
    ) -> impl Iterator<Item = &'a mut V> + 'a {
        let (changed, revision) = (&mut self.changed, &mut self.revision);
        let found = self.rows.iter_mut().filter(move |(_, row)| wanted(row));
        found.map(move |(key, row)| {
            *revision += 1;
            changed.insert(key.clone());
            row
        })
    }

    pub fn retain(&mut self, stays: impl Fn(&K, &V) -> bool) {
        let (changed, revision) = (&mut self.changed, &mut self.revision);
        self.rows.retain(|key, row| {
            let stays = stays(key, row);
            if !stays {
                *revision += 1;
                changed.insert(key.clone());
            }
            stays
        });
    }
}

impl<K: Serialize, V: Serialize> Serialize for Table<K, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.rows.serialize(serializer)
    }
}

impl<'de, K: Deserialize<'de> + Ord + Clone, V: Deserialize<'de>> Deserialize<'de> for Table<K, V> {
    /// A map. All of it counts as changed: it may come from elsewhere than where it is kept.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        BTreeMap::deserialize(deserializer).map(Self::from)
    }
}

/// A table of any kind, as whoever keeps it sees it.
pub(crate) trait Rows {
    /// The rows that changed since the last time, by key; none where one was removed.
    fn take_changes(&mut self) -> Vec<(String, Option<Value>)>;
    /// Forgets what changed: it is kept already.
    fn forget_changes(&mut self);
}

impl<K: Ord + Display, V: Serialize> Rows for Table<K, V> {
    fn take_changes(&mut self) -> Vec<(String, Option<Value>)> {
        let changed = std::mem::take(&mut self.changed).into_iter();
        // What the model is made of has texts for keys and no number that JSON lacks.
        let json =
            |row: &V| serde_json::to_value(row).unwrap_or_else(|error| unreachable!("no JSON: {error}"));
        changed.map(|key| (key.to_string(), self.rows.get(&key).map(json))).collect()
    }

    fn forget_changes(&mut self) {
        self.changed.clear();
    }
}
