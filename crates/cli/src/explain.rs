//! `ovenbird explain`: which inputs differ between what is live and what a bake would use now, or between two bakes.

use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::Bake,
        id::{AmiId, BakeId, Digest, PipelineName},
        trigger::Trigger,
    },
    ports::{Bucket, Table},
    steps::inputs,
    store::{ImageStatus, Ledger, Versioned, recipes},
    views::explain::{Line, Side, explain},
};
use serde::Serialize;
use serde_json::json;

use crate::{bake::note_difference, find, recipe, target::Target};

/// Two makings of a pipeline's image, compared.
#[derive(Debug, Serialize)]
pub struct Explanation {
    /// The pipeline whose bakes are compared.
    pipeline: PipelineName,
    /// The older of the two bakes.
    before: BakeId,
    /// Whether the channel of the recipe points at what the older one promoted.
    live: bool,
    /// The bake after it; none for one that would be started now.
    now: Option<BakeId>,
    /// The digest of the inputs now.
    digest: Digest,
    /// Whether both make the same image.
    same_image: bool,
    /// The image of these inputs, when there is one already.
    image: Option<AmiId>,
    /// Whether the bake was asked to bake anew whatever there was.
    forced: bool,
    /// What a bake of these inputs does.
    will: Will,
    /// Every input.
    inputs: Vec<Line>,
}

/// What a bake does to get its image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Will {
    /// It builds a new one.
    Build,
    /// It takes the one that is there.
    Reuse,
    /// It takes the one that is there, once a fresh instance of it has passed tests that it never passed.
    ReuseAndTest,
}

/// How far back a bake can lie that is compared.
const MOST: usize = 500;

/// Compares a bake with the one before it, or what a bake started now would be made from with what is live; or either
/// with another bake.
pub async fn run(
    pipeline: Option<&str>,
    bake: Option<&str>,
    against: Option<&str>,
    target: &Target,
) -> Result<Explanation> {
    let pipeline = recipe::pipeline(pipeline, target)?;
    let deployment = target.deployment().await?;
    let cloud = &deployment.cloud;
    let ledger = Ledger(cloud);
    let mut bakes = ledger.bakes(&pipeline, MOST).await?;
    let none = |problem: &str| {
        let fix = format!("Bake first: `ovenbird bake {pipeline}`");
        Error::bad_input(format!("pipeline `{pipeline}`"), problem, fix)
    };
    let known: Option<Bake> = match bake {
        Some(text) => {
            let found = find::find(&deployment, text).await?;
            let at = bakes.iter().position(|bake| bake.spec.id == found.spec.id);
            let at = at.ok_or_else(|| none(&format!("has no bake `{text}`")))?;
            bakes.drain(..=at);
            Some(found)
        }
        None => None,
    };
    let live = live(cloud, &pipeline).await?;
    let before = match (against, &known) {
        (Some(text), _) => Some(find::find(&deployment, text).await?),
        // What was live when it was made is not on record for long: the bake before it is what it differs from.
        (None, Some(_)) => bakes.first().cloned(),
        // Nothing was promoted yet: the last try is the next best.
        (None, None) => live.clone().or_else(|| bakes.first().cloned()),
    };
    let before = before.ok_or_else(|| none("has no bake to compare with"))?;
    if before.spec.pipeline != pipeline {
        return Err(none(&format!("has no bake `{}`", before.spec.id)));
    }
    let resolved;
    let now = match &known {
        Some(bake) => Side::from(bake),
        None => {
            let trigger = Trigger::manual(&json!({"pipeline": pipeline}))?;
            resolved = inputs::resolve(&trigger, None, cloud, Timestamp::now()).await?;
            note_difference(&pipeline, &resolved.pointer);
            Side::from(&resolved)
        }
    };
    let digest = now.inputs.digest(&pipeline);
    let record = ledger.image(&digest).await?.filter(|record| record.status == ImageStatus::Validated);
    let forced = known.as_ref().is_some_and(|bake| bake.spec.options.force);
    let will = match &record {
        None => Will::Build,
        Some(_) if forced => Will::Build,
        Some(set) if set.passed(&now.inputs.tests).is_some() => Will::Reuse,
        Some(_) => Will::ReuseAndTest,
    };
    Ok(Explanation {
        will,
        forced,
        inputs: explain(cloud, &pipeline, Side::from(&before), now).await?,
        live: live.is_some_and(|live| live.spec.id == before.spec.id),
        before: before.spec.id.clone(),
        now: known.as_ref().map(|bake| bake.spec.id.clone()),
        same_image: before.spec.digest == digest,
        image: record.map(|set| set.home.image),
        digest,
        pipeline,
    })
}

