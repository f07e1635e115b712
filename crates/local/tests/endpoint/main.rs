//! The endpoint with simulated machines behind it, so that no root is needed.
//!
//! One program, because most of its time is spent waiting for others: so they wait beside each other.

mod adapter;
mod adopt;
mod client;
mod cloud;
mod elsewhere;
mod fixture;
mod fuzz;
mod fuzz_words;
mod health_checks;
mod kept;
mod killed;
mod parameters;
mod programs;
mod pruners;
mod refused;
mod retirement;
mod routes;
mod sam;
mod served;
mod supervisor;
mod time;
mod upload;
