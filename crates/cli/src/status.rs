//! `ovenbird status`: what is live, and what is wrong with it.

use std::fmt::Write as _;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{AmiId, InstanceId, PipelineName},
        plain::plain,
    },
    views::{
        status::{self, BakeSummary, ChannelStatus, Coming, Fleet, Held, PipelineStatus, Records},
        worries,
    },
};

use crate::{
    find::{self, Early},
    render,
    target::{Deployment, Target},
};

/// A bake that failed before it had a record is told of for so long.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// How all pipelines stand, or one.
pub async fn run(pipeline: Option<&str>, target: &Target, now: Timestamp) -> Result<Vec<PipelineStatus>> {
    let (deployment, records, fleet) = read(pipeline, target).await?;
    let known = records.iter().flat_map(Records::bakes).map(|bake| &bake.spec.id).collect();
    let (mut all, early) = futures::try_join!(
        status::status(&deployment.cloud, &records, &fleet, now),
        Early::all(&deployment, Some(now - LATELY), &known),
    )?;
    for one in &mut all {
        add_early(one, &early);
    }
    Ok(all)
}

/// A bake that failed before it had a record is the pipeline's last one, if no other started after it.
fn add_early(one: &mut PipelineStatus, early: &[Early]) {
    let of_this = early.iter().filter(|early| early.pipeline.as_ref() == Some(&one.pipeline));
    let Some(newest) = of_this.max_by_key(|early| early.started) else { return };
    let summary = newest.summary();
    for last in [&mut one.last_bake, &mut one.last_failure] {
        if last.as_ref().is_none_or(|last| last.started < summary.started) {
            *last = Some(summary.clone());
        }
    }
}

/// What is on record of all pipelines, or of one, and the machines of the account.
pub async fn read(pipeline: Option<&str>, target: &Target) -> Result<(Deployment, Vec<Records>, Fleet)> {
    let deployment = target.deployment().await?;
    let known = find::pipelines(&deployment).await?;
    let wanted = match pipeline {
        Some(name) => {
            let pipeline = PipelineName::parse(name).map_err(|error| Error::bad_id("PIPELINE", &error))?;
            if !known.contains(&pipeline) {
                return Err(Error::NoRecipe { pipeline });
            }
            [pipeline].into()
        }
        None => known,
    };
    let records = find::each(&wanted, async |pipeline| status::records(&deployment.cloud, pipeline).await);
    let (records, fleet) = futures::try_join!(records, deployment.cloud.fleet())?;
    Ok((deployment, records, fleet))
}

/// How many of a channel's instances run on its image and on others.
fn running(channel: &ChannelStatus) -> String {
    let others: usize = channel.on_others.values().map(std::collections::BTreeSet::len).sum();
    match others {
        0 => channel.on_current.len().to_string(),
        others => format!("{} (+{others} on others)", channel.on_current.len()),
    }
}

/// What keeps a channel from moving, or moves it at this moment.
fn stands(channel: &ChannelStatus, pipeline: &PipelineName, now: Timestamp) -> Vec<String> {
    let name = &channel.channel;
    let rolling = channel.rolling.as_ref().map(|coming| {
        let Coming { rollout, image, phase: _, awaits, asks } = coming;
        let at = match (awaits, asks) {
            // What a person must do is said as something to look at.
            (Some(awaits), false) => format!(", which waits for {}", plain(awaits)),
            (_, true) | (None, _) => String::new(),
        };
        format!(
            "is brought to {image} by rollout {rollout}{at}: `ovenbird rollout {pipeline} --channel {name}`"
        )
    });
    let hold = channel.hold.as_ref().map(|Held { by, why, since }| {
        let why = why.as_ref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
        let (by, age) = (plain(by), render::age(*since, now));
        format!(
            "held by {by} for {age}{why}. Nothing is promoted to it by itself until `ovenbird release {pipeline} --channel {name}`"
        )
    });
    rolling.into_iter().chain(hold).collect()
}

