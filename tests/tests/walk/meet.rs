//! Two that meet: between any two calls of the one, the other runs whole.

use std::collections::BTreeSet;

use ovenbird_testkit::Call;
use ovenbird_testkit::walk::{
    machine::{End, TOO_LONG},
    meetings::Meeting,
};

use super::{
    ground::{Ground, Walked, walk_all},
    roles::{self, Needs},
    trace::{run, trace, word},
};

/// What came of a meeting.
#[derive(Default)]
pub struct Met {
    /// How often they met.
    pub walks: usize,
    /// How often they could have met when it was too late for any guard, or longer than a function stands still.
    pub too_late: usize,
    /// How often something was wrong.
    pub wrong: usize,
    /// What was wrong first.
    pub first: Option<String>,
    /// What IAM was asked for.
    pub needs: Needs,
}

/// Walks a meeting at every call of the one.
pub fn explore(meeting: &Meeting) -> Met {
    let ground = Ground::new(meeting.scenario);
    let first = ground.cloud.calls().len();
    let alone = ground.alone();
    let last = alone.calls.iter().position(|call| call.by.starts_with("sweep-")).unwrap();
    let late = match meeting.seen_by.map(|seen_by| too_late(&alone.calls, seen_by)).transpose() {
        Ok(late) => late.unwrap_or_default(),
        Err(blind) => {
            return Met { wrong: 1, first: Some(format!("\n  VIOLATION: {blind}")), ..Met::default() };
        }
    };
    let calls: Vec<usize> = (first..last).filter(|call| !late.contains(call)).collect();
    let met = walk_all(meeting.scenario, &calls, |ground, call| {
        let mut walked = ground.meet(*call);
        // A rollout takes minutes, and no function stands still for so long.
        let timed_out =
            walked.ends.values().any(|end| matches!(end, End::Broken(why) if why.contains(TOO_LONG)));
        if timed_out {
            return (*call, None, Needs::new(), true);
        }
        walked.violations.extend(unexpected(&walked, meeting));
        let mut needs = Needs::new();
        roles::note(&mut needs, walked.calls.iter().chain(&walked.signed));
        let what = "here the other runs, whole".to_owned();
        (*call, trace(&walked, &[(*call, what)]), needs, false)
    });
    let mut tally = Met { walks: calls.len(), too_late: late.len(), ..Met::default() };
    let mut wrong = Vec::new();
    for (call, text, needs, timed_out) in met {
        roles::add(&mut tally.needs, needs);
        tally.too_late += usize::from(timed_out);
        wrong.extend(text.map(|text| (call, text)));
    }
    if tally.too_late >= calls.len() {
        wrong.push((0, "\n  VIOLATION: they never meet".to_owned()));
    }
    tally.wrong = wrong.len();
    tally.first = wrong.into_iter().min().map(|(_, text)| text);
    tally
}

/// Ends that the meeting doesn't name.
fn unexpected(walked: &Walked, meeting: &Meeting) -> Vec<String> {
    let mut found = Vec::new();
    for (name, ends) in ["run-0", "run-1"].into_iter().zip(meeting.ends) {
        match walked.ends.get(name).map(word) {
            Some(word) if ends.contains(&word.as_str()) => {}
            Some(word) => found.push(format!("{name} ends {word}, and may end {ends:?}")),
            None => found.push(format!("{name} never ran")),
        }
    }
    found
}

/// The calls after the last look of a state at what is in use, up to its removal of an image.
///
/// A removal without such a look is an error.
fn too_late(calls: &[Call], seen_by: &str) -> Result<BTreeSet<usize>, String> {
    let mut late = BTreeSet::new();
    for (removal, call) in calls.iter().enumerate() {
        if call.actions[0] != "ec2:DeregisterImage" || !run(call).starts_with("run-") {
            continue;
        }
        let before = calls[..removal].iter().rposition(|one| one.by == call.by && one.actions[0] == seen_by);
        let look = before.ok_or_else(|| format!("{} removes an image and never asks {seen_by}", call.by))?;
        late.extend(look + 1..=removal);
    }
    Ok(late)
}
