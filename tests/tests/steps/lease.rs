//! The lease of a digest: who gets it, for how long, and what is refused without it.

use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Result,
    domain::{
        bake::{Bake, Status},
        id::Digest,
    },
    store::{Claim, ImageCopy, ImageSet, ImageStatus, Ledger, Passed, Versioned, lease_end},
};
use std::collections::BTreeMap;

use super::desk::{Desk, TWO};

/// Two bakes of one digest that nobody holds.
struct Rivals {
    desk: Desk,
    digest: Digest,
    one: Bake,
    two: Bake,
}

impl Rivals {
    fn new() -> Self {
        let desk = Desk::new(&TWO);
        let like = desk.bake("before-1");
        let digest: Digest = "f".repeat(64).parse().unwrap();
        let bake = |name: &str| {
            let mut bake = like.clone();
            (bake.spec.id, bake.spec.digest) = (name.parse().unwrap(), digest.clone());
            bake.progress.status = Status::Running;
            bake
        };
        Self { one: bake("one"), two: bake("two"), desk, digest }
    }

    fn ledger(&self) -> Ledger<'_, ovenbird_testkit::Cloud> {
        Ledger(&self.desk.cloud)
    }

    fn claim(&self, bake: &Bake, now: Timestamp) -> Claim {
        let expires = now + SignedDuration::from_secs(100);
        block_on(self.ledger().claim(&bake.spec, now, expires, None)).unwrap()
    }

    fn release(&self, bake: &Bake) {
        block_on(self.ledger().release(&self.digest, &bake.spec.id)).unwrap();
    }

    fn holder(&self, now: Timestamp) -> Option<String> {
        block_on(self.ledger().holder(&self.digest, now)).unwrap().map(|bake| bake.to_string())
    }

    /// What is written of the digest's image under a fencing number.
    fn record(&self, bake: &Bake, fence: u64) -> Result<()> {
        block_on(self.ledger().record_image(&self.digest, &record(bake, fence)))
    }
}

fn record(bake: &Bake, fence: u64) -> ImageSet {
    ImageSet {
        home: ImageCopy { image: bake.progress.image.clone().unwrap(), snapshots: Vec::new() },
        copies: BTreeMap::new(),
        digest: Some(bake.spec.digest.clone()),
        name: bake.spec.image_name.clone(),
        pipeline: bake.spec.pipeline.clone(),
        bake: bake.spec.id.clone(),
        status: ImageStatus::Baking,
        passed: Vec::new(),
        fence,
        uses: 0,
        takers: Vec::new(),
    }
}

fn start() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn after(seconds: i64) -> Timestamp {
    start() + SignedDuration::from_secs(seconds)
}

fn held(by: &Bake) -> Claim {
    Claim::Held(by.spec.id.clone())
}

#[test]
fn a_lease_is_one_bake_s_until_exactly_its_end_and_each_holder_has_a_higher_number() {
    let rivals = Rivals::new();
    let (one, two) = (&rivals.one, &rivals.two);
    assert_eq!(rivals.claim(one, start()), Claim::Granted(1));
    assert_eq!(rivals.claim(two, after(99)), held(one));
    assert_eq!(rivals.holder(after(99)), Some("one".into()));
    // In its last moment it is over.
    assert_eq!(rivals.holder(after(100)), None);
    assert_eq!(rivals.claim(two, after(100)), Claim::Granted(2));
    assert_eq!(rivals.claim(one, after(101)), held(two));
    assert_eq!(rivals.claim(one, after(200)), Claim::Granted(3));
}

#[test]
fn the_holder_s_own_claim_makes_it_last_longer_under_the_same_number() {
    let rivals = Rivals::new();
    let (one, two) = (&rivals.one, &rivals.two);
    assert_eq!(rivals.claim(one, start()), Claim::Granted(1));
    assert_eq!(rivals.claim(one, after(50)), Claim::Granted(1));
    assert_eq!(rivals.claim(two, after(149)), held(one));
    // Its own, though it has expired: nobody else took it.
    assert_eq!(rivals.claim(one, after(400)), Claim::Granted(1));
    assert_eq!(rivals.claim(two, after(499)), held(one));
}

#[test]
fn a_lease_that_was_given_back_is_free_at_once_and_its_number_goes_on() {
    let rivals = Rivals::new();
    let (one, two) = (&rivals.one, &rivals.two);
    assert_eq!(rivals.claim(one, start()), Claim::Granted(1));
    // Only its holder gives it back.
    rivals.release(two);
    assert_eq!(rivals.holder(after(1)), Some("one".into()));
    rivals.release(one);
    assert_eq!(rivals.holder(after(1)), None);
    assert_eq!(rivals.claim(two, after(2)), Claim::Granted(2));
    rivals.release(two);
    assert_eq!(rivals.claim(two, after(3)), Claim::Granted(3));
    rivals.release(one);
    assert_eq!(rivals.holder(after(3)), Some("two".into()));
}

