//! `ovenbird rollout`: how an image comes to the machines of a channel, and what a person wants of that.

use std::{fmt::Write as _, time::Duration};

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{ChannelName, PipelineName},
        plain::plain,
        rollout::{Counts, Outcome, Rollout, Wish},
        traffic::{BalancerTraffic, GroupTraffic, PerMinute, begin, count, minutes},
    },
    ops::rollout as ops,
    ports::{Builders as _, Traffic as _},
    steps::rollout::see,
    store::Ledger,
};

use crate::{
    channels::Which,
    render,
    target::{Deployment, Target},
};

/// Between two looks of `--watch`.
const LOOK: Duration = Duration::from_secs(2);
/// Between two questions of how many requests there are: `CloudWatch` has a new number once a minute, and takes money for each.
const ASK: SignedDuration = SignedDuration::from_secs(20);
/// So many of a console's last lines are shown.
const CONSOLE_LINES: usize = 15;

/// Show the rollout of a channel, watch it, or steer it
#[derive(Debug, Args)]
pub struct RolloutArgs {
    #[command(flatten)]
    pub which: Which,
    /// What it is to do (default: nothing, show it)
    pub action: Option<Action>,
    /// Watch it to its end; what happens goes to standard error
    #[arg(long)]
    pub watch: bool,
}

/// What a rollout is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Action {
    /// Pause before the next stage; nothing runs meanwhile, however long that is
    Pause,
    /// Go on after a pause, or where its execution died
    Resume,
    /// The same: a stage waits for a person's word
    Approve,
    /// Leave out the other stages and the rest of the watch
    Skip,
    /// Bring everything back
    Abort,
    /// The same: the person's word is no
    Reject,
    /// End it as it stands, where it can't be brought back
    Leave,
}

/// The newest rollout of the channel, after the action if there is one.
pub async fn run(args: &RolloutArgs, target: &Target) -> Result<Shown> {
    let deployment = target.deployment().await?;
    let (pipeline, channel) = args.which.resolve(&deployment).await?;
    let (cloud, now) = (&deployment.cloud, Timestamp::now());
    let changed = match args.action {
        Some(Action::Pause) => Some(ops::wish(&pipeline, &channel, Wish::Pause, cloud, now).await?),
        Some(Action::Skip) => Some(ops::wish(&pipeline, &channel, Wish::Skip, cloud, now).await?),
        Some(Action::Abort | Action::Reject) => {
            Some(ops::wish(&pipeline, &channel, Wish::Abort, cloud, now).await?)
        }
        Some(Action::Leave) => Some(ops::wish(&pipeline, &channel, Wish::Leave, cloud, now).await?),
        Some(Action::Resume | Action::Approve) => Some(ops::resume(&pipeline, &channel, cloud, now).await?),
        None => None,
    };
    let rollout = match changed {
        Some(rollout) => rollout,
        None => newest(&deployment, &pipeline, &channel).await?,
    };
    let rollout = if args.watch { watch(&deployment, rollout).await? } else { rollout };
    let console = console(&deployment, &rollout).await;
    Ok(Shown { rollout, console })
}

/// A rollout, and what its first sick instance said.
#[derive(Debug)]
pub struct Shown {
    /// The rollout.
    pub rollout: Rollout,
    /// The end of that instance's console; none where no instance was sick, or where EC2 shows nothing any more.
    console: Option<String>,
}

/// The end of the console of the first sick instance. Why an application died is often told there and nowhere else.
async fn console(deployment: &Deployment, rollout: &Rollout) -> Option<String> {
    let instance = rollout.progress.sick.first()?;
    let text = match deployment.cloud.console(instance).await {
        Ok(text) => plain(&text),
        // The rollout is shown all the same.
        Err(error) => error.to_string(),
    };
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let last = &lines[lines.len().saturating_sub(CONSOLE_LINES)..];
    (!last.is_empty()).then(|| format!("console of {instance}\n  {}\n", last.join("\n  ")))
}

async fn newest(deployment: &Deployment, pipeline: &PipelineName, channel: &ChannelName) -> Result<Rollout> {
    let all = Ledger(&deployment.cloud).rollouts(pipeline).await?;
    let mut own = all.into_iter().filter(|rollout| rollout.spec.to.channel == *channel);
    own.next().ok_or_else(|| {
        Error::bad_input(
            format!("channel `{pipeline}/{channel}`"),
            "never had a rollout",
            "No Auto Scaling group follows it: add `groups` to the recipe's `[promote]`",
        )
    })
}

