//! Whose turn it is to have a builder: so many bakes of a pipeline have one at the same time, and so many of the stack.
//!
//! A burst of uploads costs no more than its first and its newest one: an upload that a newer one of its pipeline
//! overtook before it had a builder is not baked.

use std::cmp::Ordering;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    bake::{BakeSpec, Order},
    id::{BakeId, PipelineName},
};

/// A bake that has a builder, or waits for its turn to have one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Turn {
    /// The bake.
    pub bake: BakeId,
    /// Its pipeline.
    pub pipeline: PipelineName,
    /// How new it is, if an upload started it; none for one that a person or a promotion started, which nothing overtakes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<Order>,
    /// Since when it has a builder, or waits.
    pub since: Timestamp,
}

/// How many bakes may have a builder at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Of one pipeline, as its recipe says.
    pub pipeline: usize,
    /// Of all pipelines, as the stack was deployed.
    pub stack: usize,
}

/// What a bake that asks for a builder is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is its turn.
    Granted,
    /// Others come first: the one that has been there for longest. None when so many asked at once that nobody knows.
    Wait(Option<BakeId>),
    /// This newer upload of its pipeline has a builder, or is the next to have one.
    Overtaken(BakeId),
}

impl Turn {
    /// The turn that a bake asks for.
    pub fn of(bake: &BakeSpec, now: Timestamp) -> Self {
        Self {
            bake: bake.id.clone(),
            pipeline: bake.pipeline.clone(),
            upload: bake.is_upload().then(|| bake.order()),
            since: now,
        }
    }

    /// Whether this upload makes the other one pointless. Of two that nothing tells apart one does, always the same one:
    /// a thousand uploads of one moment would else all be baked.
    fn overtakes(&self, other: &Self) -> bool {
        let (Some(newer), Some(older)) = (&self.upload, &other.upload) else { return false };
        let order = newer.compare(older).then_with(|| self.bake.cmp(&other.bake));
        self.pipeline == other.pipeline && order == Ordering::Greater
    }

    /// Whether it is this bake's turn, as others have builders and wait in the pipeline's line, the first of each first.
    pub fn ask(&self, at_work: &[Self], line: &[Self], most: Limits) -> Answer {
        if at_work.iter().any(|one| one.bake == self.bake) {
            return Answer::Granted;
        }
        if let Some(newer) = at_work.iter().chain(line).find(|one| one.overtakes(self)) {
            return Answer::Overtaken(newer.bake.clone());
        }
        let mut before = at_work.iter().filter(|one| one.pipeline == self.pipeline);
        let oldest = before.clone().next().or(line.first());
        if before.by_ref().count() + self.place(line) >= most.pipeline {
            return Answer::Wait(oldest.map(|one| one.bake.clone()));
        }
        if at_work.len() >= most.stack {
            return Answer::Wait(at_work.first().map(|one| one.bake.clone()));
        }
        Answer::Granted
    }

    /// How many of the line come before it: it takes the place of an upload that it overtakes.
    fn place(&self, line: &[Self]) -> usize {
        let place = line.iter().position(|one| one.bake == self.bake || self.overtakes(one));
        place.unwrap_or(line.len())
    }

