//! What runs on this machine beside the local cloud that is asked for: other local clouds, and who has a port.

use std::{fs, path::PathBuf};

use serde::Serialize;

use crate::options::Options;

/// A local cloud that runs on this machine, whoever's home it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunningCloud {
    /// Its home.
    pub home: PathBuf,
    /// Its endpoint's port on loopback.
    pub port: u16,
    /// The name of the stack that is deployed to it.
    pub stack: String,
    /// Its supervisor's process.
    pub pid: u32,
}

/// The local clouds that run on this machine, as far as their processes may be looked at.
pub fn running() -> Vec<RunningCloud> {
    let mut found: Vec<RunningCloud> = processes().filter_map(supervisor).collect();
    found.sort_by(|a, b| a.port.cmp(&b.port).then_with(|| a.pid.cmp(&b.pid)));
    found
}

fn processes() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// A supervisor says in its command line how it is to be.
fn supervisor(pid: u32) -> Option<RunningCloud> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&str> = std::str::from_utf8(&line).ok()?.trim_end_matches('\0').split('\0').collect();
    let [_, "local", "serve", "--options", options] = words.as_slice() else { return None };
    let Options { home, port, stack, .. } = serde_json::from_str(options).ok()?;
    Some(RunningCloud { home: home.root().to_owned(), port, stack, pid })
}

/// A program that listens on a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listener {
    /// Its process.
    pub pid: u32,
    /// Its name, as `ps` shows it.
    pub program: String,
}

/// Who listens on a port of this machine; none when nobody does, or when it may not be known: only root may look into
/// the processes of others.
pub(crate) fn listener(port: u16) -> Option<Listener> {
    let sockets: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening(&table, port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    if sockets.is_empty() {
        return None;
    }
    let has = |pid: &u32| {
        let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
        links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
    };
    let pid = processes().find(has)?;
    let program = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(Listener { pid, program: program.trim().to_owned() })
}

/// The inodes of the sockets that listen on a port, in the kernel's table of sockets.
fn listening(table: &str, port: u16) -> Vec<String> {
    /// The kernel's number of a socket that listens.
    const LISTEN: &str = "0A";
    let port = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours = rows.filter(|row| {
        row.get(1).is_some_and(|address| address.ends_with(&port)) && row.get(3) == Some(&LISTEN)
    });
    ours.filter_map(|row| row.get(9).map(|inode| (*inode).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn who_listens_on_a_port_is_found() {
        let ours = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = ours.local_addr().unwrap().port();
        assert_eq!(listener(port).map(|found| found.pid), Some(std::process::id()));
        drop(ours);
        assert_eq!(listener(port), None);
    }

    #[test]
    fn only_a_socket_that_listens_has_a_port() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:11D6 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0 0 10 0
   1: 0100007F:11D6 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 20 4 30 10 -1
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4713 1 0 100 0 0 10 0
";
        assert_eq!(listening(table, 4566), ["4711"]);
        assert_eq!(listening(table, 8080), ["4713"]);
        assert!(listening(table, 80).is_empty());
    }
}
