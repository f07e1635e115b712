//! Removals while some answers of EC2 show what was so a moment ago, and others do not: by many seeds, because which answer
//! is which is chance.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error,
    domain::bake::{Document, Failure, Stage, Status, To},
    ports::{Builders as _, Retirement as _},
    steps::{
        clean_up,
        guard::{Guard, Purpose},
        launch_builder, poll_readiness, promote, prune, snapshot,
    },
};
use ovenbird_sim::Consistency;
use ovenbird_testkit::{
    Fault,
    walk::{
        account,
        machine::{Diary, End},
        scenarios::{Follows, PLAIN, Run, Scenario},
    },
};

use super::{
    bench::{Bench, RECIPE, store},
    desk::{Desk, TWO},
};

/// So many accounts, each with other answers.
const SEEDS: std::ops::Range<u64> = 0..40;

const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// From now on answers lag by this seed.
fn lag(bench: &Bench, seed: u64) {
    bench.cloud.answer_by(Consistency::Lagging { seed });
}

/// A sealed bake, of which the image comes next.
fn sealed(bench: &Bench) -> Document {
    let document = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap();
    let document = bench.build(document, 0, true).unwrap();
    let document = block_on(snapshot::seal(document, &bench.cloud, bench.cloud.now())).unwrap();
    bench.poll(document).unwrap()
}

fn imaged(bench: &Bench, sealed: Document) -> Document {
    let document = block_on(snapshot::create_image(sealed, &bench.cloud, bench.cloud.now())).unwrap();
    bench.poll(document).unwrap()
}

/// An account with a bake whose image is there, of which an instance is to test itself.
fn to_verify() -> (Bench, Document) {
    let bench = Bench::new();
    bench.push(&RECIPE.replace("[promote]", "[validate]\nboot = true\n[promote]"));
    let document = imaged(&bench, sealed(&bench));
    assert_eq!(document.next.to, To::Verify);
    (bench, document)
}

/// And does.
fn verified() -> (Bench, Document) {
    let (bench, document) = to_verify();
    let document = block_on(launch_builder::verify(document, &bench.cloud, bench.cloud.now())).unwrap();
    (bench, document)
}

/// Cleans up after the failed bake, once; gives what stays.
fn clean_up(bench: &Bench) -> Result<Vec<String>, Error> {
    let record = bench.record("storefront-1");
    let failure = Failure { error: "ImageFailed".into(), cause: String::new(), stage: record.progress.stage };
    let (id, cloud) = (record.spec.id.clone(), &bench.cloud);
    let cleaned = clean_up::after_failure(&id, Some(record), Some(failure), false, cloud, cloud.now());
    block_on(cleaned).map(|cleaned| cleaned.kept.iter().map(|kept| format!("{kept:?}")).collect())
}

/// Does it again and again, as the state machine and prune do.
fn done<T>(bench: &Bench, seed: u64, act: impl Fn(&Bench) -> Result<T, Error>) -> T {
    for _ in 0..40 {
        match act(bench) {
            Ok(done) => return done,
            Err(Error::Unseen { .. }) => bench.cloud.pass(SECOND * 30),
            // What is gone may be refused as not allowed, by an EC2 that still shows it.
            Err(Error::TryAgain { .. }) => bench.cloud.pass(SECOND * 3),
            Err(other) => panic!("seed {seed}: {other}"),
        }
    }
    panic!("seed {seed}: it has no end");
}

/// Cleans up; then nothing is left.
fn assert_cleans_up(bench: &Bench, seed: u64) {
    assert_eq!(done(bench, seed, clean_up), [""; 0], "seed {seed}");
    bench.cloud.answer_by(Consistency::AtOnce);
    bench.cloud.pass(SECOND * 300);
    bench.assert_clean(0);
}

/// Lets the first snapshot not be deleted when this is done for the first time.
fn refuse_snapshot<T>(bench: &Bench, act: impl Fn(&Bench) -> T) {
    // Which call that is, is seen on a copy of the account.
    let copy = Bench { cloud: bench.cloud.clone(), deliveries: 1 };
    let before = copy.cloud.calls().len();
    act(&copy);
    let calls = &copy.cloud.calls()[before..];
    let call = calls.iter().position(|call| call.actions[0] == "ec2:DeleteSnapshot").unwrap();
    bench.cloud.inject(before + call, Fault::Refused);
}

