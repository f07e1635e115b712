//! poll-readiness: watches whatever the bake waits for, and says whether it is there.
//!
//! It starts nothing, removes nothing, and writes nothing but fresh URLs for the instance. A stage's deadline is judged here.
//!
//! It looks again and again inside one call: a second of a small function costs a fortieth of what a round of the
//! state machine does.

mod vitals;

use jiff::{SignedDuration, Timestamp};

use self::vitals::{CONSOLE_LINES, alive, heard, last_lines, last_words, lost};
use super::{
    Action, available,
    followers::{Observed, followers},
    is_over, limits,
    table::{check, wrong},
};
use crate::{
    domain::{
        bake::{Bake, Document, Seen, Stage, To},
        error::{Error, Result},
        id::{BakeId, InstanceId},
        offer::Loss,
        report::{Exit, ProvisionReport, SealReport, TestReport},
        turn::Answer,
    },
    ports::{
        Bucket, Builders, Clock, ImageState, Images, InstanceState, Parameters, Presigner, Role, Stack,
        Table, Workflow,
    },
    store::{ImageCopy, Ledger, Mailbox, keys},
};

/// And where there is a boot in between: what was said before it matters most.
const BOOT_LINES: usize = 60;

/// How many failed tests an error names beside the first.
const NAMED: usize = 20;

/// What is wrong with a builder that is stopped and whose seal did not report.
const UNSEALED: &str = "it stopped before its seal reported its end: it was stopped from outside, or it died. (A \
    runner that is older than the functions reports none: `make push-runner`)";

/// How long one call watches. A round of the state machine is three transitions, which cost as much as a minute of the
/// function, and nobody looks meanwhile. The function's timeout leaves a last look, with its retries, as long again.
const WATCH: SignedDuration = SignedDuration::from_secs(120);

/// So long after its write a parameter that does not have the image yet is written again.
const WRITE_EVERY: SignedDuration = SignedDuration::from_secs(40);

/// How long the shortest and the longest pause is between two looks for a report; in between it is a six-hundredth of what
/// was waited. A thousand requests to the bucket cost as much as four minutes of the function: a bake of two hours still
/// needs no twenty thousand.
const LOOKS: [SignedDuration; 2] = [SignedDuration::from_millis(100), SignedDuration::from_secs(1)];

/// The same for an image: there the pause is an eight-hundredth of what was waited. EC2's answers cost nothing but a share
/// of the account's requests.
const IMAGE_LOOKS: [SignedDuration; 2] = [SignedDuration::from_millis(100), SignedDuration::from_secs(30)];

/// All bakes together that wait for an image or for a stop ask EC2 ten times a second. It refills an account's bucket of
/// such requests by twenty, and others need them, too.
const SHARE: SignedDuration = SignedDuration::from_millis(100);

/// How often it is asked whether an instance still lives: EC2 allows an account few requests, and all bakes share them.
const ASK_EVERY: SignedDuration = SignedDuration::from_secs(10);

/// What is known of an instance from an earlier look of the same call.
#[derive(Debug, Default)]
struct Memory {
    /// When EC2 and the heartbeat were asked last, and what they said.
    asked: Option<(Timestamp, String)>,
    /// Whether the seal reported that it is whole.
    sealed: bool,
}

impl Memory {
    /// What was said of the instance, unless that is too long ago. At the stage's deadline all is asked once more: what
    /// is wrong with the builder says more than that its time is over.
    fn fresh(&self, bake: &Bake, now: Timestamp) -> Option<String> {
        let allowed = bake.spec.settings.deadlines.of(bake.progress.stage);
        let (at, seen) = self.asked.as_ref()?;
        let fresh = now.duration_since(*at) < ASK_EVERY && bake.progress.waited(now) < allowed;
        fresh.then(|| seen.clone())
    }
}

/// Looks until it is there, or until the watch is over: the state machine then waits, and calls again.
///
/// # Errors
/// When what is waited for failed or died, and when the stage's deadline has passed.
pub async fn run(
    mut document: Document,
    cloud: &(impl Builders + Images + Parameters + Bucket + Presigner + Table + Workflow + Stack + Clock),
    began: Timestamp,
) -> Result<Document> {
    let (mut memory, mut now) = (Memory::default(), began);
    let asks_ec2 = matches!(document.bake.progress.stage, Stage::Seal | Stage::Image);
    let builders = if asks_ec2 { Ledger(cloud).builders().await? } else { 0 };
    loop {
        // Boxed: the compiler follows the types of nested futures only so deep.
        document = Box::pin(look(document, &mut memory, cloud, now)).await?;
        if document.next.to != To::Wait {
            return Ok(document);
        }
        let pause = pause(&document, builders, now);
        // SSM may have dropped the write without a word, or refused it: promote writes once more what differs.
        let writes = document.bake.progress.stage == Stage::Promotion;
        if now.duration_since(began) + pause >= if writes { WRITE_EVERY } else { WATCH } {
            document.next.seconds = document.next.seconds.max(u32::try_from(pause.as_secs()).unwrap_or(0));
            return Ok(if writes { document.go(To::Promote) } else { document });
        }
        cloud.sleep(pause).await;
        now = cloud.now();
    }
}

