//! Load balancers, their target groups and the health of targets, as AWS documents them.

use std::collections::BTreeMap;

use ovenbird_sim::{alarms::*, load_balancing::*};

use super::*;

/// A load balancer with a listener on port 80 that sends everything to one group.
pub(crate) struct Balancer {
    pub listener: String,
    pub group: String,
}

impl Cloud {
    pub(crate) fn target_group(&mut self, name: &str) -> String {
        let vpc = self.world.describe_vpcs(&[], &[]).unwrap()[0].id.clone();
        let request = CreateTargetGroup { name: name.into(), port: 8080, vpc, ..Default::default() };
        self.world.create_target_group(&request).unwrap().arn
    }

    pub(crate) fn balancer(&mut self) -> Balancer {
        let subnets = self.world.describe_subnets(&[], &[]).unwrap();
        let request = CreateLoadBalancer {
            name: "web".into(),
            subnets: subnets.into_iter().map(|subnet| subnet.id).collect(),
            ..CreateLoadBalancer::default()
        };
        let balancer = self.world.create_load_balancer(self.now, &request).unwrap();
        let group = self.target_group("web");
        let request = CreateListener {
            balancer: balancer.arn,
            port: 80,
            default_action: Action::Forward(Forward::to(&group)),
            tags: Tags::new(),
        };
        let listener = self.world.create_listener(&request).unwrap().arn;
        self.world.tick(self.now);
        Balancer { listener, group }
    }

    /// Everything that is due is checked, with this result.
    pub(crate) fn probe(&mut self, seen: impl Fn(&str) -> Seen) {
        for due in self.world.due_probes(self.now) {
            let id = due.instance.as_str();
            self.world.probed(self.now, &due.group, id, due.port, seen(id)).unwrap();
        }
    }

    fn target(&mut self, group: &str) -> String {
        let id = self.launch();
        self.pass(3);
        self.world.register_targets(self.now, group, &[TargetId::of(&id)]).unwrap();
        id
    }

    fn health(&self, group: &str, id: &str) -> (&'static str, &'static str) {
        let found = self.world.describe_target_health(group, &[TargetId::of(id)]).unwrap().remove(0);
        (found.health.state.as_str(), found.health.reason.unwrap_or_default())
    }

    /// Who gets new requests on the listener's default rule: group's weight and instances.
    pub(crate) fn pools(&self) -> Vec<(u16, Vec<String>)> {
        let routes = self.world.routes();
        let default = routes.iter().find(|route| route.priority.is_none()).unwrap();
        let RouteAction::Forward { pools, .. } = &default.action else { panic!("{default:?}") };
        let names = |pool: &Pool| pool.targets.iter().map(|one| one.instance.to_string()).collect();
        pools.iter().map(|pool| (pool.weight, names(pool))).collect()
    }
}

#[test]
fn a_target_goes_from_initial_to_healthy_by_one_check_and_back_by_the_thresholds() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    let id = cloud.target(&group);
    assert_eq!(cloud.health(&group, &id), ("initial", "Elb.RegistrationInProgress"));
    cloud.probe(|_| Seen::Failed);
    assert_eq!(cloud.health(&group, &id), ("initial", "Elb.InitialHealthChecking"));
    // The next check is due after the interval, not before.
    cloud.probe(|_| Seen::Status(200));
    assert_eq!(cloud.health(&group, &id).0, "initial");
    cloud.pass(30);
    cloud.probe(|_| Seen::Status(200));
    assert_eq!(cloud.health(&group, &id), ("healthy", ""));
    for (seen, reason) in [
        (Seen::Status(500), "Target.ResponseCodeMismatch"),
        (Seen::Timeout, "Target.Timeout"),
        (Seen::Failed, "Target.FailedHealthChecks"),
    ] {
        cloud.pass(30);
        cloud.probe(|_| seen);
        assert_eq!(cloud.health(&group, &id).0, "healthy", "one bad check is not two");
        cloud.pass(30);
        cloud.probe(|_| seen);
        assert_eq!(cloud.health(&group, &id), ("unhealthy", reason));
        for good in 1..=5 {
            cloud.pass(30);
            cloud.probe(|_| Seen::Status(200));
            // It stays unhealthy for the reason that it had.
            assert_eq!(
                cloud.health(&group, &id),
                if good < 5 { ("unhealthy", reason) } else { ("healthy", "") }
            );
        }
    }
}

