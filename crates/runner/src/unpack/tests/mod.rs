//! What is unpacked, and what is refused, whatever is in an archive.

mod limits;

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
    process::Command,
};

use flate2::{Compression, write::GzEncoder};
use proptest::prelude::*;
use tar::{Builder, EntryType, Header};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use super::*;

const SMALL: Limits = Limits { bytes: 4096, entries: 8 };

/// A folder with an archive in it; it is unpacked to `to`, and nothing else must change.
struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tar(&self, entries: &[(&str, EntryType, &[u8])]) -> PathBuf {
        let mut builder = Builder::new(Vec::new());
        for (name, kind, content) in entries {
            let mut header = Header::new_gnu();
            header.set_entry_type(*kind);
            header.set_size(content.len() as u64);
            header.set_mode(0o4755);
            // The library refuses such names itself: the bytes are set past it.
            let length = name.len().min(100);
            header.as_old_mut().name[..length].copy_from_slice(&name.as_bytes()[..length]);
            if matches!(kind, EntryType::Symlink | EntryType::Link) {
                header.set_link_name("/etc/passwd").unwrap();
            }
            header.set_cksum();
            builder.append(&header, *content).unwrap();
        }
        self.file(&builder.into_inner().unwrap())
    }

    fn zip(&self, entries: &[(&str, Option<u32>, &[u8])]) -> PathBuf {
        let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
        for (name, mode, content) in entries {
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
            let options = mode.map_or(options, |mode| options.unix_permissions(mode));
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
        self.file(&writer.finish().unwrap().into_inner())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("archive");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn target(&self) -> Target<'_> {
        Target { root: self.folder.path(), folder: Path::new("/to"), owner: Owner::default() }
    }

    /// An archive that the machine's own `tar` makes in a folder of these files.
    fn tar_of(&self, script: &str) -> PathBuf {
        let from = tempfile::tempdir().unwrap();
        let script = format!("set -e; {script}");
        let archive = self.path("archive");
        let status =
            Command::new("sh").args(["-c", &script, "sh"]).arg(&archive).current_dir(from.path()).status();
        assert!(status.unwrap().success());
        archive
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path("to").join(name)).unwrap()
    }

    /// Whether it was unpacked; whatever happened, nothing is beside the folder.
    fn unpack(&self, archive: &Path) -> Result<()> {
        self.unpack_to(archive, SMALL)
    }

    fn unpack_to(&self, archive: &Path, limits: Limits) -> Result<()> {
        let unpacked = unpack_within(archive, &self.target(), limits);
        for entry in fs::read_dir(self.folder.path()).unwrap() {
            let name = entry.unwrap().file_name();
            assert!(["archive", "to", "elsewhere"].contains(&name.to_str().unwrap()), "{name:?} came out");
        }
        unpacked
    }

    fn refused(&self, archive: &Path) -> String {
        self.refused_within(archive, SMALL)
    }

    fn refused_within(&self, archive: &Path, limits: Limits) -> String {
        let error = format!("{:#}", self.unpack_to(archive, limits).expect_err("it was unpacked"));
        assert!(!self.path("to").exists(), "something was written: {error}");
        error
    }
}

/// A zip whose only entry has this kind of mode, as the library would not write it.
fn zip_with_mode(place: &Place, mode: u32) -> PathBuf {
    let path = place.zip(&[("odd", Some(0o644), b"/etc/passwd")]);
    let mut bytes = fs::read(&path).unwrap();
    let central = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[central + 38..central + 42].copy_from_slice(&(mode << 16).to_le_bytes());
    place.file(&bytes)
}

#[test]
fn files_come_out_of_a_tar_with_their_mode_and_without_special_bits() {
    let place = Place::new();
    let plain = place.tar(&[("./a/b.sh", EntryType::Regular, b"hello"), ("d/", EntryType::Directory, b"")]);
    let bytes = fs::read(&plain).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).unwrap();
    for bytes in [bytes, gzip.finish().unwrap()] {
        place.unpack(&place.file(&bytes)).unwrap();
        assert_eq!(fs::read(place.path("to/a/b.sh")).unwrap(), b"hello");
        assert_eq!(fs::metadata(place.path("to/a/b.sh")).unwrap().permissions().mode() & 0o7777, 0o755);
        assert!(place.path("to/d").is_dir());
        fs::remove_dir_all(place.path("to")).unwrap();
    }
}

#[test]
fn files_come_out_of_a_zip() {
    let place = Place::new();
    let archive = place.zip(&[("META-INF/MANIFEST.MF", None, b"1"), ("bin/run", Some(0o755), b"hello")]);
    place.unpack(&archive).unwrap();
    assert_eq!(fs::read(place.path("to/META-INF/MANIFEST.MF")).unwrap(), b"1");
    assert_eq!(fs::metadata(place.path("to/bin/run")).unwrap().permissions().mode() & 0o7777, 0o755);
    // And again, over what is there.
    place.unpack(&archive).unwrap();
}

