//! Whether a signature is right: the request is signed once more, by AWS's own signer, and the two are compared.
//!
//! Crates that verify on the server's side (scratchstack-aws-signature 0.11) take the whole body into memory, and know
//! neither presigned requests' lifetimes nor payloads that are unsigned or come in chunks. The signer of the SDK knows
//! every rule about what is signed, and only needs to be told which headers the client chose.

use std::borrow::Cow;

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::{
    http_request::{
        PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use http::request::Parts;
use subtle::ConstantTimeEq as _;

use super::{
    Credentials,
    claim::{Claim, Place},
    refusal::Refusal,
};

/// Fails unless the claimed signature is the one of this request, with this payload line, by this key.
pub(super) fn verify(
    claim: &Claim,
    credentials: &Credentials,
    parts: &Parts,
    payload: &str,
) -> Result<(), Refusal> {
    // The token is looked at here and not by the signer: it is a header or a parameter like any other.
    if claim.token != credentials.token {
        return Err(Refusal::UnknownKey);
    }
    let mut settings = SigningSettings::default();
    if claim.service == "s3" {
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    }
    // The signer adds the time as a header; in a presigned request it stands in the query, which is signed whole.
    settings.excluded_headers = match claim.place {
        Place::Header => None,
        Place::Query(_) => Some(vec![Cow::Borrowed("x-amz-date")]),
    };
    let identity: Identity =
        SdkCredentials::new(&credentials.access_key, &credentials.secret, None, None, "local cloud").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(&claim.region)
        .name(&claim.service)
        .time(claim.system_time)
        .settings(settings)
        .build()
        .map_err(|error| Refusal::Malformed(error.to_string()))?
        .into();
    let body = SignableBody::Precomputed(payload.to_owned());
    let headers = signed_headers(claim, parts)?;
    let request = SignableRequest::new(parts.method.as_str(), target(parts), headers.into_iter(), body);
    let signed = request.and_then(|request| sign(request, &parameters));
    let signed = signed.map_err(|error| Refusal::Malformed(error.to_string()))?;
    same(signed.signature(), &claim.signature)
}

/// Whether two signatures are the same; how long that takes says nothing about where they differ.
pub(super) fn same(ours: &str, theirs: &str) -> Result<(), Refusal> {
    if bool::from(ours.as_bytes().ct_eq(theirs.as_bytes())) { Ok(()) } else { Err(Refusal::Signature) }
}

/// The headers that the client signed, as they came.
fn signed_headers<'a>(claim: &'a Claim, parts: &'a Parts) -> Result<Vec<(&'a str, &'a str)>, Refusal> {
    let mut headers = Vec::new();
    for name in &claim.signed_headers {
        let before = headers.len();
        for value in parts.headers.get_all(name) {
            let value = std::str::from_utf8(value.as_bytes())
                .map_err(|_| Refusal::Malformed(format!("header {name} is no UTF-8")))?;
            headers.push((name.as_str(), value));
        }
        if headers.len() == before {
            return Err(Refusal::Malformed(format!("it signs {name}, which is not there")));
        }
    }
    Ok(headers)
}

/// Path and query, without the signature itself.
fn target(parts: &Parts) -> String {
    let path = parts.uri.path();
    let query = parts.uri.query().unwrap_or_default();
    let rest: Vec<&str> =
        query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("X-Amz-Signature=")).collect();
    if rest.is_empty() { path.to_owned() } else { format!("{path}?{}", rest.join("&")) }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde::Deserialize;
    use sha2::{Digest as _, Sha256};

    use super::*;

    /// AWS's own test suite for version 4, as AWS publishes it (Apache-2.0): what may be sent
    /// as HTTP, and does not count a form's body among the parameters, which no service does any more.
    const SUITE: &str = include_str!("vectors.json");

    #[derive(Deserialize)]
    struct Vector {
        name: String,
        method: String,
        target: String,
        headers: Vec<(String, String)>,
        body: String,
        authorization: String,
    }

    fn parts(method: &str, target: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    fn check(parts: &Parts, secret: &str, payload: &str) -> Result<(), Refusal> {
        let claim = Claim::read(parts)?;
        let credentials = Credentials {
            access_key: claim.access_key.clone(),
            secret: secret.into(),
            token: claim.token.clone(),
        };
        verify(&claim, &credentials, parts, payload)
    }

    #[test]
    fn aws_s_own_test_suite_is_verified_and_nothing_near_it() {
        const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
        let suite: Vec<Vector> = serde_json::from_str(SUITE).expect("the suite");
        assert_eq!(suite.len(), 26);
        for Vector { name, method, target, headers, body, authorization } in suite {
            let mut headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            headers.push(("authorization", &authorization));
            let parts = parts(&method, &target, &headers);
            let payload = hex::encode(Sha256::digest(&body));
            assert_eq!(check(&parts, SECRET, &payload), Ok(()), "{name}");
            assert_eq!(check(&parts, "another", &payload), Err(Refusal::Signature), "{name}");
            let other = hex::encode(Sha256::digest("another body"));
            assert_eq!(check(&parts, SECRET, &other), Err(Refusal::Signature), "{name}");
        }
    }

    /// The example of S3's documentation, "Authenticating Requests: Using Query Parameters".
    #[test]
    fn s3_s_own_example_of_a_presigned_url_is_verified() {
        let target = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
            &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
            &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
            &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
        let secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
        let host = ("host", "examplebucket.s3.amazonaws.com");
        assert_eq!(check(&parts("GET", target, &[host]), secret, "UNSIGNED-PAYLOAD"), Ok(()));
        let longer = target.replace("86400", "86401");
        let refused = check(&parts("GET", &longer, &[host]), secret, "UNSIGNED-PAYLOAD");
        assert_eq!(refused, Err(Refusal::Signature));
    }
}
