//! What the model learns of services that `MiniStack` has: alarms that a refresh looks at, parameters that name images.

use std::path::Path;

use ovenbird_aws::{Access, LocalCloud};
use ovenbird_core::{domain::rollout::AlarmState, ports::Groups as _};
use ovenbird_local::Credentials;

use crate::{
    adapter::settings,
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
    // The functions ask in CBOR, as the SDK for Rust does.
    let adapter = cloud.ask(async {
        let key = Credentials::of(&cloud.options.home).expect("the operator's key");
        let (endpoint, access_key, secret) = (cloud.options.endpoint(), key.access_key, key.secret);
        ovenbird_aws::Cloud::with(settings(), Access::Local(&LocalCloud { endpoint, access_key, secret }))
            .await
    });
    let errors = "errors".to_owned();
    let alarms = cloud.ask(adapter.alarms(std::slice::from_ref(&errors)));
    assert_eq!(alarms.expect("an answer"), [(errors, AlarmState::Alarm)]);
    cloud.down();
}
