//! What is kept of a program's output: its beginning and its end, whatever it prints in between.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write as _},
};

use crate::{
    live::Copy,
    mask::{Mask, Stream},
};

/// How much of a beginning and of an end is kept: a step that prints gigabytes fills no disk.
pub const HALF: usize = 512 * 1024;

/// How much of a beginning is in a log; after it, what the end has.
pub const LOGGED: u64 = 16 * 1024 * 1024;

/// How much of a step's output a report shows.
const TAIL_BYTES: usize = 8 * 1024;
const TAIL_LINES: usize = 40;

/// Output, with its secrets hidden. In the log it is at once, as it comes; of what a log can't take, the end follows when it
/// is finished.
#[derive(Debug)]
pub struct Output {
    half: usize,
    stream: Stream,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    seen: u64,
    log: Option<File>,
    logged: u64,
    limit: u64,
    copy: Option<Copy>,
}

impl Output {
    /// Keeps output in memory, and in a log if there is one.
    pub fn new(mask: Mask, log: Option<File>) -> Self {
        Self {
            half: HALF,
            stream: Stream::new(mask),
            head: Vec::new(),
            tail: VecDeque::new(),
            seen: 0,
            log,
            logged: 0,
            limit: LOGGED,
            copy: None,
        }
    }

    /// Keeps so much of a beginning and of an end, in memory.
    pub fn in_memory(half: usize) -> Self {
        Self { half, ..Self::new(Mask::default(), None) }
    }

    /// Copies all that comes for who follows, too.
    pub fn copied(self, copy: Option<Copy>) -> Self {
        Self { copy, ..self }
    }

    /// Takes a piece.
    pub fn push(&mut self, piece: &[u8]) -> io::Result<()> {
        if let Some(copy) = &mut self.copy {
            copy.push(piece)?;
        }
        let shown = self.stream.push(piece);
        self.keep(&shown)
    }

    /// Lets go of what was held back for the mask: one program's output is over.
    pub fn flush(&mut self) -> io::Result<()> {
        if let Some(copy) = &mut self.copy {
            copy.flush()?;
        }
        let shown = self.stream.finish();
        self.keep(&shown)
    }

    /// Writes the end to the log.
    pub fn finish(&mut self) -> io::Result<()> {
        self.flush()?;
        let Some(mut log) = self.log.take() else { return Ok(()) };
        let end = usize::try_from(self.seen - self.logged).unwrap_or(usize::MAX).min(self.tail.len());
        let left_out = self.seen - self.logged - end as u64;
        if left_out > 0 {
            writeln!(log, "\n… {left_out} bytes left out …")?;
        }
        let end: Vec<u8> = self.tail.iter().skip(self.tail.len() - end).copied().collect();
        log.write_all(&end)
    }

    /// How much has been seen: a mark to read on from.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// What has been seen since a mark, as far as it is kept.
    pub fn since(&self, mark: u64) -> String {
        let all = self.bytes();
        let new = usize::try_from(self.seen.saturating_sub(mark)).unwrap_or(usize::MAX);
        String::from_utf8_lossy(&all[all.len().saturating_sub(new)..]).into_owned()
    }

    /// Beginning and end; what is missing between them, `left_out` tells.
    pub fn bytes(&self) -> Vec<u8> {
        self.head.iter().chain(&self.tail).copied().collect()
    }

    /// How many bytes are missing between beginning and end.
    pub fn left_out(&self) -> u64 {
        self.seen - (self.head.len() + self.tail.len()) as u64
    }

    /// The last lines, for a report.
    pub fn last_lines(&self) -> String {
        let all = self.bytes();
        let text = String::from_utf8_lossy(&all[all.len().saturating_sub(TAIL_BYTES)..]);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn keep(&mut self, shown: &[u8]) -> io::Result<()> {
        self.seen += shown.len() as u64;
        let (head, rest) = shown.split_at(shown.len().min(self.half - self.head.len()));
        self.head.extend_from_slice(head);
        if let Some(log) = &mut self.log {
            let room = usize::try_from(self.limit - self.logged).unwrap_or(usize::MAX).min(shown.len());
            log.write_all(&shown[..room])?;
            self.logged += room as u64;
        }
        self.tail.extend(&rest[rest.len().saturating_sub(self.half)..]);
        self.tail.drain(..self.tail.len().saturating_sub(self.half));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_and_an_end_are_kept() {
        let mut kept = Output::in_memory(4);
        for piece in ["abc", "defg", "hijklmnop", "q"] {
            kept.push(piece.as_bytes()).unwrap();
        }
        assert_eq!(kept.bytes(), b"abcdnopq");
        assert_eq!((kept.seen(), kept.left_out()), (17, 9));
        assert_eq!(kept.since(15), "pq");
    }

    #[test]
    fn a_log_is_bounded_and_shows_no_secret() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mask = Mask::new(&["hunter2".into()]);
        let mut kept = Output::new(mask, Some(File::create(&path).unwrap()));
        kept.push(b"first hun").unwrap();
        kept.push(b"ter2\n").unwrap();
        let piece = vec![b'x'; 1 << 20];
        for _ in 0..20 {
            kept.push(&piece).unwrap();
        }
        kept.push(b"\nlast hunter2").unwrap();
        kept.finish().unwrap();
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(log.starts_with("first •••\nxx"), "{}", &log[..40]);
        assert!(log.ends_with("xx\nlast •••"), "{}", &log[log.len() - 40..]);
        assert!(log.contains("bytes left out"));
        let most = usize::try_from(LOGGED).unwrap() + HALF + 64;
        assert!((most - 128..most).contains(&log.len()), "{}", log.len());
        assert!(kept.last_lines().ends_with("last •••"));
    }

    /// Its middle was lost once it was longer than what is held in memory, and it could not be followed from there on.
    #[test]
    fn a_log_has_all_of_an_output_of_megabytes_as_it_comes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut kept = Output::new(Mask::default(), Some(File::create(&path).unwrap()));
        let mut all = String::new();
        for number in 0..400_000 {
            let line = format!("line {number}\n");
            kept.push(line.as_bytes()).unwrap();
            all.push_str(&line);
        }
        assert!(all.len() > 4 * HALF && kept.left_out() > 0);
        let so_far = std::fs::read_to_string(&path).unwrap();
        assert!(so_far.ends_with("line 399999\n"), "it can't be followed");
        kept.finish().unwrap();
        assert!(std::fs::read_to_string(&path).unwrap() == all);
    }

    #[test]
    fn a_report_shows_the_last_lines() {
        let mut kept = Output::in_memory(HALF);
        for line in 0..1000 {
            kept.push(format!("{line}\n").as_bytes()).unwrap();
        }
        assert_eq!(kept.last_lines().lines().count(), TAIL_LINES);
        assert!(kept.last_lines().ends_with("\n999"));
    }
}
