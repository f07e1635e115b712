//! SSM: commands are the world's, image parameters are checked against it, the rest is `MiniStack`'s.

mod commands;
pub(super) mod parameters;

use axum::{
    body::{Body, Bytes},
    extract::{FromRequest as _, Request},
    response::{IntoResponse as _, Response},
};
use http::{StatusCode, header, request::Parts};
use jiff::Timestamp;
use ovenbird_sim::ApiError;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Endpoint, request_id};

/// The operations that the world answers, or checks before they are passed on.
pub(super) const OPERATIONS: &[&str] = &[
    "CancelCommand",
    "DescribeInstanceInformation",
    "GetCommandInvocation",
    "GetParameter",
    "GetParameters",
    "ListCommandInvocations",
    "ListCommands",
    "PutParameter",
    "SendCommand",
];

/// Answers a request for an operation.
pub(super) async fn answer(endpoint: &Endpoint, operation: &str, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match Bytes::from_request(Request::from_parts(parts.clone(), body), &()).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    // Whatever is asked of parameters, it is told what has become valid by now.
    parameters::settle(endpoint).await;
    let result = match operation {
        "SendCommand" => commands::send_command(endpoint, &body),
        "GetCommandInvocation" => commands::get_command_invocation(endpoint, &body),
        "ListCommandInvocations" => commands::list_command_invocations(endpoint, &body),
        "ListCommands" => commands::list_commands(endpoint, &body),
        "CancelCommand" => commands::cancel_command(endpoint, &body),
        "DescribeInstanceInformation" => commands::describe_instance_information(endpoint, &body),
        "GetParameter" | "GetParameters" | "PutParameter" => {
            return parameters::answer(endpoint, operation, parts, body).await;
        }
        "StartSession" => Err(ApiError::new(
            "TargetNotConnected",
            "There is no Session Manager here: `ovenbird local shell INSTANCE` gets into a machine",
        )),
        _ => return endpoint.pass_on(again(parts, body)).await,
    };
    match &result {
        Ok(_) => tracing::info!("ssm:{operation}"),
        Err(error) => tracing::info!("ssm:{operation}: {error}"),
    }
    match result {
        Ok(value) => reply(StatusCode::OK, &value),
        Err(error) => refuse(&error),
    }
}

/// The request as it came.
fn again(parts: Parts, body: Bytes) -> Request {
    Request::from_parts(parts, Body::from(body))
}

fn reply(status: StatusCode, value: &Value) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/x-amz-json-1.1".to_owned()),
        (header::HeaderName::from_static("x-amzn-requestid"), request_id()),
    ];
    (status, headers, value.to_string()).into_response()
}

fn refuse(error: &ApiError) -> Response {
    let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::BAD_REQUEST);
    reply(status, &json!({"__type": error.code, "message": error.message}))
}

/// The parameters of an operation; one that it doesn't know is an error.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::new("ValidationException", error.to_string()))
}

/// A time as JSON services write it: seconds since 1970, with a fraction.
fn seconds(time: Timestamp) -> Value {
    // Milliseconds since 1970 are exact in a double for 285 thousand years.
    #[expect(clippy::cast_precision_loss, reason = "see above")]
    let seconds = time.as_millisecond() as f64 / 1000.0;
    json!(seconds)
}
