//! What operators do. The command, the page and the tests call the same functions.

pub mod pipeline;
pub mod plan;
pub mod promotion;
pub mod rollout;
