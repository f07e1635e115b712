//! A stack that was deleted, and deployed again: `tools/adopt` takes over what the one before it left.

use std::path::Path;

use crate::{
    cloud::{Cloud, options},
    programs::succeeds,
};

#[test]
fn a_stack_that_is_deployed_again_takes_over_what_the_one_before_it_left() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(options) = options(folder.path()) else { return };
    let cloud = Cloud::start(options);
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut client = cloud.client("python");
    client.arg(root.join("tests/endpoint/adopt_client.py")).arg(root.join("../../tools/adopt"));
    assert!(succeeds(client).ends_with("all seen\n"));
    cloud.down();
}
