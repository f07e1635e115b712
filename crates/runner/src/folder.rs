//! Folders held open: what is written below one stays below it, whatever others do to its path meanwhile.
//!
//! The runner is root, and works in folders that the application may write. Between two calls that name the same
//! path, the application can put a link in its place; root would then write, or give away, a file of the
//! application's choice. So a path is walked once, link by link, and all that follows goes by file descriptor.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::File,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Component, Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    errno::Errno,
    fcntl::{OFlag, openat, readlinkat, renameat},
    sys::stat::{Mode, fchmod, fstat, mkdirat},
    unistd::{Gid, Uid, UnlinkatFlags, fchown, geteuid, unlinkat},
};

/// As many links on a way as Linux follows.
const LINKS: u32 = 40;

/// An unfinished file's name. Only one is made at a time.
const PART: &str = ".ovenbird-part";

const FOLDER: OFlag = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_WRONLY
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_CLOEXEC);

/// Who a file belongs to; what is none stays root's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Owner {
    pub user: Option<Uid>,
    pub group: Option<Gid>,
}

/// A folder, open.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
    /// What messages call it.
    path: PathBuf,
}

/// What is still to be walked.
enum Way {
    Part(OsString),
    /// The end of a link that belongs to this user: the folder reached here must be that user's, too.
    EndOfLink(Uid, PathBuf),
}

impl Folder {
    /// Opens a folder of the machine whose root is given, and makes each folder on the way that isn't there.
    ///
    /// A link of root's is followed, as `/var/run` is. A link of another user's may only lead to a folder of that
    /// same user: the user could write there anyway.
    pub fn create(root: &Path, path: &Path) -> Result<Self> {
        let top = nix::fcntl::open(root, OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
            .with_context(|| format!("open {}", root.display()))?;
        let mut stack = vec![top];
        let mut way: VecDeque<Way> = parts(path).map(Way::Part).collect();
        let mut links = 0;
        while let Some(next) = way.pop_front() {
            let Some(top) = stack.last() else { bail!("{} leads out of the machine", path.display()) };
            let name = match next {
                Way::EndOfLink(owner, link) => {
                    let found = Uid::from_raw(fstat(top)?.st_uid);
                    ensure!(
                        found == owner,
                        "`{}` is a link of user {owner}, who is not the owner of what it leads to ({found}): name \
                         the folder itself",
                        link.display()
                    );
                    continue;
                }
                Way::Part(name) => name,
            };
            if name == ".." {
                if stack.len() > 1 {
                    stack.pop();
                }
                continue;
            }
            let shown = || format!("`{}` of `{}`", name.display(), path.display());
            match openat(top, name.as_os_str(), FOLDER, Mode::empty()) {
                Ok(fd) => stack.push(fd),
                Err(Errno::ENOENT) => {
                    let by_link = way.iter().any(|next| matches!(next, Way::EndOfLink(..)));
                    ensure!(!by_link, "{} is behind a link that leads to nothing", shown());
                    make(top, &name).with_context(|| format!("create {}", shown()))?;
                    way.push_front(Way::Part(name));
                }
                Err(Errno::ENOTDIR | Errno::ELOOP) => {
                    let link =
                        openat(top, name.as_os_str(), OFlag::O_PATH | OFlag::O_NOFOLLOW, Mode::empty())
                            .with_context(shown)?;
                    let owner = Uid::from_raw(fstat(&link)?.st_uid);
                    let target = readlinkat(&link, "");
                    let Ok(target) = target else { bail!("{} is there, and is no folder", shown()) };
                    links += 1;
                    ensure!(links <= LINKS, "{} leads from link to link without end", path.display());
                    if !owner.is_root() && owner != geteuid() {
                        way.push_front(Way::EndOfLink(owner, path.to_owned()));
                    }
                    let target = PathBuf::from(target);
                    if target.is_absolute() {
                        stack.truncate(1);
                    }
                    for part in parts(&target).collect::<Vec<_>>().into_iter().rev() {
                        way.push_front(Way::Part(part));
                    }
                }
                Err(error) => return Err(error).with_context(shown),
            }
        }
        let fd = stack.pop().with_context(|| format!("open {}", path.display()))?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Opens a folder below this one, and makes every one on the way. Links are refused, whoever made them.
    pub fn below(&self, name: &Path) -> Result<Self> {
        let mut path = self.path.clone();
        let mut fd = self.fd.try_clone()?;
        for part in name.components() {
            let part = match part {
                Component::Normal(part) => part,
                Component::CurDir => continue,
                Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                    bail!("`{}` would leave the folder", name.display())
                }
            };
            path.push(part);
            fd = loop {
                match openat(&fd, part, FOLDER, Mode::empty()) {
                    Ok(fd) => break fd,
                    Err(Errno::ENOENT) => {
                        make(&fd, part).with_context(|| format!("create {}", path.display()))?;
                    }
                    Err(Errno::ENOTDIR | Errno::ELOOP) => {
                        bail!("{} is there, and is no folder: remove it in a step before", path.display())
                    }
                    Err(error) => return Err(error).with_context(|| format!("open {}", path.display())),
                }
            };
        }
        Ok(Self { fd, path })
    }

    /// Opens a plain file of this folder to read it; a link is not followed.
    pub fn read(&self, name: &OsStr) -> Result<File> {
        let shown = || format!("open {}", self.path.join(name).display());
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = File::from(openat(&self.fd, name, flags, Mode::empty()).with_context(shown)?);
        ensure!(file.metadata()?.is_file(), "{} is no plain file", self.path.join(name).display());
        Ok(file)
    }

    /// Begins a file of this folder. Nobody but root may open it before it has its name.
    pub fn begin(&self) -> Result<Part<'_>> {
        let shown = || format!("create a file in {}", self.path.display());
        match unlinkat(&self.fd, PART, UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error).with_context(shown),
        }
        let fd = openat(&self.fd, PART, NEW, Mode::S_IRUSR | Mode::S_IWUSR).with_context(shown)?;
        Ok(Part { folder: self, file: File::from(fd), named: false })
    }

    /// Takes a finished file out of another folder. `None` is where that needs a copy: it is another file system.
    pub fn adopt(&self, from: &Self, old: &OsStr, name: &OsStr) -> Result<Option<()>> {
        match renameat(&from.fd, old, &self.fd, name) {
            Ok(()) => Ok(Some(())),
            Err(Errno::EXDEV) => Ok(None),
            Err(error) => Err(error).with_context(|| self.in_place(name)),
        }
    }

    /// Gives the folder itself permission bits and an owner.
    pub fn dress(&self, mode: Option<u32>, owner: Owner) -> Result<()> {
        dress(&self.fd, mode, owner).with_context(|| self.path.display().to_string())
    }

    fn in_place(&self, name: &OsStr) -> String {
        format!("put `{}` in its place", self.path.join(name).display())
    }
}

