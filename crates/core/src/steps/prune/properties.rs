//! The judge against an oracle that is slow, obviously right, and shares no code with it: it knows numbers only, and asks
//! of each image by itself.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use proptest::{
    collection::vec,
    option,
    prelude::*,
    test_runner::{Config, TestRunner},
};

use super::{Basis, Retention, Verdict, judge};
use crate::{
    domain::{
        id::{AmiId, BakeId, PipelineName},
        reference::{Kind, Reference},
        retirement::{Act, Retiring, Since},
        rollout::Template,
        tags,
        template::Standing,
    },
    ports::{Image, ImageState, Protection},
    steps::guard::{Reason, Terms},
};

const KINDS: [Kind; 13] = [
    Kind::Channel,
    Kind::Previous,
    Kind::Parameter,
    Kind::Instance,
    Kind::LaunchTemplate,
    Kind::AutoScalingGroup,
    Kind::LaunchConfiguration,
    Kind::Fleet,
    Kind::SpotFleet,
    Kind::Baking,
    Kind::Base,
    Kind::Recipe,
    Kind::Account,
];

/// An image in plain numbers. Hours are before now.
#[derive(Debug, Clone)]
struct Piece {
    pipeline: usize,
    age: i64,
    /// Available, pending, failed, disabled.
    state: usize,
    keep: bool,
    protected: bool,
    unrecorded: bool,
    running: bool,
    deprecated: bool,
    named: BTreeSet<usize>,
    /// Versions of launch templates that name it, each superseded or not.
    versions: Vec<bool>,
    launched: Option<i64>,
    /// Deprecated, disabled, undone, out of the Recycle Bin; and since when.
    retiring: Option<(usize, i64)>,
}

/// What a pipeline's recipe says, in numbers.
#[derive(Debug, Clone)]
struct Says {
    newest: usize,
    days: i64,
    soak: i64,
}

#[derive(Debug, Clone)]
struct Account {
    pieces: Vec<Piece>,
    /// None without a recipe.
    recipes: Vec<Option<Says>>,
    unreadable: Vec<bool>,
}

const PIPELINES: usize = 3;

fn piece() -> impl Strategy<Value = Piece> {
    let rare = || prop::bool::weighted(0.06);
    let flags = (rare(), rare(), rare(), rare(), any::<bool>());
    let named =
        prop_oneof![4 => Just(BTreeSet::new()), 1 => prop::collection::btree_set(0..KINDS.len(), 1..4)];
    let launched = prop_oneof![3 => Just(None), 1 => option::of(0_i64..1_500)];
    let retiring = option::of((0_usize..4, 0_i64..1_500));
    let state = prop_oneof![6 => Just(0_usize), 1 => 1_usize..4, 2 => Just(3)];
    let versions = prop_oneof![4 => Just(Vec::new()), 1 => vec(prop::bool::weighted(0.8), 1..4)];
    (0..PIPELINES, 0_i64..3_000, state, flags, named, versions, launched, retiring).prop_map(
        |(
            pipeline,
            age,
            state,
            (keep, protected, unrecorded, running, deprecated),
            named,
            versions,
            launched,
            retiring,
        )| {
            Piece {
                pipeline,
                age,
                state,
                keep,
                protected,
                unrecorded,
                running,
                deprecated,
                named,
                versions,
                launched,
                retiring,
            }
        },
    )
}

fn account() -> impl Strategy<Value = Account> {
    let soak = prop_oneof![1 => Just(0_i64), 4 => 1_i64..15];
    let says = (1_usize..5, 0_i64..60, soak).prop_map(|(newest, days, soak)| Says { newest, days, soak });
    let recipes = vec(prop::option::weighted(0.9, says), PIPELINES);
    (vec(piece(), 0..14), recipes, vec(prop::bool::weighted(0.05), PIPELINES))
        .prop_map(|(pieces, recipes, unreadable)| Account { pieces, recipes, unreadable })
}

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn ago(hours: i64) -> Timestamp {
    now() - SignedDuration::from_hours(hours)
}

fn id(number: usize) -> AmiId {
    AmiId::parse(&format!("ami-{number:017x}")).unwrap()
}

fn bake(number: usize) -> BakeId {
    BakeId::parse(&format!("bake-{number}")).unwrap()
}

fn pipeline(number: usize) -> PipelineName {
    PipelineName::parse(&format!("pipeline-{number}")).unwrap()
}

