//! The verdict over a stage: what of the image can be seen in the machines that run from it.
//!
//! EC2's own refresh looks for an hour before it gives up. Here one instance that a target group finds sick is enough.

use serde::{Deserialize, Serialize};

use super::{AlarmState, GroupState, RefreshState, Seen, Target, TargetState};
use crate::domain::{
    destination::{Policy, Share},
    id::InstanceId,
};

/// The verdict over a stage, at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All that the stage was to bring is there and serves. It passes when that has held for long enough.
    Well,
    /// One can't tell yet. What is awaited.
    Wait(String),
    /// The image is no good, or nobody can tell any more.
    Bad(Fault),
}

/// Why a rollout goes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, for a person.
    pub why: String,
    /// The new instances that were found sick, if that is why. Their consoles may say more.
    pub instances: Vec<InstanceId>,
    /// Whether it says something against the image. If not, the image is not rejected.
    pub of_image: bool,
}

impl Fault {
    /// What may be the image's fault: in doubt it is.
    pub fn of_image(why: String) -> Self {
        Self { why, instances: Vec::new(), of_image: true }
    }
}

impl From<String> for Fault {
    fn from(why: String) -> Self {
        Self { why, instances: Vec::new(), of_image: false }
    }
}

impl From<&str> for Fault {
    fn from(why: &str) -> Self {
        why.to_owned().into()
    }
}

/// How many instances of which kind there are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// That run from the new version.
    pub new: u32,
    /// Of these, that serve.
    pub serving: u32,
    /// That run from something else.
    pub old: u32,
}

impl Counts {
    /// Counts the instances of a group, those on their way out aside.
    pub fn of(seen: &Seen, state: &GroupState) -> Self {
        let mut counts = Self::default();
        for member in seen.group.members.iter().filter(|member| !member.is_ending()) {
            if state.after.as_ref().is_some_and(|after| member.is_of(after)) {
                counts.new += 1;
                counts.serving += u32::from(seen.serves(member));
            } else if !member.lifecycle.contains("Standby") {
                // What is on standby is somebody's to look at. A rollout leaves it alone.
                counts.old += 1;
            }
        }
        counts
    }
}

/// What alarms and the new instances say, whatever brought them.
fn evidence(seen: &Seen, state: &GroupState, policy: &Policy) -> Verdict {
    let mut unsure = None;
    for (name, alarm) in &seen.alarms {
        match alarm {
            AlarmState::Ok => {}
            AlarmState::Alarm => return Verdict::Bad(Fault::of_image(format!("alarm `{name}` is raised"))),
            AlarmState::InsufficientData => unsure = Some(format!("alarm `{name}` to have data")),
            AlarmState::Missing => unsure = Some(format!("alarm `{name}`, which is not there")),
        }
    }
    let sick = sick(seen, state, policy);
    if sick.len() > policy.max_unhealthy as usize {
        let why = told(&sick);
        let instances = sick.into_iter().map(|(id, _)| id).collect();
        return Verdict::Bad(Fault { why, instances, of_image: true });
    }
    unsure.map_or(Verdict::Well, Verdict::Wait)
}

/// Judges the group of a pair that gets the image, by what is seen of it.
pub fn judge_pair(seen: &Seen, state: &GroupState, policy: &Policy) -> Verdict {
    if let Some(bad) = changed(seen, state) {
        return Verdict::Bad(bad.into());
    }
    if seen.refresh.as_ref().is_some_and(|refresh| refresh.state.is_active()) {
        let why = format!("somebody started an instance refresh of group `{}`", state.name);
        return Verdict::Bad(why.into());
    }
    evidence(seen, state, policy)
}