    /// Puts it into the line, unless it is there: in the place of the upload that it overtakes, or at the end.
    pub fn wait_in(self, line: &mut Vec<Self>) {
        if line.iter().any(|one| one.bake == self.bake) {
            return;
        }
        let place = self.place(line);
        line.retain(|one| !self.overtakes(one));
        line.insert(place.min(line.len()), self);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: Limits = Limits { pipeline: 2, stack: 3 };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn turn(pipeline: &str, bake: &str, uploaded: Option<i64>) -> Turn {
        let order = |second| Order {
            artifact: Some(format!("artifacts/{pipeline}/{bake}")),
            uploaded: at(second),
            sequencer: String::new(),
            started: at(second),
        };
        Turn {
            bake: bake.parse().unwrap(),
            pipeline: pipeline.parse().unwrap(),
            upload: uploaded.map(order),
            since: at(0),
        }
    }

    fn wait(bake: &str) -> Answer {
        Answer::Wait(Some(bake.parse().unwrap()))
    }

    #[test]
    fn a_pipeline_has_so_many_builders_and_the_stack_so_many() {
        let of = |bake| turn("shop", bake, None);
        let other = |bake| turn("blog", bake, None);
        assert_eq!(of("c").ask(&[of("a")], &[], MOST), Answer::Granted);
        assert_eq!(of("c").ask(&[of("a"), of("b")], &[], MOST), wait("a"));
        assert_eq!(other("c").ask(&[of("a"), of("b")], &[], MOST), Answer::Granted);
        assert_eq!(other("d").ask(&[of("a"), of("b"), other("c")], &[], MOST), wait("a"));
        // Who has a builder is told so again.
        assert_eq!(of("b").ask(&[of("a"), of("b"), other("c")], &[], MOST), Answer::Granted);
    }

    #[test]
    fn who_waits_for_longer_comes_first() {
        let of = |bake| turn("shop", bake, None);
        let (at_work, line) = ([of("a")], [of("b"), of("c")]);
        assert_eq!(of("b").ask(&at_work, &line, MOST), Answer::Granted);
        assert_eq!(of("c").ask(&at_work, &line, MOST), wait("a"));
        assert_eq!(of("d").ask(&at_work, &line, MOST), wait("a"));
        assert_eq!(of("c").ask(&[], &line, MOST), Answer::Granted);
        assert_eq!(of("d").ask(&[], &line, MOST), wait("b"));
    }

    #[test]
    fn a_newer_upload_takes_the_older_one_s_place_and_nobody_else_s() {
        let (old, new) = (turn("shop", "old", Some(1)), turn("shop", "new", Some(2)));
        let by_hand = turn("shop", "hand", None);
        for (at_work, line) in [(vec![new.clone()], vec![]), (vec![], vec![new.clone()])] {
            assert_eq!(old.ask(&at_work, &line, MOST), Answer::Overtaken(new.bake.clone()));
            assert_eq!(by_hand.ask(&at_work, &line, MOST), Answer::Granted);
            // Another pipeline's upload overtakes nothing here.
            assert_eq!(turn("blog", "old", Some(1)).ask(&at_work, &[], MOST), Answer::Granted);
        }
        let mut line = vec![old, by_hand.clone()];
        new.clone().wait_in(&mut line);
        assert_eq!(line, [new.clone(), by_hand.clone()]);
        new.clone().wait_in(&mut line);
        by_hand.clone().wait_in(&mut line);
        assert_eq!(line, [new, by_hand]);
    }

    proptest! {
        /// Bakes come, ask, wait and end in any order: the limits hold, the newest upload is never left out, and when
        /// all who have a builder end, somebody who waits gets one.
        #[test]
        fn the_limits_hold_and_the_newest_upload_has_its_turn(
            steps in prop::collection::vec((0usize..3, 0u8..2, 0i64..40, any::<bool>()), 1..80),
        ) {
            let names = ["shop", "blog", "docs"];
            let (mut at_work, mut lines) = (Vec::<Turn>::new(), vec![Vec::<Turn>::new(); 3]);
            let mut newest = [None::<i64>; 3];
            for (number, (pipeline, kind, age, ends)) in steps.into_iter().enumerate() {
                if ends && !at_work.is_empty() {
                    at_work.remove(number % at_work.len());
                }
                let uploaded = (kind == 0).then_some(age);
                let one = turn(names[pipeline], &format!("b{number}"), uploaded);
                let line = &mut lines[pipeline];
                match one.ask(&at_work, line, MOST) {
                    Answer::Granted => {
                        newest[pipeline] = newest[pipeline].max(uploaded);
                        at_work.push(one);
                    }
                    Answer::Wait(_) => {
                        newest[pipeline] = newest[pipeline].max(uploaded);
                        one.wait_in(line);
                    }
                    Answer::Overtaken(_) => prop_assert!(newest[pipeline] >= uploaded, "of an older one"),
                }
                prop_assert!(at_work.len() <= MOST.stack);
                for (name, line) in names.iter().zip(&lines) {
                    let of = |one: &&Turn| one.pipeline.as_str() == *name;
                    prop_assert!(at_work.iter().filter(of).count() <= MOST.pipeline);
                    prop_assert!(line.iter().filter(|one| one.upload.is_some()).count() <= 1);
                }
            }
            at_work.clear();
            for line in &lines {
                if let Some(first) = line.first() {
                    let uploads = line.iter().find(|one| one.upload.is_some());
                    prop_assert_eq!(first.ask(&at_work, line, MOST), Answer::Granted);
                    prop_assert!(uploads.is_none_or(|one| line.iter().all(|other| !other.overtakes(one))));
                }
            }
        }
    }
}
