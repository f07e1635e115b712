//! The instance metadata service, as cloud-init and the AWS SDKs ask it.
//!
//! It listens in the cloud's network, and not in each machine's: there, port 80 would be taken for every web server.

use std::{
    collections::HashMap,
    fmt, io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, State},
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use jiff::{SignedDuration, Timestamp};
use ovenbird_sim::AuthorizedKey;
use serde_json::json;
use tokio::task::AbortHandle;

use super::{address::mac, forward::listen};
use crate::{auth::Credentials, deploy::architecture};

/// What a machine may know of itself.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The instance's id.
    pub instance: String,
    /// The id of the image it was started from.
    pub image: String,
    /// The instance type: `c7i.large`.
    pub instance_type: String,
    /// The availability zone: `us-east-1a`.
    pub zone: String,
    /// The Region: `us-east-1`.
    pub region: String,
    /// The account's number.
    pub account: String,
    /// The machine's address in the local cloud's network. The service knows a machine by it.
    pub address: Ipv4Addr,
    /// The host name that cloud-init sets.
    pub hostname: String,
    /// The name of its instance profile.
    pub profile: Option<String>,
    /// What its role signs with: its own, and worth nothing elsewhere.
    pub role: Credentials,
    /// What cloud-init runs.
    pub user_data: Option<Vec<u8>>,
    /// Whether a session token is required (IMDSv2).
    pub tokens_required: bool,
    /// The key that it lets in.
    pub key: Option<AuthorizedKey>,
    /// Whether it is a spot instance.
    pub spot: bool,
    /// EC2's notice that it takes the instance back, once there is one. It outlives a reboot.
    pub interruption: Arc<OnceLock<Interruption>>,
}

/// EC2's notice that it takes a spot instance back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interruption {
    /// When the instance is terminated.
    pub at: Timestamp,
}

impl Interruption {
    /// The document `spot/instance-action`.
    fn document(self) -> String {
        json!({"action": "terminate", "time": seconds(self.at)}).to_string()
    }
}

struct Service {
    identity: Identity,
    /// When each session token ends.
    tokens: Mutex<HashMap<String, Instant>>,
}

/// The service for all machines: who asks is told by its address.
#[derive(Clone, Default)]
pub struct Metadata(Arc<Mutex<HashMap<Ipv4Addr, Arc<Service>>>>);

impl fmt::Debug for Metadata {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.services().keys()).finish()
    }
}

impl Metadata {
    /// The address at which every machine finds it.
    pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);

    /// Serves it on port 80 in the network namespace of a process, until the handle is told to end it.
    pub(crate) fn serve(&self, pid: u32) -> io::Result<AbortHandle> {
        let listener = listen(pid, (Self::ADDRESS, 80).into())?;
        let router = Router::new().fallback(answer).with_state(self.clone());
        let router = router.into_make_service_with_connect_info::<SocketAddr>();
        Ok(tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle())
    }

    /// Knows a machine from now on, until what it gives is dropped.
    pub(super) fn know(&self, identity: Identity) -> Known {
        let service = Arc::new(Service { identity, tokens: Mutex::default() });
        self.services().insert(service.identity.address, Arc::clone(&service));
        Known { metadata: self.clone(), service }
    }

    fn services(&self) -> MutexGuard<'_, HashMap<Ipv4Addr, Arc<Service>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A machine that the service knows.
pub(super) struct Known {
    metadata: Metadata,
    service: Arc<Service>,
}

impl fmt::Debug for Known {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Identity { instance, address, .. } = &self.service.identity;
        write!(formatter, "{instance} at {address}")
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let (address, mut services) = (self.service.identity.address, self.metadata.services());
        // The instance may have been started again meanwhile, and has its address still.
        if services.get(&address).is_some_and(|service| Arc::ptr_eq(service, &self.service)) {
            services.remove(&address);
        }
    }
}

