//! An event: what a state machine gives to EventBridge. What is in its detail is in [`super::event_details`].

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::plain::plain_line;

/// The `source` of all events.
pub const SOURCE: &str = "ovenbird";

/// No more characters are in a summary: it is a mail's line.
const MOST_OF_A_SUMMARY: usize = 400;

/// What happened: EventBridge's `detail-type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// An image passed its tests and is on record.
    #[serde(rename = "Image Baked")]
    Baked,
    /// A channel points at an image, and what follows the channel has it.
    #[serde(rename = "Image Promoted")]
    Promoted,
    /// A rollout waits for a person's approval.
    #[serde(rename = "Approval Needed")]
    Asks,
    /// A rollout ended without its image: all is as before.
    #[serde(rename = "Rollout Reverted")]
    Reverted,
    /// A bake failed, or was cancelled.
    #[serde(rename = "Bake Failed")]
    Failed,
    /// An image was deregistered.
    #[serde(rename = "Image Retired")]
    Retired,
    /// A parameter doesn't say what the channel does that it follows.
    #[serde(rename = "Parameter Drifted")]
    Drifted,
}

/// An entry of EventBridge's `PutEvents`, as the state machines pass it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Event {
    /// [`SOURCE`].
    pub source: String,
    /// What happened.
    pub detail_type: EventKind,
    /// One of the shapes of [`super::event_details`].
    pub detail: Value,
}

impl Event {
    /// An event of a kind.
    pub(super) fn new(kind: EventKind, detail: &impl Serialize) -> Self {
        let detail = serde_json::to_value(detail);
        let detail = detail.unwrap_or_else(|_| unreachable!("our documents have string keys only"));
        Self { source: SOURCE.to_owned(), detail_type: kind, detail }
    }
}

/// One line without what would break the text that an input transformer makes of it.
pub fn summary(text: &str) -> String {
    let line: String =
        plain_line(text).chars().map(|c| if c == '"' || c == '\\' { '\'' } else { c }).collect();
    cut(&line, MOST_OF_A_SUMMARY)
}

/// So many characters of a text.
pub fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
