//! Types and decisions that ask nobody: what is written here is true without any cloud.

pub mod artifact;
pub mod bake;
pub mod destination;
pub mod digest;
pub mod error;
pub mod event;
pub mod event_details;
pub mod id;
pub mod inputs;
pub mod mailbox;
pub mod names;
pub mod offer;
pub mod place;
pub mod plain;
pub mod plan;
pub mod price;
pub mod recipe;
pub mod reference;
pub mod report;
pub mod retirement;
pub mod rollout;
pub mod stage;
pub mod tags;
pub mod template;
pub mod trigger;
pub mod turn;
