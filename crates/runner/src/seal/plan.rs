//! What the seal will do, made before it does anything: the list's patterns, looked up on this machine.

use std::{
    collections::BTreeSet,
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use nix::{fcntl::OFlag, sys::stat::FileStat};
use ovenbird_core::domain::{plan::FOLDER, recipe::Seal};

use super::{
    edit::{self, New},
    folder::{Closed, Folder, Kind},
    globs::{self, Globs},
    left::{Left, Why},
    list::{ASKED, Edit, Fate, LOGS, OURS, RULES, Rule},
    logs::{self, Verdict},
    mounts::Mounts,
};
use crate::{boots, machine::Machine, openrc};

/// A file that is changed has at most so many bytes: a state of snapd has a few hundred thousand.
pub const MOST: u64 = 64 << 20;

/// Something that is done.
#[derive(Debug)]
pub struct Target {
    /// Where.
    pub path: PathBuf,
    /// What.
    pub act: Act,
    /// By which rule.
    pub rule: &'static Rule,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A file goes, or a folder with all that is in it.
    Remove,
    /// A file goes, if it is still text.
    RemoveText,
    /// What is in a folder goes, except these names.
    Clear(&'static [&'static str]),
    /// A file is emptied.
    Empty,
    /// A file is emptied, if it is still text.
    EmptyText,
    /// A file is changed.
    Edit(Edit),
}

impl Act {
    /// In a word, for people.
    pub fn told(self) -> &'static str {
        match self {
            Self::Remove | Self::RemoveText => "remove",
            Self::Clear(_) => "clear",
            Self::Empty | Self::EmptyText => "empty",
            Self::Edit(_) => "change",
        }
    }
}

/// What the seal will do.
#[derive(Debug)]
pub struct Plan {
    /// What is done, in this order.
    pub targets: Vec<Target>,
    /// What stays.
    pub left: Vec<Left>,
}

/// Which rules are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of them.
    Whole,
    /// All but those whose owner still has to answer.
    Early,
}

/// What a plan is made with, and carried out.
pub struct Site<'a> {
    pub machine: &'a Machine,
    pub mounts: Mounts,
    pub keep: Globs,
}

impl<'a> Site<'a> {
    pub fn new(machine: &'a Machine, seal: &Seal) -> Result<Self> {
        Ok(Self { machine, mounts: Mounts::of(machine), keep: Globs::new(&seal.keep)? })
    }
}

impl Plan {
    /// Looks the list up on the machine, without changing anything.
    pub fn new(site: &Site<'_>, seal: &Seal, scope: Scope) -> Result<Self> {
        let root = Folder::root(site.machine).context("open the machine's root")?;
        let homes = homes(site.machine);
        let mut planner = Planner { site, plan: Self { targets: Vec::new(), left: Vec::new() }, rule: &OURS };
        for rule in RULES.iter().filter(|rule| scope == Scope::Whole || !rule.late) {
            planner.rule = rule;
            for pattern in rule.paths {
                match pattern.strip_prefix("~/") {
                    Some(rest) => {
                        for home in &homes {
                            planner.search(&root, &format!("{}/{rest}", home.display()))?;
                        }
                    }
                    None => planner.search(&root, pattern)?,
                }
            }
        }
        planner.rule = &ASKED;
        for pattern in &seal.remove {
            planner.search(&root, pattern)?;
        }
        planner.plan.targets.extend(Self::ours());
        Ok(planner.plan)
    }

    /// What starts the runner after a boot, and Ovenbird's own folder, which goes last: its program after all else, and the
    /// plan just before it. A seal that is killed can begin again for as long as both are there.
    pub fn ours() -> Vec<Target> {
        let target = |path: &str, act| Target { path: path.into(), act, rule: &OURS };
        vec![
            target(boots::WANTED, Act::Remove),
            target(boots::UNIT, Act::Remove),
            target(boots::CRON, Act::Remove),
            target(openrc::WANTED, Act::Remove),
            target(openrc::SCRIPT, Act::Remove),
            target(FOLDER, Act::Clear(&[PLAN, PROGRAM])),
            target(&format!("{FOLDER}/{PLAN}"), Act::Remove),
            target(FOLDER, Act::Remove),
        ]
    }
}

const PLAN: &str = "plan.json";
pub const PROGRAM: &str = "ovenbird-runner";

/// Makes a plan.
struct Planner<'a> {
    site: &'a Site<'a>,
    plan: Plan,
    rule: &'static Rule,
}

