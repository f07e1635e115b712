//! What a bake's image says of itself: its description, its tags, and the words that people gave the bake.

use futures::executor::block_on;
use ovenbird_core::{
    Error,
    domain::trigger::Trigger,
    ports::Images as _,
    steps::launch_builder::{self, Start},
};
use ovenbird_testkit::walk::scenarios::Scenario;
use serde_json::{Value, json};

use super::desk::{Desk, TWO, pipeline};

fn start(desk: &Desk, name: &str, input: &Value) -> Result<ovenbird_core::domain::bake::Document, Error> {
    let trigger = Trigger::manual(input).unwrap();
    let start = Start { bake: name.parse().unwrap(), started: desk.now(), trigger };
    block_on(launch_builder::start(start, None, &desk.cloud, desk.now()))
}

#[test]
fn an_image_says_what_it_holds() {
    let desk = Desk::new(&TWO);
    let bake = desk.bake("before-1");
    let image = block_on(desk.cloud.image(&desk.image("before-1"))).unwrap().unwrap();
    let recipe = &bake.spec.recipe.as_str()[..12];
    assert_eq!(image.tags["ovenbird:artifact"], "artifacts/storefront/v2.jar");
    assert_eq!(image.tags["ovenbird:recipe"], recipe);
    let described = desk.cloud.with(|world| {
        let all = world.describe_images(&ovenbird_sim::DescribeImages::default()).unwrap().items;
        all.into_iter().find(|one| one.id.to_string() == image.id.to_string()).unwrap().description
    });
    let base = &bake.spec.base;
    let told = format!(
        "storefront with artifacts/storefront/v2.jar, recipe {recipe}, on {} {}",
        base.image, base.name
    );
    assert_eq!(described, told);
}

#[test]
fn a_label_is_in_the_record_and_a_tag_of_all_that_the_bake_makes() {
    let desk =
        Desk::new(&Scenario { builder: "[builder]\ntags = { team = \"shop\", git = \"recipe\" }", ..TWO });
    let input = json!({"pipeline": pipeline(), "force": true, "labels": {"git": "3f2a91c"}});
    let document = start(&desk, "labelled", &input).unwrap();
    let bake = desk.bake("labelled");
    assert_eq!(serde_json::to_value(&bake.spec.options.labels).unwrap(), json!({"git": "3f2a91c"}));
    let builder = document.bake.progress.builder.unwrap();
    let now = desk.now();
    let tags = desk.cloud.with(|world| {
        let paging = ovenbird_sim::Paging::default();
        let all = world.describe_instances(now, &[], &[], &paging).unwrap().items;
        all.into_iter().find(|one| one.id.to_string() == builder.to_string()).unwrap().tags
    });
    assert_eq!((tags["git"].as_str(), tags["team"].as_str()), ("3f2a91c", "shop"));
}

#[test]
fn more_labels_than_a_resource_has_room_for_are_refused_before_anything_is_made() {
    let desk = Desk::new(&TWO);
    let labels: Value =
        (0..43).map(|number| (format!("l{number}"), json!("x"))).collect::<serde_json::Map<_, _>>().into();
    let input = json!({"pipeline": pipeline(), "force": true, "labels": labels});
    let error = start(&desk, "labelled", &input).unwrap_err();
    assert!(error.to_string().contains("43 tags and labels"), "{error}");
    assert!(
        block_on(ovenbird_core::store::Ledger(&desk.cloud).bake(&pipeline(), &"labelled".parse().unwrap()))
            .unwrap()
            .is_none()
    );
    // Ours can't be passed for a person's.
    assert!(Trigger::manual(&json!({"pipeline": "shop", "labels": {"ovenbird:stack": "other"}})).is_err());
}
