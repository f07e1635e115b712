//! An error, as `ovenbird … --json` prints it.

use serde::Serialize;

use crate::domain::error::Error;

/// What a command prints that failed before it had anything else to print.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failed {
    /// What went wrong.
    pub error: ErrorView,
}

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorView {
    /// Its name, for scripts: one of `docs/json.md`.
    pub name: String,
    /// What happened to what.
    pub message: String,
    /// What caused it, the nearest cause first.
    pub causes: Vec<String>,
    /// The command, setting or permission that fixes it.
    pub hint: String,
}

impl ErrorView {
    /// An error of any kind: its name, its texts with those of its causes, and what fixes it.
    pub fn new(name: &str, error: &(dyn std::error::Error + 'static), hint: String) -> Self {
        let mut causes = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        Self { name: name.to_owned(), message: error.to_string(), causes, hint }
    }
}

impl From<&Error> for Failed {
    fn from(error: &Error) -> Self {
        Self { error: ErrorView::new(error.name(), error, error.hint()) }
    }
}
