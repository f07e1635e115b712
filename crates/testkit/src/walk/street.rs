//! A group of machines behind a load balancer, as a rollout finds it.

use jiff::SignedDuration;
use ovenbird_core::domain::{id::AmiId, tags::TAG_STACK};
use ovenbird_sim::{
    NewVolume, Tags,
    alarms::AlarmState,
    auto_scaling::{Configuration, CreateGroup, GroupTag, HealthCheckType},
    launch_templates::{CreateLaunchTemplate, LaunchTemplateData, TemplateSpec},
    load_balancing::{
        Action, CreateListener, CreateLoadBalancer, CreateTargetGroup, Forward, HealthCheckChange,
    },
};

use crate::Cloud;

/// When all of it is made.
const NOW: &str = "2026-01-01T00:00:00Z";

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
        let own = Tags::from([(TAG_STACK.to_owned(), "ovenbird/one".to_owned())]);
        let tags = [("launch-template".to_owned(), own)].into();
        let name = GROUP.to_owned();
        let template = CreateLaunchTemplate { name, data, tags, ..CreateLaunchTemplate::default() };
        world.create_launch_template(now, &template).expect("a template").id
    })
}

/// Makes the group with so many machines of an image, and lets time go by until all of them serve.
pub fn build(cloud: &Cloud, size: u32, image: &AmiId) {
    let template = build_template(cloud, image);
    cloud.with(|world| {
        let now = NOW.parse().expect("a time");
        let subnets: Vec<String> =
            world.describe_subnets(&[], &[]).expect("subnets").into_iter().map(|subnet| subnet.id).collect();
        let vpc = world.describe_vpcs(&[], &[]).expect("networks")[0].id.clone();
        let balancer = CreateLoadBalancer {
            name: GROUP.into(),
            subnets: subnets.clone(),
            ..CreateLoadBalancer::default()
        };
        let balancer = world.create_load_balancer(now, &balancer).expect("a load balancer");
        let target_group =
            CreateTargetGroup { name: GROUP.into(), port: 8080, vpc, ..CreateTargetGroup::default() };
        let target_group = world.create_target_group(&target_group).expect("a target group").arn;
        let quick = HealthCheckChange { interval: Some(5), timeout: Some(2), ..HealthCheckChange::default() };
        world.modify_target_group(&target_group, &quick).expect("quick checks");
        let delay = [("deregistration_delay.timeout_seconds".to_owned(), "10".to_owned())].into();
        world.modify_target_group_attributes(&target_group, &delay).expect("a short delay");
        let listener = CreateListener {
            balancer: balancer.arn,
            port: 80,
            default_action: Action::Forward(Forward::to(&target_group)),
            tags: Tags::new(),
        };
        world.create_listener(&listener).expect("a listener");
        let configuration = Configuration::Template(TemplateSpec::of(&template, 1));
        let mut group = CreateGroup::new(GROUP, configuration, (1, size, 6), &subnets);
        group.target_groups = vec![target_group];
        group.health_check_type = Some(HealthCheckType::Elb);
        group.health_check_grace = Some(10);
        group.tags = vec![GroupTag { key: TAG_STACK.into(), value: "ovenbird/one".into(), propagate: false }];
        world.create_auto_scaling_group(now, &group).expect("a group");
        world.put_alarm(now, GROUP, false).expect("an alarm");
        world.set_alarm_state(now, GROUP, AlarmState::Ok, "all is well").expect("its state");
    });
    cloud.pass(SignedDuration::from_secs(60));
}