/// How long until the next look of the same call, with so many bakes that have a builder.
fn pause(document: &Document, builders: usize, now: Timestamp) -> SignedDuration {
    let progress = &document.bake.progress;
    let waited = SignedDuration::from_secs(progress.waited(now));
    let part = |of: i32, [least, most]: [SignedDuration; 2]| (waited / of).clamp(least, most);
    let share = (SHARE * i32::try_from(builders).unwrap_or(i32::MAX)).min(IMAGE_LOOKS[1]);
    let stage = progress.stage;
    let report = part(600, LOOKS);
    if stage == Stage::Image {
        (waited / 800).clamp(IMAGE_LOOKS[0], IMAGE_LOOKS[1]).max(share)
    } else if stage == Stage::Seal {
        report.max(share)
    } else if stage.reports() {
        report
    } else {
        SignedDuration::from_secs(document.next.seconds.into())
    }
}

async fn look(
    document: Document,
    memory: &mut Memory,
    cloud: &(impl Builders + Images + Parameters + Bucket + Presigner + Table + Workflow + Stack),
    now: Timestamp,
) -> Result<Document> {
    check(Action::Look, &document)?;
    match document.bake.progress.stage {
        Stage::AwaitTwin => twin(document, cloud, now).await,
        Stage::AwaitTurn => turn(document, cloud, now).await,
        Stage::Builder => builder(document, memory, cloud, now).await,
        Stage::Validation => tests(document, Role::Builder, memory, cloud, now).await,
        Stage::Seal => seal(document, memory, cloud, now).await,
        Stage::Image => image(document, cloud, now).await,
        Stage::Boot => tests(document, Role::Verifier, memory, cloud, now).await,
        Stage::Promotion => promotion(document, cloud, now).await,
        Stage::Launch | Stage::CleanUp => Err(wrong(Action::Look, &document)),
    }
}

/// The other bake of this digest: its image is validated, or it gave up, or it is still on its way.
async fn twin(mut document: Document, cloud: &(impl Table + Workflow), now: Timestamp) -> Result<Document> {
    let (ledger, spec) = (Ledger(cloud), &document.bake.spec);
    // Who forces a bake wants an image made after that: none that is there, and not the twin's either.
    if !spec.options.force
        && let Some(record) = ledger.image(&spec.digest).await?
        && let Some(count) = record.passed(&spec.inputs.tests)
    {
        let ImageCopy { image, snapshots } = record.home;
        document.seen = Seen { tests_passed: Some(count), snapshots, image: Some(image), ..Seen::default() };
        return Ok(document.go(To::Promote));
    }
    match ledger.holder(&spec.digest, now).await? {
        None => Ok(document.go(To::Launch)),
        Some(holder) if is_over(&holder, cloud).await? => Ok(document.go(To::Launch)),
        Some(holder) => document.wait(now, "the twin's image", format!("bake `{holder}` still at work")),
    }
}

/// Others have a builder, and this bake waits for its turn; or it may take it, or a newer upload has its place.
async fn turn(
    document: Document,
    cloud: &(impl Table + Workflow + Stack),
    now: Timestamp,
) -> Result<Document> {
    let spec = &document.bake.spec;
    match Ledger(cloud).would_take_turn(spec, limits(spec, cloud)?, now).await? {
        Some(Answer::Wait(Some(first))) if !is_over(&first, cloud).await? => document.wait(
            now,
            "its turn to have a builder",
            format!("bake `{first}` and maybe others before it"),
        ),
        // launch-builder decides, and writes it down. A bake in no line is put into it there.
        Some(Answer::Wait(_) | Answer::Granted | Answer::Overtaken(_)) | None => Ok(document.go(To::Launch)),
    }
}

