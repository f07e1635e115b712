//! What a machine, another user and a web page reach of a local cloud with real machines: nothing that isn't theirs.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, ensure};
use ovenbird_tests::clients::within;
use serde_json::Value;

use crate::{Cloud, PATIENCE};

/// The forged query with which any web page could start a machine.
const FORGED: &str = "?X-Amz-Credential=AK/20260101/us-east-1/ec2/aws4_request";

/// Every request is made with curl, on the host and in a machine. The machine may still be starting, which empties its
/// `/tmp`: answers are kept elsewhere.
pub fn nobody_else_is_answered(cloud: &Cloud) -> Result<()> {
    let base =
        cloud.local.aws(&["ec2", "describe-images", "--filters", "Name=name,Values=debian-12-amd64-*"])?;
    let image = base.pointer("/Images/0/ImageId").and_then(Value::as_str).context("no base")?.to_owned();
    let launch = ["ec2", "run-instances", "--image-id", &image, "--iam-instance-profile"];
    let launched = cloud.local.aws(&[&launch[..], &["Name=ovenbird-builder-us-east-1"]].concat())?;
    let id = launched["Instances"][0]["InstanceId"].as_str().context("no instance")?.to_owned();
    cloud.local.aws(&[
        "ssm",
        "put-parameter",
        "--name",
        "/closed/one",
        "--value",
        "1",
        "--type",
        "String",
    ])?;
    cloud.upload("artifacts-of-nobody/plan", "the plan")?;
    let before = count(cloud)?;

    let refused = from_a_machine(cloud, &id, &image)? + from_the_host(cloud, &image)?;
    ensure!(count(cloud)? == before, "one of them started a machine");
    eprintln!("{refused} requests were refused, from a machine and from the host");
    cloud.local.aws(&["ec2", "terminate-instances", "--instance-ids", &id]).map(drop)
}

fn count(cloud: &Cloud) -> Result<usize> {
    let all = cloud.local.aws(&["ec2", "describe-instances"])?;
    Ok(all["Reservations"].as_array().context("no reservations")?.len())
}

fn from_a_machine(cloud: &Cloud, id: &str, image: &str) -> Result<usize> {
    let curl = |arguments: &str| -> Result<String> {
        let script = format!(
            "curl -s -o /root/answer -w '%{{http_code}}' --max-time 30 {arguments}; cat /root/answer"
        );
        let said = cloud.local.ovenbird_says(&["local", "shell", id, "--", "sh", "-c", &script])?;
        Ok(said.1)
    };
    let endpoint = cloud.local.endpoint();
    let (bucket, key) = (cloud.bucket(), "artifacts-of-nobody/plan");
    let plan = cloud.local.presign("GET", bucket, key)?;
    let said = within("its own plan", PATIENCE, || {
        let said = curl(&format!("'{plan}'"))?;
        ensure!(said.starts_with("200"), "{said}");
        Ok(said)
    })?;
    ensure!(said == "200the plan", "{said}");
    let report = cloud.local.presign("PUT", bucket, "artifacts-of-nobody/report")?;
    let said = curl(&format!("-X PUT --data-binary done '{report}'"))?;
    ensure!(said.starts_with("200"), "its own report: {said}");

    // With its role's key, as its metadata service gives it.
    let role = "role=http://169.254.169.254/latest; \
                token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $role/api/token); \
                keys=$(curl -sf -H \"X-aws-ec2-metadata-token: $token\" \
                $role/meta-data/iam/security-credentials/ovenbird-builder-us-east-1); \
                key() { echo \"$keys\" | sed -n \"s/.*\\\"$1\\\":\\\"\\([^\\\"]*\\)\\\".*/\\1/p\"; }; ";
    let signed = |service: &str, rest: &str| {
        let script = format!(
            "{role} curl -s -o /root/answer -w '%{{http_code}}' --max-time 30 --aws-sigv4 aws:amz:us-east-1:{service} \
             --user \"$(key AccessKeyId):$(key SecretAccessKey)\" -H \"X-Amz-Security-Token: $(key Token)\" {rest}; \
             cat /root/answer"
        );
        cloud.local.ovenbird_says(&["local", "shell", id, "--", "sh", "-c", &script]).map(|said| said.1)
    };
    let read = "-H 'Content-Type: application/x-amz-json-1.1' -H 'X-Amz-Target: AmazonSSM.GetParameter'";
    let said = signed("ssm", &format!("{read} -d '{{\"Name\": \"/closed/one\"}}' {endpoint}/"))?;
    ensure!(said.starts_with("200") && said.contains("/closed/one"), "a parameter: {said}");

    let run = format!("-d 'Action=RunInstances&ImageId={image}&MinCount=1&MaxCount=1'");
    let mut refused = 0;
    for said in [
        curl(&format!("{endpoint}/2015-03-31/functions/"))?,
        curl(&format!("{run} {endpoint}/"))?,
        curl(&format!("{run} -H 'Content-Type: text/plain' '{endpoint}/{FORGED}'"))?,
        curl(&format!("{endpoint}/_ovenbird/status"))?,
        curl(&format!("-X POST {endpoint}/_ovenbird/shutdown"))?,
        curl(&format!("'{}'", plan.replace(bucket, "another-bucket")))?,
        curl(&format!("'{}'", plan.replace("/plan?", "/another?")))?,
        curl(&format!("-X PUT -d mine '{plan}'"))?,
        curl(&format!("{endpoint}/{bucket}/{key}"))?,
        signed("lambda", &format!("{endpoint}/2015-03-31/functions/"))?,
        signed("ec2", &format!("{run} {endpoint}/"))?,
        signed("s3", &format!("-H 'x-amz-content-sha256: UNSIGNED-PAYLOAD' {endpoint}/{bucket}/{key}"))?,
        signed("ovenbird", &format!("-X POST {endpoint}/_ovenbird/shutdown"))?,
    ] {
        ensure!(said.starts_with("403"), "request {refused}: {said}");
        refused += 1;
    }
    Ok(refused)
}

