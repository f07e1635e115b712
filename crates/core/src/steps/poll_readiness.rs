//! poll-readiness: looks once, at whatever the bake waits for, and says whether it is there.
//!
//! It starts nothing, removes nothing and writes nothing. A stage's deadline is judged here.

use jiff::Timestamp;

use super::{is_over, wrong_stage};
use crate::{
    domain::{
        bake::{Bake, Stage, To},
        error::{Error, Result},
        id::{AmiId, InstanceId},
        offer::Loss,
        report::{ProvisionReport, SealReport, TestReport},
    },
    ports::{
        Bucket, Builders, CommandExit, CommandState, Commands, ImageState, Images, InstanceState, Parameters,
        Table, Workflow,
    },
    store::{Ledger, keys},
};

/// How many of the console's last lines an error shows.
const CONSOLE_LINES: usize = 15;

/// How many failed tests an error names beside the first.
const NAMED: usize = 20;

/// What is wrong with a builder that is stopped and whose seal did not report.
const UNSEALED: &str = "it stopped before its seal reported its end: it was stopped from outside, or it died. (A \
    runner that is older than the functions reports none: `make push-runner`)";

/// What poll-readiness looks through.
#[derive(Debug)]
pub struct Eyes<'a, B, I, C, P, K, T, W> {
    /// Instances.
    pub builders: &'a B,
    /// Images.
    pub images: &'a I,
    /// Commands.
    pub commands: &'a C,
    /// Parameters.
    pub parameters: &'a P,
    /// Reports.
    pub bucket: &'a K,
    /// Leases.
    pub table: &'a T,
    /// Executions.
    pub workflow: &'a W,
}

impl<'a, C> Eyes<'a, C, C, C, C, C, C, C> {
    /// One cloud that is all of it.
    pub fn of(cloud: &'a C) -> Self {
        Self {
            builders: cloud,
            images: cloud,
            commands: cloud,
            parameters: cloud,
            bucket: cloud,
            table: cloud,
            workflow: cloud,
        }
    }
}

/// Looks once.
pub async fn run<B, I, C, P, K, T, W>(
    bake: Bake,
    eyes: &Eyes<'_, B, I, C, P, K, T, W>,
    now: Timestamp,
) -> Result<Bake>
where
    B: Builders,
    I: Images,
    C: Commands,
    P: Parameters,
    K: Bucket,
    T: Table,
    W: Workflow,
{
    match bake.stage {
        Stage::AwaitTwin => twin(bake, eyes.table, eyes.workflow, now).await,
        Stage::Builder => builder(bake, eyes.builders, eyes.commands, eyes.bucket, now).await,
        Stage::Validation => validation(bake, eyes.builders, eyes.commands, eyes.bucket, now).await,
        Stage::Seal => seal(bake, eyes.builders, eyes.commands, eyes.bucket, now).await,
        Stage::Image => image(bake, eyes.images, now).await,
        Stage::Boot => boot(bake, eyes.builders, eyes.bucket, now).await,
        Stage::Promotion => promotion(bake, eyes.parameters, eyes.table, now).await,
        Stage::Launch | Stage::CleanUp => Err(wrong_stage(&bake, "poll-readiness")),
    }
}

/// The other bake of this digest: its image is validated, or it gave up, or it is still on its way.
async fn twin(mut bake: Bake, table: &impl Table, workflow: &impl Workflow, now: Timestamp) -> Result<Bake> {
    let ledger = Ledger(table);
    // Who forces a bake wants an image made after that: none that is there, and not the twin's either.
    if !bake.options.force
        && let Some(record) = ledger.image(&bake.digest).await?
        && let Some(count) = record.passed(&bake.inputs.tests)
    {
        bake.image = Some(record.image);
        bake.snapshots = record.snapshots;
        bake.tests_passed = Some(count);
        bake.reused = true;
        return Ok(bake.go(To::Promote));
    }
    match ledger.holder(&bake.digest, now).await? {
        None => Ok(bake.go(To::Launch)),
        Some(holder) if is_over(&holder, workflow).await? => Ok(bake.go(To::Launch)),
        Some(holder) => bake.wait(now, "the twin's image", format!("bake `{holder}` still at work")),
    }
}

