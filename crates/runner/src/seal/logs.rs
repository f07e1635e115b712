//! What is a log in `/var/log`, and what is data that somebody keeps there.
//!
//! Databases and brokers write their data to `/var/log` by default or by habit. A service that finds it empty is dead on
//! every instance. So the seal takes what it knows to be a log by its name, and looks into it; all else stays.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
};

use nix::{
    errno::Errno,
    unistd::{Whence, lseek},
};

/// What a hole in a file is a multiple of, at most.
const BLOCK: usize = 4096;

/// What becomes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// An old log: it goes.
    Remove,
    /// An old log by its name: it goes if it is text.
    RemoveText,
    /// A log that somebody writes: it is emptied, and stays with its owner.
    Empty,
    /// A log by its name: it is emptied if it is text.
    EmptyText,
    /// No log.
    Stay,
}

/// How a log is called when it was packed.
const PACKED: &[&str] = &[".gz", ".xz", ".bz2", ".zst", ".lz4", ".z", ".lzma"];

/// How a log's name ends.
const ENDINGS: &[&str] = &[".log", "_log", "-log", ".err", ".error", ".out", ".trc"];

/// Logs of one name alone, as distributions call them.
const NAMES: &[&str] = &[
    "amazon-ssm-agent-audit",
    "auth",
    "boot",
    "boot.msg",
    "cron",
    "daemon",
    "debug",
    "dmesg",
    "kern",
    "lpr",
    "mail",
    "mail.err",
    "mail.info",
    "mail.warn",
    "maillog",
    "messages",
    "news",
    "secure",
    "spooler",
    "syslog",
    "user",
    "uucp",
    "warn",
    "xferlog",
];

/// Logs that are no text.
const BINARY: &[&str] = &["btmp", "faillog", "lastlog", "pacct", "tallylog", "utmp", "wtmp"];

/// Folders of records that have a day in their names, and how such a name begins.
const DAILY: &[(&str, &str)] = &[("sa", "sa"), ("sysstat", "sa"), ("atop", "atop_")];

/// Where journals are, below the folder of logs.
const JOURNAL: &str = "journal";

/// Judges a file by its path below the folder of logs.
pub fn judge(path: &str) -> Verdict {
    let lower = path.to_lowercase();
    let (folder, name) = lower.rsplit_once('/').unwrap_or(("", &lower));
    if folder.split('/').next() == Some(JOURNAL) {
        let journal = name.ends_with(".journal") || name.ends_with(".journal~");
        return if journal { Verdict::Remove } else { Verdict::Stay };
    }
    let innermost = folder.rsplit('/').next().unwrap_or_default();
    if DAILY.iter().any(|(of, begin)| *of == innermost && is_daily(name, begin)) {
        return Verdict::Remove;
    }
    let unpacked = PACKED.iter().find_map(|ending| name.strip_suffix(ending));
    let mut base = unpacked.unwrap_or(name);
    let mut turned = false;
    while let Some(before) = rotated(base) {
        (base, turned) = (before, true);
    }
    if BINARY.contains(&base) {
        return if turned || unpacked.is_some() { Verdict::Remove } else { Verdict::Empty };
    }
    // `catalina.2026-01-31.log`: the day stands before the ending.
    let dated =
        ENDINGS.iter().filter_map(|ending| base.strip_suffix(ending)).any(|stem| is_day(stem).is_some());
    match (unpacked.is_some(), turned || dated, is_log(base)) {
        (true, true, _) | (true, false, true) => Verdict::Remove,
        (false, true, _) => Verdict::RemoveText,
        (false, false, true) => Verdict::EmptyText,
        (_, false, false) => Verdict::Stay,
    }
}

/// Whether a folder below the folder of logs is the journal of one machine, which is named by the machine's id.
pub fn is_journal_of_machine(path: &str) -> bool {
    let Some(name) = path.strip_prefix(JOURNAL).and_then(|rest| rest.strip_prefix('/')) else { return false };
    let id = name.split('.').next().unwrap_or_default();
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()) && !name.contains('/')
}

fn is_log(name: &str) -> bool {
    NAMES.contains(&name) || ENDINGS.iter().any(|ending| name.len() > ending.len() && name.ends_with(ending))
}

fn is_daily(name: &str, begin: &str) -> bool {
    let rest = name.strip_prefix(begin).map(|rest| rest.trim_start_matches('r'));
    rest.is_some_and(|day| {
        let day = PACKED.iter().find_map(|ending| day.strip_suffix(ending)).unwrap_or(day);
        (2..=8).contains(&day.len()) && day.bytes().all(|b| b.is_ascii_digit())
    })
}

/// A rotated log's name without what the rotation added; none when nothing was added.
///
/// A number with zeros before it is none of a rotation: binary logs of databases count so.
fn rotated(name: &str) -> Option<&str> {
    if let Some((before, number)) = name.rsplit_once('.').filter(|(before, _)| !before.is_empty()) {
        let digits = number.bytes().all(|b| b.is_ascii_digit());
        if digits && (number == "0" || ((1..=3).contains(&number.len()) && !number.starts_with('0'))) {
            return Some(before);
        }
        if number == "old" && is_log(before) {
            return Some(before);
        }
    }
    is_day(name)
}

