//! The shapes of the events' details. `docs/events.md` is made of them, and promises that nothing of a version goes.
//!
//! A state machine puts an event after the record that it tells of is written, and perhaps more than once, each time with
//! the same `id`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    bake::{Failure, Stage, Status},
    event::{Event, EventKind, cut, summary},
    id::{AmiId, BakeId, ChannelName, ParameterName, PipelineName, RolloutId, StackId},
    rollout::Outcome,
};

/// The version of all shapes. Within one, fields are added; none goes or changes.
pub const VERSION: u8 = 1;

/// No more characters of an error's text go into an event: it is in the bake's record as a whole.
const MOST_OF_A_CAUSE: usize = 2000;

/// The detail of `Image Baked`: a bake has an image that passed its tests.
///
/// With `reused`, the image was there already. A bake that is stopped before its end still fails after this: then a
/// `Bake Failed` of the same bake follows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageBaked {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text.
    pub summary: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The bake.
    pub bake: BakeId,
    /// How the bake ends: `promoted`, `validated` (asked not to promote, or a rollout takes over), or `superseded`.
    pub status: Status,
    /// The image.
    pub image: AmiId,
    /// Whether it was there already.
    pub reused: bool,
    /// The key of the artifact in the bucket.
    pub artifact: Option<String>,
    /// The image that it was baked on.
    pub base: AmiId,
}

/// The detail of `Image Promoted`: a channel points at an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePromoted {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text.
    pub summary: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// The image.
    pub image: AmiId,
    /// The image that the channel had before; null after a first promotion.
    pub previous: Option<AmiId>,
    /// The bake that made the image, or found it made already.
    pub bake: BakeId,
    /// The rollout that brought it; null where no machines follow the channel and nobody asked by hand.
    pub rollout: Option<RolloutId>,
    /// Who promoted it by hand, as AWS knows them; null for a bake.
    pub by: Option<String>,
    /// Why, in that person's words.
    pub why: Option<String>,
    /// Whether the channel had the image before: then this is a rollback.
    pub returned: bool,
}

/// The detail of `Approval Needed`: a rollout waits for a person, because the recipe says `pause-before`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalNeeded {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text. It names the
    /// command that approves.
    pub summary: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// The rollout.
    pub rollout: RolloutId,
    /// The image that waits.
    pub image: AmiId,
    /// The bake that made the image, or found it made already.
    pub bake: BakeId,
    /// The stage that does not begin before the answer, from 1.
    pub stage: usize,
    /// After that the rollout goes back; null where the recipe has no `approve-hours`.
    pub until: Option<Timestamp>,
    /// The stack whose rollout it is: the ARN of its CloudFormation stack. The mail's rule asks for it.
    pub stack: StackId,
}

/// The detail of `Rollout Reverted`: a rollout ended, and its image isn't the channel's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloutReverted {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text.
    pub summary: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// The rollout.
    pub rollout: RolloutId,
    /// The image that the channel did not get.
    pub image: AmiId,
    /// The bake that made the image, or found it made already.
    pub bake: BakeId,
    /// How it ended: `reverted` (the image was found bad and is rejected, or it could not be brought into service), `aborted`
    /// by a person, `left` by one as it was then, or `refused` (nothing was changed).
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<String>,
}

/// The detail of `Bake Failed`: nothing that it made is left, and its channel is as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BakeFailed {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text.
    pub summary: String,
    /// The pipeline; null where not even that could be read of what started the bake.
    pub pipeline: Option<PipelineName>,
    /// The bake.
    pub bake: BakeId,
    /// The stage in which it failed.
    pub stage: Stage,
    /// The error's stable name; `Cancelled` where somebody stopped the bake.
    pub error: String,
    /// What happened, with its causes and the hint. Long ones are cut: the bake's record has all.
    pub cause: String,
    /// The key of the artifact in the bucket.
    pub artifact: Option<String>,
    /// The stack whose bake it is: the ARN of its CloudFormation stack. The mail's rule asks for it.
    pub stack: StackId,
}

