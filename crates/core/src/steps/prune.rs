//! prune: the only step that may destroy. It plans, shows the plan with a reason for each image, then acts.
//!
//! It fails closed: what can't be read keeps what depends on it. Each act asks [`super::guard`] once more.

mod judge;
mod leftovers;
mod plan;
mod reap;
mod request;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::judge::tag;
pub use self::{
    judge::{Inventory, Retention, Verdict, judge},
    plan::{plan, plan_of},
    reap::{Reaped, is_dead, reap, refuse},
    request::Request,
};
use super::guard::{Guard, Purpose};
pub use super::guard::{Kept, Reason};
use crate::{
    domain::{
        error::{Error, Result},
        id::{BakeId, PipelineName},
    },
    ports::{Bucket, PrunePorts},
    store::{Ledger, decode, keys},
};

/// No run removes more than this, so that a mistake stays small.
pub const MOST_PER_RUN: usize = 50;

/// More images without a record than this in one run, and nothing at all is destroyed: the table is then not the one
/// that these images were recorded in.
pub const MOST_UNRECORDED: usize = 3;

/// A plan that somebody saw longer ago than this is not acted on.
const PLAN_LASTS: SignedDuration = SignedDuration::from_hours(1);

/// A bake whose execution is dead, and that may have left something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadBake {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its id.
    pub bake: BakeId,
    /// What it left, by id, as far as the plan saw.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leaves: Vec<String>,
}

impl DeadBake {
    /// A bake of which it isn't known yet what it left.
    pub fn new(pipeline: PipelineName, bake: BakeId) -> Self {
        Self { pipeline, bake, leaves: Vec::new() }
    }
}

/// What a prune run will do, and what it will not and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// When it was made.
    pub made: Timestamp,
    /// Bakes to clean up after.
    pub dead_bakes: Vec<DeadBake>,
    /// Images to retire.
    pub retire: Vec<Verdict>,
    /// Images that stay.
    pub keep: Vec<Verdict>,
    /// Other things that stay although their bake is dead: snapshots that another image needs, what has the keep tag.
    #[serde(default)]
    pub stays: Vec<Kept>,
    /// What an operator must look at: what has no record, what can't be read. It fails the run, once all else is done.
    #[serde(default)]
    pub problems: Vec<String>,
    /// How many more images and bakes there are than a run takes; the next one takes them.
    #[serde(default)]
    pub later: usize,
    /// Why nothing at all is destroyed; none in a usual run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub halted: Option<String>,
}

impl Plan {
    /// Whether it destroys nothing.
    pub fn is_empty(&self) -> bool {
        self.dead_bakes.is_empty() && self.retire.is_empty()
    }
}

/// The plan for a request, and whether it is to be acted on.
pub async fn planned(
    request: &Request,
    cloud: &(impl PrunePorts + Bucket),
    now: Timestamp,
) -> Result<(Plan, bool)> {
    match request {
        Request::Everything { dry_run } => Ok((plan(cloud, cloud, now).await?, !dry_run)),
        Request::Bake { dead, dry_run } => Ok((plan_of(dead, cloud, now).await?, !dry_run)),
        Request::Act { plan } => {
            // Who asked for it has seen its problems, too.
            let plan = seen(plan, cloud, now).await?;
            Ok((Plan { problems: Vec::new(), halted: None, ..plan }, true))
        }
        Request::Nothing => Ok((plan::nothing(now), true)),
    }
}

/// The plan of an earlier run, as somebody saw it.
async fn seen(run: &BakeId, bucket: &impl Bucket, now: Timestamp) -> Result<Plan> {
    let wrong = |problem: &str| {
        Error::bad_input(
            format!("the plan of prune run `{run}`"),
            problem,
            "Make a new plan: `ovenbird prune`",
        )
    };
    let key = keys::prune_plan(run);
    let text = bucket.text(&key).await?.ok_or_else(|| wrong("is not there"))?;
    let plan: Plan = decode(&key, &text)?;
    if now.duration_since(plan.made) > PLAN_LASTS {
        return Err(wrong("is more than an hour old"));
    }
    Ok(plan)
}

/// Retires one image with its snapshots, if still nothing uses it.
pub async fn retire(verdict: &Verdict, cloud: &impl PrunePorts, now: Timestamp) -> Result<Verdict> {
    let Some(id) = &verdict.bake else {
        return Ok(Verdict { reason: Reason::Unrecorded, ..verdict.clone() });
    };
    let guard = Guard::new(cloud);
    let mut bake = Ledger(cloud).bake(&verdict.pipeline, id).await?;
    let images = cloud.images(Some(id)).await?;
    // Without it, the try before this one may have ended between the image and its snapshots.
    let mut gone = BTreeSet::new();
    if let Some(image) = images.into_iter().find(|image| image.id == verdict.image) {
        if let Some(kept) = guard.deregister(&image, bake.as_deref(), Purpose::Retirement).await? {
            return Ok(Verdict { reason: kept.reason, by: kept.by, ..verdict.clone() });
        }
        gone.insert(image.id);
    }
    for snapshot in cloud.snapshots(Some(id)).await? {
        guard.delete_snapshot(&snapshot, bake.as_deref(), &gone).await?;
    }
    if let Some(bake) = &mut bake {
        bake.progress.retire(now);
        Ledger(cloud).save(bake).await?;
    }
    Ok(Verdict { reason: Reason::Retired, by: String::new(), ..verdict.clone() })
}
