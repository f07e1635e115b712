//! A zip file of one small program: what Lambda takes as a function.

use flate2::Crc;

/// The name under which Lambda's custom runtime starts a function.
const NAME: &[u8] = b"bootstrap";

/// A regular file that everyone may run, as Unix writes it in the upper half of the attributes.
const MODE: u32 = 0o100_755 << 16;

/// 1 January 1980, zip's first day: the same program gives the same bytes.
const DATE: u16 = 0x21;

/// Packs a program as it is; none when it is larger than a zip file's sizes can say.
pub(super) fn pack(program: &[u8]) -> Option<Vec<u8>> {
    let mut checksum = Crc::new();
    checksum.update(program);
    let size = u32::try_from(program.len()).ok()?;
    let mut shared = Vec::new();
    shared.extend(20_u16.to_le_bytes()); // version needed
    shared.extend([0; 6]); // no flags, stored, midnight
    shared.extend(DATE.to_le_bytes());
    shared.extend(checksum.sum().to_le_bytes());
    shared.extend(size.to_le_bytes()); // stored
    shared.extend(size.to_le_bytes()); // unpacked
    shared.extend(u16::try_from(NAME.len()).ok()?.to_le_bytes());
    shared.extend([0; 2]); // no extra field

    let mut zip = Vec::new();
    zip.extend(b"PK\x03\x04");
    zip.extend(&shared);
    zip.extend(NAME);
    zip.extend(program);

    let directory = u32::try_from(zip.len()).ok()?;
    zip.extend(b"PK\x01\x02");
    zip.extend([20, 3]); // made on Unix
    zip.extend(&shared);
    zip.extend([0; 6]); // no comment, first disk, binary
    zip.extend(MODE.to_le_bytes());
    zip.extend([0; 4]); // the file is at the beginning
    zip.extend(NAME);

    let length = u32::try_from(zip.len()).ok()? - directory;
    zip.extend(b"PK\x05\x06");
    zip.extend([0; 4]); // one disk
    zip.extend([1, 0, 1, 0]); // one entry
    zip.extend(length.to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0; 2]); // no comment
    Some(zip)
}