/// An unfinished file, in the folder that it will be in; it is gone unless it got its name.
#[derive(Debug)]
pub struct Part<'f> {
    folder: &'f Folder,
    /// To write its content.
    pub file: File,
    named: bool,
}

impl Part<'_> {
    /// Gives it its owner, permission bits and name, in this order; what had the name before is replaced.
    ///
    /// The mode comes after the owner, whose change takes set-user-id bits away.
    pub fn finish(mut self, name: &OsStr, mode: u32, owner: Owner) -> Result<File> {
        let shown = || self.folder.in_place(name);
        dress(&self.file, Some(mode), owner).with_context(shown)?;
        match renameat(&self.folder.fd, PART, &self.folder.fd, name) {
            Ok(()) => self.named = true,
            Err(Errno::EISDIR | Errno::EEXIST | Errno::ENOTEMPTY) => {
                bail!("{} is there, and is a folder", self.folder.path.join(name).display())
            }
            Err(error) => return Err(error).with_context(shown),
        }
        Ok(self.file.try_clone()?)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.named {
            // Nothing can be done about one that stays; the next file of this folder takes it away.
            let _ = unlinkat(&self.folder.fd, PART, UnlinkatFlags::NoRemoveDir);
        }
    }
}

/// Owner and mode of what is open, whatever its path leads to by now.
pub fn dress(fd: impl AsFd, mode: Option<u32>, owner: Owner) -> Result<()> {
    if owner != Owner::default() {
        fchown(fd.as_fd(), owner.user, owner.group).context("change the owner")?;
    }
    if let Some(mode) = mode {
        fchmod(fd.as_fd(), Mode::from_bits_truncate(mode)).context("change the mode")?;
    }
    Ok(())
}

