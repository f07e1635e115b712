//! What every function's `main` is: adapters, logs, and one step served by the Lambda runtime.

use std::{future::Future, pin::Pin};

use jiff::Timestamp;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use ovenbird_core::{Error, Result};
use serde_json::Value;
use tracing_subscriber::filter::LevelFilter;

use crate::Cloud;

/// What becomes of a call.
type Answer = Pin<Box<dyn Future<Output = std::result::Result<Value, Diagnostic>>>>;

/// Serves one step until the Lambda service ends the process.
///
/// A failure becomes a `Diagnostic` whose type is the error's stable name: that is what the state machine
/// matches. The function logs nothing of a failure itself, because the execution that caught it does.
pub async fn serve<S>(step: S) -> std::result::Result<(), lambda_runtime::Error>
where
    S: AsyncFn(Cloud, Value, Timestamp) -> Result<Value> + Clone + 'static,
{
    // No setting makes it say more: what the SDK says below this level has requests in it, and so their secrets.
    tracing_subscriber::fmt()
        .json()
        .with_max_level(LevelFilter::INFO)
        .without_time()
        .with_target(false)
        .init();
    let cloud = Cloud::from_env().await?;
    lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
        let (cloud, step) = (cloud.clone(), step.clone());
        // Boxed: the types of the SDK's futures, nested any deeper, are more than the compiler follows.
        let answer: Answer = Box::pin(async move {
            step(cloud, event.payload, Timestamp::now()).await.map_err(|error| diagnostic(&error))
        });
        answer
    }))
    .await
}

fn diagnostic(error: &Error) -> Diagnostic {
    Diagnostic { error_type: error.name().to_owned(), error_message: error.told() }
}
