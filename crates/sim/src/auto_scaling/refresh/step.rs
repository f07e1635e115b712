//! How a refresh goes on.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::InstanceId;

use super::{InstanceRefresh, RefreshStatus, WhenFound};
use crate::{
    World,
    alarms::AlarmState,
    auto_scaling::{Group, Lifecycle, Member, Process},
};

/// So long a refresh tries what doesn't succeed.
const PATIENCE: SignedDuration = SignedDuration::from_hours(1);
/// So long a refresh may last.
const LONGEST: SignedDuration = SignedDuration::from_hours(14 * 24);

/// How the words begin that say what it waits for, where that can end by itself.
const ALARM: &str = "The alarm";
const PROTECTED: &str = "Waiting for instances that are protected from scale in or on standby.";

const CAUSE: &str = "an instance was taken out of service in response to an instance refresh.";

/// What the alarms say.
enum Alarms {
    Quiet,
    /// One can't tell.
    Unknown(String),
    /// One is raised.
    Raised(String),
}

impl World {
    /// Goes on with the refresh of a group: what may end is ended. Gives the units to launch beyond what is desired.
    pub(in super::super) fn step_refresh(&mut self, now: Timestamp, group: &mut Group) -> u32 {
        let Some(refresh) = group.active_refresh() else { return 0 };
        match refresh.status {
            RefreshStatus::Pending => {
                self.begin_refresh(now, group);
                self.go_on(now, group)
            }
            RefreshStatus::InProgress | RefreshStatus::RollbackInProgress => self.go_on(now, group),
            RefreshStatus::Baking => {
                match self.alarms_of(refresh) {
                    Alarms::Raised(why) => self.give_up(now, group, &why),
                    Alarms::Quiet | Alarms::Unknown(_) => self.finish_refresh(now, group),
                }
                0
            }
            RefreshStatus::Cancelling => {
                let moving = |member: &Member| {
                    let ending =
                        member.lifecycle.is_ending() && member.lifecycle != Lifecycle::TerminatingRetained;
                    member.lifecycle.is_pending() || ending
                };
                if !(refresh.waits_for_transitions && group.members.iter().any(moving)) {
                    group.end_refresh(now, RefreshStatus::Cancelled, "Cancelled due to user request.");
                    return 0;
                }
                // What is on its way comes in.
                group.capacity().saturating_sub(group.desired)
            }
            RefreshStatus::Successful
            | RefreshStatus::Failed
            | RefreshStatus::Cancelled
            | RefreshStatus::RollbackFailed
            | RefreshStatus::RollbackSuccessful => 0,
        }
    }

    /// Finds out what is to be replaced.
    fn begin_refresh(&mut self, now: Timestamp, group: &mut Group) {
        let Some(refresh) = group.active_refresh() else { return };
        let configuration = refresh.desired.as_ref().unwrap_or(&group.configuration);
        let by_attributes =
            self.is_attribute_based(configuration) || self.is_attribute_based(&group.configuration);
        if by_attributes && (refresh.preferences.skip_matching || refresh.desired.is_some()) {
            let why = "SkipMatching and DesiredConfiguration are not supported for a group with attribute-based instance type selection.";
            group.end_refresh(now, RefreshStatus::Failed, why);
            return;
        }
        let skip = refresh.preferences.skip_matching;
        let all = group.members.iter().filter(|member| !member.lifecycle.is_ending());
        let (kept, waiting): (Vec<&Member>, Vec<&Member>) =
            all.partition(|member| skip && self.matches(member, configuration));
        let ids = |members: Vec<&Member>| members.into_iter().map(|member| member.instance.clone()).collect();
        let (kept, waiting) = (ids(kept), ids(waiting));
        if let Some(refresh) = group.active_refresh_mut() {
            (refresh.kept, refresh.waiting) = (kept, waiting);
            refresh.total = refresh.waiting.len();
            refresh.instances_to_update = refresh.total;
            refresh.status = RefreshStatus::InProgress;
        }
    }

    fn go_on(&mut self, now: Timestamp, group: &mut Group) -> u32 {
        let Some(mut refresh) = group.active_refresh().cloned() else { return 0 };
        self.count(now, group, &mut refresh);
        let rolling_back = refresh.status == RefreshStatus::RollbackInProgress;
        let alarms = if rolling_back { Alarms::Quiet } else { self.alarms_of(&refresh) };
        let mut halted = false;
        match alarms {
            Alarms::Quiet => refresh.unblock(ALARM),
            Alarms::Unknown(why) => {
                refresh.block(now, &why);
                halted = true;
            }
            Alarms::Raised(why) => {
                store(group, refresh);
                self.give_up(now, group, &why);
                return 0;
            }
        }
        let waits = !rolling_back && refresh.pauses(now);
        if waits {
            // A pause is no lack of progress, however long it is.
            refresh.unblock("");
        }
        let done = refresh.waiting.is_empty() && self.is_whole(now, group, &refresh);
        let part = !rolling_back && refresh.is_part_done();
        if done && !waits && group.capacity() > group.desired && group.next_to_go().is_some() {
            // What was launched ahead and is not needed goes first, while the refresh still guards what is ready.
            store(group, refresh);
            return 0;
        }
        if (done || part) && !waits {
            store(group, refresh);
            self.finish_refresh(now, group);
            return 0;
        }
        let too_long = now.duration_since(refresh.started) >= LONGEST
            || refresh.blocked.is_some_and(|since| now.duration_since(since) >= PATIENCE);
        if too_long {
            let why = refresh.reason.clone().unwrap_or_default();
            store(group, refresh);
            self.give_up(now, group, &format!("The instance refresh made no progress for too long. {why}"));
            return 0;
        }
        if waits || halted || part || !group.does(Process::InstanceRefresh) {
            store(group, refresh);
            // Nothing begins; what was launched before its time stays.
            return group.capacity().saturating_sub(group.desired);
        }
        let ahead = self.replace_some(now, group, &mut refresh);
        store(group, refresh);
        ahead
    }

