//! The instance metadata service, version 2: who this machine is, and what its role may sign with.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use secrecy::SecretString;
use serde::Deserialize;

use super::{Tried, patiently};
use crate::curl::{self, Request};

/// The service's address, on every instance.
const ADDRESS: &str = "http://169.254.169.254";

/// AWS's own name for the variable that gives another.
const ADDRESS_VARIABLE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";

/// How long a token lives, in seconds: as long as these few questions take.
const TOKEN_SECONDS: &str = "300";

/// The service is on the machine's own host: what takes longer is not there.
const LIMIT: Duration = Duration::from_secs(5);
const ONE_TRY: Duration = Duration::from_secs(1);

/// Who the machine is.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Its Region.
    pub region: String,
    /// The domain of the services there: `amazonaws.com`.
    pub domain: String,
    /// Its role.
    pub role: String,
    /// What the role signs with.
    pub credentials: Credentials,
}

/// Credentials of a role.
#[derive(Debug, Clone)]
pub struct Credentials {
    pub access_key: String,
    pub secret_key: SecretString,
    pub token: Option<SecretString>,
}

impl Identity {
    pub fn of_machine() -> Result<Self> {
        let address = std::env::var(ADDRESS_VARIABLE).unwrap_or_else(|_| ADDRESS.to_owned());
        let service = Service::open(address.trim_end_matches('/'))?;
        let role = service.get("meta-data/iam/security-credentials/")?.with_context(|| {
            "the builder has no instance profile, and without one it can't read secrets; \
             leave `instance-profile` out of the recipe for the stack's own, or name one with a role"
        })?;
        let role = role.lines().next().unwrap_or_default().trim().to_owned();
        ensure!(!role.is_empty(), "the builder's instance profile has no role");
        let text = service
            .get(&format!("meta-data/iam/security-credentials/{role}"))?
            .with_context(|| format!("no credentials of role `{role}`"))?;
        let region = service.get("meta-data/placement/region")?.context("no `placement/region`")?;
        let domain = service.get("meta-data/services/domain")?.context("no `services/domain`")?;
        Ok(Self { region, domain, credentials: Credentials::parse(&role, &text)?, role })
    }
}

/// EC2's notice that it takes a spot instance back.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Interruption {
    /// What it does to the instance: `terminate`, `stop`, `hibernate`.
    pub action: String,
    /// When, about.
    pub time: String,
}

/// Looks for that notice, which comes about two minutes before. Each look is one try: the next one follows soon.
#[derive(Debug, Default)]
pub struct Notices {
    token: Option<(String, Instant)>,
    spot: Option<bool>,
}

impl Notices {
    /// The notice; none when there is none, or when nobody can tell now.
    pub fn look(&mut self) -> Option<Interruption> {
        let address = std::env::var(ADDRESS_VARIABLE).unwrap_or_else(|_| ADDRESS.to_owned());
        let address = address.trim_end_matches('/');
        if self.spot == Some(false) {
            return None;
        }
        let life = Duration::from_secs(TOKEN_SECONDS.parse().unwrap_or(0)) / 2;
        let token = match self.token.take() {
            Some((token, since)) if since.elapsed() < life => (token, since),
            Some(_) | None => {
                let url = format!("{address}/latest/api/token");
                let headers = vec![("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)];
                let request = Request { url: &url, method: Some("PUT"), headers, ..Request::default() };
                (once(&request)??, Instant::now())
            }
        };
        let get = |path: &str| {
            let url = format!("{address}/latest/meta-data/{path}");
            let headers = vec![("X-aws-ec2-metadata-token", token.0.as_str())];
            once(&Request { url: &url, headers, ..Request::default() })
        };
        if self.spot.is_none() {
            self.spot = get("instance-life-cycle").map(|life| life.as_deref() == Some("spot"));
        }
        let text = if self.spot == Some(true) { get("spot/instance-action").flatten() } else { None };
        self.token = Some(token);
        serde_json::from_str(&text?).ok()
    }
}

/// One try: an answer, or that there is no such document; none when the service did not say.
fn once(request: &Request<'_>) -> Option<Option<String>> {
    let response = curl::ask(request, ONE_TRY).ok()?;
    match response.status {
        200 => String::from_utf8(response.body).ok().map(|text| Some(text.trim().to_owned())),
        404 => Some(None),
        _ => None,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    code: String,
    access_key_id: Option<String>,
    secret_access_key: Option<SecretString>,
    token: Option<SecretString>,
}

impl Credentials {
    fn parse(role: &str, text: &str) -> Result<Self> {
        // The text may hold a key: an error tells its place and never its content.
        let document: Document = serde_json::from_str(text)
            .map_err(|error| anyhow!("the credentials of role `{role}` are no document: {}", error.line()))?;
        match document {
            Document {
                code,
                access_key_id: Some(access_key),
                secret_access_key: Some(secret_key),
                token,
            } if code == "Success" => Ok(Self { access_key, secret_key, token }),
            Document { code, .. } => bail!("the credentials of role `{role}` are not there: {code}"),
        }
    }
}

/// The service, with a session's token.
struct Service<'a> {
    address: &'a str,
    token: String,
}

impl<'a> Service<'a> {
    fn open(address: &'a str) -> Result<Self> {
        let url = format!("{address}/latest/api/token");
        let request = Request {
            url: &url,
            method: Some("PUT"),
            headers: vec![("X-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS)],
            ..Request::default()
        };
        let token = answer(&request)?.context("it gives no token: is it turned off for this instance?")?;
        Ok(Self { address, token })
    }

    /// A document; none when there is no such thing.
    fn get(&self, path: &str) -> Result<Option<String>> {
        let url = format!("{}/latest/{path}", self.address);
        let headers = vec![("X-aws-ec2-metadata-token", self.token.as_str())];
        answer(&Request { url: &url, headers, ..Request::default() })
    }
}

fn answer(request: &Request<'_>) -> Result<Option<String>> {
    patiently(|| {
        let response = match curl::ask(request, LIMIT) {
            Ok(response) => response,
            Err(error) => return Ok(Tried::Busy(error)),
        };
        match response.status {
            200 => Ok(Tried::Done(Some(String::from_utf8(response.body)?.trim().to_owned()))),
            404 => Ok(Tried::Done(None)),
            status if status >= 500 || status == 429 => {
                Ok(Tried::Busy(anyhow!("{} answered {status}", request.url)))
            }
            status => bail!("{} answered {status}", request.url),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_that_can_t_be_read_are_not_shown() {
        let error =
            Credentials::parse("r", r#"{"Code": "Success", "SecretAccessKey": hunter2}"#).unwrap_err();
        assert!(!format!("{error:#}").contains("hunter2"), "{error:#}");
        let error = Credentials::parse("r", r#"{"Code": "AssumeRoleUnauthorizedAccess"}"#).unwrap_err();
        assert!(error.to_string().contains("AssumeRoleUnauthorizedAccess"));
    }
}
