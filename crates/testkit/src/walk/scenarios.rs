//! All that is walked.

use ovenbird_sim::{Consistency, Lack, Validation};

use crate::Fitness;

pub use super::scenario::{Follows, Machines, Pairs, Run, Scenario, Steer, Thing, Times};

const BUILDER: &str = r#"
[builder]
instance-types = ["c7i.large"]
"#;

/// One builder of the pipeline at a time.
const ONE_AT_A_TIME: &str = r#"
[builder]
instance-types = ["c7i.large"]
concurrency = 1
"#;

/// A builder with everything that a recipe may choose of it.
const CHOSEN: &str = r#"
[builder]
instance-types = ["c7i.large", "m7i.large"]
spot = true
volume = { gib = 20, type = "gp3", iops = 4000, kms-key = "alias/images" }
instance-profile = "own"
tags = { team = "shop" }
"#;

/// An image that nothing needs is deregistered at once.
const AT_ONCE: &str = "soak = 0\n";

/// It goes by stages, a week each, also if it is shared with others.
pub(super) const STAGED: &str = "soak = 7\nretire-shared = true\n";

/// The seconds of so many days.
pub(super) const fn days(days: u64) -> u64 {
    days * 24 * 3600
}

/// Short ones, so that what never comes is given up soon.
pub(super) const DEADLINES: &str = r#"
[deadlines]
builder = "5m"
validation = "2m"
imaging = "5m"
promotion = "1m"
"#;

/// Long enough for a parameter that SSM validates, and drops a few times.
const PATIENT: &str = r#"
[deadlines]
builder = "5m"
validation = "2m"
imaging = "5m"
promotion = "15m"
"#;

/// As short as it goes: what is walked ten thousand times.
pub const SHORT: Times = Times { boot: 2, steps: 1, tests: 1, seal: 1, imaging: 2 };

/// The way of most bakes.
pub const PLAIN: Scenario = Scenario {
    name: "an upload, baked and promoted",
    machines: Machines::Work,
    times: SHORT,
    parameters: Validation::AT_ONCE,
    consistency: Consistency::AtOnce,
    lack: None,
    builder: BUILDER,
    recipe: "",
    promote: "",
    soak: AT_ONCE,
    deadlines: DEADLINES,
    layered: false,
    follows: Follows::Parameter,
    fitness: Fitness::Well,
    lying: &[],
    before: &[],
    retired: 0,
    lost: None,
    then: "",
    runs: &[(0, Run::Upload("v1.jar"))],
    only: &[],
    pairs: Pairs::All,
    ends: "promoted",
};

/// A second version, whose bake hands it over to a rollout. All before that is as in every other bake.
const ROLLED: Scenario = Scenario {
    follows: Follows::Group(2),
    before: &["v1.jar"],
    runs: &[(0, Run::Upload("v2.jar"))],
    only: &["production-"],
    pairs: Pairs::None,
    ends: "validated",
    ..PLAIN
};

/// A person takes back an image that is disabled, and asks once more ten minutes later, whatever became of the first time.
const TAKEN_BACK: Scenario = Scenario {
    name: "a person takes back an image that is disabled",
    soak: STAGED,
    before: &["v1.jar", "v2.jar", "v3.jar"],
    retired: 2,
    runs: &[(0, Run::Undo("v1.jar")), (600, Run::Undo("v1.jar"))],
    only: &["run-0/"],
    pairs: Pairs::None,
    ends: "succeeded",
    ..PLAIN
};

/// More of a recipe, that makes no other image.
pub(super) const MORE_TESTS: &str = "[[test]]\nname = \"more\"\ncommand = \"true\"\n";

