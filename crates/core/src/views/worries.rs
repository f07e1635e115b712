//! What somebody must look at of a pipeline, each with the command that fixes it or says more.

use serde::Serialize;

use super::status::{ChannelStatus, PipelineStatus};
use crate::domain::id::AmiId;

/// One thing that somebody must look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Worry {
    /// The pipeline, or the channel as `storefront/production`.
    pub of: String,
    /// What is wrong, in one line.
    pub what: String,
    /// The command that fixes it, or that says more where no single command fixes it.
    pub fix: String,
}

/// What somebody must look at of a pipeline with its channels and its newest bake.
pub fn worries(one: &PipelineStatus) -> Vec<Worry> {
    let pipeline = &one.pipeline;
    let mut found = Vec::new();
    let mut note = |what: String, fix: String| found.push(Worry { of: pipeline.to_string(), what, fix });
    if let Some(problem) = &one.recipe_problem {
        note(problem.clone(), "ovenbird recipe check && ovenbird recipe push".to_owned());
    }
    // A failure that a later bake made good is history.
    if let (Some(failure), Some(last)) = (&one.last_failure, &one.last_bake)
        && failure.bake == last.bake
    {
        let error = failure.error.as_deref().unwrap_or("no reason on record");
        note(
            format!("the last bake failed ({error} in stage {})", failure.stage),
            format!("ovenbird show {}", failure.bake),
        );
    }
    for channel in &one.channels {
        found.extend(of_channel(one, channel));
    }
    found
}

/// What somebody must look at of one channel.
pub fn of_channel(one: &PipelineStatus, channel: &ChannelStatus) -> Vec<Worry> {
    let (pipeline, name) = (&one.pipeline, &channel.channel);
    let mut found = Vec::new();
    let mut note =
        |what: String, fix: String| found.push(Worry { of: format!("{pipeline}/{name}"), what, fix });
    let current = channel.current.as_ref();
    for drifted in channel.parameters.iter().filter(|parameter| parameter.drifted) {
        let value = drifted.value.as_deref().unwrap_or("nothing: it isn't there");
        let parameter = &drifted.parameter;
        let what = format!("parameter {parameter} says {value}, and not the channel's image");
        let fix = match current.map(|current| AmiId::as_str(&current.image)) {
            Some(image) => format!(
                "aws ssm put-parameter --name {parameter} --value {image} --type String \
                 --data-type aws:ec2:image --overwrite"
            ),
            None => format!("aws ssm delete-parameter --name {parameter}"),
        };
        note(what, fix);
    }
    if let Some(current) = current {
        if let Some(problem) = &current.base_problem {
            note(format!("its base can't be told: {problem}"), format!("ovenbird explain {pipeline}"));
        }
        if let (Some(true), Some(base), Some(now)) = (current.behind, &current.base, &current.base_now) {
            let what = format!("its base moved on: {} was {}, is {now}", base.written, base.image);
            note(what, format!("ovenbird bake {pipeline}"));
        }
    }
    if !channel.in_recipe {
        note(
            "the recipe no longer names it: nothing moves it any more".to_owned(),
            "ovenbird recipe push".to_owned(),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        domain::bake::{Stage, Status},
        views::status::{BakeSummary, Current, ParameterStatus},
    };

    fn image(number: u8) -> AmiId {
        format!("ami-0000000{number}").parse().unwrap()
    }

    fn fine() -> PipelineStatus {
        let current = Current {
            image: image(2),
            bake: "b1".parse().unwrap(),
            promoted: "2026-01-01T00:00:00Z".parse().unwrap(),
            generation: 1,
            artifact: None,
            base: None,
            base_now: None,
            behind: None,
            base_problem: None,
        };
        let channel = ChannelStatus {
            channel: "production".parse().unwrap(),
            in_recipe: true,
            current: Some(current),
            parameters: vec![ParameterStatus {
                parameter: "/images/shop".parse().unwrap(),
                value: Some(image(2).to_string()),
                drifted: false,
                unread: false,
            }],
            on_current: BTreeSet::new(),
            on_others: BTreeMap::new(),
            outdated: BTreeMap::new(),
            hold: None,
            rolling: None,
        };
        PipelineStatus {
            pipeline: "shop".parse().unwrap(),
            recipe: None,
            recipe_problem: None,
            channels: vec![channel],
            running: Vec::new(),
            last_bake: None,
            last_failure: None,
        }
    }

    fn told(one: &PipelineStatus) -> Vec<(String, String)> {
        worries(one).into_iter().map(|worry| (worry.of, worry.fix)).collect()
    }

    #[test]
    fn of_what_is_well_nothing_is_said() {
        assert_eq!(worries(&fine()), []);
    }

    #[test]
    fn everything_wrong_has_its_command() {
        let mut one = fine();
        let current = one.channels[0].current.as_mut().unwrap();
        current.base_problem = Some("the parameter is gone".into());
        (one.channels[0].parameters[0].drifted, one.channels[0].in_recipe) = (true, false);
        one.recipe_problem = Some("it has no steps".into());
        let set = "aws ssm put-parameter --name /images/shop --value ami-00000002 --type String \
                   --data-type aws:ec2:image --overwrite";
        let expected = [
            ("shop", "ovenbird recipe check && ovenbird recipe push"),
            ("shop/production", set),
            ("shop/production", "ovenbird explain shop"),
            ("shop/production", "ovenbird recipe push"),
        ];
        assert_eq!(told(&one), expected.map(|(of, fix)| (of.to_owned(), fix.to_owned())));
    }

    #[test]
    fn a_failure_that_a_later_bake_made_good_is_history() {
        let bake = |id: &str, status, error: Option<&str>| BakeSummary {
            bake: id.parse().unwrap(),
            status,
            stage: Stage::Validation,
            started: "2026-01-01T00:00:00Z".parse().unwrap(),
            ended: None,
            error: error.map(Into::into),
        };
        let failed = bake("b2", Status::Failed, Some("TestsFailed"));
        let one = PipelineStatus { last_failure: Some(failed.clone()), last_bake: Some(failed), ..fine() };
        assert_eq!(told(&one), [("shop".to_owned(), "ovenbird show b2".to_owned())]);
        let one = PipelineStatus { last_bake: Some(bake("b3", Status::Promoted, None)), ..one };
        assert_eq!(told(&one), []);
    }
}
