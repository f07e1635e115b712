//! Starts a bake: resolves its inputs, reuses an image or launches a builder.

use ovenbird_aws::{core::functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(async |cloud, input, now| functions::launch_builder(&cloud, input, now).await).await
}
