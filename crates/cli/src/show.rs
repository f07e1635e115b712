//! `ovenbird show` and `ovenbird lineage`: one bake, image or instance, and what images stand on each other.

use std::{collections::BTreeSet, fmt::Write as _};

use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::Bake,
        id::{AmiId, BakeId, ChannelName, InstanceId, PipelineName},
        plain::plain_line,
        tags::TAG_BAKE,
    },
    ports::{Builders as _, Images as _},
    store::Ledger,
    views::{
        bake::BakeView,
        lineage::{self, Descendant, Link},
    },
};
use serde::Serialize;
use serde_json::Value;

use crate::{
    find, render,
    reports::Reports,
    target::{Deployment, Target},
};

/// How many bakes of each pipeline are looked through for what stands on an image.
const MOST: usize = 500;

/// What was asked for, with the bake that it comes from.
#[derive(Debug)]
pub struct Shown {
    bake: Bake,
    links: Vec<Link>,
    reports: Reports,
    /// Who asked for the bake; none for one that nobody asked for, or that was long ago.
    by: Option<String>,
    /// For an image: how it stands.
    image: Option<ImageFacts>,
    /// For an instance: how it stands.
    instance: Option<InstanceFacts>,
}

/// How an image stands.
#[derive(Debug, Serialize)]
struct ImageFacts {
    /// Its id.
    image: AmiId,
    /// Whether EC2 still has it.
    exists: bool,
    /// The channels that point at it.
    current_in: Vec<ChannelName>,
    /// The instances that run on it.
    instances: BTreeSet<InstanceId>,
}

/// How an instance stands.
#[derive(Debug, Serialize)]
struct InstanceFacts {
    /// Its id.
    instance: InstanceId,
    /// EC2's word for its state.
    state: &'static str,
    /// What it was started from.
    image: AmiId,
    /// The bake that it works for; none for one that runs on a bake's image.
    works_for: Option<String>,
}

/// A bake, with what was asked for if that was an image or an instance.
#[derive(Debug, Serialize)]
pub struct ShowView<'a> {
    /// The bake, or the one that the image or instance comes from.
    #[serde(flatten)]
    bake: BakeView<'a>,
    /// Who started it by hand; none for one that nobody asked for, or that was long ago.
    by: Option<&'a str>,
    /// The image that was asked for, or that the instance runs on.
    asked_image: Option<&'a ImageFacts>,
    /// The instance that was asked for.
    asked_instance: Option<&'a InstanceFacts>,
}

/// A bake by its id, an image, or an instance.
pub async fn show(what: &str, target: &Target) -> Result<Shown> {
    let deployment = target.deployment().await?;
    let (mut image, mut instance) = (None, None);
    let bake = if what.starts_with("i-") {
        let id = InstanceId::parse(what).map_err(|error| Error::bad_id("INSTANCE", &error))?;
        let found = deployment.cloud.instance(&id).await?.ok_or_else(|| {
            let fix = "See which instances run on which image: `ovenbird status`";
            Error::bad_input(format!("instance `{id}`"), "is not known to EC2 in this Region", fix)
        })?;
        let works_for = found.tags.get(TAG_BAKE).cloned();
        let bake = match &works_for {
            Some(bake) => find::find(&deployment, bake).await?,
            None => maker(&deployment, &found.image).await?,
        };
        image = Some(facts(&deployment, &bake, &found.image).await?).filter(|_| works_for.is_none());
        instance =
            Some(InstanceFacts { instance: id, state: found.state.as_str(), image: found.image, works_for });
        bake
    } else if what.starts_with("ami-") {
        let id = AmiId::parse(what).map_err(|error| Error::bad_id("IMAGE", &error))?;
        let bake = maker(&deployment, &id).await?;
        image = Some(facts(&deployment, &bake, &id).await?);
        bake
    } else {
        find::find(&deployment, what).await?
    };
    let links = lineage::lineage(&Ledger(&deployment.cloud), &bake).await?;
    let reports = Reports::read(&deployment, &bake).await?;
    let by = starter(&deployment, &bake.spec.id).await?;
    Ok(Shown { bake, links, reports, by, image, instance })
}

/// Who started a bake by hand: the execution's input says so for as long as Step Functions keeps it.
pub async fn starter(deployment: &Deployment, bake: &BakeId) -> Result<Option<String>> {
    let input = deployment.cloud.input(&deployment.bake_machine, bake).await?;
    let input: Option<Value> = input.and_then(|input| serde_json::from_str(&input).ok());
    Ok(input.and_then(|input| Some(input.get("by")?.as_str()?.to_owned())))
}

async fn facts(deployment: &Deployment, bake: &Bake, image: &AmiId) -> Result<ImageFacts> {
    let channels = Ledger(&deployment.cloud).channels(&bake.spec.pipeline).await?;
    let points =
        channels.into_iter().filter(|one| one.current.as_ref().is_some_and(|one| one.image == *image));
    Ok(ImageFacts {
        image: image.clone(),
        exists: deployment.cloud.image(image).await?.is_some(),
        current_in: points.map(|channel| channel.name).collect(),
        instances: deployment.cloud.fleet().await?.remove(image).unwrap_or_default(),
    })
}

/// The bake that made an image.
async fn maker(deployment: &Deployment, image: &AmiId) -> Result<Bake> {
    Ledger(&deployment.cloud).maker(image).await?.ok_or_else(|| {
        let fix = "List the bakes with their images: `ovenbird list`";
        Error::bad_input(format!("image `{image}`"), "was made by no bake on record", fix)
    })
}

