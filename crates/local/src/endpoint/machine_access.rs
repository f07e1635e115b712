//! What a machine reaches: the objects that it was given a presigned URL of, and what its own role may call.
//!
//! A process in a machine may be anybody: the application that is baked, or who broke into it. Nothing it asks may
//! start anything on the host or show what belongs to others.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use http::Method;

use super::{Endpoint, answer_refusal, form_of, said_of, ssm};
use crate::auth::{Admitted, Credentials, Refusal, Signed};

/// The calls of a builder's role: it reads secrets, and does nothing else.
const CALLS: [&str; 2] = ["GetParameter", "GetParameters"];

/// Whose key a machine's request was signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Signer {
    /// Somebody's who gave the machine a presigned URL.
    Giver,
    /// Its own role's.
    Role,
}

#[derive(Debug, Clone)]
struct MachineView {
    endpoint: Arc<Endpoint>,
    role: Option<Credentials>,
}

/// The endpoint as one machine sees it; `role` is what its metadata service gives out.
pub fn machine_router(endpoint: Arc<Endpoint>, role: Option<Credentials>) -> Router {
    Router::new().fallback(answer).with_state(MachineView { endpoint, role })
}

async fn answer(State(MachineView { endpoint, role }): State<MachineView>, request: Request) -> Response {
    let (form, said) = (form_of(&request), format!("from a machine: {}", said_of(&request)));
    let find = |access_key: &str, signed: Signed| match signed {
        // Keys of others may only have signed what was given to the machine whole.
        Signed::Query => {
            endpoint.gate.keys.find(access_key).map(|(credentials, _)| (credentials, Signer::Giver))
        }
        Signed::Header => role.filter(|role| role.access_key == access_key).map(|role| (role, Signer::Role)),
    };
    let admitted = match endpoint.gate.admit_by(request, find).await {
        Ok(admitted) => admitted,
        Err(refusal) => return answer_refusal(&refusal, form, &said),
    };
    match allowed(&admitted) {
        Some(Call::Object) => endpoint.pass_on(admitted.request).await,
        Some(Call::Ssm(operation)) => ssm::answer(&endpoint, &operation, admitted.request).await,
        None => {
            let problem = "A machine may read and write the objects that it has presigned URLs of, and its role may \
                           read parameters";
            answer_refusal(&Refusal::Denied(problem.to_owned()), form, &said)
        }
    }
}

/// What a machine may ask.
enum Call {
    Object,
    Ssm(String),
}

fn allowed(admitted: &Admitted<Signer>) -> Option<Call> {
    let Admitted { request, service, holder, .. } = admitted;
    match holder {
        Signer::Giver => {
            let (bucket, key) = request.uri().path().strip_prefix('/')?.split_once('/')?;
            let is_object =
                service == "s3" && !bucket.is_empty() && !bucket.starts_with('_') && !key.is_empty();
            let as_object = [Method::GET, Method::HEAD, Method::PUT].contains(request.method());
            (is_object && as_object).then_some(Call::Object)
        }
        Signer::Role => {
            let operation = super::route::operation(request.headers())?;
            let known = service == "ssm" && CALLS.contains(&operation.as_str());
            known.then_some(Call::Ssm(operation))
        }
    }
}
