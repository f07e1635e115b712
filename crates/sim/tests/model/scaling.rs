//! Auto Scaling groups, as AWS documents them.

use std::collections::BTreeMap;

use ovenbird_sim::{auto_scaling::*, launch_templates::*, load_balancing::*};

use super::{balancing::Balancer, *};

impl Cloud {
    /// Seconds go by: machines do what they do, target groups are checked, the world ticks.
    pub(crate) fn turn(&mut self, seconds: i64, seen: impl Fn(&World, &str) -> Seen) {
        for _ in 0..seconds {
            self.pass(1);
            for due in self.world.due_probes(self.now) {
                let id = due.instance.as_str();
                let seen = seen(&self.world, id);
                self.world.probed(self.now, &due.group, id, due.port, seen).unwrap();
            }
            self.world.tick(self.now);
        }
    }

    /// Seconds go by, and every check is good.
    pub(crate) fn run_well(&mut self, seconds: i64) {
        self.turn(seconds, |_, _| Seen::Status(200));
    }

    pub(crate) fn subnets(&self) -> Vec<String> {
        self.world.describe_subnets(&[], &[]).unwrap().into_iter().map(|subnet| subnet.id).collect()
    }

    /// A group of version 1 of a template; the template's id.
    pub(crate) fn group(&mut self, sizes: (u32, u32, u32), change: impl Fn(&mut CreateGroup)) -> String {
        let template = self.template("web");
        let configuration = Configuration::Template(TemplateSpec::of(&template, 1));
        let mut request = CreateGroup::new("web", configuration, sizes, &self.subnets());
        change(&mut request);
        self.world.create_auto_scaling_group(self.now, &request).unwrap();
        template
    }

    pub(crate) fn web(&self) -> &Group {
        self.world.auto_scaling_group("web").unwrap()
    }

    pub(crate) fn states(&self) -> Vec<&'static str> {
        self.web().members.iter().map(|member| member.lifecycle.as_str()).collect()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        self.web().members.iter().map(|member| member.instance.to_string()).collect()
    }

    /// How many targets of the group's first target group are healthy.
    pub(crate) fn healthy(&self) -> usize {
        let arn = self.web().target_groups[0].clone();
        let described = self.world.describe_target_health(&arn, &[]).unwrap();
        described.iter().filter(|target| target.health.state == TargetState::Healthy).count()
    }

    pub(crate) fn last_activity(&self) -> Activity {
        self.web().activities.last().unwrap().clone()
    }
}

#[test]
fn a_group_launches_what_is_desired_over_its_zones_and_keeps_it() {
    let mut cloud = Cloud::new();
    cloud.group((1, 3, 5), |r| {
        let tag = |key: &str, propagate| GroupTag { key: key.into(), value: "v".into(), propagate };
        r.tags = vec![tag("seen", true), tag("unseen", false)];
    });
    assert!(cloud.states().is_empty(), "a call only says what is wanted");
    cloud.run_well(1);
    assert_eq!(cloud.states(), ["Pending"; 3]);
    cloud.run_well(3);
    assert_eq!(cloud.states(), ["InService"; 3]);
    let mut zones: Vec<_> = cloud.web().members.iter().map(|member| member.zone.clone()).collect();
    zones.sort();
    zones.dedup();
    assert_eq!(zones.len(), 3);
    let first = cloud.ids()[0].clone();
    let tags = &cloud.world.instances().find(|one| one.id.as_str() == first).unwrap().tags;
    assert_eq!(tags.get("seen").map(String::as_str), Some("v"));
    assert_eq!(tags.get("unseen"), None);
    assert_eq!(tags.get("aws:autoscaling:groupName").map(String::as_str), Some("web"));
    // Who is gone is replaced.
    cloud.world.terminate_instances(std::slice::from_ref(&first), false).unwrap();
    cloud.run_well(10);
    assert_eq!(cloud.states(), ["InService"; 3]);
    assert!(!cloud.ids().contains(&first));
    let causes: Vec<_> = cloud.web().activities.iter().map(|one| one.cause.clone()).collect();
    assert!(causes.iter().any(|cause| cause.contains("EC2 health check")), "{causes:?}");
    cloud.world.set_desired_capacity(cloud.now, "web", 5, false).unwrap();
    cloud.run_well(5);
    assert_eq!(cloud.states(), ["InService"; 5]);
    cloud.world.set_desired_capacity(cloud.now, "web", 1, false).unwrap();
    cloud.run_well(10);
    assert_eq!(cloud.states(), ["InService"]);
    assert_eq!(code(cloud.world.set_desired_capacity(cloud.now, "web", 6, false)), "ValidationError");
    assert_eq!(code(cloud.world.set_desired_capacity(cloud.now, "web", 0, false)), "ValidationError");
    let cooling = cloud.world.set_desired_capacity(cloud.now, "web", 2, true);
    assert_eq!(code(cooling), "ScalingActivityInProgress");
    cloud.run_well(300);
    cloud.world.set_desired_capacity(cloud.now, "web", 2, true).unwrap();
}