/// Judges a stage that is to bring this share of a group to the new version, by what is seen of it.
pub fn judge(seen: &Seen, state: &GroupState, share: Share, policy: &Policy) -> Verdict {
    if let Some(bad) = changed(seen, state) {
        return Verdict::Bad(bad.into());
    }
    if let Some(fault) = refresh_failed(seen, state) {
        return Verdict::Bad(fault);
    }
    let unsure = match evidence(seen, state, policy) {
        Verdict::Bad(fault) => return Verdict::Bad(fault),
        Verdict::Wait(what) => Some(what),
        Verdict::Well => None,
    };
    let counts = Counts::of(seen, state);
    let Some(refresh) = &seen.refresh else {
        return Verdict::Wait("the instance refresh to begin".into());
    };
    let ours = state.refresh.as_ref().is_some_and(|intent| intent.id.as_ref() == Some(&refresh.id));
    if ours && refresh.state.is_active() {
        let reason = if refresh.reason.is_empty() { String::new() } else { format!(": {}", refresh.reason) };
        return Verdict::Wait(format!(
            "{} of the group's {} instances to serve from the new image; {} of {} new ones do (refresh at {} %{reason})",
            share.of(seen.group.desired),
            seen.group.desired,
            counts.serving,
            counts.new,
            refresh.percent,
        ));
    }
    let enough = if share.is_all() { counts.old == 0 } else { counts.new > 0 || seen.group.desired == 0 };
    if !enough {
        return Verdict::Wait(format!("{} old instances to be replaced", counts.old));
    }
    if counts.serving < counts.new {
        return Verdict::Wait(format!(
            "{} of {} new instances to serve",
            counts.new - counts.serving,
            counts.new
        ));
    }
    unsure.map_or(Verdict::Well, Verdict::Wait)
}

/// Whether somebody else changed what the group launches.
fn changed(seen: &Seen, state: &GroupState) -> Option<String> {
    let launched = seen.group.template();
    let known = launched.is_some_and(|one| *one == state.before || state.after.as_ref() == Some(one));
    (!known).then(|| match launched {
        Some(template) => format!(
            "somebody let group `{}` launch version {} of `{}` meanwhile",
            state.name, template.version, template.name
        ),
        None => format!("somebody changed what group `{}` launches meanwhile", state.name),
    })
}

fn refresh_failed(seen: &Seen, state: &GroupState) -> Option<Fault> {
    let refresh = seen.refresh.as_ref()?;
    let intent = state.refresh.as_ref()?;
    if intent.id.as_ref() != Some(&refresh.id) {
        let other = refresh.state.is_active() && intent.id.is_some();
        return other.then(|| format!("somebody started another refresh of group `{}`", state.name).into());
    }
    match refresh.state {
        RefreshState::Running | RefreshState::Successful => None,
        RefreshState::RollingBack
        | RefreshState::Cancelling
        | RefreshState::RolledBack
        | RefreshState::Failed => {
            let reason = if refresh.reason.is_empty() { "no reason given" } else { &refresh.reason };
            let more = seen.cannot_launch();
            let why = format!("the refresh of group `{}` is {}: {reason}{more}", state.name, refresh.status);
            Some(Fault { of_image: seen.failed_launch.is_none(), ..Fault::of_image(why) })
        }
    }
}

/// What is wrong with new instances: each that is sick, late or gone, with the reason.
fn sick(seen: &Seen, state: &GroupState, policy: &Policy) -> Vec<(InstanceId, String)> {
    let Some(after) = &state.after else { return Vec::new() };
    let mut sick = Vec::new();
    for member in seen.group.members.iter().filter(|one| one.is_of(after) && !one.is_ending()) {
        let id = &member.instance;
        if !member.healthy {
            sick.push((id.clone(), "Auto Scaling finds it unhealthy".to_owned()));
            continue;
        }
        let sighting = state.instances.get(id);
        let late =
            sighting.is_some_and(|one| seen.at.duration_since(one.first).as_secs() > policy.healthy_within);
        // A target group doesn't wait for a machine that boots: it is unhealthy there after a few checks, and has its time
        // all the same. One that gives a wrong answer is up.
        let starts = !late && sighting.is_some_and(|one| !one.served);
        let is_sick =
            |one: &&Target| one.anomalous || (one.state == TargetState::Unhealthy && !(one.silent && starts));
        if let Some(target) = seen.targets_of(id).find(is_sick) {
            let reason = if target.anomalous { "it answers worse than the others" } else { &target.reason };
            sick.push((id.clone(), format!("its target group finds it unhealthy: {reason}")));
        } else if late && !seen.serves(member) {
            let what =
                format!("it does not serve after {} s; it is {}", policy.healthy_within, member.lifecycle);
            sick.push((id.clone(), what));
        }
    }
    for id in state.gone(seen) {
        let served = state.instances.get(id).is_some_and(|sighting| sighting.served);
        let what = if served { "it served, and is gone" } else { "it is gone before it served" };
        sick.push((id.clone(), what.to_owned()));
    }
    sick
}

/// The first few of what is wrong, and how many more there are.
fn told(sick: &[(InstanceId, String)]) -> String {
    let each = sick.iter().take(3).map(|(id, what)| format!("{id}: {what}"));
    let shown = each.collect::<Vec<_>>().join("; ");
    match sick.len().saturating_sub(3) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}