async fn builder(
    document: Document,
    memory: &mut Memory,
    cloud: &(impl Builders + Bucket + Presigner),
    now: Timestamp,
) -> Result<Document> {
    let report: Option<ProvisionReport> =
        Mailbox::new(cloud, &document.bake.spec, Role::Builder).report(keys::PROVISION_REPORT).await?;
    if let Some(report) = report {
        return match report.failure() {
            Some(failed) => {
                let mut output = failed.output_tail.clone();
                if let (Exit::Rebooted(_), Some(id)) = (&failed.exit, &document.bake.progress.builder) {
                    // Why a machine went down, its console says or nobody does.
                    let console = last_lines(&cloud.console(id).await?, BOOT_LINES);
                    output.push_str(&format!("\nIts console ends:\n{console}"));
                }
                Err(Error::StepFailed { step: failed.name.clone(), exit: failed.verdict(), output })
            }
            None => Ok(document.go(To::Go)),
        };
    }
    let id = document.bake.builder()?.clone();
    at_work(document, (&id, Role::Builder, "the steps to end"), memory, cloud, now).await
}

/// The tests on the builder, or on a fresh instance of the image: each leaves a report.
async fn tests(
    mut document: Document,
    role: Role,
    memory: &mut Memory,
    cloud: &(impl Builders + Bucket + Presigner),
    now: Timestamp,
) -> Result<Document> {
    let bake = &document.bake;
    let mailbox = Mailbox::new(cloud, &bake.spec, role);
    if let Some(report) = mailbox.report(keys::TEST_REPORT).await? {
        document.seen.tests_passed = Some(passed(&document.bake.spec.id, &report)?);
        return Ok(document.go(To::Go));
    }
    let (id, awaited) = match role {
        Role::Builder => (bake.builder()?, "the tests to end"),
        Role::Verifier => {
            let booted = bake.progress.booted.as_ref().ok_or_else(|| bake.lacks("fresh instance"))?;
            (booted, "the tests on a fresh instance")
        }
    };
    let id = id.clone();
    at_work(document, (&id, role, awaited), memory, cloud, now).await
}