#[test]
fn a_snapshot_whose_image_an_earlier_try_removed_goes_though_ec2_shows_the_image() {
    for seed in SEEDS {
        let bench = Bench::new();
        imaged(&bench, sealed(&bench));
        // EC2 shows by now whatever was made: nobody waits for it any more.
        bench.cloud.pass(SECOND * 200);
        lag(&bench, seed);
        refuse_snapshot(&bench, clean_up);
        assert_eq!(clean_up(&bench).unwrap_err().name(), "LeftBehind");
        assert_cleans_up(&bench, seed);
    }
}

#[test]
fn a_retired_image_s_snapshot_goes_with_the_second_try_though_ec2_shows_the_image() {
    for seed in SEEDS {
        let bench = Bench::new();
        let old = bench.bake("storefront-1", &bench.upload("v1.jar"));
        bench.bake("storefront-2", &bench.upload("v2.jar"));
        bench.bake("storefront-3", &bench.upload("v3.jar"));
        bench.cloud.pass(SECOND * 60);
        let plan = bench.plan();
        let [verdict] = plan.retire.as_slice() else { panic!("{plan:?}") };
        assert_eq!(Some(&verdict.image), old.progress.image.as_ref());
        lag(&bench, seed);
        let retire = |bench: &Bench| block_on(prune::retire(verdict, &bench.cloud, bench.cloud.now()));
        refuse_snapshot(&bench, retire);
        retire(&bench).unwrap_err();
        done(&bench, seed, retire);
        bench.cloud.answer_by(Consistency::AtOnce);
        bench.cloud.pass(SECOND * 60);
        assert_eq!(block_on(bench.cloud.snapshots(Some(&old.spec.id))).unwrap().len(), 0, "seed {seed}");
    }
}

#[test]
fn an_instance_that_was_terminated_a_moment_ago_keeps_no_image() {
    // It is in no record, because the reply to its launch was lost, and has its tags.
    for seed in SEEDS {
        let (bench, document) = verified();
        let mut bake = document.bake;
        bake.progress.booted = None;
        store(&bench.cloud, &bake);
        bench.cloud.pass(SECOND * 60);
        lag(&bench, seed);
        assert_cleans_up(&bench, seed);
    }
}

/// EC2's own word on who uses an image names an instance that no list shows yet.
#[test]
fn an_instance_of_the_record_keeps_no_image_though_no_list_shows_it_as_the_bake_s() {
    let (bench, document) = to_verify();
    bench.cloud.pass(SECOND * 60);
    bench.cloud.answer_by(Consistency::Oldest);
    let bake = block_on(launch_builder::verify(document, &bench.cloud, bench.cloud.now())).unwrap().bake;
    let image = bench.image(bake.image().unwrap()).unwrap();
    bench.cloud.refer(&image.id, "Instance", bake.progress.booted.as_ref().unwrap().as_str());
    let kept = block_on(Guard::new(&bench.cloud).keeps(&image, Some(&bake), Purpose::CleanUp)).unwrap();
    assert_eq!(kept, None);
}

/// A list may show an instance that EC2 has forgotten, and then who terminates it may not.
#[test]
fn an_instance_that_ec2_has_forgotten_counts_as_terminated() {
    let bench = Bench::new();
    let bake = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap().bake;
    let listed = block_on(bench.cloud.of_bake(&bake.spec.id)).unwrap().remove(0);
    let terminate = || block_on(Guard::new(&bench.cloud).terminate(&listed, Some(&bake)));
    terminate().unwrap();
    // EC2 shows a terminated one for an hour.
    bench.cloud.pass(SECOND * 2 * 3600);
    let now = bench.cloud.now();
    bench.cloud.with(|world| world.tick(now));
    bench.cloud.answer_by(Consistency::Oldest);
    block_on(bench.cloud.terminate(&listed.id)).unwrap_err();
    assert_eq!(terminate().unwrap(), None);
}

