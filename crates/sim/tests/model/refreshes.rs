//! Instance refreshes, as AWS documents them.

use ovenbird_sim::{auto_scaling::refresh::*, auto_scaling::*, launch_templates::*, load_balancing::*};

use super::{balancing::Balancer, *};

/// A group of version 1 in service behind a load balancer, and version 2 of another type.
pub(crate) struct Lab {
    pub cloud: Cloud,
    pub template: String,
}

impl Lab {
    pub fn new(sizes: (u32, u32, u32), change: impl Fn(&mut CreateGroup)) -> Self {
        let mut cloud = Cloud::new();
        let Balancer { group, .. } = cloud.balancer();
        let quick = HealthCheckChange { interval: Some(5), timeout: Some(2), ..Default::default() };
        cloud.world.modify_target_group(&group, &quick).unwrap();
        let delay = [("deregistration_delay.timeout_seconds".to_owned(), "20".to_owned())].into();
        cloud.world.modify_target_group_attributes(&group, &delay).unwrap();
        let template = cloud.group(sizes, |r| {
            r.target_groups = vec![group.clone()];
            r.health_check_type = Some(HealthCheckType::Elb);
            r.health_check_grace = Some(10);
            change(r);
        });
        let data = LaunchTemplateData { instance_type: Some("c7i.large".into()), ..Default::default() };
        cloud.version(&template, data);
        cloud.run_well(60);
        Self { cloud, template }
    }

    pub fn version(&self, version: impl ToString) -> Configuration {
        Configuration::Template(TemplateSpec::of(&self.template, version))
    }

    /// New before old, all at once, by version 2.
    pub fn request(&self) -> StartInstanceRefresh {
        let preferences = RefreshPreferences {
            min_healthy: Some(100),
            max_healthy: Some(200),
            skip_matching: true,
            protected: Some(WhenFound::Ignore),
            standby: Some(WhenFound::Ignore),
            ..RefreshPreferences::default()
        };
        StartInstanceRefresh { group: "web".into(), desired: Some(self.version(2)), preferences }
    }

    pub fn try_start(&mut self, change: impl Fn(&mut StartInstanceRefresh)) -> Result<String> {
        let mut request = self.request();
        change(&mut request);
        self.cloud.world.start_instance_refresh(self.cloud.now, &request)
    }

    pub fn start(&mut self, change: impl Fn(&mut StartInstanceRefresh)) {
        self.try_start(change).unwrap();
    }

    pub fn refresh(&self) -> InstanceRefresh {
        self.cloud.world.describe_instance_refreshes("web", &[], &Paging::default()).unwrap().items.remove(0)
    }

    pub fn status(&self) -> &'static str {
        self.refresh().status.as_str()
    }

    /// The versions of what is in the group and not ending.
    pub fn versions(&self) -> String {
        let members = self.cloud.web().members.iter().filter(|member| !member.lifecycle.is_ending());
        members.map(|member| member.template.version.clone().unwrap()).collect()
    }

    /// Seconds go by in which what has version 2 answers so.
    pub fn turn_with_sick(&mut self, seconds: i64, sick: Seen) {
        self.cloud.turn(seconds, |world, id| {
            let instance = world.instances().find(|one| one.id.as_str() == id).unwrap();
            if instance.instance_type == "c7i.large" { sick } else { Seen::Status(200) }
        });
    }

    pub fn in_service(&self) -> usize {
        self.cloud.pools().iter().map(|(_, targets)| targets.len()).sum()
    }
}

#[test]
fn new_comes_before_old_and_the_group_launches_by_it_from_then_on() {
    for size in [1, 3] {
        let mut lab = Lab::new((1, size, 6), |_| {});
        let before = lab.cloud.ids();
        lab.start(|_| {});
        assert_eq!(lab.status(), "Pending");
        let mut least = usize::MAX;
        for _ in 0..200 {
            lab.cloud.run_well(1);
            least = least.min(lab.in_service());
            // Until it succeeds, the group's own configuration is the one to go back to.
            let own = if lab.status() == "Successful" { lab.version(2) } else { lab.version(1) };
            assert_eq!(lab.cloud.web().configuration, own);
        }
        assert!(least >= size as usize, "{least} of {size} served");
        let refresh = lab.refresh();
        assert_eq!((refresh.status.as_str(), refresh.percentage), ("Successful", 100));
        assert_eq!((refresh.instances_to_update, refresh.reason), (0, None));
        assert_eq!(lab.versions(), "2".repeat(size as usize));
        assert!(lab.cloud.ids().iter().all(|id| !before.contains(id)));
    }
}