#[test]
fn nobody_is_judged_where_nothing_sends_and_who_comes_into_use_begins_anew() {
    let mut cloud = Cloud::new();
    let Balancer { listener, group } = cloud.balancer();
    let spare = cloud.target_group("spare");
    let id = cloud.target(&spare);
    assert_eq!(cloud.health(&spare, &id), ("unused", "Target.NotInUse"));
    assert!(cloud.world.due_probes(cloud.now).is_empty());
    let forward = |weights: &[(&String, u16)]| {
        let groups =
            weights.iter().map(|(group, weight)| Weighted { group: (*group).clone(), weight: *weight });
        Action::Forward(Forward { groups: groups.collect(), stickiness: None })
    };
    let set = |cloud: &mut Cloud, action: Action| {
        let change = ModifyListener { default_action: Some(action), ..ModifyListener::default() };
        cloud.world.modify_listener(&listener, &change)
    };
    set(&mut cloud, forward(&[(&group, 999), (&spare, 0)])).unwrap();
    assert_eq!(cloud.health(&spare, &id).0, "initial");
    cloud.probe(|_| Seen::Status(200));
    assert_eq!(cloud.pools(), [(999, vec![]), (0, vec![id.clone()])]);
    set(&mut cloud, Action::Forward(Forward::to(&group))).unwrap();
    assert_eq!(cloud.health(&spare, &id).0, "unused");
    set(&mut cloud, forward(&[(&group, 0), (&spare, 100)])).unwrap();
    assert_eq!(cloud.health(&spare, &id).0, "initial", "what was healthy long ago may be dead");
    assert_eq!(code(set(&mut cloud, forward(&[(&group, 1000)]))), "ValidationError");
    assert_eq!(code(set(&mut cloud, forward(&[]))), "ValidationError");
    assert_eq!(code(set(&mut cloud, forward(&[(&group, 1), (&group, 2)]))), "ValidationError");
    assert_eq!(code(set(&mut cloud, forward(&[(&"arn:x".into(), 1)]))), "TargetGroupNotFound");
    assert_eq!(code(cloud.world.delete_target_group(&spare)), "ResourceInUse");
    // An instance that stops is out of use at once.
    cloud.world.stop_instances(std::slice::from_ref(&id), false).unwrap();
    assert_eq!(cloud.health(&spare, &id), ("unused", "Target.InvalidState"));
}

#[test]
fn a_deregistered_target_drains_for_the_delay_or_until_it_has_drained() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    let (one, two) = (cloud.target(&group), cloud.target(&group));
    cloud.probe(|_| Seen::Status(200));
    cloud.world.deregister_targets(cloud.now, &group, &[TargetId::of(&one)]).unwrap();
    assert_eq!(cloud.health(&group, &one), ("draining", "Target.DeregistrationInProgress"));
    assert_eq!(cloud.pools(), [(1, vec![two.clone()])]);
    // No check brings it back.
    cloud.now += SignedDuration::from_secs(60);
    cloud.probe(|_| Seen::Status(200));
    assert_eq!(cloud.health(&group, &one).0, "draining");
    cloud.now += SignedDuration::from_secs(239);
    cloud.world.tick(cloud.now);
    assert_eq!(cloud.health(&group, &one).0, "draining");
    cloud.now += SignedDuration::from_secs(1);
    cloud.world.tick(cloud.now);
    assert_eq!(cloud.health(&group, &one), ("unused", "Target.NotRegistered"));
    cloud.world.deregister_targets(cloud.now, &group, &[TargetId::of(&two)]).unwrap();
    cloud.world.drained(&group, &two, 8080).unwrap();
    assert_eq!(cloud.health(&group, &two), ("unused", "Target.NotRegistered"));
    // One that is gone is deregistered, too.
    cloud.world.deregister_targets(cloud.now, &group, &[TargetId::of(&two)]).unwrap();
    // With no delay at all it goes at once.
    let none = BTreeMap::from([("deregistration_delay.timeout_seconds".to_owned(), "0".to_owned())]);
    cloud.world.modify_target_group_attributes(&group, &none).unwrap();
    cloud.world.register_targets(cloud.now, &group, &[TargetId::of(&one)]).unwrap();
    cloud.world.deregister_targets(cloud.now, &group, &[TargetId::of(&one)]).unwrap();
    assert!(cloud.world.describe_target_health(&group, &[]).unwrap().is_empty());
}

#[test]
fn a_load_balancer_with_no_healthy_target_fails_open() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    let (one, two) = (cloud.target(&group), cloud.target(&group));
    let both = [(1, vec![one.clone(), two.clone()])];
    assert_eq!(cloud.pools(), both);
    cloud.probe(|id| if id == one { Seen::Status(200) } else { Seen::Failed });
    assert_eq!(cloud.pools(), [(1, vec![one.clone()])]);
    for _ in 0..2 {
        cloud.pass(30);
        cloud.probe(|_| Seen::Status(500));
    }
    assert_eq!(cloud.pools(), both);
}

