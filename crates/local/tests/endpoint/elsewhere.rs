//! What the model learns of services that `MiniStack` has: alarms that a refresh looks at, parameters that name images.

use std::path::Path;

use crate::{
    cloud::{Cloud, options},
    programs::succeeds,
};

#[test]
fn a_refresh_heeds_cloudwatch_s_alarms_and_a_group_launches_what_a_parameter_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(options) = options(folder.path()) else { return };
    let cloud = Cloud::start(options);
    let mut client = cloud.client("python");
    client.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/elsewhere_client.py"));
    assert!(succeeds(client).ends_with("all seen\n"));
    cloud.down();
}