impl Planner<'_> {
    fn search(&mut self, root: &Folder, pattern: &str) -> Result<()> {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        self.find(root, &parts)
    }

    fn find(&mut self, folder: &Folder, parts: &[&str]) -> Result<()> {
        let Some((part, rest)) = parts.split_first() else { return Ok(()) };
        let any_folders = *part == "**";
        if any_folders && !rest.is_empty() {
            self.find(folder, rest)?;
        }
        let wild = part.contains(['*', '?']);
        for (name, kind) in self.names(folder, part, wild)? {
            let (next, leaf) = if any_folders { (parts, rest.is_empty()) } else { (rest, rest.is_empty()) };
            if leaf {
                self.hit(folder, &name, kind);
                continue;
            }
            let path = folder.at(&name);
            match kind {
                Kind::Folder => match folder.enter(&name, &self.site.mounts) {
                    Ok(inner) => self.find(&inner, next)?,
                    Err(Closed::Mount) if !self.leads_on(&path, rest) => {}
                    Err(closed) => self.shut(path, closed),
                },
                // Made by root for a whole tree: `/var/lib/docker` on another disk. What a rule looks for may be there.
                Kind::Link if !wild && self.leads_on(&path, rest) => self.leave(path, Why::Linked),
                Kind::Link | Kind::File | Kind::Other => {}
            }
        }
        Ok(())
    }

    /// The names in a folder that a part of a pattern names.
    fn names(&mut self, folder: &Folder, part: &str, wild: bool) -> Result<Vec<(OsString, Kind)>> {
        if !wild {
            let name = OsStr::new(part);
            let seen = folder.look(name).with_context(|| format!("look at {}", folder.at(name).display()))?;
            return Ok(seen.map(|stat| (name.to_owned(), super::folder::kind(&stat))).into_iter().collect());
        }
        let pattern = globs::of_name(part)?;
        let mut entries = self.entries(folder);
        entries.retain(|(name, _)| pattern.is_match(&name.to_string_lossy()));
        Ok(entries)
    }

    fn entries(&mut self, folder: &Folder) -> Vec<(OsString, Kind)> {
        folder.entries().unwrap_or_else(|error| {
            self.leave(folder.path().to_owned(), error.into());
            Vec::new()
        })
    }

    fn enter(&mut self, folder: &Folder, name: &OsStr) -> Option<Folder> {
        folder.enter(name, &self.site.mounts).map_err(|closed| self.shut(folder.at(name), closed)).ok()
    }

    fn shut(&mut self, path: PathBuf, closed: Closed) {
        match closed {
            Closed::Mount => self.leave(path, Why::Mounted),
            Closed::Refused(error) => self.leave(path, error.into()),
            Closed::NoFolder | Closed::Gone => {}
        }
    }

    /// Whether there is something behind a link or in a mounted folder, where the rest of a pattern says, that the recipe
    /// does not keep.
    fn leads_on(&self, path: &Path, rest: &[&str]) -> bool {
        let mut behind = self.site.machine.path(&path.to_string_lossy());
        behind.extend(rest.iter().take_while(|part| !part.contains(['*', '?'])));
        !self.site.keep.hold(path) && fs::symlink_metadata(behind).is_ok()
    }

    fn hit(&mut self, folder: &Folder, name: &OsStr, kind: Kind) {
        let path = folder.at(name);
        if self.site.keep.hold(&path) {
            return self.leave(path, Why::Kept);
        }
        let asked = std::ptr::eq(self.rule, &raw const ASKED);
        if asked && Path::new(FOLDER).starts_with(&path) {
            return self
                .leave(path, Why::Refused("Ovenbird's own folder is in it, which goes last".to_owned()));
        }
        match (self.rule.fate, kind) {
            (_, Kind::Link) if !asked => self.leave(path, Why::Linked),
            (Fate::Remove, _) => self.add(path, Act::Remove),
            (Fate::Contents(but), Kind::Folder) => {
                // A disk of its own that is no part of the machine is seen here, and not when all else is gone.
                if self.enter(folder, name).is_some() {
                    self.add(path, Act::Clear(but));
                }
            }
            (Fate::Empty, Kind::File) => self.empty(folder, name, Act::Empty),
            (Fate::Edit(edit), Kind::File) => self.edit(folder, name, edit),
            (Fate::Logs, Kind::Folder) => {
                if let Some(inner) = self.enter(folder, name) {
                    self.logs(&inner);
                }
            }
            (Fate::Contents(_) | Fate::Empty | Fate::Edit(_) | Fate::Logs, _) => {
                self.leave(path, Why::OtherKind);
            }
        }
    }

    fn empty(&mut self, folder: &Folder, name: &OsStr, act: Act) {
        match folder.look(name) {
            Ok(Some(stat)) if stat.st_size > 0 && stat.st_nlink > 1 => {
                self.leave(folder.at(name), Why::ManyNames);
            }
            Ok(Some(stat)) if stat.st_size > 0 => self.add(folder.at(name), act),
            Ok(Some(_) | None) => {}
            Err(error) => self.leave(folder.at(name), error.into()),
        }
    }

    fn edit(&mut self, folder: &Folder, name: &OsStr, edit: Edit) {
        let path = folder.at(name);
        match read(folder, name) {
            Ok(Some((content, stat))) => match edit::new(self.site.machine, edit, &content) {
                Some(New::Content(_)) if stat.st_nlink > 1 => self.leave(path, Why::ManyNames),
                Some(New::Content(_) | New::Gone) => self.add(path, Act::Edit(edit)),
                None => {}
            },
            Ok(None) => self.leave(path, Why::OtherKind),
            Err(error) => self.leave(path, error.into()),
        }
    }

    /// The logs in a folder, and in the folders in it.
    fn logs(&mut self, folder: &Folder) {
        for (name, kind) in self.entries(folder) {
            let path = folder.at(&name);
            if self.site.keep.name(&path) {
                self.leave(path, Why::Kept);
                continue;
            }
            let below = path.strip_prefix(LOGS).unwrap_or(&path).to_string_lossy().into_owned();
            match kind {
                Kind::Folder if logs::is_journal_of_machine(&below) => self.add(path, Act::Remove),
                Kind::Folder => {
                    if let Some(inner) = self.enter(folder, &name) {
                        self.logs(&inner);
                    }
                }
                Kind::File => self.log(folder, &name, logs::judge(&below)),
                Kind::Link | Kind::Other => {}
            }
        }
    }

    fn log(&mut self, folder: &Folder, name: &OsStr, verdict: Verdict) {
        let path = folder.at(name);
        let act = match verdict {
            Verdict::Stay => return self.leave(path, Why::NoLog),
            Verdict::Remove => return self.add(path, Act::Remove),
            Verdict::Empty => Act::Empty,
            Verdict::EmptyText => Act::EmptyText,
            Verdict::RemoveText => Act::RemoveText,
        };
        match folder.file(name, OFlag::O_RDONLY) {
            Ok(Some((file, _))) if verdict != Verdict::Empty => match logs::is_text(&file) {
                Ok(true) if act == Act::RemoveText => self.add(path, act),
                Ok(true) => self.empty(folder, name, act),
                Ok(false) => self.leave(path, Why::NoText),
                Err(error) => self.leave(path, error.into()),
            },
            Ok(Some(_)) => self.empty(folder, name, act),
            // A file that something else is mounted on.
            Ok(None) => self.leave(path, Why::Mounted),
            Err(error) => self.leave(path, error.into()),
        }
    }

    fn add(&mut self, path: PathBuf, act: Act) {
        self.plan.targets.push(Target { path, act, rule: self.rule });
    }

    fn leave(&mut self, path: PathBuf, why: Why) {
        // What is in memory or on a share is in no image.
        let elsewhere = matches!(why, Why::Mounted) && self.site.mounts.are_elsewhere(&path);
        // And a list of keys that is reached by a link has most likely none of the builder's.
        let unlikely = matches!(why, Why::Linked) && matches!(self.rule.fate, Fate::Edit(_));
        let fails = self.rule.secret && !elsewhere && !unlikely && !matches!(why, Why::Kept);
        self.plan.left.push(Left { path, why, fails });
    }
}

