//! What the demo, the benchmark and the tests share: a local cloud and its third-party clients, and the
//! template as it is written.

mod aws;
pub mod clients;
pub mod fleet;
pub mod health;
pub mod load;
pub mod mailbox;
pub mod on_the_fly;
pub mod packer;
pub mod sample;
pub mod sign;
pub mod template;
pub mod test_cloud;
