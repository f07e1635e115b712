//! What an archive may take of memory and disk.

use super::*;

/// `link` has the name, and leads to the second.
fn tar_with_links(place: &Place, size: usize, links: &[(&str, &str)]) -> PathBuf {
    let mut builder = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(size as u64);
    builder.append_data(&mut header, "a", vec![b'x'; size].as_slice()).unwrap();
    for (name, to) in links {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Link);
        header.set_mode(0o644);
        header.set_size(0);
        builder.append_link(&mut header, name, to).unwrap();
    }
    place.file(&builder.into_inner().unwrap())
}

#[test]
fn a_hard_link_counts_as_much_as_what_it_copies_and_leads_to_a_file_before_it() {
    let links = [("b", "a"), ("c", "b"), ("d", "./c")];
    let place = Place::new();
    place.unpack(&tar_with_links(&place, 1000, &links)).unwrap();
    assert_eq!(fs::metadata(place.path("to/d")).unwrap().len(), 1000);
    let place = Place::new();
    assert!(place.refused(&tar_with_links(&place, 1100, &links)).contains("more than 4096 bytes"));
    for (to, words) in [("z", "--hard-dereference"), ("../z", "would leave"), ("/etc/passwd", "would leave")]
    {
        let place = Place::new();
        let error = place.refused(&tar_with_links(&place, 1, &[("b", to)]));
        assert!(error.contains(words), "{error}");
    }
}

#[test]
fn an_archive_that_would_fill_the_disk_is_refused() {
    let place = Place::new();
    let big = vec![0; 5000];
    for archive in [place.tar(&[("zeros", EntryType::Regular, &big)]), place.zip(&[("zeros", None, &big)])] {
        assert!(place.refused(&archive).contains("more than 4096 bytes"));
    }
    let names: Vec<String> = (0..9).map(|number| number.to_string()).collect();
    let tar: Vec<_> = names.iter().map(|name| (name.as_str(), EntryType::Regular, &b""[..])).collect();
    assert!(place.refused(&place.tar(&tar)).contains("more than 8 entries"));
    let zip: Vec<_> = names.iter().map(|name| (name.as_str(), None, &b""[..])).collect();
    assert!(place.refused(&place.zip(&zip)).contains("more than 8 entries"));
}

/// A directory that promises one byte, and five thousand that come out.
#[test]
fn a_zip_that_understates_itself_is_stopped() {
    let place = Place::new();
    let mut bytes = fs::read(place.zip(&[("zeros", None, &[0; 5000])])).unwrap();
    let central = bytes.windows(4).position(|four| four == b"PK\x01\x02").unwrap();
    bytes[central + 24..central + 28].copy_from_slice(&1u32.to_le_bytes());
    assert!(place.unpack(&place.file(&bytes)).is_err());
    let written = fs::metadata(place.path("to/zeros")).map_or(0, |file| file.len());
    assert!(written <= SMALL.bytes + 1, "{written}");
}

/// One entry's name, or attribute, of 600 MB: a megabyte when it is compressed. Unpacked by a process that has little
/// memory, which a library that reads it whole would end at once.
#[test]
fn a_long_name_takes_no_memory() {
    const INNER: &str = "OVENBIRD_TEST_ARCHIVE";
    if let Some(archive) = std::env::var_os(INNER) {
        let place = Place::new();
        println!("{:#}", unpack_within(Path::new(&archive), &place.target(), LIMITS).unwrap_err());
        return;
    }
    let place = Place::new();
    // A gzip file may have several members: the same one, over and over.
    let member = |bytes: &[u8]| {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let megabyte = member(&vec![b'a'; 1 << 20]);
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut header = Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(EntryType::new(kind));
        header.set_size(600 << 20);
        header.set_cksum();
        let archive = place.file(&[member(header.as_bytes()), megabyte.repeat(600)].concat());
        let program = std::env::current_exe().unwrap();
        let test = "unpack::tests::limits::a_long_name_takes_no_memory";
        let script = format!("ulimit -v 300000; exec \"$0\" --exact {test} --nocapture --test-threads 1");
        let output =
            Command::new("sh").args(["-c", &script]).arg(program).env(INNER, &archive).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let words = if kind == b'g' { "its global header has" } else { "is too large" };
        assert!(output.status.success() && text.contains(words), "{kind}: {output:?}");
    }
}

#[test]
fn a_zip_of_very_many_entries_is_refused_before_its_directory_is_in_memory() {
    let place = Place::new();
    let mut writer = ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for number in 0..30_000 {
        writer.start_file(format!("{number}"), options).unwrap();
    }
    let error = place.refused(&place.file(&writer.finish().unwrap().into_inner()));
    assert!(error.contains("the archive's directory is too large"), "{error}");
}
