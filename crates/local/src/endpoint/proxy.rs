//! Passes a request on to `MiniStack` and its answer back, both streamed: an artifact may have hundreds of megabytes.

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, StatusCode, Uri, header};

use crate::{auth::Mismatch, http_client::Link};

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
pub(super) async fn pass_on(mut request: Request, ministack: &Link) -> Response {
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let target = match format!("http://127.0.0.1{path}").parse::<Uri>() {
        Ok(target) => target,
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    };
    *request.uri_mut() = target;
    *request.version_mut() = http::Version::HTTP_11;
    strip(request.headers_mut());
    match ministack.pass(request).await {
        Ok(mut answer) => {
            strip(answer.headers_mut());
            answer.map(Body::new)
        }
        Err(error) if is_mismatch(&error) => {
            crate::auth::Refusal::Body("it was changed on its way".to_owned()).answer(crate::auth::Form::S3)
        }
        Err(error) => {
            tracing::warn!("MiniStack did not answer: {error:?}");
            // SDKs retry a 503, as they should: MiniStack may be starting.
            (StatusCode::SERVICE_UNAVAILABLE, "MiniStack does not answer").into_response()
        }
    }
}

/// Whether the body failed its check while it was passed on.
fn is_mismatch(error: &(dyn std::error::Error + 'static)) -> bool {
    error.is::<Mismatch>() || error.source().is_some_and(is_mismatch)
}

fn strip(headers: &mut HeaderMap) {
    for name in OF_CONNECTION {
        headers.remove(name);
    }
}
