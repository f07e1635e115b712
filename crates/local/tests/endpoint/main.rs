//! The endpoint with simulated machines behind it, so that no root is needed.
//!
//! One program, because most of its time is spent waiting for others: so they wait beside each other.

mod adapter;
mod client;
mod cloud;
mod front;
mod killed;
mod refused;
mod sam;
mod service;
mod supervisor;
