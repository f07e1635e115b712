//! A shield before the metadata service: until the builder is sealed, it answers root alone.
//!
//! Its user data has the URLs of the reports, and a role may be there to read secrets. Neither is for the programs that the
//! recipe sets up. It is a routing rule, and not one of a firewall: those are saved by recipes, and would be in the image.
//! The rule is gone with the boot.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::{machine::Machine, process::ask};

const ADDRESSES: [(&str, &str); 2] = [("-4", "169.254.169.254/32"), ("-6", "fd00:ec2::254/128")];

/// Before the rules of the main table, which are at 32766, and after the kernel's own.
const RULE: [&str; 4] = ["priority", "50", "prohibit", "to"];

/// The last user of a machine that has all of them.
const LAST: u32 = u32::MAX - 1;

/// How long `ip` may take.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(30);

/// Puts the shield up; once more is as good as once.
pub fn begin(machine: &Machine) -> Result<()> {
    let ip = machine.program("ip", &[]).context("there is no `ip` on this machine")?;
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let users = all_but_root(&map);
    for (family, address) in ADDRESSES {
        let rule = |verb| {
            let mut command = machine.command(&ip);
            command.args([family, "rule", verb, "uidrange", &users]).args(RULE).arg(address);
            ask(command, b"", LIMIT)
        };
        // There is none, most of the time.
        let _ = rule("del");
        let answer = rule("add")?;
        // A machine without IPv6 has nothing to shield there.
        ensure!(
            answer.exit.is_success() || family == "-6",
            "ip rule: {}: {}",
            answer.exit,
            answer.complaint()
        );
    }
    Ok(())
}

/// Every user but root: the kernel refuses a range with users that the machine doesn't have. In a user namespace, as
/// that of a container, it has only some, as `/proc/self/uid_map` says (`user_namespaces(7)`).
fn all_but_root(map: &str) -> String {
    let last = map.lines().filter_map(|line| {
        let mut numbers = line.split_whitespace();
        let (first, count): (u32, u32) = (numbers.next()?.parse().ok()?, numbers.nth(1)?.parse().ok()?);
        first.checked_add(count)?.checked_sub(1)
    });
    format!("1-{}", last.max().unwrap_or(LAST).min(LAST))
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_machine_has_the_users_of_its_namespace() {
        assert_eq!(all_but_root("         0          0 4294967295\n"), "1-4294967294");
        assert_eq!(all_but_root("         0 1073741824      65536\n"), "1-65535");
        assert_eq!(all_but_root("0 1000 1\n1 100000 65536\n"), "1-65536");
        assert_eq!(all_but_root(""), "1-4294967294", "a kernel without user namespaces");
    }

    /// In a network of its own, with the machine's own `ip` and kernel.
    #[test]
    fn root_reaches_the_metadata_service_and_others_do_not() {
        let script = format!(
            "set -e; ip link set lo up; ip link add d0 type veth peer name d1; ip link set d1 up; ip link set d0 up\n\
             ip addr add 10.9.9.1/24 dev d0; ip route add 169.254.169.254/32 dev d0\n\
             ip rule add uidrange {} {} 169.254.169.254/32\n\
             ip route get 169.254.169.254 uid 0 >/dev/null\n\
             ! ip route get 169.254.169.254 uid 1000 2>/dev/null\n\
             ip route get 10.9.9.2 uid 1000 >/dev/null",
            all_but_root(&fs::read_to_string("/proc/self/uid_map").unwrap_or_default()),
            RULE.join(" ")
        );
        let output =
            Command::new("unshare").args(["--net", "sh", "-c", &script]).stdin(Stdio::null()).output();
        let Ok(output) = output else { return println!("SKIPPED: no unshare") };
        let said = String::from_utf8_lossy(&output.stderr);
        if said.contains("unshare") || said.contains("ip: not found") {
            return println!("SKIPPED: {said}");
        }
        assert!(output.status.success(), "{said}");
    }

    #[test]
    fn a_machine_that_can_t_put_it_up_says_why() {
        let root = tempfile::tempdir().unwrap();
        let machine = Machine::new(root.path().to_str().unwrap());
        assert!(begin(&machine).unwrap_err().to_string().contains("no `ip`"));
        let (draft, path) = (root.path().join("draft"), machine.path("/usr/sbin/ip"));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&draft, "#!/bin/sh\necho 'Error: argument \"uidrange\" is wrong' >&2; exit 255\n").unwrap();
        let installed = Command::new("install").args(["-m", "755"]).args([&draft, &path]).status();
        assert!(installed.unwrap().success());
        let error = begin(&machine).unwrap_err().to_string();
        assert!(error.contains("\"uidrange\" is wrong"), "{error}");
    }
}
