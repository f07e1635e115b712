//! What a prune run is asked for: the input of its execution, parsed once.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    domain::{
        error::{Error, Result},
        id::{AmiId, BakeId, PipelineName},
        trigger::Trigger,
    },
    steps::prune::DeadBake,
};

/// What a prune run is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Everything, as the schedule asks; or only to say what it would do.
    Everything {
        /// Of one pipeline alone.
        pipeline: Option<PipelineName>,
        /// Whether nothing is to be done.
        dry_run: bool,
    },
    /// What one bake left; or only to say what that is.
    Bake {
        /// The bake.
        dead: DeadBake,
        /// Whether nothing is to be done.
        dry_run: bool,
    },
    /// The plan of an earlier dry run, as somebody saw it.
    Act {
        /// That run.
        plan: BakeId,
    },
    /// To take an image back that is on its way out.
    Undo {
        /// The image.
        image: AmiId,
    },
    /// An execution ended before it had a record: there is nothing to clean up.
    Nothing,
}

/// What people start a run with.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Input {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pipeline: Option<PipelineName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    clean: Option<Clean>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<BakeId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undo: Option<AmiId>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Clean {
    pipeline: PipelineName,
    bake: BakeId,
}

/// The part that we read of Step Functions' event of an execution that was stopped, or took too long.
#[derive(Debug, Deserialize)]
struct Event {
    detail: Detail,
}

#[derive(Debug, Deserialize)]
struct Detail {
    name: BakeId,
    /// None where it is too long for an event.
    input: Option<String>,
}

impl Request {
    /// Parses an execution's input: of the schedule, of a person, or an event of Step Functions.
    pub fn parse(input: &Value) -> Result<Self> {
        const FIX: &str = "Start prune runs by `ovenbird prune` or `ovenbird clean BAKE`";
        let wrong = |problem: String| Error::bad_input("the prune run's input", problem, FIX);
        if input.get("detail-type").is_some() {
            let Event { detail } = Event::deserialize(input).map_err(|error| wrong(error.to_string()))?;
            let trigger = detail.input.and_then(|input| serde_json::from_str::<Value>(&input).ok());
            let trigger = trigger.and_then(|input| Trigger::of(&input));
            return Ok(match trigger {
                Some(trigger) => {
                    let dead = DeadBake::new(trigger.pipeline().clone(), detail.name);
                    Self::Bake { dead, dry_run: false }
                }
                // What started it was no start of a bake, so the first step refused it before it made anything.
                None => Self::Nothing,
            });
        }
        let Input { dry_run, pipeline, clean, act, undo } =
            Input::deserialize(input).map_err(|error| wrong(error.to_string()))?;
        match (pipeline, clean, act, undo) {
            (pipeline, None, None, None) => Ok(Self::Everything { pipeline, dry_run }),
            (None, Some(Clean { pipeline, bake }), None, None) => {
                Ok(Self::Bake { dead: DeadBake::new(pipeline, bake), dry_run })
            }
            (None, None, Some(plan), None) if !dry_run => Ok(Self::Act { plan }),
            (None, None, None, Some(image)) if !dry_run => Ok(Self::Undo { image }),
            (..) => Err(wrong("`clean`, `act` and `undo` stand alone".into())),
        }
    }

    /// The input that starts such a run.
    pub fn input(&self) -> Value {
        let input = match self {
            Self::Everything { pipeline, dry_run } => {
                Input { dry_run: *dry_run, pipeline: pipeline.clone(), ..Input::default() }
            }
            Self::Bake { dead, dry_run } => {
                let clean = Clean { pipeline: dead.pipeline.clone(), bake: dead.bake.clone() };
                Input { dry_run: *dry_run, clean: Some(clean), ..Input::default() }
            }
            Self::Act { plan } => Input { act: Some(plan.clone()), ..Input::default() },
            Self::Undo { image } => Input { undo: Some(image.clone()), ..Input::default() },
            Self::Nothing => Input::default(),
        };
        serde_json::to_value(input).unwrap_or_else(|_| unreachable!("it has string keys only"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn dead() -> DeadBake {
        DeadBake::new("shop".parse().unwrap(), "shop-1".parse().unwrap())
    }

    #[test]
    fn what_a_run_is_started_with_is_understood_again() {
        for request in [
            Request::Everything { pipeline: None, dry_run: false },
            Request::Everything { pipeline: Some("shop".parse().unwrap()), dry_run: true },
            Request::Bake { dead: dead(), dry_run: true },
            Request::Act { plan: "prune-1".parse().unwrap() },
            Request::Undo { image: "ami-0123456789abcdef0".parse().unwrap() },
        ] {
            assert_eq!(Request::parse(&request.input()).unwrap(), request);
        }
        assert_eq!(
            Request::parse(&json!({})).unwrap(),
            Request::Everything { pipeline: None, dry_run: false }
        );
    }

    #[test]
    fn an_execution_that_was_stopped_names_its_bake() {
        let event = |input: &str| {
            json!({"detail-type": "Step Functions Execution Status Change", "source": "aws.states",
            "detail": {"name": "shop-1", "status": "ABORTED", "input": input}})
        };
        let stopped = Request::parse(&event(r#"{"pipeline": "shop"}"#)).unwrap();
        assert_eq!(stopped, Request::Bake { dead: dead(), dry_run: false });
        assert_eq!(Request::parse(&event("{}")).unwrap(), Request::Nothing);
    }

    #[test]
    fn what_nobody_asks_for_is_refused_and_nothing_is_pruned() {
        for input in [
            json!({"dryrun": true}),
            json!({"act": "p", "dry-run": true}),
            json!({"undo": "ami-0123456789abcdef0", "dry-run": true}),
            json!({"act": "p", "undo": "ami-0123456789abcdef0"}),
            json!("all"),
            json!(null),
        ] {
            assert!(Request::parse(&input).is_err(), "{input}");
        }
    }
}