#[test]
fn a_builder_that_ec2_does_not_show_yet_is_not_lost() {
    for seed in SEEDS {
        let bench = Bench::new();
        lag(&bench, seed);
        let document = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap();
        assert_eq!(bench.look(&document).unwrap().next.to, To::Wait, "seed {seed}");
        // Nor where it seals itself by then.
        let bench = Bench::new();
        bench.cloud.answer_by(Consistency::Oldest);
        let mut document = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap();
        document.bake.progress.enter(Stage::Seal, bench.cloud.now());
        let looked = block_on(poll_readiness::run(document, &bench.cloud, bench.cloud.now()));
        assert!(!looked.is_err_and(|error| error.name() == "BuilderLost"), "seed {seed}");
    }
}

#[test]
fn an_image_that_ec2_shows_as_pending_once_more_is_promoted_all_the_same() {
    for seed in SEEDS {
        let bench = Bench::new();
        let sealed = sealed(&bench);
        lag(&bench, seed);
        let bake = imaged(&bench, sealed).bake;
        let promote = |bench: &Bench| {
            block_on(promote::run(bake.clone().go(To::Promote), &bench.cloud, bench.cloud.now()))
        };
        assert_eq!(done(&bench, seed, promote).ends, Some(Status::Promoted), "seed {seed}");
    }
}

#[test]
fn a_base_that_ec2_shows_as_pending_once_more_is_baked_on() {
    for seed in SEEDS {
        let consistency = Consistency::Lagging { seed };
        let (cloud, _) = Scenario { layered: true, before: &["v1.jar"], consistency, ..PLAIN }.account();
        let runtime = Run::Manual(r#"{"pipeline": "jvm-runtime", "force": true}"#);
        let ends = account::walk(&cloud, &[("again".to_owned(), (0, runtime))], &Diary::default());
        assert_eq!(ends.len(), 2, "the runtime and what stands on it");
        assert!(ends.values().all(|end| matches!(end, End::Succeeded(_))), "seed {seed}: {ends:?}");
    }
}

#[test]
fn a_snapshot_that_ec2_does_not_show_yet_is_removed_once_it_does() {
    for seed in SEEDS {
        let bench = Bench::new();
        let sealed = sealed(&bench);
        bench.cloud.pass(SECOND * 60);
        lag(&bench, seed);
        imaged(&bench, sealed);
        assert_cleans_up(&bench, seed);
    }
}

/// Tries it again as long as EC2 does not show something yet.
fn tried<T>(desk: &Desk, act: impl AsyncFn() -> Result<T, Error>) -> T {
    loop {
        match block_on(act()) {
            Err(Error::TryAgain { .. }) => desk.cloud.pass(SECOND),
            done => return done.unwrap(),
        }
    }
}

#[test]
fn a_promotion_that_is_taken_back_at_once_leaves_no_launch_template_at_its_image() {
    for seed in SEEDS {
        let desk = Desk::new(&Scenario { follows: Follows::Template, ..TWO });
        let default = || {
            desk.cloud.with(|world| {
                let template = world.launch_templates().next().unwrap();
                template.version(template.default_version).unwrap().data.image.clone()
            })
        };
        let before = desk.current().map(|image| image.to_string());
        assert_eq!(default(), before);
        desk.cloud.pass(SECOND * 60);
        desk.cloud.answer_by(Consistency::Lagging { seed });
        // A parameter that follows, too, is waited for, and by then EC2 shows all.
        let bake = desk.reuse(|bake| bake.spec.settings.parameter = None);
        let step = async || promote::run(bake.clone().go(To::Promote), &desk.cloud, desk.now()).await;
        let bake = tried(&desk, step).bake;
        assert_eq!(default(), bake.progress.image.as_ref().map(ToString::to_string));
        // EC2 may still show the default version that was there before.
        tried(&desk, async || promote::undo(&bake, &desk.cloud, desk.now()).await);
        assert_eq!(desk.current().map(|image| image.to_string()), before);
        assert_eq!(default(), before, "seed {seed}");
    }
}
