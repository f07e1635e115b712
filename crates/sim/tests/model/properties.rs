//! What must hold of groups and refreshes, whatever is done to them.

use std::collections::BTreeSet;

use ovenbird_sim::{auto_scaling::*, load_balancing::*};
use proptest::prelude::*;

use super::refreshes::Lab;

#[derive(Debug, Clone)]
enum Deed {
    Start {
        auto: bool,
        skip: bool,
        checkpoints: Vec<u32>,
        bake: Option<u32>,
    },
    Rollback,
    Cancel(bool),
    Desire(u32),
    Kill(usize),
    SayUnhealthy(usize),
    Protect(usize, bool),
    Standby(usize),
    BackFromStandby,
    /// From now on instances of the new version answer so.
    Sick(bool),
    /// The world is saved and read again.
    Reload,
    Wait(i64),
}

/// What doesn't take instances out of service by itself. A cancelled refresh does: what it launched ahead is too much then,
/// and the group lets go whom its termination policy names, ready or not.
fn gentle() -> impl Strategy<Value = Deed> {
    let checkpoints = prop_oneof![Just(Vec::new()), Just(vec![50]), Just(vec![25, 100])];
    prop_oneof![
        3 => (any::<bool>(), any::<bool>(), checkpoints, prop_oneof![Just(None), Just(Some(40_u32))])
            .prop_map(|(auto, skip, checkpoints, bake)| Deed::Start { auto, skip, checkpoints, bake }),
        2 => Just(Deed::Rollback),
        1 => any::<bool>().prop_map(Deed::Sick),
        1 => Just(Deed::Reload),
        4 => (1_i64..60).prop_map(Deed::Wait),
    ]
}

fn rough() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => gentle(),
        1 => any::<bool>().prop_map(Deed::Cancel),
        2 => (0_u32..5).prop_map(Deed::Desire),
        1 => (0_usize..5).prop_map(Deed::Kill),
        1 => (0_usize..5).prop_map(Deed::SayUnhealthy),
        1 => ((0_usize..5), any::<bool>()).prop_map(|(index, on)| Deed::Protect(index, on)),
        1 => (0_usize..5).prop_map(Deed::Standby),
        1 => Just(Deed::BackFromStandby),
    ]
}

struct Trial {
    lab: Lab,
    sick: bool,
    min: u32,
    max: Option<u32>,
    /// Who began to end.
    ending: BTreeSet<String>,
}

impl Trial {
    fn new(desired: u32, min: u32, max: Option<u32>) -> Self {
        let lab = Lab::new((0, desired, 10), |_| {});
        Self { lab, sick: false, min, max, ending: BTreeSet::new() }
    }

    fn active(&self) -> usize {
        let group = self.lab.cloud.web();
        group.refreshes.iter().filter(|refresh| refresh.status.is_active()).count()
    }

    fn id(&self, index: usize) -> Option<String> {
        let ids = self.lab.cloud.ids();
        ids.get(index % ids.len().max(1)).cloned()
    }

    fn second(&mut self) {
        self.lab.turn_with_sick(1, if self.sick { Seen::Status(500) } else { Seen::Status(200) });
        let group = self.lab.cloud.web();
        self.ending.extend(
            group
                .members
                .iter()
                .filter(|member| member.lifecycle.is_ending())
                .map(|member| member.instance.to_string()),
        );
        let serving: Vec<String> =
            self.lab.cloud.pools().into_iter().flat_map(|(_, targets)| targets).collect();
        let back = serving.iter().find(|id| self.ending.contains(*id));
        assert_eq!(back, None, "one that ends serves");
        assert!(self.active() <= 1, "two refreshes at once");
        let live: BTreeSet<String> =
            self.lab.cloud.world.live_instances().map(|one| one.id.to_string()).collect();
        let members: BTreeSet<String> = self.lab.cloud.ids().into_iter().collect();
        assert!(live.is_subset(&members), "an instance is nobody's: {live:?} {members:?}");
    }

