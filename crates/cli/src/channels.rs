//! `ovenbird channels`, `history`, `promote`, `rollback`, `hold` and `release`: what channels point at, and what a person
//! changes about it.

use std::{fmt::Write as _, io::IsTerminal as _};

use clap::Args;
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        artifact::ArtifactKey,
        id::{AmiId, BakeId, ChannelName, PipelineName, RolloutId},
        plain::plain,
    },
    ops::{
        plan::{Change, PromotionPlan, plan},
        promotion::{self, Person, Promotion},
    },
    store::{Channel, Hold, Ledger, Rolled},
};
use serde::Serialize;

use crate::{
    complete, confirm, find, render,
    target::{Deployment, Target},
};

/// Which channel.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// The pipeline's name, or both as `ovenbird status` shows them: `PIPELINE/CHANNEL`
    #[arg(add = complete::pipelines())]
    pub pipeline: String,
    /// The channel's name (default: the pipeline's only one)
    #[arg(long, add = complete::channels())]
    pub channel: Option<String>,
}

impl Which {
    /// The names as they are written.
    fn named(&self) -> Result<(PipelineName, Option<ChannelName>)> {
        let (pipeline, channel, place) = match (&self.channel, self.pipeline.split_once('/')) {
            (None, Some((pipeline, channel))) => (pipeline, Some(channel), "PIPELINE/CHANNEL"),
            (channel, _) => (self.pipeline.as_str(), channel.as_deref(), "--channel"),
        };
        let pipeline = PipelineName::parse(pipeline).map_err(|error| Error::bad_id("PIPELINE", &error))?;
        let channel =
            channel.map(|name| ChannelName::parse(name).map_err(|error| Error::bad_id(place, &error)));
        Ok((pipeline, channel.transpose()?))
    }

    /// The pipeline and the channel that are meant.
    pub async fn resolve(&self, deployment: &Deployment) -> Result<(PipelineName, ChannelName)> {
        let (pipeline, name) = self.named()?;
        if let Some(name) = name {
            return Ok((pipeline, name));
        }
        let channels = Ledger(&deployment.cloud).channels(&pipeline).await?;
        let names: Vec<String> = channels.iter().map(|channel| channel.name.to_string()).collect();
        match channels.as_slice() {
            [one] => Ok((pipeline, one.name.clone())),
            [] => Err(Error::bad_input(
                format!("pipeline `{pipeline}`"),
                "has no channel: nothing was promoted yet",
                "See `ovenbird status`",
            )),
            _ => Err(Error::bad_input(
                format!("pipeline `{pipeline}`"),
                format!("has several channels: {}", names.join(", ")),
                "Choose one: `--channel NAME`",
            )),
        }
    }
}

/// Promote an image that was baked and tested before to a channel; it ends a hold
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ovenbird promote storefront --channel production --image staging     what staging has
  ovenbird promote storefront --image ami-0123456789abcdef0 --why \"CVE fixed\"")]