#[test]
fn two_that_claim_in_one_moment_are_not_both_granted() {
    let rivals = Rivals::new();
    let (one, two) = (rivals.one.clone(), rivals.two.clone());
    let expires = after(100);
    let first = rivals.desk.interrupt(
        async |cloud| Ledger(cloud).claim(&one.spec, start(), expires, None).await,
        "dynamodb:PutItem",
        0,
        || assert_eq!(rivals.claim(&two, start()), Claim::Granted(1)),
    );
    // It looks again, as the state machine's retry does.
    assert_eq!(first.unwrap_err().name(), "TryAgain");
    assert_eq!(rivals.claim(&one, start()), held(&two));
}

#[test]
fn an_image_is_recorded_only_by_the_holder_and_only_under_its_number() {
    let rivals = Rivals::new();
    let (one, two) = (&rivals.one, &rivals.two);
    let lost = |result: Result<()>| assert_eq!(result.unwrap_err().name(), "LeaseLost");
    lost(rivals.record(one, 0));
    rivals.claim(one, start());
    lost(rivals.record(two, 1));
    lost(rivals.record(one, 2));
    rivals.record(one, 1).unwrap();
    rivals.release(one);
    lost(rivals.record(one, 1));
    rivals.claim(two, start());
    lost(rivals.record(one, 1));
    rivals.record(two, 2).unwrap();
}

#[test]
fn a_lease_that_is_lost_while_the_image_is_recorded_is_noticed() {
    let rivals = Rivals::new();
    let (one, digest) = (rivals.one.clone(), rivals.digest.clone());
    rivals.claim(&one, start());
    let late = rivals.desk.interrupt(
        async |cloud| Ledger(cloud).record_image(&digest, &record(&one, 1)).await,
        "dynamodb:PutItem",
        0,
        || assert_eq!(rivals.claim(&rivals.two, after(100)), Claim::Granted(2)),
    );
    assert_eq!(late.unwrap_err().name(), "TryAgain");
    assert!(block_on(rivals.ledger().image(&digest)).unwrap().is_none());
}

#[test]
fn the_end_of_a_bake_and_its_lease_are_one_write() {
    let rivals = Rivals::new();
    let mut one = Versioned::new(rivals.one.clone());
    block_on(rivals.ledger().save(&mut one)).unwrap();
    rivals.claim(&one, start());
    let before = rivals.desk.cloud.calls().len();
    one.progress.finish(Status::Failed, after(1));
    block_on(rivals.ledger().close(&mut one)).unwrap();
    assert_eq!((rivals.holder(after(1)), rivals.desk.bake("one").progress.status), (None, Status::Failed));
    let calls = rivals.desk.cloud.calls();
    let writes: Vec<_> =
        calls[before..].iter().filter(|call| call.actions[0] == "dynamodb:PutItem").collect();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].actions.len(), 2);
    // Another bake's lease isn't touched, and a second time nothing is written.
    rivals.claim(&rivals.two, after(2));
    let before = rivals.desk.times("dynamodb:PutItem");
    block_on(rivals.ledger().close(&mut one)).unwrap();
    assert_eq!(rivals.holder(after(3)), Some("two".into()));
    assert_eq!(rivals.desk.times("dynamodb:PutItem"), before);
}

#[test]
fn what_an_image_passed_is_noted_only_by_the_holder_and_only_of_the_same_image() {
    let desk = Desk::new(&TWO);
    let mut bake = desk.bake("before-1");
    let (digest, now) = (bake.spec.digest.clone(), desk.now());
    let ledger = Ledger(&desk.cloud);
    let passed = |tests: &str| Passed {
        tests: tests.repeat(64).parse().unwrap(),
        count: 2,
        bake: bake.spec.id.clone(),
    };
    let (first, second) = (passed("a"), passed("b"));
    assert_eq!(block_on(ledger.record_passed(&bake, first.clone())).unwrap_err().name(), "LeaseLost");
    let Claim::Granted(fence) = block_on(ledger.claim(&bake.spec, now, lease_end(now, 60), None)).unwrap()
    else {
        panic!("nobody holds it")
    };
    bake.progress.fence = fence;
    block_on(ledger.record_passed(&bake, first.clone())).unwrap();
    block_on(ledger.record_passed(&bake, second.clone())).unwrap();
    let record = block_on(ledger.image(&digest)).unwrap().unwrap();
    assert_eq!(record.passed(&first.tests), Some(2));
    assert_eq!(record.passed(&second.tests), Some(2));
    assert_eq!(record.passed(&bake.spec.inputs.tests), Some(1), "what it passed before stays");
    assert_eq!(record.passed(&"c".repeat(64).parse().unwrap()), None);
    let mut other = bake.clone();
    other.progress.image = desk.bake("before-0").progress.image;
    assert_eq!(block_on(ledger.record_passed(&other, first)).unwrap_err().name(), "NotPromotable");
}

#[test]
fn a_lease_outlasts_its_stage_by_ten_minutes_of_retries() {
    assert_eq!(lease_end(start(), 100), after(700));
}