#[test]
fn the_defaults_take_a_single_instance_away_first() {
    let mut lab = Lab::new((1, 1, 2), |_| {});
    let preferences = RefreshPreferences::default();
    lab.start(|r| r.preferences = preferences.clone());
    lab.cloud.run_well(1);
    // Rounded up, 90 per cent of one is one, and yet it goes: only an upper bound makes the new one come first.
    assert_eq!(lab.in_service(), 0);
    lab.cloud.run_well(120);
    assert_eq!(lab.status(), "Successful");
    let mut lab = Lab::new((1, 1, 2), |_| {});
    let preferences =
        RefreshPreferences { min_healthy: Some(90), max_healthy: Some(100), ..RefreshPreferences::default() };
    lab.start(|r| r.preferences = preferences.clone());
    for _ in 0..120 {
        lab.cloud.run_well(1);
        assert_eq!(lab.in_service().max(1), lab.in_service(), "none served");
    }
    assert_eq!(lab.status(), "Successful");
}

#[test]
fn a_percentage_below_a_hundred_takes_so_many_at_once() {
    let mut lab = Lab::new((1, 4, 4), |_| {});
    lab.start(|r| (r.preferences.min_healthy, r.preferences.max_healthy) = (Some(50), Some(100)));
    lab.cloud.run_well(1);
    assert_eq!(lab.in_service(), 2);
    lab.cloud.run_well(300);
    assert_eq!((lab.status(), lab.versions()), ("Successful", "2222".into()));
}

#[test]
fn a_maximum_size_that_leaves_no_room_fails_the_refresh_in_an_hour() {
    let mut lab = Lab::new((1, 2, 2), |_| {});
    lab.start(|_| {});
    lab.cloud.run_well(3500);
    assert_eq!((lab.status(), lab.versions()), ("InProgress", "11".into()));
    lab.cloud.run_well(200);
    assert_eq!((lab.status(), lab.versions()), ("Failed", "11".into()));
    assert!(lab.refresh().reason.unwrap().contains("maximum size"));
}

#[test]
fn a_group_that_asks_ec2_alone_takes_a_sick_image_everywhere() {
    let mut lab = Lab::new((1, 3, 6), |r| r.health_check_type = Some(HealthCheckType::Ec2));
    lab.start(|_| {});
    lab.turn_with_sick(300, Seen::Status(500));
    assert_eq!((lab.status(), lab.versions()), ("Successful", "222".into()));
}

#[test]
fn a_cancelled_refresh_leaves_what_it_did() {
    let mut lab = Lab::new((1, 4, 8), |_| {});
    lab.start(|r| (r.preferences.min_healthy, r.preferences.max_healthy) = (Some(100), Some(125)));
    while lab.refresh().percentage < 25 {
        lab.cloud.run_well(1);
    }
    lab.cloud.world.cancel_instance_refresh("web", true).unwrap();
    lab.cloud.run_well(1);
    assert_eq!(lab.status(), "Cancelling", "it waits for what is on its way");
    assert_eq!(code(lab.cloud.world.cancel_instance_refresh("web", true)), "ActiveInstanceRefreshNotFound");
    lab.cloud.run_well(100);
    assert_eq!((lab.status(), lab.refresh().percentage), ("Cancelled", 25));
    assert_eq!(lab.cloud.web().configuration, lab.version(1));
    let versions = lab.versions();
    assert!(versions.contains('2') && versions.contains('1') && versions.len() == 4, "{versions}");
}

#[test]
fn one_refresh_at_a_time_and_no_other_configuration_meanwhile() {
    let mut lab = Lab::new((1, 1, 4), |_| {});
    lab.start(|_| {});
    assert_eq!(code(lab.try_start(|_| {})), "InstanceRefreshInProgress");
    let change = UpdateGroup { configuration: Some(lab.version(1)), ..UpdateGroup::default() };
    let refused = lab.cloud.world.update_auto_scaling_group("web", &change).unwrap_err();
    assert!(refused.message.starts_with("An active instance refresh with a desired configuration exists."));
    // Whoever scales out meanwhile gets what the refresh wants.
    lab.cloud.world.set_desired_capacity(lab.cloud.now, "web", 2, false).unwrap();
    lab.cloud.run_well(100);
    assert_eq!((lab.status(), lab.versions()), ("Successful", "22".into()));
    lab.cloud.world.update_auto_scaling_group("web", &change).unwrap();
}

