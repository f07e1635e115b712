//! Starts the tests on the builder.

use ovenbird_aws::{functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(functions::run_validation).await
}
