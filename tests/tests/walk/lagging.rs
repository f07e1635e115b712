//! The scenarios once more, with answers that show what was made and removed only after a while.

use ovenbird_sim::Consistency;
use ovenbird_testkit::walk::{
    meetings::{MEETINGS, Meeting},
    scenarios::{Follows, Pairs, Run, SCENARIOS, Scenario},
};

/// What a name ends with where answers lag: `walk "(lagging)"` walks these alone.
const LAGGING: &str = " (lagging)";

/// Those in which something is made or removed, each in another way, and the ways of a rollout. What else there is waits for
/// reports: no look of theirs depends on what was just made.
const WALKED: &[&str] = &[
    "an upload, baked and promoted",
    "a launch template that follows",
    "an unchanged artifact, reused",
    "a failing test",
    "tests on a fresh instance too",
    "twins",
    "only the tests changed",
    "only the tests changed, and the image fails",
    "a failing step, and the builder kept",
    "the scheduled prune retires an image",
    "prune deletes the versions of old rollouts, then retires their images",
    "the scheduled prune beside a bake",
    "a version rolled out to three machines",
    "a rollout aborted by a person",
    "a version that answers 500, rolled back",
    "a version that takes over blue-green",
    "two people take an image out of the Recycle Bin, seconds apart",
];

/// These with answers that lag, each by a seed of its own.
///
/// Pairs are left out: what a second fault does to a clean-up is the same.
pub fn scenarios() -> impl Iterator<Item = Scenario> {
    (1..).zip(WALKED).map(|(seed, walked)| {
        let scenario = SCENARIOS.iter().find(|one| one.name == *walked).expect("a scenario of that name");
        // A walk makes a handful of these, and ends with its program.
        let name = Box::leak(format!("{walked}{LAGGING}").into_boxed_str());
        // The bake beside prune is as every other one.
        let beside_a_bake = matches!(scenario.runs, [(_, Run::Upload(_)), (_, Run::Prune)]);
        let only = if beside_a_bake {
            &["run-1/"]
        } else if matches!(scenario.follows, Follows::Pair(_)) {
            // What a pair is looked at for in between lags nowhere.
            &["/Begin", "/Settle", "/Finish"]
        } else {
            scenario.only
        };
        Scenario { name, only, consistency: Consistency::Lagging { seed }, pairs: Pairs::None, ..*scenario }
    })
}

/// The meetings in which one removes or moves what the other may not see yet.
///
/// Not the one in which somebody starts an instance of an image that goes at once: within its lag, EC2 shows that instance to
/// nobody. With stages, the image is disabled by then, and none can be started.
const MET: &[&str] = &[
    "a promotion, and a newer one meanwhile",
    "a rollback by upload, and the same again meanwhile",
    "prune, and a bake meanwhile",
    "a bake, and prune meanwhile",
    "prune, and a rollback by upload meanwhile",
    "prune, and prune again meanwhile",
    "prune finishes a promotion that died, and a newer one meanwhile",
    "prune reaps a dead bake, and its artifact is baked again meanwhile",
    "an old image tested again, and prune meanwhile",
    "a rollout, and a newer version meanwhile",
    "a rollout, and a rollback by a person meanwhile",
];

/// These with answers that lag, each by a seed of its own.
pub fn meetings() -> impl Iterator<Item = Meeting> {
    (101..).zip(MET).map(|(seed, met)| {
        let meeting = MEETINGS.iter().find(|one| one.scenario.name == *met).expect("a meeting of that name");
        let name = Box::leak(format!("{met}{LAGGING}").into_boxed_str());
        let scenario = Scenario { name, consistency: Consistency::Lagging { seed }, ..meeting.scenario };
        Meeting { scenario, ..*meeting }
    })
}