/// As another user, who has no key: a port that MiniStack or a function's runtime had, the home, and forged requests.
fn from_the_host(cloud: &Cloud, image: &str) -> Result<usize> {
    let nobody = |script: &str| -> Result<String> {
        let user = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
        let output = Command::new("setpriv").args(user).args(["sh", "-c", script]).output()?;
        Ok(String::from_utf8([output.stdout, output.stderr].concat())?)
    };
    let endpoint = cloud.local.endpoint();
    let run = format!("-d 'Action=RunInstances&ImageId={image}&MinCount=1&MaxCount=1'");
    let mut refused = 0;
    for arguments in [
        format!("{endpoint}/_ovenbird/status"),
        format!("-H 'Content-Type: text/plain' -H 'Origin: http://evil.example' {run} '{endpoint}/{FORGED}'"),
        format!("-H 'Host: evil.example' {run} '{endpoint}/{FORGED}'"),
        format!("--aws-sigv4 aws:amz:us-east-1:lambda --user local:local {endpoint}/2015-03-31/functions/"),
    ] {
        let said = nobody(&format!("curl -s -o /dev/null -w '%{{http_code}}' --max-time 30 {arguments}"))?;
        ensure!(said == "403", "{arguments}: {said}");
        refused += 1;
    }
    // The ports at which MiniStack and its functions talk to each other are not the host's.
    let status = cloud.local.ovenbird_json(&["local", "status"], false)?;
    let supervisor = status["pid"].as_u64().context("no pid")?;
    let children = fs::read_dir(format!("/proc/{supervisor}/task"))?
        .map(|task| fs::read_to_string(task?.path().join("children")))
        .collect::<Result<Vec<_>, _>>()?
        .join(" ");
    let mut ministack = children.split_whitespace().filter(|pid| {
        fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|command| command.contains("MiniStack"))
    });
    let ministack = ministack.next().context("no MiniStack")?;
    let theirs = listening(&format!("/proc/{ministack}/net/tcp"))?;
    // A function has just been called: its port is there, in the cloud's own network.
    ensure!(
        theirs.iter().any(|port| *port != cloud.local.port && *port != 80),
        "no function's port: {theirs:?}"
    );
    let ours = listening("/proc/self/net/tcp")?;
    for port in theirs.into_iter().filter(|port| *port != cloud.local.port && !ours.contains(port)) {
        let said = nobody(&format!("curl -s -w '%{{http_code}}' --max-time 5 http://127.0.0.1:{port}/"))?;
        ensure!(said == "000", "port {port} of MiniStack answers: {said}");
        refused += 1;
    }
    let home = cloud.home.display();
    let said = nobody(&format!("ls {home}/state {home}/snapshots {home}/aws; cat {home}/aws/credentials"))?;
    ensure!(said.matches("Permission denied").count() == 4, "{said}");
    Ok(refused)
}

/// The ports of a network namespace that somebody listens at.
fn listening(table: &str) -> Result<Vec<u16>> {
    let text = fs::read_to_string(table)?;
    let ports = text.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields.get(1)?.rsplit(':').next()?;
        (*fields.get(3)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
    });
    Ok(ports.collect())
}
