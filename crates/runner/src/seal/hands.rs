//! Carries a plan out, or weighs it: the same walk either way.

use std::{
    ffi::OsStr,
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    sys::stat::{Mode, fchmod},
    unistd::{Gid, Uid, fchown},
};

use super::{
    edit::{self, New},
    folder::{Closed, Folder, Kind},
    list::{Edit, OURS, PRIVATE, Rule},
    logs,
    plan::{Act, Site, Target, read},
};

/// How often a folder is cleared again because others go on writing into it.
const ROUNDS: usize = 5;

/// What is made beside a file that is changed, until it takes its place.
const PART: &str = ".ovenbird-part";

/// How much something is.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Weight {
    /// Names that are no folders'.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that resisted.
#[derive(Debug)]
pub struct Stubborn {
    /// Where.
    pub path: PathBuf,
    /// How.
    pub why: String,
    /// The rule that names it.
    pub rule: &'static Rule,
}

/// Does what a plan says.
pub struct Hands<'a> {
    site: &'a Site<'a>,
    /// Nothing is changed: it is weighed.
    dry: bool,
    /// Services run on, and the folders that they have for themselves in `/tmp` must stay for them.
    running: bool,
    rule: &'static Rule,
    weight: Weight,
    /// What resisted.
    pub stubborn: Vec<Stubborn>,
    /// The folder of the last target: logs are many in one.
    last: Option<Folder>,
}

impl<'a> Hands<'a> {
    /// Hands that work, while services run or when they don't any more.
    pub fn working(site: &'a Site<'a>, running: bool) -> Self {
        Self { dry: false, running, ..Self::weighing(site) }
    }

    /// Hands that change nothing.
    pub fn weighing(site: &'a Site<'a>) -> Self {
        let (weight, stubborn) = (Weight::default(), Vec::new());
        Self { site, dry: true, running: true, rule: &OURS, weight, stubborn, last: None }
    }

    /// Does one thing; how much it was.
    pub fn do_it(&mut self, target: &Target) -> Weight {
        self.rule = target.rule;
        self.weight = Weight::default();
        let (Some(parent), Some(name)) = (target.path.parent(), target.path.file_name()) else {
            return self.weight;
        };
        let folder = match self.last.take().filter(|last| last.path() == parent) {
            Some(last) => Some(last),
            None => self.descend(parent),
        };
        if let Some(folder) = &folder
            && let Err(error) = self.act(folder, name, target.act)
        {
            self.resists(target.path.clone(), &error);
        }
        self.last = folder;
        self.weight
    }

    fn act(&mut self, folder: &Folder, name: &OsStr, act: Act) -> io::Result<()> {
        match act {
            Act::Remove => {
                let Some(stat) = folder.look(name)? else { return Ok(()) };
                self.remove(folder, name, super::folder::kind(&stat));
            }
            Act::RemoveText => {
                let Some((file, _)) = folder.file(name, OFlag::O_RDONLY)? else { return Ok(()) };
                if logs::is_text(&file)? {
                    self.remove(folder, name, Kind::File);
                }
            }
            Act::Clear(but) => match folder.enter(name, &self.site.mounts) {
                Ok(inner) => {
                    self.clear_down(&inner, but);
                }
                Err(closed) => self.shut(folder.at(name), closed),
            },
            Act::Empty => self.empty(folder, name, false)?,
            Act::EmptyText => self.empty(folder, name, true)?,
            Act::Edit(edit) => self.edit(folder, name, edit)?,
        }
        Ok(())
    }

    /// Opens a folder by its path, name by name.
    fn descend(&mut self, path: &Path) -> Option<Folder> {
        let mut folder = match Folder::root(self.site.machine) {
            Ok(root) => root,
            Err(error) => {
                self.resists(path.to_owned(), &error);
                return None;
            }
        };
        for name in path.iter().skip(1) {
            match folder.enter(name, &self.site.mounts) {
                Ok(inner) => folder = inner,
                Err(closed) => {
                    self.shut(folder.at(name), closed);
                    return None;
                }
            }
        }
        Some(folder)
    }

    fn shut(&mut self, path: PathBuf, closed: Closed) {
        match closed {
            Closed::Gone => {}
            // When the plan was made, it was none.
            Closed::NoFolder => self.resists(path, &io::Error::other("it is no folder any more")),
            Closed::Mount => self.resists(path, &io::Error::other("something is mounted there")),
            Closed::Refused(error) => self.resists(path, &error),
        }
    }

