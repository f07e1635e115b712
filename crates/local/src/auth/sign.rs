//! Signing: what this program itself asks the endpoint.

use std::time::SystemTime;

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4,
};
use aws_smithy_runtime_api::client::identity::Identity;
use axum::body::Body;
use bytes::Bytes;
use http::Request;

use super::Credentials;
use crate::{
    deploy::REGION,
    error::{LocalError, Result},
};

/// The service that the local cloud's own affairs are signed for; AWS has none of this name.
pub(crate) const CONTROL_SERVICE: &str = "ovenbird";

/// Signs a request for a service.
pub(crate) fn signed(
    request: Request<Bytes>,
    service: &str,
    credentials: &Credentials,
) -> Result<Request<Body>> {
    let failed = |source: Box<dyn std::error::Error + Send + Sync>| LocalError::Request {
        request: format!("sign a request for {service}"),
        source,
    };
    let identity: Identity =
        SdkCredentials::new(&credentials.access_key, &credentials.secret, None, None, "local cloud").into();
    let parameters = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()
        .map_err(|error| failed(Box::new(error)))?
        .into();
    let uri = request.uri().to_string();
    let signable = SignableRequest::new(
        request.method().as_str(),
        &uri,
        std::iter::empty(),
        SignableBody::Bytes(request.body()),
    );
    let instructions = signable.and_then(|signable| sign(signable, &parameters));
    let (instructions, _) = instructions.map_err(|error| failed(Box::new(error)))?.into_parts();
    let mut request = request.map(Body::from);
    instructions.apply_to_request_http1x(&mut request);
    Ok(request)
}
