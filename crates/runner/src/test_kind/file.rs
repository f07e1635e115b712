//! `file`: it is there with what it should have, or it is not there.

use std::{fs, io::Read as _, os::unix::fs::PermissionsExt as _};

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::domain::report::Exit;

use super::{asked, contains};
use crate::{machine::Machine, mask::Mask};

/// How much of a file is searched for a text.
const SEARCHED: u64 = 64 << 20;

/// What is asked of a file.
pub struct Asked<'a> {
    pub exists: bool,
    pub contains: Option<&'a str>,
    pub mode: Option<u32>,
    pub owner: Option<&'a str>,
}

pub fn look(machine: &Machine, path: &str, wanted: &Asked<'_>, mask: &Mask) -> Result<String> {
    let file = machine.path(path);
    if !wanted.exists {
        // A link to nothing is something, too.
        ensure!(fs::symlink_metadata(&file).is_err(), "{path} is there");
        return Ok(format!("{path} is not there"));
    }
    let kind = fs::metadata(&file).with_context(|| format!("{path} is not there"))?;
    if let Some(mode) = wanted.mode {
        let seen = kind.permissions().mode() & 0o7777;
        ensure!(seen == mode, "{path} has mode {seen:04o}, not {mode:04o}");
    }
    if let Some(owner) = wanted.owner {
        owned(machine, path, owner)?;
    }
    if let Some(text) = wanted.contains {
        ensure!(kind.is_file(), "{path} is no file");
        let mut content = Vec::new();
        fs::File::open(&file)?
            .take(SEARCHED)
            .read_to_end(&mut content)
            .with_context(|| format!("read {path}"))?;
        contains(path, &String::from_utf8_lossy(&content), Some(text), mask)?;
    }
    Ok(format!("{path} is as it should be"))
}

/// By the machine's own program: a static one can't ask the machine's name services.
fn owned(machine: &Machine, path: &str, owner: &str) -> Result<()> {
    let file = machine.path(path).display().to_string();
    let answer = asked(machine, "stat", &["-L", "-c", "%U:%G:%u:%g", &file])?;
    ensure!(answer.exit == Exit::Status(0), "stat: {}", answer.complaint());
    let text = answer.text();
    let [user, group, uid, gid] = text.trim().split(':').collect::<Vec<_>>()[..] else {
        bail!("stat of {path} printed {text:?}");
    };
    let (wanted_user, wanted_group) = owner.split_once(':').map_or((owner, None), |(u, g)| (u, Some(g)));
    let right = (wanted_user == user || wanted_user == uid)
        && wanted_group.is_none_or(|wanted| wanted == group || wanted == gid);
    ensure!(right, "{path} belongs to {user}:{group}, not {owner}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::machine;
    use super::*;

    const ANY: Asked<'_> = Asked { exists: true, contains: None, mode: None, owner: None };

    #[test]
    fn a_file_is_judged_by_all_that_is_asked() {
        let (_root, machine) = machine();
        let path = machine.path("/it");
        fs::write(&path, "hello world").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let look =
            |asked| look(&machine, "/it", &asked, &Mask::default()).map_err(|error| format!("{error:#}"));
        assert!(look(ANY).is_ok());
        assert!(look(Asked { contains: Some("world"), mode: Some(0o640), ..ANY }).is_ok());
        assert_eq!(look(Asked { contains: Some("x"), ..ANY }).unwrap_err(), "/it has no \"x\": hello world");
        assert_eq!(look(Asked { mode: Some(0o600), ..ANY }).unwrap_err(), "/it has mode 0640, not 0600");
        assert_eq!(look(Asked { exists: false, ..ANY }).unwrap_err(), "/it is there");
        let (user, group) = (nix::unistd::geteuid().to_string(), nix::unistd::getegid().to_string());
        assert!(look(Asked { owner: Some(&user), ..ANY }).is_ok());
        let both = format!("{user}:{group}");
        assert!(look(Asked { owner: Some(&both), ..ANY }).is_ok());
        let error = look(Asked { owner: Some("daemon:daemon"), ..ANY }).unwrap_err();
        assert!(error.ends_with("not daemon:daemon"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_there_is_judged_too() {
        let (_root, machine) = machine();
        assert!(look(&machine, "/no", &Asked { exists: false, ..ANY }, &Mask::default()).is_ok());
        assert!(
            look(&machine, "/no", &ANY, &Mask::default())
                .unwrap_err()
                .to_string()
                .contains("/no is not there")
        );
        std::os::unix::fs::symlink("nothing", machine.path("/link")).unwrap();
        assert!(look(&machine, "/link", &Asked { exists: false, ..ANY }, &Mask::default()).is_err());
    }
}
