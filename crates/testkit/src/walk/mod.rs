//! The state machines walked with the real steps on the world, in virtual time.

pub mod account;
pub mod clock;
pub mod cost;
pub mod machine;
pub mod meetings;
mod operator;
mod scenario;
pub mod scenarios;
pub mod street;
