//! An account that is walked in again and again, and how it is left.

use std::{cell::RefCell, collections::BTreeSet, thread};

use jiff::SignedDuration;
use ovenbird_sim::Consistency;
use ovenbird_testkit::walk::{
    account::{walk, walk_with},
    machine::{Diary, End, timeless},
    scenarios::{Run, Scenario},
};
use ovenbird_testkit::{Call, Cloud, Fault};
use serde_json::json;

use super::slate::{self, Ends, after_the_end};

/// A walk that was made.
pub struct Walked {
    /// How every execution ended.
    pub ends: Ends,
    /// Every call, in order.
    pub calls: Vec<Call>,
    /// What was signed for others to call.
    pub signed: Vec<Call>,
    /// What was wrong.
    pub violations: Vec<String>,
    /// What the executions did.
    pub diary: Diary,
    /// How all stood when the clean-up began: walks with the same door are the same from there on.
    pub door: String,
}

/// The account before a scenario, ready to be walked in again and again.
pub struct Ground {
    /// What is walked in it.
    pub scenario: Scenario,
    /// The account.
    pub cloud: Cloud,
    before: Ends,
}

impl Ground {
    pub fn new(scenario: Scenario) -> Self {
        let (cloud, before) = scenario.account();
        Self { scenario, cloud, before }
    }

    /// Walks with these faults.
    pub fn walk(&self, faults: &[(usize, Fault)], watches: bool) -> Walked {
        let cloud = self.cloud.clone();
        for (call, fault) in faults {
            cloud.inject(*call, *fault);
        }
        let diary = Diary { watches, ..Diary::default() };
        let own = walk(&cloud, &self.scenario.runs(), &diary);
        self.judge(cloud, own, diary, faults)
    }

    /// Walks the first run alone.
    pub fn alone(&self) -> Walked {
        let cloud = self.cloud.clone();
        let diary = Diary::default();
        let own = walk(&cloud, &self.scenario.runs()[..1], &diary);
        self.judge(cloud, own, diary, &[])
    }

    /// Walks the first run up to a call, then the others from beginning to end, then the rest of the first.
    pub fn meet(&self, call: usize) -> Walked {
        let cloud = self.cloud.clone();
        cloud.pause_before(call);
        let diary = Diary::default();
        let runs = self.scenario.runs();
        let (one, others) = runs.split_at(1);
        let met = RefCell::new(Ends::new());
        let mut own =
            walk_with(&cloud, one, &diary, &|| met.borrow_mut().extend(walk(&cloud, others, &diary)));
        own.extend(met.into_inner());
        self.judge(cloud, own, diary, &[])
    }

