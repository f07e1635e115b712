//! `port`: something listens, on whatever address; the kernel's own list says so, and nobody is disturbed.

use std::fs;

use anyhow::{Result, bail};

use crate::machine::Machine;

/// The kernel's number for a listening socket.
const LISTENS: &str = "0A";

pub fn look(machine: &Machine, number: u16) -> Result<String> {
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        // A kernel without IPv6 has only one of them.
        let text = fs::read_to_string(machine.path(table)).unwrap_or_default();
        if text.lines().skip(1).any(|line| listens(line, number)) {
            return Ok(format!("something listens on port {number}"));
        }
    }
    bail!("nothing listens on port {number}")
}

/// A line is `0: 0100007F:1F90 00000000:0000 0A …`.
fn listens(line: &str, number: u16) -> bool {
    let mut words = line.split_whitespace().skip(1);
    let (local, state) = (words.next(), words.nth(1));
    let port = local.and_then(|local| local.rsplit_once(':')).map(|(_, port)| u16::from_str_radix(port, 16));
    state == Some(LISTENS) && matches!(port, Some(Ok(port)) if port == number)
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
    };

    use nix::sys::socket::{Shutdown, shutdown};

    use super::*;

    #[test]
    fn a_port_is_open_while_something_listens() {
        let machine = Machine::new("/");
        for address in ["127.0.0.1:0", "[::1]:0", "127.0.0.9:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            look(&machine, address.port()).unwrap();
            let client = TcpStream::connect(address).unwrap();
            // The client's own port is in use, and nothing listens on it.
            assert!(look(&machine, client.local_addr().unwrap().port()).is_err());
            // Not by closing it: a child that another test is just starting has it, too, for a moment.
            shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
            assert!(look(&machine, address.port()).is_err());
        }
    }
}
