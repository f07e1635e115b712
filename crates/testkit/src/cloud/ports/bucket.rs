//! The bucket, and URLs that it would sign.

use std::collections::BTreeSet;

use jiff::Timestamp;

use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::{self, ArtifactKey},
        digest,
        id::Digest,
        names::Names,
        plan::PresignedUrl,
    },
    ports::{self, Bucket, Presigner},
    store::keys,
};

use super::super::Cloud;

/// S3 says that an object isn't there only to who may list the bucket.
const READ: &[&str] = &["s3:GetObject", "s3:ListBucket"];

fn reading(version: Option<&str>) -> &'static [&'static str] {
    match version {
        Some(_) => &["s3:GetObjectVersion", "s3:ListBucket"],
        None => READ,
    }
}

/// An object's text, as S3's adapter reads it.
fn whole(key: &str, bytes: &[u8]) -> Result<String> {
    if bytes.len() > keys::largest(key) {
        return Err(keys::too_large(key));
    }
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

impl Bucket for Cloud {
    async fn text(&self, key: &str) -> Result<Option<String>> {
        self.call(READ, |state| state.objects.get(key).map(|(bytes, _)| whole(key, bytes)).transpose()).await
    }

    async fn written_text(&self, key: &str) -> Result<Option<(String, Timestamp)>> {
        self.call(READ, |state| {
            let lying = state.objects.get(key).cloned();
            let found = lying.or_else(|| state.hardware.heartbeat(key, state.now));
            found.map(|(bytes, written)| Ok((whole(key, &bytes)?, written))).transpose()
        })
        .await
    }

    async fn put_text(&self, key: &str, text: &str) -> Result<()> {
        self.call(&["s3:PutObject"], |state| {
            state.hardware.read(key, text.as_bytes(), state.now);
            state.objects.insert(key.to_owned(), (text.as_bytes().to_vec(), state.now));
            Ok(())
        })
        .await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<Option<ports::Object>> {
        self.call(reading(version), |state| {
            Ok(state.objects.get(key).map(|(bytes, written)| ports::Object {
                key: key.to_owned(),
                version: version.map(str::to_owned),
                bytes: bytes.len() as u64,
                written: *written,
                sha256: None,
            }))
        })
        .await
    }

    async fn newest(&self, prefix: &str, names: Option<&Names>) -> Result<Option<ports::Object>> {
        self.call(&["s3:ListBucket"], |state| {
            let under = state.objects.iter().filter(|(key, (bytes, _))| {
                key.starts_with(prefix) && !artifact::is_passed_over(key, bytes.len() as u64, names)
            });
            Ok(under.max_by_key(|(_, (_, written))| *written).map(|(key, (bytes, written))| ports::Object {
                key: key.clone(),
                version: None,
                bytes: bytes.len() as u64,
                written: *written,
                sha256: None,
            }))
        })
        .await
    }

    async fn has_any(&self, prefix: &str, names: Option<&Names>) -> Result<bool> {
        self.call(&["s3:ListBucket"], |state| {
            let mut under = state.objects.iter().filter(|(key, _)| key.starts_with(prefix));
            let found = under
                .by_ref()
                .take(ports::LOOKED_THROUGH)
                .any(|(key, (bytes, _))| !artifact::is_passed_over(key, bytes.len() as u64, names));
            Ok(found || under.next().is_some())
        })
        .await
    }

    async fn sha256(&self, key: &str, version: Option<&str>) -> Result<Digest> {
        self.call(reading(version), |state| match state.objects.get(key) {
            Some((bytes, _)) => Ok(digest::sha256(bytes)),
            None => Err(Error::NoArtifact {
                pipeline: ArtifactKey::parse(key)?.pipeline().clone(),
                key: key.to_owned(),
                problem: "is not there".into(),
            }),
        })
        .await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.call(&["s3:ListBucket"], |state| {
            let under = state.objects.keys().filter_map(|key| key.strip_prefix(prefix)?.split_once('/'));
            let names: BTreeSet<String> = under.map(|(name, _)| name.to_owned()).collect();
            Ok(names.into_iter().collect())
        })
        .await
    }
}

impl Presigner for Cloud {
    async fn get_url(&self, key: &str, version: Option<&str>, seconds: u64) -> Result<PresignedUrl> {
        self.sign(reading(version));
        // A signature is of its second, as S3's is: a retry gets another URL.
        Ok(PresignedUrl::new(format!("https://bucket/{key}?expires={seconds}&signature={}", self.now())))
    }

    fn endpoint(&self) -> Option<String> {
        None
    }

    async fn put_url(&self, key: &str, seconds: u64) -> Result<PresignedUrl> {
        self.sign(&["s3:PutObject"]);
        Ok(PresignedUrl::new(format!("https://bucket/{key}?expires={seconds}&signature={}", self.now())))
    }
}
