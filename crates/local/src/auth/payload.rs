//! Bodies: what was signed of them, and the check that what comes is that.
//!
//! An object may have gigabytes: a body that is passed on is checked while it passes. Its end is held back until the
//! check is done, so that whoever takes it never has it whole when it is wrong.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Frame, SizeHint};
use sha2::{Digest as _, Sha256};

use super::{
    chunked::Chunks,
    claim::{Claim, Place},
    refusal::Refusal,
};

/// The largest body that is read to be checked: a function of 50 MB, in Base64.
const LARGEST: usize = 72 * 1024 * 1024;

/// What a signature says of the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Payload {
    /// Its hash, as the request itself gives it.
    Hash(String),
    /// Its hash, which is not in the request.
    Whole,
    /// Nothing.
    Unsigned,
    /// Nothing; it comes in chunks with a checksum behind them, which S3 checks.
    UnsignedChunks,
    /// Chunks, each with a signature of its own; with or without signed trailers.
    SignedChunks { trailers: bool },
}

impl Payload {
    /// What this request's signature says of it.
    pub fn of(claim: &Claim, parts: &Parts) -> Result<Self, Refusal> {
        // Only S3 takes a request's word for what its body is; every other service reads the body.
        if claim.service != "s3" {
            return Ok(Self::Whole);
        }
        let header = parts.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok());
        let said = match claim.place {
            Place::Header => header.map(str::to_owned).ok_or_else(|| {
                Refusal::Malformed("a request to S3 needs the header X-Amz-Content-Sha256".to_owned())
            })?,
            Place::Query(_) => {
                let query = parts.uri.query().unwrap_or_default();
                let in_query = form_urlencoded::parse(query.as_bytes())
                    .find_map(|(name, value)| (name == "X-Amz-Content-Sha256").then(|| value.into_owned()));
                let signed = claim.signed_headers.iter().any(|name| name == "x-amz-content-sha256");
                let in_header = header.filter(|_| signed).map(str::to_owned);
                in_query.or(in_header).unwrap_or_else(|| "UNSIGNED-PAYLOAD".to_owned())
            }
        };
        match said.as_str() {
            "UNSIGNED-PAYLOAD" => Ok(Self::Unsigned),
            "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Ok(Self::UnsignedChunks),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Ok(Self::SignedChunks { trailers: false }),
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Ok(Self::SignedChunks { trailers: true }),
            hash if hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
                Ok(Self::Hash(said))
            }
            _ => Err(Refusal::Malformed(format!("X-Amz-Content-Sha256 is `{said}`"))),
        }
    }

    /// The line that stands for it in what was signed; for a whole body, that body's.
    pub fn line(&self, whole: &[u8]) -> String {
        match self {
            Self::Hash(hash) => hash.clone(),
            Self::Whole => hex::encode(Sha256::digest(whole)),
            Self::Unsigned => "UNSIGNED-PAYLOAD".to_owned(),
            Self::UnsignedChunks => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".to_owned(),
            Self::SignedChunks { trailers: false } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned(),
            Self::SignedChunks { trailers: true } => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".to_owned(),
        }
    }
}

/// Reads a body whole.
pub(super) async fn whole(body: Body) -> Result<Bytes, Refusal> {
    match Limited::new(body, LARGEST).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::TooLarge),
        Err(error) => Err(Refusal::Body(error.to_string())),
    }
}

/// The body with its check around it.
pub(super) fn checked(body: Body, check: Check) -> Result<Body, Refusal> {
    // Whoever passes an empty body on doesn't read it.
    if body.size_hint().exact() == Some(0) {
        let mut check = check;
        return match check.end() {
            Ok(()) => Ok(body),
            Err(problem) => Err(Refusal::Body(problem)),
        };
    }
    Ok(Body::new(Checked { inner: body, check, held: None, state: State::Coming }))
}

/// What a body is checked against.
#[derive(Debug)]
pub(super) enum Check {
    /// The hash that it must have.
    Hash { wanted: String, hasher: Sha256 },
    /// The signatures of its chunks.
    Chunks(Box<Chunks>),
}

