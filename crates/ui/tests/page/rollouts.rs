//! What the pages of rollouts tell.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::traffic::begin;
use serde_json::{Value, json};

use crate::{
    account::{Desk, usual},
    bands::{has, page_of},
    calls::calls,
    client::Served,
};

/// Where the rollout is that is under way.
pub fn link(served: &Served, cookie: &str) -> String {
    let list = served.get(cookie, "/rollouts").body;
    let (_, rest) = list.split_once("href=\"/rollouts/storefront/").unwrap();
    format!("/rollouts/storefront/{}", rest.split('"').next().unwrap())
}

/// Its page.
fn rollout(desk: fn() -> Desk) -> String {
    let served = Served::new(desk, false);
    let cookie = served.cookie();
    served.get(&cookie, &link(&served, &cookie)).body
}

#[test]
fn a_rollout_has_stages_machines_and_what_happened() {
    has(&page_of(usual, "/rollouts"), &["paused", "settled", "storefront/production"]);
    let page = rollout(usual);
    has(&page, &["aria-current=\"step\"", "1 instance", ">serves<", "Instance refresh", "What happened"]);
    has(&page, &["ovenbird --local rollout storefront approve --channel production", "(or reject)"]);
    // One that a person paused waits for nobody's approval.
    let page = rollout(paused);
    has(&page, &["ovenbird --local rollout storefront resume --channel production", "(or skip, abort)"]);
}

/// Changes the rollout that is paused.
pub fn edit(desk: &Desk, change: impl FnOnce(&mut Value)) {
    let rows = desk.cloud.rows();
    let mut rollouts = rows.iter().filter(|row| row.key.sk.starts_with("ROLLOUT#"));
    let one = rollouts.find(|row| row.doc["progress"]["phase"] == "paused").unwrap();
    desk.edit(&one.key.pk, &one.key.sk, &one.key.sk, change);
}

/// The rollout is paused, and its recipe asks nobody.
fn paused() -> Desk {
    let desk = usual();
    edit(&desk, |doc| doc["spec"]["to"]["policy"]["pause_before"] = json!(null));
    desk
}

#[test]
fn a_rollout_that_waits_for_a_person_is_told_first_with_the_command() {
    let page = page_of(usual, "/");
    let (_, worries) = page.split_once("What is wrong").unwrap();
    let first = worries.split("</tr>").nth(1).unwrap();
    has(first, &[">storefront/production</a>", "waits for a person's approval"]);
    has(first, &["ovenbird --local rollout storefront approve --channel production"]);
    assert!(!page_of(paused, "/").contains("storefront approve"));
}

/// What its load balancer counted, by how many minutes ago they began: requests, errors of targets and of its own.
fn counted(all: &[(i64, [u64; 3])]) -> Desk {
    let desk = usual();
    let this = begin(Timestamp::now());
    let balancer = desk.cloud.with(|world| world.load_balancers().next().unwrap().arn.clone());
    let group = desk.cloud.with(|world| world.auto_scaling_groups().next().unwrap().target_groups[0].clone());
    let metrics = [
        ("RequestCount", &group),
        ("HTTPCode_Target_5XX_Count", &group),
        ("HTTPCode_ELB_5XX_Count", &balancer),
    ];
    desk.cloud.around(|around| {
        for (number, (metric, arn)) in metrics.into_iter().enumerate() {
            let name = arn.rsplit(':').next().unwrap().trim_start_matches("loadbalancer/").to_owned();
            let at = |ago: i64| this - SignedDuration::from_mins(ago);
            let counts = all.iter().map(|(ago, counts)| (at(*ago), counts[number])).filter(|one| one.1 > 0);
            around.metrics.as_mut().unwrap().insert((metric.to_owned(), name), counts.collect());
        }
    });
    desk
}

/// Of the last minutes the newest two are not known yet.
fn carried() -> Desk {
    counted(&[(6, [40, 0, 2]), (4, [118, 7, 0]), (3, [120, 3, 0])])
}

/// Each minute is as the one before, however long one looks.
pub fn steady() -> Desk {
    counted(&(-30..=10).map(|ago| (ago, [120, 30, 5])).collect::<Vec<_>>())
}

#[test]
fn a_rollout_has_the_requests_of_its_load_balancers_and_their_errors() {
    let page = rollout(carried);
    let (_, requests) = page.split_once("id=\"requests\"").unwrap();
    has(requests, &["Load balancer storefront, in the minute from", "target group storefront"]);
    has(requests, &["120 requests, <span class=\"pill bad\">3 answered 5xx by targets</span>"]);
    has(requests, &["none answered 5xx by it"]);
    // Who hears it is told the numbers, a minute without any is none, and what is not known yet is not told.
    has(
        requests,
        &[
            "aria-label=\"Requests, by the minute: 0, ",
            "0, 40, 0, 118, 120. Answered 5xx, by the minute: 0, ",
        ],
    );
    has(requests, &["0, 0, 0, 7, 3\"", "aria-label=\"Answered 5xx, by the minute: 0, ", "0, 2, 0, 0, 0\""]);
    has(&rollout(usual), &["no request is known of the last 10 minutes"]);
    // A rollout that is over has none.
    let served = Served::new(usual, false);
    let cookie = served.cookie();
    let list = served.get(&cookie, "/rollouts").body;
    let over = list.split("href=\"/rollouts/storefront/").last().unwrap().split('"').next().unwrap();
    let page = served.get(&cookie, &format!("/rollouts/storefront/{over}")).body;
    assert!(page.contains("settled") && !page.contains("id=\"requests\""), "{page}");
}

/// `CloudWatch` has a new number once a minute, and takes money for each question.
#[test]
fn the_requests_are_asked_for_once_for_pages_that_follow_each_other() {
    let served = Served::new(usual, false);
    let path = link(&served, &served.cookie());
    let counts = calls(usual, &[&path, &path]);
    let count = |call: &str| counts.get(call).copied().unwrap_or_default();
    assert_eq!(count("autoscaling:DescribeAutoScalingGroups"), 2, "{counts:?}");
    assert_eq!(count("elasticloadbalancing:DescribeTargetGroups"), 1, "{counts:?}");
}

#[test]
fn who_may_not_know_the_requests_sees_all_else() {
    let page = rollout(|| {
        let desk = carried();
        desk.cloud.around(|around| around.metrics = None);
        desk
    });
    has(&page, &["<strong>how many requests there are</strong>", "cloudwatch:GetMetricData"]);
    has(&page, &["It is not known how many there are", ">serves<", "What happened"]);
    let page = rollout(|| {
        let desk = carried();
        desk.cloud.with(|world| {
            let balancer = world.load_balancers().next().unwrap().arn.clone();
            world.delete_load_balancer(&balancer).unwrap();
        });
        desk
    });
    has(&page, &["no Application Load Balancer sends to the groups"]);
    assert!(!page.contains("Could not be read"), "{page}");
}
