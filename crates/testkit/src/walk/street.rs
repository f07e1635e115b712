//! A group of machines behind a load balancer, as a rollout finds it.

use jiff::SignedDuration;
use ovenbird_core::domain::{id::AmiId, tags::TAG_STACK};
use ovenbird_sim::{
    NewVolume, Tags, World,
    alarms::AlarmState,
    auto_scaling::{
        Configuration, CreateGroup, Distribution, GroupTag, HealthCheckType, MixedInstancesPolicy, Override,
    },
    launch_templates::{CreateLaunchTemplate, LaunchTemplateData, TemplateSpec},
    load_balancing::{
        Action, Condition, CreateListener, CreateLoadBalancer, CreateRule, CreateTargetGroup, Forward,
        HealthCheckChange, Weighted,
    },
};

use crate::Cloud;

/// When all of it is made.
const NOW: &str = "2026-01-01T00:00:00Z";

/// The stack of the walk.
const STACK: &str = "ovenbird/one";

/// The name of the group that does not serve.
const OTHER: &str = "storefront-green";

/// The name of the group, of its launch template and of the alarm that watches over it.
pub const GROUP: &str = "storefront";

/// The part of a recipe that lets the launch template alone follow a channel.
pub const TEMPLATE: &str = "launch-templates = [\"storefront\"]\n";

/// The part of a recipe that lets the group follow a channel, with short times.
pub const FOLLOWS: &str = r#"
launch-templates = ["storefront"]
groups = ["storefront"]
[rollout]
stages = ["1 instance", "100%"]
watch = "20s"
soak = "90s"
healthy-within = "60s"
alarms = ["storefront"]
"#;

/// What follows that where a person is asked before the last stage.
pub const ASKS: &str = "pause-before = 2\napprove-hours = 1\n";

/// The part of a recipe that lets two groups follow a channel, of which one serves.
pub const PAIR: &str = r#"
launch-templates = ["storefront"]
groups = ["storefront", "storefront-green"]
[rollout]
strategy = "blue-green"
stages = ["50%", "100%"]
watch = "20s"
soak = "40s"
keep-for = "2m"
healthy-within = "60s"
alarms = ["storefront"]
"#;

/// A volume that goes with its machine.
fn going() -> NewVolume {
    NewVolume { delete_on_termination: Some(true), ..NewVolume::default() }
}

/// Makes the launch template, of an image, and gives its id.
pub fn build_template(cloud: &Cloud, image: &AmiId) -> String {
    cloud.with(|world| {
        let now = NOW.parse().expect("a time");
        let data = LaunchTemplateData {
            image: Some(image.to_string()),
            instance_type: Some("m7i.large".into()),
            // The walk's base is of the worst kind: its volumes would outlive the machines.
            mappings: ["/dev/xvda", "/dev/sdf"].map(|name| (name.to_owned(), going())).into(),
            ..LaunchTemplateData::default()
        };
        let own = Tags::from([(TAG_STACK.to_owned(), STACK.to_owned())]);
        let tags = [("launch-template".to_owned(), own)].into();
        let name = GROUP.to_owned();
        let template = CreateLaunchTemplate { name, data, tags, ..CreateLaunchTemplate::default() };
        world.create_launch_template(now, &template).expect("a template").id
    })
}

/// A policy of mixed instances over a version: a second type, and spot beyond the first machine.
pub fn mixed(template: TemplateSpec) -> Configuration {
    let of = |kind: &str| Override { instance_type: Some(kind.into()), ..Override::default() };
    let overrides = ["m7i.large", "m7a.large"].map(of).into();
    let distribution = Distribution { on_demand_base: 1, on_demand_percentage: 0 };
    Configuration::Mixed(MixedInstancesPolicy { template, overrides, distribution })
}

