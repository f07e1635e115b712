//! What is not asked again, because the answer is there: and where it is asked all the same.

use std::collections::BTreeMap;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::bake::{Document, Status, To},
    steps::{promote, snapshot},
    store::Ledger,
};

use super::bench::Bench;

/// How often each API was called meanwhile.
fn calls<T>(bench: &Bench, work: impl FnOnce() -> T) -> (T, BTreeMap<&'static str, usize>) {
    let before = bench.cloud.calls().len();
    let done = work();
    let mut count = BTreeMap::new();
    for call in &bench.cloud.calls()[before..] {
        *count.entry(call.actions[0]).or_default() += 1;
    }
    (done, count)
}

fn sealed(bench: &Bench) -> Document {
    let document = bench.start("storefront-1", &bench.upload("v1.jar")).unwrap();
    let document = bench.build(document, 0, true).unwrap();
    let cloud = &bench.cloud;
    let document = block_on(snapshot::seal(document, cloud, cloud.now())).unwrap();
    bench.poll(document).unwrap()
}

/// A bake whose image EC2 has just shown as available.
fn imaged(bench: &Bench) -> Document {
    let document = sealed(bench);
    let document = block_on(snapshot::create_image(document, &bench.cloud, bench.cloud.now())).unwrap();
    let document = bench.poll(document).unwrap();
    assert!(document.seen.available.is_some());
    document
}

fn promoted(bench: &Bench, document: &Document) -> ovenbird_core::Result<Document> {
    block_on(promote::run(document.clone(), &bench.cloud, bench.cloud.now()))
}

/// Somebody switches the image off, and EC2 says so.
fn disable(bench: &Bench, document: &Document) {
    let image = document.bake.image().unwrap().to_string();
    bench.cloud.with(|world| world.disable_image(&image, false)).unwrap();
}

#[test]
fn an_image_that_ec2_showed_a_moment_ago_is_promoted_without_another_look() {
    let bench = Bench::new();
    let document = imaged(&bench);
    let (done, count) = calls(&bench, || promoted(&bench, &document).unwrap());
    assert_eq!(done.ends, Some(Status::Promoted));
    assert_eq!(count.get("ec2:DescribeImages"), None, "{count:?}");
    // A second try may come minutes later, whatever its document says.
    let (done, count) = calls(&bench, || promoted(&bench, &document).unwrap());
    assert_eq!((done.ends, count.get("ec2:DescribeImages")), (Some(Status::Promoted), Some(&1)), "{count:?}");
    disable(&bench, &document);
    assert_eq!(promoted(&bench, &document).unwrap_err().name(), "NotPromotable");
}

#[test]
fn what_ec2_showed_of_an_image_seconds_ago_is_no_reason_to_promote_it() {
    let bench = Bench::new();
    let document = imaged(&bench);
    bench.cloud.pass(SignedDuration::from_secs(3));
    disable(&bench, &document);
    assert_eq!(promoted(&bench, &document).unwrap_err().name(), "NotPromotable");
    assert_eq!(bench.channel(), None);
}

#[test]
fn an_image_is_looked_for_by_its_name_where_an_earlier_try_may_have_asked_for_it() {
    let bench = Bench::new();
    let document = sealed(&bench);
    let again = || block_on(snapshot::create_image(document.clone(), &bench.cloud, bench.cloud.now()));
    let (first, count) = calls(&bench, || again().unwrap());
    assert_eq!(
        (count.get("ec2:CreateImage"), count.get("ec2:DescribeImages")),
        (Some(&1), None),
        "{count:?}"
    );
    // As if its reply had never come: the record names no image.
    let mut record = bench.record("storefront-1");
    record.progress.image = None;
    block_on(Ledger(&bench.cloud).save(&mut record)).unwrap();
    let (second, count) = calls(&bench, || again().unwrap());
    assert_eq!(
        (count.get("ec2:CreateImage"), count.get("ec2:DescribeImages")),
        (None, Some(&1)),
        "{count:?}"
    );
    assert_eq!(second.bake.progress.image, first.bake.progress.image);
}

#[test]
fn a_parameter_that_has_the_image_already_is_not_waited_for() {
    let bench = Bench::new();
    bench.bake("storefront-1", &bench.upload("v1.jar"));
    let reuse = |id: &str| promoted(&bench, &bench.start(id, &bench.upload("v1.jar")).unwrap()).unwrap();
    let done = reuse("storefront-2");
    assert_eq!((done.ends, done.next.to), (Some(Status::Promoted), To::Done));
    // One that somebody wrote meanwhile is written back, and SSM may take its time.
    let name = done.bake.spec.settings.parameter.clone().unwrap();
    bench.cloud.put_parameter(&name, "ami-00000000");
    let done = reuse("storefront-3");
    assert_eq!((done.ends, done.next.to), (Some(Status::Promoted), To::Await));
}

#[test]
fn the_records_of_bakes_on_their_way_are_read_at_once() {
    let bench = Bench::new();
    for number in 1..=3 {
        let artifact = bench.upload(&format!("v{number}.jar"));
        bench.start(&format!("storefront-{number}"), &artifact).unwrap();
    }
    let ((running, unreadable), count) = calls(&bench, || block_on(Ledger(&bench.cloud).running()).unwrap());
    assert_eq!((running.len(), unreadable.len()), (3, 0));
    assert_eq!(count.get("dynamodb:BatchGetItem"), Some(&1), "{count:?}");
    // Who has a builder.
    assert_eq!(count.get("dynamodb:GetItem"), Some(&1), "{count:?}");
}
