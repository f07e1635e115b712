//! What an account is like: who calls, what its volumes are encrypted with, what tells of what happens.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::{error::Result, id::BakeId};

/// Who calls, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The account's 12 digits.
    pub account: String,
    /// Who it is, without the account: `user/alice`.
    pub name: String,
    /// The Region: `eu-central-1`.
    pub region: String,
}

/// How new volumes are encrypted when nothing is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeEncryption {
    /// Whether they are.
    pub by_default: bool,
    /// With which key: `alias/aws/ebs`, or the ARN of a key of yours.
    pub key: String,
}

/// An EventBridge rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// Whether it does anything.
    pub is_enabled: bool,
}

/// Who a topic tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// How: `email`, `https`.
    pub protocol: String,
    /// Where to.
    pub endpoint: String,
    /// Whether they said that they want it; before that, SNS tells them nothing.
    pub is_confirmed: bool,
}

/// An execution of a state machine, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its name.
    pub name: BakeId,
    /// When it started.
    pub started: Timestamp,
    /// Whether it failed, was stopped or took too long.
    pub ended_badly: bool,
}

/// What of an account decides how bakes do.
pub trait Account {
    /// Who calls.
    async fn identity(&self) -> Result<Caller>;
    /// How new volumes are encrypted.
    async fn volume_encryption(&self) -> Result<VolumeEncryption>;
    /// Of these instance types, those that the Region has, each with the architectures that it runs.
    async fn instance_types(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>>;
}

/// What starts bakes, and who hears of what became of them.
pub trait Signals {
    /// Whether the bucket tells EventBridge of uploads.
    async fn uploads_are_told(&self) -> Result<bool>;
    /// The rules of the default event bus that lead to a state machine or a topic.
    async fn rules(&self, target: &str) -> Result<Vec<Rule>>;
    /// Whom a topic tells.
    async fn subscriptions(&self, topic: &str) -> Result<Vec<Subscription>>;
    /// The newest executions of a state machine, the newest first: so many at most.
    async fn runs(&self, machine: &str, most: u8) -> Result<Vec<Run>>;
}
