//! Single instances of Auto Scaling groups: hooks, standby, protection, who goes first.

use ovenbird_sim::{auto_scaling::*, launch_templates::*};

use super::{balancing::Balancer, *};

#[test]
fn a_hook_waits_and_its_default_ends_the_wait() {
    let mut cloud = Cloud::new();
    cloud.group((0, 1, 2), |r| {
        let launching = Hook { heartbeat_timeout: 60, ..Hook::new("up", Transition::Launching) };
        let ending = Hook { heartbeat_timeout: 30, ..Hook::new("down", Transition::Terminating) };
        r.hooks = vec![launching, ending];
    });
    cloud.run_well(10);
    assert_eq!(cloud.states(), ["Pending:Wait"]);
    let first = cloud.ids()[0].clone();
    // A heartbeat makes it longer; without one, ABANDON ends the instance, and another comes.
    cloud.run_well(40);
    let beat = cloud.world.record_lifecycle_action_heartbeat(cloud.now, "web", "up", None, Some(&first));
    beat.unwrap();
    cloud.run_well(50);
    assert_eq!(cloud.states(), ["Pending:Wait"]);
    cloud.run_well(15);
    assert!(cloud.web().member(&first).is_none_or(|member| member.lifecycle.is_ending()));
    let given_up = cloud.web().activities[0].clone();
    assert_eq!(given_up.status, ActivityStatus::Cancelled);
    assert!(given_up.message.unwrap().contains("Heartbeat Timeout"));
    cloud.run_well(35);
    let second = cloud.web().members.iter().find(|one| one.lifecycle.is_pending()).unwrap().clone();
    let token = second.waits[0].token.clone();
    let complete = |cloud: &mut Cloud, hook: &str, token: Option<&str>, result| {
        cloud.world.complete_lifecycle_action("web", hook, token, None, result)
    };
    complete(&mut cloud, "up", Some(&token), ActionResult::Continue).unwrap();
    assert_eq!(code(complete(&mut cloud, "up", Some(&token), ActionResult::Continue)), "ValidationError");
    assert_eq!(code(complete(&mut cloud, "up", None, ActionResult::Continue)), "ValidationError");
    cloud.run_well(40);
    assert_eq!(cloud.states(), ["InService"]);
    cloud.world.set_desired_capacity(cloud.now, "web", 0, false).unwrap();
    cloud.run_well(20);
    assert_eq!(cloud.states(), ["Terminating:Wait"]);
    assert_eq!(cloud.state(second.instance.as_str()), InstanceState::Running);
    cloud.run_well(15);
    assert!(cloud.states().is_empty());
    let bad = Hook { heartbeat_timeout: 29, ..Hook::new("x", Transition::Launching) };
    assert_eq!(code(cloud.world.put_lifecycle_hook("web", bad)), "ValidationError");
    assert_eq!(code(cloud.world.delete_lifecycle_hook("web", "x")), "ValidationError");
}

#[test]
fn standby_is_out_of_service_and_comes_back() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    cloud.group((1, 2, 2), |r| r.target_groups = vec![group.clone()]);
    cloud.run_well(40);
    let ids = cloud.ids();
    let one = std::slice::from_ref(&ids[0]);
    cloud.world.enter_standby(cloud.now, "web", one, true).unwrap();
    assert_eq!((cloud.states()[0], cloud.web().desired), ("EnteringStandby", 1));
    assert_eq!(cloud.pools(), [(1, vec![ids[1].clone()])]);
    assert_eq!(code(cloud.world.enter_standby(cloud.now, "web", one, true)), "ValidationError");
    cloud.run_well(310);
    assert_eq!(cloud.states(), ["Standby", "InService"]);
    // The minimum is the least that stays in service.
    assert_eq!(code(cloud.world.enter_standby(cloud.now, "web", &ids[1..], true)), "ValidationError");
    // On standby nobody looks at its health.
    cloud.world.stop_instances(one, false).unwrap();
    cloud.run_well(10);
    assert_eq!(cloud.states(), ["Standby", "InService"]);
    cloud.world.start_instances(one, false).unwrap();
    cloud.run_well(5);
    cloud.world.exit_standby(cloud.now, "web", one).unwrap();
    assert_eq!((cloud.states()[0], cloud.web().desired), ("Pending", 2));
    cloud.run_well(40);
    assert_eq!(
        (cloud.states(), cloud.pools()),
        (vec!["InService"; 2], vec![(1, vec![ids[1].clone(), ids[0].clone()])])
    );
    // Not given up, its place is taken; and then there is none for it.
    cloud.world.enter_standby(cloud.now, "web", one, false).unwrap();
    cloud.run_well(310);
    assert_eq!(cloud.states(), ["Standby", "InService", "InService"]);
    assert_eq!(code(cloud.world.exit_standby(cloud.now, "web", one)), "ValidationError");
}

