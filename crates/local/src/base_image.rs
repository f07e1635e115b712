//! The base of every machine: a Debian root file system, made once by `mmdebstrap` and kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use ovenbird_core::domain::digest;
use ovenbird_sim::{ApiError, BaseImage, DescribeImages, World};
use tokio::process::Command;

use crate::{
    deploy::architecture,
    root_settings::{self, CLOUD_INIT, FORGET, MASKED},
};

/// The Debian release.
pub const SUITE: &str = "bookworm";

/// What the base has beyond a minimal Debian: an init, cloud-init, and what recipes take for granted because Debian's own
/// image for clouds has it. Without sudo's sudoers file, cloud-init makes one in which root is missing, and every
/// `become_user` of Ansible fails.
const PACKAGES: &str = "systemd-sysv,dbus,libpam-systemd,cloud-init,ca-certificates,curl,iproute2,mount,netbase,procps,\
                        sudo,openssh-server,python3,gnupg,less,lsb-release,psmisc,wget,xz-utils";

/// The base that the images of a world lie on: the newest that it knows and that is still there; none when it has no
/// images, or knows none of the bases.
///
/// A layer holds what is different from the base below it: over another one, with other packages, it would be a Debian
/// that never was.
pub(crate) fn under(world: &World, cache: &Path) -> Result<Option<PathBuf>, ApiError> {
    let images = world.describe_images(&DescribeImages::default())?.items;
    let public: Vec<_> = images.iter().filter(|image| image.public).collect();
    if public.len() == images.len() {
        return Ok(None);
    }
    let folders = fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path());
    let known = folders.filter(|folder| folder.extension().is_none()).filter_map(|folder| {
        let name = image(&folder).name;
        let registered = public.iter().find(|image| image.name == name)?.created;
        Some((registered, folder))
    });
    Ok(known.max().map(|(_, folder)| folder))
}

/// What a base is as a public image. The same base has the same name, and keeps its id.
pub(crate) fn image(base: &Path) -> BaseImage {
    let name = base.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let version = name.rsplit('-').next().unwrap_or(&name);
    BaseImage {
        description: "The base of local machines".to_owned(),
        ..BaseImage::debian_12(version, architecture())
    }
}

/// A base under this name is whole: it is renamed to it when it is finished.
pub fn path(cache: &Path) -> PathBuf {
    let contents = [SUITE, PACKAGES, CLOUD_INIT, FORGET, &MASKED.join(" ")].join("\n");
    cache.join(format!("debian-{SUITE}-{}", &digest::sha256(contents.as_bytes()).as_str()[..12]))
}

/// Makes the base unless it is there; gives its folder.
pub async fn make(cache: &Path) -> io::Result<PathBuf> {
    let finished = path(cache);
    if finished.is_dir() {
        return Ok(finished);
    }
    fs::create_dir_all(cache)?;
    // Of clouds that come up at once one makes it, and the others wait: they would write into one folder.
    let mut how = fs::File::options();
    let file = how.read(true).write(true).create(true).truncate(false).open(cache.join("base.lock"))?;
    let waiting = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
    let lock = waiting.await.map_err(io::Error::other)??;
    if finished.is_dir() {
        return Ok(finished);
    }
    let unfinished = finished.with_extension("unfinished");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished)?;
    }
    let mut command = Command::new("mmdebstrap");
    command
        .arg("--quiet")
        .arg("--variant=apt")
        .arg(format!("--include={PACKAGES}"))
        .arg(SUITE)
        .arg(&unfinished);
    // A host of the same release knows which mirror is near; any other gets Debian's own, and Debian's keys: on an
    // Ubuntu, apt trusts Ubuntu's alone.
    match host_sources() {
        Some(sources) => command.arg(sources),
        None => command.arg("--keyring=/usr/share/keyrings/debian-archive-keyring.gpg"),
    };
    // The lock is held for as long as anything of it runs: one whose cloud was killed goes on for a while.
    let output = command.stdin(lock.try_clone()?).output().await?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = text.lines().rev().take(8).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(io::Error::other(format!("mmdebstrap ended with {}:\n{tail}", output.status)));
    }
    root_settings::apply(&unfinished)?;
    // What has the name is believed to be whole, also after a power cut.
    nix::unistd::syncfs(fs::File::open(&unfinished)?)?;
    fs::rename(&unfinished, &finished)?;
    Ok(finished)
}

fn host_sources() -> Option<PathBuf> {
    let release = fs::read_to_string("/etc/os-release").ok()?;
    let sources = PathBuf::from("/etc/apt/sources.list.d/debian.sources");
    let list = PathBuf::from("/etc/apt/sources.list");
    let same = release.contains(SUITE);
    [sources, list].into_iter().find(|path| same && fs::metadata(path).is_ok_and(|file| file.len() > 0))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use ovenbird_sim::{InstanceState, MachineEvent};

    use super::*;

    /// A world with a base, and, if wanted, an image of an instance of it.
    fn world(base: &Path, with_image: bool) -> World {
        let mut world = World::new("123456789012", "us-east-1");
        let now = Timestamp::UNIX_EPOCH;
        let id = world.register_base(now, &image(base));
        if with_image {
            let launch = ovenbird_sim::RunInstances {
                image: id.to_string(),
                instance_type: Some("t3.micro".into()),
                min_count: 1,
                max_count: 1,
                ..ovenbird_sim::RunInstances::default()
            };
            let instance = world.run_instances(now, &launch).unwrap()[0].id.clone();
            world.apply(now, MachineEvent::Booted { instance: instance.clone() });
            let seen = world.describe_instances(now, &[], &[], &ovenbird_sim::Paging::default()).unwrap();
            assert_eq!(seen.items[0].state, InstanceState::Running);
            let request = ovenbird_sim::CreateImage {
                instance: instance.to_string(),
                name: "baked".into(),
                ..ovenbird_sim::CreateImage::default()
            };
            world.create_image(now, &request).unwrap();
        }
        world
    }

    #[test]
    fn images_stay_on_the_base_that_they_were_made_of() {
        let cache = tempfile::tempdir().unwrap();
        let [before, other] =
            ["debian-bookworm-before", "debian-bookworm-other"].map(|name| cache.path().join(name));
        fs::create_dir(&before).unwrap();
        fs::create_dir(&other).unwrap();
        fs::create_dir(before.with_extension("unfinished")).unwrap();
        assert_eq!(under(&world(&before, true), cache.path()).unwrap(), Some(before.clone()));
        assert_eq!(
            under(&world(&before, false), cache.path()).unwrap(),
            None,
            "it has no images to lie on it"
        );
        fs::remove_dir(&before).unwrap();
        assert_eq!(under(&world(&before, true), cache.path()).unwrap(), None, "it is gone");
    }
}
