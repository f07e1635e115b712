//! Starts a bake: resolves its inputs, reuses an image or launches a builder.

use ovenbird_aws::{functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(functions::launch_builder).await
}
