//! The ledger: the table with its meaning. Each kind of record has its own file beside this one.

use serde::{
    Serialize,
    de::{DeserializeOwned, Error as _},
};

use crate::{
    domain::error::{Error, Result},
    ports::{Expect, Row, Table},
};

/// How often one call tries a write that others may make at the same time.
const MOST_CONFLICTS: usize = 8;

/// Tries a write that others may make at the same time, until none of them was quicker.
///
/// Fifty twins write one item in the same second, and of those that write at once one wins: the others look again here,
/// and don't spend the state machine's few retries on it.
pub(crate) async fn among_others<A>(mut attempt: impl AsyncFnMut() -> Result<A>) -> Result<A> {
    for _ in 1..MOST_CONFLICTS {
        match attempt().await {
            Err(Error::TryAgain { .. }) => {}
            other => return other,
        }
    }
    attempt().await
}

/// The version of what is written here. It grows when an Ovenbird of before could not read it, or would read it wrong.
/// Older documents are read for ever; those of the first stage have no version.
const FORMAT: u64 = 2;

/// The table with its meaning.
#[derive(Debug)]
pub struct Ledger<'a, T>(pub &'a T);

impl<T: Table> Ledger<'_, T> {
    pub(super) async fn all<D: DeserializeOwned>(&self, pk: &str, prefix: &str) -> Result<Vec<D>> {
        self.0.list(pk, prefix).await?.iter().map(doc).collect()
    }
}

pub(super) fn expect(row: Option<&Row>) -> Expect {
    row.map_or(Expect::Absent, |row| Expect::Version(row.version))
}

pub(super) fn encode(doc: &impl Serialize) -> serde_json::Value {
    let mut doc =
        serde_json::to_value(doc).unwrap_or_else(|_| unreachable!("our documents have string keys only"));
    if let Some(fields) = doc.as_object_mut() {
        fields.insert("format".to_owned(), FORMAT.into());
    }
    doc
}

pub(super) fn doc<D: DeserializeOwned>(row: &Row) -> Result<D> {
    let format = row.doc.get("format").and_then(serde_json::Value::as_u64).unwrap_or(0);
    let decoded = if format > FORMAT {
        let newer = format!("it has format {format}, and this Ovenbird knows those up to {FORMAT}");
        Err(serde_json::Error::custom(newer))
    } else {
        D::deserialize(&row.doc)
    };
    decoded.map_err(|source| Error::Corrupt { what: format!("item {} {}", row.key.pk, row.key.sk), source })
}

pub(super) fn read<D: DeserializeOwned>(row: Option<Row>) -> Result<Option<(Row, D)>> {
    row.map(|row| doc(&row).map(|doc| (row, doc))).transpose()
}
