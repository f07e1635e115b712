//! Looks once at what a bake waits for.

use ovenbird_aws::{functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(functions::poll_readiness).await
}