/// The bake that the channel of the current recipe points at; none when nothing was promoted there, or the bake is no
/// longer on record.
async fn live(cloud: &(impl Bucket + Table), pipeline: &PipelineName) -> Result<Option<Bake>> {
    let (_, recipe) = recipes::recipe(cloud, pipeline).await?;
    let channel = Ledger(cloud).channel(pipeline, &recipe.promote.channel).await?;
    match channel.and_then(|channel| channel.current) {
        Some(target) => Ok(Ledger(cloud).bake(pipeline, &target.bake).await?.map(Versioned::into_inner)),
        None => Ok(None),
    }
}

/// The inputs that changed, each with its older and its newer value below it, and what of it changed.
pub fn text(explanation: &Explanation) -> String {
    let Explanation { before, now, live, inputs, .. } = explanation;
    let now = now.as_ref().map_or("a bake started now", |bake| bake.as_str());
    let live = if *live { " (live)" } else { "" };
    let mut text = format!("before: {before}{live}\nnow:    {now}\n");
    for line in inputs.iter().filter(|line| line.changed) {
        text.push_str(&format!("\n{}\n  - {}\n  + {}\n", line.input, line.before, line.now));
        text.extend(line.details.iter().map(|detail| format!("    {detail}\n")));
    }
    let (changed, same): (Vec<_>, Vec<_>) = inputs.iter().partition(|line| line.changed);
    if !same.is_empty() && !changed.is_empty() {
        let same: Vec<&str> = same.iter().map(|line| line.input).collect();
        text.push_str(&format!("\nthe same: {}\n", same.join(", ")));
    }
    text.push_str(&format!("\n{}", what_happens(explanation, !changed.is_empty())));
    text
}

/// What a bake of these inputs does, and why.
fn what_happens(explanation: &Explanation, changed: bool) -> String {
    let Explanation { same_image, image, forced, will, .. } = explanation;
    let why = match (will, same_image) {
        (Will::Build, _) if *forced => "a new image is built: `--force`",
        (Will::Build, true) => "a new image is built: no input changed, but the image no longer exists",
        (Will::Build, false) if changed => "a new image is built: inputs changed",
        (Will::Build, false) => {
            "a new image is built: no input changed, but this version of Ovenbird computes the digest differently"
        }
        (Will::Reuse, true) => "the image is reused: nothing that goes into it changed",
        (Will::Reuse, false) => "an image that was made of the same inputs before is reused",
        (Will::ReuseAndTest, true) => {
            "the image is reused, once a fresh instance of it has passed the tests: they alone changed"
        }
        (Will::ReuseAndTest, false) => {
            "an image that was made of the same inputs before is reused, once a fresh instance of it has passed the tests"
        }
    };
    let image = image.as_ref().filter(|_| *will != Will::Build).map(|image| format!(" ({image})"));
    format!("{why}{}", image.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::digest;

    use super::*;

    #[test]
    fn only_what_changed_is_shown_with_its_details_below() {
        let line = |input, before: &str, details: &[&str]| Line {
            input,
            before: before.to_owned(),
            now: "now".to_owned(),
            changed: !details.is_empty(),
            details: details.iter().map(|detail| (*detail).to_owned()).collect(),
        };
        let explanation = Explanation {
            pipeline: PipelineName::parse("shop").unwrap(),
            before: BakeId::parse("one").unwrap(),
            live: true,
            now: None,
            digest: digest::sha256(b""),
            same_image: false,
            image: None,
            forced: false,
            will: Will::Build,
            inputs: vec![
                line("base", "ami-1", &[]),
                line("configuration", "0123456789ab", &["step 1 is new", "step 2 is new"]),
                line("tests", "-", &[]),
            ],
        };
        let text = text(&explanation);
        let rows = "before: one (live)\nnow:    a bake started now\n
configuration
  - 0123456789ab
  + now
    step 1 is new
    step 2 is new

the same: base, tests
\na new image is built: inputs changed";
        assert_eq!(text, rows);
    }

    #[test]
    fn it_is_told_what_a_bake_does_and_with_which_image() {
        let image = AmiId::parse("ami-01234567").unwrap();
        let of = |will, same_image| Explanation {
            pipeline: PipelineName::parse("shop").unwrap(),
            before: BakeId::parse("one").unwrap(),
            live: true,
            now: None,
            digest: digest::sha256(b""),
            same_image,
            image: Some(image.clone()),
            forced: false,
            will,
            inputs: Vec::new(),
        };
        let told = |will, same| what_happens(&of(will, same), true);
        assert_eq!(told(Will::Build, false), "a new image is built: inputs changed");
        assert!(told(Will::Reuse, true).ends_with("changed (ami-01234567)"));
        assert!(told(Will::ReuseAndTest, true).contains("a fresh instance of it has passed the tests"));
        let forced = Explanation { forced: true, ..of(Will::Build, true) };
        assert_eq!(what_happens(&forced, true), "a new image is built: `--force`");
    }
}
