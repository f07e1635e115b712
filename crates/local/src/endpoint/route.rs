//! Which service a request is meant for: its signature says so.

use http::{HeaderMap, Uri};

use crate::auth::CONTROL_SERVICE;

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The world's EC2.
    Ec2,
    /// The world's Auto Scaling.
    AutoScaling,
    /// The world's Elastic Load Balancing.
    Elb,
    /// The rules of the world's Recycle Bin.
    RecycleBin,
    /// The world's commands and checked parameters, for this operation; the rest of SSM is passed on.
    Ssm(String),
    /// The local cloud's own affairs: what stands after `/_ovenbird/`.
    Control(String),
    /// `MiniStack`.
    PassOn,
    /// Nobody: the path is the local cloud's own, and the signature is for another service, or the other way round.
    Nowhere,
}

/// The path that no AWS service has: bucket names begin with a letter or digit.
const CONTROL: &str = "/_ovenbird/";

impl Route {
    /// The route of a request that is signed for a service.
    pub fn of(service: &str, uri: &Uri, headers: &HeaderMap) -> Self {
        match (service, uri.path().strip_prefix(CONTROL)) {
            (CONTROL_SERVICE, Some(rest)) => Self::Control(rest.to_owned()),
            (CONTROL_SERVICE, None) | (_, Some(_)) => Self::Nowhere,
            ("ec2", None) => Self::Ec2,
            ("autoscaling", None) => Self::AutoScaling,
            ("elasticloadbalancing", None) => Self::Elb,
            ("rbin", None) => Self::RecycleBin,
            ("ssm", None) => operation(headers).map_or(Self::PassOn, Self::Ssm),
            (_, None) => Self::PassOn,
        }
    }
}

/// The service of the credential's scope, `KEY/date/region/SERVICE/aws4_request`, before anything is verified: only
/// good for choosing the form of a refusal.
pub(super) fn service(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let scope = match header.and_then(|header| header.split_once("Credential=")) {
        Some((_, rest)) => rest.split([',', ' ']).next().map(str::to_owned),
        None => form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .find_map(|(name, value)| (name == "X-Amz-Credential").then(|| value.into_owned())),
    };
    scope?.rsplit('/').nth(1).map(str::to_owned)
}

pub(super) fn operation(headers: &HeaderMap) -> Option<String> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.strip_prefix("AmazonSSM.").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(service: &str, uri: &str, target: Option<&str>) -> Route {
        let mut headers = HeaderMap::new();
        if let Some(target) = target {
            headers.insert("x-amz-target", target.parse().expect("a header"));
        }
        Route::of(service, &uri.parse().expect("a URI"), &headers)
    }

    #[test]
    fn the_scope_of_the_signature_decides() {
        assert_eq!(route("ec2", "/", None), Route::Ec2);
        assert_eq!(route("autoscaling", "/", None), Route::AutoScaling);
        assert_eq!(route("elasticloadbalancing", "/", None), Route::Elb);
        assert_eq!(route("rbin", "/rules", None), Route::RecycleBin);
        assert_eq!(route("dynamodb", "/", None), Route::PassOn);
        assert_eq!(route("s3", "/bucket/key", None), Route::PassOn);
        assert_eq!(route("ssm", "/", Some("AmazonSSM.SendCommand")), Route::Ssm("SendCommand".into()));
    }

    #[test]
    fn the_local_cloud_s_own_affairs_have_a_service_of_their_own() {
        assert_eq!(route("ovenbird", "/_ovenbird/status", None), Route::Control("status".into()));
        assert_eq!(route("s3", "/_ovenbird/shutdown", None), Route::Nowhere);
        assert_eq!(route("ovenbird", "/bucket/key", None), Route::Nowhere);
    }

    #[test]
    fn a_refusal_is_in_the_words_of_the_service_that_was_named() {
        let uri = "/?X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fec2%2Faws4_request".parse().expect("a URI");
        assert_eq!(service(&uri, &HeaderMap::new()).as_deref(), Some("ec2"));
        assert_eq!(service(&"/bucket/key".parse().expect("a URI"), &HeaderMap::new()), None);
    }
}
