//! How instance refreshes are stopped and undone, as AWS documents it.

use ovenbird_sim::{
    alarms::AlarmState, auto_scaling::refresh::*, auto_scaling::*, launch_templates::*, load_balancing::*,
};

use super::{refreshes::Lab, *};

#[test]
fn a_sick_image_is_noticed_after_an_hour_and_the_group_goes_back_by_itself_if_told() {
    for (auto, ending, versions) in [(false, "Failed", "1"), (true, "RollbackSuccessful", "1")] {
        let mut lab = Lab::new((1, 1, 2), |_| {});
        lab.start(|r| r.preferences.auto_rollback = auto);
        lab.turn_with_sick(3000, Seen::Status(500));
        assert_eq!(lab.status(), "InProgress");
        assert!(lab.refresh().reason.unwrap().contains("health checks"));
        assert!(lab.versions().starts_with('1'), "the old one stays");
        lab.turn_with_sick(1000, Seen::Status(500));
        assert_eq!((lab.status(), lab.versions().as_str()), (ending, versions));
        assert_eq!(lab.cloud.web().configuration, lab.version(1));
        assert_eq!(lab.refresh().percentage, 0);
    }
}

#[test]
fn what_cannot_be_undone_is_refused() {
    let mut lab = Lab::new((1, 1, 2), |_| {});
    let parameter = LaunchTemplateData { image: Some("resolve:ssm:/web".into()), ..Default::default() };
    let template = lab.template.clone();
    let base = lab.cloud.base.clone();
    lab.cloud.world.set_image_parameter("/web", Some(&base));
    assert_eq!(lab.cloud.version(&template, parameter), 3);
    let versions = ["$Latest", "$Default", "3"].map(|version| lab.version(version));
    for desired in versions.iter().map(Some).chain([None]) {
        let auto = |r: &mut StartInstanceRefresh| {
            r.desired = desired.cloned();
            r.preferences.auto_rollback = true;
        };
        assert_eq!(code(lab.try_start(auto)), "ValidationError", "{desired:?}");
        // Started without, it can't be rolled back by hand either.
        lab.start(|r| r.desired = desired.cloned());
        let undone = lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web");
        assert_eq!(code(undone), "IrreversibleInstanceRefresh", "{desired:?}");
        lab.cloud.world.cancel_instance_refresh("web", false).unwrap();
        lab.cloud.run_well(1);
        assert_eq!(lab.status(), "Cancelled");
    }
    // The group's own configuration counts as well: it is what one goes back to, and $Latest may mean another then.
    let plain = LaunchTemplateData { image: Some(base), ..Default::default() };
    assert_eq!(lab.cloud.version(&template, plain), 4);
    let own = UpdateGroup { configuration: Some(lab.version("$Latest")), ..UpdateGroup::default() };
    lab.cloud.world.update_auto_scaling_group("web", &own).unwrap();
    assert_eq!(code(lab.try_start(|r| r.preferences.auto_rollback = true)), "ValidationError");
    let over = lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web");
    assert_eq!(code(over), "ActiveInstanceRefreshNotFound");
    assert_eq!(code(lab.cloud.world.cancel_instance_refresh("web", true)), "ActiveInstanceRefreshNotFound");
}

#[test]
fn a_rollback_by_hand_brings_back_what_was() {
    let mut lab = Lab::new((1, 4, 8), |_| {});
    lab.start(|r| {
        (r.preferences.min_healthy, r.preferences.max_healthy) = (Some(100), Some(125));
        r.preferences.auto_rollback = true;
    });
    while lab.refresh().percentage < 50 {
        lab.cloud.run_well(1);
    }
    let half = lab.refresh().instances_to_update;
    lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web").unwrap();
    let again = lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web");
    assert_eq!(code(again), "IrreversibleInstanceRefresh");
    for _ in 0..300 {
        lab.cloud.run_well(1);
        assert!(lab.in_service() >= 4);
    }
    let refresh = lab.refresh();
    assert_eq!((refresh.status.as_str(), refresh.percentage), ("RollbackSuccessful", 0));
    let details = refresh.rollback.unwrap();
    assert_eq!((details.percentage_on_rollback, details.instances_to_update_on_rollback), (50, half));
    assert_eq!((lab.versions(), lab.cloud.web().configuration.clone()), ("1111".into(), lab.version(1)));
}

