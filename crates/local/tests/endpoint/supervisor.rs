//! The supervisor with `MiniStack` behind it and simulated machines: what is passed on, mirrored, checked and kept.

use std::{fs, process::Command};

use crate::cloud::{Cloud, options};
use ovenbird_local::{LocalError, Options};

/// What AWS's command complains of, which it must.
fn refused(cloud: &Cloud, arguments: &[&str]) -> String {
    let output = cloud.aws_output(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn one_endpoint_for_all_of_aws_that_keeps_what_it_has() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(options) = options(folder.path()) else { return };
    let cloud = Cloud::start(options.clone());

    // A second one neither takes the home nor the port.
    let second = cloud.ask(ovenbird_local::serve(Options { port: 1, ..options.clone() }));
    assert!(matches!(second, Err(LocalError::HomeTaken { .. })), "{second:?}");

    // Objects are streamed, by signature or by presigned URL.
    let (large, back) = (folder.path().join("large"), folder.path().join("back"));
    // A pattern whose period is no power of two: a block that is lost or doubled shows.
    let bytes: Vec<u8> = (0..251_u8).cycle().take(40_000_000).collect();
    fs::write(&large, &bytes).expect("written");
    let large_text = large.to_str().expect("a path");
    cloud.aws(&["s3", "mb", "s3://kept"]);
    cloud.aws(&["s3", "cp", "--quiet", large_text, "s3://kept/large"]);
    let url = cloud.aws(&["s3", "presign", "s3://kept/large"]);
    let status = Command::new("curl").args(["-fsS", "-o"]).arg(&back).arg(&url).status().expect("curl");
    assert!(status.success());
    assert!(fs::read(&back).expect("read") == bytes, "the bytes differ");

    // What a template makes in MiniStack's EC2 and IAM is known to the world.
    let group = ["ec2", "create-security-group", "--group-name", "builders", "--description", "none"];
    let group = cloud.aws(&[&group[..], &["--query", "GroupId"]].concat());
    let base = cloud.aws(&[
        "ssm",
        "get-parameter",
        "--name",
        "/aws/service/debian/release/12/latest/amd64",
        "--query",
        "Parameter.Value",
    ]);
    let launch =
        ["ec2", "run-instances", "--image-id", &base, "--query", "Instances[0].SecurityGroups[0].GroupName"];
    assert_eq!(cloud.aws(&[&launch[..], &["--security-group-ids", &group]].concat()), "builders");
    let unknown = refused(&cloud, &[&launch[..], &["--iam-instance-profile", "Name=nobody"]].concat());
    assert!(unknown.contains("(InvalidParameterValue)") && unknown.contains("nobody"), "{unknown}");
    cloud.aws(&["iam", "create-instance-profile", "--instance-profile-name", "somebody"]);
    cloud.aws(&[&launch[..], &["--iam-instance-profile", "Name=somebody"]].concat());

    // A parameter that shall hold an image takes one that is there, and answers 200 to any.
    let put =
        ["ssm", "put-parameter", "--name", "/images/x", "--type", "String", "--data-type", "aws:ec2:image"];
    let get = ["ssm", "get-parameter", "--name", "/images/x", "--query", "Parameter.Value"];
    cloud.aws(&[&put[..], &["--value", "ami-0123456789abcdef0"]].concat());
    assert!(refused(&cloud, &get).contains("(ParameterNotFound)"));
    cloud.aws(&[&put[..], &["--value", &base]].concat());
    assert_eq!(cloud.aws(&get), base);

    // Down and up again: everything is there but the machines, which are gone with their host.
    cloud.down();
    let cloud = Cloud::start(options);
    assert_eq!(cloud.aws(&get), base);
    let size = ["s3api", "head-object", "--bucket", "kept", "--key", "large", "--query", "ContentLength"];
    assert_eq!(cloud.aws(&size), "40000000");
    let states =
        cloud.aws(&["ec2", "describe-instances", "--query", "Reservations[].Instances[].State.Name"]);
    assert_eq!(states, "terminated\tterminated");
    cloud.down();
}
