//! The targets as `HAProxy`'s servers, and how one process is brought from what it has to what it shall have.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, SocketAddrV4},
};

use jiff::Timestamp;
use ovenbird_sim::load_balancing::{Pool, Route, RouteAction, RouteTarget};

use super::layout::group_name;

/// A server's place: its target group's name, and its own.
pub(super) type Place = (String, String);

/// What shall be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Servers {
    /// Who gets requests.
    up: BTreeMap<Place, Up>,
    /// Who may end what is under way.
    draining: BTreeSet<Place>,
}

/// A server that gets requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Up {
    /// Where it is.
    pub address: SocketAddrV4,
    /// Until when its share grows.
    slow_until: Option<Timestamp>,
}

impl Up {
    /// For how many more seconds its share grows.
    pub(super) fn slow_for(&self, now: Timestamp) -> Option<i64> {
        self.slow_until.map(|until| until.duration_since(now).as_secs()).filter(|seconds| *seconds > 0)
    }
}

impl Servers {
    /// The targets of routes. One whose machine has no address yet is left out.
    pub(super) fn of(routes: &[Route]) -> Self {
        let mut servers = Self::default();
        for route in routes {
            let RouteAction::Forward { pools, .. } = &route.action else { continue };
            for pool in pools {
                let place = |target: &RouteTarget| (group_name(&pool.group), server_name(target));
                servers.draining.extend(pool.draining.iter().map(place));
                for target in &pool.targets {
                    let address = target.address.as_ref().and_then(|text| text.parse::<Ipv4Addr>().ok());
                    if let Some(address) = address {
                        let address = SocketAddrV4::new(address, target.port);
                        servers
                            .up
                            .insert(place(target), Up { address, slow_until: slow_until(pool, target) });
                    }
                }
            }
        }
        servers
    }

    /// The servers of a target group that get requests.
    pub(super) fn up_in(&self, group: &str) -> impl Iterator<Item = (&str, SocketAddrV4)> {
        let own = self.up.iter().filter(move |((of, _), _)| of == group);
        own.map(|((_, name), up)| (name.as_str(), up.address))
    }
}

fn server_name(target: &RouteTarget) -> String {
    format!("{}-{}", target.instance, target.port)
}

fn slow_until(pool: &Pool, target: &RouteTarget) -> Option<Timestamp> {
    if pool.slow_start == 0 {
        return None;
    }
    target.healthy_since?.checked_add(jiff::SignedDuration::from_secs(pool.slow_start)).ok()
}

/// What one process has.
#[derive(Debug, Clone, Default)]
pub(super) struct Known(BTreeMap<Place, State>);

/// How a server stands in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    address: SocketAddrV4,
    /// Whether it gets requests.
    up: bool,
    /// Whether it was told to end what is under way.
    drained: bool,
}

/// One thing to do about a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    /// There is a new one.
    Add(SocketAddrV4, Option<i64>),
    /// It gets requests from now on.
    Ready,
    /// It gets none any more; those under way go on.
    Rest,
    /// Its time to end them is over.
    Cut,
    /// It is forgotten, if nothing is under way.
    Forget,
}

impl Change {
    /// The command for it.
    pub(super) fn command(&self, (group, name): &Place) -> String {
        match self {
            Self::Add(address, None) => format!("add server {group}/{name} {address}"),
            Self::Add(address, Some(slow)) => {
                format!("add server {group}/{name} {address} slowstart {slow}s")
            }
            Self::Ready => format!("set server {group}/{name} state ready"),
            Self::Rest => format!("set server {group}/{name} state maint"),
            Self::Cut => format!("shutdown sessions server {group}/{name}"),
            Self::Forget => format!("del server {group}/{name}"),
        }
    }
}

impl Known {
    /// What a process has that was started with these.
    pub(super) fn started_with(servers: &Servers) -> Self {
        let state = |up: &Up| State { address: up.address, up: true, drained: false };
        Self(servers.up.iter().map(|(place, up)| (place.clone(), state(up))).collect())
    }