    fn act(&mut self, deed: &Deed) {
        self.lab.cloud.pass(0);
        let now = self.lab.cloud.now;
        let ids = |id: Option<String>| id.into_iter().collect::<Vec<_>>();
        match deed {
            Deed::Start { auto, skip, checkpoints, bake } => {
                let before = self.active();
                // What the group launches already is worth a refresh, too.
                let (min, max) = (self.min, self.max);
                let started = self.lab.try_start(|r| {
                    let p = &mut r.preferences;
                    (p.min_healthy, p.max_healthy, p.bake) = (Some(min), max, *bake);
                    (p.auto_rollback, p.skip_matching) = (*auto, *skip);
                    p.checkpoints.clone_from(checkpoints);
                    p.checkpoint_delay = (!checkpoints.is_empty()).then_some(15);
                });
                assert_eq!(started.is_ok(), before == 0);
                if let Err(error) = started {
                    assert_eq!(error.code, "InstanceRefreshInProgress");
                }
            }
            Deed::Rollback => drop(self.lab.cloud.world.rollback_instance_refresh(now, "web")),
            Deed::Cancel(waits) => drop(self.lab.cloud.world.cancel_instance_refresh("web", *waits)),
            Deed::Desire(desired) => {
                self.lab.cloud.world.set_desired_capacity(now, "web", *desired, false).unwrap();
            }
            Deed::Kill(index) => {
                if let Some(id) = self.id(*index) {
                    self.lab.cloud.world.terminate_instances(&[id], false).unwrap();
                }
            }
            Deed::SayUnhealthy(index) => {
                if let Some(id) = self.id(*index) {
                    self.lab.cloud.world.set_instance_health(now, &id, false, false).unwrap();
                }
            }
            Deed::Protect(index, on) => {
                let id = ids(self.id(*index));
                // Refused unless it is in service.
                let _ = self.lab.cloud.world.set_instance_protection("web", &id, *on);
            }
            Deed::Standby(index) => {
                let id = ids(self.id(*index));
                let _ = self.lab.cloud.world.enter_standby(now, "web", &id, true);
            }
            Deed::BackFromStandby => {
                let group = self.lab.cloud.web();
                let back = group.members.iter().filter(|one| one.lifecycle == Lifecycle::Standby);
                let back: Vec<_> = back.map(|one| one.instance.to_string()).collect();
                let _ = self.lab.cloud.world.exit_standby(now, "web", &back);
            }
            Deed::Sick(sick) => self.sick = *sick,
            Deed::Reload => {
                let cloud = &mut self.lab.cloud;
                let orders = cloud.world.take_orders();
                assert!(orders.is_empty(), "{orders:?}");
                let before = serde_json::to_string(&cloud.world).unwrap();
                cloud.rows.follow(&mut cloud.world);
                cloud.world = cloud.rows.read();
                assert_eq!(serde_json::to_string(&cloud.world).unwrap(), before);
            }
            Deed::Wait(_) => {}
        }
        self.lab.cloud.pass(0);
        let seconds = if let Deed::Wait(seconds) = deed { *seconds } else { 1 };
        for _ in 0..seconds {
            self.second();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_group_comes_to_what_is_desired_and_stays_there(
        desired in 0_u32..5,
        (min, max) in prop_oneof![
            Just((100, Some(200))), Just((90, None)), Just((100, Some(100))), Just((50, Some(150))), Just((0, Some(100))),
        ],
        deeds in prop::collection::vec(rough(), 1..12),
    ) {
        let mut trial = Trial::new(desired, min, max);
        for deed in &deeds {
            trial.act(deed);
        }
        trial.act(&Deed::Sick(false));
        // Standby and protection are ended by people: until then what they hold up is no fault.
        let world = &mut trial.lab.cloud.world;
        let group = world.auto_scaling_group("web").unwrap();
        let serving: Vec<_> = group.members.iter().filter(|one| one.lifecycle == Lifecycle::InService).collect();
        let ids: Vec<_> = serving.iter().map(|one| one.instance.to_string()).collect();
        let _ = world.set_instance_protection("web", &ids, false);
        for _ in 0..400 {
            trial.second();
        }
        let _ = trial.lab.cloud.world.cancel_instance_refresh("web", false);
        for _ in 0..60 {
            trial.second();
        }
        let group = trial.lab.cloud.web().clone();
        let in_service = group.members.iter().filter(|one| one.lifecycle == Lifecycle::InService).count();
        prop_assert_eq!(in_service, group.desired as usize);
        // On standby nobody looks whether it still runs.
        let standby = group.members.iter().filter(|one| one.lifecycle == Lifecycle::Standby).count();
        let live = trial.lab.cloud.world.live_instances().count();
        prop_assert!((in_service..=in_service + standby).contains(&live));
        let before = trial.lab.cloud.ids();
        for _ in 0..30 {
            trial.second();
        }
        prop_assert_eq!(trial.lab.cloud.ids(), before);
    }

    #[test]
    fn a_refresh_that_launches_first_never_costs_a_healthy_instance(
        desired in 1_u32..5,
        deeds in prop::collection::vec(gentle(), 1..14),
    ) {
        let mut trial = Trial::new(desired, 100, Some(200));
        prop_assert_eq!(trial.lab.cloud.healthy(), desired as usize);
        let mut was_sick = false;
        for deed in &deeds {
            // Once something of the new version serves, it may fall sick there: that is no fault of the refresh.
            was_sick |= matches!(deed, Deed::Sick(true));
            let new_serves = trial.lab.versions().contains('2');
            if matches!(deed, Deed::Sick(true)) && new_serves {
                continue;
            }
            trial.act(deed);
            let group = trial.lab.cloud.web();
            prop_assert!(trial.lab.cloud.healthy() >= desired as usize || (was_sick && !trial.sick), "{deed:?}: {group:#?}");
            prop_assert!(group.capacity() <= 2 * desired);
        }
    }

    #[test]
    fn a_refresh_keeps_between_its_percentages(
        desired in 1_u32..6,
        (min, max) in prop_oneof![
            Just((90_u32, None)), Just((90, Some(100))), Just((100, Some(100))), Just((50, Some(150))), Just((67, Some(134))),
        ],
    ) {
        let mut trial = Trial::new(desired, min, max);
        trial.act(&Deed::Start { auto: false, skip: true, checkpoints: Vec::new(), bake: None });
        let least = (desired * min).div_ceil(100) as usize;
        let most = desired * max.unwrap_or(100) / 100;
        let tight = least >= desired as usize && most <= desired;
        for _ in 0..600 {
            trial.second();
            let (healthy, capacity) = (trial.lab.cloud.healthy(), trial.lab.cloud.web().capacity());
            let least = if tight && max.is_none() { least - 1 } else { least };
            let most = if tight && max.is_some() { desired + 1 } else { most.max(desired) };
            prop_assert!(healthy >= least, "{healthy} of {least}");
            prop_assert!(capacity <= most, "{capacity} of {most}");
        }
        prop_assert_eq!(trial.lab.status(), "Successful");
        prop_assert_eq!(trial.lab.versions(), "2".repeat(desired as usize));
    }
}
