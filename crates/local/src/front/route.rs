//! Which service a request is meant for: its signature says so.

use http::{HeaderMap, Uri};

/// Who answers a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// The world's EC2.
    Ec2,
    /// The world's commands and checked parameters, for this operation; the rest of SSM is passed on.
    Ssm(String),
    /// The local cloud's own affairs: what stands after `/_ovenbird/`.
    Control(String),
    /// `MiniStack`.
    PassOn,
}

/// The path that no AWS service has: bucket names begin with a letter or digit.
const CONTROL: &str = "/_ovenbird/";

impl Route {
    /// The route of a request.
    pub fn of(uri: &Uri, headers: &HeaderMap) -> Self {
        if let Some(rest) = uri.path().strip_prefix(CONTROL) {
            return Self::Control(rest.to_owned());
        }
        match service(uri, headers).as_deref() {
            Some("ec2") => Self::Ec2,
            Some("ssm") => match operation(headers) {
                Some(operation) => Self::Ssm(operation),
                None => Self::PassOn,
            },
            _ => Self::PassOn,
        }
    }
}

/// The service of the credential's scope: `KEY/date/region/SERVICE/aws4_request`.
fn service(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let header = headers.get("authorization").and_then(|value| value.to_str().ok());
    let scope = match header.and_then(|header| header.split_once("Credential=")) {
        Some((_, rest)) => rest.split([',', ' ']).next().map(str::to_owned),
        None => form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .find_map(|(name, value)| (name == "X-Amz-Credential").then(|| value.into_owned())),
    };
    scope?.rsplit('/').nth(1).map(str::to_owned)
}

fn operation(headers: &HeaderMap) -> Option<String> {
    let target = headers.get("x-amz-target")?.to_str().ok()?;
    target.strip_prefix("AmazonSSM.").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(uri: &str, authorization: Option<&str>, target: Option<&str>) -> Route {
        let mut headers = HeaderMap::new();
        for (name, value) in [("authorization", authorization), ("x-amz-target", target)] {
            if let Some(value) = value {
                headers.insert(name, value.parse().expect("a header"));
            }
        }
        Route::of(&uri.parse().expect("a URI"), &headers)
    }

    #[test]
    fn the_scope_of_the_signature_decides() {
        let scope = |service: &str| {
            format!("AWS4-HMAC-SHA256 Credential=AK/20260101/us-east-1/{service}/aws4_request, Signature=1")
        };
        assert_eq!(route("/", Some(&scope("ec2")), None), Route::Ec2);
        assert_eq!(route("/", Some(&scope("dynamodb")), None), Route::PassOn);
        assert_eq!(
            route("/", Some(&scope("ssm")), Some("AmazonSSM.SendCommand")),
            Route::Ssm("SendCommand".into())
        );
        assert_eq!(
            route("/?X-Amz-Credential=AK%2F20260101%2Fus-east-1%2Fec2%2Faws4_request", None, None),
            Route::Ec2
        );
    }

    #[test]
    fn what_is_not_signed_is_an_object_or_ours() {
        assert_eq!(route("/bucket/key", None, None), Route::PassOn);
        assert_eq!(route("/_ovenbird/status", None, None), Route::Control("status".into()));
    }
}
