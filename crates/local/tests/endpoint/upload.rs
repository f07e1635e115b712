//! A file in parts, to the S3 that is behind the endpoint: what is there afterwards is the file, byte by byte.

use std::fs;

use ovenbird_aws::{
    Access, LocalCloud,
    upload::{Parts, Sent},
};
use ovenbird_core::{domain::digest, ports::Bucket as _};
use ovenbird_local::Credentials;

use crate::{
    adapter::settings,
    cloud::{Cloud, options},
};

/// The smallest parts that S3 takes, and one request for nothing.
const SMALL: Parts = Parts { in_one: 0, part: 5 << 20, most: 10_000 };

#[test]
fn a_file_in_parts_is_whole_in_the_bucket_and_leaves_no_part() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(options) = options(folder.path()) else { return };
    let cloud = Cloud::start(options);
    cloud.aws(&["s3api", "create-bucket", "--bucket", "bucket"]);
    // Three parts, of which the last is small; no two parts are alike.
    let bytes: Vec<u8> = (0..2_800_000_u32).flat_map(u32::to_le_bytes).collect();
    let path = folder.path().join("app.jar");
    fs::write(&path, &bytes).expect("a file");
    let sent = Sent::default();
    let (head, hashed) = cloud.ask(async {
        let key = Credentials::of(&cloud.options.home).expect("the operator's key");
        let (endpoint, access_key, secret) = (cloud.options.endpoint(), key.access_key, key.secret);
        let local = LocalCloud { endpoint, access_key, secret };
        let adapter = ovenbird_aws::Cloud::with(settings(), Access::Local(&local)).await;
        let key = "artifacts/shop/app.jar";
        adapter.put_file(key, &path, SMALL, &sent).await.expect("it is uploaded");
        let head = adapter.head(key, None).await.expect("an answer").expect("it is there");
        (head, adapter.sha256(key, None).await.expect("its hash"))
    });
    assert_eq!(head.bytes, bytes.len() as u64);
    // Of parts S3 has the hash of hashes: it must never be taken for that of the file.
    assert_eq!(head.sha256, None);
    assert_eq!(hashed, digest::sha256(&bytes));
    assert!(sent.bytes() >= bytes.len() as u64, "{}", sent.bytes());
    let left = cloud.aws(&["s3api", "list-multipart-uploads", "--bucket", "bucket", "--query", "Uploads"]);
    assert_eq!(left, "None");
    cloud.down();
}