async fn builder(
    bake: Bake,
    builders: &impl Builders,
    commands: &impl Commands,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<Bake> {
    let id = bake.builder()?.clone();
    let report = bucket.text(&keys::of_bake(&bake.pipeline, &bake.bake, keys::PROVISION_REPORT)).await?;
    if let Some(text) = report {
        let report: ProvisionReport = parse("the provisioning report", &text)?;
        if let Some(failed) = report.failure() {
            return Err(Error::StepFailed {
                step: failed.name.clone(),
                exit: failed.verdict(),
                output: failed.output_tail.clone(),
            });
        }
        if commands.online(&id).await? {
            return Ok(bake.go(To::Go));
        }
        alive(&bake, &id, builders).await?;
        return bake.wait(now, "the SSM agent to register", "the steps done, the agent offline");
    }
    let state = alive(&bake, &id, builders).await?;
    match bake.clone().wait(
        now,
        "the steps to end",
        format!("instance {id} {}, no report yet", state.as_str()),
    ) {
        Ok(bake) => Ok(bake),
        Err(Error::DeadlinePassed { stage, allowed, awaited, seen }) => {
            let console = last_lines(&builders.console(&id).await?, CONSOLE_LINES);
            let seen = format!("{seen}; its console ends:\n{console}");
            Err(Error::DeadlinePassed { stage, allowed, awaited, seen })
        }
        Err(error) => Err(error),
    }
}

async fn validation(
    mut bake: Bake,
    builders: &impl Builders,
    commands: &impl Commands,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<Bake> {
    let id = bake.builder()?.clone();
    let command = bake.command.clone();
    let outcome = match &command {
        Some(command) => commands.outcome(&id, command).await?,
        None => return Err(wrong_stage(&bake, "poll-readiness")),
    };
    match outcome {
        Some(CommandState::Running) | None => {
            alive(&bake, &id, builders).await?;
            bake.wait(now, "the tests to end", "the test command still running")
        }
        Some(CommandState::Succeeded) => {
            let key = keys::of_bake(&bake.pipeline, &bake.bake, keys::TEST_REPORT);
            match bucket.text(&key).await? {
                Some(text) => {
                    bake.tests_passed = Some(passed(&key, &text)?);
                    Ok(bake.go(To::Go))
                }
                None => bake.wait(now, "the test report", "the test command done, no report yet"),
            }
        }
        Some(CommandState::Failed { exit, output }) => {
            let key = keys::of_bake(&bake.pipeline, &bake.bake, keys::TEST_REPORT);
            if let Some(text) = bucket.text(&key).await? {
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
    bake: Bake,
    builders: &impl Builders,
    commands: &impl Commands,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<Bake> {
    let id = bake.builder()?.clone();
    let outcome = match &bake.command {
        Some(command) => commands.outcome(&id, command).await?,
        None => None,
    };
    let instance = builders.look(&id).await?;
    let state = instance.as_ref().map_or(InstanceState::Terminated, |instance| instance.state);
    let loss = instance.as_ref().map_or(Loss::Unknown, |instance| instance.loss);
    let reason = instance.map(|instance| instance.reason).filter(|reason| !reason.is_empty());
    let sealed = match bucket.text(&keys::of_bake(&bake.pipeline, &bake.bake, keys::SEAL_REPORT)).await? {
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
        (InstanceState::Stopped, true) if !bake.spot => return Ok(bake.go(To::Go)),
        (InstanceState::Running, true) if bake.spot => return Ok(bake.go(To::Go)),
        (InstanceState::Stopped, false) => {
            let mut words = UNSEALED.to_owned();
            words.extend(reason.map(|reason| format!(". EC2 says: {reason}")));
            let console = last_lines(&builders.console(&id).await?, CONSOLE_LINES);
            return Err(lost(&bake, id, (Some(words), loss), state, console));
        }
        (InstanceState::Stopped | InstanceState::ShuttingDown | InstanceState::Terminated, _) => {
            return Err(lost(&bake, id, (reason, loss), state, String::new()));
        }
        (InstanceState::Pending | InstanceState::Running | InstanceState::Stopping, _) => {}
    }
    let report = if sealed { "sealed" } else { "no report of its seal yet" };
    let mut seen = format!("instance {id} {}, {report}", state.as_str());
    match outcome {
        // EC2 may still call an instance running that is going down: only a status of the seal's own is its failure.
        Some(CommandState::Failed { exit, output }) if state == InstanceState::Running => {
            if exit != CommandExit::CUT_SHORT || bake.spot {
                let exit = exit.to_string();
                return Err(Error::CommandFailed { purpose: "seal", instance: id, exit, output });
            }
            seen.push_str(", its command cut short: ");
            seen.push_str(&output);
        }
        Some(CommandState::Succeeded | CommandState::Failed { .. } | CommandState::Running) | None => {}
    }
    let awaited = if bake.spot { "the seal's report" } else { "the seal's report and the builder to stop" };
    bake.wait(now, awaited, seen)
}

async fn image(mut bake: Bake, images: &impl Images, now: Timestamp) -> Result<Bake> {
    let id = bake.image()?.clone();
    let Some(image) = images.look(&id).await? else {
        // A new image may not be visible yet; if it never is, the deadline says so.
        return bake.wait(now, "the image", format!("no image {id} yet"));
    };
    match image.state {
        ImageState::Available => {
            bake.snapshots = image.snapshots;
            let to = if bake.settings.verify_boot { To::Verify } else { To::Go };
            Ok(bake.go(to))
        }
        ImageState::Failed => Err(Error::ImageFailed { image: id, reason: image.reason }),
        ImageState::Disabled => {
            Err(Error::ImageFailed { image: id, reason: "somebody disabled it".to_owned() })
        }
        ImageState::Pending => bake.wait(now, "the image", format!("image {id} pending")),
    }
}

/// The fresh instance of the image runs the tests by itself and leaves a report.
async fn boot(
    mut bake: Bake,
    builders: &impl Builders,
    bucket: &impl Bucket,
    now: Timestamp,
) -> Result<Bake> {
    let id = bake.booted.clone().ok_or_else(|| wrong_stage(&bake, "poll-readiness"))?;
    let key = keys::of_bake(&bake.pipeline, &bake.bake, keys::BOOT_REPORT);
    if let Some(text) = bucket.text(&key).await? {
        bake.tests_passed = Some(passed(&key, &text)?);
        return Ok(bake.go(To::Go));
    }
    let state = alive(&bake, &id, builders).await?;
    bake.wait(
        now,
        "the tests on a fresh instance",
        format!("instance {id} {}, no report yet", state.as_str()),
    )
}

/// AWS answers a write of an image parameter before it has validated it: only reading it back tells.
async fn promotion(
    bake: Bake,
    parameters: &impl Parameters,
    table: &impl Table,
    now: Timestamp,
) -> Result<Bake> {
    let Some(name) = bake.settings.parameter.clone() else { return Ok(bake.go(To::Go)) };
    let channel = Ledger(table).channel(&bake.pipeline, &bake.settings.channel).await?;
    // Something newer may have been promoted over it meanwhile; then that is what the parameter follows.
    let current = channel.and_then(|channel| channel.current).map(|target| target.image);
    let value = parameters.get(&name).await?;
    if value.is_some() && value.as_deref() == current.as_ref().map(AmiId::as_str) {
        return Ok(bake.go(To::Go));
    }
    let seen = format!("parameter `{name}` is {}", value.as_deref().unwrap_or("not there"));
    bake.wait(now, "the parameter to take the image", seen)
}

/// The instance's state while it may still do its work; an error once it can't.
async fn alive(bake: &Bake, id: &InstanceId, builders: &impl Builders) -> Result<InstanceState> {
    let Some(instance) = builders.look(id).await? else {
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
        stage: bake.stage,
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