    /// What is to be done, in this order, so that it becomes what shall be. Groups that a process lacks are not in it.
    pub(super) fn changes(
        &self,
        wanted: &Servers,
        has: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Vec<(Place, Change)> {
        let mut changes = Vec::new();
        // Those who come first: at no moment shall there be nobody.
        for (place, up) in wanted.up.iter().filter(|((group, _), _)| has(group)) {
            match self.0.get(place) {
                None => {
                    changes.push((place.clone(), Change::Add(up.address, up.slow_for(now))));
                    changes.push((place.clone(), Change::Ready));
                }
                Some(state) if state.address != up.address => {}
                Some(state) if !state.up => changes.push((place.clone(), Change::Ready)),
                Some(_) => {}
            }
        }
        for (place, state) in &self.0 {
            if wanted.up.get(place).is_some_and(|up| up.address == state.address) {
                continue;
            }
            if state.up {
                changes.push((place.clone(), Change::Rest));
            }
            if wanted.draining.contains(place) {
                continue;
            }
            if state.drained {
                changes.push((place.clone(), Change::Cut));
            }
            changes.push((place.clone(), Change::Forget));
        }
        changes
    }

    /// Notes that a change was made.
    pub(super) fn note(&mut self, place: &Place, change: &Change) {
        match change {
            Change::Add(address, _) => {
                self.0.insert(place.clone(), State { address: *address, up: false, drained: false });
            }
            Change::Forget => drop(self.0.remove(place)),
            Change::Ready | Change::Rest | Change::Cut => {
                if let Some(state) = self.0.get_mut(place) {
                    state.up = *change == Change::Ready;
                    state.drained &= *change == Change::Rest;
                }
            }
        }
    }

    /// Notes who is draining now.
    pub(super) fn note_draining(&mut self, wanted: &Servers) {
        for (place, state) in &mut self.0 {
            state.drained |= wanted.draining.contains(place) && !state.up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(up: &[(&str, u16)], draining: &[&str]) -> Servers {
        let place = |name: &str| ("tg".to_owned(), name.to_owned());
        let address = |port: u16| SocketAddrV4::new(Ipv4Addr::LOCALHOST, port);
        Servers {
            up: up
                .iter()
                .map(|(name, port)| (place(name), Up { address: address(*port), slow_until: None }))
                .collect(),
            draining: draining.iter().map(|name| place(name)).collect(),
        }
    }

    fn told(known: &mut Known, wanted: &Servers) -> Vec<String> {
        let changes = known.changes(wanted, |group| group == "tg", Timestamp::UNIX_EPOCH);
        for (place, change) in &changes {
            known.note(place, change);
        }
        known.note_draining(wanted);
        changes.iter().map(|(place, change)| change.command(place)).collect()
    }

    #[test]
    fn the_new_one_is_there_before_the_old_one_rests_and_the_old_one_goes_when_it_has_drained() {
        let mut known = Known::started_with(&servers(&[("a", 1)], &[]));
        assert_eq!(
            told(&mut known, &servers(&[("b", 2)], &["a"])),
            ["add server tg/b 127.0.0.1:2", "set server tg/b state ready", "set server tg/a state maint"]
        );
        assert_eq!(told(&mut known, &servers(&[("b", 2)], &["a"])), [""; 0]);
        assert_eq!(
            told(&mut known, &servers(&[("b", 2)], &[])),
            ["shutdown sessions server tg/a", "del server tg/a"]
        );
        assert_eq!(told(&mut known, &servers(&[("b", 2)], &[])), [""; 0]);
    }

    #[test]
    fn a_sick_one_rests_and_comes_back_and_one_with_another_address_is_a_new_one() {
        let mut known = Known::started_with(&servers(&[("a", 1), ("b", 2)], &[]));
        let sick = known.changes(&servers(&[("b", 2)], &[]), |_| true, Timestamp::UNIX_EPOCH);
        assert_eq!(
            sick.iter().map(|(_, change)| change.clone()).collect::<Vec<_>>(),
            [Change::Rest, Change::Forget]
        );
        known.note(&sick[0].0, &Change::Rest);
        assert_eq!(told(&mut known, &servers(&[("a", 1), ("b", 2)], &[])), ["set server tg/a state ready"]);
        assert_eq!(
            told(&mut known, &servers(&[("a", 3), ("b", 2)], &[])),
            ["set server tg/a state maint", "del server tg/a"]
        );
        assert_eq!(
            told(&mut known, &servers(&[("a", 3), ("b", 2)], &[])),
            ["add server tg/a 127.0.0.1:3", "set server tg/a state ready"]
        );
    }
}