/// What somebody must look at of a channel, each with the command that fixes it.
fn to_look_at(one: &PipelineStatus, channel: &ChannelStatus) -> Vec<String> {
    let all = worries::approval(one, channel).into_iter().chain(worries::of_channel(one, channel));
    all.map(|worry| format!("{}: `{}`", plain(&worry.what), worry.fix)).collect()
}

/// One line for each channel, and below all what somebody must look at.
pub fn table(all: &[PipelineStatus], now: Timestamp) -> String {
    if all.is_empty() {
        return "no pipeline has a recipe yet: `ovenbird recipe push`".to_owned();
    }
    let head = ["CHANNEL", "IMAGE", "SINCE", "BASE", "INSTANCES", "LAST BAKE", "ARTIFACT"];
    let mut rows = Vec::new();
    let mut notes = String::new();
    for one in all {
        let last = one.running.first().or(one.last_bake.as_ref());
        let last = last.map_or("-".to_owned(), |bake| {
            format!("{} {} ago", bake.status.as_str(), render::age(bake.ended.unwrap_or(bake.started), now))
        });
        let mut note = |channel: &str, text: &str| {
            let _ = writeln!(notes, "{}{channel}: {text}", one.pipeline);
        };
        if let Some(problem) = &one.recipe_problem {
            note("", problem);
        }
        if one.channels.is_empty() {
            let none = "-".to_owned();
            rows.push([
                one.pipeline.to_string(),
                none.clone(),
                none.clone(),
                none.clone(),
                none,
                last.clone(),
                String::new(),
            ]);
        }
        for channel in &one.channels {
            let current = channel.current.as_ref();
            let base = match current.and_then(|current| current.behind) {
                Some(true) => "behind",
                Some(false) => "newest",
                None => "-",
            };
            let artifact = current.and_then(|current| current.artifact.as_ref());
            rows.push([
                format!("{}/{}", one.pipeline, channel.channel),
                current.map_or("-", |current| current.image.as_str()).to_owned(),
                current.map_or("-".to_owned(), |current| render::age(current.promoted, now)),
                base.to_owned(),
                running(channel),
                last.clone(),
                artifact.map(|artifact| artifact.key.name().to_owned()).unwrap_or_default(),
            ]);
            for text in stands(channel, &one.pipeline, now) {
                note(&format!("/{}", channel.channel), &text);
            }
            for worry in to_look_at(one, channel) {
                note(&format!("/{}", channel.channel), &worry);
            }
        }
        // A failure that a later bake made good is history.
        if let (Some(failure), Some(last)) = (&one.last_failure, &one.last_bake)
            && failure.bake == last.bake
        {
            note("", &format!("the last bake {}", ended(failure, now)));
        }
    }
    let mut text = render::table(head, rows);
    if !notes.is_empty() {
        let _ = write!(text, "\n\n{}", notes.trim_end());
    }
    text
}

fn ended(bake: &BakeSummary, now: Timestamp) -> String {
    let error =
        bake.error.as_ref().map(|error| format!(" ({error} in stage {})", bake.stage)).unwrap_or_default();
    let at = bake.ended.unwrap_or(bake.started);
    format!("{}{error} {} ago: {}", bake.status.as_str(), render::age(at, now), bake.bake)
}

