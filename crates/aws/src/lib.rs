//! The adapters for core's ports on the AWS SDK, and serve() for the Lambdas.