fn make(folder: impl AsFd, name: &OsStr) -> nix::Result<()> {
    match mkdirat(folder, name, Mode::from_bits_truncate(0o755)) {
        // Somebody else made it just now.
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// The parts of a path, `..` too: where that leads depends on what the part before it is.
fn parts(path: &Path) -> impl Iterator<Item = OsString> {
    let names = path.as_os_str().as_bytes().split(|byte| *byte == b'/');
    names.filter(|name| !matches!(*name, b"" | b".")).map(|name| OsStr::from_bytes(name).to_owned())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::Write as _,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

    use super::*;

    /// A user of no account.
    const NOBODY: u32 = 65534;

    fn root() -> bool {
        if geteuid().is_root() {
            return true;
        }
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        println!("SKIPPED: it needs root");
        false
    }

    fn write(folder: &Folder, name: &str, text: &str) -> Result<()> {
        let mut part = folder.begin()?;
        part.file.write_all(text.as_bytes())?;
        part.finish(OsStr::new(name), 0o644, Owner::default()).map(drop)
    }

    #[test]
    fn a_link_of_root_s_leads_on_within_the_machine() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("run")).unwrap();
        fs::create_dir_all(root.path().join("var")).unwrap();
        symlink("/run", root.path().join("var/run")).unwrap();
        symlink("../../../var/run/x", root.path().join("var/x")).unwrap();
        write(&Folder::create(root.path(), Path::new("/var/run/shop")).unwrap(), "a", "1").unwrap();
        write(&Folder::create(root.path(), Path::new("/var/x/y")).unwrap(), "b", "2").unwrap();
        assert_eq!(fs::read_to_string(root.path().join("run/shop/a")).unwrap(), "1");
        assert_eq!(fs::read_to_string(root.path().join("run/x/y/b")).unwrap(), "2");
    }

    #[test]
    fn a_link_of_another_user_s_leads_only_to_what_is_that_user_s() {
        if !root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        for folder in ["etc", "home/app/releases/3"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        let own = |path: &str| std::os::unix::fs::lchown(root.path().join(path), Some(NOBODY), Some(NOBODY));
        symlink("releases/3", root.path().join("home/app/current")).unwrap();
        symlink("/etc", root.path().join("home/app/evil")).unwrap();
        symlink("/etc/new", root.path().join("home/app/new")).unwrap();
        for path in ["home/app", "home/app/releases/3", "home/app/current", "home/app/evil", "home/app/new"] {
            own(path).unwrap();
        }
        write(&Folder::create(root.path(), Path::new("/home/app/current/conf")).unwrap(), "a", "").unwrap();
        assert!(root.path().join("home/app/releases/3/conf/a").exists());
        for path in ["/home/app/evil", "/home/app/evil/x", "/home/app/new", "/home/app/new/x"] {
            let error = Folder::create(root.path(), Path::new(path)).unwrap_err();
            assert!(format!("{error:#}").contains("link"), "{error:#}");
        }
        assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 0);
    }

    #[test]
    fn links_in_a_circle_come_to_an_end() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        let error = Folder::create(root.path(), Path::new("/a/x")).unwrap_err();
        assert!(error.to_string().contains("without end"), "{error}");
    }

    #[test]
    fn a_file_that_gets_no_name_is_gone() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::create(root.path(), Path::new("/etc")).unwrap();
        drop(folder.begin().unwrap());
        fs::create_dir(root.path().join("etc/there")).unwrap();
        let error = write(&folder, "there", "x").unwrap_err();
        assert!(error.to_string().contains("is a folder"), "{error}");
        assert_eq!(fs::read_dir(root.path().join("etc")).unwrap().count(), 1);
    }

    /// The application owns the folder, and swaps the unfinished file for a link to one of root's all the time.
    #[test]
    fn a_swap_in_a_folder_of_another_user_s_changes_nothing_elsewhere() {
        if !root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let (shadow, app) = (root.path().join("shadow"), root.path().join("app"));
        fs::write(&shadow, "secret").unwrap();
        fs::set_permissions(&shadow, fs::Permissions::from_mode(0o600)).unwrap();
        fs::create_dir(&app).unwrap();
        symlink(&shadow, app.join("bait")).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let (bait, part) = (app.join("bait"), app.join(PART));
                    let _ = renameat2(AT_FDCWD, &bait, AT_FDCWD, &part, RenameFlags::RENAME_EXCHANGE);
                }
            });
            let owner = Owner { user: Some(Uid::from_raw(NOBODY)), group: None };
            for _ in 0..2000 {
                let folder = Folder::create(root.path(), Path::new("/app")).unwrap();
                // It may fail: the application can always hurt itself.
                if let Ok(mut part) = folder.begin() {
                    let _ = part.file.write_all(b"x");
                    let _ = part.finish(OsStr::new("conf"), 0o666, owner);
                }
                if fs::symlink_metadata(app.join("bait")).is_err() {
                    let _ = symlink(&shadow, app.join("bait"));
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        let after = fs::metadata(&shadow).unwrap();
        assert_eq!((after.uid(), after.permissions().mode() & 0o7777), (geteuid().as_raw(), 0o600));
        assert_eq!(fs::read_to_string(&shadow).unwrap(), "secret");
    }
}
