//! Parameters that hold an image: validated after the answer, with versions and labels.

use std::path::Path;

use ovenbird_sim::Validation;

use crate::{
    cloud::{Cloud, options},
    programs::succeeds,
};

#[test]
fn a_parameter_takes_an_image_after_a_while_refuses_another_write_meanwhile_and_drops_a_wrong_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut options) = options(folder.path()) else { return };
    options.parameters = Validation { shortest: 3, longest: 3, dropped: 0, seed: 0 };
    let cloud = Cloud::start(options);
    let mut client = cloud.client("python");
    client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/parameters_client.py"));
    assert!(succeeds(client).ends_with("all seen\n"));
    cloud.down();
}
