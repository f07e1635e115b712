//! Tests: the kinds of things that must hold of the configured machine.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How long a service or a process must run on, when the recipe doesn't say: one that ends at once, or is restarted
/// each second, does not.
pub const SETTLE: Duration = Duration::from_secs(2);

fn settle() -> Duration {
    SETTLE
}

/// One `[[test]]` of a recipe: what must hold, and within what time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Test {
    /// What reports call it.
    pub name: String,
    /// What it asserts. Plans and digests have it as `check`: another word would bake every image once more.
    #[serde(rename = "check")]
    pub kind: TestKind,
    /// It is tried again until it passes or this time is over.
    pub within: Duration,
}

/// What a test asserts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestKind {
    /// A URL answers.
    Http(Http),
    /// A command ends.
    Command {
        /// The command, run by `/bin/sh -c`.
        run: String,
        /// With this exit status.
        exit: i32,
        /// With this text in its output.
        stdout_contains: Option<String>,
        /// With this text in its errors.
        stderr_contains: Option<String>,
        /// The JUnit file that it writes, a suite of its own: its cases are reported one by one.
        junit: Option<String>,
    },
    /// Something listens on a TCP port of the machine.
    Port {
        /// The port.
        number: u16,
    },
    /// A file is there, or is not.
    File {
        /// Its absolute path.
        path: String,
        /// Whether it shall be there.
        exists: bool,
        /// With this text in it.
        contains: Option<String>,
        /// With these permission bits.
        mode: Option<u32>,
        /// With this owner, `user` or `user:group`.
        owner: Option<String>,
    },
    /// A systemd service runs, or does not.
    Service {
        /// The unit's name; `.service` may be left away.
        name: String,
        /// Whether it shall run.
        running: bool,
        /// Whether it shall start at boot; none means that either will do.
        enabled: Option<bool>,
        /// How long it must run without ending or being restarted.
        #[serde(default = "settle")]
        settle: Duration,
    },
    /// A process of this name runs.
    Process {
        /// Its name, as the kernel knows it.
        name: String,
        /// How long one and the same must run.
        #[serde(default = "settle")]
        settle: Duration,
    },
    /// A package is installed.
    Package {
        /// The name as the base's package manager has it.
        name: String,
        /// With a version that begins with this.
        version: Option<String>,
    },
    /// A user exists.
    User {
        /// The login name.
        name: String,
        /// And is in this group.
        group: Option<String>,
        /// With this shell.
        shell: Option<String>,
    },
}

/// A request, and what its answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Http {
    /// The URL that is asked, with its query.
    pub url: String,
    /// The method, in capitals: `GET`.
    pub method: String,
    /// The request's headers.
    pub headers: BTreeMap<String, String>,
    /// The request's body.
    pub body: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// With this text in its body.
    pub body_contains: Option<String>,
    /// With a body that matches this regular expression.
    pub body_matches: Option<String>,
    /// With a JSON body that holds these values at these pointers (RFC 6901).
    pub json: BTreeMap<String, Value>,
}
