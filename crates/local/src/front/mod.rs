//! The endpoint: one HTTP server that answers as AWS, by the service that a request is signed for.

mod control;
mod ec2;
mod form;
mod mirror;
mod pass;
mod route;
mod ssm;
mod xml_out;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse as _, Response},
};

use self::route::Route;
pub use self::control::Control;
use crate::service::Service;

/// What the endpoint answers from.
#[derive(Debug)]
pub struct Front {
    /// The world.
    pub service: Arc<Service>,
    /// The URL of `MiniStack`; without it, only the world's services are there.
    pub ministack: Option<String>,
    /// Public parameters (`/aws/service/…`) and their values.
    pub parameters: BTreeMap<String, String>,
    /// The local cloud's own affairs.
    pub control: Control,
}

/// The endpoint as a router.
pub fn router(front: Arc<Front>) -> Router {
    Router::new().fallback(answer).with_state(front)
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    match Route::of(request.uri(), request.headers()) {
        Route::PassOn => front.pass_on(request).await,
        Route::Ec2 => match form_of(request).await {
            Ok(form) => ec2::answer(&front, &form).await,
            Err(refusal) => refusal,
        },
        Route::Ssm(operation) => ssm::answer(&front, &operation, request).await,
        Route::Control(path) => control::answer(&front, &path, request).await,
    }
}

/// The body of a query-protocol request; such requests may also come as GET, with everything in the URL.
async fn form_of(request: Request) -> Result<Bytes, Response> {
    if request.method() == http::Method::GET {
        return Ok(Bytes::from(request.uri().query().unwrap_or_default().to_owned()));
    }
    Bytes::from_request(request, &()).await.map_err(|refusal| refusal.into_response())
}

impl Front {
    async fn pass_on(&self, request: Request) -> Response {
        match &self.ministack {
            Some(ministack) => pass::pass_on(request, ministack).await,
            None => (http::StatusCode::SERVICE_UNAVAILABLE, "this endpoint has no MiniStack").into_response(),
        }
    }
}

/// A request's id, as every answer carries one.
fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
