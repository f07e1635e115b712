//! prune: the only step that may destroy. It plans, shows the plan with a reason for each image, then acts.
//!
//! It fails closed: what can't be read keeps what depends on it. Each act asks [`super::guard`] once more.

mod basis;
mod dangling;
mod judge;
mod leftovers;
mod plan;
#[cfg(test)]
mod properties;
mod reap;
mod request;
mod result;
mod undo;
mod unused;
mod versions;

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use self::judge::tag;
pub use self::{
    judge::{Basis, Because, Retention, Verdict, judge},
    plan::{plan, plan_and_drifts, plan_of},
    reap::{Reaped, is_dead, reap, refuse},
    request::Request,
    result::Outcome,
    undo::ask_undo,
    unused::{UNUSED_AFTER, Unused},
};
use super::guard::{Due, Guard, is_back};
pub use super::guard::{Kept, Reason, Terms};
use crate::{
    domain::{
        error::{Error, Result, Retry},
        event::Event,
        id::{BakeId, PipelineName},
        price::AtMost,
        retirement::Act,
    },
    ports::{Bucket, Image, PrunePorts},
    store::{Ledger, decode, keys},
};

/// No run removes more than this, so that a mistake stays small.
pub const MOST_PER_RUN: usize = 50;

/// No run disables or deregisters more images than this, nor more than a tenth of all.
pub const MOST_AWAY: usize = 10;

/// More images without a record than this in one run, and nothing at all is destroyed: the table is then not the one
/// that these images were recorded in.
pub const MOST_UNRECORDED: usize = 3;

/// A plan that somebody saw longer ago than this is not acted on.
pub const PLAN_LASTS: SignedDuration = SignedDuration::from_hours(1);

/// A bake whose execution is dead, and that may have left something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadBake {
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// Its id.
    pub bake: BakeId,
    /// What it left, by id, as far as the plan saw.
    #[serde(default)]
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
    /// Images that go a stage further, or back.
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
    /// Pipelines whose images nobody used for long. Nothing is done about them.
    #[serde(default)]
    pub unused: Vec<Unused>,
    /// How much room the snapshots of all images take, those that stay and those that go.
    #[serde(default)]
    pub holds: AtMost,
    /// How much room the snapshots take that go in this run.
    #[serde(default)]
    pub frees: AtMost,
    /// The same of all images that are on their way out, or that go in this run.
    #[serde(default)]
    pub will_free: AtMost,
    /// Why nothing at all is destroyed; none in a usual run.
    #[serde(default)]
    pub halted: Option<String>,
}

impl Plan {
    /// Whether it destroys nothing.
    pub fn is_empty(&self) -> bool {
        self.dead_bakes.is_empty() && self.retire.is_empty()
    }

    /// Leaves out what is another pipeline's. What else was found wrong stays told.
    fn only(&mut self, pipeline: &PipelineName) {
        self.dead_bakes.retain(|one| one.pipeline == *pipeline);
        self.retire.retain(|one| one.pipeline == *pipeline);
        self.keep.retain(|one| one.pipeline == *pipeline);
        self.unused.retain(|one| one.pipeline == *pipeline);
    }

    /// Every verdict: what goes first.
    pub fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        self.retire.iter().chain(&self.keep)
    }
}

