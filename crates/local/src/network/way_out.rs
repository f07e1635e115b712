//! What of the way out is closed: whatever machines and functions send leaves by a process of the host, to which the
//! host's own addresses are as near as any other.
//!
//! They reach the endpoint, which listens in their own networks, and the host's resolver. Everything else that listens
//! on the host is closed to them, at each of its addresses; when it gets another one, that is closed, too.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    ifaddrs::getifaddrs,
    libc,
    sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    },
};
use tokio::{io::unix::AsyncFd, task::AbortHandle};

use super::RESOLVER;
use crate::machine::run_inside;

/// How long to wait before the rules that couldn't be changed are tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The rules of the cloud's network, for nft. The set of the host's addresses is empty in them.
///
/// Closed as well are what no router passes on, the host's neighbours on its link (on an EC2 instance and in a container
/// of ECS, `169.254.0.0/16` has credentials), and everything of `slirp4netns`'s own network but the resolver's port: at
/// any other port its resolver's address is that of the host's resolver, which may be its loopback.
pub(super) fn rules() -> String {
    format!(
        "table ip way_out {{
           set host {{ type ipv4_addr; }}
           chain guard {{
             ip daddr {RESOLVER} tcp dport 53 accept
             ip daddr {RESOLVER} udp dport 53 accept
             ip daddr {{ 0.0.0.0/8, 10.0.2.0/24, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }} \
               reject with icmp type admin-prohibited
             ip daddr @host reject with icmp type admin-prohibited
           }}
           chain machines {{ type filter hook forward priority 0; oifname tap0 jump guard; }}
           chain functions {{ type filter hook output priority 0; oifname tap0 jump guard; }}
         }}"
    )
}

/// Closes the host's addresses to the network of a process, and keeps them closed until the handle is told to end it.
///
/// It must be called before that network has a way out.
pub(super) async fn close_host(pid: u32) -> io::Result<AbortHandle> {
    // The kernel is asked to tell of changes before the addresses are read: none is missed.
    #[expect(unsafe_code, reason = "the socket must stay open for as long as it is registered")]
    // SAFETY: it is given away here, and nobody closes it before it is dropped.
    let changes = unsafe { AsyncFd::register(changes()?) }.map_err(io::Error::from)?;
    let mut closed = own_addresses()?;
    close(pid, &closed).await?;
    let watch = async move {
        loop {
            match follow(pid, &changes, &mut closed).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!("an address of the host may be open to machines: {error}");
                    tokio::time::sleep(AGAIN).await;
                    // Whatever is closed now is not known for sure.
                    closed.clear();
                }
            }
        }
    };
    Ok(tokio::spawn(watch).abort_handle())
}

/// Waits for a change of the host's addresses, unless the last one isn't carried out yet, and carries it out.
async fn follow(pid: u32, changes: &AsyncFd<OwnedFd>, closed: &mut BTreeSet<Ipv4Addr>) -> io::Result<()> {
    if !closed.is_empty() {
        let mut ready = changes.readable().await?;
        // What has changed is not read from the message: there may have been more of them than the kernel keeps.
        let mut message = [0; 4096];
        match recv(changes.as_raw_fd(), &mut message, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ENOBUFS | Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                ready.clear_ready();
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
    }
    let now = own_addresses()?;
    if now != *closed {
        close(pid, &now).await?;
        *closed = now;
    }
    Ok(())
}

/// Replaces the set of the host's addresses, at one moment.
async fn close(pid: u32, addresses: &BTreeSet<Ipv4Addr>) -> io::Result<()> {
    let mut text = "flush set ip way_out host\n".to_owned();
    for address in addresses {
        let _ = writeln!(text, "add element ip way_out host {{ {address} }}");
    }
    run_inside(pid, &["nft", "--file", "-"], &text).await
}

/// The host's addresses; there is always one, loopback's.
fn own_addresses() -> io::Result<BTreeSet<Ipv4Addr>> {
    let addresses = getifaddrs()?.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    Ok(addresses.chain([Ipv4Addr::LOCALHOST]).collect())
}

/// A socket that can be read when an interface of the host has another address (rtnetlink(7)).
fn changes() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, libc::RTMGRP_IPV4_IFADDR.cast_unsigned()))?;
    Ok(socket)
}