pub struct PromoteArgs {
    #[command(flatten)]
    which: Which,
    /// The image, or a channel of this pipeline whose image is meant
    #[arg(long, value_name = "IMAGE_OR_CHANNEL", add = complete::channels())]
    image: String,
    #[command(flatten)]
    reason: Reason,
    /// Also an image that was rejected for this channel
    #[arg(long)]
    force: bool,
    /// Show what would change, and why it would be refused; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Bring a channel back to its image before, and hold it
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ovenbird rollback storefront --why \"checkout is slow\"     then, when it is fixed: ovenbird release storefront")]
pub struct RollbackArgs {
    #[command(flatten)]
    which: Which,
    /// The image to go back to (default: the one before)
    #[arg(long)]
    image: Option<String>,
    #[command(flatten)]
    reason: Reason,
    /// Show what would change, and why it would be refused; change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Hold a channel: automation promotes nothing to it
#[derive(Debug, Args)]
pub struct HoldArgs {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    reason: Reason,
}

/// What a person has to say about it.
#[derive(Debug, Clone, Args)]
pub struct Reason {
    /// Why, for the channel's history
    #[arg(long)]
    why: Option<String>,
    /// Don't ask
    #[arg(long)]
    yes: bool,
}

/// What a promotion by hand gave.
#[derive(Debug)]
pub enum Answer {
    /// With `--dry-run`, what it would change.
    Plan(PromotionPlan),
    /// What came of it.
    Asked(Asked),
    /// Nothing: the person at the terminal said no.
    Declined,
}

/// A plan for people: what goes is marked with `-`, what comes with `+`.
pub fn plan_text(plan: &PromotionPlan) -> String {
    let mut text = String::new();
    let channel = format!("{}/{}", plan.pipeline, plan.channel);
    if plan.changes.is_empty() && plan.refused.is_empty() {
        let _ = writeln!(text, "nothing would change: {channel} has {} already", plan.image);
    }
    for Change { what, before, after } in &plan.changes {
        let _ = writeln!(text, "  {}", plain(what));
        if let Some(before) = before {
            let _ = writeln!(text, "-   {}", plain(before));
        }
        let _ = writeln!(text, "+   {}", plain(after));
    }
    if let Some(rollout) = &plan.waits_for {
        let _ = writeln!(text, "\nIt would wait for rollout {rollout} of {channel}, which is under way.");
    }
    for refusal in &plan.refused {
        let _ = writeln!(text, "\nrefused: {}", plain(&refusal.to_string()));
    }
    text
}

/// What came of a promotion by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The channel.
    pub channel: ChannelName,
    /// `begins`, `waits`, `unchanged`, `superseded` or `closed`.
    pub result: &'static str,
    /// The rollout that brings it.
    pub rollout: Option<RolloutId>,
}

impl Asked {
    fn new((pipeline, channel): (PipelineName, ChannelName), rolled: Rolled) -> Self {
        let (result, rollout) = match rolled {
            Rolled::Begins(id) => ("begins", Some(id)),
            Rolled::Waits(id) => ("waits", Some(id)),
            Rolled::Unchanged => ("unchanged", None),
            Rolled::Superseded => ("superseded", None),
            Rolled::Closed(_) => ("closed", None),
        };
        Self { pipeline, channel, result, rollout }
    }

    /// What came of it, for people.
    pub fn text(&self) -> String {
        let channel = format!("{}/{}", self.pipeline, self.channel);
        match (&self.rollout, self.result) {
            (Some(id), "waits") => format!("rollout {id} of {channel} waits for the one that is under way"),
            (Some(id), _) => format!(
                "rollout {id} of {channel} begins; see it: `ovenbird rollout {} --channel {} --watch`",
                self.pipeline, self.channel
            ),
            (None, "unchanged") => format!("{channel} has the image already"),
            (None, other) => format!("nothing was done: {other}"),
        }
    }
}

async fn person(reason: &Reason, deployment: &Deployment) -> Result<Person> {
    let request = format!("by-hand-{}", uuid::Uuid::new_v4().simple());
    let request = BakeId::parse(&request).map_err(|error| Error::bad_id("a request", &error))?;
    Ok(Person { by: deployment.cloud.caller().await?, why: reason.why.clone(), request })
}

/// What would change, before it does.
///
/// # Errors
/// When nobody is there to ask: a script that lacks `--yes` must not take that for a no.
fn agreed(reason: &Reason, json: bool, channel: Option<&Channel>, name: &str, image: &AmiId) -> Result<bool> {
    let before = channel.and_then(|channel| channel.current.as_ref());
    let before = before.map_or("nothing".to_owned(), |target| target.image.to_string());
    if reason.yes || json {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        return Err(Error::bad_input(
            format!("channel `{name}`"),
            format!("stays at {before}: there is no terminal to ask on whether it is to point at {image}"),
            "Pass `--yes` to do it without a question, or `--dry-run` to see what it changes",
        ));
    }
    Ok(confirm::asked(&format!("{name}: {before} → {image}. Go on?")))
}