/// The plan for a request, what is to be told of the parameters that were read for it, and whether it is to be acted on.
pub async fn planned(
    request: &Request,
    cloud: &impl PrunePorts,
    now: Timestamp,
) -> Result<(Plan, Vec<Event>, bool)> {
    let (plan, acts) = match request {
        Request::Everything { pipeline, dry_run } => {
            let (mut plan, drifts) = plan_and_drifts(cloud, cloud, now).await?;
            if let Some(pipeline) = pipeline {
                plan.only(pipeline);
            }
            return Ok((plan, drifts, !dry_run));
        }
        Request::Bake { dead, dry_run } => (plan_of(dead, cloud, now).await?, !dry_run),
        Request::Act { plan } => {
            // Who asked for it has seen its problems, too.
            let plan = seen(plan, cloud, now).await?;
            (Plan { problems: Vec::new(), halted: None, ..plan }, true)
        }
        Request::Undo { image } => (undo::undo(image, cloud, now).await?, true),
        Request::Nothing => (plan::nothing(now), true),
    };
    Ok((plan, Vec::new(), acts))
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

/// Whether EC2 shows an image of a bake no more.
async fn is_gone(image: &Image, bake: &BakeId, cloud: &impl PrunePorts) -> Result<bool> {
    Ok(!cloud.images(Some(bake)).await?.iter().any(|one| one.id == image.id))
}

/// Does with one image what its verdict says, if still nothing uses it.
pub async fn retire(verdict: &Verdict, cloud: &impl PrunePorts, now: Timestamp) -> Result<Verdict> {
    let kept = |reason| Ok(verdict.clone().kept(reason, ""));
    if now.duration_since(verdict.judged) > PLAN_LASTS {
        return kept(Reason::Stale);
    }
    let (Some(id), Some(terms)) = (&verdict.bake, verdict.terms) else { return kept(Reason::Unrecorded) };
    let guard = Guard::new(cloud);
    let mut bake = Ledger(cloud).bake(&verdict.pipeline, id).await?;
    let images = cloud.images(Some(id)).await?;
    let mut image = images.into_iter().find(|image| image.id == verdict.image);
    if verdict.act == Act::Restore
        && let Some(bake) = &mut bake
    {
        match &image {
            Some(image) if is_back(bake, image, now) => guard.begin_return(&image.id, bake, now).await?,
            Some(_) => {}
            // A person wants it back, and it is in the Recycle Bin.
            None if verdict.reason == Reason::Undone => {
                image = Some(guard.take_out(&verdict.image, bake, now).await?);
            }
            None => return kept(Reason::Changed),
        }
        if bake.progress.unretire() {
            Ledger(cloud).save(bake).await?;
        }
    }
    let fate = match &image {
        Some(image) => {
            let due = Due { image, bake: bake.as_deref(), was: verdict.was, terms };
            match verdict.act {
                Act::Keep | Act::Wait => return Ok(verdict.clone()),
                Act::DeleteVersions => guard.delete_versions(due, &verdict.versions, now).await?,
                Act::Deprecate => guard.deprecate(due, now).await?,
                Act::Disable => guard.disable(due, now).await?,
                Act::Deregister => guard.deregister_due(due, now).await?,
                Act::Restore => {
                    let undone = verdict.reason == Reason::Undone;
                    match guard.restore(image, bake.as_deref(), undone, now).await {
                        // Another run deregistered it meanwhile: the next try takes it out of the Recycle Bin.
                        Err(error) if undone && !error.goes_by() && is_gone(image, id, cloud).await? => {
                            let what = format!("image {}", image.id);
                            return Err(Error::TryAgain { what, why: Retry::Going });
                        }
                        restored => restored?,
                    }
                }
            }
        }
        // Without it, the try before this one may have ended between the image and its snapshots.
        None if verdict.act == Act::Deregister => None,
        None => return kept(Reason::Changed),
    };
    if let Some(Kept { reason, by, .. }) = fate {
        return Ok(verdict.clone().kept(reason, by));
    }
    if matches!(verdict.act, Act::Restore | Act::DeleteVersions) {
        return Ok(verdict.clone());
    }
    if verdict.act == Act::Deregister {
        let is_gone = match (&image, &bake) {
            (Some(_), _) => true,
            // An earlier try removed it, after its record. EC2 may still show it to who asks for a snapshot's images.
            (None, Some(bake)) => Ledger(cloud).image_row(&bake.spec.digest, &verdict.image).await?.is_none(),
            (None, None) => false,
        };
        let gone: BTreeSet<_> = is_gone.then(|| verdict.image.clone()).into_iter().collect();
        for snapshot in cloud.snapshots(Some(id)).await? {
            guard.delete_snapshot(&snapshot, bake.as_deref(), &gone).await?;
        }
        if !Ledger(cloud).forget_retirement(&verdict.image, verdict.was).await? {
            return kept(Reason::Changed);
        }
        if let Some(bake) = &mut bake {
            if image.is_none() {
                reap::forget_image(bake, cloud, now).await?;
            }
            bake.progress.retire(now);
            Ledger(cloud).save(bake).await?;
        }
    }
    Ok(Verdict { reason: Reason::Retired, by: String::new(), ..verdict.clone() })
}
