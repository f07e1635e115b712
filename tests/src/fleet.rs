//! A group of machines behind a load balancer, made by calls alone, as a company has one before Ovenbird comes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{
    clients::{Local, within},
    health::Watch,
};

/// How long machines may take to be healthy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A group of machines behind a load balancer.
#[derive(Debug)]
pub struct Fleet<'a> {
    local: &'a Local,
    /// The name of the group, of its launch template and of its target group.
    pub name: String,
    /// Where the load balancer listens: `HOST:PORT`.
    pub address: String,
    targets: String,
    balancer: String,
}

impl<'a> Fleet<'a> {
    /// Makes a group of so many machines of an image, whose pages are at this port, and waits until all are healthy. Group
    /// and launch template carry the stack's tag, so that Ovenbird may change them.
    pub fn make(local: &'a Local, name: &str, size: u32, image: &str, port: u16) -> Result<Self> {
        let stack = local.operator()?["stack"].clone();
        let subnets = local.aws(&["ec2", "describe-subnets"])?;
        let vpc = text(&subnets, "/Subnets/0/VpcId")?;
        let places = subnets["Subnets"].as_array().context("no subnets")?;
        let places: Vec<&str> = places.iter().filter_map(|one| one["SubnetId"].as_str()).collect();

        let tag = format!("ResourceType=launch-template,Tags=[{{Key=ovenbird:stack,Value={stack}}}]");
        let data = json!({"ImageId": image, "InstanceType": "m7i.large"}).to_string();
        let create = ["ec2", "create-launch-template", "--launch-template-name", name];
        let made = local
            .aws(&[&create[..], &["--launch-template-data", &data, "--tag-specifications", &tag]].concat())?;
        let template = text(&made, "/LaunchTemplate/LaunchTemplateId")?;

        let targets = target_group(local, name, &vpc, &port.to_string())?;
        let create = ["elbv2", "create-load-balancer", "--name", name, "--subnets"];
        let balancer = local.aws(&[&create[..], &places].concat())?;
        let arn = text(&balancer, "/LoadBalancers/0/LoadBalancerArn")?;
        let action = format!("Type=forward,TargetGroupArn={targets}");
        let create = ["elbv2", "create-listener", "--protocol", "HTTP", "--port", "80"];
        local.aws(&[&create[..], &["--load-balancer-arn", &arn, "--default-actions", &action]].concat())?;
        let address = format!("{}:80", text(&balancer, "/LoadBalancers/0/DNSName")?);

        scaling_group(local, name, (1, size), (&template, &stack), (&places.join(","), &targets))?;
        let fleet = Self { local, name: name.to_owned(), address, targets, balancer: arn };
        fleet.healthy(size as usize)?;
        Ok(fleet)
    }

    /// Makes a second group behind the same listener, which rests: it has no machines, and no requests go to it.
    pub fn beside(&self, name: &str) -> Result<Fleet<'a>> {
        let local = self.local;
        let stack = local.operator()?["stack"].clone();
        let query = ["autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", &self.name];
        let group = local.aws(&query)?;
        let template = text(&group, "/AutoScalingGroups/0/LaunchTemplate/LaunchTemplateId")?;
        let zones = text(&group, "/AutoScalingGroups/0/VPCZoneIdentifier")?;
        let query = ["elbv2", "describe-target-groups", "--target-group-arns", &self.targets];
        let first = local.aws(&query)?;
        let port = first.pointer("/TargetGroups/0/Port").context("no port")?.to_string();
        let vpc = text(&first, "/TargetGroups/0/VpcId")?;
        let targets = target_group(local, name, &vpc, &port)?;

