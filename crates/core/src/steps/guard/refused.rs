//! What a refusal means of something that may be gone already.

use crate::domain::error::{Error, Result, Retry};

/// What became of a removal. What is gone has no tags, and a role whose permission rests on them is then refused: so a refusal
/// counts only of what EC2 still shows.
pub(super) async fn unless_gone<T>(
    done: Result<T>,
    gone: T,
    shown: impl Future<Output = Result<bool>>,
) -> Result<T> {
    match done {
        Err(Error::Denied { .. }) if !shown.await? => Ok(gone),
        done => done,
    }
}

/// That a removal is to be tried again: the refusal may be one of what is gone already.
pub(super) fn unfinished(what: &str, refused: &Error) -> Error {
    Error::TryAgain { what: format!("{what} ({refused})"), why: Retry::Unfinished }
}
