//! Calls to the few services that a deployment needs, in their own protocols.

use axum::body::Body;
use bytes::Bytes;
use http::{Request, StatusCode};

use super::REGION;
use crate::{
    error::{LocalError, Result},
    http_client::{Link, refused},
    xml::Element,
};

/// `MiniStack` itself, which asks for no signature.
#[derive(Debug)]
pub(crate) struct Api(Link);

impl Api {
    /// Calls go this way.
    pub fn new(link: Link) -> Self {
        Self(link)
    }

    /// A call of a query service; an error's code and message are in what comes back as an error.
    pub async fn query(
        &self,
        service: &str,
        version: &str,
        action: &str,
        parameters: &[(&str, &str)],
    ) -> Result<Element> {
        let form = {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("Action", action)
                .append_pair("Version", version)
                .extend_pairs(parameters)
                .finish()
        };
        let request = self.request(service, "POST", "/");
        let request =
            request.header("content-type", "application/x-www-form-urlencoded").body(Body::from(form));
        let (status, body) = self.send(request).await?;
        let document = Element::parse(&String::from_utf8_lossy(&body));
        match document.filter(|_| status.is_success()) {
            Some(document) => Ok(document),
            None => Err(refused(format!("{service}:{action}"), status, &body)),
        }
    }

    /// Puts an object into a bucket, or makes the bucket when `key` is empty.
    pub async fn put(&self, bucket: &str, key: &str, body: Bytes) -> Result<()> {
        let path = format!("/{bucket}/{key}");
        let path = path.trim_end_matches('/');
        let request = self.request("s3", "PUT", path).body(Body::from(body));
        let (status, body) = self.send(request).await?;
        // A bucket that is ours already is what we want.
        if status.is_success() || status == StatusCode::CONFLICT {
            return Ok(());
        }
        Err(refused(format!("PUT {path}"), status, &body))
    }

    fn request(&self, service: &str, method: &str, path: &str) -> http::request::Builder {
        // Services are told apart by the scope of the credentials; nobody checks the signature.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential=local/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        Request::builder()
            .method(method)
            .uri(format!("http://127.0.0.1{path}"))
            .header("authorization", authorization)
    }

    async fn send(&self, request: Result<Request<Body>, http::Error>) -> Result<(StatusCode, Bytes)> {
        let request = request.map_err(|source| LocalError::Request {
            request: "to MiniStack".into(),
            source: Box::new(source),
        })?;
        self.0.send(request).await
    }
}
