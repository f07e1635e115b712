//! The page as it is served, on accounts in memory.

mod account;
mod bands;
mod browser;
mod calls;
mod chromium;
mod client;
mod folder;
mod hostile;
mod keyboard;
mod questions;
mod rollouts;
mod safety;
