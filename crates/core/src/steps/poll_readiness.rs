//! poll-readiness: looks once, at whatever the bake waits for, and says whether it is there.
//!
//! It starts nothing, removes nothing and writes nothing. A stage's deadline is judged here.

use jiff::Timestamp;

use super::{
    Action,
    followers::{Observed, followers},
    is_over,
    table::{check, wrong},
};
use crate::{
    domain::{
        bake::{Bake, Document, Seen, Stage, To},
        error::{Error, Result},
        id::InstanceId,
        offer::Loss,
        report::{ProvisionReport, SealReport, TestReport},
    },
    ports::{
        Bucket, Builders, CommandExit, CommandState, Commands, ImageState, Images, InstanceState, Parameters,
        Table, Workflow,
    },
    store::{ImageCopy, Ledger, keys},
};

/// How many of the console's last lines an error shows.
const CONSOLE_LINES: usize = 15;

/// How many failed tests an error names beside the first.
const NAMED: usize = 20;

/// What is wrong with a builder that is stopped and whose seal did not report.
const UNSEALED: &str = "it stopped before its seal reported its end: it was stopped from outside, or it died. (A \
    runner that is older than the functions reports none: `make push-runner`)";

/// Looks once.
pub async fn run(
    document: Document,
    cloud: &(impl Builders + Images + Commands + Parameters + Bucket + Table + Workflow),
    now: Timestamp,
) -> Result<Document> {
    check(Action::Look, &document)?;
    match document.bake.progress.stage {
        Stage::AwaitTwin => twin(document, cloud, now).await,
        Stage::Builder => builder(document, cloud, now).await,
        Stage::Validation => validation(document, cloud, now).await,
        Stage::Seal => seal(document, cloud, now).await,
        Stage::Image => image(document, cloud, now).await,
        Stage::Boot => boot(document, cloud, now).await,
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
        document.seen = Seen { tests_passed: Some(count), snapshots, image: Some(image) };
        return Ok(document.go(To::Promote));
    }
    match ledger.holder(&spec.digest, now).await? {
        None => Ok(document.go(To::Launch)),
        Some(holder) if is_over(&holder, cloud).await? => Ok(document.go(To::Launch)),
        Some(holder) => document.wait(now, "the twin's image", format!("bake `{holder}` still at work")),
    }
}

async fn builder(
    document: Document,
    cloud: &(impl Builders + Commands + Bucket),
    now: Timestamp,
) -> Result<Document> {
    let bake = &document.bake;
    let id = bake.builder()?.clone();
    let report = cloud.text(&file(bake, keys::PROVISION_REPORT)).await?;
    if let Some(text) = report {
        let report: ProvisionReport = parse("the provisioning report", &text)?;
        if let Some(failed) = report.failure() {
            return Err(Error::StepFailed {
                step: failed.name.clone(),
                exit: failed.verdict(),
                output: failed.output_tail.clone(),
            });
        }
        if cloud.online(&id).await? {
            return Ok(document.go(To::Go));
        }
        alive(bake, &id, cloud).await?;
        return document.wait(now, "the SSM agent to register", "the steps done, the agent offline");
    }
    let state = alive(bake, &id, cloud).await?;
    let seen = format!("instance {id} {}, no report yet", state.as_str());
    match document.wait(now, "the steps to end", seen) {
        Err(Error::DeadlinePassed { stage, allowed, awaited, seen }) => {
            let console = last_lines(&cloud.console(&id).await?, CONSOLE_LINES);
            let seen = format!("{seen}; its console ends:\n{console}");
            Err(Error::DeadlinePassed { stage, allowed, awaited, seen })
        }
        other => other,
    }
}

async fn validation(
    mut document: Document,
    cloud: &(impl Builders + Commands + Bucket),
    now: Timestamp,
) -> Result<Document> {
    let bake = &document.bake;
    let id = bake.builder()?.clone();
    let command = bake.progress.command.as_ref().ok_or_else(|| bake.lacks("command"))?;
    let key = file(bake, keys::TEST_REPORT);
    match cloud.outcome(&id, command).await? {
        Some(CommandState::Running) | None => {
            alive(bake, &id, cloud).await?;
            document.wait(now, "the tests to end", "the test command still running")
        }
        Some(CommandState::Succeeded) => match cloud.text(&key).await? {
            Some(text) => {
                document.seen.tests_passed = Some(passed(&key, &text)?);
                Ok(document.go(To::Go))
            }
            None => document.wait(now, "the test report", "the test command done, no report yet"),
        },
        Some(CommandState::Failed { exit, output }) => {
            if let Some(text) = cloud.text(&key).await? {
                passed(&key, &text)?;
            }
            Err(Error::CommandFailed { purpose: "test", instance: id, exit: exit.to_string(), output })
        }
    }
}

