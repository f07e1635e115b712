//! How long a rollout takes beyond what nobody can spare it.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::rollout::{Outcome, Rollout};
use ovenbird_sim::{Validation, auto_scaling::UpdateGroup, load_balancing::RouteAction};
use ovenbird_testkit::{
    Cloud,
    walk::{scenarios::Scenario, street::GROUP},
};

use super::{STREET, rollouts, walked_with};

/// When the target group found each machine healthy that serves.
fn healthy(cloud: &Cloud) -> Vec<Timestamp> {
    cloud.with(|world| {
        let routes = world.routes();
        let RouteAction::Forward { pools, .. } = &routes[0].action else { panic!("it forwards") };
        pools.iter().flat_map(|pool| &pool.targets).map(|target| target.healthy_since.unwrap()).collect()
    })
}

/// The seconds of a rollout in which no machine of a stage was on its way, and which its recipe does not ask for.
fn overhead(rollout: &Rollout, healthy: &[Timestamp]) -> i64 {
    let (policy, progress) = (&rollout.spec.to.policy, &rollout.progress);
    let mut stage = progress.began;
    let mut booted = SignedDuration::ZERO;
    for entry in progress.timeline.iter().filter(|entry| entry.what.ends_with(" passed")) {
        let of_stage = healthy.iter().filter(|at| (stage..entry.at).contains(at));
        booted += of_stage.max().unwrap().duration_since(stage);
        stage = entry.at;
    }
    let whole = progress.timeline.last().unwrap().at.duration_since(progress.began);
    (whole - booted).as_secs() - policy.watch - policy.soak
}

/// Three machines in two stages, and a parameter that SSM looks at for three seconds. The model's EC2 has a turn every 5
/// seconds, and ends a refresh in the turn after its last machine is healthy: 10 seconds of these are its own.
#[test]
fn a_rollout_takes_little_beyond_its_boots_its_watch_and_its_soak() {
    let parameters = Validation { shortest: 3, longest: 3, dropped: 0, seed: 1 };
    let cloud = walked_with(&Scenario { parameters, ..STREET }, |cloud| {
        // A refresh waits for each machine to warm up.
        let cold = UpdateGroup { default_warmup: Some(Some(0)), ..UpdateGroup::default() };
        cloud.with(|world| world.update_auto_scaling_group(GROUP, &cold)).unwrap();
    })
    .cloud;
    let rollout = rollouts(&cloud).remove(0);
    assert_eq!(rollout.progress.outcome, Some(Outcome::Settled));
    let seconds = overhead(&rollout, &healthy(&cloud));
    assert!((10..=15).contains(&seconds), "{seconds} s: {:#?}", rollout.progress.timeline);
}
