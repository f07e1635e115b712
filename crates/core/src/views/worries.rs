//! What somebody must look at of a pipeline, each with the command that fixes it or says more.

use serde::Serialize;

use super::{
    parts::BaseView,
    status::{ChannelStatus, Coming, PipelineStatus},
};
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
        let parameter = &drifted.parameter;
        let what = match &drifted.value {
            Some(value) => format!("parameter {parameter} says {value}, and not the channel's image"),
            None => format!("parameter {parameter} isn't there, and should say the channel's image"),
        };
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
            let BaseView { written, image, .. } = base;
            let what = match &current.other_base {
                Some(other) => format!("its recipe has another base by now: {other}, and not {written}"),
                None => format!("its base moved on: {written} was {image}, is {now}"),
            };
            note(what, renewed(one, channel));
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

/// The approval that a channel's rollout waits for. It is said before all worries: somebody is waited for.
pub fn approval(one: &PipelineStatus, channel: &ChannelStatus) -> Option<Worry> {
    let (pipeline, name) = (&one.pipeline, &channel.channel);
    let Coming { image, awaits, .. } = channel.rolling.as_ref().filter(|coming| coming.asks)?;
    let awaits = awaits.as_deref().unwrap_or("a person's approval");
    Some(Worry {
        of: format!("{pipeline}/{name}"),
        what: format!("its rollout to {image} waits for {awaits}"),
        fix: format!("ovenbird rollout {pipeline} approve --channel {name}"),
    })
}

/// The commands that bring an image on a newer base to a channel.
fn renewed(one: &PipelineStatus, channel: &ChannelStatus) -> String {
    let pipeline = &one.pipeline;
    let bake = format!("ovenbird bake {pipeline}");
    // To this one people promote: a bake alone changes nothing of it.
    match one.channels.iter().find(|other| other.by_bakes) {
        Some(first) if !channel.by_bakes => {
            let (from, to) = (&first.channel, &channel.channel);
            format!("{bake} && ovenbird promote {pipeline} --image {from} --channel {to}")
        }
        Some(_) | None => bake,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::{
        domain::{
            bake::{Stage, Status},
            rollout::Phase,
        },
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
            other_base: None,
            behind: None,
            base_problem: None,
        };
        let channel = ChannelStatus {
            channel: "production".parse().unwrap(),
            in_recipe: true,
            by_bakes: true,
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
    fn a_rollout_that_waits_for_a_person_has_the_command_of_the_answer() {
        let mut one = fine();
        let coming = Coming {
            rollout: "r1".parse().unwrap(),
            image: image(3),
            phase: Some(Phase::Paused),
            awaits: Some("a person's approval".to_owned()),
            asks: true,
        };
        one.channels[0].rolling = Some(coming.clone());
        let asked = approval(&one, &one.channels[0]).unwrap();
        assert_eq!(asked.fix, "ovenbird rollout shop approve --channel production");
        assert_eq!(asked.what, format!("its rollout to {} waits for a person's approval", image(3)));
        one.channels[0].rolling = Some(Coming { asks: false, ..coming });
        assert_eq!(approval(&one, &one.channels[0]), None);
    }

    #[test]
    fn what_bakes_do_not_promote_to_needs_a_promotion_too() {
        let mut one = fine();
        let current = one.channels[0].current.as_mut().unwrap();
        (current.behind, current.base_now) = (Some(true), Some(image(9)));
        current.base = Some(BaseView {
            image: image(1),
            name: "debian-12".to_owned(),
            written: "debian-12".to_owned(),
            parent: None,
        });
        assert_eq!(told(&one), [("shop/production".to_owned(), "ovenbird bake shop".to_owned())]);
        let what = |one: &PipelineStatus| worries(one)[0].what.clone();
        assert_eq!(what(&one), "its base moved on: debian-12 was ami-00000001, is ami-00000009");
        // It is not the old base that moved.
        let mut another = one.clone();
        another.channels[0].current.as_mut().unwrap().other_base = Some("debian-13".to_owned());
        assert_eq!(what(&another), "its recipe has another base by now: debian-13, and not debian-12");
        let mut staging = one.channels[0].clone();
        (staging.channel, staging.current) = ("staging".parse().unwrap(), None);
        one.channels[0].by_bakes = false;
        one.channels.push(staging);
        let both = "ovenbird bake shop && ovenbird promote shop --image staging --channel production";
        assert_eq!(told(&one)[0].1, both);
    }

    #[test]
    fn a_failure_that_a_later_bake_made_good_is_history() {
        let bake = |id: &str, status, error: Option<&str>| BakeSummary {
            bake: id.parse().unwrap(),
            status,
            stage: Stage::Validation,
            started: "2026-01-01T00:00:00Z".parse().unwrap(),
            stage_since: "2026-01-01T00:00:00Z".parse().unwrap(),
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
