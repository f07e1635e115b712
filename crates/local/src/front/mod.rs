//! The endpoint: one HTTP server that answers as AWS, by the service that a request is signed for.

mod autoscaling;
mod control;
mod ec2;
mod elb;
mod form;
mod machine;
mod mirror;
mod pass;
mod query;
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
use http::Method;

use self::route::Route;
pub use self::{control::Control, machine::machine_router};
use crate::{
    auth::{Admitted, Form, Gate, Holder, Refusal},
    http_client::Link,
    service::Service,
};

/// What the endpoint answers from.
#[derive(Debug)]
pub struct Front {
    /// Who may ask.
    pub gate: Gate,
    /// The world.
    pub service: Arc<Service>,
    /// The way to `MiniStack`; without it, only the world's services are there.
    pub ministack: Option<Link>,
    /// Public parameters (`/aws/service/…`) and their values.
    pub parameters: BTreeMap<String, String>,
    /// The local cloud's own affairs.
    pub control: Control,
}

/// The endpoint as a router, for the operator and the functions.
pub fn router(front: Arc<Front>) -> Router {
    Router::new().fallback(answer).with_state(front)
}

async fn answer(State(front): State<Arc<Front>>, request: Request) -> Response {
    if is_custom_resource(&request) {
        return match front.gate.is_meant(request.uri(), request.headers()) {
            Ok(()) => front.pass_on(request).await,
            Err(refusal) => refuse(&refusal, &request),
        };
    }
    let form = form_of(&request);
    let said = said_of(&request);
    let admitted = match front.gate.admit(request).await {
        Ok(admitted) => admitted,
        Err(refusal) => return tell(&refusal, form, &said),
    };
    let Admitted { request, service, holder, .. } = admitted;
    match Route::of(&service, request.uri(), request.headers()) {
        Route::PassOn => front.pass_on(request).await,
        Route::Ec2 => front.ec2(request).await,
        Route::AutoScaling => front.query(request, autoscaling::answer).await,
        Route::Elb => front.query(request, elb::answer).await,
        Route::Ssm(operation) => ssm::answer(&front, &operation, request).await,
        Route::Control(path) if holder == Holder::Operator => control::answer(&front, &path, request).await,
        Route::Control(_) => tell(&Refusal::Denied("This is the operator's to ask".to_owned()), form, &said),
        Route::Nowhere => tell(
            &Refusal::Denied("Path and service of the signature do not belong together".to_owned()),
            form,
            &said,
        ),
    }
}

/// How a function tells `CloudFormation` that a custom resource is done: the address has a random word in it, which
/// only that function was told, and asks for no signature, as at AWS.
fn is_custom_resource(request: &Request) -> bool {
    let word = request.uri().path().strip_prefix("/_ministack/cfn-response/");
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    request.method() == Method::PUT && word.is_some_and(|word| !word.is_empty() && word.bytes().all(plain))
}

fn form_of(request: &Request) -> Form {
    Form::of(route::service(request.uri(), request.headers()).as_deref(), request.headers())
}

/// Method and path, for the log: a query may be a signature.
fn said_of(request: &Request) -> String {
    format!("{} {}", request.method(), request.uri().path())
}

fn refuse(refusal: &Refusal, request: &Request) -> Response {
    tell(refusal, form_of(request), &said_of(request))
}

fn tell(refusal: &Refusal, form: Form, said: &str) -> Response {
    tracing::warn!("refused: {said}: {refusal:?}");
    refusal.answer(form)
}

impl Front {
    /// Answers a form that came in the body.
    async fn query(&self, request: Request, answer: fn(&Self, &[u8]) -> Response) -> Response {
        match Bytes::from_request(request, &()).await {
            Ok(form) => answer(self, &form),
            Err(refusal) => refusal.into_response(),
        }
    }

    async fn ec2(&self, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        // Such requests may also come as GET, with everything in the URL.
        let form = if parts.method == Method::GET {
            Bytes::from(without_signature(parts.uri.query().unwrap_or_default()))
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

/// The parameters of a call in a URL that may be presigned.
fn without_signature(query: &str) -> String {
    let parameters: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("X-Amz-")).collect();
    parameters.join("&")
}

/// A request's id, as every answer carries one.
fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
