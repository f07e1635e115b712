//! The bucket, through S3.

use std::time::Duration;

use aws_sdk_s3::{
    presigning::PresigningConfig,
    primitives::ByteStream,
    types::{ChecksumAlgorithm, ChecksumMode, ChecksumType},
};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{artifact, digest::Hash, id::Digest, names::Names, plan::PresignedUrl},
    ports::{Bucket, LOOKED_THROUGH, Object, Presigner},
    store::keys,
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// Codes by which S3 says that an object is not there.
const NO_OBJECT: &[&str] = &["NoSuchKey", "NotFound", "NoSuchVersion", "404"];

impl Bucket for Cloud {
    async fn text(&self, key: &str) -> Result<Option<String>> {
        Ok(self.read(key).await?.map(|(text, _)| text))
    }

    async fn written_text(&self, key: &str) -> Result<Option<(String, Timestamp)>> {
        self.read(key).await
    }

    async fn put_text(&self, key: &str, text: &str) -> Result<()> {
        self.put(key, ByteStream::from(text.as_bytes().to_vec())).await
    }

    async fn head(&self, key: &str, version: Option<&str>) -> Result<Option<Object>> {
        let request = self.s3.head_object().bucket(&self.settings.bucket).key(key);
        let request = request.checksum_mode(ChecksumMode::Enabled);
        let answer = match request.set_version_id(version.map(str::to_owned)).send().await {
            Ok(answer) => answer,
            Err(error) if NO_OBJECT.contains(&code(&error)) => return Ok(None),
            // An answer to HEAD has no body, so the SDK often knows only that it was a 404.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 404) => {
                return Ok(None);
            }
            // And that a 403 was one: without its code it would pass for a request that nobody answered.
            Err(error) if error.raw_response().is_some_and(|raw| raw.status().as_u16() == 403) => {
                let source = Some(Box::new(translate("s3:GetObject", key, &error)));
                return Err(Error::Denied { operation: "s3:GetObject".into(), subject: key.into(), source });
            }
            Err(error) => return Err(translate("s3:GetObject", key, &error)),
        };
        Ok(Some(Object {
            key: key.to_owned(),
            // An unversioned bucket calls every version "null".
            version: answer.version_id().filter(|version| *version != "null").map(str::to_owned),
            bytes: u64::try_from(answer.content_length().unwrap_or(0)).unwrap_or(0),
            written: time("s3:GetObject", key, answer.last_modified())?,
            sha256: whole_sha256(answer.checksum_type(), answer.checksum_sha256()),
        }))
    }

    async fn newest(&self, prefix: &str, names: Option<&Names>) -> Result<Option<Object>> {
        let request = self.s3.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut newest: Option<Object> = None;
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("s3:ListBucket", prefix, &error))?;
            for one in page.contents() {
                let key = one.key().unwrap_or_default();
                let bytes = u64::try_from(one.size().unwrap_or(0)).unwrap_or(0);
                // No artifact, however new it is.
                if artifact::is_passed_over(key, bytes, names) {
                    continue;
                }
                let written = time("s3:ListBucket", key, one.last_modified())?;
                if newest.as_ref().is_none_or(|newest| newest.written <= written) {
                    newest =
                        Some(Object { key: key.to_owned(), version: None, bytes, written, sha256: None });
                }
            }
        }
        Ok(newest)
    }

    async fn has_any(&self, prefix: &str, names: Option<&Names>) -> Result<bool> {
        let request = self.s3.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix);
        let mut pages = request.into_paginator().send();
        let mut looked = 0;
        while let Some(page) = pages.next().await {
            if looked >= LOOKED_THROUGH {
                return Ok(true);
            }
            let page = page.map_err(|error| translate("s3:ListBucket", prefix, &error))?;
            let found = page.contents().iter().any(|one| {
                let bytes = u64::try_from(one.size().unwrap_or(0)).unwrap_or(0);
                !artifact::is_passed_over(one.key().unwrap_or_default(), bytes, names)
            });
            if found {
                return Ok(true);
            }
            looked += page.contents().len();
        }
        Ok(false)
    }

    async fn sha256(&self, key: &str, version: Option<&str>) -> Result<Digest> {
        let request = self.s3.get_object().bucket(&self.settings.bucket).key(key);
        let answer = request.set_version_id(version.map(str::to_owned)).send().await;
        let mut body = answer.map_err(|error| translate("s3:GetObject", key, &error))?.body;
        let mut hash = Hash::default();
        // Piece by piece: an artifact may be larger than the function's memory.
        while let Some(bytes) = body.next().await {
            hash.update(&bytes.map_err(|error| cut("s3:GetObject", key, &error))?);
        }
        Ok(hash.finish())
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        let request = self.s3.list_objects_v2().bucket(&self.settings.bucket).prefix(prefix).delimiter("/");
        let mut pages = request.into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| translate("s3:ListBucket", prefix, &error))?;
            let folders = page.common_prefixes().iter().filter_map(|folder| folder.prefix());
            names
                .extend(folders.filter_map(|folder| {
                    Some(folder.strip_prefix(prefix)?.trim_end_matches('/').to_owned())
                }));
        }
        Ok(names)
    }
}