    /// Counts what is replaced.
    fn count(&self, now: Timestamp, group: &Group, refresh: &mut InstanceRefresh) {
        let preferences = refresh.preferences.clone();
        let mut found = refresh.waiting.clone();
        found.retain(|id| group.member(id.as_str()).is_some_and(|member| !member.lifecycle.is_ending()));
        for id in found.clone() {
            let Some(member) = group.member(id.as_str()) else { continue };
            let ignored = (member.protected && preferences.protected == WhenFound::Ignore)
                || (member.lifecycle.is_standby() && preferences.standby == WhenFound::Ignore);
            if ignored {
                found.remove(&id);
                refresh.kept.insert(id);
                refresh.total -= 1;
            }
        }
        refresh.waiting = found;
        let is_new = |member: &&Member| {
            !refresh.waiting.contains(&member.instance) && !refresh.kept.contains(&member.instance)
        };
        let new = || group.members.iter().filter(is_new);
        let ready = new().filter(|member| self.is_ready(now, group, member, preferences.warmup)).count();
        let gone = refresh.total.saturating_sub(refresh.waiting.len());
        let whole = refresh.waiting.is_empty() && self.is_whole(now, group, refresh);
        let completed = if whole { refresh.total } else { gone.min(ready) };
        let sick = new().any(|member| member.unhealthy.is_some() && member.lifecycle.counts());
        // An instance whose first health check never comes isn't unhealthy, and never ready either.
        let grace = SignedDuration::from_secs(i64::from(group.health_check_grace + preferences.warmup));
        let late = new().any(|member| {
            let since = member.in_service;
            since.is_some_and(|since| now.duration_since(since) > grace)
                && !self.is_ready(now, group, member, preferences.warmup)
        });
        if completed > refresh.completed {
            refresh.completed = completed;
            (refresh.blocked, refresh.reason) = (None, None);
        } else if sick || late {
            refresh.block(now, "New instances do not pass their health checks.");
        }
        let remaining = refresh.total - refresh.completed.min(refresh.total);
        refresh.instances_to_update = remaining;
        let percent = |part: usize, of: u32| (part * of as usize).checked_div(refresh.total);
        let percentage = match &refresh.rollback {
            Some(details) => percent(remaining, details.percentage_on_rollback).unwrap_or(0),
            None => percent(refresh.completed, 100).unwrap_or(100),
        };
        refresh.percentage = u32::try_from(percentage).unwrap_or(100);
    }

    /// Whether the group has all that it shall have, ready to use.
    fn is_whole(&self, now: Timestamp, group: &Group, refresh: &InstanceRefresh) -> bool {
        let ignored: u32 = group
            .members
            .iter()
            .filter(|member| {
                // What matched or was ignored was there before, and needs not be ready.
                refresh.kept.contains(&member.instance)
                    && member.lifecycle.counts()
                    && !self.is_ready(now, group, member, refresh.preferences.warmup)
            })
            .map(|member| member.weight)
            .sum();
        self.ready_units(now, group, refresh.preferences.warmup) + ignored >= group.desired
    }

    fn alarms_of(&self, refresh: &InstanceRefresh) -> Alarms {
        let mut unknown = None;
        for name in &refresh.preferences.alarms {
            match self.alarms.get(name).map(|alarm| alarm.state) {
                Some(AlarmState::Ok) => {}
                Some(AlarmState::Alarm) => {
                    return Alarms::Raised(format!("{ALARM} {name} is in the ALARM state."));
                }
                Some(AlarmState::InsufficientData) | None => {
                    unknown = Some(format!("{ALARM} {name} is in the INSUFFICIENT_DATA state."));
                }
            }
        }
        unknown.map_or(Alarms::Quiet, Alarms::Unknown)
    }

