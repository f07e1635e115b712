//! `file`: a file is there whole, with its owner and permissions, or as it was before.

use std::{
    fs::{self, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::{recipe::Content, report::Exit};

use super::Try;
use crate::machine::{create_parents, remove};

pub fn act(this: &mut Try<'_>, to: &str, content: &Content, mode: u32, owner: Option<&str>) -> Result<Exit> {
    let path = this.machine.path(to);
    create_parents(&path)?;
    let part = Part::beside(&path)?;
    fill(this, &part.0, content)?;
    if let Some(owner) = owner {
        // By the machine's own program: a static one can't ask the machine's name services.
        let mut command = this.command("chown")?;
        command.arg("--").arg(owner).arg(&part.0);
        let exit = this.run(command)?;
        if !exit.is_success() {
            return Ok(exit);
        }
    }
    // After the owner, whose change takes set-user-id bits away.
    fs::set_permissions(&part.0, Permissions::from_mode(mode))?;
    fs::rename(&part.0, &path).with_context(|| format!("put `{to}` in its place"))?;
    Ok(Exit::Status(0))
}

/// Writes a text whole or not at all, for everybody to read.
pub fn write(this: &mut Try<'_>, to: &str, text: String) -> Result<()> {
    act(this, to, &Content::Inline(text), 0o644, None).map(drop)
}

fn fill(this: &Try<'_>, part: &Path, content: &Content) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(part)
        .with_context(|| format!("create {}", part.display()))?;
    match content {
        Content::Inline(text) => file.write_all(text.as_bytes())?,
        Content::Source(source) => {
            let mut from = fs::File::open(this.machine.source(source)?).with_context(|| source.clone())?;
            io::copy(&mut from, &mut file).with_context(|| format!("copy `{source}`"))?;
        }
    }
    file.sync_all()?;
    Ok(())
}

/// An unfinished file, in the folder that it will be in; it is gone unless it got its name.
struct Part(PathBuf);

impl Part {
    fn beside(path: &Path) -> Result<Self> {
        let name = path.file_name().with_context(|| format!("{} names no file", path.display()))?;
        let part = path.with_file_name(format!(".{}.ovenbird-part", name.to_string_lossy()));
        remove(&part)?;
        Ok(Self(part))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is none.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn file(to: &str, content: Content, mode: u32, owner: Option<&str>) -> Action {
        Action::File { to: to.into(), content, mode, owner: owner.map(str::to_owned) }
    }

    fn inline(text: &str) -> Content {
        Content::Inline(text.into())
    }

    #[test]
    fn a_file_has_its_content_and_permissions() {
        let stage = Stage::new();
        stage.write("files/conf/app.conf", "from the recipe");
        let (exit, _) =
            stage.act(file("/etc/app/app.conf", Content::Source("conf/app.conf".into()), 0o4640, None));
        assert_eq!(exit, Exit::Status(0));
        let path = stage.machine.path("/etc/app/app.conf");
        assert_eq!(fs::read_to_string(&path).unwrap(), "from the recipe");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o4640);
    }

    #[test]
    fn a_link_is_replaced_and_not_followed() {
        let stage = Stage::new();
        stage.write("elsewhere", "kept");
        fs::create_dir_all(stage.machine.path("/etc")).unwrap();
        let link = stage.machine.path("/etc/link");
        std::os::unix::fs::symlink(stage.machine.own("elsewhere"), &link).unwrap();
        assert_eq!(stage.act(file("/etc/link", inline("new"), 0o644, None)).0, Exit::Status(0));
        assert_eq!(fs::read_to_string(&link).unwrap(), "new");
        assert_eq!(fs::read_to_string(stage.machine.own("elsewhere")).unwrap(), "kept");
    }

    #[test]
    fn a_file_that_can_t_be_finished_leaves_the_old_one_and_nothing_else() {
        let stage = Stage::new();
        assert_eq!(stage.act(file("/etc/it", inline("old"), 0o644, None)).0, Exit::Status(0));
        let (exit, output) =
            stage.act(file("/etc/it", inline("new"), 0o644, Some("no-such-user-of-this-machine")));
        assert!(!exit.is_success() && output.contains("no-such-user-of-this-machine"), "{exit} {output}");
        let (exit, _) = stage.act(file("/etc/it", Content::Source("nothing".into()), 0o644, None));
        assert!(exit.to_string().contains("`nothing`"), "{exit}");
        assert_eq!(fs::read_to_string(stage.machine.path("/etc/it")).unwrap(), "old");
        assert_eq!(fs::read_dir(stage.machine.path("/etc")).unwrap().count(), 1);
    }

    #[test]
    fn an_owner_is_given() {
        let stage = Stage::new();
        let id = nix::unistd::geteuid();
        let group = nix::unistd::getegid();
        let owner = format!("{id}:{group}");
        let (exit, output) = stage.act(file("/etc/it", inline("x"), 0o600, Some(&owner)));
        assert_eq!(exit, Exit::Status(0), "{output}");
    }
}
