//! What operators read: questions about bakes and images, answered from the records.

pub mod bake;
pub mod channel;
pub mod error;
pub mod explain;
pub mod lineage;
pub mod parts;
pub mod rollout;
pub mod status;
pub mod worries;
