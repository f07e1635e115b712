//! The supervisor with `MiniStack` behind it and simulated machines: what is passed on, mirrored, checked and kept.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ovenbird_local::{Home, LocalError, Machines, Options};

/// A local cloud in this process, on a home of its own.
struct Cloud {
    options: Options,
    supervisor: JoinHandle<Result<(), LocalError>>,
}

impl Cloud {
    fn start(options: Options) -> Self {
        let served = options.clone();
        let supervisor = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().expect("threads");
            runtime.block_on(ovenbird_local::serve(served))
        });
        let cloud = Self { options, supervisor };
        let deadline = Instant::now() + Duration::from_secs(40);
        while !cloud.ask(ovenbird_local::status(&cloud.options)).is_ok_and(|status| status.ready) {
            assert!(!cloud.supervisor.is_finished() && Instant::now() < deadline, "it doesn't get ready");
            std::thread::sleep(Duration::from_millis(20));
        }
        cloud
    }

    fn ask<T>(&self, question: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(question)
    }

    fn aws_output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(self.options.home.python().with_file_name("aws"));
        command.args(arguments).args(["--output", "text"]).env_remove("AWS_PROFILE").envs([
            ("AWS_ENDPOINT_URL", self.options.endpoint().as_str()),
            ("AWS_ACCESS_KEY_ID", "local"),
            ("AWS_SECRET_ACCESS_KEY", "local"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_PAGER", ""),
        ]);
        command.output().expect("aws")
    }

    fn aws(&self, arguments: &[&str]) -> String {
        let output = self.aws_output(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// What AWS's command complains of, which it must.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = self.aws_output(arguments);
        assert!(!output.status.success(), "{arguments:?} succeeded");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn down(self) {
        assert!(self.ask(ovenbird_local::down(&self.options)).expect("it ends"), "none ran");
        self.supervisor.join().expect("no panic").expect("a good end");
    }
}

/// Options for a home with the usual Python environment; none, said out loud, when there is no such environment.
fn options(home: &Path) -> Option<Options> {
    let usual: PathBuf = Home::from_env().root().join("venv");
    if !usual.join("bin/ministack").is_file() {
        assert!(std::env::var_os("CI").is_none(), "{} has no MiniStack: `make setup`", usual.display());
        eprintln!("SKIPPED: {} has no MiniStack; `make setup` installs it", usual.display());
        return None;
    }
    symlink(usual, home.join("venv")).expect("a link");
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let mut options = Options::new(port.expect("a port").port());
    options.home = Home::new(home);
    options.repository = None;
    options.machines = Machines::Simulated;
    Some(options)
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
    let unknown = cloud.refused(&[&launch[..], &["--iam-instance-profile", "Name=nobody"]].concat());
    assert!(unknown.contains("(InvalidParameterValue)") && unknown.contains("nobody"), "{unknown}");
    cloud.aws(&["iam", "create-instance-profile", "--instance-profile-name", "somebody"]);
    cloud.aws(&[&launch[..], &["--iam-instance-profile", "Name=somebody"]].concat());

    // A parameter that shall hold an image takes one that is there, and answers 200 to any.
    let put =
        ["ssm", "put-parameter", "--name", "/images/x", "--type", "String", "--data-type", "aws:ec2:image"];
    let get = ["ssm", "get-parameter", "--name", "/images/x", "--query", "Parameter.Value"];
    cloud.aws(&[&put[..], &["--value", "ami-0123456789abcdef0"]].concat());
    assert!(cloud.refused(&get).contains("(ParameterNotFound)"));
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