async fn answer(
    State(metadata): State<Metadata>,
    ConnectInfo(from): ConnectInfo<SocketAddr>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let service = match from.ip() {
        IpAddr::V4(address) => metadata.services().get(&address).cloned(),
        IpAddr::V6(_) => None,
    };
    let Some(service) = service else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if method == Method::PUT {
        return token(&service, &uri, &headers);
    }
    if method != Method::GET {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let given = headers.get("x-aws-ec2-metadata-token").and_then(|token| token.to_str().ok());
    let known = given.is_some_and(|token| {
        let ends = service.tokens().get(token).copied();
        ends.is_some_and(|ends| Instant::now() < ends)
    });
    // A wrong token is refused even where none is required.
    if !known && (given.is_some() || service.identity.tokens_required) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some((_version, path)) = uri.path().trim_start_matches('/').split_once('/') else {
        return match uri.path() {
            "/" => "1.0\n2009-04-04\n2021-03-23\nlatest".into_response(),
            _ => StatusCode::NOT_FOUND.into_response(),
        };
    };
    match document(&service.identity, path) {
        Some(document) => Body::from(document).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

impl Service {
    fn tokens(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session token. A request that came through a proxy gets none, and only `latest` gives them: so it is at AWS.
fn token(service: &Service, uri: &Uri, headers: &HeaderMap) -> Response {
    const SECONDS: &str = "x-aws-ec2-metadata-token-ttl-seconds";
    if uri.path() != "/latest/api/token" || headers.contains_key("x-forwarded-for") {
        return StatusCode::FORBIDDEN.into_response();
    }
    let seconds = headers.get(SECONDS).and_then(|value| value.to_str().ok()?.parse::<u32>().ok());
    let Some(seconds) = seconds.filter(|seconds| (1..=21_600).contains(seconds)) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let (token, now) = (uuid::Uuid::new_v4().simple().to_string(), Instant::now());
    let mut tokens = service.tokens();
    tokens.retain(|_, ends| now < *ends);
    tokens.insert(token.clone(), now + Duration::from_secs(seconds.into()));
    ([(SECONDS, seconds.to_string())], token).into_response()
}

fn document(identity: &Identity, path: &str) -> Option<Vec<u8>> {
    let path = path.trim_end_matches('/');
    if path == "user-data" {
        return identity.user_data.clone();
    }
    if path == "dynamic/instance-identity" {
        return Some(b"document".to_vec());
    }
    if path == "dynamic/instance-identity/document" {
        let document = json!({
            "accountId": identity.account, "architecture": architecture(), "availabilityZone": identity.zone,
            "imageId": identity.image, "instanceId": identity.instance, "instanceType": identity.instance_type,
            "privateIp": identity.address, "region": identity.region, "version": "2017-09-30",
        });
        return Some(document.to_string().into_bytes());
    }
    let rest = path.strip_prefix("meta-data").map(|rest| rest.trim_start_matches('/'));
    let text = match rest {
        Some("") => {
            let iam = if identity.profile.is_some() { "iam/\n" } else { "" };
            let keys = if identity.key.is_some() { "public-keys/\n" } else { "" };
            let spot = if identity.interruption.get().is_some() { "spot/\n" } else { "" };
            format!(
                "ami-id\nhostname\n{iam}instance-id\ninstance-life-cycle\ninstance-type\nlocal-hostname\nlocal-ipv4\nmac\nplacement/\n{keys}services/\n{spot}"
            )
        }
        Some("ami-id") => identity.image.clone(),
        Some("hostname" | "local-hostname") => identity.hostname.clone(),
        Some("instance-id") => identity.instance.clone(),
        Some("instance-life-cycle") => if identity.spot { "spot" } else { "on-demand" }.to_owned(),
        Some("instance-type") => identity.instance_type.clone(),
        Some("local-ipv4") => identity.address.to_string(),
        Some("mac") => mac(identity.address),
        Some("placement") => "availability-zone\nregion".to_owned(),
        Some("placement/availability-zone") => identity.zone.clone(),
        Some("placement/region") => identity.region.clone(),
        Some("public-keys") => format!("0={}", identity.key.as_ref()?.name),
        Some("public-keys/0") => identity.key.as_ref().map(|_| "openssh-key".to_owned())?,
        Some("public-keys/0/openssh-key") => identity.key.as_ref()?.line.clone(),
        Some("services") => "domain\npartition".to_owned(),
        Some("services/domain") => "amazonaws.com".to_owned(),
        Some("services/partition") => "aws".to_owned(),
        // The folder is there with the notice, and not before.
        Some("spot") => {
            identity.interruption.get().map(|_| "instance-action\ntermination-time".to_owned())?
        }
        Some("spot/instance-action") => identity.interruption.get()?.document(),
        Some("spot/termination-time") => seconds(identity.interruption.get()?.at),
        Some("iam") if identity.profile.is_some() => "info\nsecurity-credentials/".to_owned(),
        Some("iam/info") => {
            let profile = identity.profile.as_ref()?;
            let arn = format!("arn:aws:iam::{}:instance-profile/{profile}", identity.account);
            json!({"Code": "Success", "InstanceProfileArn": arn}).to_string()
        }
        // A profile has one role; here both have one name.
        Some("iam/security-credentials") => identity.profile.clone()?,
        Some(rest) => {
            let role = rest.strip_prefix("iam/security-credentials/")?;
            identity.profile.as_ref().filter(|profile| *profile == role)?;
            credentials(&identity.role, Timestamp::now())
        }
        None => return None,
    };
    Some(text.into_bytes())
}

/// A role's credentials, for as long as AWS's would live.
fn credentials(role: &Credentials, now: Timestamp) -> String {
    json!({
        "Code": "Success", "LastUpdated": seconds(now), "Type": "AWS-HMAC",
        "AccessKeyId": role.access_key, "SecretAccessKey": role.secret, "Token": role.token,
        "Expiration": seconds(now + SignedDuration::from_hours(6)),
    })
    .to_string()
}

/// As AWS writes a time there: without parts of a second.
fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(profile: Option<&str>) -> Identity {
        Identity {
            instance: "i-1".into(),
            image: "ami-1".into(),
            instance_type: "m7i.large".into(),
            zone: "us-east-1a".into(),
            region: "us-east-1".into(),
            account: "123456789012".into(),
            address: Ipv4Addr::LOCALHOST,
            hostname: "ip-1".into(),
            profile: profile.map(str::to_owned),
            role: Credentials::machine(),
            user_data: None,
            tokens_required: true,
            key: None,
            spot: false,
            interruption: Arc::default(),
        }
    }

    fn get(profile: Option<&str>, path: &str) -> Option<String> {
        document(&identity(profile), path).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn an_instance_with_a_profile_has_its_role_s_credentials() {
        let role = get(Some("builder"), "meta-data/iam/security-credentials/").unwrap();
        let text = get(Some("builder"), &format!("meta-data/iam/security-credentials/{role}")).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["Code"], "Success");
        let expiration: Timestamp = document["Expiration"].as_str().unwrap().parse().unwrap();
        assert!(expiration > Timestamp::now());
        assert_eq!(get(Some("builder"), "meta-data/iam/security-credentials/other"), None);
    }

    #[test]
    fn an_instance_without_a_profile_has_none() {
        assert_eq!(get(None, "meta-data/iam/security-credentials/"), None);
        assert_eq!(get(None, "meta-data/iam/security-credentials/builder"), None);
        assert!(!get(None, "meta-data/").unwrap().contains("iam"));
    }

    #[test]
    fn the_key_of_its_launch_is_told_where_there_is_one() {
        let key = AuthorizedKey { name: "mine".into(), line: "ssh-ed25519 AAAA mine".into() };
        let with = Identity { key: Some(key), ..identity(None) };
        let told = |path: &str| document(&with, path).map(|bytes| String::from_utf8(bytes).unwrap());
        assert!(told("meta-data/").unwrap().contains("public-keys/\n"));
        assert_eq!(told("meta-data/public-keys/").as_deref(), Some("0=mine"));
        assert_eq!(told("meta-data/public-keys/0/openssh-key").as_deref(), Some("ssh-ed25519 AAAA mine"));
        assert_eq!(get(None, "meta-data/public-keys/"), None);
        assert!(!get(None, "meta-data/").unwrap().contains("public-keys"));
    }

    #[test]
    fn a_spot_instance_is_told_that_it_is_taken_back_once_that_is_so() {
        assert_eq!(get(None, "meta-data/instance-life-cycle").as_deref(), Some("on-demand"));
        let spot = Identity { spot: true, ..identity(None) };
        let told = |path: &str| document(&spot, path).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(told("meta-data/instance-life-cycle").as_deref(), Some("spot"));
        assert_eq!(told("meta-data/spot/instance-action"), None);
        assert!(!told("meta-data/").unwrap().contains("spot/"));
        spot.interruption.set(Interruption { at: "2026-01-02T03:04:05.678Z".parse().unwrap() }).unwrap();
        assert_eq!(
            told("meta-data/spot/instance-action").as_deref(),
            Some(r#"{"action":"terminate","time":"2026-01-02T03:04:05Z"}"#)
        );
        assert_eq!(told("meta-data/spot/termination-time").as_deref(), Some("2026-01-02T03:04:05Z"));
        assert!(told("meta-data/").unwrap().contains("spot/\n"));
    }

    #[test]
    fn the_region_and_its_domain_are_told() {
        assert_eq!(get(None, "meta-data/placement/region").as_deref(), Some("us-east-1"));
        assert_eq!(get(None, "meta-data/services/domain").as_deref(), Some("amazonaws.com"));
    }
}