/// Promotes an image, or says what that would change.
pub async fn promote(args: &PromoteArgs, target: &Target, json: bool) -> Result<Answer> {
    let deployment = target.deployment().await?;
    let (pipeline, channel) = args.which.resolve(&deployment).await?;
    let ledger = Ledger(&deployment.cloud);
    let image = match AmiId::parse(&args.image) {
        Ok(image) => image,
        Err(_) => {
            let from = ChannelName::parse(&args.image).map_err(|error| Error::bad_id("--image", &error))?;
            let source = ledger.channel(&pipeline, &from).await?.and_then(|channel| channel.current);
            let source = source.ok_or_else(|| {
                Error::bad_input(
                    format!("channel `{pipeline}/{from}`"),
                    "points at no image",
                    "Give an image's id: `--image ami-…`",
                )
            })?;
            source.image
        }
    };
    let known = ledger.channel(&pipeline, &channel).await?;
    let what = Promotion { pipeline: pipeline.clone(), channel: channel.clone(), image, force: args.force };
    if args.dry_run {
        return planned(&what, &args.reason, &deployment).await;
    }
    if !agreed(&args.reason, json, known.as_ref(), &format!("{pipeline}/{channel}"), &what.image)? {
        return Ok(Answer::Declined);
    }
    let person = person(&args.reason, &deployment).await?;
    let rolled = promotion::promote(&what, &person, &deployment.cloud, Timestamp::now()).await?;
    Ok(Answer::Asked(Asked::new((pipeline, channel), rolled)))
}

async fn planned(what: &Promotion, reason: &Reason, deployment: &Deployment) -> Result<Answer> {
    let person = person(reason, deployment).await?;
    plan(what, &person, &deployment.cloud, Timestamp::now()).await.map(Answer::Plan)
}

/// Brings a channel back, or says what that would change.
pub async fn roll_back(args: &RollbackArgs, target: &Target, json: bool) -> Result<Answer> {
    let deployment = target.deployment().await?;
    let (pipeline, name) = args.which.resolve(&deployment).await?;
    let image = args.image.as_deref().map(AmiId::parse).transpose();
    let image = image.map_err(|error| Error::bad_id("--image", &error))?;
    if args.dry_run {
        let what = promotion::back_to(&pipeline, &name, image.as_ref(), &deployment.cloud).await?;
        return planned(&what, &args.reason, &deployment).await;
    }
    let known = Ledger(&deployment.cloud).channel(&pipeline, &name).await?;
    let to = image.clone().or_else(|| known.as_ref().and_then(|channel| channel.goes_back_to().cloned()));
    if let Some(to) = to
        && !agreed(&args.reason, json, known.as_ref(), &format!("{pipeline}/{name}"), &to)?
    {
        return Ok(Answer::Declined);
    }
    let person = person(&args.reason, &deployment).await?;
    let cloud = &deployment.cloud;
    let rolled =
        promotion::roll_back(&pipeline, &name, image.as_ref(), &person, cloud, Timestamp::now()).await?;
    if !json && matches!(rolled, Rolled::Begins(_) | Rolled::Waits(_)) {
        let release = format!("ovenbird release {pipeline} --channel {name}");
        crate::tell!("{pipeline}/{name} is held: nothing is promoted to it by itself until `{release}`");
    }
    Ok(Answer::Asked(Asked::new((pipeline, name), rolled)))
}

/// Holds a channel.
pub async fn hold(args: &HoldArgs, target: &Target) -> Result<Channel> {
    let deployment = target.deployment().await?;
    let by = deployment.cloud.caller().await?;
    let hold = Hold { by, why: args.reason.why.clone(), since: Timestamp::now() };
    set_hold(&args.which, Some(hold), &deployment).await
}

/// Ends the hold of a channel.
pub async fn release(which: &Which, target: &Target) -> Result<Channel> {
    let deployment = target.deployment().await?;
    set_hold(which, None, &deployment).await
}

async fn set_hold(which: &Which, hold: Option<Hold>, deployment: &Deployment) -> Result<Channel> {
    let (pipeline, name) = which.resolve(deployment).await?;
    promotion::hold(&pipeline, &name, hold, &deployment.cloud).await?;
    let channel = Ledger(&deployment.cloud).channel(&pipeline, &name).await?;
    Ok(channel.unwrap_or_else(|| Channel::new(pipeline, name)))
}

