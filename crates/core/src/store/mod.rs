//! The table's meaning: bakes, channels, leases and images, and the conditions of every write.

mod bakes;
mod channels;
mod dependencies;
mod images;
pub mod keys;
mod leases;
mod ledger;
mod mailbox;
mod parameters;
mod pipelines;
pub mod recipes;
mod retirements;
mod text;
mod versioned;

pub(crate) use self::ledger::among_others;
pub use self::{
    channels::{Channel, Promotion, Target},
    dependencies::{Ancestor, Child, DEEPEST},
    images::{ImageCopy, ImageSet, ImageStatus, Passed},
    leases::{Claim, Lease, lease_end},
    ledger::Ledger,
    mailbox::Mailbox,
    parameters::ParameterOwner,
    retirements::Retirement,
    text::decode,
    versioned::Versioned,
};