/// All that is walked.
pub const SCENARIOS: &[Scenario] = &[
    PLAIN,
    Scenario {
        name: "a second version over the first",
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        ..PLAIN
    },
    Scenario {
        name: "a parameter that SSM validates for a while",
        parameters: Validation { shortest: 20, longest: 120, dropped: 0, seed: 1 },
        deadlines: PATIENT,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        // All before that is as in every other bake.
        only: &["/Promote", "/LookAtPromotion", "/CleanUp", "/StartChildren"],
        ..PLAIN
    },
    Scenario {
        name: "a second promotion while SSM validates the first, which it drops",
        parameters: Validation { shortest: 10, longest: 30, dropped: 300, seed: 2 },
        deadlines: PATIENT,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar")), (5, Run::Upload("v3.jar"))],
        // The first of the two is as in the scenario before.
        only: &["run-1/Promote", "run-1/LookAtPromotion", "run-1/CleanUp"],
        pairs: Pairs::None,
        ..PLAIN
    },
    Scenario {
        name: "a rollout whose parameter SSM validates for a while",
        parameters: Validation { shortest: 20, longest: 90, dropped: 200, seed: 3 },
        follows: Follows::Group(1),
        only: &["/Settle", "/Revert", "/Finish"],
        ..ROLLED
    },
    Scenario {
        name: "a launch template that follows",
        follows: Follows::Template,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        ..PLAIN
    },
    Scenario {
        name: "by hand, the newest artifact, not promoted",
        before: &["v1.jar"],
        runs: &[(0, Run::Manual(r#"{"pipeline": "storefront", "force": true, "promote": false}"#))],
        ends: "validated",
        ..PLAIN
    },
    Scenario {
        name: "an unchanged artifact, reused",
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v1.jar"))],
        ..PLAIN
    },
    Scenario {
        name: "a failing step",
        machines: Machines::FailAStep,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        ends: "StepFailed",
        ..PLAIN
    },
    Scenario {
        name: "a failing test",
        machines: Machines::FailATest,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        ends: "TestsFailed",
        ..PLAIN
    },
    Scenario {
        name: "a builder stopped in the middle of its seal",
        machines: Machines::StopInTheSeal,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        only: &["/Seal", "/LookAtSealed"],
        ends: "BuilderLost",
        ..PLAIN
    },
    Scenario {
        name: "a seal whose report is lost",
        machines: Machines::CannotReportTheSeal,
        before: &["v1.jar"],
        runs: &[(0, Run::Upload("v2.jar"))],
        only: &["/Seal", "/LookAtSealed"],
        ends: "BuilderSilent",
        ..PLAIN
    },
    Scenario {
        name: "a builder that is never heard of",
        machines: Machines::AreSilent,
        runs: &[(0, Run::Upload("v1.jar"))],
        ends: "BuilderSilent",
        ..PLAIN
    },
    Scenario {
        name: "a builder that boots in the middle of its steps",
        machines: Machines::BootInAStep,
        runs: &[(0, Run::Upload("v1.jar"))],
        only: &["/LookAtBuilder"],
        ..PLAIN
    },
    Scenario {
        name: "a builder that falls silent",
        machines: Machines::FallSilent,
        runs: &[(0, Run::Upload("v1.jar"))],
        only: &["/RunValidation", "/LookAtValidation"],
        ends: "BuilderSilent",
        ..PLAIN
    },
    Scenario {
        name: "tests on a fresh instance too",
        recipe: "[validate]\nboot = true\n",
        runs: &[(0, Run::Upload("v1.jar"))],
        ..PLAIN
    },
    Scenario { name: "a spot builder, imaged running", builder: CHOSEN, ..PLAIN },
    Scenario {
        name: "a spot builder that is taken back",
        builder: CHOSEN,
        machines: Machines::AreTakenBack,
        runs: &[(0, Run::Upload("v1.jar"))],
        only: &["/LookAtBuilder"],
        ends: "BuilderLost",
        ..PLAIN
    },
    Scenario { name: "no spot capacity, so on demand", builder: CHOSEN, lack: Some(Lack::Capacity), ..PLAIN },
    Scenario { name: "twins", runs: &[(0, Run::Upload("v1.jar")), (2, Run::Upload("v1.jar"))], ..PLAIN },
    Scenario {
        name: "an older artifact that ends later",
        runs: &[(0, Run::Upload("v1.jar")), (1, Run::Upload("v2.jar"))],
        ..PLAIN
    },
    Scenario {
        name: "of three uploads while one is baked, the newest",
        builder: ONE_AT_A_TIME,
        runs: &[(0, Run::Upload("v1.jar")), (1, Run::Upload("v2.jar")), (2, Run::Upload("v3.jar"))],
        // The first has its builder as every bake has.
        only: &["run-1/", "run-2/LaunchBuilder", "run-2/LookForTwin", "run-2/TakeOver", "run-0/CleanUp"],
        pairs: Pairs::OfEachState,
        ..PLAIN
    },
    Scenario {
        name: "only the tests changed",
        before: &["v1.jar"],
        then: MORE_TESTS,
        runs: &[(0, Run::Manual(r#"{"pipeline": "storefront"}"#))],
        ..PLAIN
    },
    Scenario {
        name: "only the tests changed, and the image fails",
        machines: Machines::FailATest,
        before: &["v1.jar"],
        then: MORE_TESTS,
        runs: &[(0, Run::Manual(r#"{"pipeline": "storefront"}"#))],
        ends: "TestsFailed",
        ..PLAIN
    },
    Scenario {
        name: "a promotion bakes what stands on it",
        layered: true,
        before: &["v1.jar"],
        runs: &[(0, Run::Manual(r#"{"pipeline": "jvm-runtime", "force": true}"#))],
        // All between them is as in every other bake.
        only: &["/StartChildren", "-after-"],
        ..PLAIN
    },
    Scenario {
        name: "a recipe is pushed that stands on another pipeline",
        runs: &[(0, Run::Push)],
        ends: "succeeded",
        ..PLAIN
    },
    Scenario {
        name: "a failing step, and the builder kept",
        machines: Machines::FailAStep,
        before: &["v1.jar"],
        runs: &[(0, Run::Manual(r#"{"pipeline": "storefront", "force": true, "keep-builder": true}"#))],
        ends: "StepFailed",
        ..PLAIN
    },
    Scenario {
        name: "a missing artifact",
        runs: &[(0, Run::Manual(r#"{"artifact": "artifacts/storefront/missing.jar"}"#))],
        ends: "NoArtifact",
        ..PLAIN
    },
    Scenario {
        name: "a version rolled out to three machines",
        follows: Follows::Group(3),
        only: &[],
        ..ROLLED
    },
    Scenario {
        name: "a version rolled out to one machine",
        follows: Follows::Group(1),
        pairs: Pairs::OfEachState,
        ..ROLLED
    },
    Scenario {
        name: "a version rolled out to a group of mixed instances",
        follows: Follows::Mixed(2),
        pairs: Pairs::None,
        ..ROLLED
    },
    Scenario {
        name: "a rollout aborted by a person",
        runs: &[(70, Run::Steer(Steer::Abort)), (0, Run::Upload("v2.jar"))],
        ..ROLLED
    },
    Scenario {
        name: "a version that a person approves",
        follows: Follows::Asked(2),
        runs: &[(120, Run::Steer(Steer::Resume)), (0, Run::Upload("v2.jar"))],
        ..ROLLED
    },
    Scenario {
        name: "a channel rolled back by a person",
        before: &["v1.jar", "v2.jar"],
        runs: &[(0, Run::Steer(Steer::RollBack))],
        ends: "done",
        ..ROLLED
    },
    Scenario {
        name: "two versions, one rollout after the other",
        runs: &[(0, Run::Upload("v2.jar")), (40, Run::Upload("v3.jar"))],
        only: &["/Finish", "/Promote", "/Begin"],
        ..ROLLED
    },
    Scenario { name: "a version that answers 500, rolled back", fitness: Fitness::Answers(500), ..ROLLED },
    Scenario {
        name: "a version that dies after a while, rolled back",
        fitness: Fitness::DiesAfter(70),
        ..ROLLED
    },
    Scenario { name: "a version that takes over blue-green", follows: Follows::Pair(2), ..ROLLED },
    Scenario {
        name: "a version that answers 500, blue-green",
        follows: Follows::Pair(2),
        fitness: Fitness::Answers(500),
        ..ROLLED
    },
    Scenario {
        name: "a blue-green rollout aborted while the old machines are kept",
        follows: Follows::Pair(2),
        runs: &[(190, Run::Steer(Steer::Abort)), (0, Run::Upload("v2.jar"))],
        ..ROLLED
    },
    Scenario {
        name: "the scheduled prune retires an image",
        before: &["v1.jar", "v2.jar", "v3.jar"],
        runs: &[(0, Run::Prune)],
        ends: "succeeded",
        ..PLAIN
    },
    Scenario {
        name: "prune retires an image by stages, a week each",
        soak: STAGED,
        before: &["v1.jar", "v2.jar", "v3.jar"],
        runs: &[(0, Run::Prune), (days(8), Run::Prune), (days(16), Run::Prune)],
        ends: "succeeded",
        ..PLAIN
    },
    Scenario {
        name: "prune restores an image that is named again",
        soak: STAGED,
        before: &["v1.jar", "v2.jar", "v3.jar"],
        runs: &[
            (0, Run::Share("v1.jar")),
            (days(1), Run::Prune),
            (days(9), Run::Prune),
            (days(10), Run::Name("v1.jar")),
            (days(11), Run::Prune),
        ],
        ends: "succeeded",
        ..PLAIN
    },
    TAKEN_BACK,
    Scenario { name: "a person takes an image out of the Recycle Bin", retired: 3, ..TAKEN_BACK },
    Scenario {
        name: "two people take an image out of the Recycle Bin, seconds apart",
        retired: 3,
        runs: &[(0, Run::Undo("v1.jar")), (3, Run::Undo("v1.jar")), (600, Run::Undo("v1.jar"))],
        only: &["run-1/"],
        ..TAKEN_BACK
    },
    // Each rollout leaves a version that names its image. The run after the one that deletes it takes the image.
    Scenario {
        name: "prune deletes the versions of old rollouts, then retires their images",
        before: &["v1.jar", "v2.jar", "v3.jar"],
        runs: &[(0, Run::Prune), (3_600, Run::Prune)],
        only: &["/RetireImage"],
        ends: "succeeded",
        ..ROLLED
    },
    Scenario {
        name: "prune deletes superseded versions a week later, and retires their images by stages",
        soak: STAGED,
        follows: Follows::Template,
        before: &["v1.jar", "v2.jar", "v3.jar"],
        runs: &[
            (0, Run::Prune),
            (days(8), Run::Prune),
            (days(9), Run::Prune),
            (days(17), Run::Prune),
            (days(25), Run::Prune),
        ],
        only: &["run-1/", "run-2/"],
        ends: "succeeded",
        ..PLAIN
    },
    Scenario {
        name: "the scheduled prune beside a bake",
        before: &["v1.jar", "v2.jar", "v3.jar"],
        runs: &[(0, Run::Upload("v4.jar")), (12, Run::Prune)],
        ends: "succeeded",
        ..PLAIN
    },
];