fn basis(account: &Account) -> Basis {
    let mut basis = Basis::default();
    for (number, piece) in account.pieces.iter().enumerate() {
        let states = [ImageState::Available, ImageState::Pending, ImageState::Failed, ImageState::Disabled];
        let mut own = BTreeMap::from([
            (tags::TAG_PIPELINE.to_owned(), pipeline(piece.pipeline).to_string()),
            (tags::TAG_BAKE.to_owned(), bake(number).to_string()),
        ]);
        if piece.keep {
            own.insert(tags::TAG_KEEP.to_owned(), String::new());
        }
        basis.images.push(Image {
            id: id(number),
            name: format!("image-{number}"),
            owner: String::new(),
            state: states[piece.state],
            reason: String::new(),
            created: ago(piece.age),
            architecture: "x86_64".to_owned(),
            root_device: None,
            gib: None,
            devices: Vec::new(),
            deprecated: piece.deprecated.then(now),
            protection: Protection::Off,
            imdsv2: false,
            launched: piece.launched.map(ago),
            snapshots: Vec::new(),
            tags: own,
        });
        if piece.protected {
            basis.protected.insert(id(number));
        }
        if piece.unrecorded {
            basis.unrecorded.insert(id(number));
        }
        if piece.running {
            basis.running.insert(bake(number));
        }
        for kind in &piece.named {
            basis.named.entry(id(number)).or_default().insert(Reference::new(KINDS[*kind], "somebody"));
        }
        for (count, superseded) in piece.versions.iter().enumerate() {
            let version = 100 * u64::try_from(number).unwrap() + u64::try_from(count).unwrap();
            let reference = Reference::version("web", version);
            basis.named.entry(id(number)).or_default().insert(reference.clone());
            let standing = if *superseded {
                Standing::Superseded(Template { id: "lt-1".into(), name: "web".into(), version })
            } else {
                Standing::Stays("it is the default one".into())
            };
            basis.versions.insert(reference, standing);
        }
        if let Some((stage, hours)) = piece.retiring {
            let stages = [Retiring::Deprecated, Retiring::Disabled, Retiring::Undone, Retiring::Returning];
            let stage = stages[stage];
            basis.retiring.insert(id(number), Since { stage, since: ago(hours) });
        }
    }
    for (number, says) in account.recipes.iter().enumerate() {
        if account.unreadable[number] {
            basis.unreadable.insert(pipeline(number));
        }
        if let Some(says) = says {
            let retention = Retention {
                newest: says.newest,
                age: SignedDuration::from_hours(24 * says.days),
                soak: SignedDuration::from_hours(24 * says.soak),
                terms: Terms { history: 1, shared: false },
            };
            basis.retention.insert(pipeline(number), retention);
        }
    }
    basis
}

/// How many images of the same pipeline can be started, are known to be good, and are newer than this one.
fn newer(account: &Account, number: usize) -> usize {
    let one = &account.pieces[number];
    let good = |piece: &Piece| piece.state == 0 && !piece.unrecorded && !piece.running;
    let all = account.pieces.iter().enumerate();
    all.filter(|(_, piece)| piece.pipeline == one.pipeline && good(piece))
        .filter(|(other, piece)| piece.age < one.age || piece.age == one.age && *other > number)
        .count()
}

/// How many reasons there are to keep an image, and whether one of them is that somebody needs it.
fn reasons(account: &Account, number: usize) -> (usize, bool) {
    let piece = &account.pieces[number];
    let mut doubts = 0;
    let mut needs = 0;
    doubts += usize::from(piece.unrecorded);
    doubts += usize::from(piece.protected);
    doubts += usize::from(account.unreadable[piece.pipeline]);
    needs += usize::from(piece.keep);
    needs += piece.named.len();
    needs += piece.versions.len();
    needs += usize::from(piece.running);
    match &account.recipes[piece.pipeline] {
        None => doubts += 1,
        Some(says) => {
            let good = piece.state == 0 && !piece.unrecorded && !piece.running;
            needs += usize::from(good && newer(account, number) < says.newest);
            needs += usize::from(piece.age < says.days * 24);
            let late = if says.soak == 0 { 0 } else { 24 };
            needs += usize::from(piece.launched.is_some_and(|hours| hours < says.soak * 24 + late));
        }
    }
    (doubts + needs, needs > 0)
}

/// Whether superseded versions are all there is to keep an image.
fn only_superseded(account: &Account, number: usize) -> bool {
    let versions = &account.pieces[number].versions;
    !versions.is_empty() && versions.iter().all(|one| *one) && reasons(account, number).0 == versions.len()
}