/// Prints what happens until the rollout has ended; gives it as it ended.
async fn watch(deployment: &Deployment, mut rollout: Rollout) -> Result<Rollout> {
    let (mut told, mut last) = (0, String::new());
    let (mut asked, mut carried) = (None::<Timestamp>, String::new());
    loop {
        for entry in rollout.progress.timeline.iter().skip(told) {
            crate::tell!("{}  {}", render::moment(entry.at), plain(&entry.what));
        }
        told = rollout.progress.timeline.len();
        if rollout.progress.outcome.is_some() || rollout.progress.has_settled() {
            return Ok(rollout);
        }
        let (counts, target_groups) = counts(deployment, &rollout).await;
        let line = format!("{counts}{}", plain(&rollout.progress.awaits));
        if line != last {
            crate::tell!("  {line}");
            last = line;
        }
        let now = Timestamp::now();
        if asked.is_none_or(|asked| now.duration_since(asked) >= ASK) {
            let [since, ..] = minutes(now);
            let traffic = deployment.cloud.traffic(&target_groups, since, begin(now)).await;
            // The rollout is shown all the same.
            let new = traffic.map_or_else(|error| error.to_string(), |all| requests(&all));
            if new != carried && !new.is_empty() {
                crate::tell!("  {new}");
            }
            (asked, carried) = (Some(now), new);
        }
        tokio::time::sleep(LOOK).await;
        let (pipeline, id) = (&rollout.spec.to.pipeline, &rollout.spec.id);
        if let Some(found) = Ledger(&deployment.cloud).rollout(pipeline, id).await? {
            rollout = found.into_inner();
        }
    }
}

/// How many requests there were in the newest minute that `CloudWatch` knows; nothing where it knows none.
fn requests(all: &[BalancerTraffic]) -> String {
    let balancers = all.iter().filter_map(|one| {
        let latest = one.latest()?;
        let sum = |of: fn(&GroupTraffic) -> &PerMinute| -> u64 {
            one.groups.iter().map(|group| count(of(group), latest)).sum()
        };
        let (requests, failed) = (sum(|group| &group.requests), sum(|group| &group.failed));
        let (minute, refused) = (render::minute(latest), count(&one.refused, latest));
        Some(format!(
            "in the minute from {minute}: {requests} requests, answered 5xx by targets {failed}, by the load balancer {refused}"
        ))
    });
    balancers.collect::<Vec<_>>().join("; ")
}

/// How many machines run from which version now, in a few words, nothing where that can't be told; and their target groups.
async fn counts(deployment: &Deployment, rollout: &Rollout) -> (String, Vec<String>) {
    let (mut text, mut target_groups) = (String::new(), Vec::new());
    for state in &rollout.progress.groups {
        if let Ok(seen) = see(&state.name, &[], &deployment.cloud, Timestamp::now()).await {
            let Counts { new, serving, old } = Counts::of(&seen, state);
            let _ = write!(text, "{}: {old} old, {new} new, of these {serving} serve; ", state.name);
            target_groups.extend(seen.group.target_groups);
        }
    }
    (text, target_groups)
}

/// A rollout for people.
pub fn text(shown: &Shown, now: Timestamp) -> String {
    let rollout = &shown.rollout;
    let (spec, progress) = (&rollout.spec, &rollout.progress);
    let mut text = format!(
        "rollout  {}\nchannel  {}\nimage    {}\nby       {}\n",
        spec.id,
        spec.to.name(),
        spec.image,
        plain(&spec.by)
    );
    if let Some(why) = &spec.why {
        let _ = writeln!(text, "why      {}", plain(why));
    }
    let stands = match progress.outcome {
        Some(outcome) => outcome.as_str().to_owned(),
        None if progress.awaits.is_empty() => progress.phase.as_str().to_owned(),
        None => format!("{}: waits for {}", progress.phase.as_str(), plain(&progress.awaits)),
    };
    let _ = writeln!(text, "stands   {stands}, began {} ago", render::age(progress.began, now));
    if let Some(reason) = &progress.reason {
        let _ =
            writeln!(text, "reason   {}", reason.lines().map(plain).collect::<Vec<_>>().join("\n         "));
    }
    for entry in &progress.timeline {
        let _ = writeln!(text, "  {}  {}", render::moment(entry.at), plain(&entry.what));
    }
    text.push_str(shown.console.as_deref().unwrap_or_default());
    text
}

/// Whether what was wanted happened.
pub fn is_well(rollout: &Rollout) -> bool {
    match rollout.progress.outcome {
        Some(Outcome::Settled | Outcome::Aborted) | None => true,
        Some(Outcome::Reverted | Outcome::Left | Outcome::Refused) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_minute_is_told_of_each_load_balancer() {
        let at = |minute: u8| format!("2026-01-01T12:0{minute}:00Z").parse::<Timestamp>().unwrap();
        let counts = |all: &[(u8, u64)]| all.iter().map(|(minute, count)| (at(*minute), *count)).collect();
        let group = |requests: &[(u8, u64)], failed: &[(u8, u64)]| GroupTraffic {
            target_group: "targetgroup/shop/1".to_owned(),
            requests: counts(requests),
            failed: counts(failed),
        };
        let groups = vec![group(&[(1, 7), (2, 100)], &[(1, 1)]), group(&[(2, 20)], &[(2, 3)])];
        let balancer = "app/shop/1".to_owned();
        let all = [BalancerTraffic { balancer, refused: PerMinute::new(), groups }];
        let minute = render::minute(at(2));
        assert_eq!(
            requests(&all),
            format!(
                "in the minute from {minute}: 120 requests, answered 5xx by targets 3, by the load balancer 0"
            )
        );
        assert_eq!(requests(&[BalancerTraffic::default()]), "");
    }
}
