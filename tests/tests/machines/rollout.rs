//! Groups of machines behind a load balancer go from one version to another, under load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ovenbird_tests::{
    clients::within,
    fleet::text,
    load::{Counts, Load},
};
use serde_json::{Value, json};

use crate::{Cloud, PATIENCE};

const PORT: u16 = 14_670;

/// Requests a second.
const RATE: u32 = 240;

#[test]
fn no_request_is_lost_while_groups_are_refreshed_rolled_back_and_replaced() -> Result<()> {
    let Some(cloud) = Cloud::up("rollout", PORT)? else { return Ok(()) };
    let aws = Aws::of(&cloud)?;
    let begun = Instant::now();
    let (many, single) = (Group::make(&aws, "many", 3, "v1")?, Group::make(&aws, "single", 1, "v1")?);
    let green = Group::make(&aws, "green", 1, "green")?;
    let (many_door, door) =
        (Door::make(&aws, "many", &[(&many, 1)])?, Door::make(&aws, "single", &[(&single, 1), (&green, 0)])?);
    for group in [&many, &single, &green] {
        group.healthy(group.size)?;
    }
    eprintln!("5 machines healthy after {:.1} s", begun.elapsed().as_secs_f64());

    for (group, door) in [(&many, &many_door), (&single, &door)] {
        let load = Load::start(&door.address, RATE)?;
        let begun = Instant::now();
        group.refresh(2)?;
        group.ended("Successful")?;
        let seconds = begun.elapsed().as_secs_f64();
        group.healthy(group.size)?;
        group.serves("v2")?;
        let counts = load.stop()?;
        eprintln!("{} of {}: v1 to v2 in {seconds:.1} s: {counts}", group.name, group.size);
        check(&counts, &["v1", "v2"])?;
        door.only("v2")?;
    }
    bad_version(&aws, &single, &door)?;
    blue_green(&aws, (&single, &green), &door)
}

/// A version that answers 500 never gets a request, and goes when it is called back.
fn bad_version(aws: &Aws<'_>, single: &Group<'_>, door: &Door<'_>) -> Result<()> {
    let load = Load::start(&door.address, RATE)?;
    single.refresh(3)?;
    within("the bad version is seen", PATIENCE, || {
        let health = single.health()?;
        let reasons: Vec<&Value> = health.iter().map(|one| &one["TargetHealth"]["Reason"]).collect();
        ensure!(reasons.contains(&&json!("Target.ResponseCodeMismatch")), "{reasons:?}");
        Ok(())
    })?;
    aws.scaling(&["rollback-instance-refresh", "--auto-scaling-group-name", &single.name])?;
    single.ended("RollbackSuccessful")?;
    single.serves("v2")?;
    let counts = load.stop()?;
    eprintln!("v3, which answers 500, rolled back: {counts}");
    check(&counts, &["v2"])
}

/// Requests go over by weight, back again, and over for good; then the old group goes.
fn blue_green(aws: &Aws<'_>, (blue, green): (&Group<'_>, &Group<'_>), door: &Door<'_>) -> Result<()> {
    let load = Load::start(&door.address, RATE)?;
    for weights in [(90, 10), (50, 50), (0, 100), (100, 0), (0, 100)] {
        door.weigh(&[(blue, weights.0), (green, weights.1)])?;
    }
    let set = ["set-desired-capacity", "--auto-scaling-group-name", &blue.name, "--desired-capacity", "0"];
    aws.scaling(&set)?;
    blue.healthy(0)?;
    let counts = load.stop()?;
    eprintln!("blue to green, back, and over: {counts}");
    check(&counts, &["green", "v2"])?;
    door.only("green")
}

/// Nothing was lost, at the rate that was asked for; only these versions answered, and each of them did.
fn check(counts: &Counts, versions: &[&str]) -> Result<()> {
    ensure!(
        counts.lost.is_empty(),
        "{counts}; the first lost: {:?}",
        counts.lost.iter().take(5).collect::<Vec<_>>()
    );
    ensure!(counts.rate() >= 200.0, "too little was asked: {counts}");
    let seen: Vec<&str> = counts.answers.keys().map(String::as_str).collect();
    ensure!(seen == versions, "{counts}, not of {versions:?}");
    Ok(())
}

