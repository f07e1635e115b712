//! The endpoint: one HTTP server that answers as AWS, by the service that a request is signed for.

mod autoscaling;
mod control;
mod ec2;
mod elb;
mod elsewhere;
mod machine_access;
mod metrics;
mod proxy;
mod query;
mod query_form;
mod rbin;
mod route;
mod ssm;
mod stack_resources;
mod xml_writer;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{FromRequest as _, Request, State},
    response::{IntoResponse as _, Response},
};
use http::Method;

use self::route::Route;
pub use self::{control::Control, machine_access::machine_router, ssm::parameters::Writes};
pub(crate) use self::{elsewhere::keep_learning, metrics::keep_publishing};
use crate::{
    auth::{Admitted, Form, Gate, Holder, Refusal},
    http_client::Link,
    state::CloudState,
};

/// What the endpoint answers from.
#[derive(Debug)]
pub struct Endpoint {
    /// Who may ask.
    pub gate: Gate,
    /// The world.
    pub state: Arc<CloudState>,
    /// The way to `MiniStack`; without it, only the world's services are there.
    pub ministack: Option<Link>,
    /// Public parameters (`/aws/service/…`) and their values.
    pub parameters: BTreeMap<String, String>,
    /// Writes of parameters that hold an image, as long as they are validated.
    pub writes: Writes,
    /// The local cloud's own affairs.
    pub control: Control,
}

/// What the endpoint itself answers, by the service's name in a signature: the names of its operations, in order.
pub fn operations() -> Vec<(&'static str, Vec<&'static str>)> {
    vec![
        ("ec2", ec2::operations()),
        ("autoscaling", autoscaling::operations()),
        ("elasticloadbalancing", elb::operations()),
        ("rbin", rbin::OPERATIONS.to_vec()),
        ("ssm", ssm::OPERATIONS.to_vec()),
    ]
}

/// The endpoint as a router, for the operator and the functions.
pub fn router(endpoint: Arc<Endpoint>) -> Router {
    Router::new().fallback(answer).with_state(endpoint)
}

async fn answer(State(endpoint): State<Arc<Endpoint>>, request: Request) -> Response {
    if is_custom_resource(&request) {
        return match endpoint.gate.is_meant(request.uri(), request.headers()) {
            Ok(()) => endpoint.pass_on(request).await,
            Err(refusal) => refuse(&refusal, &request),
        };
    }
    let form = form_of(&request);
    let said = said_of(&request);
    let admitted = match endpoint.gate.admit(request).await {
        Ok(admitted) => admitted,
        Err(refusal) => return answer_refusal(&refusal, form, &said),
    };
    let Admitted { request, service, holder, .. } = admitted;
    match Route::of(&service, request.uri(), request.headers()) {
        Route::PassOn => endpoint.pass_on(request).await,
        Route::Ec2 => endpoint.ec2(request).await,
        Route::AutoScaling => endpoint.auto_scaling(request).await,
        Route::Elb => endpoint.query(request, elb::answer).await,
        Route::RecycleBin => rbin::answer(&endpoint, request).await,
        Route::Ssm(operation) => ssm::answer(&endpoint, &operation, request).await,
        Route::Control(path) if holder == Holder::Operator => {
            control::answer(&endpoint, &path, request).await
        }
        Route::Control(_) => answer_refusal(
            &Refusal::Denied("Only the operator's key may ask for this".to_owned()),
            form,
            &said,
        ),
        Route::Nowhere => answer_refusal(
            &Refusal::Denied("The signature is for another service than the path".to_owned()),
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
    answer_refusal(refusal, form_of(request), &said_of(request))
}

fn answer_refusal(refusal: &Refusal, form: Form, said: &str) -> Response {
    tracing::warn!("refused: {said}: {refusal:?}");
    refusal.answer(form)
}

impl Endpoint {
    /// Answers a form that came in the body.
    async fn query(&self, request: Request, answer: fn(&Self, &[u8]) -> Response) -> Response {
        match Bytes::from_request(request, &()).await {
            Ok(form) => answer(self, &form),
            Err(refusal) => refusal.into_response(),
        }
    }

    /// A group launches by what parameters are now, and a refresh starts or not by what alarms are now.
    async fn auto_scaling(&self, request: Request) -> Response {
        match Bytes::from_request(request, &()).await {
            Ok(form) => {
                elsewhere::learn(self, &autoscaling::named_alarms(&form)).await;
                autoscaling::answer(self, &form)
            }
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
        if ec2::is_passed_on(self, &form).await {
            return self.pass_on(Request::from_parts(parts, Body::from(form))).await;
        }
        ec2::answer(self, &form).await
    }

    async fn pass_on(&self, request: Request) -> Response {
        match &self.ministack {
            Some(ministack) => proxy::pass_on(request, ministack).await,
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