impl Check {
    /// Against a hash.
    pub fn hash(wanted: &str) -> Self {
        Self::Hash { wanted: wanted.to_ascii_lowercase(), hasher: Sha256::new() }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        match self {
            Self::Hash { hasher, .. } => {
                hasher.update(bytes);
                Ok(())
            }
            Self::Chunks(chunks) => chunks.take(bytes),
        }
    }

    fn end(&mut self) -> Result<(), String> {
        match self {
            Self::Hash { wanted, hasher } => {
                let found = hex::encode(hasher.clone().finalize());
                if found == *wanted { Ok(()) } else { Err(format!("its SHA-256 is {found}, not {wanted}")) }
            }
            Self::Chunks(chunks) => chunks.end(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Coming,
    Ended,
}

/// A body that fails instead of ending when it is another one than was signed.
#[derive(Debug)]
struct Checked {
    inner: Body,
    check: Check,
    /// The last of what came, until more comes or the check is done.
    held: Option<Bytes>,
    state: State,
}

impl HttpBody for Checked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        while this.state == State::Coming {
            match ready!(Pin::new(&mut this.inner).poll_frame(context)) {
                Some(Ok(frame)) => {
                    // What isn't data are trailers of HTTP itself, which nobody here asks for.
                    let Ok(data) = frame.into_data() else { continue };
                    if let Err(problem) = this.check.take(&data) {
                        return Poll::Ready(Some(Err(this.fail(&problem))));
                    }
                    if let Some(before) = this.held.replace(data) {
                        return Poll::Ready(Some(Ok(Frame::data(before))));
                    }
                }
                Some(Err(error)) => {
                    this.state = State::Ended;
                    this.held = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    if let Err(problem) = this.check.end() {
                        return Poll::Ready(Some(Err(this.fail(&problem))));
                    }
                    this.state = State::Ended;
                }
            }
        }
        Poll::Ready(this.held.take().map(|last| Ok(Frame::data(last))))
    }

    fn is_end_stream(&self) -> bool {
        self.state == State::Ended && self.held.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let held = self.held.as_ref().map_or(0, |held| u64::try_from(held.len()).unwrap_or(u64::MAX));
        match self.inner.size_hint().exact() {
            Some(coming) => SizeHint::with_exact(coming.saturating_add(held)),
            None => SizeHint::default(),
        }
    }
}

impl Checked {
    fn fail(&mut self, problem: &str) -> axum::Error {
        self.state = State::Ended;
        self.held = None;
        tracing::warn!("a body is not the one that was signed: {problem}");
        axum::Error::new(Mismatch(problem.to_owned()))
    }
}

/// Why a body failed.
#[derive(Debug, thiserror::Error)]
#[error("the body is not the one that was signed: {0}")]
pub(crate) struct Mismatch(String);

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// The SHA-256 of nothing.
    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn frames(parts: &[&'static str]) -> Body {
        let parts: Vec<_> =
            parts.iter().map(|part| Ok::<_, std::io::Error>(Bytes::from_static(part.as_bytes()))).collect();
        Body::from_stream(stream::iter(parts))
    }

    async fn read(body: Body) -> (Vec<u8>, bool) {
        let (mut seen, mut body) = (Vec::new(), body);
        while let Some(frame) = body.frame().await {
            match frame {
                Ok(frame) => seen.extend(frame.into_data().expect("data")),
                Err(_) => return (seen, false),
            }
        }
        (seen, true)
    }

    #[tokio::test]
    async fn a_body_with_its_hash_passes_whole() {
        let hash = hex::encode(Sha256::digest("one two three"));
        let body = checked(frames(&["one ", "two ", "three"]), Check::hash(&hash)).expect("a body");
        assert_eq!(read(body).await, (b"one two three".to_vec(), true));
    }

    #[tokio::test]
    async fn a_body_with_another_hash_never_arrives_whole() {
        let hash = hex::encode(Sha256::digest("one two four"));
        let body = checked(frames(&["one ", "two ", "three"]), Check::hash(&hash)).expect("a body");
        assert_eq!(read(body).await, (b"one two ".to_vec(), false));
    }

    #[test]
    fn a_body_that_was_taken_away_is_missed() {
        assert!(checked(Body::empty(), Check::hash(OF_NOTHING)).is_ok());
        let hash = hex::encode(Sha256::digest("something"));
        assert!(matches!(checked(Body::empty(), Check::hash(&hash)), Err(Refusal::Body(_))));
    }
}
