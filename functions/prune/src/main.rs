//! Cleans up after bakes and retires old images: the only function that may destroy.

use ovenbird_aws::{core::functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(async |cloud, input, now| functions::prune(&cloud, input, now).await).await
}
