//! Plain HTTP to loopback, for requests whose bodies fit in memory.

use std::{sync::LazyLock, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use crate::error::{LocalError, Result};

/// The client; it keeps connections open between requests.
pub(crate) type HttpClient = Client<HttpConnector, Body>;

static CLIENT: LazyLock<HttpClient> = LazyLock::new(|| {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    // MiniStack closes idle connections after five seconds; a request sent at that very moment would be lost.
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(3)).build(connector)
});

/// The one client of this process.
pub(crate) fn client() -> &'static HttpClient {
    &CLIENT
}

/// How long an answer may take; a deployment of a stack is the longest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends a request and reads the answer whole.
pub(crate) async fn send(request: Request<Body>) -> Result<(StatusCode, Bytes)> {
    let name = format!("{} {}", request.method(), request.uri());
    let exchange = async {
        let answer = CLIENT.request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>((status, body))
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(LocalError::Request { request: name, source }),
        Err(elapsed) => Err(LocalError::Request { request: name, source: Box::new(elapsed) }),
    }
}

/// Sends a request; an answer other than a success is an error.
pub(crate) async fn ask(request: Request<Body>) -> Result<Bytes> {
    let name = format!("{} {}", request.method(), request.uri());
    let (status, body) = send(request).await?;
    if status.is_success() { Ok(body) } else { Err(refused(name, status, &body)) }
}

/// The error of an answer that isn't a success.
pub(crate) fn refused(request: String, status: StatusCode, body: &[u8]) -> LocalError {
    let body = String::from_utf8_lossy(body).chars().take(800).collect();
    LocalError::Refused { request, status: status.as_u16(), body }
}