#[test]
fn only_running_instances_are_registered_and_ended_ones_go() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    let pending = cloud.launch();
    let register =
        |cloud: &mut Cloud, id: &str| cloud.world.register_targets(cloud.now, &group, &[TargetId::of(id)]);
    assert_eq!(code(register(&mut cloud, &pending)), "InvalidTarget");
    assert_eq!(code(register(&mut cloud, "i-0123456789abcdef0")), "InvalidTarget");
    cloud.pass(3);
    register(&mut cloud, &pending).unwrap();
    cloud.probe(|_| Seen::Status(200));
    cloud.world.terminate_instances(std::slice::from_ref(&pending), false).unwrap();
    assert_eq!(cloud.health(&group, &pending), ("unused", "Target.InvalidState"));
    assert_eq!(cloud.pools(), [(1, vec![])]);
    cloud.pass(0);
    cloud.pass(2);
    cloud.world.tick(cloud.now);
    assert!(cloud.world.describe_target_health(&group, &[]).unwrap().is_empty());
}

#[test]
fn settings_are_refused_as_elastic_load_balancing_refuses_them() {
    let mut cloud = Cloud::new();
    let Balancer { listener, group } = cloud.balancer();
    let change = |cloud: &mut Cloud, change: HealthCheckChange| {
        cloud.world.modify_target_group(&group, &change).map(|group| group.health_check)
    };
    let quick = HealthCheckChange {
        interval: Some(5),
        timeout: Some(2),
        healthy_threshold: Some(2),
        matcher: Some("200-299,404".into()),
        ..HealthCheckChange::default()
    };
    let made = change(&mut cloud, quick).unwrap();
    assert_eq!([200, 299, 404, 300].map(|status| made.accepts(status)), [true, true, true, false]);
    for bad in [
        HealthCheckChange { interval: Some(4), ..Default::default() },
        HealthCheckChange { timeout: Some(5), ..Default::default() },
        HealthCheckChange { healthy_threshold: Some(1), ..Default::default() },
        HealthCheckChange { unhealthy_threshold: Some(11), ..Default::default() },
        HealthCheckChange { matcher: Some("200-500".into()), ..Default::default() },
        HealthCheckChange { matcher: Some("ok".into()), ..Default::default() },
        HealthCheckChange { path: Some("health".into()), ..Default::default() },
        HealthCheckChange { port: Some("0".into()), ..Default::default() },
    ] {
        assert_eq!(code(change(&mut cloud, bad.clone())), "ValidationError", "{bad:?}");
    }
    for (name, value, expected) in [
        ("deregistration_delay.timeout_seconds", "3601", "ValidationError"),
        ("slow_start.duration_seconds", "29", "ValidationError"),
        ("colour", "red", "ValidationError"),
        ("load_balancing.algorithm.anomaly_mitigation", "on", "InvalidConfigurationRequest"),
    ] {
        let change = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(code(cloud.world.modify_target_group_attributes(&group, &change)), expected, "{name}");
    }
    let balancer = cloud.world.describe_load_balancers(&[], &["web".into()], &Paging::default()).unwrap();
    let balancer = &balancer.items[0];
    assert_eq!((balancer.state(), balancer.zones.len()), ("active", 3));
    let again = CreateListener {
        balancer: balancer.arn.clone(),
        port: 80,
        default_action: Action::Forward(Forward::to(&group)),
        tags: Tags::new(),
    };
    assert_eq!(code(cloud.world.create_listener(&again)), "DuplicateListener");
    let one_zone = CreateLoadBalancer {
        name: "small".into(),
        subnets: balancer.subnets[..1].to_vec(),
        ..CreateLoadBalancer::default()
    };
    assert_eq!(code(cloud.world.create_load_balancer(cloud.now, &one_zone)), "ValidationError");
    let other =
        CreateLoadBalancer { name: "web".into(), subnets: balancer.subnets[..2].to_vec(), ..one_zone };
    assert_eq!(code(cloud.world.create_load_balancer(cloud.now, &other)), "DuplicateLoadBalancerName");
    // A group belongs to one load balancer.
    let other = CreateLoadBalancer { name: "other".into(), ..other };
    let other = cloud.world.create_load_balancer(cloud.now, &other).unwrap();
    assert_eq!(other.state(), "provisioning");
    let taken = CreateListener { balancer: other.arn, ..again };
    assert_eq!(code(cloud.world.create_listener(&taken)), "TargetGroupAssociationLimit");
    cloud.world.delete_listener(&listener).unwrap();
    assert_eq!(code(cloud.world.delete_listener(&listener)), "ListenerNotFound");
    cloud.world.delete_target_group(&group).unwrap();
}

