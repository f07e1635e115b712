//! How much a bake's waiting costs, and how late it notices that something is there.

use jiff::SignedDuration;
use ovenbird_testkit::{
    rehearsal::{Bake, buckets, percentile, rehearse},
    walk::cost::{self, USUAL_BAKE},
};

#[test]
fn a_usual_bake_takes_few_transitions() {
    let walk = cost::measure(&USUAL_BAKE);
    let transitions = walk.diary.transitions.get();
    assert!(transitions <= 60, "{transitions} transitions\n{}", cost::table());
}

#[test]
fn a_usual_bake_ends_soon_after_its_machines_work() {
    let walk = cost::measure(&USUAL_BAKE);
    let times = USUAL_BAKE.times;
    let work = times.boot + times.steps + times.tests + times.seal + times.imaging;
    let late = walk.took.as_secs() - work;
    assert!((0..=10).contains(&late), "{late} s late");
}

#[test]
fn ovenbird_itself_costs_less_than_a_third_of_a_cent() {
    let walk = cost::measure(&USUAL_BAKE);
    let parts = cost::price(&walk);
    let ours: f64 = parts.iter().filter(|(what, _)| *what != "the machine").map(|(_, dollars)| dollars).sum();
    assert!(ours <= 0.003, "$ {ours:.5}\n{}", cost::table());
}

#[test]
fn at_aws_s_pace_little_is_added_to_what_machines_and_aws_do() {
    let bakes: Vec<_> = (0..40).map(|seed| rehearse("plain", seed, 0)).collect();
    let mut overheads: Vec<f64> = bakes.iter().map(Bake::overhead).collect();
    assert!(overheads.iter().all(|overhead| *overhead > 0.0), "{overheads:?}");
    let median = percentile(&mut overheads, 50);
    let mut packer: Vec<f64> = bakes.iter().map(|bake| bake.packer[0]).collect();
    // Not the goal, which is 4 s: what is reached, so that it gets no worse unseen. It is reached until the promotion.
    assert!(median <= 5.0, "{median:.1} s of {overheads:?}");
    assert!(percentile(&mut overheads, 97) <= 8.0, "{overheads:?}");
    let mut promoted: Vec<f64> = bakes.iter().map(Bake::overhead_until_promoted).collect();
    assert!(percentile(&mut promoted, 50) <= 4.0, "{promoted:?}");
    assert!(median * 4.0 <= percentile(&mut packer, 50), "{median:.1} s, and Packer {packer:?}");
    let mut transitions: Vec<f64> = bakes.iter().map(|bake| bake.transitions as f64).collect();
    assert!(percentile(&mut transitions, 50) <= 40.0, "{transitions:?}");
}

#[test]
fn twenty_bakes_at_once_leave_most_of_the_account_s_requests_to_others() {
    let calls: Vec<_> = (0..20).flat_map(|seed| rehearse("plain", seed, 19).calls).collect();
    let buckets = buckets::used(&calls);
    assert!(buckets["ec2:DescribeImages"].used > 1.0 && buckets["ec2:DescribeInstances"].used > 1.0);
    for (api, bucket) in buckets {
        // EC2 takes five launches at once, and each bake needs one: the sixth is refused, and tried again.
        assert!(api == "ec2:RunInstances" || bucket.share() <= 0.5, "{api}: {bucket:?}");
    }
}

#[test]
fn a_hundred_bakes_within_two_minutes_leave_half_of_every_bucket_to_others() {
    let bakes: Vec<_> = (0..100).map(|seed| rehearse("plain", seed, 99)).collect();
    let buckets = buckets::used(&buckets::spread(bakes, SignedDuration::from_secs(120)));
    assert!(buckets["ec2:RunInstances"].used >= 1.0 && buckets["ssm:GetParameter"].used >= 1.0);
    for (api, bucket) in buckets {
        // SSM takes three writes a second: any two in the same one are more than half of that. None is refused.
        assert!(
            api == "ssm:PutParameter" && bucket.used < bucket.capacity || bucket.share() <= 0.5,
            "{api}: {bucket:?}"
        );
    }
}

#[test]
fn a_hundred_bakes_that_wait_for_their_images_share_what_one_may_ask() {
    let looks = |others: usize| {
        let bake = rehearse("plain", 1, others);
        bake.calls.iter().filter(|(_, api)| *api == "ec2:DescribeImages").count()
    };
    let (alone, among) = (looks(0), looks(99));
    assert!(among * 4 < alone, "{among} looks among a hundred, {alone} alone");
}
