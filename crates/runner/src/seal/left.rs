//! What stays, and why.

use std::{fmt, fs, io, path::PathBuf};

use crate::machine::Machine;

/// Something that stays although a rule or a folder of logs has it.
#[derive(Debug)]
pub struct Left {
    /// Where.
    pub path: PathBuf,
    /// Why.
    pub why: Why,
    /// Whether the seal fails for it.
    pub fails: bool,
}

impl Left {
    /// Whether the seal fails for it, as it is now: a link that leads to nothing, or to what is empty by now, does no harm.
    pub fn fails(&self, machine: &Machine) -> bool {
        let content = || {
            let found = fs::metadata(machine.path(&self.path.to_string_lossy()));
            found.is_ok_and(|found| found.is_dir() || (found.is_file() && found.len() > 0))
        };
        self.fails && (!matches!(self.why, Why::Linked) || content())
    }

    /// Whether the seal fails for it whatever else it does.
    pub fn fails_at_once(&self) -> bool {
        self.fails && !matches!(self.why, Why::Linked)
    }
}

/// Why something stays.
#[derive(Debug)]
pub enum Why {
    /// The recipe says so.
    Kept,
    /// Something is mounted there.
    Mounted,
    /// It is a link, or is reached by one.
    Linked,
    /// It is a file where a folder is expected, or a socket or so where a file is.
    OtherKind,
    /// The file has other names, too.
    ManyNames,
    /// It is not known to be a log.
    NoLog,
    /// It is called like a log, and is no text.
    NoText,
    /// The system refuses.
    Refused(String),
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("the recipe keeps it"),
            Self::Mounted => f.write_str("something is mounted there"),
            Self::Linked => f.write_str("it is a symbolic link, or is reached by one"),
            Self::OtherKind => f.write_str("it is not what it should be there: a file, or a folder"),
            Self::ManyNames => f.write_str("the file has other names, too (hard links)"),
            Self::NoLog => f.write_str("not known as a log"),
            Self::NoText => f.write_str("called like a log, but no text"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

impl From<io::Error> for Why {
    fn from(error: io::Error) -> Self {
        Self::Refused(error.to_string())
    }
}
