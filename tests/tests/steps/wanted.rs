//! Which uploads are artifacts: the recipe may say it by their names, and checksums and signatures never are.

use futures::executor::block_on;
use ovenbird_core::{
    domain::{bake::Status, id::PipelineName, tags::TAG_ARTIFACT},
    ports::Images,
    store::Ledger,
};
use ovenbird_testkit::walk::{
    account,
    machine::{Diary, End},
    scenarios::{PLAIN, Run, Scenario},
};

use super::desk::Desk;

/// `[artifact]` of the walks' recipe, and the same with the names that are artifacts.
const ARTIFACT: (&str, &str) =
    ("to = \"/opt/storefront/app.jar\"", "to = \"/opt/storefront/app.jar\"\nmatch = \"*.jar\"");

/// A pipeline that takes jars alone, of which `v1.jar` was baked.
fn jars() -> Desk {
    let desk = Desk::new(&Scenario { before: &["v1.jar"], ..PLAIN });
    let text = desk.recipe();
    assert!(text.contains(ARTIFACT.0));
    account::push(&desk.cloud, &text.replace(ARTIFACT.0, ARTIFACT.1));
    desk
}

fn run(desk: &Desk, name: &str, run: Run) -> End {
    account::walk(&desk.cloud, &[(name.to_owned(), (0, run))], &Diary::default()).remove(name).unwrap()
}

fn bakes(desk: &Desk) -> usize {
    let pipeline: PipelineName = "storefront".parse().unwrap();
    block_on(Ledger(&desk.cloud).bakes(&pipeline, 100)).unwrap().len()
}

#[test]
fn only_uploads_that_match_start_a_bake() {
    let desk = jars();
    let before = bakes(&desk);
    for artifact in ["v2.war", "v2.jar.sha256", "v2.jar.asc", "notes.txt", "by-hand/v2.jar"] {
        let ended = run(&desk, &format!("of-{}", artifact.replace(['.', '/'], "-")), Run::Upload(artifact));
        let End::Succeeded(output) = ended else { panic!("{artifact}: {ended:?}") };
        assert_eq!(output["next"]["to"], "nothing", "{artifact}");
        assert_eq!(bakes(&desk), before, "{artifact}");
    }
    let ended = run(&desk, "matching", Run::Upload("1.2/v2.jar"));
    assert!(matches!(ended, End::Succeeded(_)), "{ended:?}");
    assert_eq!(desk.bake("matching").progress.status, Status::Promoted);
}

#[test]
fn an_upload_that_does_not_match_says_why_nothing_was_baked() {
    let End::Succeeded(output) = run(&jars(), "war", Run::Upload("v2.war")) else { panic!("it ends well") };
    assert_eq!(output["why"], "`match` of the recipe's `[artifact]` is `*.jar`, and `v2.war` is none");
}

#[test]
fn without_a_pattern_all_names_are_artifacts_but_checksums_and_signatures() {
    let desk = Desk::new(&PLAIN);
    assert!(matches!(run(&desk, "war", Run::Upload("v1.war")), End::Succeeded(_)));
    assert_eq!(desk.bake("war").progress.status, Status::Promoted);
    run(&desk, "checksum", Run::Upload("v1.war.sha256"));
    assert_eq!(bakes(&desk), 1);
}

/// S3's keys may be longer than EC2's tags.
#[test]
fn an_artifact_with_a_long_name_is_baked_and_its_tag_has_the_end_of_it() {
    let desk = Desk::new(&PLAIN);
    let name: &str = format!("{}-1.2.jar", "x".repeat(900)).leak();
    assert!(matches!(run(&desk, "long", Run::Upload(name)), End::Succeeded(_)));
    let bake = desk.bake("long");
    assert_eq!(bake.progress.status, Status::Promoted);
    assert_eq!(bake.spec.artifact.unwrap().key.file_name(), name);
    let image = block_on(Images::image(&desk.cloud, &bake.progress.image.unwrap())).unwrap().unwrap();
    let tag = &image.tags[TAG_ARTIFACT];
    assert!(tag.chars().count() == 256 && tag.ends_with("x-1.2.jar"), "{tag}");
}

#[test]
fn the_newest_artifact_is_the_newest_that_matches_and_a_change_of_the_pattern_makes_no_other_image() {
    let desk = jars();
    for later in ["v2.war", "v1.jar.sig"] {
        desk.cloud.pass(jiff::SignedDuration::from_secs(60));
        desk.cloud.put(&format!("artifacts/storefront/{later}"), later);
    }
    let ended = run(&desk, "manual", Run::Manual(r#"{"pipeline": "storefront"}"#));
    assert!(matches!(ended, End::Succeeded(_)), "{ended:?}");
    let (first, second) = (desk.bake("before-0"), desk.bake("manual"));
    assert_eq!(second.spec.artifact.unwrap().key.as_str(), "artifacts/storefront/v1.jar");
    assert_eq!((second.spec.digest, second.progress.reused), (first.spec.digest, true));
}
