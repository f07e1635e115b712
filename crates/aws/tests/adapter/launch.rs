//! What a launch asks of EC2.

use aws_sdk_ec2::types::VolumeType;
use ovenbird_aws::launch;
use ovenbird_core::domain::offer::RootVolume;

#[test]
fn a_volume_is_asked_for_with_all_that_it_is_given() {
    let volume = RootVolume {
        device: "/dev/xvda".into(),
        gib: Some(50),
        kind: Some("gp3".into()),
        iops: Some(6000),
        throughput: Some(500),
        kms_key: None,
    };
    let mapping = launch::root(&volume);
    let ebs = mapping.ebs().unwrap();
    assert_eq!((ebs.volume_size(), ebs.iops(), ebs.throughput()), (Some(50), Some(6000), Some(500)));
    assert_eq!((ebs.volume_type(), ebs.encrypted()), (Some(&VolumeType::Gp3), None));
}
