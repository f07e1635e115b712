//! The cable between a machine's network and the cloud's bridge.

use std::{io, net::Ipv4Addr};

use super::{
    address::{GATEWAY, PREFIX, mac},
    forward::run_inside,
};

/// A machine's cable.
#[derive(Debug, Clone)]
pub(super) struct Cable {
    /// The process that holds the cloud's network.
    pub cloud_pid: u32,
    /// The name of its end at the bridge (at most 15 characters).
    pub link: String,
}

impl Cable {
    /// Lays it to the network of a process, which then has an address, and a way out.
    ///
    /// It is laid from outside: neither side has rights in the other's network. What comes out of the machine with
    /// another address than its own is dropped, for the metadata service knows a machine by its address.
    pub async fn lay(&self, pid: u32, address: Ipv4Addr) -> io::Result<()> {
        let (link, mac) = (&self.link, mac(address));
        run(
            self.cloud_pid,
            &["ip", "-batch", "-"],
            &format!(
                "link add {link} type veth peer name eth0 address {mac} netns {pid}\n\
                 link set {link} master br0 up\n"
            ),
        )
        .await?;
        run(
            self.cloud_pid,
            &["nft", "--file", "-"],
            // It goes with the cable.
            &format!(
                "table netdev machines {{\n\
                 chain {link} {{\n\
                 type filter hook ingress device \"{link}\" priority 0; policy drop;\n\
                 ether saddr {mac} ip saddr {address} accept\n\
                 ether saddr {mac} arp saddr ether {mac} arp saddr ip {address} accept\n\
                 }}\n\
                 }}\n"
            ),
        )
        .await?;
        run(
            pid,
            &["ip", "-batch", "-"],
            &format!(
                "link set lo up\n\
                 addr add {address}/{PREFIX} dev eth0\n\
                 link set eth0 up\n\
                 route add default via {GATEWAY}\n"
            ),
        )
        .await
    }

    /// Takes it out. The network of a machine that ended stays for as long as a socket in it is open, and answers for
    /// the machine's address: the same instance started again would lose what is sent to it, and cloud-init waits for
    /// an answer of IMDS for ever.
    pub async fn unplug(&self) {
        // It fails when the machine's network is gone already, and the cable with it.
        let _ = run(self.cloud_pid, &["ip", "link", "delete", &self.link], "").await;
    }
}

async fn run(pid: u32, program: &[&str], input: &str) -> io::Result<()> {
    let ran = run_inside(pid, program, input).await;
    ran.map_err(|error| io::Error::other(format!("lay its cable: {error}")))
}
