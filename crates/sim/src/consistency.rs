//! How soon answers show what was changed: EC2 answers reads from copies that follow, each at its own pace.
//!
//! AWS promises no time: "eventual consistency means that the result of an API command you run … might not be immediately
//! visible to all subsequent commands", and a wait of up to some minutes is its advice.
//! <https://docs.aws.amazon.com/ec2/latest/devguide/eventual-consistency.html>

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

use crate::World;

/// How soon what was changed is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Consistency {
    /// In every answer after it.
    #[default]
    AtOnce,
    /// After a while. Half of all answers are of this moment, the others of one before it, each of its own: who saw a
    /// thing may not see it the next time.
    Lagging {
        /// The same seed gives the same answers.
        seed: u64,
    },
    /// Every answer is as old as an answer of its kind may be.
    Oldest,
}

/// What is asked for. Each lags by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asked {
    /// Instances by their ids.
    Instance,
    /// Instances by filters: tags, image.
    Instances,
    /// Images by their ids.
    Image,
    /// Images by filters: tags, name, snapshot.
    Images,
    /// Snapshots by filters.
    Snapshots,
    /// Volumes by filters.
    Volumes,
    /// Launch templates with their versions, by id or by name.
    Templates,
    /// Items of a table by an index: DynamoDB reads none of them consistently.
    Index,
}

impl Asked {
    /// The longest lag. Ids are seen before tags are. No figure is AWS's: they are long beside the times of bakes in tests.
    pub fn longest(self) -> SignedDuration {
        SignedDuration::from_secs(match self {
            Self::Instance | Self::Image | Self::Index => 2,
            Self::Templates => 3,
            Self::Instances | Self::Images | Self::Snapshots | Self::Volumes => 15,
        })
    }
}

impl Consistency {
    /// How old the answer to a call is. `call` is its number: every call has a lag of its own.
    pub fn lag(self, asked: Asked, call: usize) -> SignedDuration {
        let seed = match self {
            Self::AtOnce => return SignedDuration::ZERO,
            Self::Oldest => return asked.longest(),
            Self::Lagging { seed } => seed,
        };
        let chance = mixed(mixed(seed ^ asked as u64) ^ call as u64);
        if chance.is_multiple_of(2) {
            return SignedDuration::ZERO;
        }
        let longest = u64::try_from(asked.longest().as_millis()).unwrap_or(0);
        SignedDuration::from_millis(i64::try_from((chance >> 1) % (longest + 1)).unwrap_or(0))
    }
}

impl Consistency {
    /// Whether a call on what is gone is refused as not allowed, and not as not found: its permission may rest on a tag, and
    /// what is gone has none. The documentation says neither.
    pub fn refuses_gone(self, call: usize) -> bool {
        self.either(call, 1)
    }

    /// Whether an image whose snapshot is under way can't be deregistered yet. The documentation of
    /// `InvalidAMIID.Unavailable` and that of `DeregisterImage` differ.
    pub fn refuses_pending(self, call: usize) -> bool {
        self.either(call, 2)
    }

    fn either(self, call: usize, what: u64) -> bool {
        match self {
            Self::AtOnce => false,
            Self::Oldest => true,
            Self::Lagging { seed } => mixed(mixed(seed ^ what << 32) ^ call as u64).is_multiple_of(2),
        }
    }
}

/// A number that looks like chance and is the same for the same one (the end of `SplitMix64`).
fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How a world was, for as long as an answer may show it so.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// From when on each was so, the oldest first, with its revision.
    moments: VecDeque<(Timestamp, u64, World)>,
}

/// No answer is older.
const OLDEST: SignedDuration = SignedDuration::from_secs(15);

impl Past {
    /// Keeps how a world is at the end of a moment. Nothing is kept where nothing changed.
    pub fn keep(&mut self, now: Timestamp, world: &World) {
        let revision = world.revision();
        if self.moments.back().is_some_and(|(_, kept, _)| *kept == revision) {
            return;
        }
        self.moments.push_back((now, revision, world.clone()));
        // The last one before the oldest answer is what that answer shows.
        while self.moments.get(1).is_some_and(|(at, ..)| now.duration_since(*at) > OLDEST) {
            self.moments.pop_front();
        }
    }

    /// How the world was at a moment; none if nothing was kept since.
    pub fn at(&self, moment: Timestamp) -> Option<&World> {
        let until = self.moments.iter().rev().find(|(at, ..)| *at <= moment);
        until.or(self.moments.front()).map(|(.., world)| world)
    }
}

impl World {
    /// A number that is another one whenever something that lags has changed.
    fn revision(&self) -> u64 {
        self.instances.revision()
            + self.volumes.revision()
            + self.images.revision()
            + self.snapshots.revision()
            + self.templates.by_id.revision()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BaseImage;

    #[test]
    fn half_of_the_answers_are_of_this_moment_and_none_is_older_than_its_kind_may_be() {
        let lagging = Consistency::Lagging { seed: 7 };
        let kinds = [Asked::Instance, Asked::Instances, Asked::Image, Asked::Snapshots, Asked::Index];
        for asked in kinds {
            let lags: Vec<_> = (0..1000).map(|call| lagging.lag(asked, call)).collect();
            let late = lags.iter().filter(|lag| !lag.is_zero()).count();
            assert!((400..600).contains(&late), "{asked:?}: {late} of 1000");
            let longest = *lags.iter().max().unwrap();
            assert!(longest <= asked.longest() && longest > asked.longest() * 9 / 10, "{asked:?}: {longest}");
            assert!(longest <= OLDEST, "{asked:?} may ask for more than is kept");
            assert!((0..1000).all(|call| Consistency::AtOnce.lag(asked, call).is_zero()));
        }
        let by = |asked| (0..100).map(|call| lagging.lag(asked, call)).collect::<Vec<_>>();
        assert_ne!(by(Asked::Images), by(Asked::Instances), "each kind lags by itself");
    }

    #[test]
    fn a_world_is_seen_as_it_was() {
        let mut world = World::new("123456789012", "us-east-1");
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| start + SignedDuration::from_secs(seconds);
        let mut past = Past::default();
        past.keep(start, &world);
        let image = world.register_base(at(10), &BaseImage::debian_12("20260101", "x86_64"));
        past.keep(at(10), &world);
        past.keep(at(12), &world);
        let shows = |past: &Past, seconds| past.at(at(seconds)).unwrap().image(&image).is_some();
        assert!(!shows(&past, 9) && shows(&past, 10) && shows(&past, 12));
        assert_eq!(past.moments.len(), 2, "nothing changed at the last moment");
        world.register_base(at(40), &BaseImage::debian_12("20260102", "x86_64"));
        past.keep(at(40), &world);
        assert_eq!(past.moments.len(), 2, "no answer is of a moment so long ago");
        assert!(shows(&past, 25));
    }
}