/// A builder is sealed when its seal's report says so, and ready for its image when it has then powered itself off;
/// a spot builder, which runs on, with the report. A stop alone says nothing: it may have come from outside, in the
/// middle of the seal, with host keys and the plan still on the disk.
///
/// The order of the looks matters. The command first: one that the power-off cut short says that it failed, while
/// the instance, looked at a moment before, was still running. The report last: a builder that was seen stopped had
/// reported by then, if it ever did.
async fn seal(
    document: Document,
    cloud: &(impl Builders + Commands + Bucket),
    now: Timestamp,
) -> Result<Document> {
    let bake = &document.bake;
    let (id, spot) = (bake.builder()?.clone(), bake.progress.spot);
    let outcome = match &bake.progress.command {
        Some(command) => cloud.outcome(&id, command).await?,
        None => None,
    };
    let instance = cloud.instance(&id).await?;
    let state = instance.as_ref().map_or(InstanceState::Terminated, |instance| instance.state);
    let loss = instance.as_ref().map_or(Loss::Unknown, |instance| instance.loss);
    let reason = instance.map(|instance| instance.reason).filter(|reason| !reason.is_empty());
    let sealed = match cloud.text(&file(bake, keys::SEAL_REPORT)).await? {
        Some(text) => match parse::<SealReport>("the seal's report", &text)?.problem {
            Some(output) => {
                let exit = "as its report says".to_owned();
                return Err(Error::CommandFailed { purpose: "seal", instance: id, exit, output });
            }
            None => true,
        },
        None => false,
    };
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
    let report = if sealed { "sealed" } else { "no report of its seal yet" };
    let mut seen = format!("instance {id} {}, {report}", state.as_str());
    match outcome {
        // EC2 may still call an instance running that is going down: only a status of the seal's own is its failure.
        Some(CommandState::Failed { exit, output }) if state == InstanceState::Running => {
            if exit != CommandExit::CUT_SHORT || spot {
                let exit = exit.to_string();
                return Err(Error::CommandFailed { purpose: "seal", instance: id, exit, output });
            }
            seen.push_str(", its command cut short: ");
            seen.push_str(&output);
        }
        Some(CommandState::Succeeded | CommandState::Failed { .. } | CommandState::Running) | None => {}
    }
    let awaited = if spot { "the seal's report" } else { "the seal's report and the builder to stop" };
    document.wait(now, awaited, seen)
}

async fn image(mut document: Document, cloud: &impl Images, now: Timestamp) -> Result<Document> {
    let id = document.bake.image()?.clone();
    let Some(image) = cloud.image(&id).await? else {
        // A new image may not be visible yet; if it never is, the deadline says so.
        return document.wait(now, "the image", format!("no image {id} yet"));
    };
    match image.state {
        ImageState::Available => {
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

/// The fresh instance of the image runs the tests by itself and leaves a report.
async fn boot(mut document: Document, cloud: &(impl Builders + Bucket), now: Timestamp) -> Result<Document> {
    let bake = &document.bake;
    let id = bake.progress.booted.clone().ok_or_else(|| bake.lacks("fresh instance"))?;
    let key = file(bake, keys::BOOT_REPORT);
    if let Some(text) = cloud.text(&key).await? {
        document.seen.tests_passed = Some(passed(&key, &text)?);
        return Ok(document.go(To::Go));
    }
    let state = alive(bake, &id, cloud).await?;
    let seen = format!("instance {id} {}, no report yet", state.as_str());
    document.wait(now, "the tests on a fresh instance", seen)
}

/// What follows the channel has the image, or something newer that was promoted over it meanwhile.
async fn promotion(
    document: Document,
    cloud: &(impl Parameters + Table),
    now: Timestamp,
) -> Result<Document> {
    for follower in followers(&document.bake.spec) {
        match follower.observe(&document.bake.spec, cloud).await? {
            Observed::Settled => {}
            Observed::Behind(seen) => return document.wait(now, follower.awaited(), seen),
        }
    }
    Ok(document.go(To::Go))
}

/// Where a file of the bake lies in the bucket.
fn file(bake: &Bake, name: &str) -> String {
    keys::of_bake(&bake.spec.pipeline, &bake.spec.id, name)
}

/// The instance's state while it may still do its work; an error once it can't.
async fn alive(bake: &Bake, id: &InstanceId, builders: &impl Builders) -> Result<InstanceState> {
    let Some(instance) = builders.instance(id).await? else {
        // Not visible yet, most likely; if it never is, the deadline says so.
        return Ok(InstanceState::Pending);
    };
    match instance.state {
        InstanceState::Pending | InstanceState::Running => Ok(instance.state),
        InstanceState::Stopping
        | InstanceState::Stopped
        | InstanceState::ShuttingDown
        | InstanceState::Terminated => {
            let console = last_lines(&builders.console(id).await?, CONSOLE_LINES);
            Err(lost(bake, id.clone(), (Some(instance.reason), instance.loss), instance.state, console))
        }
    }
}

fn lost(
    bake: &Bake,
    instance: InstanceId,
    (reason, loss): (Option<String>, Loss),
    state: InstanceState,
    console: String,
) -> Error {
    let reason =
        reason.filter(|reason| !reason.is_empty()).map_or_else(String::new, |reason| format!(": {reason}"));
    Error::BuilderLost {
        instance,
        stage: bake.progress.stage,
        state: state.as_str().to_owned(),
        reason,
        loss,
        console,
    }
}

/// How many tests passed, or the failures that the report of this key tells.
fn passed(key: &str, text: &str) -> Result<usize> {
    let report: TestReport = parse("the test report", text)?;
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
    Err(Error::TestsFailed { failed, total, detail, report: key.to_owned() })
}

fn parse<D: serde::de::DeserializeOwned>(what: &str, text: &str) -> Result<D> {
    serde_json::from_str(text).map_err(|source| Error::Corrupt { what: what.to_owned(), source })
}

fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}
