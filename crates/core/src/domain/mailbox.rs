//! How a builder is told what to do, and how it says what it does: small objects of the bucket, read and written by
//! presigned URL. The builder needs no agent, no permission and no open port.
//!
//! | object | who writes it | what is in it |
//! |---|---|---|
//! | `plan.json` | launch-builder | what the bake wants: [`super::plan::Plan`] |
//! | `orders.json` | launch-builder, run-validation, snapshot | what to do now: [`Orders`] |
//! | `urls.json` | launch-builder, then poll-readiness | fresh presigned URLs of all of these: [`Urls`] |
//! | `progress.json` | the runner, every few seconds | that it lives, and what it does: [`Heartbeat`] |
//! | `provision.json`, `test.json`, `seal.json` | the runner | how an order ended: [`super::report`] |
//! | `steps.log` | the runner | what the steps printed: [`super::report::LogPart`] |

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::plan::PresignedUrl;

/// How long a presigned URL is signed for, in seconds. It ends earlier when the signer's credentials do.
pub const SIGNED_FOR: u64 = 3_600;

/// Older URLs are written anew. A Lambda's credentials live for hours, and AWS doesn't say how many of them are left when
/// a function starts; it does not hand out ones that end within minutes.
pub const RENEW_AFTER: SignedDuration = SignedDuration::from_secs(300);

/// How often the runner fetches its URLs anew. With [`RENEW_AFTER`], it never works with any older than about six minutes.
pub const FETCH_AFTER: SignedDuration = SignedDuration::from_secs(60);

/// A builder that wasn't heard of this long after its launch never will be: no cloud-init, no `curl`, no way to the bucket.
pub const BOOT_DEADLINE: SignedDuration = SignedDuration::from_secs(300);

/// A builder that was heard of, and then not for this long, has died, or its runner has. Four beats are missing then, and the
/// bake that looks each ten seconds has failed within a minute.
pub const SILENCE: SignedDuration = SignedDuration::from_secs(45);

/// How often the runner says at least that it lives.
pub const BEAT: SignedDuration = SignedDuration::from_secs(10);

/// How often the runner looks for orders while the next one is to come soon: for [`EAGER_FOR`] after its last report, in
/// which a bake needs one or two seconds. After that, each [`LOOK`].
pub const EAGER_LOOK: SignedDuration = SignedDuration::from_millis(100);

/// How long the runner looks that often.
pub const EAGER_FOR: SignedDuration = SignedDuration::from_secs(10);

/// How often the runner looks for orders else.
pub const LOOK: SignedDuration = SignedDuration::from_secs(1);

/// What a builder is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// Run the steps.
    Provision,
    /// Run the tests.
    Test,
    /// Seal, and power off.
    Seal,
    /// Seal, and run on: EC2 can't stop a spot builder, and takes it down for its image.
    SealRunning,
}

impl Order {
    /// Its place in the life of a builder. An order with a generation that was done is not done again, so that one that
    /// is written twice, or late, is one order.
    pub fn generation(self) -> u32 {
        match self {
            Self::Provision => 1,
            Self::Test => 2,
            Self::Seal | Self::SealRunning => 3,
        }
    }
}

/// What a builder is to do now: `orders.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Orders {
    /// The order's place in the life of the builder.
    pub generation: u32,
    /// What to do.
    pub order: Order,
}

impl From<Order> for Orders {
    fn from(order: Order) -> Self {
        Self { generation: order.generation(), order }
    }
}

/// Fresh presigned URLs: `urls.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Urls {
    /// When they were signed.
    pub signed: Timestamp,
    /// To read these URLs again.
    pub urls: PresignedUrl,
    /// To read the plan.
    pub plan: PresignedUrl,
    /// To read the orders.
    pub orders: PresignedUrl,
    /// To write the heartbeat.
    pub progress: PresignedUrl,
    /// To write the steps' report.
    pub provision: PresignedUrl,
    /// To write the kept log of all steps; a function that is older than the runner signs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<PresignedUrl>,
    /// To write the tests' report.
    pub test: PresignedUrl,
    /// To write the tests' report as JUnit XML.
    pub junit: PresignedUrl,
    /// To write the seal's report.
    pub seal: PresignedUrl,
}

impl Urls {
    /// All of them.
    pub fn all(&self) -> impl Iterator<Item = &PresignedUrl> {
        let Self { signed: _, urls, plan, orders, progress, provision, log, test, junit, seal } = self;
        [urls, plan, orders, progress, provision, test, junit, seal].into_iter().chain(log)
    }
}

/// That a builder lives, and what it does: `progress.json`. When it was written, the bucket says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The order that is worked on, or that was done last; 0 before the first.
    pub generation: u32,
    /// What is being done; none while the runner waits for an order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Work>,
    /// Why an order ended without a report: the runner's own failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// The machine goes down, to boot again: nothing is heard of it meanwhile.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reboots: bool,
    /// EC2 takes the spot capacity back soon; its notice, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interruption: Option<String>,
}

/// What a builder does at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// The order.
    pub order: Order,
    /// The step, test or part of the seal.
    pub name: String,
    /// Which one it is, from 1.
    pub number: usize,
    /// How many there are.
    pub of: usize,
    /// When it began, by the builder's clock.
    pub since: Timestamp,
    /// The last lines of its output, without secrets.
    pub output: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_is_written() {
        let orders = Orders::from(Order::SealRunning);
        let text = serde_json::to_string(&orders).unwrap();
        insta::assert_snapshot!(text, @r#"{"generation":3,"order":"seal-running"}"#);
        assert_eq!(serde_json::from_str::<Orders>(&text).unwrap(), orders);
    }
}