    /// Removes something; whether it is gone.
    fn remove(&mut self, folder: &Folder, name: &OsStr, kind: Kind) -> bool {
        if kind != Kind::Folder {
            return self.unlink(folder, name);
        }
        let inner = match folder.enter(name, &self.site.mounts) {
            Ok(inner) => inner,
            Err(Closed::Gone) => return true,
            // It was swapped for something else just now: a name without a folder, which can go as such.
            Err(Closed::NoFolder) => return self.unlink(folder, name),
            Err(closed) => {
                self.shut(folder.at(name), closed);
                return false;
            }
        };
        for _ in 0..ROUNDS {
            if !self.clear(&inner, &[]) {
                return false;
            }
            if self.dry {
                return true;
            }
            match folder.rmdir(name) {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => {
                    self.resists(folder.at(name), &error);
                    return false;
                }
            }
        }
        self.resists(folder.at(name), &io::Error::other("somebody goes on writing into it"));
        false
    }

    /// Clears a folder that stays, and that others may be writing into.
    fn clear_down(&mut self, folder: &Folder, but: &[&str]) {
        for _ in 0..ROUNDS {
            let before = self.weight;
            if !self.clear(folder, but) || self.dry || self.weight == before {
                return;
            }
        }
    }

    /// Removes what is in a folder, except these names and what the recipe keeps; whether all else is gone.
    fn clear(&mut self, folder: &Folder, but: &[&str]) -> bool {
        let entries = match folder.entries() {
            Ok(entries) => entries,
            Err(error) => {
                self.resists(folder.path().to_owned(), &error);
                return false;
            }
        };
        let mut all = true;
        for (name, kind) in entries {
            let kept = self.rule.what != OURS.what && self.site.keep.name(&folder.at(&name));
            let stays = but.iter().any(|but| name == *but) || kept;
            all &= if stays {
                false
            } else if self.running && kind == Kind::Folder && is_private(folder, &name) {
                self.clear_private(folder, &name);
                false
            } else {
                self.remove(folder, &name, kind)
            };
        }
        all
    }

    /// Clears what a running service has for itself in `/tmp`: the folders are its `/tmp`, and stay for it.
    fn clear_private(&mut self, folder: &Folder, name: &OsStr) {
        let mounts = &self.site.mounts;
        if let Ok(inner) = folder.enter(name, mounts).and_then(|own| own.enter(OsStr::new("tmp"), mounts)) {
            self.clear(&inner, &[]);
        }
    }

    fn unlink(&mut self, folder: &Folder, name: &OsStr) -> bool {
        if self.dry {
            self.weigh(folder, name);
            return true;
        }
        match folder.unlink(name) {
            Ok(()) => {
                self.weight.files += 1;
                true
            }
            Err(error) => {
                self.resists(folder.at(name), &error);
                false
            }
        }
    }

    fn weigh(&mut self, folder: &Folder, name: &OsStr) {
        if let Ok(Some(stat)) = folder.look(name) {
            self.weight.files += 1;
            self.weight.bytes += u64::try_from(stat.st_size).unwrap_or(0);
        }
    }

    fn empty(&mut self, folder: &Folder, name: &OsStr, only_text: bool) -> io::Result<()> {
        if self.dry {
            self.weigh(folder, name);
            return Ok(());
        }
        let Some((file, stat)) = folder.file(name, OFlag::O_RDWR)? else { return Ok(()) };
        // It may have got another name since the plan was made: what is behind that one is not ours to empty.
        if stat.st_nlink == 1 && (!only_text || logs::is_text(&file)?) {
            file.set_len(0)?;
            self.weight.files += 1;
        }
        Ok(())
    }

    fn edit(&mut self, folder: &Folder, name: &OsStr, edit: Edit) -> io::Result<()> {
        if self.dry {
            self.weigh(folder, name);
            return Ok(());
        }
        let Some((content, stat)) = read(folder, name)? else { return Ok(()) };
        match edit::new(self.site.machine, edit, &content) {
            None => {}
            Some(New::Gone) => folder.unlink(name)?,
            Some(New::Content(content)) => {
                // Whole or not at all, and with the owner and mode that it had.
                let mut part = name.to_owned();
                part.push(PART);
                folder.unlink(&part)?;
                let mut file = folder.create(&part)?;
                file.write_all(&content)?;
                fchown(&file, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))?;
                fchmod(&file, Mode::from_bits_truncate(stat.st_mode))?;
                file.sync_all()?;
                folder.rename(&part, name)?;
            }
        }
        self.weight.files += 1;
        Ok(())
    }

    fn resists(&mut self, path: PathBuf, error: &io::Error) {
        self.stubborn.push(Stubborn { path, why: error.to_string(), rule: self.rule });
    }
}

/// Whether a folder is what a service has for itself in `/tmp`.
fn is_private(folder: &Folder, name: &OsStr) -> bool {
    ["/tmp", "/var/tmp"].iter().any(|tmp| folder.path() == Path::new(tmp))
        && name.to_string_lossy().starts_with(PRIVATE)
}
