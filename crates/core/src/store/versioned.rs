//! A record together with the version that was read: who writes it says of which version that is the next.

use std::ops::{Deref, DerefMut};

use crate::ports::Row;

/// A record, and the item of the table as it was last read or written.
///
/// A write fails when somebody else wrote the item since. So two functions that work on one record at once never
/// undo each other's changes, and no change needs a merge.
#[derive(Debug, Clone)]
pub struct Versioned<D> {
    doc: D,
    pub(super) row: Option<Row>,
}

impl<D> Versioned<D> {
    /// A record that isn't in the table yet.
    pub fn new(doc: D) -> Self {
        Self { doc, row: None }
    }

    pub(super) fn read(row: Row, doc: D) -> Self {
        Self { doc, row: Some(row) }
    }

    /// The record alone.
    pub fn into_inner(self) -> D {
        self.doc
    }
}

impl<D> Deref for Versioned<D> {
    type Target = D;

    fn deref(&self) -> &D {
        &self.doc
    }
}

impl<D> DerefMut for Versioned<D> {
    fn deref_mut(&mut self) -> &mut D {
        &mut self.doc
    }
}
