//! `[seal]`: exceptions from the list of what is a machine's own.

use crate::domain::recipe::{Seal, reader::Fields};

pub(super) fn seal(mut seal: Fields) -> Seal {
    Seal { keep: seal.texts("keep").unwrap_or_default(), remove: seal.texts("remove").unwrap_or_default() }
}
