//! Following a bake to its end: its stages, and what its builder does and prints while it does it.

mod ended;
mod pane;

use std::{io::IsTerminal as _, time::Duration};

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Stage, Status},
        id::{BakeId, PipelineName},
        mailbox::{Heartbeat, Order, Work},
        plain::plain_line,
    },
    ports::Role,
    store::{Ledger, Mailbox, Versioned},
};
use tokio::time::Instant;

use self::pane::Pane;
pub use self::{ended::Ending, pane::fresh};
use crate::{
    find::{self, Early},
    pace::Pace,
    render,
    target::{Deployment, Target},
};

/// How a bake is followed.
#[derive(Debug, Clone, Default, Args)]
pub struct FollowArgs {
    /// Stop following after this time, such as `30m`; the bake goes on
    #[arg(long, value_name = "TIME", value_parser = render::duration)]
    timeout: Option<SignedDuration>,
    /// Also write the bake and its tests to this file, as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub junit: Option<std::path::PathBuf>,
    /// Then follow the bakes that its promotion starts, and theirs
    #[arg(long, conflicts_with = "junit")]
    pub children: bool,
}

/// How following ended.
#[derive(Debug)]
pub enum Followed {
    /// With the bake.
    Ended(Box<Bake>),
    /// The bake was not seen for minutes, or may not be looked at any more. It may go on.
    Lost(Error),
    /// After the time that was asked for. The bake goes on.
    TimedOut,
}

/// How often the record is looked at while nothing happens.
const LOOK: Duration = Duration::from_secs(2);

/// How often the record is looked at when it couldn't be seen.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A bake that wasn't seen for this long is given up: a network that comes back does so earlier.
const SIGHT: Duration = Duration::from_secs(300);

/// How often a builder's heartbeat is read.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Where there is no terminal, something is said at least this often: CI services end a job that is silent for ten
/// minutes, and people wonder earlier.
const SAY: Duration = Duration::from_secs(60);

/// The bake that is meant: the one of this id, the newest of this pipeline, or the only one that is on its way.
pub async fn meant(deployment: &Deployment, bake: Option<&str>) -> Result<Bake> {
    if let Some(text) = bake {
        return find::find(deployment, text).await;
    }
    let (running, _) = Ledger(&deployment.cloud).running().await?;
    let refuse = |problem: String| {
        let fix = "Name the bake or its pipeline: `ovenbird follow PIPELINE`";
        Err(Error::bad_input("the bake to follow", problem, fix))
    };
    match running.as_slice() {
        [one] => Ok(one.clone()),
        [] => refuse("isn't there: no bake is running".into()),
        several => {
            let named: Vec<_> = several.iter().map(|bake| bake.spec.id.to_string()).collect();
            refuse(format!("may be any of {}: {}", several.len(), named.join(", ")))
        }
    }
}

/// Follows a bake that was started before.
pub async fn run(
    bake: Option<&str>,
    args: &FollowArgs,
    target: &Target,
    json: bool,
) -> Result<(Deployment, BakeId, Followed)> {
    let deployment = target.deployment().await?;
    let bake = meant(&deployment, bake).await?;
    let followed = follow(&deployment, &bake.spec.pipeline, &bake.spec.id, args, json).await?;
    Ok((deployment, bake.spec.id, followed))
}

/// Shows every stage as it begins and ends, until the bake has ended. Ctrl-C ends the following, not the bake.
pub async fn follow(
    deployment: &Deployment,
    pipeline: &PipelineName,
    id: &BakeId,
    args: &FollowArgs,
    json: bool,
) -> Result<Followed> {
    let timeout = args.timeout.and_then(|time| Duration::try_from(time).ok());
    tokio::select! {
        ended = watch(deployment, pipeline, id, json) => ended,
        () = after(timeout) => Ok(Followed::TimedOut),
        signal = tokio::signal::ctrl_c() => {
            if let Err(error) = signal {
                crate::tell!("error: can't listen for Ctrl-C: {error}");
            }
            crate::tell!("\n{}", goes_on(id));
            std::process::exit(INTERRUPTED);
        }
    }
}

