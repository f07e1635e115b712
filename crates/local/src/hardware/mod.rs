//! What carries out the world's orders: real machines, or simulated ones for tests.

mod actor;
mod real;
mod shared;
mod simulated;

use std::{fmt, io, net::SocketAddr, path::Path, sync::Weak};

use futures::future::BoxFuture;
use ovenbird_core::domain::id::{InstanceId, SnapshotId};
use ovenbird_sim::Order;
use tokio::net::TcpStream;

use crate::{endpoint::Endpoint, machine::Interruption, operator::Forward};

pub(crate) use self::real::RealHardware;
pub use self::simulated::Simulated;

/// Something that machines run on.
pub trait Hardware: fmt::Debug + Send + Sync + 'static {
    /// Begins to carry an order out, and returns at once; events tell how it went. Orders to one machine are carried out one after another.
    fn carry_out(&self, order: Order);

    /// What a machine's console shows now, if it runs.
    fn console(&self, instance: &InstanceId) -> Option<String>;

    /// The private address of a machine, if it has one.
    fn address(&self, instance: &InstanceId) -> Option<std::net::Ipv4Addr>;

    /// The first process of a machine, as the host numbers it, while it runs.
    fn process(&self, instance: &InstanceId) -> Option<u32>;

    /// Makes a machine's port reachable on loopback, at a port of one's choice or at a free one; asked again, the address is
    /// the same.
    fn forward(
        &self,
        instance: InstanceId,
        port: u16,
        here: Option<u16>,
    ) -> BoxFuture<'_, io::Result<SocketAddr>>;

    /// The ports of machines that are reachable on loopback, in the order of their addresses.
    fn forwards(&self) -> Vec<Forward>;

    /// Closes a machine's port on loopback, or all of them; gives those that were open.
    fn close(&self, instance: &InstanceId, port: Option<u16>) -> Vec<Forward>;

    /// Shows a machine the notice that its instance is taken back; whether it is the first one.
    fn announce(&self, instance: &InstanceId, interruption: Interruption) -> bool;

    /// Takes a folder for the layer of a snapshot.
    fn adopt(&self, snapshot: &SnapshotId, folder: &Path) -> io::Result<()>;

    /// Connects to a machine's port from the network that all machines are in, as another machine there would.
    ///
    /// Fails as a connection fails, and if the machine doesn't run. It has no time limit of its own.
    fn reach(&self, instance: InstanceId, port: u16) -> BoxFuture<'_, io::Result<TcpStream>>;

    /// Gives the hardware the endpoint, a part of which machines may reach. Called once, before the first order.
    fn connect(&self, endpoint: Weak<Endpoint>);

    /// The processes of the network that machines are in.
    fn network(&self) -> Vec<u32>;

    /// Ends every machine.
    fn shut_down(&self) -> BoxFuture<'_, ()>;
}