/// Makes the group with so many machines of an image, and lets time go by until all of them serve.
pub fn build(cloud: &Cloud, size: u32, image: &AmiId, launches: fn(TemplateSpec) -> Configuration) {
    let template = build_template(cloud, image);
    cloud.with(|world| {
        let target_group = target_group(world, GROUP);
        listen(world, Forward::to(&target_group));
        group(world, GROUP, launches(TemplateSpec::of(&template, 1)), size, target_group);
    });
    cloud.pass(SignedDuration::from_secs(60));
}

/// Makes two groups behind one listener and a rule of it, of which the first one has so many machines and all requests.
pub fn build_pair(cloud: &Cloud, size: u32, image: &AmiId) {
    let template = build_template(cloud, image);
    cloud.with(|world| {
        let groups = [GROUP, OTHER].map(|name| target_group(world, name));
        let weights = [100, 0].into_iter().zip(&groups);
        let groups_of = weights.map(|(weight, group)| Weighted { group: group.clone(), weight }).collect();
        let forward = Forward { groups: groups_of, stickiness: None };
        let listener = listen(world, forward.clone());
        let rule = CreateRule {
            listener,
            priority: 1,
            conditions: vec![Condition::PathPattern(vec!["/api/*".into()])],
            action: Action::Forward(forward),
            tags: [(TAG_STACK.to_owned(), STACK.to_owned())].into(),
        };
        world.create_rule(&rule).expect("a rule");
        for ((name, size), target_group) in [(GROUP, size), (OTHER, 0)].into_iter().zip(groups) {
            let launches = Configuration::Template(TemplateSpec::of(&template, 1));
            group(world, name, launches, size, target_group);
        }
    });
    cloud.pass(SignedDuration::from_secs(60));
}

/// Makes a target group that checks often and drains quickly.
fn target_group(world: &mut World, name: &str) -> String {
    let vpc = world.describe_vpcs(&[], &[]).expect("networks")[0].id.clone();
    let request = CreateTargetGroup { name: name.into(), port: 8080, vpc, ..CreateTargetGroup::default() };
    let arn = world.create_target_group(&request).expect("a target group").arn;
    let quick = HealthCheckChange { interval: Some(5), timeout: Some(2), ..HealthCheckChange::default() };
    world.modify_target_group(&arn, &quick).expect("quick checks");
    let delay = [("deregistration_delay.timeout_seconds".to_owned(), "10".to_owned())].into();
    world.modify_target_group_attributes(&arn, &delay).expect("a short delay");
    arn
}

/// Makes a load balancer whose listener forwards like that; gives the listener's ARN.
fn listen(world: &mut World, forward: Forward) -> String {
    let request =
        CreateLoadBalancer { name: GROUP.into(), subnets: subnets(world), ..CreateLoadBalancer::default() };
    let balancer =
        world.create_load_balancer(NOW.parse().expect("a time"), &request).expect("a load balancer");
    let tags = [(TAG_STACK.to_owned(), STACK.to_owned())].into();
    let listener =
        CreateListener { balancer: balancer.arn, port: 80, default_action: Action::Forward(forward), tags };
    world.create_listener(&listener).expect("a listener").arn
}

fn subnets(world: &World) -> Vec<String> {
    world.describe_subnets(&[], &[]).expect("subnets").into_iter().map(|subnet| subnet.id).collect()
}

/// Makes a group of this stack, with an alarm of its name that is quiet.
fn group(world: &mut World, name: &str, configuration: Configuration, size: u32, target_group: String) {
    let now = NOW.parse().expect("a time");
    let mut group = CreateGroup::new(name, configuration, (size.min(1), size, 6), &subnets(world));
    group.target_groups = vec![target_group];
    group.health_check_type = Some(HealthCheckType::Elb);
    group.health_check_grace = Some(10);
    group.tags = vec![GroupTag { key: TAG_STACK.into(), value: STACK.into(), propagate: false }];
    world.create_auto_scaling_group(now, &group).expect("a group");
    world.put_alarm(now, name, false).expect("an alarm");
    world.set_alarm_state(now, name, AlarmState::Ok, "all is well").expect("its state");
}
