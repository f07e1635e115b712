//! The walk: for every call of every step, every fault, and for every fault another one in the clean-up after it.
//!
//! The real state machines are walked with the real functions on the world, in virtual time. After each walk the
//! slate must be clean: `slate.rs` says what that is.

mod roles;
mod slate;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    thread,
    time::Instant,
};

use jiff::SignedDuration;
use ovenbird_world::{Call, Cloud, Fault};
use serde_json::json;

use ovenbird_tests::walk::{
    account::walk,
    cost,
    machine::{Diary, End, MOST_BYTES, MOST_EVENTS, timeless},
    scenarios::{Run, SCENARIOS, Scenario},
};

use self::{
    roles::Needs,
    slate::{Ends, after_the_end},
};

/// The faults of one walk: which call, and what becomes of it.
type Faults = Vec<(usize, Fault)>;

/// A walk that was made.
struct Walked {
    ends: Ends,
    calls: Vec<Call>,
    signed: Vec<Call>,
    violations: Vec<String>,
    diary: Diary,
    /// How all stood when the clean-up began: walks with the same door are the same from there on.
    door: String,
}

/// The account before a scenario, ready to be walked in again and again.
struct Ground {
    scenario: Scenario,
    cloud: Cloud,
    before: Ends,
}

impl Ground {
    fn new(scenario: Scenario) -> Self {
        let (cloud, before) = scenario.account();
        Self { scenario, cloud, before }
    }

    fn walk(&self, faults: &[(usize, Fault)], watches: bool) -> Walked {
        let cloud = self.cloud.clone();
        for (call, fault) in faults {
            cloud.inject(*call, *fault);
        }
        let diary = Diary { watches, ..Diary::default() };
        let own = walk(&cloud, &self.scenario.runs(), &diary);
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
        let prunes = self.scenario.runs().into_iter().filter(|(_, (_, run))| matches!(run, Run::Prune));
        if prunes.into_iter().any(|(name, _)| !matches!(ends[&name], End::Succeeded(_))) {
            excused.extend(self.before.keys().cloned());
        }
        violations.extend(slate::violations(&cloud, &ends, &excused));

        let mut door = diary.doors.borrow().concat();
        if watches && ends.values().any(|end| *end == End::Lost) {
            door += &timeless(&cloud.dump());
        }
        if self.scenario.runs.len() > 1 {
            // Where the others were matters too.
            door += &diary.states.borrow().concat();
        }

        // Days later, when all that died has expired, the scheduled prune leaves nothing of it.
        cloud.pass(SignedDuration::from_hours(72));
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
            let after = slate::violations(&cloud, &ends, &BTreeSet::new());
            violations.extend(after.into_iter().map(|one| one + " (after the prune)"));
        }
        // The image that a settled promotion replaced is the next one's, and what a disturbed prune left, too.
        for number in 2..=3 {
            cloud.pass(SignedDuration::from_hours(24));
            violations.extend(unswept(&sweep(&cloud, &format!("sweep-{number}"))));
        }
        cloud.pass(SignedDuration::from_secs(10));
        let after = slate::violations(&cloud, &ends, &BTreeSet::new());
        violations.extend(after.into_iter().map(|one| one + " (after the last prune)"));

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

