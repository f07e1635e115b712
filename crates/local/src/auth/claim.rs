//! What a request says of its own signature: in its Authorization header, or in its query when it is presigned.

use std::time::{Duration, SystemTime};

use http::{header, request::Parts};
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};

use super::refusal::Refusal;

/// The one algorithm.
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// How far a request's time may be from ours.
const SKEW: SignedDuration = SignedDuration::from_mins(15);

/// The longest life of a presigned request.
const LONGEST: u64 = 7 * 24 * 60 * 60;

/// Where a signature stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In the Authorization header.
    Header,
    /// In the query, with the time that the request lives.
    Query(Duration),
}

/// A signature, as claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// The id of the key that it says it was signed with.
    pub access_key: String,
    /// The Region of the scope.
    pub region: String,
    /// The service of the scope.
    pub service: String,
    /// When it was signed.
    pub time: Timestamp,
    /// The same, as the signer takes it.
    pub system_time: SystemTime,
    /// The headers that are part of it, in lower case.
    pub signed_headers: Vec<String>,
    /// The signature itself.
    pub signature: String,
    /// The session token that came with it.
    pub token: Option<String>,
    /// Where it stands.
    pub place: Place,
}

impl Claim {
    /// Reads what a request says of its own signature. Nothing of it is verified here.
    pub fn read(parts: &Parts) -> Result<Self, Refusal> {
        let mut authorizations = parts.headers.get_all(header::AUTHORIZATION).iter();
        let query: Vec<(String, String)> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let presigned = query.iter().any(|(name, _)| name == "X-Amz-Signature" || name == "X-Amz-Credential");
        let old = query.iter().any(|(name, _)| name == "AWSAccessKeyId")
            || parts
                .headers
                .get(header::AUTHORIZATION)
                .is_some_and(|value| value.as_bytes().starts_with(b"AWS "));
        if old {
            return Err(malformed(
                "it is of version 2; ask for version 4: `aws configure set default.s3.signature_version s3v4`",
            ));
        }
        match (authorizations.next(), authorizations.next(), presigned) {
            (None, _, false) => Err(Refusal::Unsigned),
            (Some(header), None, false) => {
                let text = header.to_str().map_err(|_| malformed("the Authorization header is no text"))?;
                Self::from_header(text, parts)
            }
            (None, _, true) => Self::from_query(&query),
            _ => Err(malformed("it is signed more than once")),
        }
    }

    fn from_header(text: &str, parts: &Parts) -> Result<Self, Refusal> {
        let fields = text
            .strip_prefix(ALGORITHM)
            .and_then(|rest| rest.strip_prefix(' '))
            .ok_or_else(|| malformed(&format!("it does not begin with {ALGORITHM}")))?;
        let field = |name: &str| {
            let mut all = fields.split(',').filter_map(|field| field.trim().split_once('='));
            let found = all.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
            found.ok_or_else(|| malformed(&format!("it has no {name}")))
        };
        let header = |name: &str| {
            let mut values = parts.headers.get_all(name).iter();
            let value = values.next().filter(|_| values.next().is_none())?;
            value.to_str().ok().map(str::to_owned)
        };
        let time = header("x-amz-date").ok_or_else(|| malformed("it needs one X-Amz-Date header"))?;
        let claim = Self::new(
            &field("Credential")?,
            &time,
            &field("SignedHeaders")?,
            field("Signature")?,
            header("x-amz-security-token"),
            Place::Header,
        )?;
        if claim.signed_headers.iter().all(|name| name != "x-amz-date") {
            return Err(malformed("it does not sign X-Amz-Date"));
        }
        Ok(claim)
    }

    fn from_query(query: &[(String, String)]) -> Result<Self, Refusal> {
        let optional = |name: &str| -> Result<Option<&str>, Refusal> {
            let mut all = query.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
            match (all.next(), all.next()) {
                (value, None) => Ok(value),
                _ => Err(malformed(&format!("it has {name} more than once"))),
            }
        };
        let field =
            |name: &str| optional(name)?.ok_or_else(|| malformed(&format!("its query has no {name}")));
        if field("X-Amz-Algorithm")? != ALGORITHM {
            return Err(malformed(&format!("its algorithm is not {ALGORITHM}")));
        }
        let expires: u64 = field("X-Amz-Expires")?
            .parse()
            .ok()
            .filter(|seconds| (1..=LONGEST).contains(seconds))
            .ok_or_else(|| malformed("X-Amz-Expires is not between 1 and 604800"))?;
        Self::new(
            field("X-Amz-Credential")?,
            field("X-Amz-Date")?,
            field("X-Amz-SignedHeaders")?,
            field("X-Amz-Signature")?.to_owned(),
            optional("X-Amz-Security-Token")?.map(str::to_owned),
            Place::Query(Duration::from_secs(expires)),
        )
    }

    fn new(
        credential: &str,
        time: &str,
        signed_headers: &str,
        signature: String,
        token: Option<String>,
        place: Place,
    ) -> Result<Self, Refusal> {
        let wrong = || malformed("its credential is not KEY/DATE/REGION/SERVICE/aws4_request");
        let mut scope = credential.rsplit('/');
        let (Some("aws4_request"), Some(service), Some(region), Some(date), Some(access_key), None) =
            (scope.next(), scope.next(), scope.next(), scope.next(), scope.next(), scope.next())
        else {
            return Err(wrong());
        };
        if [service, region, access_key].iter().any(|part| part.is_empty()) {
            return Err(wrong());
        }
        let (time_of, system_time) = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", time)
            .and_then(|time| TimeZone::UTC.to_timestamp(time))
            .and_then(|time| Ok((time, SystemTime::try_from(time)?)))
            .ok()
            // Else `20260131T2359 7Z` would be let in for `20260131T235907Z`, which was signed.
            .filter(|(read, _)| read.strftime("%Y%m%dT%H%M%SZ").to_string() == time)
            .ok_or_else(|| malformed("its time is not written as 20260131T235959Z"))?;
        if !time.starts_with(date) || date.len() != 8 {
            return Err(malformed("its time and the date of its credential are two days"));
        }
        let signed_headers: Vec<String> = signed_headers.split(';').map(str::to_owned).collect();
        if signed_headers.iter().all(|name| name != "host") {
            return Err(malformed("it does not sign Host"));
        }
        let mut sorted = signed_headers.clone();
        sorted.sort_unstable();
        sorted.dedup();
        if sorted != signed_headers {
            return Err(malformed("its signed headers are not sorted"));
        }
        Ok(Self {
            access_key: access_key.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            time: time_of,
            system_time,
            signed_headers,
            signature,
            token: token.filter(|token| !token.is_empty()),
            place,
        })
    }

    /// Whether it is of this time.
    pub fn in_time(&self, now: Timestamp) -> Result<(), Refusal> {
        let age = now.duration_since(self.time);
        if age < -SKEW {
            return Err(Refusal::Skewed);
        }
        match self.place {
            Place::Header if age > SKEW => Err(Refusal::Skewed),
            Place::Query(life) if age.as_secs() >= i64::try_from(life.as_secs()).unwrap_or(i64::MAX) => {
                Err(Refusal::Expired)
            }
            Place::Header | Place::Query(_) => Ok(()),
        }
    }
}

fn malformed(problem: &str) -> Refusal {
    Refusal::Malformed(problem.to_owned())
}