#[test]
fn a_rule_is_tried_by_priority_and_the_default_one_stays() {
    let mut cloud = Cloud::new();
    let Balancer { listener, .. } = cloud.balancer();
    let fixed = |status| Action::FixedResponse { status, content_type: None, body: None };
    let rule = |priority| CreateRule {
        listener: listener.clone(),
        priority,
        conditions: vec![Condition::PathPattern(vec!["/x".into()])],
        action: fixed(404),
        tags: Tags::new(),
    };
    let second = cloud.world.create_rule(&rule(20)).unwrap();
    cloud.world.create_rule(&rule(10)).unwrap();
    assert_eq!(code(cloud.world.create_rule(&rule(10))), "PriorityInUse");
    assert_eq!(code(cloud.world.create_rule(&rule(0))), "ValidationError");
    let rules = cloud.world.describe_rules(Some(&listener), &[]).unwrap();
    let order: Vec<_> = rules.iter().map(|rule| rule.priority).collect();
    assert_eq!(order, [Some(10), Some(20), None]);
    assert_eq!(code(cloud.world.delete_rule(&rules[2].arn)), "OperationNotPermitted");
    let changed = cloud.world.modify_rule(&second.arn, None, Some(&fixed(503))).unwrap();
    assert_eq!(changed.action, fixed(503));
    assert_eq!(code(cloud.world.modify_rule(&second.arn, None, Some(&fixed(301)))), "ValidationError");
    cloud.world.delete_rule(&second.arn).unwrap();
    assert_eq!(code(cloud.world.modify_rule(&second.arn, None, None)), "RuleNotFound");
    let tags = Tags::from([("a".to_owned(), "b".to_owned())]);
    let arns = [listener.clone(), rules[0].arn.clone()];
    cloud.world.add_elb_tags(&arns, &tags).unwrap();
    assert!(cloud.world.describe_elb_tags(&arns).unwrap().iter().all(|(_, own)| *own == tags));
    cloud.world.remove_elb_tags(&arns, &["a".into()]).unwrap();
    assert!(cloud.world.describe_elb_tags(&arns).unwrap().iter().all(|(_, own)| own.is_empty()));
}

#[test]
fn what_anomaly_detection_says_is_data() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    let id = cloud.target(&group);
    let anomaly = Anomaly { anomalous: true, mitigation_in_effect: false };
    cloud.world.set_anomaly(&group, &id, anomaly).unwrap();
    assert_eq!(cloud.world.describe_target_health(&group, &[]).unwrap()[0].anomaly, anomaly);
}

#[test]
fn an_alarm_has_too_few_data_until_somebody_says_otherwise() {
    let mut cloud = Cloud::new();
    cloud.world.put_alarm(cloud.now, "errors", false).unwrap();
    cloud.world.put_alarm(cloud.now, "all", true).unwrap();
    let found = |cloud: &Cloud, change: &dyn Fn(&mut DescribeAlarms)| {
        let mut request = DescribeAlarms::default();
        change(&mut request);
        let page = cloud.world.describe_alarms(&request).unwrap();
        page.items.into_iter().map(|alarm| (alarm.name, alarm.state)).collect::<Vec<_>>()
    };
    assert_eq!(found(&cloud, &|_| {}), [("errors".to_owned(), AlarmState::InsufficientData)]);
    assert_eq!(found(&cloud, &|r| r.composite = Some(true)).len(), 1);
    cloud.world.set_alarm_state(cloud.now, "errors", AlarmState::Alarm, "too many").unwrap();
    assert_eq!(found(&cloud, &|r| r.state = Some(AlarmState::Alarm)).len(), 1);
    assert_eq!(found(&cloud, &|r| r.prefix = Some("x".into())), []);
    // Unknown names are left out, as CloudWatch leaves them out.
    assert_eq!(found(&cloud, &|r| r.names = vec!["errors".into(), "nobody".into()]).len(), 1);
    let unknown = cloud.world.set_alarm_state(cloud.now, "nobody", AlarmState::Ok, "");
    assert_eq!(code(unknown), "ResourceNotFound");
    assert_eq!(code(cloud.world.delete_alarms(&["errors".into(), "nobody".into()])), "ResourceNotFound");
    cloud.world.delete_alarms(&["errors".into()]).unwrap();
    assert_eq!(found(&cloud, &|_| {}), []);
}
