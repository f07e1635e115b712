//! Who is told of failures, and which there were.

use jiff::SignedDuration;

use super::{
    Check, Finding, Severity,
    facts::{Deployed, Facts, Machine},
    seen,
    trigger::rules,
};
use crate::{ports::Run, views::age};

/// An older failure is history.
const LATELY: SignedDuration = SignedDuration::from_hours(24);

/// Prune runs each hour, unless the stack's parameter says otherwise.
const NO_PRUNE: SignedDuration = SignedDuration::from_hours(48);

pub(super) fn told(facts: &Facts) -> Check {
    const NAME: &str = "alarms";
    let topic = facts.stack.as_ref().ok().and_then(|stack| stack.topic.as_deref());
    let looks =
        facts.of_stack.as_ref().and_then(|of| Some((of.tellers.as_ref()?, of.subscriptions.as_ref()?)));
    let (Some(topic), Some((tellers, subscriptions))) = (topic, looks) else {
        return Check::new(NAME, "the stack is too old to say its topic", Vec::new());
    };
    let mut findings = rules(
        tellers,
        Severity::Weaker,
        "no rule leads from failures to the topic",
        "nobody is told of a failed bake",
    );
    let told = match seen(subscriptions) {
        Err(unseen) => {
            findings.extend(unseen);
            "unknown".to_owned()
        }
        Ok(all) => {
            let (confirmed, pending): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.is_confirmed);
            findings.extend(pending.iter().map(|one| {
                Finding::weaker(
                    format!("{} has not confirmed that it wants to be told ({})", one.endpoint, one.protocol),
                    "SNS tells it nothing before that, and deletes the request after two days",
                    format!(
                        "Open the link in SNS's mail; for another: aws sns subscribe --topic-arn {topic} \
                         --protocol {} --notification-endpoint {}",
                        one.protocol, one.endpoint
                    ),
                )
            }));
            if all.is_empty() && !facts.local {
                findings.push(Finding::weaker(
                    "nobody is told of failures",
                    "a failed bake, or a prune run that fails for weeks, is seen only by who looks",
                    "make deploy PARAMETERS=\"AlarmEmail=you@example.com\"",
                ));
            }
            match confirmed.len() {
                0 => "nobody is told".to_owned(),
                _ => {
                    let who: Vec<&str> = confirmed.iter().map(|one| one.endpoint.as_str()).collect();
                    format!("{} is told", who.join(", "))
                }
            }
        }
    };
    Check::new(NAME, told, findings)
}

/// What ran lately, and how it ended.
pub(super) fn ran(facts: &Facts) -> Vec<Check> {
    let (Some(of), Ok(stack)) = (&facts.of_stack, &facts.stack) else { return Vec::new() };
    of.runs
        .iter()
        .map(|(machine, look)| {
            let (name, words) = words(*machine);
            match seen(look) {
                Err(findings) => Check::new(name, "unknown", findings),
                Ok(runs) => {
                    let mut findings: Vec<Finding> = failed(*machine, runs, facts).into_iter().collect();
                    findings.extend(unpruned(*machine, runs, stack, facts));
                    let newest = runs.first().map(|run| age(run.started, facts.now));
                    let seen =
                        newest.map_or(format!("no {words} yet"), |age| format!("the newest {age} ago"));
                    Check::new(name, seen, findings)
                }
            }
        })
        .collect()
}

/// The name of the check, and what runs.
fn words(machine: Machine) -> (&'static str, &'static str) {
    match machine {
        Machine::Bake => ("bakes", "bake"),
        Machine::Rollout => ("rollouts", "rollout"),
        Machine::Prune => ("prune runs", "prune run"),
    }
}

fn failed(machine: Machine, runs: &[Run], facts: &Facts) -> Option<Finding> {
    let lately = |run: &&Run| run.ended_badly && facts.now.duration_since(run.started) < LATELY;
    let failed: Vec<&str> = runs.iter().filter(lately).map(|run| run.name.as_str()).collect();
    let first = failed.first()?;
    let (name, _) = words(machine);
    let (why, fix) = match machine {
        Machine::Bake => {
            ("its recipe or its artifact is wrong, or the account is", format!("ovenbird show {first}"))
        }
        Machine::Rollout => {
            ("machines may run an image that the channel doesn't point at", "ovenbird channels".to_owned())
        }
        Machine::Prune => (
            "old images and what dead bakes left cost money until one succeeds",
            "ovenbird prune history".to_owned(),
        ),
    };
    let what = format!(
        "{} of the newest {} {name} failed within a day: {}",
        failed.len(),
        runs.len(),
        failed.join(", ")
    );
    Some(Finding::weaker(what, why, fix))
}

fn unpruned(machine: Machine, runs: &[Run], stack: &Deployed, facts: &Facts) -> Option<Finding> {
    if machine != Machine::Prune || facts.local {
        return None;
    }
    let last = runs.first().map(|run| run.started).or(stack.since)?;
    (facts.now.duration_since(last) > NO_PRUNE).then(|| {
        Finding::weaker(
            format!("prune has not run for {}", age(last, facts.now)),
            "old images and what dead bakes left cost money until it runs",
            format!("aws scheduler get-schedule --name {}-prune: is it enabled?", facts.name),
        )
    })
}