#[test]
fn who_goes_first_is_as_the_policies_say_and_never_who_is_protected() {
    for (policy, stays) in [
        (TerminationPolicy::Default, "b"),
        (TerminationPolicy::OldestLaunchTemplate, "b"),
        (TerminationPolicy::OldestInstance, "b"),
        (TerminationPolicy::NewestInstance, "a"),
    ] {
        let mut cloud = Cloud::new();
        let subnet = cloud.subnets()[..1].to_vec();
        let template = cloud.group((0, 1, 3), |r| {
            r.termination_policies = vec![policy];
            r.subnets = subnet.clone();
        });
        cloud.run_well(5);
        let a = cloud.ids()[0].clone();
        cloud.version(&template, cloud.data());
        let configuration = Some(Configuration::Template(TemplateSpec::of(&template, 2)));
        let change = UpdateGroup { configuration, desired: Some(2), ..UpdateGroup::default() };
        cloud.world.update_auto_scaling_group("web", &change).unwrap();
        cloud.run_well(5);
        let b = cloud.ids()[1].clone();
        cloud.world.set_desired_capacity(cloud.now, "web", 1, false).unwrap();
        cloud.run_well(5);
        assert_eq!(cloud.ids(), [if stays == "a" { a } else { b }], "{policy:?}");
    }
    let mut cloud = Cloud::new();
    cloud.group((0, 2, 2), |r| r.protects_new_instances = true);
    cloud.run_well(5);
    cloud.world.set_desired_capacity(cloud.now, "web", 0, false).unwrap();
    cloud.run_well(5);
    assert_eq!(cloud.states(), ["InService"; 2]);
    assert!(cloud.last_activity().message.unwrap().contains("protected from scale in"));
    let ids = cloud.ids();
    cloud.world.set_instance_protection("web", &ids[..1], false).unwrap();
    cloud.run_well(5);
    assert_eq!(cloud.ids(), ids[1..]);
    // Protection from scale in protects from nothing else.
    cloud.world.terminate_instance_in_auto_scaling_group(cloud.now, &ids[1], false).unwrap();
    cloud.run_well(5);
    assert!(cloud.ids().is_empty());
}

#[test]
fn a_maintenance_policy_launches_before_it_terminates() {
    let mut cloud = Cloud::new();
    cloud.group((1, 2, 4), |r| {
        r.maintenance = Some(MaintenancePolicy { min_healthy: 100, max_healthy: 150 });
        r.default_warmup = Some(20);
    });
    cloud.run_well(30);
    let ids = cloud.ids();
    cloud.world.set_instance_health(cloud.now, &ids[0], false, true).unwrap();
    cloud.run_well(1);
    assert_eq!(cloud.states(), ["InService", "InService", "Pending"]);
    cloud.run_well(10);
    assert!(cloud.ids().contains(&ids[0]), "the new one is not warm yet");
    cloud.run_well(20);
    assert_eq!(cloud.states(), ["InService"; 2]);
    assert!(!cloud.ids().contains(&ids[0]));
    // Who is gone is replaced at once, whatever the policy says.
    cloud.world.terminate_instances(&ids[1..], false).unwrap();
    cloud.run_well(5);
    assert_eq!(cloud.states(), ["InService"; 2]);
}

