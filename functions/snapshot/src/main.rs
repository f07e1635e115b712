//! Seals the builder, and asks for the image of it.

use ovenbird_aws::{core::functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(async |cloud, input, now| functions::snapshot(&cloud, input, now).await).await
}
