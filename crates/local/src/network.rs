//! The cloud's own network: one namespace with a bridge, and a way out for machines.
//!
//! A process of this program holds the namespace (`ovenbird cloud-net`), `slirp4netns` carries its packets out as
//! an ordinary program would. Both end with the supervisor; no link, address or firewall rule of the
//! host is changed. What of the way out is closed is in `network/way_out.rs`.

mod way_out;

use std::{
    convert::Infallible,
    fs, io,
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Command as StdCommand, ExitCode, Stdio},
};

use nix::{
    sched::{CloneFlags, unshare},
    sys::{prctl, signal::Signal},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
    task::AbortHandle,
};

use crate::machine::{GATEWAY, Metadata, mac, spawn};

/// The network while it is up.
#[derive(Debug)]
pub struct Network {
    holder: Child,
    way_out: Child,
    metadata: Metadata,
    tasks: [AbortHandle; 2],
}

impl Drop for Network {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// The address at which `slirp4netns` answers for the host's resolver.
pub const RESOLVER: &str = "10.0.2.3";

impl Network {
    /// Brings the network up.
    pub async fn start() -> io::Result<Self> {
        let mut command = Command::new("/proc/self/exe");
        command
            .arg("cloud-net")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut holder = spawn(command).await?;
        let pid = holder.id().ok_or_else(|| io::Error::other("the network's holder ended at once"))?;
        let mut line = String::new();
        if let Some(stdout) = holder.stdout.take() {
            BufReader::new(stdout).read_line(&mut line).await?;
        }
        if line.trim() != "ready" {
            let output = holder.wait_with_output().await?;
            return Err(io::Error::other(format!(
                "cloud network: {}",
                String::from_utf8_lossy(&output.stderr).trim()
            )));
        }
        // Before there is a way out.
        let guard = way_out::close_host(pid).await?;
        let mut command = Command::new("setpriv");
        command
            .args([
                "--pdeathsig",
                "KILL",
                "slirp4netns",
                "--configure",
                "--mtu=65520",
                "--disable-host-loopback",
                // It reads what machines send, and is root of the host otherwise.
                "--enable-sandbox",
                "--enable-seccomp",
            ])
            .args([&pid.to_string(), "tap0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let way_out = spawn(command).await?;
        let metadata = Metadata::default();
        let service = metadata.serve(pid)?;
        Ok(Self { holder, way_out, metadata, tasks: [service, guard] })
    }

    /// The process that holds the namespace.
    pub fn pid(&self) -> io::Result<u32> {
        self.holder.id().ok_or_else(|| io::Error::other("the cloud's network is gone"))
    }

    /// The metadata service of the machines in it.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// Its processes.
    pub fn pids(&self) -> Vec<u32> {
        [&self.holder, &self.way_out].into_iter().filter_map(Child::id).collect()
    }
}

/// The entry of `ovenbird cloud-net`: makes the namespace, and holds it until the supervisor's end.
pub fn main() -> ExitCode {
    let Err(error) = hold();
    eprintln!("{error}");
    ExitCode::FAILURE
}

/// Becomes the holder; comes back only with an error.
fn hold() -> io::Result<Infallible> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    unshare(CloneFlags::CLONE_NEWNET)?;
    let gateway = format!("{GATEWAY}/16");
    // One of its own: else a bridge takes the lowest of its ports', and with every machine that comes or goes all the
    // others may send to an address that is gone, until they ask for it again after up to 45 seconds.
    let hardware = mac(GATEWAY);
    let metadata = format!("{}/32", Metadata::ADDRESS);
    let rules = format!("{}\n{}", inner_rules(), way_out::rules());
    let commands: [&[&str]; 6] = [
        &["ip", "link", "set", "lo", "up"],
        &["ip", "addr", "add", &metadata, "dev", "lo"],
        &["ip", "link", "add", "br0", "address", &hardware, "type", "bridge"],
        &["ip", "addr", "add", &gateway, "dev", "br0"],
        &["ip", "link", "set", "br0", "up"],
        &["nft", &rules],
    ];
    for command in commands {
        let output = StdCommand::new(command[0]).args(&command[1..]).output()?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(io::Error::other(format!("{}: {}", command.join(" "), text.trim())));
        }
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    println!("ready");
    io::stdout().flush()?;
    // Until the supervisor closes its input, which its death does too. It only waits: a small program does.
    Err(StdCommand::new("cat").stdout(Stdio::null()).exec())
}

/// Of what listens in this namespace, machines reach the metadata service alone: `MiniStack` and functions are here, too.
///
/// Only what begins a connection is looked at, so that answers to health checks come in whatever the kernel remembers of
/// them.
fn inner_rules() -> String {
    let metadata = Metadata::ADDRESS;
    format!(
        "table ip nat {{
           chain out {{
             type nat hook postrouting priority 100;
             oifname tap0 masquerade
           }}
           chain in {{
             type filter hook input priority 0;
             iifname br0 ip daddr {metadata} tcp dport 80 accept
             iifname br0 tcp flags & (syn|ack) == syn drop
             iifname br0 meta l4proto != {{ tcp, icmp }} drop
           }}
         }}"
    )
}
