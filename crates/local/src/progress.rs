//! How far the supervisor has come while it starts: it writes one JSON object a line, which `local up` reads and shows.

use std::{fmt, io::Write as _, time::Instant};

use serde::{Deserialize, Serialize};

/// A part of the local cloud, in the order in which they start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The base image of every machine.
    Base,
    /// The endpoint, and the port that it takes.
    Endpoint,
    /// The process behind everything that isn't EC2.
    Ministack,
    /// The network that machines are in.
    Network,
    /// The stack of `infra/template.yaml`.
    Deploy,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base => "base",
            Self::Endpoint => "endpoint",
            Self::Ministack => "MiniStack",
            Self::Network => "network",
            Self::Deploy => "deploy",
        })
    }
}

/// Something that happened at the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A stage began.
    Begun {
        /// Which part is being started.
        stage: Stage,
        /// What is being done, when it isn't what is done every time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// A stage is done.
    Done {
        /// Which part has started.
        stage: Stage,
        /// How long it took.
        seconds: f64,
        /// What came of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    },
    /// Something works less well here than it could.
    Weaker {
        /// Which part it is of.
        stage: Stage,
        /// What is missing, what that means, and what would help.
        text: String,
    },
    /// Everything is there.
    Ready {
        /// How long all of it took.
        seconds: f64,
    },
    /// A stage failed, and with it the start.
    Failed {
        /// Which part failed.
        stage: Stage,
        /// Why, with every cause.
        reason: String,
        /// How to fix it.
        hint: String,
    },
}

impl Event {
    /// Writes the event to standard output.
    pub(crate) fn emit(&self) {
        let line =
            serde_json::to_string(self).unwrap_or_else(|_| unreachable!("an event has string keys only"));
        let mut out = std::io::stdout().lock();
        // Nobody may be listening any more.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// A stage on its way.
#[derive(Debug)]
pub(crate) struct Span {
    stage: Stage,
    start: Instant,
}

impl Span {
    /// Begins a stage.
    pub(crate) fn begin(stage: Stage, note: Option<&str>) -> Self {
        Event::Begun { stage, note: note.map(str::to_owned) }.emit();
        Self { stage, start: Instant::now() }
    }

    /// Ends it well.
    pub(crate) fn done(self, note: Option<String>) {
        Event::Done { stage: self.stage, seconds: self.start.elapsed().as_secs_f64(), note }.emit();
    }
}
