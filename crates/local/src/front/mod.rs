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
    body::{Body, Bytes},
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse as _, Response},
};

pub use self::control::Control;
use self::route::Route;
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
    let route = Route::of(request.uri(), request.headers());
    match route {
        Route::PassOn => front.pass_on(request).await,
        Route::Ec2 => front.ec2(request).await,
        Route::Ssm(operation) => ssm::answer(&front, &operation, request).await,
        Route::Control(path) => control::answer(&front, &path, request).await,
    }
}

impl Front {
    async fn ec2(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        // Such requests may also come as GET, with everything in the URL.
        let form = if parts.method == http::Method::GET {
            Bytes::from(parts.uri.query().unwrap_or_default().to_owned())
        } else {
            match Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await {
                Ok(form) => form,
                Err(refusal) => return refusal.into_response(),
            }
        };
        if ec2::is_passed_on(&form) {
            return self.pass_on(Request::from_parts(parts, Body::from(form))).await;
        }
        ec2::answer(self, &form).await
    }

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
