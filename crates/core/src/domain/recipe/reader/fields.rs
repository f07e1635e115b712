//! What was read of a table, by key.

use std::{collections::BTreeMap, ops::Range, str::FromStr, time::Duration};

use serde_json::Value as Json;

/// A value that the grammar took.
pub(in crate::domain::recipe) enum Field {
    Flag(bool),
    Number(u32),
    Time(Duration),
    Text(String),
    Texts(Vec<String>),
    Map(BTreeMap<String, String>),
    Json(BTreeMap<String, Json>),
    Table(Fields),
    Tables(Vec<Fields>),
}

/// What was read of a table: each key has its value, or its default. A value with a mistake is not there.
#[derive(Default)]
pub(in crate::domain::recipe) struct Fields {
    /// Where the table is.
    pub span: Range<usize>,
    /// The one key that was chosen, of a table with such.
    pub choice: Option<&'static str>,
    pub(super) places: BTreeMap<&'static str, Range<usize>>,
    pub(super) found: BTreeMap<&'static str, Field>,
}

/// A getter for each kind of value: none when the key was left out and has no default, or has a mistake.
macro_rules! getters {
    ($($name:ident: $field:ident($kind:ty)),* $(,)?) => {$(
        pub fn $name(&mut self, key: &str) -> Option<$kind> {
            if let Field::$field(value) = self.found.remove(key)? { Some(value) } else { None }
        }
    )*};
}

impl Fields {
    getters! {
        flag: Flag(bool),
        time: Time(Duration),
        text: Text(String),
        texts: Texts(Vec<String>),
        map: Map(BTreeMap<String, String>),
        json: Json(BTreeMap<String, Json>),
        table: Table(Self),
        tables: Tables(Vec<Self>),
        count: Number(u32),
    }

    /// A number in the type that it has from here on.
    pub fn number<T: TryFrom<u32>>(&mut self, key: &str) -> Option<T> {
        self.count(key).and_then(|number| T::try_from(number).ok())
    }

    /// An identifier.
    pub fn id<T: FromStr>(&mut self, key: &str) -> Option<T> {
        self.text(key).and_then(|text| text.parse().ok())
    }

    /// Permission bits.
    pub fn mode(&mut self, key: &str) -> Option<u32> {
        self.text(key).and_then(|text| u32::from_str_radix(&text, 8).ok())
    }

    /// Whether the recipe itself has the key, with a mistake or without.
    pub fn given(&self, key: &str) -> bool {
        self.places.contains_key(key)
    }

    /// The first of these keys that the recipe itself has.
    pub fn any_of(&self, keys: &[&'static str]) -> Option<&'static str> {
        keys.iter().copied().find(|key| self.given(key))
    }

    /// Where a key is, else where the table is.
    pub fn place(&self, key: &str) -> Range<usize> {
        self.places.get(key).unwrap_or(&self.span).clone()
    }
}