/// Another round of waiting for an instance that is at work; an error once it can't be.
async fn at_work(
    mut document: Document,
    (id, role, awaited): (&InstanceId, Role, &'static str),
    memory: &mut Memory,
    cloud: &(impl Builders + Bucket + Presigner),
    now: Timestamp,
) -> Result<Document> {
    let seen = if let Some(seen) = memory.fresh(&document.bake, now) {
        seen
    } else {
        let state = alive(&document.bake, id, role, cloud).await?;
        let seen = heard(&document, id, state, role, cloud, now).await?;
        let mailbox = Mailbox::new(cloud, &document.bake.spec, role);
        document.seen.signed = Some(mailbox.renew(document.seen.signed, now).await?);
        memory.asked = Some((now, seen.clone()));
        seen
    };
    let spec = document.bake.spec.clone();
    match document.wait(now, awaited, seen) {
        Err(Error::DeadlinePassed { stage, allowed, awaited, seen }) => {
            let shown = last_words(&spec, id, role, cloud, now).await?;
            let seen = format!("{seen}; {shown}");
            Err(Error::DeadlinePassed { stage, allowed, awaited, seen })
        }
        other => other,
    }
}

/// A builder is sealed when its seal's report says so, and ready for its image when it has then powered itself off;
/// a spot builder, which runs on, with the report. A stop alone says nothing: it may have come from outside, in the
/// middle of the seal, with host keys and the plan still on the disk.
///
/// The order of the looks matters. The report last: a builder that was seen stopped had reported by then, if it ever
/// did. Once it has reported, only EC2 can say that it has stopped, so EC2 is asked by every look, and nothing else is.
async fn seal(
    mut document: Document,
    memory: &mut Memory,
    cloud: &(impl Builders + Bucket + Presigner),
    now: Timestamp,
) -> Result<Document> {
    let bake = &document.bake;
    let (id, spot) = (bake.builder()?.clone(), bake.progress.spot);
    let mailbox = Mailbox::new(cloud, &bake.spec, Role::Builder);
    if !memory.sealed
        && let Some(seen) = memory.fresh(bake, now)
    {
        memory.sealed = is_sealed(&mailbox, &id).await?;
        if !memory.sealed {
            return document.wait(now, "the seal's report", seen);
        }
    }
    let instance = cloud.instance(&id).await?;
    // EC2 shows a terminated one for an hour: what it does not show at all, this answer is too old for.
    let state = instance.as_ref().map_or(InstanceState::Pending, |instance| instance.state);
    let loss = instance.as_ref().map_or(Loss::Unknown, |instance| instance.loss);
    let reason = instance.map(|instance| instance.reason).filter(|reason| !reason.is_empty());
    let sealed = memory.sealed || is_sealed(&mailbox, &id).await?;
    memory.sealed = sealed;
    match (state, sealed) {
        (InstanceState::Stopped, true) if !spot => return Ok(document.go(To::Go)),
        (InstanceState::Running, true) if spot => return Ok(document.go(To::Go)),
        (InstanceState::Stopped, false) => {
            let mut words = UNSEALED.to_owned();
            words.extend(reason.map(|reason| format!(". EC2 says: {reason}")));
            let console = last_lines(&cloud.console(&id).await?, CONSOLE_LINES);
            return Err(lost(bake, id, (Some(words), loss), state, console));
        }
        (InstanceState::Stopped | InstanceState::ShuttingDown | InstanceState::Terminated, _) => {
            return Err(lost(bake, id, (reason, loss), state, String::new()));
        }
        (InstanceState::Pending | InstanceState::Running | InstanceState::Stopping, _) => {}
    }
    if sealed {
        // Its runner is gone, and says nothing any more.
        let seen = format!("instance {id} {}, sealed", state.as_str());
        return document.wait(now, "the builder to stop", seen);
    }
    let seen = heard(&document, &id, state, Role::Builder, cloud, now).await?;
    document.seen.signed = Some(mailbox.renew(document.seen.signed, now).await?);
    memory.asked = Some((now, seen.clone()));
    document.wait(now, "the seal's report", seen)
}

/// Whether the seal reported that it is whole; an error when it reported that it is not.
async fn is_sealed(mailbox: &Mailbox<'_, impl Bucket>, id: &InstanceId) -> Result<bool> {
    match mailbox.report::<SealReport>(keys::SEAL_REPORT).await?.map(|report| report.problem) {
        Some(Some(problem)) => Err(Error::SealFailed { instance: id.clone(), problem }),
        Some(None) => Ok(true),
        None => Ok(false),
    }
}

async fn image(mut document: Document, cloud: &impl Images, now: Timestamp) -> Result<Document> {
    let id = document.bake.image()?.clone();
    let Some(image) = cloud.image(&id).await? else {
        // A new image may not be visible yet; if it never is, the deadline says so.
        return document.wait(now, "the image", format!("no image {id} yet"));
    };
    match image.state {
        ImageState::Available => {
            document.seen.available = Some(available(&image, now));
            document.seen.snapshots = image.snapshots;
            let to = if document.bake.spec.settings.verify_boot { To::Verify } else { To::Go };
            Ok(document.go(to))
        }
        ImageState::Failed => Err(Error::ImageFailed { image: id, reason: image.reason }),
        ImageState::Disabled => {
            Err(Error::ImageFailed { image: id, reason: "somebody disabled it".to_owned() })
        }
        ImageState::Pending => document.wait(now, "the image", format!("image {id} pending")),
    }
}

/// What follows the channel has the image, or something newer that was promoted over it meanwhile.
async fn promotion(
    mut document: Document,
    cloud: &(impl Parameters + Table),
    now: Timestamp,
) -> Result<Document> {
    let to = document.bake.spec.destination();
    for follower in followers(&to) {
        let Some(awaited) = follower.awaited() else { continue };
        let Observed::Behind(mut seen) = follower.observe(&to, cloud).await? else { continue };
        if let Some(refused) = &document.seen.refused {
            seen.push_str(&format!(", and the last write was refused: {refused}"));
        }
        if document.bake.progress.waited(now) < document.bake.spec.settings.deadlines.promotion {
            return document.wait(now, awaited, seen);
        }
        // The image is good, and is the channel's: that this lags is no reason to take it back.
        document.seen.behind = Some(seen);
        break;
    }
    Ok(document.go(To::Go))
}

/// How many tests passed, or the failures that the report of this key tells.
fn passed(bake: &BakeId, report: &TestReport) -> Result<usize> {
    let mut failures = report.tests.iter().filter(|test| !test.passed);
    let Some(first) = failures.next() else { return Ok(report.tests.len()) };
    let others: Vec<String> = failures.map(|test| format!("`{}`", test.name)).collect();
    let mut detail = format!("`{}`: {}", first.name, first.detail);
    if !others.is_empty() {
        let named = &others[..others.len().min(NAMED)];
        let more = if others.len() > NAMED { ", …" } else { "" };
        detail.push_str(&format!("\nfailed too: {}{more}", named.join(", ")));
    }
    for unit in &report.units {
        detail.push('\n');
        detail.push_str(unit);
    }
    let (failed, total) = (1 + others.len(), report.tests.len());
    Err(Error::TestsFailed { failed, total, detail, bake: bake.clone() })
}
