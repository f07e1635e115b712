//! Watches what a bake waits for, for up to two minutes.

use ovenbird_aws::{core::functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(async |cloud, input, now| functions::poll_readiness(&cloud, input, now).await).await
}
