//! The bake: what it is made of, how far it is, and the document that goes from state to state.

mod document;
mod labels;
mod options;
mod order;
mod origin;
mod progress;
mod settings;
mod spec;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    document::{Available, Document, Next, Seen, To},
    labels::{Labels, ROOM},
    options::Options,
    order::Order,
    origin::{Artifact, BaseImage, ChildBake, Parent},
    progress::{Failure, Progress, Span},
    settings::{Deadlines, Settings},
    spec::{BakeSpec, UPLOAD},
};
pub use super::stage::{Stage, Status};
use crate::domain::{
    error::{Error, Result},
    id::{AmiId, InstanceId, StackId},
};

/// One execution, from its trigger over the image to the promotion: what the table records of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bake {
    /// What it was asked for and what it is made of; it never changes.
    #[serde(flatten)]
    pub spec: BakeSpec,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Progress,
}

impl Bake {
    /// After this moment whatever is left of it may be reaped. What it waited for others before it had a builder doesn't
    /// count: the builder powers itself off at this moment, in the middle of its work if need be.
    pub fn expires(&self) -> Timestamp {
        self.spec.expires + self.progress.waited_for_others()
    }

    /// The tags that everything it makes carries: people's, and over them ours.
    pub fn tags(&self, stack: &StackId) -> BTreeMap<String, String> {
        self.spec.tags(stack, self.expires())
    }

    /// The document that sends the state machine on.
    #[must_use]
    pub fn go(self, to: To) -> Document {
        Document {
            bake: self,
            next: Next { to, seconds: 1 },
            seen: Seen::default(),
            ends: None,
            events: Vec::new(),
        }
    }

    /// The document that sends the state machine on to the bake's end.
    #[must_use]
    pub fn end(self, status: Status, to: To) -> Document {
        Document { ends: Some(status), ..self.go(to) }
    }

    /// The builder's id; asking before there is one is an error of the state machine.
    pub fn builder(&self) -> Result<&InstanceId> {
        self.progress.builder.as_ref().ok_or_else(|| self.lacks("builder"))
    }

    /// The image's id; asking before there is one is an error of the state machine.
    pub fn image(&self) -> Result<&AmiId> {
        self.progress.image.as_ref().ok_or_else(|| self.lacks("image"))
    }

    /// The error of a step that was asked for too early.
    pub(crate) fn lacks(&self, what: &str) -> Error {
        Error::bad_input(
            format!("bake `{}` in stage {}", self.spec.id, self.progress.stage),
            format!("has no {what} yet"),
            "Start bakes with `ovenbird bake PIPELINE`, not with a document",
        )
    }
}
