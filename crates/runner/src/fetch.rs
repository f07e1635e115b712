//! Fetching and reporting by presigned URL, through the machine's own `curl` or `wget`.
//!
//! A static program has no safe way to resolve names with glibc, which loads the host's own resolver modules;
//! the machine's own client does it right, with its certificates and its proxy settings.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::plan::{Download, PresignedUrl};

/// Fetches to a file, and checks its hash.
pub fn download(download: &Download, to: &Path) -> Result<()> {
    let path = to.to_str().context("a path that is no text")?;
    run(&download.url, &["-o", path])?;
    let seen = sha256(to)?;
    let wanted = download.sha256.as_str();
    ensure!(seen == wanted, "{path} has SHA-256 {seen} and should have {wanted}");
    Ok(())
}

/// Puts a file where the plan says.
pub fn upload(file: &Path, url: &PresignedUrl) -> Result<()> {
    run(url, &["-X", "PUT", "-T", file.to_str().context("a path that is no text")?])
}

/// The URL is a secret while it lives: it goes in on standard input, where no list of processes shows it.
fn run(url: &PresignedUrl, arguments: &[&str]) -> Result<()> {
    let mut child = Command::new("curl")
        .args(["-fsS", "--retry", "5", "--retry-connrefused", "--connect-timeout", "10", "--config", "-"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("the base has no `curl`; add it to the base image")?;
    let line = format!("url = \"{}\"\n", url.reveal().replace('\\', "\\\\").replace('"', "\\\""));
    child.stdin.take().context("no standard input")?.write_all(line.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("curl: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
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