impl Shown {
    /// As `--json` prints it.
    pub fn view(&self) -> ShowView<'_> {
        ShowView {
            bake: BakeView::from(&self.bake),
            by: self.by.as_deref(),
            asked_image: self.image.as_ref(),
            asked_instance: self.instance.as_ref(),
        }
    }

    /// For people.
    pub fn text(&self, now: Timestamp) -> String {
        let mut text = String::new();
        if let Some(InstanceFacts { instance, state, image, works_for }) = &self.instance {
            let role = works_for.as_ref().map(|bake| format!(", works for bake {bake}")).unwrap_or_default();
            let _ = writeln!(text, "instance  {instance}: {state}, started from {image}{role}");
        }
        if let Some(ImageFacts { image, exists, current_in, instances }) = &self.image {
            let stands = if *exists { "exists" } else { "is gone: EC2 no longer has it" };
            let _ = writeln!(text, "image     {image} {stands}");
            let channels: Vec<_> = current_in.iter().map(ChannelName::as_str).collect();
            let channels = if channels.is_empty() { "no channel".to_owned() } else { channels.join(", ") };
            let _ = writeln!(text, "current   in {channels}");
            let ids: Vec<_> = instances.iter().map(InstanceId::as_str).collect();
            let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            let _ = writeln!(text, "runs      {ids}\n");
        }
        text.push_str(&render::bake(&self.bake, self.by.as_deref(), &self.links, now));
        let steps = self.reports.steps_text();
        if !steps.is_empty() {
            let _ = write!(text, "\nsteps\n{steps}");
        }
        text.push_str(&self.reports.tests_summary());
        text
    }
}

/// The images below and above one.
#[derive(Debug, Serialize)]
pub struct Lineage {
    /// The image, and below it what each was made on.
    lineage: Vec<Link>,
    /// What stands on it; none unless `--down` was given.
    descendants: Option<Vec<Descendant>>,
}

/// The lineage of an image, or of what a bake made; with what stands on it, if that is wanted.
pub async fn lineage(of: &str, down: bool, target: &Target) -> Result<Lineage> {
    let deployment = target.deployment().await?;
    let ledger = Ledger(&deployment.cloud);
    let mut base = None;
    let bake = if of.starts_with("ami-") {
        let image = AmiId::parse(of).map_err(|error| Error::bad_id("IMAGE", &error))?;
        match ledger.maker(&image).await? {
            Some(bake) => Some(bake),
            // Somebody else's image, which ours may stand on.
            None if down => {
                base = Some(image);
                None
            }
            None => Some(maker(&deployment, &image).await?),
        }
    } else {
        Some(find::find(&deployment, of).await?)
    };
    let links = match &bake {
        Some(bake) => lineage::lineage(&ledger, bake).await?,
        None => Vec::new(),
    };
    let descendants = if down {
        let image = base.or_else(|| bake.as_ref().and_then(|bake| bake.progress.image.clone()));
        let image = image.ok_or_else(|| {
            Error::bad_input(
                format!("`{of}`"),
                "has no image that anything could stand on",
                "Name another bake",
            )
        })?;
        let pipelines = find::pipelines(&deployment).await?;
        let bakes =
            find::each(&pipelines, async |pipeline: &PipelineName| ledger.bakes(pipeline, MOST).await);
        let bakes: Vec<Bake> = bakes.await?.into_iter().flatten().collect();
        Some(lineage::descendants(&image, &bakes))
    } else {
        None
    };
    Ok(Lineage { lineage: links, descendants })
}

impl Lineage {
    /// For people: each image stands on the one below it, and what stands on the first comes indented under its head.
    pub fn text(&self, now: Timestamp) -> String {
        let mut text = if self.lineage.is_empty() { String::new() } else { render::lineage(&self.lineage) };
        if let Some(descendants) = &self.descendants {
            let heading = if descendants.is_empty() { "nothing stands on it" } else { "what stands on it:" };
            let gap = if text.is_empty() { "" } else { "\n\n" };
            let _ = writeln!(text, "{gap}{heading}");
            text.push_str(&render::columns(descendants.iter().map(|one| {
                let indented = format!("{}{}", "  ".repeat(one.depth), one.image);
                let age = format!("{} ago", render::age(one.started, now));
                [indented, age, one.pipeline.to_string(), one.name.clone()]
            })));
        }
        text
    }

    /// As a graph in the language of Graphviz: an arrow points from an image to the one it was made on.
    pub fn dot(&self) -> String {
        let quoted =
            |text: &str| format!("\"{}\"", plain_line(text).replace('\\', "\\\\").replace('"', "\\\""));
        let mut text = "digraph lineage {\n  rankdir = BT;\n  node [shape = box];\n".to_owned();
        let mut node = |image: &AmiId, pipeline: Option<&PipelineName>, name: &str| {
            let of = pipeline.map(|pipeline| format!("{pipeline}\n")).unwrap_or_default();
            let label = format!("{of}{name}\n{image}")
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = writeln!(text, "  {} [label = \"{label}\"];", quoted(image.as_str()));
        };
        for link in &self.lineage {
            node(&link.image, link.pipeline.as_ref(), &plain_line(&link.name));
        }
        for one in self.descendants.iter().flatten() {
            node(&one.image, Some(&one.pipeline), &plain_line(&one.name));
        }
        for pair in self.lineage.windows(2) {
            let _ =
                writeln!(text, "  {} -> {};", quoted(pair[0].image.as_str()), quoted(pair[1].image.as_str()));
        }
        for one in self.descendants.iter().flatten() {
            let _ = writeln!(text, "  {} -> {};", quoted(one.image.as_str()), quoted(one.base.as_str()));
        }
        text.push('}');
        text
    }
}
