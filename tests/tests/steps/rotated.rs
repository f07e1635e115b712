//! Secrets: their versions are inputs of an image, and their values never leave the builder.

use futures::executor::block_on;
use ovenbird_core::{
    domain::{
        bake::{Bake, Status},
        id::ParameterName,
    },
    ports::ParameterKind,
    views::explain::{Side, explain},
};
use ovenbird_testkit::walk::{
    account,
    machine::{Diary, End},
    scenarios::{PLAIN, Run},
};

use super::desk::{Desk, pipeline};

const SECRET: &str = "/ovenbird/secrets/storefront/token";

/// A pipeline with a step that reads a secret.
fn with_a_secret() -> Desk {
    let desk = Desk::new(&PLAIN);
    let step = format!("[[step]]\nshell = \"true\"\nsecrets = {{ TOKEN = \"{SECRET}\" }}\n");
    account::push(&desk.cloud, &format!("{}\n{step}", desk.recipe()));
    desk
}

fn write(desk: &Desk, version: i64) {
    let kind = ParameterKind {
        kind: "SecureString".to_owned(),
        data_type: "text".to_owned(),
        tier: "Standard".to_owned(),
        has_policies: false,
        version,
        written: desk.now(),
    };
    desk.cloud.around(|around| drop(around.kinds.insert(ParameterName::parse(SECRET).unwrap(), kind)));
}

fn bake(desk: &Desk, name: &str) -> End {
    let run = [(name.to_owned(), (0, Run::Manual(r#"{"artifact": "artifacts/storefront/v1.jar"}"#)))];
    desk.cloud.put("artifacts/storefront/v1.jar", "v1.jar");
    account::walk(&desk.cloud, &run, &Diary::default()).remove(name).unwrap()
}

fn promoted(desk: &Desk, name: &str) -> Bake {
    let ended = bake(desk, name);
    assert!(matches!(ended, End::Succeeded(_)), "{ended:?}");
    let bake = desk.bake(name);
    assert_eq!(bake.progress.status, Status::Promoted);
    bake
}

#[test]
fn a_rotated_secret_makes_another_image_and_one_that_is_as_it_was_does_not() {
    let desk = with_a_secret();
    write(&desk, 3);
    let first = promoted(&desk, "first");
    assert!(!first.progress.reused);
    let again = promoted(&desk, "again");
    assert!(again.progress.reused && again.progress.image == first.progress.image);
    write(&desk, 4);
    let rotated = promoted(&desk, "rotated");
    assert!(!rotated.progress.reused && rotated.progress.image != first.progress.image);

    let sides = (Side::from(&first), Side::from(&rotated));
    let lines = block_on(explain(&desk.cloud, &pipeline(), sides.0, sides.1)).unwrap();
    let changed: Vec<_> = lines.iter().filter(|line| line.changed).collect();
    let [line] = changed[..] else { panic!("{changed:?}") };
    assert_eq!(
        (line.input, line.before.as_str(), line.now.as_str()),
        ("secrets", "/ovenbird/secrets/storefront/token:3", "/ovenbird/secrets/storefront/token:4",)
    );
}

#[test]
fn a_secret_that_is_not_there_is_said_before_anything_is_launched() {
    let desk = with_a_secret();
    let launches = desk.times("ec2:RunInstances");
    let End::Failed { error, cause } = bake(&desk, "missing") else { panic!("its step would fail") };
    assert_eq!(error, "BadInput");
    assert!(cause.contains(&format!("parameter `{SECRET}`: is not there, and step")), "{cause}");
    assert!(cause.contains("aws ssm put-parameter --type SecureString"), "{cause}");
    assert_eq!(desk.times("ec2:RunInstances"), launches);
}
