//! Starts the tests on the builder.

use ovenbird_aws::{core::functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(async |cloud, input, now| functions::run_validation(&cloud, input, now).await).await
}
