//! What is being done now, for the heartbeat: its name, and what it has printed so far.
//!
//! The steps have their logs for that. This is for tests and the seal, which run as programs of their own, too.

use std::{
    fs::{self, File},
    io::{self, Write as _},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    machine::Machine,
    mask::{Mask, Stream},
    output::LOGGED,
};

const FILE: &str = "now.json";
const LOG: &str = "logs/now.log";

/// What is being done.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Now {
    /// The test, or the part of the seal.
    pub name: String,
    /// Which one it is, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// When it began.
    pub since: Timestamp,
}

/// Says what begins now. To who follows the bake it is a help; the work goes on without it.
pub fn say(machine: &Machine, name: &str, number: usize, of: usize) {
    let now = Now { name: name.to_owned(), number, of, since: Timestamp::now() };
    let _ = machine.own_folder("logs").and_then(|_| Ok(File::create(machine.own(LOG))?));
    let _ = machine.write_own(FILE, &serde_json::to_vec(&now).unwrap_or_default());
}

/// What is being done, if somebody said so.
pub fn now(machine: &Machine) -> Option<(Now, std::path::PathBuf)> {
    let now = serde_json::from_slice(&fs::read(machine.own(FILE)).ok()?).ok()?;
    Some((now, machine.own(LOG)))
}

/// Forgets it: another order begins.
pub fn forget(machine: &Machine) {
    let _ = fs::remove_file(machine.own(FILE));
}

/// Adds a line to what is shown.
pub fn line(machine: &Machine, text: &str) {
    if let Ok(mut log) = File::options().append(true).open(machine.own(LOG)) {
        let _ = writeln!(log, "{text}");
    }
}

/// A copy of a program's output that can be read while it runs, with its secrets hidden.
#[derive(Debug)]
pub struct Copy {
    stream: Stream,
    file: File,
    left: u64,
}

impl Copy {
    /// Of what is being done now; none where nobody said what that is.
    pub fn of_now(machine: &Machine, mask: &Mask) -> Option<Self> {
        let file = File::options().append(true).open(machine.own(LOG)).ok()?;
        Some(Self { stream: Stream::new(mask.clone()), file, left: LOGGED })
    }

    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        let shown = self.stream.push(piece);
        self.write(&shown)
    }

    /// Lets go of what was held back for the mask.
    pub fn flush(&mut self) -> io::Result<()> {
        let shown = self.stream.finish();
        self.write(&shown)
    }

    /// A test that prints without end fills no disk.
    fn write(&mut self, shown: &[u8]) -> io::Result<()> {
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(shown.len());
        self.left -= room as u64;
        self.file.write_all(&shown[..room])
    }
}
