//! A zip file of one program: what Lambda takes as a function.

use std::{
    io,
    path::Path,
    process::{Command, Stdio},
};

/// The name under which Lambda's custom runtime starts a function.
const NAME: &[u8] = b"bootstrap";

/// A regular file that everyone may run, as Unix writes it in the upper half of the attributes.
const MODE: u32 = 0o100_755 << 16;

/// 1 January 1980, zip's first day: the same program gives the same bytes.
const DATE: u16 = 0x21;

/// What gzip writes before and after the compressed bytes when it is given no name.
const GZIP_HEADER: usize = 10;
const GZIP_TRAILER: usize = 8;

/// Packs a program.
///
/// `MiniStack` keeps zip files in memory, so they are compressed; by `gzip`, because a program built for
/// development compresses ten times slower than it. Zip and gzip have the format, the checksum and the size in common.
pub(super) fn pack(program: &Path) -> io::Result<Vec<u8>> {
    let output = Command::new("gzip")
        .args(["--fast", "--no-name", "--stdout"])
        .arg(program)
        .stdin(Stdio::null())
        .output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("gzip: {}", String::from_utf8_lossy(&output.stderr).trim())));
    }
    wrap(&output.stdout).ok_or_else(|| io::Error::other("gzip wrote too little"))
}

fn wrap(gzip: &[u8]) -> Option<Vec<u8>> {
    let end = gzip.len().checked_sub(GZIP_TRAILER)?;
    let (compressed, trailer) = (gzip.get(GZIP_HEADER..end)?, &gzip[end..]);
    let length = u32::try_from(compressed.len()).ok()?;
    let mut shared = Vec::new();
    shared.extend(20_u16.to_le_bytes()); // version needed
    shared.extend([0, 0, 8, 0, 0, 0]); // no flags, deflated, midnight
    shared.extend(DATE.to_le_bytes());
    shared.extend(&trailer[..4]); // checksum
    shared.extend(length.to_le_bytes());
    shared.extend(&trailer[4..]); // size
    shared.extend(u16::try_from(NAME.len()).ok()?.to_le_bytes());
    shared.extend([0; 2]); // no extra field

    let mut zip = Vec::with_capacity(gzip.len() + 200);
    zip.extend(b"PK\x03\x04");
    zip.extend(&shared);
    zip.extend(NAME);
    zip.extend(compressed);

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

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    #[test]
    fn another_program_unpacks_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (program, zip) = (folder.path().join("program"), folder.path().join("function.zip"));
        fs::write(&program, "#!/bin/sh\necho packed\n".repeat(1000)).expect("written");
        fs::write(&zip, super::pack(&program).expect("packed")).expect("written");
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n\
                      i = z.getinfo('bootstrap'); assert i.external_attr >> 16 == 0o100755; sys.stdout.buffer.write(z.read(i))";
        let output = Command::new("python3").args(["-c", script]).arg(&zip).output().expect("python3");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.stdout, fs::read(&program).expect("read"));
    }
}
