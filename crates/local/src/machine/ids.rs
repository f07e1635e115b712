//! Ranges of the host's user and group ids: each machine has one for itself while it runs.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::Path,
};

/// How many ids a machine has: those that Debian hands out, up to `nobody` and `nogroup`, are below.
pub(super) const COUNT: u32 = 65536;

/// The first id of the first range: above what `useradd` gives out for rootless containers, in the middle of what
/// systemd keeps for containers (<https://systemd.io/UIDS-GIDS/>), which other programs therefore leave alone.
const FIRST: u32 = 0x4000_0000;

/// How many ranges there are: more than a host has room for machines.
const RANGES: u32 = 4096;

/// Where a range is locked while a machine has it: for the whole host, so that no two local clouds share one.
const LOCKS: &str = "/run/ovenbird/ids";

/// A range that nobody else has until it is dropped, or this process ends.
#[derive(Debug)]
pub(super) struct Range {
    first: u32,
    _lock: File,
}

impl Range {
    /// Takes the lowest free range.
    pub fn take() -> io::Result<Self> {
        let locks = Path::new(LOCKS);
        fs::create_dir_all(locks)?;
        for number in 0..RANGES {
            let path = locks.join(number.to_string());
            let lock = File::options().create(true).truncate(false).write(true).open(path)?;
            match lock.try_lock() {
                Ok(()) => return Ok(Self { first: FIRST + number * COUNT, _lock: lock }),
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Err(io::Error::other("every range of user ids is taken"))
    }

    /// Its first id, which is what the machine's root is on the host.
    pub fn first(&self) -> u32 {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ranges_end_before_the_last_id() {
        assert!(FIRST.checked_add(RANGES * COUNT).is_some());
    }
}
