//! Passes a request on to `MiniStack` and its answer back, both streamed: an artifact may have hundreds of megabytes.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, Uri, header};

use crate::http_client::client;

/// Headers that are about one connection, not about the request.
const OF_CONNECTION: &[header::HeaderName] = &[
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    // Our server has answered it; MiniStack's wouldn't.
    header::EXPECT,
];

/// Passes it on. The Host header stays as it is: it is part of what was signed, and may name a bucket.
pub(super) async fn pass_on(mut request: Request, ministack: &str) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = match format!("{ministack}{path}").parse::<Uri>() {
        Ok(target) => target,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    *request.uri_mut() = target;
    *request.version_mut() = http::Version::HTTP_11;
    strip(request.headers_mut());
    match client().request(request).await {
        Ok(mut answer) => {
            strip(answer.headers_mut());
            answer.map(Body::new)
        }
        Err(error) => {
            tracing::warn!("MiniStack did not answer: {error:?}");
            // SDKs retry a 503, as they should: MiniStack may be starting.
            (StatusCode::SERVICE_UNAVAILABLE, "MiniStack does not answer").into_response()
        }
    }
}

fn strip(headers: &mut HeaderMap) {
    for name in OF_CONNECTION {
        headers.remove(name);
    }
}