/// The detail of `Image Retired`: the image and its snapshots are gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRetired {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text.
    pub summary: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The image.
    pub image: AmiId,
    /// Its name.
    pub name: String,
    /// The bake that made it.
    pub bake: Option<BakeId>,
}

/// The detail of `Parameter Drifted`: somebody wrote the parameter by hand, or removed it. Each prune run puts it again
/// while that lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParameterDrifted {
    /// The version of this shape.
    pub version: u8,
    /// The same whenever this event is put again.
    pub id: String,
    /// One line for people, without quotation marks, so that an input transformer can put it into a text.
    pub summary: String,
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel that the parameter follows.
    pub channel: ChannelName,
    /// The parameter.
    pub parameter: ParameterName,
    /// What the channel points at.
    pub image: AmiId,
    /// What the parameter says; null where it isn't there.
    pub value: Option<String>,
}

macro_rules! events {
    ($($shape:ident is $kind:ident),*) => {
        $(impl From<$shape> for Event {
            fn from(detail: $shape) -> Self {
                Self::new(EventKind::$kind, &$shape { summary: summary(&detail.summary), ..detail })
            }
        })*
    };
}

events!(
    ImageBaked is Baked, ImagePromoted is Promoted, ApprovalNeeded is Asks, RolloutReverted is Reverted,
    ImageRetired is Retired, ParameterDrifted is Drifted
);

impl From<BakeFailed> for Event {
    fn from(detail: BakeFailed) -> Self {
        let (summary, cause) = (summary(&detail.summary), cut(&detail.cause, MOST_OF_A_CAUSE));
        Self::new(EventKind::Failed, &BakeFailed { summary, cause, ..detail })
    }
}

impl BakeFailed {
    /// Of a bake with this failure.
    pub fn new(bake: BakeId, pipeline: Option<PipelineName>, failure: &Failure, stack: StackId) -> Self {
        let what = pipeline.as_ref().map_or_else(|| "a bake".to_owned(), |name| format!("pipeline {name}"));
        let first = failure.cause.lines().next().unwrap_or_default();
        Self {
            version: VERSION,
            id: format!("failed/{bake}"),
            summary: format!(
                "{what}: bake {bake} failed in stage {}: {}: {first}",
                failure.stage, failure.error
            ),
            pipeline,
            bake,
            stage: failure.stage,
            error: failure.error.clone(),
            cause: failure.cause.clone(),
            artifact: None,
            stack,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(cause: &str) -> Failure {
        Failure { error: "StepFailed".into(), cause: cause.into(), stage: Stage::Builder }
    }

    fn told(failure: &Failure) -> Event {
        let (bake, stack) = (BakeId::parse("b-1").unwrap(), StackId::parse("ovenbird").unwrap());
        BakeFailed::new(bake, None, failure, stack).into()
    }

    #[test]
    fn a_summary_breaks_no_input_transformer() {
        let failure = failure("step `a \"b\" \\c`\nsecond line \u{1b}[31mred");
        let event = told(&failure);
        let summary = event.detail["summary"].as_str().unwrap();
        assert_eq!(summary, "a bake: bake b-1 failed in stage builder: StepFailed: step `a 'b' 'c`");
    }

    #[test]
    fn a_long_cause_is_cut_and_says_so() {
        let event = told(&failure(&"ü".repeat(9000)));
        let cause = event.detail["cause"].as_str().unwrap();
        assert_eq!(cause.chars().count(), MOST_OF_A_CAUSE);
        assert!(cause.ends_with('…'), "{cause}");
        assert_eq!(event.detail["summary"].as_str().unwrap().chars().count(), 400);
    }

    #[test]
    fn it_is_an_entry_of_put_events() {
        let event = told(&failure("it is broken"));
        insta::assert_json_snapshot!(event, @r#"
        {
          "Source": "ovenbird",
          "DetailType": "Bake Failed",
          "Detail": {
            "artifact": null,
            "bake": "b-1",
            "cause": "it is broken",
            "error": "StepFailed",
            "id": "failed/b-1",
            "pipeline": null,
            "stack": "ovenbird",
            "stage": "builder",
            "summary": "a bake: bake b-1 failed in stage builder: StepFailed: it is broken",
            "version": 1
          }
        }
        "#);
    }
}