#[test]
fn a_gzip_of_several_members_is_whole() {
    let place = Place::new();
    let bytes = fs::read(place.tar(&[("a", EntryType::Regular, &[b'x'; 2000])])).unwrap();
    let member = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let (first, second) = bytes.split_at(700);
    place.unpack(&place.file(&[member(first), member(second)].concat())).unwrap();
    assert_eq!(fs::metadata(place.path("to/a")).unwrap().len(), 2000);
}

#[test]
fn whatever_would_leave_the_folder_is_refused_before_anything_is_written() {
    for bad in [
        ("../evil", EntryType::Regular),
        ("/etc/evil", EntryType::Regular),
        ("a/../../evil", EntryType::Regular),
        ("link", EntryType::Symlink),
        ("hard", EntryType::Link),
        ("sparse", EntryType::new(b'V')),
        ("device", EntryType::Char),
        ("disk", EntryType::Block),
        ("pipe", EntryType::Fifo),
    ] {
        let place = Place::new();
        place.refused(&place.tar(&[("good", EntryType::Regular, b""), (bad.0, bad.1, b"")]));
    }
    for bad in ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "a/.."] {
        let place = Place::new();
        place.refused(&place.zip(&[("good", None, b""), (bad, None, b"")]));
    }
    for mode in [0o120_777, 0o020_666, 0o060_666, 0o010_666, 0o140_777, 0o040_755] {
        let place = Place::new();
        let error = place.refused(&zip_with_mode(&place, mode));
        assert!(error.contains("`odd`"), "{error}");
    }
}

#[test]
fn a_link_that_is_there_already_leads_nowhere() {
    for archive in ["tar", "zip"] {
        let place = Place::new();
        fs::create_dir_all(place.path("elsewhere")).unwrap();
        fs::create_dir_all(place.path("to")).unwrap();
        std::os::unix::fs::symlink("../elsewhere", place.path("to/link")).unwrap();
        let archive = match archive {
            "tar" => place.tar(&[("link/evil", EntryType::Regular, b"")]),
            _ => place.zip(&[("link/evil", None, b"")]),
        };
        assert!(place.unpack(&archive).is_err());
        assert_eq!(fs::read_dir(place.path("elsewhere")).unwrap().count(), 0);
    }
}

#[test]
fn an_archive_of_git_s_is_unpacked_without_its_remark() {
    let place = Place::new();
    let archive = place.tar_of(
        "git init -q .; mkdir src; echo 'print(1)' > src/app.py; git add .; \
         git -c user.name=a -c user.email=a@b commit -qm one; git archive --prefix=./ -o \"$1.tar.gz\" HEAD; \
         mv \"$1.tar.gz\" \"$1\"",
    );
    place.unpack(&archive).unwrap();
    assert_eq!(place.text("src/app.py"), "print(1)\n");
    assert_eq!(fs::read_dir(place.path("to")).unwrap().count(), 1, "the header became a file");
}

#[test]
fn a_hard_link_becomes_a_copy() {
    let place = Place::new();
    let archive = place.tar_of(
        "mkdir d; echo one > d/a; chmod 750 d/a; ln d/a d/b; ln d/a c; tar --sort=name -cf \"$1\" ./d ./c",
    );
    place.unpack(&archive).unwrap();
    for name in ["d/a", "d/b", "c"] {
        let file = fs::metadata(place.path("to").join(name)).unwrap();
        assert_eq!(
            (place.text(name).as_str(), file.nlink(), file.mode() & 0o7777),
            ("one\n", 1, 0o750),
            "{name}"
        );
    }
}

#[test]
fn a_sparse_file_is_unpacked_with_its_holes_or_refused_with_the_way_out() {
    let make = "truncate -s 1M f; printf end >> f; truncate -s 2M f; tar --sparse";
    let place = Place::new();
    let limits = Limits { bytes: 2 << 20, entries: 8 };
    place.unpack_to(&place.tar_of(&format!("{make} --format=gnu -cf \"$1\" f")), limits).unwrap();
    let mut wanted = vec![0; 2 << 20];
    wanted[1 << 20..(1 << 20) + 3].copy_from_slice(b"end");
    assert!(fs::read(place.path("to/f")).unwrap() == wanted);
    assert!(fs::metadata(place.path("to/f")).unwrap().blocks() < 1024, "the zeros are on the disk");
    let place = Place::new();
    let error = place.refused_within(&place.tar_of(&format!("{make} --format=pax -cf \"$1\" f")), limits);
    assert!(error.contains("`--format=gnu`"), "{error}");
    // What it will have counts, not what the archive has of it.
    let place = Place::new();
    let error = place.refused(&place.tar_of("truncate -s 1G f; tar -Scf \"$1\" f"));
    assert!(error.contains("more than 4096 bytes"), "{error}");
}

