//! AWS's own command line and boto3 on the endpoint, with simulated machines behind it, so that no root is needed.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use crate::fixture::TestEndpoint;
use ovenbird_local::Home;

impl TestEndpoint {
    pub fn start() -> Self {
        Self::with(|_| {}, |routes| routes).0
    }

    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_remove("AWS_PROFILE").envs([
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("AWS_ACCESS_KEY_ID", self.operator.access_key.as_str()),
            ("AWS_SECRET_ACCESS_KEY", self.operator.secret.as_str()),
            ("AWS_DEFAULT_REGION", "us-east-1"),
            ("AWS_PAGER", ""),
            ("BASE", self.base.as_str()),
        ]);
        command
    }

    /// A query-protocol call with exactly these parameters; gives status and body.
    fn query(&self, form: &str) -> (u16, String) {
        let output = Command::new("curl")
            .args(["--silent", "--write-out", "\n%{http_code}", "--data", form])
            .args(["--aws-sigv4", "aws:amz:us-east-1:ec2", "--user"])
            .arg(format!("{}:{}", self.operator.access_key, self.operator.secret))
            .arg(&self.url)
            .output()
            .expect("curl");
        let text = String::from_utf8(output.stdout).expect("text");
        let (body, status) = text.rsplit_once('\n').expect("a status");
        (status.parse().expect("a number"), body.to_owned())
    }
}

/// A program of the Python environment; none, said out loud, when it isn't there. In CI it must be.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = Home::from_env().python().with_file_name(name);
    if path.is_file() {
        return Some(path);
    }
    assert!(std::env::var_os("CI").is_none(), "{} is missing: `make setup`", path.display());
    eprintln!("SKIPPED: there is no {}; `make setup` makes it", path.display());
    None
}

pub fn succeeds(mut command: Command) -> String {
    let output = command.output().expect("it starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} ended with {}\n{out}\n{err}", output.status);
    out.into_owned()
}

#[test]
fn boto3_with_its_waiters_and_paginators() {
    boto3("boto3_client.py");
}

#[test]
fn a_volume_that_shall_stay_outlives_its_instance_and_every_disk_is_shown() {
    boto3("volumes_client.py");
}

#[test]
fn key_pairs_groups_copies_attributes_and_volumes_are_as_other_people_s_tools_want_them() {
    boto3("tools_client.py");
}

#[test]
fn what_is_deregistered_comes_out_of_the_recycle_bin_and_what_is_locked_stays() {
    boto3("recycle_bin_client.py");
}

#[test]
fn a_group_behind_a_load_balancer_is_refreshed_to_another_version_of_its_template() {
    boto3("rollout_client.py");
}

fn boto3(script: &str) {
    let Some(python) = program("python") else { return };
    let endpoint = TestEndpoint::start();
    let mut command = endpoint.command(&python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint").join(script));
    assert!(succeeds(command).ends_with("all seen\n"));
}

#[test]
fn the_aws_command() {
    let Some(aws) = program("aws") else { return };
    let endpoint = TestEndpoint::start();
    let run = |arguments: &str| {
        let mut command = endpoint.command(&aws);
        command.args(arguments.split(' '));
        succeeds(command)
    };
    let base = &endpoint.base;
    let launched = run(&format!(
        "ec2 run-instances --image-id {base} --count 2 --instance-type t3.micro --user-data hello \
         --metadata-options HttpTokens=required --query Instances[].InstanceId --output text"
    ));
    let ids: Vec<&str> = launched.split_whitespace().collect();
    assert_eq!(ids.len(), 2);
    run(&format!("ec2 wait instance-running --instance-ids {}", ids.join(" ")));
    run(&format!("ec2 stop-instances --instance-ids {}", ids[0]));
    run(&format!("ec2 wait instance-stopped --instance-ids {}", ids[0]));
    let image =
        run(&format!("ec2 create-image --instance-id {} --name one --query ImageId --output text", ids[0]));
    run(&format!("ec2 wait image-available --image-ids {}", image.trim()));
    let named = run("ec2 describe-images --filters Name=name,Values=o* --query Images[].State --output text");
    assert_eq!(named, "available\n");
    run(&format!("ec2 terminate-instances --instance-ids {}", ids.join(" ")));
    run(&format!("ec2 wait instance-terminated --instance-ids {}", ids.join(" ")));
    assert!(run("ec2 describe-security-groups").contains("default VPC security group"));
    assert!(run("ec2 describe-regions").contains("us-east-1"));
    assert!(run("ec2 describe-availability-zones").contains("us-east-1c"));
    assert!(run("ec2 describe-vpcs").contains("172.31.0.0/16"));
    assert!(run("ssm get-parameter --name /aws/service/test/base").contains(base));
}

#[test]
fn what_is_not_understood_is_refused_before_it_has_an_effect() {
    let endpoint = TestEndpoint::start();
    let launch = format!("Action=RunInstances&ImageId={}&MinCount=1&MaxCount=1", endpoint.base);
    let (status, body) = endpoint.query(&format!("{launch}&Surprise.1=x"));
    assert_eq!(status, 400);
    assert!(body.contains("<Code>UnknownParameter</Code>"), "{body}");
    assert!(
        !endpoint.query("Action=DescribeInstances").1.contains("<instanceId>"),
        "an instance was launched"
    );
    let (status, body) = endpoint.query("Action=LaunchRocket");
    assert_eq!(status, 400);
    assert!(body.contains("<Code>InvalidAction</Code>"), "{body}");
    let (status, body) = endpoint.query(&format!("{launch}&DryRun=true"));
    assert_eq!(status, 412);
    assert!(body.contains("<Code>DryRunOperation</Code>"), "{body}");
    assert_eq!(endpoint.query(&launch).0, 200);
}