#[test]
fn a_launch_that_fails_is_a_failed_activity_and_is_tried_again() {
    let mut cloud = Cloud::new();
    cloud.world.set_shortages(vec![Shortage::of(Lack::Capacity)]);
    cloud.group((1, 1, 1), |_| {});
    cloud.run_well(30);
    assert_eq!(cloud.web().activities.len(), 1, "not once a second");
    let failed = cloud.last_activity();
    assert_eq!(failed.status, ActivityStatus::Failed);
    assert!(failed.message.unwrap().contains("sufficient m7i.large capacity"));
    // A zone that has what it takes is found.
    cloud.world.set_shortages(vec![Shortage::of(Lack::Capacity).in_zone("us-east-1a")]);
    cloud.run_well(65);
    assert_eq!(cloud.states(), ["InService"]);
    assert_ne!(cloud.web().members[0].zone, "us-east-1a");
    // EC2 may notice it only later.
    cloud.world.set_shortages(vec![Shortage::of(Lack::LateCapacity)]);
    cloud
        .world
        .update_auto_scaling_group("web", &UpdateGroup { max_size: Some(2), ..Default::default() })
        .unwrap();
    cloud.world.set_desired_capacity(cloud.now, "web", 2, false).unwrap();
    cloud.run_well(5);
    let cancelled = |one: &&Activity| one.status == ActivityStatus::Cancelled;
    let cancelled = cloud.web().activities.iter().find(cancelled).unwrap();
    assert!(cancelled.message.as_ref().unwrap().contains("Server.InsufficientInstanceCapacity"));
    // An image that is gone fails its launches, too.
    cloud.world.set_shortages(Vec::new());
    let template = cloud.web().members[0].template.id.clone().unwrap();
    cloud
        .world
        .delete_launch_template(&TemplateSpec { id: Some(template), ..Default::default() }, false)
        .unwrap();
    cloud.run_well(65);
    let failed = cloud.last_activity();
    assert_eq!(failed.status, ActivityStatus::Failed);
    assert!(failed.message.unwrap().contains("does not exist"));
}

#[test]
fn an_instance_is_judged_by_its_target_groups_only_where_the_group_says_so_and_after_the_grace_period() {
    for (kind, grace, replaced_after) in [
        (HealthCheckType::Ec2, 0, None),
        (HealthCheckType::Elb, 0, Some(60)),
        (HealthCheckType::Elb, 120, Some(130)),
    ] {
        let mut cloud = Cloud::new();
        let Balancer { group, .. } = cloud.balancer();
        cloud.group((1, 1, 1), |r| {
            r.target_groups = vec![group.clone()];
            r.health_check_type = Some(kind);
            r.health_check_grace = Some(grace);
        });
        cloud.run_well(4);
        let first = cloud.ids();
        let sick = |_: &World, id: &str| if id == first[0] { Seen::Status(500) } else { Seen::Status(200) };
        cloud.turn(100, sick);
        assert_eq!(cloud.ids() == first, replaced_after != Some(60), "{kind:?} {grace}");
        cloud.turn(60, sick);
        assert_eq!(
            cloud.web().member(&first[0]).is_none_or(|one| one.lifecycle.is_ending()),
            replaced_after.is_some()
        );
    }
}