/// What stands before a day at a name's end: `-20260131`, `.2026-01-31`, `-2026-01-31-13`; none without a day.
fn is_day(name: &str) -> Option<&str> {
    let before = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == '_');
    let tail = &name[before.len()..];
    let (between, day) = tail.split_at(tail.find(|c: char| c.is_ascii_digit())?);
    let before = if between.is_empty() { before.strip_suffix('.')? } else { before };
    let digits: String = day.chars().filter(char::is_ascii_digit).collect();
    let year = digits.starts_with("20") || digits.starts_with("19");
    let month = digits.get(4..6).is_some_and(|month| ("01"..="12").contains(&month));
    let date = digits.get(6..8).is_some_and(|date| ("01"..="31").contains(&date));
    ((8..=14).contains(&digits.len()) && year && month && date && !before.is_empty()).then_some(before)
}

/// Whether a file's beginning is text. Zeros before it are none of it: who goes on writing where he was, after the file
/// was emptied, leaves a hole.
pub fn is_text(file: &File) -> io::Result<bool> {
    let start = match lseek(file, 0, Whence::SeekData) {
        Ok(start) => u64::try_from(start).unwrap_or(0),
        // All of it is a hole, or it is empty.
        Err(Errno::ENXIO) => return Ok(true),
        // The file system can't tell.
        Err(_) => 0,
    };
    let mut piece = [0; 2 * BLOCK];
    let read = file.read_at(&mut piece, start)?;
    let mut text = piece[..read].iter().skip_while(|byte| **byte == 0);
    // Tab, line ends, and what terminals obey.
    Ok(text.all(|byte| *byte >= b' ' || matches!(byte, 8..=13 | 27)))
}

/// Reads a file that must be small.
pub fn read_whole(file: &mut File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, SeekFrom, Write as _};

    use super::*;

    #[track_caller]
    fn assert_judged(verdict: Verdict, paths: &[&str]) {
        for path in paths {
            assert_eq!(judge(path), verdict, "{path}");
        }
    }

    #[test]
    fn what_somebody_keeps_beside_the_logs_is_no_log() {
        assert_judged(
            Verdict::Stay,
            &[
                "ledger/bin.000001",
                "ledger/bin.001",
                "mysql/mariadb-bin.000001",
                "mysql/mariadb-bin.index",
                "mysql/relay-bin.000012",
                "kafka/meta.properties",
                "kafka/topic-0/00000000000000000000.index",
                "shop/state.db",
                "shop/state.db-wal",
                "shop/dump.sql.gz",
                "shop/data-20261301",
                "redis/appendonly.aof",
                "README",
                ".log",
                "journal/README",
                "shop/journal.dat",
            ],
        );
    }

    #[test]
    fn logs_are_known_by_their_names() {
        assert_judged(
            Verdict::EmptyText,
            &[
                "messages",
                "syslog",
                "dpkg.log",
                "apt/history.log",
                "httpd/access_log",
                "Xorg.0.log",
                "app/APP.LOG",
            ],
        );
        assert_judged(Verdict::Empty, &["wtmp", "btmp", "lastlog", "account/pacct"]);
        assert_judged(
            Verdict::Remove,
            &[
                "wtmp.1",
                "btmp-20260131",
                "syslog.2.gz",
                "app/custom.3.xz",
                "apt/eipp.log.xz",
                "shop/app.log-20260131.gz",
                "sa/sa31",
                "sysstat/sar20260131.gz",
                "atop/atop_20260131",
                "journal/0123456789abcdef0123456789abcdef/system.journal",
                "journal/0123456789abcdef0123456789abcdef/user-1000@00.journal~",
            ],
        );
        assert_judged(
            Verdict::RemoveText,
            &[
                "syslog.1",
                "messages-20260131",
                "maillog-2026-01-31",
                "shop/output.2026-01-31",
                "tomcat/catalina.2026-01-31.log",
                "boot.log-20260131",
                "audit/audit.log.12",
                "Xorg.0.log.old",
                "amazon/ssm/audits/amazon-ssm-agent-audit-2026-01-31",
            ],
        );
    }

    #[test]
    fn the_journal_of_a_machine_has_its_id() {
        assert!(is_journal_of_machine("journal/0123456789abcdef0123456789abcdef"));
        assert!(is_journal_of_machine("journal/0123456789abcdef0123456789abcdef.ns"));
        assert!(!is_journal_of_machine("journal/remote"));
        assert!(!is_journal_of_machine("shop/0123456789abcdef0123456789abcdef"));
    }

    #[test]
    fn a_log_that_is_written_on_after_it_was_emptied_is_text_and_a_segment_is_not() {
        let mut file = tempfile::tempfile().unwrap();
        assert!(is_text(&file).unwrap());
        file.write_all(b"a line\n").unwrap();
        assert!(is_text(&file).unwrap());
        for place in [7, 100_003, 1 << 20] {
            file.set_len(0).unwrap();
            file.seek(SeekFrom::Start(place)).unwrap();
            file.write_all(b"a line\n").unwrap();
            assert!(is_text(&file).unwrap(), "{place}");
        }
        file.set_len(0).unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(b"\0\0\0\0\0\0\0\0\0\0\x01\x20payload").unwrap();
        assert!(!is_text(&file).unwrap());
    }
}
