//! Seals the builder, and asks for the image of it.

use ovenbird_aws::{functions, serve::serve};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_runtime::Error> {
    serve(functions::snapshot).await
}
