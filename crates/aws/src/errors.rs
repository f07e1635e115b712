//! From the SDK's errors to core's: the few codes that need a decision, and all others with everything AWS said.

use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use ovenbird_core::{Error, domain::error::NO_ANSWER};

/// Codes by which AWS asks to slow down, or says that it is in trouble itself.
const THROTTLES: &[&str] = &[
    "RequestLimitExceeded",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "SlowDown",
    "Unavailable",
    "ServiceUnavailable",
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "ProvisionedThroughputExceededException",
    // Of SSM, for a parameter that another call is just writing, and of DynamoDB, for an item of a transaction.
    "TooManyUpdates",
    "TransactionInProgressException",
];

/// Codes by which AWS refuses a caller.
const DENIALS: &[&str] = &["UnauthorizedOperation", "AccessDenied", "AccessDeniedException"];

/// The code that AWS gave, or an empty text when the request never got an answer.
pub fn code<E: ProvideErrorMetadata>(error: &E) -> &str {
    error.code().unwrap_or_default()
}

/// Translates an SDK error of one operation on one subject. `operation` is as IAM writes it: `ec2:RunInstances`.
pub fn translate<E>(operation: &'static str, subject: impl Into<String>, error: &E) -> Error
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let subject = subject.into();
    let code = code(error);
    let aws = Error::Aws {
        operation: operation.to_owned(),
        subject: subject.clone(),
        code: if code.is_empty() { NO_ANSWER.to_owned() } else { code.to_owned() },
        message: error.message().map_or_else(|| sources(error), str::to_owned),
        request_id: error.meta().extra("aws_request_id").unwrap_or_default().to_owned(),
    };
    // A request without an answer may have been carried out: the step runs again, and looks before it does.
    if code.is_empty() || THROTTLES.contains(&code) {
        return Error::Throttled { operation: operation.to_owned(), source: Some(Box::new(aws)) };
    }
    if DENIALS.contains(&code) {
        return Error::Denied { operation: operation.to_owned(), subject, source: Some(Box::new(aws)) };
    }
    aws
}

/// An answer of AWS that lacks what its documentation promises, or holds what we can't read.
pub fn unreadable(operation: &'static str, subject: impl Into<String>, message: impl ToString) -> Error {
    Error::Aws {
        operation: operation.to_owned(),
        subject: subject.into(),
        code: "UnreadableAnswer".to_owned(),
        message: message.to_string(),
        request_id: String::new(),
    }
}

/// The chain of causes: an SDK error's own text is only "service error" or "dispatch failure".
fn sources(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
