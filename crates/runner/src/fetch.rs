//! Fetching and reporting by presigned URL.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use ovenbird_core::domain::{
    digest::Hash,
    id::Digest,
    plan::{Download, PresignedUrl},
};

use crate::curl;

/// A transfer that stands still for a minute is begun again; one that goes on may take this long.
const LIMIT: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
const STALLED: [&str; 4] = ["--speed-limit", "1", "--speed-time", "60"];

/// How long a download may be, in bytes: an artifact of 64 GiB is none, and would only fill the disk before its hash is
/// found to be wrong.
const LONGEST: &str = "68719476736";

/// Fetches to a file, and checks its hash.
pub fn download(download: &Download, to: &Path) -> Result<()> {
    let path = text(to)?;
    run(&download.url, &["--max-filesize", LONGEST, "--output", path])?;
    let seen = sha256(to)?;
    let wanted = &download.sha256;
    ensure!(seen == *wanted, "{path} has SHA-256 {seen} and should have {wanted}");
    Ok(())
}

/// Puts a file where the plan says.
pub fn upload(file: &Path, url: &PresignedUrl) -> Result<()> {
    run(url, &["--request", "PUT", "--upload-file", text(file)?])
}

/// Puts a text where the plan says, without a file and without a trace on the machine. It is tried again for so long
/// while that may help: not when it was refused.
pub fn put(url: &PresignedUrl, text: &str, tries: Duration) -> Result<()> {
    let request = curl::Request {
        url: url.reveal(),
        method: Some("PUT"),
        headers: vec![("Content-Type", "application/json")],
        body: Some(text),
        by_proxy: true,
    };
    let start = Instant::now();
    let mut pause = PAUSE;
    loop {
        let problem = match curl::ask(&request, LOOK) {
            Ok(response) if (200..300).contains(&response.status) => return Ok(()),
            Ok(response) if [408, 429].contains(&response.status) || response.status >= 500 => {
                anyhow!("the bucket answers {}", response.status)
            }
            Ok(response) => bail!("the bucket answers {}", response.status),
            Err(error) => error,
        };
        if start.elapsed() + pause > tries {
            return Err(problem.context(format!("tried for {} s", start.elapsed().as_secs())));
        }
        thread::sleep(pause);
        pause = LONGEST_PAUSE.min(pause * 2);
    }
}

/// A small text, tried again for so long.
pub fn get(url: &PresignedUrl, tries: Duration) -> Result<String> {
    let request = curl::Request { url: url.reveal(), by_proxy: true, ..curl::Request::default() };
    let start = Instant::now();
    loop {
        let problem = match curl::ask(&request, LOOK) {
            Ok(response) if response.status == 200 => {
                ensure!(response.left_out == 0, "it is {} bytes too long", response.left_out);
                return String::from_utf8(response.body).context("it is no text");
            }
            Ok(response) => anyhow!("the bucket answers {}", response.status),
            Err(error) => error,
        };
        if start.elapsed() + PAUSE > tries {
            return Err(problem);
        }
        thread::sleep(PAUSE);
    }
}

fn run(url: &PresignedUrl, arguments: &[&str]) -> Result<()> {
    curl::transfer(url.reveal(), &[&STALLED, arguments].concat(), LIMIT)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: a path that is no text", path.display()))
}

/// SHA-256 of a file.
pub fn sha256(path: &Path) -> Result<Digest> {
    let mut file = File::open(path)?;
    let mut hash = Hash::default();
    let mut buffer = vec![0; 1 << 16];
    while let count @ 1.. = file.read(&mut buffer)? {
        hash.update(&buffer[..count]);
    }
    Ok(hash.finish())
}
