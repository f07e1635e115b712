//! A zip file of one stored program: what Lambda takes as a function.

use flate2::Crc;

/// The name under which Lambda's custom runtime starts a function.
const NAME: &[u8] = b"bootstrap";

/// A regular file that everyone may run, as Unix writes it in the upper half of the attributes.
const MODE: u32 = 0o100_755 << 16;

/// 1 January 1980, zip's first day: the same program gives the same bytes.
const DATE: u16 = 0x21;

/// Packs a program. It isn't compressed: it goes no farther than loopback.
pub(super) fn pack(program: &[u8]) -> Vec<u8> {
    let size = u32::try_from(program.len()).unwrap_or(u32::MAX);
    let mut crc = Crc::new();
    crc.update(program);
    let mut shared = Vec::new();
    shared.extend(20_u16.to_le_bytes()); // version needed
    shared.extend([0; 6]); // no flags, stored, midnight
    shared.extend(DATE.to_le_bytes());
    for number in [crc.sum(), size, size] {
        shared.extend(number.to_le_bytes());
    }
    shared.extend(u16::try_from(NAME.len()).unwrap_or(u16::MAX).to_le_bytes());
    shared.extend([0; 2]); // no extra field

    let mut zip = Vec::with_capacity(program.len() + 200);
    zip.extend(b"PK\x03\x04");
    zip.extend(&shared);
    zip.extend(NAME);
    zip.extend(program);

    let directory = u32::try_from(zip.len()).unwrap_or(u32::MAX);
    zip.extend(b"PK\x01\x02");
    zip.extend([20, 3]); // made on Unix
    zip.extend(&shared);
    zip.extend([0; 6]); // no comment, first disk, binary
    zip.extend(MODE.to_le_bytes());
    zip.extend([0; 4]); // the file is at the beginning
    zip.extend(NAME);

    let length = u32::try_from(zip.len()).unwrap_or(u32::MAX) - directory;
    zip.extend(b"PK\x05\x06");
    zip.extend([0; 4]); // one disk
    zip.extend([1, 0, 1, 0]); // one entry
    zip.extend(length.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0; 2]); // no comment
    zip
}
