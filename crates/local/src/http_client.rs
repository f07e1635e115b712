//! Plain HTTP, to the endpoint on loopback and to `MiniStack` on its socket.

use std::{
    io,
    path::{Path, PathBuf},
    pin::Pin,
    sync::LazyLock,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::net::UnixStream;
use tower_service::Service;

use crate::error::{LocalError, Result};

static CLIENT: LazyLock<Client<HttpConnector, Body>> = LazyLock::new(|| {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    Client::builder(TokioExecutor::new()).pool_idle_timeout(Duration::from_secs(3)).build(connector)
});

/// The way to `MiniStack`: a socket that only the home's owner may open. It asks for no signature.
#[derive(Debug, Clone)]
pub struct Link(Client<Socket, Body>);

impl Link {
    /// To the socket of this path.
    pub fn new(socket: &Path) -> Self {
        // MiniStack closes idle connections after five seconds; a request sent at that very moment would be lost.
        let builder = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(3))
            .build(Socket(socket.into()));
        Self(builder)
    }

    /// Passes a request on; its URI needs a host, which nobody looks up.
    pub(crate) async fn pass(
        &self,
        request: Request<Body>,
    ) -> Result<http::Response<hyper::body::Incoming>, hyper_util::client::legacy::Error> {
        self.0.request(request).await
    }

    /// Sends a request and reads the answer whole.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<(StatusCode, Bytes)> {
        let name = format!("{} {}", request.method(), request.uri().path());
        whole(name, self.0.request(request)).await
    }
}

/// Connects to a socket, whatever a URI says.
#[derive(Debug, Clone)]
struct Socket(PathBuf);

impl Service<http::Uri> for Socket {
    type Response = TokioIo<UnixStream>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _uri: http::Uri) -> Self::Future {
        let path = self.0.clone();
        Box::pin(async move { UnixStream::connect(path).await.map(TokioIo::new) })
    }
}

/// How long an answer may take; a deployment of a stack is the longest.
const PATIENCE: Duration = Duration::from_secs(120);

/// Sends a request and reads the answer whole.
pub(crate) async fn send(request: Request<Body>) -> Result<(StatusCode, Bytes)> {
    let name = format!("{} {}", request.method(), request.uri());
    whole(name, CLIENT.request(request)).await
}

async fn whole(
    name: String,
    answering: hyper_util::client::legacy::ResponseFuture,
) -> Result<(StatusCode, Bytes)> {
    let exchange = async {
        let answer = answering.await?;
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
