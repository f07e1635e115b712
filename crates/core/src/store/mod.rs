//! The table's meaning: bakes, channels, leases and images, and the conditions of every write.

mod bakes;
mod channels;
mod dependencies;
mod images;
pub mod keys;
mod leases;
mod ledger;
mod limits;
mod mailbox;
mod parameters;
mod pipelines;
mod pushes;
pub mod recipes;
mod retirements;
mod rollouts;
mod text;
mod turns;
mod versioned;

pub(crate) use self::ledger::among_others;
pub use self::{
    channels::{Channel, Hold, Promotion, Rejected, Rolling, Target},
    dependencies::{Ancestor, Child, DEEPEST},
    images::{ImageCopy, ImageSet, ImageStatus, Passed, Taker},
    leases::{Claim, Lease, lease_end},
    ledger::Ledger,
    limits::Limited,
    mailbox::Mailbox,
    parameters::ParameterOwner,
    pipelines::{Halt, Said, Standing},
    pushes::Push,
    retirements::{Gone, Retirement},
    rollouts::{Asker, Rolled},
    text::decode,
    versioned::Versioned,
};