/// What is said of a bake that is no longer followed.
pub fn goes_on(id: &BakeId) -> String {
    format!(
        "bake {id} goes on. Follow it: `ovenbird follow {id}`; stop it and remove what it made: `ovenbird cancel {id}`"
    )
}

/// The exit status of a program that Ctrl-C ended, as shells have it.
const INTERRUPTED: i32 = 130;

/// Waits for so long; without a time, for ever.
async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

async fn watch(
    deployment: &Deployment,
    pipeline: &PipelineName,
    id: &BakeId,
    json: bool,
) -> Result<Followed> {
    let mut show = Show::new(json);
    show.say(&format!("bake {id}"));
    let mut lost: Option<Instant> = None;
    let (mut pace, mut stages) = (Pace::up_to(LOOK), 0);
    loop {
        match look(deployment, pipeline, id, &mut show).await {
            Ok(Look::Ended(bake)) => {
                show.pane.close();
                return Ok(Followed::Ended(bake));
            }
            Ok(Look::Early(error)) => {
                show.pane.close();
                return Err(error);
            }
            Ok(Look::OnItsWay) => {
                if lost.take().is_some() {
                    show.tell("seen again");
                }
                if show.ended != stages {
                    stages = show.ended;
                    pace.restart();
                }
                pace.pause().await;
            }
            Err(error) => {
                let since = *lost.get_or_insert_with(|| {
                    show.tell(&format!("lost sight of it, still trying: {}", error.chain()));
                    Instant::now()
                });
                if !error.goes_by() || since.elapsed() >= SIGHT {
                    show.pane.close();
                    return Ok(Followed::Lost(error));
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        }
    }
}

/// What one look saw.
enum Look {
    OnItsWay,
    Ended(Box<Bake>),
    /// It failed without a record.
    Early(Error),
}

async fn look(
    deployment: &Deployment,
    pipeline: &PipelineName,
    id: &BakeId,
    show: &mut Show,
) -> Result<Look> {
    let ledger = Ledger(&deployment.cloud);
    let read = async || Ok::<_, Error>(ledger.bake(pipeline, id).await?.map(Versioned::into_inner));
    let bake = read().await?;
    if let Some(bake) = &bake {
        show.bake(deployment, bake).await;
    }
    if let Some(bake) = bake.filter(|bake| bake.progress.status != Status::Running) {
        return Ok(Look::Ended(Box::new(bake)));
    }
    let Some(early) = Early::find(deployment, id).await? else { return Ok(Look::OnItsWay) };
    // The record is written before the execution ends, so it is read once more before it is believed.
    match read().await? {
        None => Ok(Look::Early(early.error())),
        Some(bake) if bake.progress.status == Status::Running => Ok(Look::Early(dead(&early))),
        // The next look shows how it ended.
        Some(_) => Ok(Look::OnItsWay),
    }
}

/// Of a bake whose execution ended and left its record as it was.
fn dead(early: &Early) -> Error {
    let (cause, _) = early.cause.split_once("\nhint: ").unwrap_or((&early.cause, ""));
    Error::bad_input(
        format!("bake `{}`: {}", early.bake, early.error),
        format!("its execution ended without its clean-up: {cause}"),
        format!("Remove what it left: `ovenbird clean {}`; then start the bake again", early.bake),
    )
}

/// What is shown of a bake, and what was shown already.
struct Show {
    json: bool,
    pane: Pane,
    /// How many stages were shown as ended.
    ended: usize,
    looked: Option<Instant>,
    /// When something was printed last, where there is no terminal.
    said: Instant,
    /// What the builder did at the last look.
    work: Option<(Stage, Work)>,
}

impl Show {
    fn new(json: bool) -> Self {
        let pane = if json || !std::io::stderr().is_terminal() { Pane::hidden() } else { Pane::new() };
        Self { json, pane, ended: 0, looked: None, said: Instant::now(), work: None }
    }

    /// Prints a line above the pane, unless JSON was asked for.
    fn say(&mut self, line: &str) {
        if !self.json {
            self.tell(line);
        }
    }

    /// Prints a line above the pane, also beside JSON.
    fn tell(&mut self, line: &str) {
        self.said = Instant::now();
        self.pane.above(&plain_line(line));
    }

    async fn bake(&mut self, deployment: &Deployment, bake: &Bake) {
        let stage = bake.progress.stage;
        // What was printed last in a stage stands above its end; of a bake that is taken up in its midst, the stages that
        // ended long ago come first.
        if self.looked.is_none() {
            self.stages(bake);
        }
        self.look(deployment, bake).await;
        self.stages(bake);
        let since = bake.progress.stage_since().unwrap_or(bake.spec.started);
        let work = self.work.as_ref().filter(|(at, _)| *at == stage).map(|(_, work)| work);
        self.pane.show(
            stage.as_str(),
            since,
            work.map(title).as_deref(),
            work.map(|work| work.output.as_str()),
        );
        if self.pane.is_hidden() && self.said.elapsed() >= SAY {
            let now = Timestamp::now();
            let doing = work.map(|work| format!(": {}, for {}", title(work), render::age(work.since, now)));
            let doing = doing.unwrap_or_default();
            self.say(&format!("  {:<12} for {}{doing}", stage.as_str(), render::age(since, now)));
        }
    }

    /// Prints the stages that ended since the last look.
    fn stages(&mut self, bake: &Bake) {
        let ended: Vec<_> = bake.progress.timeline.iter().filter(|span| span.end.is_some()).collect();
        for span in ended.iter().skip(self.ended) {
            let seconds = render::seconds(span.start, span.end.unwrap_or(span.start));
            self.say(&format!("  {:<12} {seconds:>6.1} s", span.stage.as_str()));
        }
        self.ended = self.ended.max(ended.len());
    }

    /// Reads what the builder does. Where there is no terminal, each step is printed once, and below it what it prints.
    async fn look(&mut self, deployment: &Deployment, bake: &Bake) {
        let stage = bake.progress.stage;
        let Some(role) = role(stage) else {
            self.work = None;
            return;
        };
        if self.json || self.looked.is_some_and(|looked| looked.elapsed() < HEARTBEAT) {
            return;
        }
        self.looked = Some(Instant::now());
        // It only tells more: that it can't be read is no reason to stop following.
        let heartbeat = Mailbox::new(&deployment.cloud, &bake.spec, role).heartbeat().await;
        let Ok(Some((Heartbeat { work: Some(work), .. }, _))) = heartbeat else { return };
        // The last beat of the stage before says nothing of this one.
        if !belongs(work.order, stage) {
            return;
        }
        let before = self.work.replace((stage, work.clone()));
        if !self.pane.is_hidden() {
            return;
        }
        let same =
            before.filter(|(at, old)| *at == stage && (old.number, &old.name) == (work.number, &work.name));
        // What the seal does has no other name than its stage.
        if same.is_none() && work.name != stage.as_str() {
            self.say(&format!("  {:<12} {}", stage.as_str(), title(&work)));
        }
        let seen = same.map(|(_, old)| old.output).unwrap_or_default();
        for line in fresh(&seen, &work.output) {
            self.say(&format!("    {}", plain_line(line)));
        }
    }
}

/// Whose heartbeat is read in a stage.
pub fn role(stage: Stage) -> Option<Role> {
    match stage {
        Stage::Builder | Stage::Validation | Stage::Seal => Some(Role::Builder),
        Stage::Boot => Some(Role::Verifier),
        Stage::Launch
        | Stage::AwaitTwin
        | Stage::AwaitTurn
        | Stage::Image
        | Stage::Promotion
        | Stage::CleanUp => None,
    }
}

/// Whether an order is worked on in a stage.
fn belongs(order: Order, stage: Stage) -> bool {
    match stage {
        Stage::Builder => order == Order::Provision,
        Stage::Validation | Stage::Boot => order == Order::Test,
        Stage::Seal => matches!(order, Order::Seal | Order::SealRunning),
        Stage::Launch
        | Stage::AwaitTwin
        | Stage::AwaitTurn
        | Stage::Image
        | Stage::Promotion
        | Stage::CleanUp => false,
    }
}

/// What the builder does, by name and place.
pub fn title(work: &Work) -> String {
    match work.number {
        0 => work.name.clone(),
        number => format!("{} ({number} of {})", work.name, work.of),
    }
}