#[test]
fn every_refusal_of_a_kind_names_the_way_out() {
    for (kind, way) in [
        (EntryType::Symlink, "--dereference"),
        (EntryType::Char, "--exclude"),
        (EntryType::Fifo, "--exclude"),
        (EntryType::new(b'M'), "--format=pax"),
    ] {
        let place = Place::new();
        let error = place.refused(&place.tar(&[("odd", kind, b"")]));
        assert!(error.contains("`odd`") && error.contains(way), "{error}");
    }
}

#[test]
fn nothing_is_for_everybody_to_write() {
    let place = Place::new();
    place.unpack(&place.tar_of("mkdir d; touch d/f; chmod 777 d/f d; tar -cf \"$1\" d")).unwrap();
    place.unpack(&place.zip(&[("z", Some(0o666), b"")])).unwrap();
    for (name, mode) in [("d", 0o755), ("d/f", 0o755), ("z", 0o644)] {
        assert_eq!(fs::metadata(place.path("to").join(name)).unwrap().mode() & 0o7777, mode, "{name}");
    }
}

#[test]
fn what_is_unpacked_has_its_owner_with_the_folders_on_the_way() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        println!("SKIPPED: it needs root");
        return;
    }
    let place = Place::new();
    let owner = Owner {
        user: Some(nix::unistd::Uid::from_raw(12345)),
        group: Some(nix::unistd::Gid::from_raw(12346)),
    };
    let archive = place.tar(&[("a/b/c", EntryType::Regular, b"x")]);
    unpack_within(&archive, &Target { owner, ..place.target() }, SMALL).unwrap();
    for name in ["", "a", "a/b", "a/b/c"] {
        let file = fs::metadata(place.path("to").join(name)).unwrap();
        assert_eq!((file.uid(), file.gid()), (12345, 12346), "{name}");
    }
}

#[test]
fn what_can_t_be_read_is_named() {
    let place = Place::new();
    for (bytes, words) in [
        (&b"\xfd7zXZ\0rest"[..], "xz"),
        (b"\x28\xb5\x2f\xfd and more", "zstd"),
        (b"BZh91AY", "bzip2"),
        (&[b'x'; 2000], "neither a tar"),
        (b"PK\x03\x04 and no end", "zip"),
    ] {
        let error = place.refused(&place.file(bytes));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn a_broken_archive_is_refused_before_anything_is_written() {
    let place = Place::new();
    let bytes = fs::read(place.tar(&[("a", EntryType::Regular, &[b'x'; 2000])])).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&bytes).unwrap();
    let bytes = gzip.finish().unwrap();
    place.refused(&place.file(&bytes[..bytes.len() / 2]));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// `Place::unpack` asserts that nothing is beside the folder, whatever the names are.
    #[test]
    fn no_name_leads_out_of_the_folder(names in prop::collection::vec("(\\.|\\.\\.|/|//|a|b|é|\\\\| |~|\t){1,8}", 1..4)) {
        let place = Place::new();
        let tar: Vec<_> = names.iter().map(|name| (name.as_str(), EntryType::Regular, &b"x"[..])).collect();
        let _ = place.unpack(&place.tar(&tar));
        let place = Place::new();
        let mut unique = names.clone();
        unique.sort();
        unique.dedup();
        let zip: Vec<_> = unique.iter().map(|name| (name.as_str(), None, &b"x"[..])).collect();
        let _ = place.unpack(&place.zip(&zip));
    }

    /// A name that is let in, joined to the folder, stays below it.
    #[test]
    fn a_name_that_is_let_in_stays_below(name in "[./a\\\\\\x00é~ -]{0,24}") {
        if let Ok(name) = inside(Path::new(&name)) {
            prop_assert!(name.components().all(|part| matches!(part, Component::Normal(_))), "{:?}", name);
            let place = Place::new();
            let folder = Folder::create(place.folder.path(), Path::new("/to")).unwrap();
            if folder.below(&name).is_ok() {
                let (made, folder) = (place.path("to").join(&name), place.path("to"));
                prop_assert!(made.canonicalize().unwrap().starts_with(folder.canonicalize().unwrap()), "{:?}", made);
            }
        }
    }

    /// Whatever the bytes are, they are refused or unpacked below the folder.
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), magic in 0..4usize) {
        let place = Place::new();
        let magic: &[u8] = [&b""[..], b"PK\x03\x04", b"\x1f\x8b\x08\x00", b"PK\x05\x06"][magic];
        let _ = place.unpack(&place.file(&[magic, &bytes].concat()));
    }
}