#[test]
fn an_instance_drains_before_it_goes_and_gets_nothing_meanwhile() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    cloud.group((0, 2, 2), |r| r.target_groups = vec![group.clone()]);
    cloud.run_well(40);
    let ids = cloud.ids();
    assert_eq!(cloud.pools(), [(1, ids.clone())]);
    assert_eq!(cloud.world.describe_group_target_groups("web").unwrap(), [(group.clone(), "InService")]);
    cloud.world.set_desired_capacity(cloud.now, "web", 1, false).unwrap();
    cloud.run_well(1);
    assert_eq!(cloud.states(), ["Terminating", "InService"]);
    assert_eq!(cloud.last_activity().status, ActivityStatus::WaitingForDraining);
    assert_eq!(cloud.pools(), [(1, vec![ids[1].clone()])]);
    cloud.run_well(290);
    assert_eq!(cloud.states(), ["Terminating", "InService"]);
    assert_eq!(cloud.state(&ids[0]), InstanceState::Running);
    cloud.run_well(15);
    assert_eq!(cloud.states(), ["InService"]);
    // Detached, the target group has none of the group any more.
    cloud.world.detach_target_groups(cloud.now, "web", std::slice::from_ref(&group)).unwrap();
    assert_eq!(cloud.pools(), [(1, vec![])]);
    assert_eq!(
        code(cloud.world.detach_target_groups(cloud.now, "web", std::slice::from_ref(&group))),
        "ValidationError"
    );
    cloud.world.attach_target_groups(cloud.now, "web", std::slice::from_ref(&group)).unwrap();
    cloud.run_well(40);
    assert_eq!(cloud.pools(), [(1, vec![ids[1].clone()])]);
}

#[test]
fn a_mixed_group_tries_its_overrides_in_order() {
    let mut cloud = Cloud::new();
    let template = cloud.template("web");
    let one = |kind: &str, weight| Override {
        instance_type: Some(kind.into()),
        weight: Some(weight),
        ..Override::default()
    };
    let policy = MixedInstancesPolicy {
        template: TemplateSpec::of(&template, 1),
        overrides: vec![one("c7i.large", 1), one("c7i.xlarge", 2)],
        distribution: Distribution { on_demand_base: 1, on_demand_percentage: 0 },
    };
    let request = CreateGroup::new("web", Configuration::Mixed(policy.clone()), (1, 5, 6), &cloud.subnets());
    cloud.world.set_shortages(vec![Shortage::of(Lack::Capacity).for_type("c7i.large").if_spot(true)]);
    cloud.world.create_auto_scaling_group(cloud.now, &request).unwrap();
    cloud.run_well(5);
    let kinds: Vec<_> =
        cloud.web().members.iter().map(|one| (one.instance_type.as_str(), one.weight)).collect();
    assert_eq!(kinds, [("c7i.large", 1), ("c7i.xlarge", 2), ("c7i.xlarge", 2)]);
    let spot = cloud.world.instances().filter(|one| one.spot).count();
    assert_eq!((spot, cloud.web().capacity()), (2, 5));
    let refused = |change: &dyn Fn(&mut MixedInstancesPolicy)| {
        let mut policy = policy.clone();
        change(&mut policy);
        let update = UpdateGroup { configuration: Some(Configuration::Mixed(policy)), ..Default::default() };
        code(cloud.world.clone().update_auto_scaling_group("web", &update))
    };
    assert_eq!(refused(&|p| p.overrides[0].weight = None), "ValidationError");
    assert_eq!(refused(&|p| p.overrides[0].weight = Some(1000)), "ValidationError");
    assert_eq!(refused(&|p| p.overrides[0].image = Some("resolve:ssm:/x".into())), "ValidationError");
    assert_eq!(refused(&|p| p.template.version = Some("9".into())), "ValidationError");
    assert_eq!(refused(&|p| p.distribution.on_demand_percentage = 101), "ValidationError");
}

#[test]
fn a_group_is_deleted_empty_or_by_force() {
    let mut cloud = Cloud::new();
    let hook = Hook::new("down", Transition::Terminating);
    cloud.group((1, 2, 2), |r| {
        r.hooks = vec![hook.clone()];
        r.deletion_protection = DeletionProtection::PreventForceDeletion;
    });
    cloud.run_well(5);
    assert_eq!(code(cloud.world.delete_auto_scaling_group(cloud.now, "web", false)), "ResourceInUse");
    assert_eq!(code(cloud.world.delete_auto_scaling_group(cloud.now, "web", true)), "ValidationError");
    let change = UpdateGroup { deletion_protection: Some(DeletionProtection::None), ..Default::default() };
    cloud.world.update_auto_scaling_group("web", &change).unwrap();
    cloud.world.delete_auto_scaling_group(cloud.now, "web", true).unwrap();
    assert_eq!(cloud.web().status(), Some("Delete in progress"));
    assert_eq!(
        code(cloud.world.set_desired_capacity(cloud.now, "web", 1, false)),
        "ScalingActivityInProgress"
    );
    cloud.run_well(5);
    assert_eq!(code(cloud.world.auto_scaling_group("web")), "ValidationError");
    assert_eq!(cloud.world.live_instances().count(), 0);
    assert_eq!(code(cloud.world.delete_auto_scaling_group(cloud.now, "web", true)), "ValidationError");
}