#[test]
fn what_matches_is_skipped_only_if_told() {
    for skip in [true, false] {
        let mut lab = Lab::new((1, 2, 4), |_| {});
        let before = lab.cloud.ids();
        let own = lab.version(1);
        lab.start(|r| (r.desired, r.preferences.skip_matching) = (Some(own.clone()), skip));
        lab.cloud.run_well(100);
        assert_eq!((lab.status(), lab.refresh().percentage), ("Successful", 100));
        assert_eq!(lab.cloud.ids() == before, skip);
    }
}

#[test]
fn checkpoints_wait_and_the_last_one_ends_it() {
    let mut lab = Lab::new((1, 4, 8), |_| {});
    lab.start(|r| {
        r.preferences.checkpoints = vec![25, 50];
        r.preferences.checkpoint_delay = Some(7200);
    });
    lab.cloud.run_well(120);
    assert_eq!((lab.status(), lab.refresh().percentage), ("InProgress", 25));
    assert_eq!(lab.versions().matches('2').count(), 1);
    // Two hours of waiting are no lack of progress.
    lab.cloud.run_well(7000);
    assert_eq!((lab.status(), lab.refresh().percentage), ("InProgress", 25));
    lab.cloud.run_well(300);
    assert_eq!((lab.status(), lab.refresh().percentage), ("InProgress", 50));
    lab.cloud.run_well(7200);
    // Only a last checkpoint of 100 replaces everything.
    assert_eq!((lab.status(), lab.refresh().percentage), ("Successful", 50));
    assert_eq!(lab.versions().matches('2').count(), 2);
    // The next one goes on from there.
    lab.start(|_| {});
    lab.cloud.run_well(120);
    assert_eq!((lab.status(), lab.versions()), ("Successful", "2222".into()));
}

#[test]
fn who_is_protected_or_on_standby_is_waited_for_ignored_or_replaced() {
    for (found, after_hour, versions) in [
        (WhenFound::Wait, "Failed", "121"),
        (WhenFound::Ignore, "Successful", "121"),
        (WhenFound::Replace, "Successful", "22"),
    ] {
        let mut lab = Lab::new((1, 3, 6), |_| {});
        let ids = lab.cloud.ids();
        lab.cloud.world.set_instance_protection("web", &ids[..1], true).unwrap();
        lab.cloud.world.enter_standby(lab.cloud.now, "web", &ids[2..], true).unwrap();
        lab.cloud.run_well(30);
        lab.start(|r| (r.preferences.protected, r.preferences.standby) = (Some(found), Some(found)));
        lab.cloud.run_well(3000);
        let meanwhile = if found == WhenFound::Wait { "InProgress" } else { after_hour };
        assert_eq!(lab.status(), meanwhile, "{found:?}");
        lab.cloud.run_well(1000);
        let mut found_versions: Vec<char> = lab.versions().chars().collect();
        found_versions.sort_unstable();
        let mut versions: Vec<char> = versions.chars().collect();
        versions.sort_unstable();
        assert_eq!((lab.status(), found_versions), (after_hour, versions), "{found:?}");
    }
}

#[test]
fn a_group_that_chooses_by_attributes_can_t_have_it() {
    let mut cloud = Cloud::new();
    let template = cloud.template("web");
    let requirements = Some(InstanceRequirements { vcpus_min: 2, memory_mib_min: 4096 });
    let policy = MixedInstancesPolicy {
        template: TemplateSpec::of(&template, 1),
        overrides: vec![Override { requirements, ..Override::default() }],
        distribution: Distribution::default(),
    };
    let configuration = Configuration::Mixed(policy);
    let request = CreateGroup::new("web", configuration.clone(), (1, 1, 2), &cloud.subnets());
    cloud.world.create_auto_scaling_group(cloud.now, &request).unwrap();
    cloud.run_well(5);
    assert_eq!(cloud.web().members[0].instance_type, "c7i.large");
    let mut lab = Lab { cloud, template };
    for (desired, skip, ending) in
        [(Some(configuration), false, "Failed"), (None, true, "Failed"), (None, false, "Successful")]
    {
        lab.start(|r| (r.desired, r.preferences.skip_matching) = (desired.clone(), skip));
        lab.cloud.run_well(60);
        assert_eq!(lab.status(), ending);
    }
}

