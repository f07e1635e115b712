//! Looks once at what a bake waits for.

use ovenbird_aws::{core::functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(async |cloud, input, now| functions::poll_readiness(&cloud, input, now).await).await
}
