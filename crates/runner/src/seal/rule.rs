//! A rule of the list: what it names, and what happens to that.

/// A kind of thing that a machine has for itself.
#[derive(Debug)]
pub struct Rule {
    /// What it is.
    pub what: &'static str,
    /// Where it is: `*` and `?` stay within a name, `~` is the home of every account.
    pub paths: &'static [&'static str],
    /// What happens to it.
    pub fate: Fate,
    /// Whether the seal fails when it stays: a key, an access, or an identity that two machines must not share.
    pub secret: bool,
    /// Whether it is left to the last word where the machine runs on for a while: its owner still has to answer.
    pub late: bool,
    /// Why.
    pub why: &'static str,
    /// Who else says so.
    pub source: &'static str,
}

/// What happens to what a rule names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It goes: a file, or a folder with all that is in it.
    Remove,
    /// The folder stays as its package made it, and what is in it goes, except these names.
    Contents(&'static [&'static str]),
    /// The file stays, with its owner and mode, and has no content.
    Empty,
    /// The logs in the folder: see `logs`.
    Logs,
    /// A part of the file goes, or another text stands for it: see `edit`.
    Edit(Edit),
}

/// A file that is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edit {
    /// The builder's own keys in a list of keys that may log in.
    BuilderKeys,
    /// The device's registration in snapd's state.
    SnapdState,
    /// The name of an iSCSI initiator.
    Initiator,
}

impl Fate {
    /// In a word, for the docs.
    #[cfg(test)]
    pub fn told(self) -> String {
        match self {
            Self::Remove => "removed".to_owned(),
            Self::Contents([]) => "emptied; the folder stays".to_owned(),
            Self::Contents(names) => {
                let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
                format!("emptied but for {}", names.join(", "))
            }
            Self::Empty => "emptied; the file stays".to_owned(),
            Self::Logs => "logs, by their names: see below".to_owned(),
            Self::Edit(Edit::BuilderKeys) => "the builder's keys are taken out".to_owned(),
            Self::Edit(Edit::SnapdState) => "the registration is taken out".to_owned(),
            Self::Edit(Edit::Initiator) => {
                "removed, or set to `GenerateName=yes` where Debian's `open-iscsi` is".to_owned()
            }
        }
    }
}

pub const fn rule(
    what: &'static str,
    paths: &'static [&'static str],
    fate: Fate,
    why: &'static str,
    source: &'static str,
) -> Rule {
    Rule { what, paths, fate, secret: false, late: false, why, source }
}

impl Rule {
    pub const fn secret(self) -> Self {
        Self { secret: true, ..self }
    }

    pub const fn late(self) -> Self {
        Self { late: true, ..self }
    }
}
