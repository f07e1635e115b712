//! What load balancers carried, asked for as often as there may be something new.

use std::{cell::RefCell, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::traffic::{BalancerTraffic, begin, minutes},
    ports,
};

use crate::read::Problem;

/// How long an answer is good: `CloudWatch` has a new number once a minute, and takes money for each question.
const GOOD: SignedDuration = SignedDuration::from_secs(20);

/// What was carried to some target groups, or why that can't be told.
pub type Answer = Result<Vec<BalancerTraffic>, Problem>;

/// The newest answers, by their target groups.
#[derive(Debug, Default)]
pub struct Traffic(RefCell<BTreeMap<Vec<String>, (Timestamp, Answer)>>);

impl Traffic {
    /// What was carried to these target groups in the last minutes.
    pub async fn of(
        &self,
        cloud: &impl ports::Traffic,
        target_groups: Vec<String>,
        now: Timestamp,
    ) -> Answer {
        self.0.borrow_mut().retain(|_, (at, _)| now.duration_since(*at) < GOOD);
        if let Some((_, answer)) = self.0.borrow().get(&target_groups) {
            return answer.clone();
        }
        let [since, ..] = minutes(now);
        let answer = cloud.traffic(&target_groups, since, begin(now)).await;
        let answer = answer.map_err(|error| Problem::new("how many requests there are", &error));
        self.0.borrow_mut().insert(target_groups, (now, answer.clone()));
        answer
    }
}