/// One pipeline, whole.
pub fn text(one: &PipelineStatus, now: Timestamp) -> String {
    let mut text = format!("pipeline  {}\n", one.pipeline);
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<9} {value}");
    };
    let version = one.recipe.as_ref().map_or("none", |version| &version.as_str()[..12]);
    line(
        "recipe",
        &one.recipe_problem.as_ref().map_or(version.to_owned(), |problem| format!("{version}: {problem}")),
    );
    for bake in &one.running {
        line(
            "running",
            &format!("{}, in stage {} for {}", bake.bake, bake.stage, render::age(bake.stage_since, now)),
        );
    }
    line("last bake", &one.last_bake.as_ref().map_or("none".to_owned(), |bake| ended(bake, now)));
    line(
        "failed",
        &one.last_failure.as_ref().map_or("none of the newest bakes".to_owned(), |bake| ended(bake, now)),
    );
    for channel in &one.channels {
        let _ = writeln!(text, "\nchannel   {}", channel.channel);
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<9} {value}");
        };
        match &channel.current {
            None => line("image", "none: nothing is promoted"),
            Some(current) => {
                let since = format!(
                    "{} ({} ago)",
                    render::moment(current.promoted),
                    render::age(current.promoted, now)
                );
                line("image", current.image.as_str());
                line(
                    "since",
                    &format!("{since}, generation {}, by bake {}", current.generation, current.bake),
                );
                if let Some(artifact) = &current.artifact {
                    let version = artifact.version.as_ref().map(|version| format!(", version {version}"));
                    let sha = &artifact.sha256.as_str()[..12];
                    line(
                        "artifact",
                        &format!(
                            "{} ({} bytes, SHA-256 {sha}{})",
                            artifact.key,
                            artifact.bytes,
                            version.unwrap_or_default()
                        ),
                    );
                }
                if let Some(base) = &current.base {
                    let newest = if current.behind == Some(false) { ", the newest" } else { "" };
                    line("base", &format!("{} ({}), {}{newest}", base.image, base.name, base.written));
                }
            }
        }
        for parameter in channel.parameters.iter().filter(|parameter| !parameter.drifted) {
            line("parameter", parameter.parameter.as_str());
        }
        let ids = |ids: &std::collections::BTreeSet<InstanceId>| {
            let ids: Vec<_> = ids.iter().map(InstanceId::as_str).collect();
            format!("{}: {}", ids.len(), ids.join(" "))
        };
        line(
            "running",
            &if channel.on_current.is_empty() { "0".to_owned() } else { ids(&channel.on_current) },
        );
        for (image, instances) in &channel.on_others {
            line("", &format!("{} on {}", ids(instances), AmiId::as_str(image)));
        }
        for text in stands(channel, &one.pipeline, now) {
            line("stands", &text);
        }
        for worry in to_look_at(one, channel) {
            line("look at", &worry);
        }
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovenbird_core::domain::bake::{Stage, Status};

    fn early(pipeline: Option<&str>, started: &str) -> Early {
        Early {
            bake: "early-1".parse().unwrap(),
            pipeline: pipeline.map(|name| name.parse().unwrap()),
            trigger: None,
            artifact: None,
            error: "NoRecipe".into(),
            cause: String::new(),
            started: started.parse().unwrap(),
            ended: None,
        }
    }

    #[test]
    fn a_bake_that_failed_before_it_had_a_record_is_the_last_one_until_another_starts() {
        let last = BakeSummary {
            bake: "b1".parse().unwrap(),
            status: Status::Promoted,
            stage: Stage::CleanUp,
            started: "2026-01-02T00:00:00Z".parse().unwrap(),
            stage_since: "2026-01-02T00:00:00Z".parse().unwrap(),
            ended: None,
            error: None,
        };
        let mut one = PipelineStatus {
            pipeline: "shop".parse().unwrap(),
            recipe: None,
            recipe_problem: None,
            channels: Vec::new(),
            running: Vec::new(),
            last_bake: Some(last.clone()),
            last_failure: None,
        };
        let now = "2026-01-04T00:00:00Z".parse().unwrap();
        add_early(
            &mut one,
            &[early(Some("other"), "2026-01-03T00:00:00Z"), early(None, "2026-01-03T00:00:00Z")],
        );
        assert_eq!((&one.last_bake, &one.last_failure), (&Some(last.clone()), &None));
        add_early(&mut one, &[early(Some("shop"), "2026-01-01T00:00:00Z")]);
        assert_eq!((&one.last_bake, one.last_failure.is_some()), (&Some(last), true));
        add_early(&mut one, &[early(Some("shop"), "2026-01-03T00:00:00Z")]);
        let text = table(&[one], now);
        assert!(text.contains("the last bake failed (NoRecipe in stage launch) 24 h ago: early-1"), "{text}");
    }
}
