//! Refusals, in the words and the form of the service that was asked.

use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, StatusCode, header};
use serde_json::json;

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was not meant for this endpoint: the name in it is another one.
    Host(String),
    /// A web page sent it.
    Page,
    /// Nobody signed it.
    Unsigned,
    /// Its signature can't be understood.
    Malformed(String),
    /// This cloud doesn't know its key.
    UnknownKey,
    /// Its signature is not the one that its key makes.
    Signature,
    /// It was signed too long ago, or in the future.
    Skewed,
    /// Its time is over.
    Expired,
    /// Its body is larger than what is read to check it.
    TooLarge,
    /// Its body is another one than was signed.
    Body(String),
    /// Its key may not do this.
    Denied(String),
}

/// The form in which a service's errors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// EC2's XML.
    Ec2,
    /// S3's XML.
    S3,
    /// The XML of the other query services.
    Query,
    /// JSON.
    Json,
}

impl Form {
    /// The form for a service and a request to it.
    pub fn of(service: Option<&str>, headers: &HeaderMap) -> Self {
        let json = headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.to_str().is_ok_and(|kind| kind.contains("json")));
        match service {
            Some("ec2") => Self::Ec2,
            Some("s3") => Self::S3,
            _ if json || headers.contains_key("x-amz-target") => Self::Json,
            Some("lambda" | "states" | "dynamodb" | "ssm" | "scheduler") => Self::Json,
            None => Self::S3,
            Some(_) => Self::Query,
        }
    }
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Host(_) | Self::Page | Self::Denied(_) => "AccessDenied",
            Self::Unsigned => "MissingAuthenticationToken",
            Self::Malformed(_) => "IncompleteSignature",
            Self::UnknownKey => "InvalidClientTokenId",
            Self::Signature => "SignatureDoesNotMatch",
            Self::Skewed => "RequestTimeTooSkewed",
            Self::Expired => "RequestExpired",
            Self::TooLarge => "RequestEntityTooLarge",
            Self::Body(_) => "XAmzContentSHA256Mismatch",
        }
    }

    fn message(&self) -> String {
        const KEYS: &str = "`ovenbird local env` prints the keys of this local cloud";
        match self {
            Self::Host(name) => format!(
                "The request is for `{name}`, and this endpoint is called 127.0.0.1 or localhost, with its port"
            ),
            Self::Page => "Web pages may not ask this endpoint".to_owned(),
            Self::Unsigned => format!("The request is not signed. {KEYS}"),
            Self::Malformed(problem) => format!("The request's signature can't be understood: {problem}"),
            Self::UnknownKey => format!("The access key is none of this local cloud's. {KEYS}"),
            Self::Signature => {
                format!("The signature is not the one that the request and its key give. {KEYS}")
            }
            Self::Skewed => "The request was signed more than 15 minutes ago, or ahead of time".to_owned(),
            Self::Expired => "The request's time is over".to_owned(),
            Self::TooLarge => "The body is too large to be checked".to_owned(),
            Self::Body(problem) => format!("The body is not the one that was signed: {problem}"),
            Self::Denied(problem) => problem.clone(),
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::FORBIDDEN,
        }
    }

    /// The answer.
    pub fn answer(&self, form: Form) -> Response {
        let (code, message) = (self.code(), self.message());
        let escaped = quick_xml::escape::escape(message.as_str());
        let (kind, text) = match form {
            Form::Json => (
                "application/x-amz-json-1.1",
                json!({"__type": code, "message": message, "Message": message}).to_string(),
            ),
            Form::Ec2 => (
                "text/xml",
                format!(
                    "<Response><Errors><Error><Code>{code}</Code><Message>{escaped}</Message></Error></Errors></Response>"
                ),
            ),
            Form::S3 => {
                ("application/xml", format!("<Error><Code>{code}</Code><Message>{escaped}</Message></Error>"))
            }
            Form::Query => (
                "text/xml",
                format!(
                    "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escaped}</Message></Error></ErrorResponse>"
                ),
            ),
        };
        let headers =
            [(header::CONTENT_TYPE, kind), (header::HeaderName::from_static("x-amzn-errortype"), code)];
        (self.status(), headers, text).into_response()
    }
}
