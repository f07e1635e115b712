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

use crate::{find, recipe, render, target::Target};

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
    /// Every input.
    inputs: Vec<Line>,
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
    let pipeline = recipe::pipeline(pipeline)?;
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
            resolved = inputs::resolve(&trigger, cloud, Timestamp::now()).await?;
            Side::from(&resolved)
        }
    };
    let digest = now.inputs.digest(&pipeline);
    let record = ledger.image(&digest).await?.filter(|record| record.status == ImageStatus::Validated);
    Ok(Explanation {
        inputs: explain(cloud, &pipeline, Side::from(&before), now).await?,
        live: live.is_some_and(|live| live.spec.id == before.spec.id),
        before: before.spec.id.clone(),
        now: known.as_ref().map(|bake| bake.spec.id.clone()),
        same_image: before.spec.digest == digest,
        image: record.map(|set| set.home.image),
        forced: known.as_ref().is_some_and(|bake| bake.spec.options.force),
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

/// The inputs that changed as a table, with what of them changed below each.
pub fn text(explanation: &Explanation) -> String {
    let Explanation { before, now, live, same_image, image, inputs, forced, .. } = explanation;
    let now = now.as_ref().map_or("a bake started now", |bake| bake.as_str());
    let live = if *live { " (live)" } else { "" };
    let mut text = format!("before: {before}{live}\nnow:    {now}\n\n");
    let rows: Vec<&Line> = inputs.iter().filter(|line| line.changed).collect();
    if !rows.is_empty() {
        let head = ["INPUT", "BEFORE", "NOW"].map(str::to_owned);
        let table =
            render::columns(std::iter::once(head).chain(
                rows.iter().map(|line| [line.input.to_owned(), line.before.clone(), line.now.clone()]),
            ));
        let mut shown = table.lines();
        text.push_str(&format!("{}\n", shown.next().unwrap_or_default()));
        for (row, line) in shown.zip(&rows) {
            text.push_str(&format!("{row}\n"));
            text.extend(line.details.iter().map(|detail| format!("    {detail}\n")));
        }
    }
    let same: Vec<&str> = inputs.iter().filter(|line| !line.changed).map(|line| line.input).collect();
    if !same.is_empty() && !rows.is_empty() {
        text.push_str(&format!("the same: {}\n", same.join(", ")));
    }
    let tests = inputs.iter().any(|line| line.input == "tests" && line.changed);
    let changed = inputs.iter().any(|line| line.changed);
    text.push_str(match (same_image, image, tests) {
        _ if *forced => "\n`--force`: a new image is baked",
        (false, None, _) if !changed => {
            "\nno input changed, but this version of Ovenbird computes the digest differently: a new image is baked"
        }
        (true, Some(_), true) => {
            "\nonly the tests changed: the image is kept, and a fresh instance of it must pass them"
        }
        (true, Some(_), false) => "\nno input changed: the image is reused",
        (true, None, _) => {
            "\nno input changed, but the image no longer exists: a new one is baked"
        }
        (false, Some(_), _) => "\ninputs changed, but an image with these inputs exists and is reused",
        (false, None, _) => "\ninputs changed: a new image is baked",
    });
    if let Some(image) = image {
        text.push_str(&format!(" ({image})"));
    }
    text
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
            inputs: vec![
                line("base", "ami-1", &[]),
                line("configuration", "0123456789ab", &["step 1 is new", "step 2 is new"]),
                line("tests", "-", &[]),
            ],
        };
        let text = text(&explanation);
        let table = "before: one (live)\nnow:    a bake started now\n
INPUT          BEFORE        NOW
configuration  0123456789ab  now
    step 1 is new
    step 2 is new
the same: base, tests
\ninputs changed";
        assert!(text.contains(table), "{text}");
    }
}
