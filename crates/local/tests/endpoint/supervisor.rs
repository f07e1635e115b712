//! The supervisor with `MiniStack` behind it and simulated machines: what is passed on, mirrored, checked and kept.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use crate::cloud::{Cloud, options};
use ovenbird_local::{LocalError, Options, PROFILE};

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
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("as it was before");
    let cloud = Cloud::start(options.clone());

    // A second one neither takes the home nor the port.
    let second = cloud.ask(ovenbird_local::serve(Options { port: 1, ..options.clone() }));
    assert!(matches!(second, Err(LocalError::HomeTaken { .. })), "{second:?}");

    // Nobody reaches MiniStack around the endpoint: it has no port, and its socket is in a home that is closed.
    let pid = listeners_of(folder.path(), cloud.options.port);
    assert!(pid.is_empty(), "other ports than the endpoint's: {pid:?}");
    let mode = |path: &Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    assert_eq!(mode(folder.path()), 0o700, "the home was 0755, and is the owner's now");
    assert_eq!(mode(&cloud.options.home.ministack_socket()), 0o700);
    if nix::unistd::geteuid().is_root() {
        let nobody = |command: &str| {
            let mut as_nobody = Command::new("setpriv");
            as_nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "sh", "-c", command]);
            as_nobody.output().expect("setpriv").status.success()
        };
        let home = folder.path().display();
        let socket = cloud.options.home.ministack_socket();
        assert!(!nobody(&format!("ls {home}/state || ls {home}")), "another user reads the home");
        let ask = format!("curl -sf --unix-socket {} http://127.0.0.1/_ministack/health", socket.display());
        assert!(!nobody(&ask), "another user asks MiniStack");
        assert!(Command::new("sh").args(["-c", &ask]).output().expect("curl").status.success());
    }

    // AWS's tools find the key by its profile, too.
    let mut profile = cloud.client("aws");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"] {
        profile.env_remove(name);
    }
    profile.env("AWS_SHARED_CREDENTIALS_FILE", cloud.options.home.credentials());
    let identity = profile.args(["--profile", PROFILE, "sts", "get-caller-identity"]).output().expect("aws");
    assert!(identity.status.success(), "{}", String::from_utf8_lossy(&identity.stderr));

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

/// Where the processes of a home listen on TCP, but for one port.
fn listeners_of(home: &Path, but: u16) -> Vec<String> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"]
        .map(|table| fs::read_to_string(table).unwrap_or_default());
    let listening = tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = u16::from_str_radix(fields[1].rsplit(':').next()?, 16).ok()?;
        (fields[3] == "0A" && port != but).then(|| (format!("socket:[{}]", fields[9]), fields[1].to_owned()))
    });
    let listening: Vec<(String, String)> = listening.collect();
    let of_home = |process: &Path| {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(home.to_str().expect("a path"))
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    let mine: Vec<_> = processes.filter(|process| of_home(process)).collect();
    assert!(!mine.is_empty(), "MiniStack was not found");
    let sockets =
        mine.iter().flat_map(|process| fs::read_dir(process.join("fd")).into_iter().flatten().flatten());
    let sockets: Vec<String> =
        sockets.filter_map(|fd| Some(fs::read_link(fd.path()).ok()?.to_str()?.to_owned())).collect();
    listening.into_iter().filter(|(socket, _)| sockets.contains(socket)).map(|(_, address)| address).collect()
}
