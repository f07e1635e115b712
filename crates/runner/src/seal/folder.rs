//! A folder of the machine, held open.
//!
//! Others may write where the seal works, at the same time: a name that was a folder a moment ago may be a link to
//! another one now. So everything goes by a descriptor of the folder and one name in it, and no link is followed.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use nix::{
    dir::{Dir, Type},
    errno::Errno,
    fcntl::{AtFlags, OFlag, openat, renameat},
    sys::stat::{FileStat, Mode, SFlag, fstat, fstatat},
    unistd::{UnlinkatFlags, unlinkat},
};

use super::mounts::Mounts;
use crate::machine::Machine;

/// What stands behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Folder,
    File,
    Link,
    /// A socket, a pipe or a device.
    Other,
}

/// Why a folder was not entered.
#[derive(Debug)]
pub enum Closed {
    /// Something is mounted there that is no part of the machine.
    Mount,
    /// It is a link or no folder: it may have become one just now.
    NoFolder,
    /// It is gone.
    Gone,
    /// The system refuses.
    Refused(io::Error),
}

/// A folder, open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    path: PathBuf,
    device: u64,
    mount: Option<u64>,
}

impl Folder {
    /// The machine's root.
    pub fn root(machine: &Machine) -> io::Result<Self> {
        let fd = OwnedFd::from(File::open(machine.path("/"))?);
        Ok(Self { device: fstat(&fd)?.st_dev, mount: mount(&fd), fd, path: "/".into() })
    }

    /// The path on the machine.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of something in it, for words and patterns.
    pub fn at(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// Opens a folder in it, unless somebody else's file system begins there.
    pub fn enter(&self, name: &OsStr, mounts: &Mounts) -> Result<Self, Closed> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let fd = openat(&self.fd, name, flags, Mode::empty()).map_err(closed)?;
        let device = fstat(&fd).map_err(closed)?.st_dev;
        let path = self.at(name);
        // The kernel's number of the mount can't be raced, and tells a bind mount of the same file system. Where it is
        // not told (before Linux 3.15), devices and the list of mounts are what there is.
        let mount = mount(&fd);
        let same = match (self.mount, mount) {
            (Some(outer), Some(inner)) => outer == inner,
            _ => self.device == device && !mounts.has(&path),
        };
        if same || mounts.are_own(&path) { Ok(Self { fd, path, device, mount }) } else { Err(Closed::Mount) }
    }

    /// What is in it.
    pub fn entries(&self) -> io::Result<Vec<(OsString, Kind)>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut dir = Dir::openat(&self.fd, ".", flags, Mode::empty())?;
        let mut entries = Vec::new();
        for entry in dir.iter() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let kind = match entry.file_type() {
                Some(Type::Directory) => Some(Kind::Folder),
                Some(Type::File) => Some(Kind::File),
                Some(Type::Symlink) => Some(Kind::Link),
                Some(Type::Fifo | Type::CharacterDevice | Type::BlockDevice | Type::Socket) => {
                    Some(Kind::Other)
                }
                None => self.look(name)?.map(|stat| kind(&stat)),
            };
            entries.extend(kind.map(|kind| (name.to_owned(), kind)));
        }
        // One order on every file system: what is told is the same each time.
        entries.sort_unstable();
        Ok(entries)
    }

    /// Looks at something in it; none when it is not there.
    pub fn look(&self, name: &OsStr) -> io::Result<Option<FileStat>> {
        match fstatat(&self.fd, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Opens a file in it as a file of this very file system; none when it is anything else by now.
    pub fn file(&self, name: &OsStr, how: OFlag) -> io::Result<Option<(File, FileStat)>> {
        // A pipe would be waited for, a terminal become ours.
        let flags = how | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        let fd = match openat(&self.fd, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::EISDIR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stat = fstat(&fd)?;
        let own = kind(&stat) == Kind::File && mount(&fd) == self.mount;
        Ok(own.then(|| (File::from(fd), stat)))
    }

    /// Creates a file in it that was not there.
    pub fn create(&self, name: &OsStr) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?))
    }

    pub fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.fd, from, &self.fd, to)?)
    }

    /// Removes a name that is no folder's; one that is gone is no error.
    pub fn unlink(&self, name: &OsStr) -> io::Result<()> {
        self.drop_name(name, UnlinkatFlags::NoRemoveDir)
    }

    /// Removes an empty folder; one that is gone is no error.
    pub fn rmdir(&self, name: &OsStr) -> io::Result<()> {
        self.drop_name(name, UnlinkatFlags::RemoveDir)
    }

    fn drop_name(&self, name: &OsStr, how: UnlinkatFlags) -> io::Result<()> {
        match unlinkat(&self.fd, name, how) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What a file is.
pub fn kind(stat: &FileStat) -> Kind {
    let mode = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    if mode == SFlag::S_IFDIR {
        Kind::Folder
    } else if mode == SFlag::S_IFREG {
        Kind::File
    } else if mode == SFlag::S_IFLNK {
        Kind::Link
    } else {
        Kind::Other
    }
}

fn closed(error: Errno) -> Closed {
    match error {
        Errno::ENOENT => Closed::Gone,
        Errno::ENOTDIR | Errno::ELOOP => Closed::NoFolder,
        error => Closed::Refused(error.into()),
    }
}

/// The number of the mount that an open file is on, where the kernel tells it.
fn mount(fd: &OwnedFd) -> Option<u64> {
    let told = fs::read_to_string(format!("/proc/self/fdinfo/{}", fd.as_fd().as_raw_fd())).ok()?;
    told.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}