    /// Ends what may be ended now; gives the units to launch beyond what is desired.
    fn replace_some(&mut self, now: Timestamp, group: &mut Group, refresh: &mut InstanceRefresh) -> u32 {
        if refresh.waiting.is_empty() {
            return 0;
        }
        let warmup = refresh.preferences.warmup;
        let bounds = refresh.bounds(group);
        let mut left = refresh.until_checkpoint();
        let mut candidates = self.candidates(group, refresh);
        if candidates.is_empty() {
            refresh.block(now, PROTECTED);
            return 0;
        }
        refresh.unblock(PROTECTED);
        // Who isn't ready goes first: nothing is lost by it.
        candidates.sort_by_key(|member| self.is_ready(now, group, member, warmup));
        let units: u32 = candidates.iter().map(|member| member.weight).sum();
        let mut gone = 0;
        if group.does(Process::Terminate) {
            for member in &candidates {
                let ready = self.ready_units(now, group, warmup);
                let costs = if self.is_ready(now, group, member, warmup) { member.weight } else { 0 };
                if left == 0 || (costs > 0 && ready < bounds.min + costs) {
                    continue;
                }
                self.end_member(now, group, &member.instance, CAUSE);
                (left, gone) = (left - 1, gone + member.weight);
            }
        }
        let impossible = bounds.max <= group.desired && bounds.min >= group.desired;
        // Without an upper bound of its own, a refresh that can end nothing ends one all the same, when all is whole.
        if refresh.preferences.max_healthy.is_none() && gone == 0 && left > 0 && impossible {
            let settled = group.members.iter().all(|member| !member.lifecycle.is_pending())
                && self.ready_units(now, group, warmup) >= group.desired;
            if let Some(member) = candidates.first().filter(|_| settled && group.does(Process::Terminate)) {
                self.end_member(now, group, &member.instance, CAUSE);
            }
            return 0;
        }
        if let Some(process) = [Process::Launch, Process::Terminate].into_iter().find(|one| !group.does(*one))
        {
            refresh.block(now, &format!("The {} process of the group is suspended.", process.as_str()));
        }
        let room = if impossible && refresh.preferences.max_healthy.is_some() {
            // The upper bound is exceeded by one, if the group's maximum size allows it.
            u32::from(group.max_size > group.desired)
        } else {
            bounds.max.saturating_sub(group.desired)
        };
        if room == 0 && gone == 0 && left > 0 && self.ready_units(now, group, warmup) >= group.desired {
            refresh.block(
                now,
                "Neither the healthy percentages nor the maximum size let an instance be replaced.",
            );
        }
        room.min(units - gone).min(u32::try_from(left).unwrap_or(u32::MAX))
    }

    /// Who may be replaced: not who is protected or on standby, if these are waited for.
    fn candidates(&self, group: &Group, refresh: &InstanceRefresh) -> Vec<Member> {
        let may = |member: &&Member| {
            let kept_by_protection = member.protected && refresh.preferences.protected == WhenFound::Wait;
            let kept_by_standby =
                member.lifecycle.is_standby() && refresh.preferences.standby == WhenFound::Wait;
            refresh.waiting.contains(&member.instance) && !kept_by_protection && !kept_by_standby
        };
        group.members.iter().filter(may).cloned().collect()
    }
}

/// Puts a refresh back into its group, if it is still under way there.
fn store(group: &mut Group, refresh: InstanceRefresh) {
    if let Some(known) = group.active_refresh_mut() {
        *known = refresh;
    }
}

impl InstanceRefresh {
    /// Can go on again, if it was this that it waited for.
    fn unblock(&mut self, why: &str) {
        if self.reason.as_deref().is_some_and(|reason| reason.starts_with(why)) {
            (self.blocked, self.reason) = (None, None);
        }
    }

    /// Notes a checkpoint that is reached; says whether it waits at one. At 100 per cent nothing is left to wait with:
    /// baking is for that.
    fn pauses(&mut self, now: Timestamp) -> bool {
        let passed = self.checkpoint.map_or(0, |(percent, _)| percent);
        let reached =
            self.preferences.checkpoints.iter().filter(|percent| **percent <= self.percentage).max();
        if let Some(reached) = reached.filter(|reached| **reached > passed && **reached < 100) {
            let delay = SignedDuration::from_secs(i64::from(self.preferences.checkpoint_delay));
            self.checkpoint = Some((*reached, now + delay));
        }
        self.checkpoint.is_some_and(|(_, until)| now < until)
    }

    /// Whether the last checkpoint is reached, and is less than everything.
    fn is_part_done(&self) -> bool {
        let last = self.preferences.checkpoints.last();
        last.is_some_and(|last| *last < 100 && self.percentage >= *last)
    }

    /// How many instances may still be replaced before the next checkpoint.
    fn until_checkpoint(&self) -> usize {
        let next = self.preferences.checkpoints.iter().find(|percent| **percent > self.percentage);
        let started = self.total.saturating_sub(self.waiting.len());
        match next.filter(|_| self.status == RefreshStatus::InProgress) {
            None => self.waiting.len(),
            Some(percent) => (self.total * *percent as usize).div_ceil(100).saturating_sub(started),
        }
    }

    /// The instances that are yet to be replaced.
    pub fn waiting(&self) -> impl Iterator<Item = &InstanceId> {
        self.waiting.iter()
    }
}