#[test]
fn launches_that_fail_fail_it_in_an_hour_and_leave_the_rest() {
    let mut lab = Lab::new((1, 2, 4), |_| {});
    lab.cloud.world.set_shortages(vec![Shortage::of(Lack::Capacity).for_type("c7i.large")]);
    lab.start(|_| {});
    lab.cloud.run_well(3500);
    assert_eq!((lab.status(), lab.versions()), ("InProgress", "11".into()));
    lab.cloud.run_well(200);
    assert_eq!((lab.status(), lab.versions()), ("Failed", "11".into()));
    assert!(lab.cloud.web().activities.iter().any(|one| one.status == ActivityStatus::Failed));
}

#[test]
fn preferences_are_refused_as_auto_scaling_refuses_them() {
    let mut lab = Lab::new((1, 1, 2), |_| {});
    let mut refused =
        |change: &dyn Fn(&mut RefreshPreferences)| code(lab.try_start(|r| change(&mut r.preferences)));
    assert_eq!(refused(&|p| p.min_healthy = Some(101)), "ValidationError");
    assert_eq!(refused(&|p| p.max_healthy = Some(99)), "ValidationError");
    assert_eq!(refused(&|p| p.min_healthy = Some(99)), "ValidationError");
    assert_eq!(refused(&|p| p.min_healthy = None), "ValidationError");
    assert_eq!(refused(&|p| p.checkpoint_delay = Some(1)), "ValidationError");
    assert_eq!(refused(&|p| p.checkpoints = vec![50, 50]), "ValidationError");
    assert_eq!(refused(&|p| p.checkpoints = vec![50, 101]), "ValidationError");
    assert_eq!(refused(&|p| p.bake = Some(172_801)), "ValidationError");
    assert_eq!(refused(&|p| p.alarms = (0..11).map(|n| n.to_string()).collect()), "ValidationError");
    assert_eq!(code(lab.try_start(|r| r.group = "nobody".into())), "ValidationError");
    let unknown = lab.version(9);
    assert_eq!(code(lab.try_start(|r| r.desired = Some(unknown.clone()))), "ValidationError");
    assert_eq!(code(WhenFound::for_standby("Refresh")), "ValidationError");
    // What isn't said is the API's default, which is not the console's.
    lab.start(|r| r.preferences = RefreshPreferences::default());
    let preferences = lab.refresh().preferences;
    assert_eq!((preferences.min_healthy, preferences.max_healthy, preferences.warmup), (90, None, 10));
    assert_eq!((preferences.protected, preferences.standby), (WhenFound::Wait, WhenFound::Wait));
    assert!(!preferences.skip_matching && !preferences.auto_rollback);
}

#[test]
fn a_group_that_shrinks_meanwhile_keeps_what_is_ready() {
    let mut lab = Lab::new((1, 3, 6), |_| {});
    lab.start(|_| {});
    lab.cloud.run_well(1);
    assert_eq!(lab.cloud.web().capacity(), 6);
    lab.cloud.world.set_desired_capacity(lab.cloud.now, "web", 2, false).unwrap();
    for _ in 0..100 {
        lab.cloud.run_well(1);
        assert!(lab.cloud.healthy() >= 2);
    }
    assert_eq!((lab.status(), lab.versions()), ("Successful", "22".into()));
}

#[test]
fn a_sick_instance_does_not_fail_what_waits_at_a_checkpoint() {
    let mut lab = Lab::new((1, 4, 8), |_| {});
    lab.start(|r| {
        r.preferences.checkpoints = vec![25, 100];
        r.preferences.checkpoint_delay = Some(10_000);
    });
    lab.cloud.run_well(100);
    assert_eq!(lab.refresh().percentage, 25);
    lab.turn_with_sick(5000, Seen::Status(500));
    assert_eq!(lab.status(), "InProgress");
    lab.cloud.run_well(5200);
    assert_eq!((lab.status(), lab.versions()), ("Successful", "2222".into()));
}