struct Aws<'a> {
    cloud: &'a Cloud,
    image: String,
    subnets: Vec<String>,
    vpc: String,
}

impl<'a> Aws<'a> {
    fn of(cloud: &'a Cloud) -> Result<Self> {
        let images = cloud.local.aws(&["ec2", "describe-images", "--owners", "136693071363"])?;
        let image = text(&images, "/Images/0/ImageId")?;
        let answer = cloud.local.aws(&["ec2", "describe-subnets"])?;
        let all = answer["Subnets"].as_array().context("no subnets")?;
        let subnets = all.iter().filter_map(|one| one["SubnetId"].as_str().map(str::to_owned)).collect();
        Ok(Self { cloud, image, subnets, vpc: text(&answer, "/Subnets/0/VpcId")? })
    }

    fn scaling(&self, arguments: &[&str]) -> Result<Value> {
        self.cloud.local.aws(&[&["autoscaling"], arguments].concat())
    }

    fn elb(&self, arguments: &[&str]) -> Result<Value> {
        self.cloud.local.aws(&[&["elbv2"], arguments].concat())
    }
}

/// A load balancer with one listener.
struct Door<'a> {
    aws: &'a Aws<'a>,
    listener: String,
    address: String,
}

impl<'a> Door<'a> {
    fn make(aws: &'a Aws<'a>, name: &str, groups: &[(&Group<'_>, u32)]) -> Result<Self> {
        let subnets: Vec<&str> = aws.subnets.iter().map(String::as_str).collect();
        let create = ["create-load-balancer", "--name", name, "--subnets"];
        let balancer = aws.elb(&[&create[..], &subnets].concat())?;
        let arn = text(&balancer, "/LoadBalancers/0/LoadBalancerArn")?;
        let create = ["create-listener", "--protocol", "HTTP", "--port", "80", "--load-balancer-arn", &arn];
        let made = aws.elb(&[&create[..], &["--default-actions", &action(groups)]].concat())?;
        let address = format!("{}:80", text(&balancer, "/LoadBalancers/0/DNSName")?);
        Ok(Self { aws, listener: text(&made, "/Listeners/0/ListenerArn")?, address })
    }

    fn weigh(&self, groups: &[(&Group<'_>, u32)]) -> Result<()> {
        let modify = ["modify-listener", "--listener-arn", &self.listener, "--default-actions"];
        self.aws.elb(&[&modify[..], &[&action(groups)]].concat()).map(drop)
    }

    /// From now on nobody else answers.
    fn only(&self, version: &str) -> Result<()> {
        check(&Load::start(&self.address, RATE)?.stop_after(Duration::from_secs(2))?, &[version])
    }
}

fn action(groups: &[(&Group<'_>, u32)]) -> String {
    let group =
        |(group, weight): &(&Group<'_>, u32)| json!({"TargetGroupArn": group.targets, "Weight": weight});
    let groups: Vec<Value> = groups.iter().map(group).collect();
    json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}]).to_string()
}

/// A group of machines that are a target group's.
struct Group<'a> {
    aws: &'a Aws<'a>,
    name: String,
    size: usize,
    template: String,
    targets: String,
}

impl<'a> Group<'a> {
    /// Makes it at version 1 of its template, which has versions 2 and 3, too.
    fn make(aws: &'a Aws<'a>, name: &str, size: usize, first: &str) -> Result<Self> {
        let name = name.to_owned();
        let first = json!({"ImageId": aws.image, "InstanceType": "t3.micro", "UserData": user_data(first)});
        let create =
            ["ec2", "create-launch-template", "--launch-template-name", &name, "--launch-template-data"];
        let made = aws.cloud.local.aws(&[&create[..], &[&first.to_string()]].concat())?;
        let template = text(&made, "/LaunchTemplate/LaunchTemplateId")?;
        for version in ["v2", "v3"] {
            let data = json!({"UserData": user_data(version)}).to_string();
            let create = ["ec2", "create-launch-template-version", "--launch-template-id", &template];
            let data = ["--source-version", "1", "--launch-template-data", &data];
            aws.cloud.local.aws(&[&create[..], &data].concat())?;
        }
        let checks =
            "--protocol HTTP --port 8080 --health-check-interval-seconds 5 --health-check-timeout-seconds 2";
        let checks: Vec<&str> = checks.split(' ').collect();
        let create = ["create-target-group", "--name", &name, "--vpc-id", &aws.vpc];
        let targets = text(&aws.elb(&[&create[..], &checks].concat())?, "/TargetGroups/0/TargetGroupArn")?;
        let delay = "Key=deregistration_delay.timeout_seconds,Value=3";
        aws.elb(&["modify-target-group-attributes", "--target-group-arn", &targets, "--attributes", delay])?;
        let (most, size_text, zones) = ((size * 2).to_string(), size.to_string(), aws.subnets.join(","));
        let pinned = format!("LaunchTemplateId={template},Version=1");
        let create =
            ["create-auto-scaling-group", "--auto-scaling-group-name", &name, "--launch-template", &pinned];
        let sizes = ["--min-size", "0", "--max-size", &most, "--desired-capacity", &size_text];
        let checks = ["--health-check-type", "ELB", "--health-check-grace-period", "300"];
        let places = [
            "--vpc-zone-identifier",
            &zones,
            "--target-group-arns",
            &targets,
            "--default-instance-warmup",
            "0",
        ];
        aws.scaling(&[&create[..], &sizes, &checks, &places].concat())?;
        Ok(Self { aws, name, size, template, targets })
    }

    fn health(&self) -> Result<Vec<Value>> {
        let found = self.aws.elb(&["describe-target-health", "--target-group-arn", &self.targets])?;
        Ok(found["TargetHealthDescriptions"].as_array().cloned().unwrap_or_default())
    }

    /// Waits until so many targets are healthy and there is no other.
    fn healthy(&self, count: usize) -> Result<()> {
        within("healthy targets", PATIENCE, || {
            let states: Vec<Value> =
                self.health()?.iter().map(|one| one["TargetHealth"]["State"].clone()).collect();
            ensure!(states == vec![json!("healthy"); count], "{states:?}");
            Ok(())
        })
    }

    fn refresh(&self, version: u32) -> Result<()> {
        let preferences = json!({
            "MinHealthyPercentage": 100, "MaxHealthyPercentage": 200, "SkipMatching": true, "AutoRollback": true,
            "ScaleInProtectedInstances": "Ignore", "StandbyInstances": "Ignore",
        });
        let template = json!({"LaunchTemplateId": self.template, "Version": version.to_string()});
        let desired = json!({"LaunchTemplate": template}).to_string();
        let start =
            ["start-instance-refresh", "--auto-scaling-group-name", &self.name, "--desired-configuration"];
        self.aws.scaling(&[&start[..], &[&desired, "--preferences", &preferences.to_string()]].concat())?;
        Ok(())
    }

    /// Waits until the newest refresh has this end.
    fn ended(&self, status: &str) -> Result<()> {
        within(status, PATIENCE, || {
            let found = self.aws.scaling(&[
                "describe-instance-refreshes",
                "--auto-scaling-group-name",
                &self.name,
            ])?;
            let newest = &found["InstanceRefreshes"][0];
            ensure!(newest["Status"] == status, "{newest}");
            Ok(())
        })
    }

    /// Every machine of the group is of this version.
    fn serves(&self, version: &str) -> Result<()> {
        for target in self.health()?.iter().filter(|one| one["TargetHealth"]["State"] == "healthy") {
            let instance = text(target, "/Target/Id")?;
            let address = self.aws.cloud.local.forward(&instance, 8080)?;
            let body = ovenbird_tests::clients::get(&address)?;
            ensure!(body == version, "{instance} serves {body}");
        }
        Ok(())
    }
}

/// A server of a few lines, which keeps connections open. Version 3 is a bad one.
fn user_data(version: &str) -> String {
    use base64::Engine as _;
    let script = SERVER.replace("VERSION", version);
    base64::engine::general_purpose::STANDARD.encode(script)
}

const SERVER: &str = r#"#!/bin/sh
cat >/run/app.py <<'END'
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = b"VERSION"
        self.send_response(500 if body == b"v3" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
END
systemd-run --unit=app python3 /run/app.py
"#;
