//! Files to the bucket: in one request, or in parts where one is too small.
//!
//! One request is better as long as it does: S3 then keeps the SHA-256 of the whole, and no function has to read it. For
//! parts, S3 offers that for other algorithms alone:
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity-upload.html>

use std::{
    ops::Range,
    path::Path,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use aws_sdk_s3::{
    config::{ConfigBag, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
    primitives::{ByteStream, FsBuilder, Length, SdkBody},
    types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart},
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body::{Body, Frame, SizeHint};
use ovenbird_core::{Error, Result};

use crate::{
    Cloud,
    errors::{translate, unreadable},
};

/// How a file is uploaded: <https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>
#[derive(Debug, Clone, Copy)]
pub struct Parts {
    /// Larger files go in parts.
    pub in_one: u64,
    /// How large a part is at least; all are of one size but the last.
    pub part: u64,
    /// How many there are at most.
    pub most: u64,
}

/// An object has at most so many bytes.
pub const MOST_BYTES: u64 = 5 << 40;

/// So many parts are on their way at once.
const AT_ONCE: usize = 4;

impl Parts {
    /// As S3 takes them.
    pub const S3: Self = Self { in_one: 5 << 30, part: 64 << 20, most: 10_000 };

    /// The parts of a file of this many bytes: none where it goes in one request.
    fn of(self, bytes: u64) -> Vec<Range<u64>> {
        if bytes <= self.in_one {
            return Vec::new();
        }
        let part = self.part.max(bytes.div_ceil(self.most));
        (0..bytes.div_ceil(part)).map(|number| number * part..((number + 1) * part).min(bytes)).collect()
    }
}

/// How many bytes of a file were sent by now. What is sent again counts once.
#[derive(Debug, Clone, Default)]
pub struct Sent(Arc<AtomicU64>);

impl Sent {
    /// So many.
    pub fn bytes(&self) -> u64 {
        self.0.load(Relaxed)
    }

    /// For one request's share.
    fn of_request(&self) -> Counted {
        Counted { all: Arc::clone(&self.0), own: Arc::default() }
    }
}

impl Cloud {
    /// Uploads a file, and counts what was sent.
    ///
    /// Parts of an upload that fails are removed; those of a process that is killed go by the bucket's rule, a week later.
    pub async fn put_file(&self, key: &str, path: &Path, parts: Parts, sent: &Sent) -> Result<()> {
        let bytes = std::fs::metadata(path).map_err(|error| unread(path, &error))?.len();
        let parts = parts.of(bytes);
        if parts.is_empty() {
            let body = file(path, 0..bytes).await?;
            // With a SHA-256 by S3, the bake need not read the artifact to know its hash.
            let request = self.s3.put_object().bucket(&self.settings.bucket).key(key).body(body);
            let request = request.checksum_algorithm(ChecksumAlgorithm::Sha256);
            let done = request.customize().interceptor(sent.of_request()).send().await;
            return done.map(drop).map_err(|error| translate("s3:PutObject", key, &error));
        }
        let request = self.s3.create_multipart_upload().bucket(&self.settings.bucket).key(key);
        let begun = request.checksum_algorithm(ChecksumAlgorithm::Sha256).send().await;
        let begun = begun.map_err(|error| translate("s3:PutObject", key, &error))?;
        let upload = begun.upload_id().ok_or_else(|| unreadable("s3:PutObject", key, "no upload id"))?;
        let done = self.put_parts(key, upload, path, parts, sent).await;
        if done.is_err() {
            let request = self.s3.abort_multipart_upload().bucket(&self.settings.bucket).key(key);
            if let Err(error) = request.upload_id(upload).send().await {
                let error = translate("s3:AbortMultipartUpload", key, &error);
                tracing::warn!("the parts of {key} stay until the bucket's rule removes them: {error}");
            }
        }
        done
    }

    async fn put_parts(
        &self,
        key: &str,
        upload: &str,
        path: &Path,
        parts: Vec<Range<u64>>,
        sent: &Sent,
    ) -> Result<()> {
        let requests = (1..).zip(parts).map(|(number, part)| async move {
            let body = file(path, part).await?;
            let request = self.s3.upload_part().bucket(&self.settings.bucket).key(key).upload_id(upload);
            let request =
                request.part_number(number).checksum_algorithm(ChecksumAlgorithm::Sha256).body(body);
            let put = request.customize().interceptor(sent.of_request()).send().await;
            let put = put.map_err(|error| translate("s3:PutObject", key, &error))?;
            let part = CompletedPart::builder().part_number(number);
            let part = part.set_e_tag(put.e_tag).set_checksum_sha256(put.checksum_sha256);
            Ok::<_, Error>(part.build())
        });
        let whole: Vec<CompletedPart> = stream::iter(requests).buffered(AT_ONCE).try_collect().await?;
        let whole = CompletedMultipartUpload::builder().set_parts(Some(whole)).build();
        let request = self.s3.complete_multipart_upload().bucket(&self.settings.bucket).key(key);
        let done = request.upload_id(upload).multipart_upload(whole).send().await;
        done.map(drop).map_err(|error| translate("s3:PutObject", key, &error))
    }
}

/// A part of a file.
async fn file(path: &Path, part: Range<u64>) -> Result<ByteStream> {
    let body: FsBuilder = ByteStream::read_from().path(path).offset(part.start);
    let body = body.length(Length::Exact(part.end - part.start)).build().await;
    body.map_err(|error| unread(path, &error))
}

fn unread(path: &Path, error: &dyn std::error::Error) -> Error {
    Error::bad_input(
        format!("file `{}`", path.display()),
        error.to_string(),
        "Name a file that can be read, and that nothing writes to meanwhile",
    )
}

/// Counts what is sent of one request's body, try by try.
#[derive(Debug, Clone)]
struct Counted {
    all: Arc<AtomicU64>,
    own: Arc<AtomicU64>,
}

impl aws_sdk_s3::config::Intercept for Counted {
    fn name(&self) -> &'static str {
        "Counted"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // What an earlier try sent is sent again.
        self.all.fetch_sub(self.own.swap(0, Relaxed), Relaxed);
        let body = context.request_mut().body_mut();
        let inner = std::mem::replace(body, SdkBody::taken());
        *body = SdkBody::from_body_1_x(CountedBody { inner, count: self.clone() });
        Ok(())
    }
}

struct CountedBody {
    inner: SdkBody,
    count: Counted,
}

impl http_body::Body for CountedBody {
    type Data = <SdkBody as Body>::Data;
    type Error = <SdkBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            let bytes = data.len() as u64;
            self.count.own.fetch_add(bytes, Relaxed);
            self.count.all.fetch_add(bytes, Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        Body::is_end_stream(&self.inner)
    }

    fn size_hint(&self) -> SizeHint {
        Body::size_hint(&self.inner)
    }
}