    /// How the account is left, now and days later.
    fn judge(&self, cloud: Cloud, own: Ends, diary: Diary, faults: &[(usize, Fault)]) -> Walked {
        let watches = diary.watches;
        let mut violations = broken(&own);
        violations.append(&mut diary.unrecorded.borrow_mut());
        violations.extend(slate::made_twice(&cloud));
        let mut ends = self.before.clone();
        ends.extend(own);
        cloud.pass(SignedDuration::from_secs(10));
        let mut excused: BTreeSet<String> = ends
            .iter()
            .filter(|(_, end)| match end {
                End::Lost => true,
                End::Failed { error, .. } => after_the_end(error),
                End::Succeeded(_) | End::Broken(_) => false,
            })
            .map(|(name, _)| name.clone())
            .collect();
        // A prune run that didn't end may have left an image half retired; the next one goes on with it.
        let mut prunes =
            self.scenario.runs().into_iter().filter(|(_, (_, run))| matches!(run, Run::Prune | Run::Undo(_)));
        if prunes.any(|(name, _)| ends.get(&name).is_some_and(|end| !matches!(end, End::Succeeded(_)))) {
            excused.extend(self.before.keys().cloned());
        }
        violations.extend(self.slate(&cloud, &ends, &excused));

        let mut door = diary.doors.borrow().concat();
        if watches && ends.values().any(|end| *end == End::Lost) {
            door += &timeless(&cloud.dump());
        }
        if self.scenario.runs.len() > 1 {
            // Where the others were matters too.
            door += &diary.states.borrow().concat();
        }

        // What died is dead at once: a run a minute later, as the event of a stopped execution starts it, leaves nothing.
        cloud.pass(SignedDuration::from_mins(1));
        let swept = sweep(&cloud, "sweep-1");
        let calls = cloud.calls();
        let disturbed = faults
            .iter()
            .any(|(call, _)| calls.get(*call).is_some_and(|call| call.by.starts_with("sweep-1")));
        if !disturbed {
            violations.extend(unswept(&swept));
        }
        cloud.pass(SignedDuration::from_secs(10));
        if !disturbed {
            let after = self.slate(&cloud, &ends, &BTreeSet::new());
            violations.extend(after.into_iter().map(|one| one + " (after the prune)"));
        }
        // The image that a settled promotion replaced is the next one's, and what a disturbed prune left, too.
        for number in 2..=3 {
            cloud.pass(SignedDuration::from_hours(24));
            violations.extend(unswept(&sweep(&cloud, &format!("sweep-{number}"))));
        }
        cloud.pass(SignedDuration::from_secs(10));
        let after = self.slate(&cloud, &ends, &BTreeSet::new());
        let after = after.into_iter().chain(slate::superseded(&cloud));
        violations.extend(after.map(|one| one + " (after the last prune)"));
        for (name, (_, run)) in self.scenario.runs() {
            if let (Run::Undo(artifact), Some(end)) = (run, ends.get(&name)) {
                violations.extend(slate::not_taken_back(&cloud, artifact, end, self.scenario.retired > 0));
            }
        }

        // And all of it once more changes nothing.
        let settled = cloud.dump();
        violations.extend(unswept(&sweep(&cloud, "sweep-4")));
        self.clean_again(&cloud);
        cloud.pass(SignedDuration::from_secs(10));
        let once_more = cloud.dump();
        if once_more != settled {
            let only = |of: &str, other: &str, sign: &str| -> String {
                let lines = of.lines().filter(|line| !other.lines().any(|one| one == *line));
                lines.map(|line| format!("\n    {sign} {line}")).collect()
            };
            let (gone, new) = (only(&settled, &once_more, "-"), only(&once_more, &settled, "+"));
            violations.push(format!("a second clean-up changed something:{gone}{new}"));
        }
        for (call, fault) in faults.iter().filter(|(call, _)| *call >= calls.len()) {
            violations.push(format!("call {call} was never made, to be {fault:?}"));
        }
        Walked { ends, calls, signed: cloud.signed(), violations, diary, door }
    }

    fn slate(&self, cloud: &Cloud, ends: &Ends, excused: &BTreeSet<String>) -> Vec<String> {
        let overruled = self.scenario.runs.iter().any(|(_, run)| run.overrules());
        slate::violations(cloud, ends, excused, overruled)
    }

    /// Every bake's clean-up once more, as a retry whose first reply was lost would.
    fn clean_again(&self, cloud: &Cloud) {
        for row in cloud.rows().into_iter().filter(|row| row.key.sk.starts_with("BAKE#")) {
            let (mut document, status) = (row.doc.clone(), row.doc["status"].clone());
            (document["next"], document["ends"]) = (json!({"to": "done"}), status.clone());
            let action = if status == "failed" { "clean-up-failed" } else { "clean-up" };
            let input = json!({"action": action, "bake": row.doc["bake"], "document": document});
            let clean_up = || {
                let clean_up = ovenbird_core::functions::prune(cloud, input.clone(), cloud.now());
                futures::executor::block_on(clean_up)
            };
            let mut cleaned = clean_up();
            // Where answers lag, the state machine tries again.
            while self.scenario.consistency != Consistency::AtOnce
                && cleaned.as_ref().is_err_and(ovenbird_core::Error::goes_by)
            {
                cloud.pass(SignedDuration::from_secs(5));
                cleaned = clean_up();
            }
            cleaned.expect("nothing is left to fail on");
        }
    }
}

fn sweep(cloud: &Cloud, name: &str) -> End {
    let run = [(name.to_owned(), (0, Run::Prune))];
    walk(cloud, &run, &Diary::default()).remove(name).unwrap()
}

fn unswept(end: &End) -> Option<String> {
    (!matches!(end, End::Succeeded(_))).then(|| format!("the scheduled prune ended with {end:?}"))
}

/// Ends that no fault excuses.
fn broken(ends: &Ends) -> Vec<String> {
    let broken = ends.iter().filter(|(_, end)| matches!(end, End::Broken(_)));
    broken.map(|(name, end)| format!("{name}: {end:?}")).collect()
}

/// Makes walks on all cores, and keeps of each what is asked for: all of a hundred thousand would fill the memory.
pub fn walk_all<C: Sync, K: Send>(
    scenario: Scenario,
    cases: &[C],
    walk: impl Fn(&Ground, &C) -> K + Sync,
) -> Vec<K> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let walk = &walk;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let ground = Ground::new(scenario);
                    let mine = cases.iter().skip(worker).step_by(workers);
                    mine.map(|case| walk(&ground, case)).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}
