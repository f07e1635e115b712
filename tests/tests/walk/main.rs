//! The walk: for every call of every step, every fault, and for every fault another one in the clean-up after it; and
//! for two that can meet, the other whole between any two calls of the one.
//!
//! The real state machines are walked with the real functions on the world, in virtual time. After each walk the
//! slate must be clean: `slate.rs` says what that is.

mod children;
mod faults;
mod ground;
mod lagging;
mod meet;
mod roles;
mod slate;
mod strangers;
mod told;
mod trace;

use std::{collections::BTreeMap, process::ExitCode, time::Instant};

use ovenbird_testkit::walk::{
    cost,
    machine::{MOST_BYTES, MOST_EVENTS},
    meetings::MEETINGS,
    scenarios::SCENARIOS,
};

use self::{roles::Needs, trace::word};

/// A walk makes and drops a whole account: with the system's allocator it takes half as long again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
    let (mut cases, mut covered, mut meetings, mut failed, mut passed) = (0, 0, 0, 0, 0);
    let mut needs = Needs::new();
    let mut shown = BTreeMap::new();
    let mut judge = |name: &'static str, wrong: Option<String>| match wrong {
        Some(wrong) => {
            failed += 1;
            shown.insert(name, wrong);
        }
        None => passed += 1,
    };
    let scenarios = SCENARIOS.iter().copied().chain(lagging::scenarios());
    for scenario in scenarios.filter(|one| filter.is_none_or(|filter| one.name.contains(filter.as_str()))) {
        let start = Instant::now();
        let mut tally = faults::explore(scenario, with_pairs);
        println!(
            "walk {:55} {:4} calls {:5} faults {:6} pairs (for {:6}) {:4} violations {:6.1} s",
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
    let meetings_of = MEETINGS.iter().copied().chain(lagging::meetings());
    let chosen =
        meetings_of.filter(|one| filter.is_none_or(|filter| one.scenario.name.contains(filter.as_str())));
    for meeting in chosen {
        let start = Instant::now();
        let met = meet::explore(&meeting);
        println!(
            "walk {:68} {:4} meetings ({} too late) {:4} violations {:6.1} s",
            meeting.scenario.name,
            met.walks,
            met.too_late,
            met.wrong,
            start.elapsed().as_secs_f64()
        );
        meetings += met.walks;
        roles::add(&mut needs, met.needs);
        judge(meeting.scenario.name, met.first);
    }
    for strange in
        strangers::STRANGE.iter().filter(|one| filter.is_none_or(|filter| one.name.contains(filter.as_str())))
    {
        let start = Instant::now();
        let (walks, wrong) = strangers::explore(strange);
        println!("walk {:68} {walks:4} faults {:6.1} s", strange.name, start.elapsed().as_secs_f64());
        cases += walks;
        covered += walks;
        judge(strange.name, wrong);
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
    println!(
        "walk: {} walks, {meetings} of them meetings, standing for {} cases, in {:.1} s",
        cases + meetings,
        covered + meetings,
        begun.elapsed().as_secs_f64()
    );
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "test result: {result}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
