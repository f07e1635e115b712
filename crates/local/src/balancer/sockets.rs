//! Where load balancers listen.
//!
//! Each load balancer has a loopback address of its own, so that all of them can have port 80. Its first two numbers
//! after 127 are the port of the endpoint: no two local clouds of a host share it.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{Ipv4Addr, SocketAddrV4, TcpListener},
    os::fd::{AsRawFd, RawFd},
    sync::{Mutex, MutexGuard, PoisonError},
};

use ovenbird_sim::World;

use crate::machine::listen_std;

/// The sockets of all listeners. They outlive the processes that take connections from them: while one makes room for
/// the next, connections wait in the kernel.
#[derive(Debug)]
pub(crate) struct Sockets {
    /// The endpoint's port.
    port: u16,
    /// The process in whose network the functions are; none where there is none.
    network: Option<u32>,
    open: Mutex<BTreeMap<SocketAddrV4, Vec<TcpListener>>>,
}

impl Sockets {
    /// None is open.
    pub(crate) fn new(port: u16, network: Option<u32>) -> Self {
        Self { port, network, open: Mutex::default() }
    }

    /// Gives every load balancer an address. One that has an address of this cloud keeps it.
    pub(crate) fn name(&self, world: &mut World) {
        let [high, low] = self.port.to_be_bytes();
        let own = |name: &str| {
            let address = name.parse::<Ipv4Addr>().ok();
            address
                .filter(|address| address.octets()[..3] == [127, high, low])
                .map(|address| address.octets()[3])
        };
        let named: Vec<_> = world.load_balancers().map(|one| (one.arn.clone(), own(&one.dns_name))).collect();
        let mut taken: BTreeSet<u8> = named.iter().filter_map(|(_, number)| *number).collect();
        for (arn, _) in named.into_iter().filter(|(_, number)| number.is_none()) {
            // There is room for five times as many as AWS allows.
            let Some(free) = (1..255).find(|number| !taken.contains(number)) else { return };
            taken.insert(free);
            let address = Ipv4Addr::new(127, high, low, free);
            if let Err(error) = world.set_dns_name(&arn, &address.to_string()) {
                tracing::warn!("{arn} has gone meanwhile: {error}");
            }
        }
    }

    /// Opens the sockets of an address, unless they are open: on the host, and where the functions are.
    pub(crate) fn open(&self, address: SocketAddrV4) -> io::Result<()> {
        let mut open = self.lock();
        if open.contains_key(&address) {
            return Ok(());
        }
        let mut sockets = vec![TcpListener::bind(address)?];
        if let Some(network) = self.network {
            sockets.push(listen_std(network, address.into())?);
        }
        for socket in &sockets {
            socket.set_nonblocking(true)?;
        }
        open.insert(address, sockets);
        Ok(())
    }

    /// Closes all others.
    pub(super) fn keep(&self, wanted: &BTreeSet<SocketAddrV4>) {
        self.lock().retain(|address, _| wanted.contains(address));
    }

    /// The sockets of an address.
    pub(super) fn of(&self, address: SocketAddrV4) -> Vec<RawFd> {
        self.lock()
            .get(&address)
            .map(|open| open.iter().map(AsRawFd::as_raw_fd).collect())
            .unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SocketAddrV4, Vec<TcpListener>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
