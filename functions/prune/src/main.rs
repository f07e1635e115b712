//! Cleans up after bakes and retires old images: the only function that may destroy.

use ovenbird_aws::{functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(functions::prune).await
}