#[test]
fn what_is_suspended_is_not_done() {
    let mut cloud = Cloud::new();
    let Balancer { group, .. } = cloud.balancer();
    cloud.group((0, 1, 3), |r| r.target_groups = vec![group.clone()]);
    let suspend =
        |cloud: &mut Cloud, process| cloud.world.suspend_processes(cloud.now, "web", &[process]).unwrap();
    let resume = |cloud: &mut Cloud, process| cloud.world.resume_processes("web", &[process]).unwrap();
    suspend(&mut cloud, Process::Launch);
    cloud.run_well(10);
    assert!(cloud.states().is_empty());
    resume(&mut cloud, Process::Launch);
    suspend(&mut cloud, Process::AddToLoadBalancer);
    cloud.run_well(40);
    assert_eq!((cloud.states(), cloud.pools()), (vec!["InService"], vec![(1, vec![])]));
    // Who came meanwhile is not added afterwards, as AWS documents.
    resume(&mut cloud, Process::AddToLoadBalancer);
    cloud.run_well(40);
    assert_eq!(cloud.pools(), [(1, vec![])]);
    suspend(&mut cloud, Process::Terminate);
    cloud.world.set_desired_capacity(cloud.now, "web", 0, false).unwrap();
    cloud.run_well(10);
    assert_eq!(cloud.states(), ["InService"]);
    cloud.world.set_desired_capacity(cloud.now, "web", 1, false).unwrap();
    resume(&mut cloud, Process::Terminate);
    suspend(&mut cloud, Process::ReplaceUnhealthy);
    let id = cloud.ids()[0].clone();
    cloud.world.set_instance_health(cloud.now, &id, false, true).unwrap();
    cloud.run_well(10);
    assert_eq!(cloud.web().members[0].health_status(), "Unhealthy");
    resume(&mut cloud, Process::ReplaceUnhealthy);
    cloud.run_well(10);
    assert!(!cloud.ids().contains(&id));
    assert_eq!(code(Process::parse("Everything")), "ValidationError");
}

#[test]
fn an_instance_whose_end_is_abandoned_is_retained_where_the_group_says_so() {
    for (retains, result, stays) in [
        (true, ActionResult::Abandon, true),
        (true, ActionResult::Continue, false),
        (false, ActionResult::Abandon, false),
    ] {
        let mut cloud = Cloud::new();
        let hook = Hook::new("down", Transition::Terminating);
        cloud.group((1, 1, 2), |r| (r.hooks, r.retains_abandoned) = (vec![hook.clone()], retains));
        cloud.run_well(5);
        let first = cloud.ids().remove(0);
        cloud.world.set_instance_health(cloud.now, &first, false, false).unwrap();
        cloud.run_well(5);
        assert_eq!(cloud.states()[0], "Terminating:Wait");
        cloud.world.complete_lifecycle_action("web", "down", None, Some(&first), result).unwrap();
        cloud.run_well(5);
        if !stays {
            assert_eq!((cloud.states(), cloud.state(&first)), (vec!["InService"], InstanceState::Terminated));
            continue;
        }
        // Its place is taken by another, and it runs on.
        assert_eq!(cloud.states(), ["Terminating:Retained", "InService"]);
        assert_eq!((cloud.state(&first), cloud.web().capacity()), (InstanceState::Running, 1));
        cloud.run_well(8000);
        assert_eq!(cloud.states(), ["Terminating:Retained", "InService"]);
        cloud.world.terminate_instance_in_auto_scaling_group(cloud.now, &first, false).unwrap();
        cloud.run_well(5);
        assert_eq!((cloud.states(), cloud.state(&first)), (vec!["InService"], InstanceState::Terminated));
    }
}