impl Presigner for Cloud {
    async fn get_url(&self, key: &str, version: Option<&str>, seconds: u64) -> Result<PresignedUrl> {
        let request = self.s3.get_object().bucket(&self.settings.bucket).key(key);
        let request = request.set_version_id(version.map(str::to_owned));
        let signed = request.presigned(lasting("s3:GetObject", key, seconds)?).await;
        signed.map(|url| PresignedUrl::new(url.uri())).map_err(|error| translate("s3:GetObject", key, &error))
    }

    fn endpoint(&self) -> Option<String> {
        self.endpoint.clone()
    }

    async fn put_url(&self, key: &str, seconds: u64) -> Result<PresignedUrl> {
        let request = self.s3.put_object().bucket(&self.settings.bucket).key(key);
        let signed = request.presigned(lasting("s3:PutObject", key, seconds)?).await;
        signed.map(|url| PresignedUrl::new(url.uri())).map_err(|error| translate("s3:PutObject", key, &error))
    }
}

impl Cloud {
    /// A small text object, and when it was written.
    async fn read(&self, key: &str) -> Result<Option<(String, Timestamp)>> {
        let answer = match self.s3.get_object().bucket(&self.settings.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if NO_OBJECT.contains(&code(&error)) => return Ok(None),
            Err(error) => return Err(translate("s3:GetObject", key, &error)),
        };
        let written = time("s3:GetObject", key, answer.last_modified())?;
        let bytes = whole(answer.body, key, keys::largest(key)).await?;
        let text = String::from_utf8(bytes).map_err(|error| unreadable("s3:GetObject", key, error))?;
        Ok(Some((text, written)))
    }

    /// The bytes of an object that fits into memory; none when there is none.
    pub async fn bytes(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let answer = match self.s3.get_object().bucket(&self.settings.bucket).key(key).send().await {
            Ok(answer) => answer,
            Err(error) if NO_OBJECT.contains(&code(&error)) => return Ok(None),
            Err(error) => return Err(translate("s3:GetObject", key, &error)),
        };
        let bytes = answer.body.collect().await.map_err(|error| cut("s3:GetObject", key, &error))?;
        Ok(Some(bytes.to_vec()))
    }

    /// Uploads an object: what the operators' command does with recipes and artifacts.
    pub async fn put(&self, key: &str, body: ByteStream) -> Result<()> {
        let request = self.s3.put_object().bucket(&self.settings.bucket).key(key).body(body);
        request.send().await.map(drop).map_err(|error| translate("s3:PutObject", key, &error))
    }

    /// Uploads a file.
    pub async fn put_file(&self, key: &str, path: &std::path::Path) -> Result<()> {
        let body = ByteStream::from_path(path).await.map_err(|error| {
            Error::bad_input(
                format!("file `{}`", path.display()),
                error.to_string(),
                "Name a file that can be read",
            )
        })?;
        // With a SHA-256 by S3, the bake need not read the artifact to know its hash.
        let request = self.s3.put_object().bucket(&self.settings.bucket).key(key).body(body);
        let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256);
        request.send().await.map(drop).map_err(|error| translate("s3:PutObject", key, &error))
    }
}

/// All bytes of an object, if they are no more than `most`.
async fn whole(mut body: ByteStream, key: &str, most: usize) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|error| cut("s3:GetObject", key, &error))?;
        if bytes.len() > most - all.len() {
            return Err(keys::too_large(key));
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

/// The checksum that S3 keeps, if it is of the whole object: of a multipart upload it is one of its parts' checksums.
fn whole_sha256(kind: Option<&ChecksumType>, checksum: Option<&str>) -> Option<Digest> {
    let bytes = aws_smithy_types::base64::decode(checksum?).ok()?;
    match kind {
        Some(ChecksumType::FullObject) => Digest::from_bytes(&bytes).ok(),
        // A composite one, or an S3 that doesn't say: the bytes are read instead.
        _ => None,
    }
}

fn lasting(operation: &'static str, key: &str, seconds: u64) -> Result<PresigningConfig> {
    PresigningConfig::expires_in(Duration::from_secs(seconds))
        .map_err(|error| unreadable(operation, key, error))
}

fn time(
    operation: &'static str,
    key: &str,
    time: Option<&aws_sdk_s3::primitives::DateTime>,
) -> Result<Timestamp> {
    let time = time.ok_or_else(|| unreadable(operation, key, "no time of its last change"))?;
    Timestamp::from_second(time.secs()).map_err(|error| unreadable(operation, key, error))
}

/// A body that ended early: the step runs again.
fn cut(operation: &'static str, key: &str, error: &dyn std::error::Error) -> Error {
    let source = unreadable(operation, key, error);
    Error::Throttled { operation: operation.to_owned(), source: Some(Box::new(source)) }
}
