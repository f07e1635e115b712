//! What a root file system gets to be a machine's here: where cloud-init asks, what is not started, and no identity.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
};

use crate::network::RESOLVER;

/// cloud-init asks our IMDS and nothing else; without the address it first tries a name and waits for DNS.
pub(crate) const CLOUD_INIT: &str = "datasource_list: [Ec2]
datasource:
  Ec2:
    strict_id: false
    metadata_urls: [\"http://169.254.169.254:80\"]
    max_wait: 10
    timeout: 2
network: {config: disabled}
manage_etc_hosts: true
# One kind of key: each costs time at the first boot.
ssh_genkeytypes: [ed25519]
no_ssh_fingerprints: true
# What a machine in namespaces has no use for: disks to grow, packages to refresh.
cloud_init_modules: [write-files, set_hostname, update_hostname, update_etc_hosts, users-groups, ssh]
cloud_config_modules: [runcmd]
cloud_final_modules: [scripts-per-once, scripts-per-boot, scripts-per-instance, scripts-user, final-message]
";

/// What cloud-init remembers of the machine that its disk was last in is not to be trusted: it may be an image's.
///
/// Its local stage would look, but that is masked (see below). It then asks IMDS at every boot, as it does on EC2.
pub(crate) const FORGET: &str = "[Service]
ExecStartPre=/bin/rm -f /var/lib/cloud/instance/obj.pkl
";

/// Units that are slow, or make no sense in a machine that shares the host's kernel. cloud-init's local stage
/// asks for an address by DHCP and waits; here the network is up before the machine boots.
pub(crate) const MASKED: &[&str] = &[
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

/// What `OpenRC` leaves out in a container: hardware, disks and clocks. The machine's network is up when it boots.
const OPENRC: &str = "rc_sys=\"lxc\"\nrc_provide=\"net\"\n";

/// From release 24.3 on, one process is all stages of cloud-init, and waits for the unit of each.
const ONE_PROCESS: &str = "cloud-init-main.service";

/// Its local stage can't be left out, and would wait half a minute for an address by DHCP: it gets the one client that
/// is in no base with cloud-init. Where the network is up already, the next stage asks IMDS.
const NO_DHCP: &str = "system_info: {network: {dhcp_client_priority: [udhcpc]}}\n";

/// Writes the settings into a root that no machine has booted from.
///
/// What is in the root may come from anywhere, and this is the host's root: no link in it is followed.
pub(crate) fn apply(root: &Path) -> io::Result<()> {
    let one_process = ["usr/lib", "lib"]
        .iter()
        .any(|lib| root.join(lib).join("systemd/system").join(ONE_PROCESS).is_file());
    if root.join("etc/cloud").is_dir() {
        let more = if one_process { NO_DHCP } else { "" };
        write(root, "etc/cloud/cloud.cfg.d/90_ovenbird.cfg", &format!("{CLOUD_INIT}{more}"))?;
        let unit = if one_process { ONE_PROCESS } else { "cloud-init.service" };
        write(root, &format!("etc/systemd/system/{unit}.d/ovenbird.conf"), FORGET)?;
    }
    if root.join("etc/systemd").is_dir() {
        for unit in MASKED.iter().filter(|unit| !one_process || **unit != "cloud-init-local.service") {
            let link = within(root, &format!("etc/systemd/system/{unit}"))?;
            if !link.is_symlink() {
                remove(&link)?;
                symlink("/dev/null", link)?;
            }
        }
        // Here journald keeps what it writes.
        within(root, "var/log/journal/it")?;
        write(root, "etc/machine-id", "")?;
    }
    if let Some(settings) = read(root, "etc/rc.conf")? {
        write(root, "etc/rc.conf", &format!("{settings}\n{OPENRC}"))?;
    }
    if let Some(table) = read(root, "etc/inittab")? {
        write(root, "etc/inittab", &without_terminals(&table))?;
    }
    // A resolver that is slow to fail would hold up every boot.
    write(root, "etc/resolv.conf", &format!("nameserver {RESOLVER}\noptions timeout:1 attempts:2\n"))?;
    // An image's identity is each instance's own; cloud-init makes keys of its own in each.
    if !root.join("etc/ssh").is_dir() {
        return Ok(());
    }
    for entry in fs::read_dir(within(root, "etc/ssh/it")?.with_file_name(""))? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"ssh_host_")) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// The lines of an `inittab` that wait for somebody at a terminal are taken out: a machine here has none.
fn without_terminals(table: &str) -> String {
    let line = |line: &str| match line.contains("getty") && !line.starts_with('#') {
        true => format!("#{line}\n"),
        false => format!("{line}\n"),
    };
    table.lines().map(line).collect()
}

/// What is in a file, if it is there and is one.
fn read(root: &Path, path: &str) -> io::Result<Option<String>> {
    match fs::symlink_metadata(root.join(path)) {
        Ok(about) if about.is_file() => fs::read_to_string(within(root, path)?).map(Some),
        Ok(_) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes a file anew, whatever was in its place.
fn write(root: &Path, path: &str, text: &str) -> io::Result<()> {
    let path = within(root, path)?;
    remove(&path)?;
    fs::write(path, text)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// A path in a root. Its folders are made; a link in place of one of them would lead to the host's.
fn within(root: &Path, path: &str) -> io::Result<PathBuf> {
    let mut here = root.to_owned();
    let parts: Vec<Component<'_>> = Path::new(path).components().collect();
    let Some((last, folders)) = parts.split_last() else { return Ok(here) };
    for folder in folders {
        here.push(folder);
        match fs::symlink_metadata(&here) {
            Ok(about) if about.is_dir() => {}
            Ok(_) => {
                let shown = here.strip_prefix(root).unwrap_or(&here).display().to_string();
                return Err(io::Error::other(format!("`/{shown}` of the root is no folder")));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&here)?,
            Err(error) => return Err(error),
        }
    }
    Ok(here.join(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(folders: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        root
    }

    #[test]
    fn no_link_of_a_root_is_followed() {
        let host = root(&["cloud", "ssh", "systemd"]);
        fs::write(host.path().join("resolv.conf"), "the host's").unwrap();
        fs::write(host.path().join("ssh/ssh_host_ed25519_key"), "the host's").unwrap();
        let untouched = |host: &Path| {
            assert_eq!(fs::read_to_string(host.join("resolv.conf")).unwrap(), "the host's");
            assert!(host.join("ssh/ssh_host_ed25519_key").exists());
            assert_eq!(fs::read_dir(host).unwrap().count(), 4);
            assert_eq!(fs::read_dir(host.join("systemd")).unwrap().count(), 0);
        };
        for link in ["etc", "etc/cloud", "etc/ssh", "etc/systemd"] {
            let root = root(&[]);
            let path = root.path().join(link);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            symlink(host.path().join(link.trim_start_matches("etc").trim_start_matches('/')), path).unwrap();
            let error = apply(root.path()).unwrap_err().to_string();
            assert_eq!(error, format!("`/{link}` of the root is no folder"));
            untouched(host.path());
        }
        let root = root(&["etc"]);
        for name in ["resolv.conf", "rc.conf", "inittab"] {
            symlink(host.path().join("resolv.conf"), root.path().join("etc").join(name)).unwrap();
        }
        apply(root.path()).unwrap();
        untouched(host.path());
        assert!(fs::read_to_string(root.path().join("etc/resolv.conf")).unwrap().starts_with("nameserver"));
        assert!(root.path().join("etc/inittab").is_symlink());
    }

    #[test]
    fn a_cloud_init_of_one_process_keeps_its_local_stage_and_asks_nobody_for_an_address() {
        for (units, local_is_masked) in [("cloud-init.service", true), (ONE_PROCESS, false)] {
            let root = root(&["etc/cloud", "etc/systemd/system", "usr/lib/systemd/system"]);
            let path = |path: &str| root.path().join(path);
            fs::write(path("usr/lib/systemd/system").join(units), "").unwrap();
            apply(root.path()).unwrap();
            assert_eq!(path("etc/systemd/system/cloud-init-local.service").is_symlink(), local_is_masked);
            assert!(path("etc/systemd/system/apt-daily.timer").is_symlink());
            assert!(path(&format!("etc/systemd/system/{units}.d/ovenbird.conf")).is_file());
            let settings = fs::read_to_string(path("etc/cloud/cloud.cfg.d/90_ovenbird.cfg")).unwrap();
            assert_eq!(settings.contains("dhcp_client_priority"), !local_is_masked);
            assert_eq!(fs::read_to_string(path("etc/machine-id")).unwrap(), "");
        }
    }

    #[test]
    fn a_root_of_openrc_knows_that_it_is_in_a_container() {
        let root = root(&["etc"]);
        fs::write(root.path().join("etc/rc.conf"), "rc_logger=\"YES\"\n").unwrap();
        fs::write(
            root.path().join("etc/inittab"),
            "::sysinit:/sbin/openrc sysinit\ntty1::respawn:/sbin/getty tty1\n",
        )
        .unwrap();
        apply(root.path()).unwrap();
        let read = |name: &str| fs::read_to_string(root.path().join("etc").join(name)).unwrap();
        assert!(
            read("rc.conf").starts_with("rc_logger=\"YES\"\n")
                && read("rc.conf").contains("rc_sys=\"lxc\"\n")
        );
        assert_eq!(read("inittab"), "::sysinit:/sbin/openrc sysinit\n#tty1::respawn:/sbin/getty tty1\n");
        assert!(!root.path().join("etc/machine-id").exists(), "only systemd makes one at boot");
    }
}