/// Reads a file that is to be changed.
pub fn read(folder: &Folder, name: &OsStr) -> io::Result<Option<(Vec<u8>, FileStat)>> {
    let Some((mut file, stat)) = folder.file(name, OFlag::O_RDONLY)? else { return Ok(None) };
    Ok(Some((logs::read_whole(&mut file, MOST)?, stat)))
}

/// The homes of all accounts, and what is in `/home`: an account may be somebody else's to list.
fn homes(machine: &Machine) -> BTreeSet<PathBuf> {
    let accounts = fs::read_to_string(machine.path("/etc/passwd")).unwrap_or_default();
    let home = |line: &str| line.split(':').nth(5).map(PathBuf::from);
    let mut homes: BTreeSet<PathBuf> = accounts.lines().filter_map(home).collect();
    let below = fs::read_dir(machine.path("/home")).into_iter().flatten().flatten();
    homes.extend(below.map(|entry| Path::new("/home").join(entry.file_name())));
    homes.insert("/root".into());
    // Where accounts of services have no home: there is no history, and a pattern would begin anywhere.
    let plain = |home: &PathBuf| {
        let text = home.to_string_lossy();
        home.is_absolute() && home.parent().is_some() && !text.contains(['*', '?']) && !text.contains("..")
    };
    homes.into_iter().filter(plain).collect()
}