    /// Every bake's clean-up once more, as a retry whose first reply was lost would.
    fn clean_again(&self, cloud: &Cloud) {
        for row in cloud.rows().into_iter().filter(|row| row.key.sk.starts_with("BAKE#")) {
            let input = json!({"bake": row.doc["bake"], "document": row.doc, "failed": row.doc["status"] == "failed"});
            let clean_up = ovenbird_core::functions::prune(cloud, input, cloud.now());
            futures::executor::block_on(clean_up).expect("nothing is left to fail on");
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

/// The word for an end: a status, or the name of an error.
fn word(end: &End) -> String {
    match end {
        End::Succeeded(document) => document["status"].as_str().unwrap_or("succeeded").to_owned(),
        End::Failed { error, .. } => error.clone(),
        End::Lost | End::Broken(_) => format!("{end:?}"),
    }
}

/// Whether a call is one that cleans up after a bake.
fn cleans_up(call: &Call) -> bool {
    call.by.contains("/CleanUp")
}

/// Whose call it is: an execution's name.
fn run(call: &Call) -> &str {
    call.by.split('/').next().unwrap_or_default()
}

/// Whether a call is one after which a failure changes nothing about what became of its bake.
fn after_the_bake(call: &Call) -> bool {
    cleans_up(call) || call.by.contains("/StartChildren")
}

/// How a walk was told apart, and what was wrong with it.
struct Violation {
    faults: Faults,
    text: String,
}

#[derive(Default)]
struct Tally {
    /// Calls of the scenario when nothing goes wrong.
    calls: usize,
    /// Walks with one fault.
    singles: usize,
    /// Walks with a second fault in the clean-up after the first.
    pairs: usize,
    /// How many pairs those stand for: walks that come to the clean-up's door alike are the same from there on.
    covered: usize,
    /// What IAM was asked for.
    needs: Needs,
    violations: Vec<Violation>,
}

/// Walks a scenario: as it is, with every fault, and with every pair.
fn explore(scenario: Scenario, with_pairs: bool) -> Tally {
    let ground = Ground::new(scenario);
    let first = ground.cloud.calls().len();
    let mut tally = Tally::default();
    let plain = ground.walk(&[], true);
    let (last, _) = scenario.runs().pop().unwrap();
    let word = word(&plain.ends[&last]);
    if word != scenario.ends {
        let text = format!("ends {word}, not {}", scenario.ends);
        tally.violations.push(Violation { faults: Vec::new(), text });
    }
    tally.violations.extend(violation(&plain, &Vec::new()));
    let sweep = plain.calls.iter().position(|call| call.by.starts_with("sweep-")).unwrap();
    tally.calls = sweep - first;
    assert!(plain.diary.most_events() < MOST_EVENTS);

    let hit = |call: &usize| {
        let by = &plain.calls[*call].by;
        scenario.only.is_empty() || scenario.only.iter().any(|part| by.contains(part))
    };
    let calls = (first..sweep).filter(hit);
    let singles: Vec<Faults> = calls.flat_map(|call| Fault::ALL.map(|fault| vec![(call, fault)])).collect();
    tally.singles = singles.len();
    // By door: the first faults that lead there, and the calls behind it.
    let mut doors: BTreeMap<String, (Faults, Vec<usize>)> = BTreeMap::new();
    let hits = walk_all(scenario, &singles, true, |faults, walked| {
        let lost = walked.ends.values().any(|end| *end == End::Lost);
        let behind = walked.calls.iter().enumerate().skip(faults[0].0 + 1);
        let own = run(&walked.calls[faults[0].0]);
        let behind = behind
            .filter(|(_, one)| cleans_up(one) && run(one) == own || lost && one.by.starts_with("sweep-1"));
        let behind: Vec<usize> = behind.map(|(number, _)| number).collect();
        let mut needs = Needs::new();
        roles::note(&mut needs, walked.calls.iter().chain(&walked.signed));
        (faults.clone(), behind, needs, violation(&walked, faults), walked.door)
    });
    for (faults, behind, needs, violation, door) in hits {
        roles::add(&mut tally.needs, needs);
        tally.violations.extend(violation);
        tally.covered += behind.len() * Fault::ALL.len();
        doors.entry(door).or_insert((faults, behind));
    }
    if !with_pairs {
        tally.covered = 0;
        return tally;
    }
    let mut pairs = Vec::new();
    for (faults, behind) in doors.into_values() {
        for second in behind {
            pairs.extend(Fault::ALL.map(|fault| vec![faults[0], (second, fault)]));
        }
    }
    tally.pairs = pairs.len();
    println!("walk {:45} {:6} pairs to go", scenario.name, tally.pairs);
    let wrong = walk_all(scenario, &pairs, false, |faults, walked| violation(&walked, faults));
    tally.violations.extend(wrong.into_iter().flatten());
    tally
}

/// Makes walks on all cores, and keeps of each what is asked for: all of a hundred thousand would fill the memory.
fn walk_all<K: Send>(
    scenario: Scenario,
    cases: &[Faults],
    watches: bool,
    keep: impl Fn(&Faults, Walked) -> K + Sync,
) -> Vec<K> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let keep = &keep;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let ground = Ground::new(scenario);
                    let mine = cases.iter().skip(worker).step_by(workers);
                    mine.map(|faults| keep(faults, ground.walk(faults, watches))).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

/// What was wrong with a walk, with its shortest trace: the states, the calls of those that a fault hit, what is left.
fn violation(walked: &Walked, faults: &Faults) -> Option<Violation> {
    let mut wrong = walked.violations.clone();
    // A clean-up that didn't run to its end must have been hit itself.
    let hit = faults.iter().any(|(call, _)| walked.calls.get(*call).is_some_and(after_the_bake));
    for (name, end) in &walked.ends {
        if let End::Failed { error, .. } = end
            && after_the_end(error)
            && !hit
        {
            wrong.push(format!("{name} ended with {end:?}, and no fault hit its clean-up"));
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let mut text = String::new();
    let mut by = "";
    for (number, call) in walked.calls.iter().enumerate() {
        let fault = faults.iter().find(|(one, _)| *one == number).map(|(_, fault)| format!(" <== {fault:?}"));
        if call.by != by && !call.by.is_empty() && !call.by.starts_with("before") {
            text += &format!("\n  {}:", call.by);
        }
        by = &call.by;
        if !by.is_empty() && !by.starts_with("before") {
            text += &format!(" {}{}", call.actions[0], fault.unwrap_or_default());
        }
    }
    for (name, end) in walked.ends.iter().filter(|(name, _)| !name.starts_with("before")) {
        let end = match end {
            End::Succeeded(document) => format!("Succeeded, {}", document["status"]),
            other => format!("{other:?}"),
        };
        text += &format!("\n  {name} ended: {end}");
    }
    for left in wrong {
        text += &format!("\n  VIOLATION: {left}");
    }
    Some(Violation { faults: faults.clone(), text })
}

/// What is wrong with the longest bake that a recipe allows: it must stay below AWS's limits by a fifth.
fn near_the_limits() -> Vec<String> {
    let mut wrong = Vec::new();
    for scenario in [cost::LONGEST, cost::LONGEST_TWIN] {
        let longest = cost::measure(&scenario);
        let (events, bytes) = (longest.diary.most_events(), longest.diary.largest.get());
        let (name, hours) = (scenario.name, longest.took.as_secs_f64() / 3600.0);
        println!(
            "walk: {name}: {hours:.1} h, {events} of {MOST_EVENTS} events, {bytes} of {MOST_BYTES} bytes"
        );
        let end = word(&longest.end);
        if end != scenario.ends {
            wrong.push(format!("{name} ended with {:?}", longest.end));
        }
        if events * 5 > MOST_EVENTS * 4 || bytes * 5 > MOST_BYTES * 4 {
            wrong.push(format!("{name} comes too near to a limit"));
        }
    }
    wrong
}

/// `walk [--ignored] [SCENARIO]`: with `--ignored`, as cargo says it for slow tests, every pair too.
fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let with_pairs = arguments.iter().any(|argument| argument == "--ignored");
    let filter = arguments.iter().find(|argument| !argument.starts_with('-'));
    let begun = Instant::now();
    let (mut cases, mut covered, mut failed, mut passed) = (0, 0, 0, 0);
    let mut needs = Needs::new();
    let mut shown = BTreeMap::new();
    let mut judge = |name: &'static str, wrong: Option<String>| match wrong {
        Some(wrong) => {
            failed += 1;
            shown.insert(name, wrong);
        }
        None => passed += 1,
    };
    let chosen =
        SCENARIOS.iter().filter(|one| filter.is_none_or(|filter| one.name.contains(filter.as_str())));
    for scenario in chosen.copied() {
        let start = Instant::now();
        let mut tally = explore(scenario, with_pairs);
        println!(
            "walk {:45} {:4} calls {:5} faults {:6} pairs (for {:6}) {:4} violations {:6.1} s",
            scenario.name,
            tally.calls,
            tally.singles,
            tally.pairs,
            tally.covered,
            tally.violations.len(),
            start.elapsed().as_secs_f64()
        );
        cases += 1 + tally.singles + tally.pairs;
        covered += 1 + tally.singles + tally.covered;
        roles::add(&mut needs, tally.needs);
        tally.violations.sort_by_key(|one| (one.faults.len(), one.faults.clone()));
        judge(scenario.name, tally.violations.into_iter().next().map(|first| first.text));
    }
    let lines = |wrong: Vec<String>| (!wrong.is_empty()).then(|| format!("\n  {}", wrong.join("\n  ")));
    if filter.is_none() {
        judge("roles allow what was called and nothing else", lines(roles::wrong(&needs)));
        judge(cost::LONGEST.name, lines(near_the_limits()));
        print!("{}", cost::table());
    }
    for (name, trace) in &shown {
        println!("\nthe shortest violation of `{name}`:{trace}");
    }
    println!("walk: {cases} walks, standing for {covered} cases, in {:.1} s", begun.elapsed().as_secs_f64());
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
