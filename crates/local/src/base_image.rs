//! The base of every machine: a Debian root file system, made once by `mmdebstrap` and kept.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use ovenbird_core::domain::digest;
use tokio::process::Command;

use crate::network::RESOLVER;

/// The Debian release.
pub const SUITE: &str = "bookworm";

/// What the base has beyond a minimal Debian: an init, cloud-init, and what recipes take for granted.
const PACKAGES: &str =
    "systemd-sysv,dbus,libpam-systemd,cloud-init,ca-certificates,curl,iproute2,mount,netbase,procps";

/// cloud-init asks our IMDS and nothing else; without the address it first tries a name and waits for DNS.
const CLOUD_INIT: &str = "datasource_list: [Ec2]
datasource:
  Ec2:
    strict_id: false
    metadata_urls: [\"http://169.254.169.254:80\"]
    max_wait: 10
    timeout: 2
network: {config: disabled}
manage_etc_hosts: true
# What a machine in namespaces has no use for: disks to grow, packages to refresh, keys nobody logs in with.
cloud_init_modules: [write-files, set_hostname, update_hostname, update_etc_hosts, users-groups]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message]
";

/// What cloud-init remembers of the machine that its disk was last in is not to be trusted: it may be an image's.
///
/// Its local stage would look, but that is masked (see below). It then asks IMDS at every boot, as it does on EC2.
const FORGET: &str = "[Service]
ExecStartPre=/bin/rm -f /var/lib/cloud/instance/obj.pkl
";

/// Units that are slow, or make no sense in a machine that shares the host's kernel. cloud-init's local stage
/// asks for an address by DHCP and waits; here the network is up before the machine boots.
const MASKED: &[&str] = &[
    "apt-daily.timer",
    "apt-daily-upgrade.timer",
    "cloud-init-local.service",
    "dpkg-db-backup.timer",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "fstrim.timer",
    "getty.target",
    "modprobe@.service",
    "systemd-binfmt.service",
    "systemd-firstboot.service", // it asks at the console, and waits for a key
    "systemd-hwdb-update.service",
    "systemd-modules-load.service",
    "systemd-networkd-wait-online.service",
    "systemd-timesyncd.service",
    "systemd-udev-trigger.service",
    "systemd-udevd.service",
    "systemd-pstore.service",
];

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
    let output = command.stdin(Stdio::null()).output().await?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let tail: Vec<&str> = text.lines().rev().take(8).collect();
        let tail = tail.into_iter().rev().collect::<Vec<_>>().join("\n");
        return Err(io::Error::other(format!("mmdebstrap ended with {}:\n{tail}", output.status)));
    }
    configure(&unfinished)?;
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

fn configure(root: &Path) -> io::Result<()> {
    fs::write(root.join("etc/cloud/cloud.cfg.d/90_ovenbird.cfg"), CLOUD_INIT)?;
    let forget = root.join("etc/systemd/system/cloud-init.service.d");
    fs::create_dir_all(&forget)?;
    fs::write(forget.join("ovenbird.conf"), FORGET)?;
    for unit in MASKED {
        let link = root.join("etc/systemd/system").join(unit);
        if !link.is_symlink() {
            std::os::unix::fs::symlink("/dev/null", link)?;
        }
    }
    let resolver = root.join("etc/resolv.conf");
    if resolver.is_symlink() {
        fs::remove_file(&resolver)?;
    }
    // A resolver that is slow to fail would hold up every boot.
    fs::write(resolver, format!("nameserver {RESOLVER}\noptions timeout:1 attempts:2\n"))?;
    // An image's identity is each instance's own.
    fs::write(root.join("etc/machine-id"), "")?;
    fs::create_dir_all(root.join("var/log/journal"))?;
    Ok(())
}
