//! A pipeline whose images nobody used for long is told of, and nothing is done about it.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::id::AmiId,
    ops,
    steps::prune::{UNUSED_AFTER, Unused},
    store::Said,
};
use serde_json::json;

use super::{
    desk::{Desk, TWO, pipeline},
    references::template,
};

const DAY: SignedDuration = SignedDuration::from_hours(24);

fn desk() -> Desk {
    let desk = Desk::new(&TWO);
    // Nothing retires in this time.
    desk.push(&desk.recipe().replace("newest = 1", "newest = 9"));
    desk
}

/// What the plan of this moment says.
fn unused(desk: &Desk) -> Vec<Unused> {
    let (answer, plan) = desk.plan();
    assert_eq!(answer["problems"], json!([]), "it is no alarm");
    serde_json::from_value(plan.get("unused").cloned().unwrap_or_else(|| json!([]))).unwrap()
}

fn names(desk: &Desk) -> Vec<String> {
    unused(desk).into_iter().map(|one| one.pipeline.to_string()).collect()
}

#[test]
fn a_pipeline_is_told_of_when_nobody_used_its_images_for_a_quarter_and_not_a_day_before() {
    let desk = desk();
    let images = [desk.image("before-0"), desk.image("before-1")];
    assert_eq!(UNUSED_AFTER, DAY * 90);
    desk.cloud.pass(DAY * 89);
    assert_eq!(names(&desk), [""; 0]);
    desk.cloud.pass(DAY * 2);
    let told = unused(&desk);
    assert_eq!((told[0].pipeline.as_str(), told[0].images), ("storefront", images.len()));
    assert!(desk.now().duration_since(told[0].since) >= DAY * 91);
    // It is a report: both images are where they were.
    assert!(images.iter().all(|image| desk.exists(image)));
}

#[test]
fn whatever_uses_an_image_is_a_use_of_its_pipeline_and_is_remembered() {
    type Use = fn(&Desk, &AmiId);
    let uses: [(&str, Use); 4] = [
        ("an instance", |desk, image| drop(desk.start(image))),
        ("a launch template", |desk, image| drop(template(&desk.cloud, "web", &[image.as_str()]))),
        ("somebody's parameter", |desk, image| {
            desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
        }),
        ("another pipeline", |desk, _| {
            let base = r#"parameter = "/aws/service/debian/release/12/latest/amd64""#;
            let child = desk.recipe().replace(r#"pipeline = "storefront""#, r#"pipeline = "child""#);
            desk.push(&child.replace(base, r#"channel = "storefront/production""#));
        }),
    ];
    for (what, begin) in uses {
        let desk = desk();
        desk.cloud.pass(DAY * 91);
        assert_eq!(names(&desk), ["storefront"], "{what}");
        begin(&desk, &desk.image("before-1"));
        assert!(!names(&desk).contains(&"storefront".to_owned()), "{what}");
    }
}

/// The image that was launched goes, and with it what EC2 knew of the launch.
#[test]
fn a_use_that_has_ended_is_remembered_although_nothing_shows_it_any_more() {
    let desk = desk();
    let started = desk.start(&desk.image("before-1"));
    desk.cloud.pass(DAY * 60);
    assert_eq!(names(&desk), [""; 0]);
    desk.cloud.with(|world| world.terminate_instances(&[started], false)).unwrap();
    desk.cloud.pass(DAY * 89);
    assert_eq!(names(&desk), [""; 0]);
    desk.cloud.pass(DAY * 3);
    let told = unused(&desk);
    assert!(desk.now().duration_since(told[0].since) < DAY * 93, "{told:?}");
}

/// Its channel, its history and its own parameter name its images as long as it bakes.
#[test]
fn what_the_pipeline_itself_does_is_no_use() {
    let desk = desk();
    assert_eq!(desk.parameter(), desk.current().map(|image| image.to_string()));
    desk.cloud.pass(DAY * 91);
    assert_eq!(names(&desk), ["storefront"]);
    assert_eq!(desk.verdict(&desk.current().unwrap())["reason"], "channel");
}

#[test]
fn a_paused_pipeline_is_not_told_of() {
    let desk = desk();
    desk.cloud.pass(DAY * 91);
    assert_eq!(names(&desk), ["storefront"]);
    let said = Said { by: "user/alice".into(), why: None, at: desk.now() };
    block_on(ops::pipeline::pause(&pipeline(), said, &desk.cloud)).unwrap();
    assert_eq!(names(&desk), [""; 0]);
}