#[test]
fn a_group_that_was_updated_first_goes_back_to_the_bad_one() {
    let mut lab = Lab::new((1, 2, 4), |_| {});
    let change = UpdateGroup { configuration: Some(lab.version(2)), ..UpdateGroup::default() };
    lab.cloud.world.update_auto_scaling_group("web", &change).unwrap();
    lab.start(|r| r.preferences.auto_rollback = true);
    lab.cloud.run_well(5);
    lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web").unwrap();
    lab.cloud.run_well(200);
    assert_eq!((lab.status(), lab.versions()), ("RollbackSuccessful", "22".into()));
}

#[test]
fn it_bakes_and_can_be_undone_as_long() {
    let mut lab = Lab::new((1, 1, 2), |_| {});
    lab.start(|r| r.preferences.bake = Some(600));
    lab.cloud.run_well(100);
    assert_eq!((lab.status(), lab.versions()), ("Baking", "2".into()));
    assert_eq!(lab.cloud.web().configuration, lab.version(1));
    lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web").unwrap();
    lab.cloud.run_well(100);
    assert_eq!((lab.status(), lab.versions()), ("RollbackSuccessful", "1".into()));
    lab.start(|r| r.preferences.bake = Some(600));
    lab.cloud.run_well(700);
    assert_eq!(lab.status(), "Successful");
    let over = lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web");
    assert_eq!(code(over), "ActiveInstanceRefreshNotFound");
}

#[test]
fn alarms_stop_it() {
    let alarm =
        |lab: &mut Lab, state| lab.cloud.world.set_alarm_state(lab.cloud.now, "errors", state, "").unwrap();
    for (auto, ending, bakes) in
        [(false, "Failed", false), (true, "RollbackSuccessful", false), (true, "RollbackSuccessful", true)]
    {
        let mut lab = Lab::new((1, 3, 6), |_| {});
        let start = |lab: &mut Lab| {
            lab.try_start(|r| {
                r.preferences.alarms = vec!["errors".into()];
                r.preferences.auto_rollback = auto;
                r.preferences.bake = Some(600);
                (r.preferences.min_healthy, r.preferences.max_healthy) = (Some(100), Some(134));
            })
        };
        assert_eq!(code(start(&mut lab)), "ValidationError", "no such alarm");
        lab.cloud.world.put_alarm(lab.cloud.now, "errors", false).unwrap();
        assert_eq!(code(start(&mut lab)), "ValidationError", "INSUFFICIENT_DATA");
        alarm(&mut lab, AlarmState::Alarm);
        assert_eq!(code(start(&mut lab)), "ValidationError", "ALARM");
        alarm(&mut lab, AlarmState::Ok);
        start(&mut lab).unwrap();
        lab.cloud.run_well(if bakes { 200 } else { 12 });
        assert_eq!(lab.status(), if bakes { "Baking" } else { "InProgress" });
        if !bakes {
            // Without data, nothing more is replaced.
            alarm(&mut lab, AlarmState::InsufficientData);
            lab.cloud.run_well(60);
            let halted = lab.versions();
            lab.cloud.run_well(600);
            assert_eq!((lab.status(), lab.versions()), ("InProgress", halted));
        }
        alarm(&mut lab, AlarmState::Alarm);
        lab.cloud.run_well(1);
        assert_eq!(lab.status(), if auto { "RollbackInProgress" } else { "Failed" });
        // An alarm doesn't stop the way back.
        lab.cloud.run_well(300);
        assert_eq!(lab.status(), ending);
        assert!(lab.refresh().reason.is_none_or(|reason| reason.contains("errors")));
        let all_old = lab.versions() == "111";
        assert_eq!(all_old, auto, "{}", lab.versions());
    }
}

#[test]
fn a_rollback_with_nothing_to_replace_ends_when_what_was_launched_ahead_is_gone() {
    let mut lab = Lab::new((1, 1, 2), |_| {});
    let own = lab.version(1);
    lab.start(|r| (r.desired, r.preferences.skip_matching) = (Some(own.clone()), false));
    lab.cloud.run_well(1);
    assert_eq!(lab.cloud.states(), ["InService", "Pending"]);
    lab.cloud.world.rollback_instance_refresh(lab.cloud.now, "web").unwrap();
    for _ in 0..100 {
        lab.cloud.run_well(1);
        let serving = lab.cloud.healthy();
        assert!(serving >= 1, "the ready one went before the other was ready");
    }
    assert_eq!((lab.status(), lab.cloud.states()), ("RollbackSuccessful", vec!["InService"]));
}
