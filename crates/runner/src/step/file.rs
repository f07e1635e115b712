//! `file`: a file is there whole, with its owner and permissions, or as it was before.

use std::{fs::File, io, io::Write as _, path::Path};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::{recipe::Content, report::Exit};

use super::Try;
use crate::{folder::Folder, owner};

pub fn act(this: &mut Try<'_>, to: &str, content: &Content, mode: u32, owner: Option<&str>) -> Result<Exit> {
    let owner = owner::find(this.machine, owner)?;
    let path = Path::new(to);
    let name = path.file_name().with_context(|| format!("`{to}` names no file"))?;
    let folder = Folder::create(&this.machine.path("/"), path.parent().unwrap_or(Path::new("/")))?;
    let mut part = folder.begin()?;
    match content {
        Content::Inline(text) => part.file.write_all(text.as_bytes())?,
        Content::Source(source) => {
            let mut from = File::open(this.machine.source(source)?).with_context(|| source.clone())?;
            io::copy(&mut from, &mut part.file).with_context(|| format!("copy `{source}`"))?;
        }
    }
    part.file.sync_all()?;
    part.finish(name, mode, owner)?;
    Ok(Exit::Status(0))
}

/// Writes a text whole or not at all, for everybody to read.
pub fn write(this: &mut Try<'_>, to: &str, text: String) -> Result<()> {
    act(this, to, &Content::Inline(text), 0o644, None).map(drop)
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

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
        let (exit, _) =
            stage.act(file("/etc/it", inline("new"), 0o644, Some("no-such-user-of-this-machine")));
        assert!(exit.to_string().contains("no user `no-such-user-of-this-machine`"), "{exit}");
        let (exit, _) = stage.act(file("/etc/it", Content::Source("nothing".into()), 0o644, None));
        assert!(exit.to_string().contains("`nothing`"), "{exit}");
        assert_eq!(fs::read_to_string(stage.machine.path("/etc/it")).unwrap(), "old");
        assert_eq!(fs::read_dir(stage.machine.path("/etc")).unwrap().count(), 1);
    }

    #[test]
    fn an_owner_is_given() {
        let stage = Stage::new();
        let (user, group) = match nix::unistd::geteuid().is_root() {
            true => (12345, 12346),
            false => (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw()),
        };
        let owner = format!("{user}:{group}");
        let (exit, output) = stage.act(file("/etc/it", inline("x"), 0o600, Some(&owner)));
        assert_eq!(exit, Exit::Status(0), "{output}");
        let file = fs::metadata(stage.machine.path("/etc/it")).unwrap();
        assert_eq!((file.uid(), file.gid()), (user, group));
    }
}