#[test]
fn a_group_is_refused_as_auto_scaling_refuses_it() {
    let mut cloud = Cloud::new();
    let template = cloud.template("web");
    let configuration = Configuration::Template(TemplateSpec::of(&template, 1));
    let subnets = cloud.subnets();
    let mut refused = |change: &dyn Fn(&mut CreateGroup)| {
        let mut request = CreateGroup::new("web", configuration.clone(), (1, 2, 3), &subnets);
        change(&mut request);
        code(cloud.world.create_auto_scaling_group(cloud.now, &request))
    };
    assert_eq!(refused(&|r| r.desired = Some(4)), "ValidationError");
    assert_eq!(refused(&|r| (r.min_size, r.max_size) = (3, 2)), "ValidationError");
    assert_eq!(refused(&|r| r.subnets = Vec::new()), "ValidationError");
    assert_eq!(refused(&|r| r.subnets = vec!["subnet-1".into()]), "ValidationError");
    assert_eq!(refused(&|r| r.target_groups = vec!["arn:x".into()]), "ValidationError");
    assert_eq!(refused(&|r| r.name = "a:b".into()), "ValidationError");
    let policy = |min_healthy, max_healthy| Some(MaintenancePolicy { min_healthy, max_healthy });
    assert_eq!(refused(&|r| r.maintenance = policy(50, 151)), "ValidationError");
    assert_eq!(refused(&|r| r.maintenance = policy(100, 201)), "ValidationError");
    let unknown = Configuration::Template(TemplateSpec::of("lt-0123456789abcdef0", 1));
    assert_eq!(refused(&|r| r.configuration = unknown.clone()), "ValidationError");
    let request = CreateGroup::new("web", configuration.clone(), (1, 2, 3), &subnets);
    cloud.world.create_auto_scaling_group(cloud.now, &request).unwrap();
    assert_eq!(code(cloud.world.create_auto_scaling_group(cloud.now, &request)), "AlreadyExists");
    // Names that nobody has are left out.
    let request = DescribeGroups { names: vec!["web".into(), "nobody".into()], ..Default::default() };
    assert_eq!(cloud.world.describe_auto_scaling_groups(&request).unwrap().items.len(), 1);
    assert_eq!(
        code(cloud.world.set_instance_health(cloud.now, "i-0123456789abcdef0", true, true)),
        "ValidationError"
    );
    let tags = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let tag = GroupTag { key: "a".into(), value: "b".into(), propagate: false };
    cloud.world.create_or_update_group_tags("web", &[tag]).unwrap();
    assert_eq!(cloud.web().tags, tags);
    let filter = Filter { name: "tag:a".into(), values: vec!["b".into()] };
    let request = DescribeGroups { filters: vec![filter], ..Default::default() };
    assert_eq!(cloud.world.describe_auto_scaling_groups(&request).unwrap().items.len(), 1);
}

#[test]
fn a_world_of_before_has_no_groups_and_a_world_of_now_goes_on() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    cloud.group((1, 2, 2), |r| r.target_groups = vec![group.clone()]);
    cloud.run_well(40);
    let mut saved = serde_json::to_value(&cloud.world).unwrap();
    cloud.world = serde_json::from_value(saved.clone()).unwrap();
    cloud.world.set_desired_capacity(cloud.now, "web", 1, false).unwrap();
    cloud.run_well(310);
    assert_eq!((cloud.states(), cloud.pools().len()), (vec!["InService"], 1));
    for new in ["scaling", "balancing", "alarms"] {
        saved.as_object_mut().unwrap().remove(new).unwrap();
    }
    let before: World = serde_json::from_value(saved).unwrap();
    assert_eq!((before.auto_scaling_groups().count(), before.routes().len()), (0, 0));
}

#[test]
fn what_is_desired_follows_the_limits() {
    let mut cloud = Cloud::new();
    cloud.group((1, 3, 5), |_| {});
    for (min_size, max_size, desired) in [(None, Some(2), 2), (Some(4), Some(5), 4), (Some(0), None, 4)] {
        let change = UpdateGroup { min_size, max_size, ..UpdateGroup::default() };
        cloud.world.update_auto_scaling_group("web", &change).unwrap();
        assert_eq!(cloud.web().desired, desired);
    }
    let above = UpdateGroup { desired: Some(6), ..UpdateGroup::default() };
    assert_eq!(code(cloud.world.update_auto_scaling_group("web", &above)), "ValidationError");
    let min = UpdateGroup { min_size: Some(6), ..UpdateGroup::default() };
    assert_eq!(code(cloud.world.update_auto_scaling_group("web", &min)), "ValidationError");
}
