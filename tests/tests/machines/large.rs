//! Large objects in the local cloud's bucket.

use std::{fs, io::Read as _, path::Path};

use anyhow::{Context as _, Result, ensure};

use crate::Cloud;

/// How large the object is, in MiB, and how much more memory the bucket may take afterwards.
const SIZE: u64 = 256;
const MORE: f64 = 64.0;

/// A large object comes back as it was, whole, as a former version and in ranges, and stays on the disk.
pub fn large_object(cloud: &Cloud) -> Result<()> {
    let (file, back) = (cloud.home.join("large"), cloud.home.join("large-again"));
    let mut bytes = Vec::new();
    fs::File::open("/dev/urandom")?.take(SIZE << 20).read_to_end(&mut bytes)?;
    fs::write(&file, &bytes)?;
    let memory = |cloud: &Cloud| -> Result<f64> {
        let status = cloud.local.ovenbird_json(&["local", "status"], false)?;
        status["memory"]["ministack"].as_f64().with_context(|| status.to_string())
    };
    let (path, to) = (text(&file)?, text(&back)?);
    let (bucket, key) = (cloud.bucket(), "scratch/large");
    let url = format!("s3://{bucket}/{key}");
    let before = memory(cloud)?;
    // The CLI sends and fetches parts of 8 MiB.
    cloud.local.aws(&["s3", "cp", path, &url, "--only-show-errors"])?;
    cloud.local.aws(&["s3", "cp", &url, to, "--only-show-errors"])?;
    ensure!(fs::read(&back)? == bytes, "another content in ranges");
    let get = ["s3api", "get-object", "--bucket", bucket, "--key", key];
    let whole = cloud.local.aws(&[&get[..], &[to]].concat())?;
    ensure!(fs::read(&back)? == bytes, "another content");
    let after = memory(cloud)?;
    eprintln!("an object of {SIZE} MiB: MiniStack took {before:.0} MiB before and {after:.0} MiB after");
    ensure!(after - before < MORE, "{before} MiB before, {after} MiB after");
    cloud.local.put(bucket, key, b"newer")?;
    let version = whole["VersionId"].as_str().with_context(|| whole.to_string())?;
    cloud.local.aws(&[&get[..], &["--version-id", version, to]].concat())?;
    ensure!(fs::read(&back)? == bytes, "another content in the former version");
    cloud.local.aws(&[&get[..], &[to]].concat())?;
    ensure!(fs::read(&back)? == b"newer");
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("path")
}