/// What the oracle says is to be done.
fn expected(account: &Account, number: usize) -> Act {
    let piece = &account.pieces[number];
    let (reasons, needed) = reasons(account, number);
    let on_its_way = matches!(piece.retiring, Some((0 | 1 | 3, _)));
    if only_superseded(account, number) {
        return match piece.retiring {
            Some((2, hours)) if hours < 30 * 24 => Act::Wait,
            Some((3, _)) => Act::Restore,
            _ => Act::DeleteVersions,
        };
    }
    if reasons > 0 {
        return if needed && on_its_way { Act::Restore } else { Act::Keep };
    }
    let soak = account.recipes[piece.pipeline].as_ref().unwrap().soak * 24;
    match piece.retiring {
        Some((3, _)) => Act::Restore,
        Some((2, hours)) if hours < 30 * 24 => Act::Wait,
        _ if soak == 0 => Act::Deregister,
        None => Act::Deprecate,
        Some((0, _)) if !piece.deprecated => Act::Restore,
        Some((1, _)) if piece.state != 3 => Act::Restore,
        Some((0, hours)) => {
            if hours >= soak {
                Act::Disable
            } else {
                Act::Wait
            }
        }
        Some((1, hours)) => {
            if hours >= soak {
                Act::Deregister
            } else {
                Act::Wait
            }
        }
        Some(_) => Act::Deprecate,
    }
}

fn check(account: &Account) -> Result<(), TestCaseError> {
    let verdicts = judge(&basis(account), now());
    prop_assert_eq!(verdicts.len(), account.pieces.len());
    for number in 0..account.pieces.len() {
        let mine: Vec<&Verdict> = verdicts.iter().filter(|one| one.image == id(number)).collect();
        prop_assert_eq!(mine.len(), 1);
        let verdict = mine[0];
        prop_assert_eq!(verdict.act, expected(account, number), "{}: {:?}", number, verdict);
        let (reasons, _) = reasons(account, number);
        // All reasons are told; where there is none, one says so. One that was taken back waits for that, too, and one that
        // comes back is first made as it was.
        let back = verdict.act == Act::Restore && only_superseded(account, number);
        let waits = usize::from(back || verdict.act == Act::Wait && reasons > 0);
        prop_assert_eq!(1 + verdict.also.len(), reasons.max(1) + waits, "{:?}", verdict);
        let deletes: Vec<u64> = verdict.versions.iter().map(|one| one.version).collect();
        let mine = |count: usize| u64::try_from(100 * number + count).unwrap();
        let all: Vec<u64> = (0..account.pieces[number].versions.len()).map(mine).collect();
        let goes = verdict.act == Act::DeleteVersions;
        prop_assert_eq!(deletes, if goes { all } else { Vec::new() });
        prop_assert_eq!(goes, verdict.reason == Reason::Superseded);
        let goes = matches!(verdict.act, Act::Deprecate | Act::Disable | Act::Deregister);
        prop_assert_eq!(goes, verdict.reason == Reason::Retired);
        prop_assert_eq!(verdict.until.is_some(), verdict.act == Act::Wait);
        prop_assert!(verdict.until.is_none_or(|until| until > now()));
    }
    Ok(())
}

fn run(cases: u32) {
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    runner.run(&account(), |account| check(&account)).unwrap();
}

#[test]
fn no_image_in_use_goes_in_any_of_two_thousand_accounts() {
    run(2_000);
}

#[test]
#[ignore = "takes a minute"]
fn no_image_in_use_goes_in_any_of_a_hundred_thousand_accounts() {
    run(100_000);
}

/// Fewer reasons never keep more: what goes with a reference goes without it.
#[test]
fn one_more_reference_never_lets_an_image_go() {
    let mut runner = TestRunner::new(Config { cases: 500, failure_persistence: None, ..Config::default() });
    let cases = (account(), any::<prop::sample::Index>(), 0..KINDS.len());
    runner
        .run(&cases, |(account, which, kind)| {
            prop_assume!(!account.pieces.is_empty());
            let mut more = account;
            let number = which.index(more.pieces.len());
            more.pieces[number].named.insert(kind);
            let verdicts = judge(&basis(&more), now());
            let verdict = verdicts.iter().find(|one| one.image == id(number)).unwrap();
            prop_assert!(matches!(verdict.act, Act::Keep | Act::Restore), "{:?}", verdict);
            Ok(())
        })
        .unwrap();
}
