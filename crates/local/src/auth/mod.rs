//! Who may ask the local cloud: only those who sign with one of its keys, and never a web page.
//!
//! The local cloud runs programs as root, so whoever may ask it is root. A port on loopback is open to every process
//! of the host, to every page in a browser there (by a form, or by a name that suddenly means 127.0.0.1), and would be
//! to every process in a machine. So each request is signed as for AWS, and the signature is verified; the name in its
//! Host header must be the endpoint's; and what browsers add to requests of pages is refused.

mod chunked;
mod claim;
mod keys;
mod payload;
mod refusal;
mod sign;
mod verify;

use std::{fmt, sync::Arc};

use axum::{body::Body, extract::Request};
use http::{HeaderMap, Uri, header, request::Parts};
use jiff::Timestamp;

pub use self::keys::{Credentials, Holder, Keys, PROFILE};
use self::{
    chunked::Chunks,
    claim::{Claim, Place},
    payload::{Check, Payload, checked, whole},
    verify::verify,
};
pub(crate) use self::{
    payload::Mismatch,
    refusal::{Form, Refusal},
    sign::{CONTROL_SERVICE, signed},
};

/// What tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's.
    pub fn system() -> Self {
        Self::new(Timestamp::now)
    }

    /// Another one, for tests.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}

/// What stands at the endpoint's door.
#[derive(Debug, Clone)]
pub struct Gate {
    /// The keys that are known.
    pub keys: Keys,
    /// The endpoint's port, which is part of its name.
    pub port: u16,
    /// What tells the time.
    pub clock: Clock,
}

/// How a request is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signed {
    /// In a header.
    Header,
    /// In its query: it was presigned, by somebody else perhaps.
    Query,
}

/// A request whose signature is right.
#[derive(Debug)]
pub(crate) struct Admitted<T> {
    /// The request; its body is checked while it is read.
    pub request: Request,
    /// The service that it was signed for.
    pub service: String,
    /// What `find` said of the key's holder.
    pub holder: T,
}

impl Gate {
    /// Lets a request in that the operator or a function signed.
    pub(crate) async fn admit(&self, request: Request) -> Result<Admitted<Holder>, Refusal> {
        self.admit_by(request, |access_key, _| self.keys.find(access_key)).await
    }

    /// Lets a request in that was signed with a key that `find` knows.
    pub(crate) async fn admit_by<T>(
        &self,
        request: Request,
        find: impl FnOnce(&str, Signed) -> Option<(Credentials, T)>,
    ) -> Result<Admitted<T>, Refusal> {
        let (parts, body) = request.into_parts();
        self.is_meant(&parts.uri, &parts.headers)?;
        let claim = Claim::read(&parts)?;
        claim.in_time(self.clock.now())?;
        let signed = match claim.place {
            Place::Header => Signed::Header,
            Place::Query(_) => Signed::Query,
        };
        let (credentials, holder) = find(&claim.access_key, signed).ok_or(Refusal::UnknownKey)?;
        let body = self.verified(&claim, &credentials, &parts, body).await?;
        let request = Request::from_parts(parts, body);
        Ok(Admitted { request, service: claim.service, holder })
    }

    async fn verified(
        &self,
        claim: &Claim,
        credentials: &Credentials,
        parts: &Parts,
        body: Body,
    ) -> Result<Body, Refusal> {
        let payload = Payload::of(claim, parts)?;
        if payload == Payload::Whole {
            let bytes = whole(body).await?;
            verify(claim, credentials, parts, &payload.line(&bytes))?;
            return Ok(Body::from(bytes));
        }
        verify(claim, credentials, parts, &payload.line(&[]))?;
        match &payload {
            Payload::Hash(hash) => checked(body, Check::hash(hash)),
            Payload::SignedChunks { trailers } => {
                let chunks = Chunks::new(claim, credentials, *trailers);
                checked(body, Check::Chunks(Box::new(chunks)))
            }
            Payload::Whole | Payload::Unsigned | Payload::UnsignedChunks => Ok(body),
        }
    }

    /// Whether a request is meant for this endpoint, and comes from a program and not from a page.
    pub(crate) fn is_meant(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if headers.contains_key(header::ORIGIN) {
            return Err(Refusal::Page);
        }
        // `none` is a person who typed the address.
        if headers.get_all("sec-fetch-site").iter().any(|site| site != "none") {
            return Err(Refusal::Page);
        }
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Refusal::Host("no name, or more than one".to_owned()));
        };
        let ours =
            |name: &str| ["127.0.0.1", "localhost"].iter().any(|own| name == format!("{own}:{}", self.port));
        let authority = uri.authority().map(http::uri::Authority::as_str);
        let host = host.to_str().unwrap_or_default();
        match [Some(host), authority].into_iter().flatten().find(|name| !ours(name)) {
            Some(other) => Err(Refusal::Host(other.chars().take(200).collect())),
            None => Ok(()),
        }
    }
}