        let query = ["elbv2", "describe-listeners", "--load-balancer-arn", &self.balancer];
        let listener = text(&local.aws(&query)?, "/Listeners/0/ListenerArn")?;
        let weights = json!([
            {"TargetGroupArn": self.targets, "Weight": 100}, {"TargetGroupArn": targets, "Weight": 0}
        ]);
        let action = json!([{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}]).to_string();
        let modify = ["elbv2", "modify-listener", "--listener-arn", &listener, "--default-actions", &action];
        local.aws(&modify)?;
        let tag = format!("Key=ovenbird:stack,Value={stack}");
        local.aws(&["elbv2", "add-tags", "--resource-arns", &listener, "--tags", &tag])?;
        scaling_group(local, name, (0, 0), (&template, &stack), (&zones, &targets))?;
        Ok(Fleet {
            local,
            name: name.to_owned(),
            address: self.address.clone(),
            targets,
            balancer: self.balancer.clone(),
        })
    }

    /// Waits until so many targets are healthy and there is no other.
    pub fn healthy(&self, count: usize) -> Result<()> {
        within("healthy targets", PATIENCE, || {
            let query = ["elbv2", "describe-target-health", "--target-group-arn", &self.targets];
            let found = self.local.aws(&query)?;
            let found = found["TargetHealthDescriptions"].as_array().cloned().unwrap_or_default();
            let states: Vec<&Value> = found.iter().map(|one| &one["TargetHealth"]["State"]).collect();
            ensure!(states.len() == count && states.iter().all(|state| **state == "healthy"), "{states:?}");
            Ok(())
        })
    }

    /// Looks from now on at when its machines become healthy, and sick.
    pub fn watch(&self) -> Watch {
        Watch::start(self.local, &self.targets)
    }

    /// The images of the group's machines, those on their way out aside.
    pub fn images(&self) -> Result<Vec<String>> {
        let query = ["autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", &self.name];
        let group = self.local.aws(&query)?;
        let members = group.pointer("/AutoScalingGroups/0/Instances").and_then(Value::as_array);
        let members = members.context("no group")?.iter().filter(|one| one["LifecycleState"] == "InService");
        let ids: Vec<&str> = members.filter_map(|one| one["InstanceId"].as_str()).collect();
        let found = self.local.aws(&[&["ec2", "describe-instances", "--instance-ids"], &ids[..]].concat())?;
        let instances = found["Reservations"].as_array().context("no machines")?.iter();
        let instances = instances.flat_map(|one| one["Instances"].as_array().cloned().unwrap_or_default());
        Ok(instances.filter_map(|one| Some(one["ImageId"].as_str()?.to_owned())).collect())
    }

    /// Ends all of it.
    pub fn remove(self) -> Result<()> {
        let delete =
            ["autoscaling", "delete-auto-scaling-group", "--force-delete", "--auto-scaling-group-name"];
        self.local.aws(&[&delete[..], &[&self.name]].concat())?;
        within("the group to be gone", PATIENCE, || {
            let query =
                ["autoscaling", "describe-auto-scaling-groups", "--auto-scaling-group-names", &self.name];
            let left = self.local.aws(&query)?;
            ensure!(left["AutoScalingGroups"].as_array().is_some_and(Vec::is_empty), "{left}");
            Ok(())
        })?;
        self.local.aws(&["elbv2", "delete-load-balancer", "--load-balancer-arn", &self.balancer])?;
        self.local.aws(&["elbv2", "delete-target-group", "--target-group-arn", &self.targets])?;
        let delete = ["ec2", "delete-launch-template", "--launch-template-name", &self.name];
        self.local.aws(&delete).map(drop)
    }
}

/// Makes a target group that checks often and drains quickly; gives its ARN.
fn target_group(local: &Local, name: &str, vpc: &str, port: &str) -> Result<String> {
    let create = ["elbv2", "create-target-group", "--name", name, "--vpc-id", vpc, "--protocol", "HTTP"];
    let checks =
        ["--port", port, "--health-check-interval-seconds", "5", "--health-check-timeout-seconds", "2"];
    let targets = text(&local.aws(&[&create[..], &checks].concat())?, "/TargetGroups/0/TargetGroupArn")?;
    let delay = "Key=deregistration_delay.timeout_seconds,Value=3";
    let modify = ["elbv2", "modify-target-group-attributes", "--target-group-arn", &targets];
    local.aws(&[&modify[..], &["--attributes", delay]].concat())?;
    Ok(targets)
}

/// Makes a group with the stack's tag, of the first version of a launch template.
fn scaling_group(
    local: &Local,
    name: &str,
    (least, size): (u32, u32),
    (template, stack): (&str, &str),
    (zones, targets): (&str, &str),
) -> Result<()> {
    let (least, desired, most) = (least.to_string(), size.to_string(), (size * 2).max(4).to_string());
    let pinned = format!("LaunchTemplateId={template},Version=1");
    let create = ["autoscaling", "create-auto-scaling-group", "--auto-scaling-group-name", name];
    let sizes = ["--min-size", &least, "--max-size", &most, "--desired-capacity", &desired];
    let tag = format!("Key=ovenbird:stack,Value={stack},PropagateAtLaunch=false");
    let rest = [
        "--launch-template",
        &pinned,
        "--health-check-type",
        "ELB",
        "--health-check-grace-period",
        "300",
        "--default-instance-warmup",
        "0",
        "--vpc-zone-identifier",
        zones,
        "--target-group-arns",
        targets,
        "--tags",
        &tag,
    ];
    local.aws(&[&create[..], &sizes, &rest].concat()).map(drop)
}

/// The text at a place of an answer.
pub fn text(answer: &Value, pointer: &str) -> Result<String> {
    let found = answer.pointer(pointer).and_then(Value::as_str);
    found.map(str::to_owned).with_context(|| format!("no {pointer} in {answer}"))
}
