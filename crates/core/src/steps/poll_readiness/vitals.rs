//! Whether an instance that a bake waits for still lives, by EC2 and by its heartbeat.

use jiff::{SignedDuration, Timestamp};

use crate::{
    domain::{
        bake::{Bake, BakeSpec, Document},
        error::{Error, Result},
        id::InstanceId,
        mailbox::{BOOT_DEADLINE, Heartbeat, SILENCE},
        offer::Loss,
    },
    ports::{Bucket, Builders, InstanceState, Role},
    store::Mailbox,
};

/// How many of the console's last lines an error shows.
pub(super) const CONSOLE_LINES: usize = 15;

/// What an instance that runs was last heard to do; an error when it was not heard of for too long.
pub(super) async fn heard(
    document: &Document,
    id: &InstanceId,
    state: InstanceState,
    role: Role,
    cloud: &(impl Builders + Bucket),
    now: Timestamp,
) -> Result<String> {
    let heartbeat = Mailbox::new(cloud, &document.bake.spec, role).heartbeat().await?;
    let (silent, allowed, what) = match &heartbeat {
        Some((heartbeat, _)) if heartbeat.failure.is_some() => {
            let problem = heartbeat.failure.clone().unwrap_or_default();
            return Err(Error::RunnerFailed { instance: id.clone(), problem });
        }
        Some((Heartbeat { interruption: Some(words), .. }, _)) => {
            let reason = Some(words.clone());
            return Err(lost(
                &document.bake,
                id.clone(),
                (reason, Loss::SpotReclaimed),
                state,
                String::new(),
            ));
        }
        Some((heartbeat, written)) => {
            let what = did(heartbeat);
            let silent = now.duration_since(*written);
            match heartbeat.reboots {
                true => (silent, BOOT_DEADLINE, format!("{what}, and then went down to boot again")),
                false => (silent, SILENCE, what),
            }
        }
        None => {
            let waited = SignedDuration::from_secs(document.bake.progress.waited(now));
            (waited, BOOT_DEADLINE, "was not heard of since its launch".to_owned())
        }
    };
    if silent < allowed {
        return Ok(format!("instance {id} {}, no report yet; it {what}", state.as_str()));
    }
    let console = last_lines(&cloud.console(id).await?, CONSOLE_LINES);
    let (instance, stage, seconds) = (id.clone(), document.bake.progress.stage, silent.as_secs());
    let heard = heartbeat.is_some();
    Err(Error::BuilderSilent { instance, stage, seconds, heard, what, console })
}

/// What a builder did when it was last heard of, as `was at …`.
fn did(heartbeat: &Heartbeat) -> String {
    heartbeat.work.as_ref().map_or_else(
        || "waited for an order".to_owned(),
        |work| format!("was at `{}`, {} of {}", work.name, work.number, work.of),
    )
}

/// What tells most of an instance whose time is over: what the step or test at work printed last, or the console where it
/// printed nothing.
pub(super) async fn last_words(
    spec: &BakeSpec,
    id: &InstanceId,
    role: Role,
    cloud: &(impl Builders + Bucket),
    now: Timestamp,
) -> Result<String> {
    let heartbeat = Mailbox::new(cloud, spec, role).heartbeat().await?;
    if let Some((Heartbeat { work: Some(work), .. }, _)) = heartbeat
        && !work.output.trim().is_empty()
    {
        let seconds = now.duration_since(work.since).as_secs().max(0);
        let output = last_lines(&work.output, CONSOLE_LINES);
        return Ok(format!("`{}` began {seconds} s ago, and its output ends:\n{output}", work.name));
    }
    let console = last_lines(&cloud.console(id).await?, CONSOLE_LINES);
    Ok(format!("its console ends:\n{console}"))
}

/// The instance's state while it may still do its work; an error once it can't.
pub(super) async fn alive(
    bake: &Bake,
    id: &InstanceId,
    role: Role,
    cloud: &(impl Builders + Bucket),
) -> Result<InstanceState> {
    let Some(instance) = cloud.instance(id).await? else {
        // Not visible yet, most likely; if it never is, the deadline says so.
        return Ok(InstanceState::Pending);
    };
    match instance.state {
        InstanceState::Pending | InstanceState::Running => Ok(instance.state),
        InstanceState::Stopping
        | InstanceState::Stopped
        | InstanceState::ShuttingDown
        | InstanceState::Terminated => {
            let console = last_lines(&cloud.console(id).await?, CONSOLE_LINES);
            let heartbeat = Mailbox::new(cloud, &bake.spec, role).heartbeat().await?;
            let did = heartbeat.map(|(heartbeat, _)| format!("it {}", did(&heartbeat)));
            let reason = Some(instance.reason).filter(|reason| !reason.is_empty());
            let reason: Vec<String> = reason.into_iter().chain(did).collect();
            let reason = (Some(reason.join("; ")), instance.loss);
            Err(lost(bake, id.clone(), reason, instance.state, console))
        }
    }
}

pub(super) fn lost(
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

pub(super) fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}
