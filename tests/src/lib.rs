//! What the demo, the benchmark and the end-to-end tests share: a local cloud and its third-party clients.

pub mod clients;
pub mod sample;
