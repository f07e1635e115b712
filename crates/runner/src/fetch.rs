//! Fetching and reporting by presigned URL.

use std::{fs::File, io::Read as _, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::plan::{Download, PresignedUrl};

use crate::curl;

/// A transfer that stands still for a minute is begun again; one that goes on may take this long.
const LIMIT: Duration = Duration::from_secs(3600);
const LOOK: Duration = Duration::from_secs(30);
const STALLED: [&str; 4] = ["--speed-limit", "1", "--speed-time", "60"];

/// Fetches to a file, and checks its hash.
pub fn download(download: &Download, to: &Path) -> Result<()> {
    let path = text(to)?;
    run(&download.url, &["--output", path])?;
    let seen = sha256(to)?;
    let wanted = download.sha256.as_str();
    ensure!(seen == wanted, "{path} has SHA-256 {seen} and should have {wanted}");
    Ok(())
}

/// Puts a file where the plan says.
pub fn upload(file: &Path, url: &PresignedUrl) -> Result<()> {
    run(url, &["--request", "PUT", "--upload-file", text(file)?])
}

/// Whether there is something; where that can't be told, there isn't.
pub fn exists(url: &PresignedUrl) -> bool {
    let request = curl::Request { url: url.reveal(), by_proxy: true, ..curl::Request::default() };
    curl::ask(&request, LOOK).is_ok_and(|response| response.status == 200)
}

fn run(url: &PresignedUrl, arguments: &[&str]) -> Result<()> {
    curl::transfer(url.reveal(), &[&STALLED, arguments].concat(), LIMIT)
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{}: a path that is no text", path.display()))
}

fn sha256(path: &Path) -> Result<String> {
    let mut file = File::open(path)?;
    let mut hash = ovenbird_core::digest::Hash::default();
    let mut buffer = vec![0; 1 << 16];
    while let count @ 1.. = file.read(&mut buffer)? {
        hash.update(&buffer[..count]);
    }
    Ok(hash.finish().to_string())
}
