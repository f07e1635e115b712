//! The operators' page: core's views as HTML.
//!
//! It is served on loopback, with the operator's own credentials ([`Server`]), or written into a folder ([`export()`]).
//! Nothing is decided here. What a page shows comes from core's views, and what a person changes goes through core's `ops`.

mod account;
mod export;
mod guard;
mod live;
mod pages;
mod parameters;
mod read;
mod server;
mod site;
mod traffic;

pub use self::{
    account::{Account, PruneRun},
    export::export,
    read::{Dead, Problem, Reader, Snapshot},
    server::{Options, Server},
};
