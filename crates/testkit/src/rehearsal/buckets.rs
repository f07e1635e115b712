//! How near bakes that run at the same time come to AWS's limits on requests.

use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::Bake;

/// AWS's token buckets.
const TABLE: &str = include_str!("buckets.tsv");

/// A token bucket, and how empty it became.
#[derive(Debug, Clone, Copy)]
pub struct Bucket {
    /// How many calls it takes at once.
    pub capacity: f64,
    /// How many calls it takes each second after that.
    pub refill: f64,
    /// How many tokens were used at most, beyond what came back meanwhile.
    pub used: f64,
}

impl Bucket {
    /// Which part of it was used at most.
    pub fn share(&self) -> f64 {
        self.used / self.capacity
    }
}

/// The calls of bakes that begin one after the other, evenly within a time.
pub fn spread(bakes: Vec<Bake>, within: SignedDuration) -> Vec<(SignedDuration, &'static str)> {
    let many = i32::try_from(bakes.len()).unwrap_or(i32::MAX).max(1);
    let begun = (0..many).map(|number| within * number / many);
    let of_bake = |(begun, bake): (SignedDuration, Bake)| {
        bake.calls.into_iter().map(move |(at, api)| (begun + at, api)).collect::<Vec<_>>()
    };
    begun.zip(bakes).flat_map(of_bake).collect()
}

/// How empty each bucket became by these calls, in any order. An API without a bucket is left out.
///
/// # Panics
/// When a row of the table isn't four fields.
pub fn used(calls: &[(SignedDuration, &'static str)]) -> BTreeMap<&'static str, Bucket> {
    let mut by_api: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (at, api) in calls {
        by_api.entry(api).or_default().push(at.as_secs_f64());
    }
    let rows = TABLE.lines().filter(|line| !line.starts_with('#')).skip(1);
    let buckets = rows.map(|row| {
        let fields: Vec<&str> = row.split('\t').collect();
        assert!(fields.len() == 4 && !fields[3].is_empty(), "each bucket says where it is documented: {row}");
        let [capacity, refill]: [f64; 2] = [1, 2].map(|field| fields[field].parse().unwrap());
        let (mut used, mut most, mut before) = (0.0_f64, 0.0_f64, 0.0);
        let mut times = by_api.get(fields[0]).cloned().unwrap_or_default();
        times.sort_by(f64::total_cmp);
        for at in times {
            used = (used - (at - before) * refill).max(0.0) + 1.0;
            (most, before) = (most.max(used), at);
        }
        (fields[0], Bucket { capacity, refill, used: most })
    });
    buckets.filter(|(_, bucket)| bucket.used > 0.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_as_empty_as_what_was_taken_and_did_not_come_back() {
        let at = SignedDuration::from_millis;
        // Four at once, then two seconds in which four come back, then one.
        let calls: Vec<_> =
            [0, 0, 0, 0, 2_000].into_iter().map(|time| (at(time), "ec2:RunInstances")).collect();
        assert_eq!(used(&calls)["ec2:RunInstances"].used, 4.0);
        // Three each second are one more than comes back.
        let calls: Vec<_> = (0..30).map(|number| (at(number * 1_000 / 3), "ec2:RunInstances")).collect();
        let used = used(&calls)["ec2:RunInstances"].used;
        assert!((10.0..12.0).contains(&used), "{used}");
    }
}
