//! The addresses of the cloud's one network.

use std::{collections::BTreeSet, net::Ipv4Addr};

/// The bridge's address, which is every machine's gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The length of the network's prefix.
pub const PREFIX: u8 = 16;

/// The hardware address that belongs to an address.
pub(crate) fn mac(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:00:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Hands out the addresses `10.99.0.2` to `10.99.255.254`, the lowest free one first.
#[derive(Debug, Default)]
pub struct Addresses {
    taken: BTreeSet<u16>,
}

impl Addresses {
    /// A free address; none when all are taken.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        let host = (2..u16::MAX).find(|host| !self.taken.contains(host))?;
        self.taken.insert(host);
        let [high, low] = host.to_be_bytes();
        Some(Ipv4Addr::new(10, 99, high, low))
    }

    /// Gives an address back.
    pub fn give_back(&mut self, address: Ipv4Addr) {
        let [_, _, high, low] = address.octets();
        self.taken.remove(&u16::from_be_bytes([high, low]));
    }
}