/// The channels of one pipeline, or of all.
pub async fn channels(pipeline: Option<&str>, target: &Target) -> Result<Vec<Channel>> {
    let deployment = target.deployment().await?;
    let wanted = match pipeline {
        Some(name) => [PipelineName::parse(name).map_err(|error| Error::bad_id("PIPELINE", &error))?].into(),
        None => find::pipelines(&deployment).await?,
    };
    let all =
        find::each(&wanted, async |pipeline| Ledger(&deployment.cloud).channels(pipeline).await).await?;
    Ok(all.into_iter().flatten().collect())
}

/// How a channel stands, in a few words.
fn stands(channel: &Channel) -> String {
    match (&channel.rolling, &channel.hold) {
        (Some(rolling), _) => format!("is brought to {}", rolling.image),
        (None, Some(hold)) => {
            let why = hold.why.as_ref().map(|why| format!(": {}", plain(why))).unwrap_or_default();
            format!("held by {}{why}", plain(&hold.by))
        }
        (None, None) => "open".to_owned(),
    }
}

/// The channels, a line each.
pub fn table(channels: &[Channel], now: Timestamp) -> String {
    if channels.is_empty() {
        return "no channel yet: nothing was promoted".to_owned();
    }
    let head = ["CHANNEL", "IMAGE", "SINCE", "BY", "STANDS"];
    let rows = channels.iter().map(|channel| {
        let current = channel.current.as_ref();
        [
            format!("{}/{}", channel.pipeline, channel.name),
            current.map_or("-".to_owned(), |target| target.image.to_string()),
            current.map_or("-".to_owned(), |target| format!("{} ago", render::age(target.promoted, now))),
            current.map_or("-".to_owned(), |target| match &target.by {
                Some(by) => plain(by),
                None => format!("bake {}", target.bake),
            }),
            stands(channel),
        ]
    });
    render::table(head, rows)
}

/// An artifact as people know it, of its key and its SHA-256: builds of one name differ in that alone.
fn version(artifact: &str) -> String {
    let (key, sha256) = artifact.rsplit_once('@').unwrap_or((artifact, ""));
    let name = ArtifactKey::parse(key).map_or_else(|_| key.to_owned(), |key| key.name().to_owned());
    plain(&format!("{name} ({})", sha256.get(..8).unwrap_or(sha256)))
}

/// What the channels of a pipeline pointed at, the newest first.
pub fn history(channels: &[Channel]) -> String {
    let mut text = String::new();
    for channel in channels {
        let _ = writeln!(text, "{}/{}: {}", channel.pipeline, channel.name, stands(channel));
        let rows = channel.current.iter().chain(&channel.previous).map(|target| {
            [
                format!("  {}", target.generation),
                render::minute(target.promoted),
                target.image.to_string(),
                target.order.artifact.as_deref().map(version).unwrap_or_default(),
                target.by.as_ref().map_or_else(|| format!("bake {}", target.bake), |by| plain(by)),
                target.why.as_ref().map(|why| plain(why)).unwrap_or_default(),
            ]
        });
        text += &render::columns(rows);
        text.push('\n');
        for rejected in &channel.rejected {
            let at = render::minute(rejected.at);
            let _ = writeln!(text, "  rejected  {at}  {}  {}", rejected.image, plain(&rejected.why));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_of_one_name_are_told_apart() {
        let of = |sha: char| version(&format!("artifacts/shop/app.jar@{}", sha.to_string().repeat(64)));
        assert_eq!(of('a'), "app.jar (aaaaaaaa)");
        assert_ne!(of('a'), of('b'));
    }

    #[test]
    fn a_channel_is_named_as_status_shows_it_or_by_its_option() {
        let named = |pipeline: &str, channel: Option<&str>| {
            let which = Which { pipeline: pipeline.into(), channel: channel.map(str::to_owned) };
            which.named().map(|(pipeline, channel)| format!("{pipeline} {channel:?}"))
        };
        let both = named("shop", Some("live")).expect("both");
        assert_eq!(named("shop/live", None).expect("both"), both);
        assert_ne!(named("shop", None).expect("one"), both);
        for (pipeline, channel) in
            [("shop/live", Some("live")), ("shop/", None), ("/live", None), ("a/b/c", None)]
        {
            named(pipeline, channel).expect_err(pipeline);
        }
    }
}
