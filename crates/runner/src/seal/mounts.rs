//! What is mounted on the machine, and what of it is a part of the machine's own disk layout.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::machine::Machine;

/// The mount points below the machine's root.
#[derive(Debug, Default)]
pub struct Mounts {
    /// All of them.
    points: BTreeSet<PathBuf>,
    /// Those of whole file systems on a disk that `/etc/fstab` mounts: `/var/log` of a hardened base. They are in the
    /// image as the root is. A bind mount, an ISO, a share or a tmpfs is somebody else's, or nobody's.
    own: BTreeSet<PathBuf>,
    /// Those of what is in no image: in memory, or on a share.
    elsewhere: BTreeSet<PathBuf>,
}

/// File systems that are in no image.
const ELSEWHERE: &[&str] = &["tmpfs", "ramfs", "nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "lustre"];

/// Where firmware looks for what it boots: systemd mounts it without a line in `fstab`.
const BOOT: &[&str] = &["/boot", "/boot/efi", "/efi"];

impl Mounts {
    pub fn of(machine: &Machine) -> Self {
        // A test's machine without `/proc` has what the devices of its folders tell, and no more.
        let mounted = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let planned = fs::read_to_string(machine.path("/etc/fstab")).unwrap_or_default();
        Self::read(&mounted, &planned, &machine.path("/"))
    }

    fn read(mounted: &str, planned: &str, root: &Path) -> Self {
        let planned: BTreeSet<PathBuf> = planned.lines().filter_map(planned_point).collect();
        let mut mounts = Self::default();
        for line in mounted.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let Some(end) = words.iter().position(|word| *word == "-") else { continue };
            let (Some(within), Some(point)) = (words.get(3), words.get(4)) else { continue };
            let (kind, source) = (words.get(end + 1).copied(), words.get(end + 2).copied());
            let Ok(point) =
                PathBuf::from(plain(point)).strip_prefix(root).map(|rest| Path::new("/").join(rest))
            else {
                continue;
            };
            // A subvolume of btrfs is a folder of its file system, as a bind mount's is.
            let whole = *within == "/" || kind == Some("btrfs");
            let on_disk = source.is_some_and(|source| source.starts_with("/dev/")) && kind != Some("iso9660");
            let wanted = planned.contains(&point) || BOOT.iter().any(|boot| point == Path::new(boot));
            if whole && on_disk && wanted {
                mounts.own.insert(point.clone());
            } else if kind.is_some_and(|kind| ELSEWHERE.contains(&kind)) {
                mounts.elsewhere.insert(point.clone());
            }
            mounts.points.insert(point);
        }
        mounts
    }

    /// Whether something is mounted here.
    pub fn has(&self, path: &Path) -> bool {
        self.points.contains(path)
    }

    /// Whether what is mounted here is a part of the machine's own disk layout.
    pub fn are_own(&self, path: &Path) -> bool {
        self.own.contains(path)
    }

    /// Whether what is mounted here is in no image.
    pub fn are_elsewhere(&self, path: &Path) -> bool {
        self.elsewhere.contains(path)
    }
}

/// The mount point of a line of `/etc/fstab`; none of a comment, a bind mount or swap.
fn planned_point(line: &str) -> Option<PathBuf> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [source, point, _, options, ..] = words[..] else { return None };
    let bound = options.split(',').any(|option| ["bind", "rbind", "loop"].contains(&option));
    (!source.starts_with('#') && point.starts_with('/') && !bound).then(|| PathBuf::from(plain(point)))
}

/// A path without the escapes that the kernel and `fstab` write for a space, a tab, a line end and a backslash.
fn plain(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (escape, letter)| path.replace(escape, letter))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTED: &str = "\
22 1 259:1 / / rw shared:1 - ext4 /dev/nvme0n1p1 rw
23 22 253:3 / /var/log rw shared:2 - xfs /dev/mapper/vg-log rw
24 22 0:40 /@home /home rw - btrfs /dev/nvme0n1p2 rw
25 22 259:1 /opt/app /tmp/app\\040one rw - ext4 /dev/nvme0n1p1 rw
26 22 0:41 / /var/tmp rw - tmpfs tmpfs rw
27 22 0:42 / /srv/share rw - nfs4 10.0.0.1:/share rw
28 22 7:0 / /tmp/iso ro - iso9660 /dev/loop0 ro
29 22 259:9 / /mnt/stick rw - ext4 /dev/nvme1n1 rw
30 22 259:1 /opt/data /srv/data rw - ext4 /dev/nvme0n1p1 rw
";
    const PLANNED: &str = "\
# /dev/x /mnt/stick ext4 defaults 0 0
UUID=1 / ext4 defaults 0 1
/dev/mapper/vg-log /var/log xfs nodev 0 0
UUID=4 /srv/data ext4 defaults 0 0
UUID=2 /home btrfs subvol=@home 0 0
/opt/app /tmp/app\\040one none bind 0 0
tmpfs /var/tmp tmpfs nodev 0 0
10.0.0.1:/share /srv/share nfs4 _netdev 0 0
/x.iso /tmp/iso iso9660 loop 0 0
UUID=3 none swap sw 0 0
";

    #[test]
    fn a_disk_of_fstab_is_the_machine_s_own_and_nothing_else_is() {
        let mounts = Mounts::read(MOUNTED, PLANNED, Path::new("/"));
        for own in ["/", "/var/log", "/home"] {
            assert!(mounts.are_own(Path::new(own)), "{own}");
        }
        for foreign in ["/tmp/app one", "/var/tmp", "/srv/share", "/tmp/iso", "/mnt/stick", "/srv/data"] {
            let foreign = Path::new(foreign);
            assert!(mounts.has(foreign) && !mounts.are_own(foreign), "{foreign:?}");
            let elsewhere = ["/var/tmp", "/srv/share"].map(Path::new).contains(&foreign);
            assert_eq!(mounts.are_elsewhere(foreign), elsewhere, "{foreign:?}");
        }
    }

    #[test]
    fn paths_are_those_below_the_machine_s_root() {
        let mounted =
            "29 22 259:9 / /m/1/var/log rw - ext4 /dev/nvme1n1 rw\n30 22 0:1 / /var rw - ext4 /dev/x rw\n";
        let mounts = Mounts::read(mounted, PLANNED, Path::new("/m/1/"));
        assert!(mounts.are_own(Path::new("/var/log")));
        assert!(!mounts.has(Path::new("/var")));
    }
}
