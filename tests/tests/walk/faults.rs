//! Every call of a scenario, with every fault, and every pair of which the second hits the clean-up after the first.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_sim::Consistency;
use ovenbird_testkit::walk::{
    machine::{End, MOST_EVENTS},
    scenarios::{Pairs, Scenario},
};
use ovenbird_testkit::{Call, Fault};

use super::{
    ground::{Ground, Walked, walk_all},
    roles::{self, Needs},
    trace::{cleans_up, run, trace, word},
};

/// The faults of one walk: which call, and what becomes of it.
pub type Faults = Vec<(usize, Fault)>;

/// Which faults a walk had, and what was wrong with it.
pub struct Violation {
    /// The faults.
    pub faults: Faults,
    /// Its shortest trace.
    pub text: String,
}

/// What came of a scenario.
#[derive(Default)]
pub struct Tally {
    /// Calls of the scenario when nothing goes wrong.
    pub calls: usize,
    /// Walks with one fault.
    pub singles: usize,
    /// Walks with a second fault in the clean-up after the first.
    pub pairs: usize,
    /// How many pairs those stand for: walks that come to the clean-up's door alike are the same from there on.
    pub covered: usize,
    /// What IAM was asked for.
    pub needs: Needs,
    /// What was wrong.
    pub violations: Vec<Violation>,
}

/// The faults that are walked where answers lag: those after which nobody knows whether a thing was made or removed, and the
/// plainest of those that begin a clean-up. The others are the same as where they don't.
const UNKNOWN: &[Fault] =
    &[Fault::Refused, Fault::ReplyLost, Fault::DiesAfter, Fault::AlwaysDies, Fault::ExecutionEndsAfter];

/// The faults of a scenario.
fn faults_of(scenario: &Scenario) -> &'static [Fault] {
    match scenario.consistency {
        Consistency::AtOnce => &Fault::ALL,
        Consistency::Lagging { .. } | Consistency::Oldest => UNKNOWN,
    }
}

/// Walks a scenario: as it is, with every fault, and with every pair.
pub fn explore(scenario: Scenario, with_pairs: bool) -> Tally {
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
    let singles: Vec<Faults> =
        calls.flat_map(|call| faults_of(&scenario).iter().map(move |fault| vec![(call, *fault)])).collect();
    tally.singles = singles.len();
    // By door: the first faults that lead there, and the calls behind it.
    let mut doors: BTreeMap<String, (Faults, Vec<usize>)> = BTreeMap::new();
    // What goes on with an execution that is lost. Of a rollout that is one state; the rest of prune has its own scenarios.
    let goes_on = match scenario.pairs {
        Pairs::All | Pairs::None => "sweep-1",
        Pairs::OfEachState => "sweep-1/PickUpRollouts",
    };
    let hits = walk_all(scenario, &singles, |ground, faults| {
        let walked = ground.walk(faults, true);
        let lost = walked.ends.values().any(|end| *end == End::Lost);
        let behind = walked.calls.iter().enumerate().skip(faults[0].0 + 1);
        let own = run(&walked.calls[faults[0].0]);
        let behind = behind
            .filter(|(_, one)| cleans_up(one) && run(one) == own || lost && one.by.starts_with(goes_on));
        let mut behind: Vec<usize> = behind.map(|(number, _)| number).collect();
        if scenario.pairs == Pairs::OfEachState {
            behind = of_each_state(&walked.calls, behind);
        }
        let mut needs = Needs::new();
        roles::note(&mut needs, walked.calls.iter().chain(&walked.signed));
        (faults.clone(), behind, needs, violation(&walked, faults), walked.door)
    });
    let firsts = of_each_state(&plain.calls, (first..sweep).collect());
    for (faults, behind, needs, violation, door) in hits {
        roles::add(&mut tally.needs, needs);
        tally.violations.extend(violation);
        match scenario.pairs {
            Pairs::All => {
                tally.covered += behind.len() * Fault::ALL.len();
                doors.entry(door).or_insert((faults, behind));
            }
            Pairs::OfEachState if firsts.contains(&faults[0].0) => {
                tally.covered += behind.len() * Fault::ALL.len();
                doors.insert(format!("{:?}", faults[0]), (faults, behind));
            }
            Pairs::OfEachState | Pairs::None => {}
        }
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
    let wrong = walk_all(scenario, &pairs, |ground, faults| violation(&ground.walk(faults, false), faults));
    tally.violations.extend(wrong.into_iter().flatten());
    tally
}

/// Of calls at the same place of the same state, the first: those of its first visit.
fn of_each_state(calls: &[Call], numbers: Vec<usize>) -> Vec<usize> {
    let place = |number: usize| {
        let state = calls[number].by.split('#').next();
        let visit = calls[..number].iter().rev().take_while(|one| one.by == calls[number].by).count();
        (state, visit)
    };
    let mut seen = BTreeSet::new();
    numbers.into_iter().filter(|number| seen.insert(place(*number))).collect()
}

fn violation(walked: &Walked, faults: &Faults) -> Option<Violation> {
    let marks: Vec<(usize, String)> =
        faults.iter().map(|(call, fault)| (*call, format!("{fault:?}"))).collect();
    trace(walked, &marks).map(|text| Violation { faults: faults.clone(), text })
}
