//! What each page asks AWS, counted on a large account. An account's buckets are everybody's in it.

use std::{collections::BTreeMap, sync::mpsc};

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::ports::Index;
use ovenbird_ui::{Reader, Snapshot};
use serde_json::json;

use crate::{
    account::{Desk, large, usual},
    bands::{LARGE_PAGES, has, page_of},
    client::Served,
};

/// How many calls AWS takes at once, and how many of them come back each second; the least of all Regions. DynamoDB counts
/// units of what is read and not calls, and S3 the requests below each prefix: theirs are what a new table and one prefix
/// take in a second. `GetParameter` and `GetParameters` share one.
const BUCKETS: [(&str, usize, usize); 8] = [
    // Without a filter.
    ("ec2:DescribeInstances", 50, 10),
    ("ec2:DescribeImages", 100, 20),
    ("states:ListExecutions", 100, 2),
    ("states:DescribeExecution", 250, 10),
    ("ssm:GetParameter", 40, 40),
    ("sts:GetCallerIdentity", 50, 50),
    ("s3:GetObject", 5_500, 5_500),
    ("dynamodb:", 12_000, 12_000),
];

/// While somebody watches, the account is read again after this.
const SECONDS: usize = 6;

/// So many views of a page, one after the other, and the calls of the last.
pub fn calls(desk: impl FnOnce() -> Desk + Send + 'static, paths: &[&str]) -> BTreeMap<String, usize> {
    let (told, hear) = mpsc::channel();
    let counted = move || {
        let mut desk = desk();
        desk.counted = Some((desk.cloud.calls().len(), told));
        desk
    };
    let served = Served::new(counted, false);
    let cookie = served.cookie();
    for path in paths {
        assert_eq!(served.get(&cookie, path).status, 200, "{path}");
    }
    drop(served);
    let mut counts = BTreeMap::new();
    for call in hear.recv().unwrap() {
        let shared = ["dynamodb:", "ssm:GetParameter"].into_iter().find(|shared| call.starts_with(shared));
        let name = shared.unwrap_or(call);
        *counts.entry(name.to_owned()).or_default() += 1;
    }
    counts
}

/// A hundred pipelines with a parameter each, a thousand images and ten thousand bakes, of which forty are on their way.
fn busy() -> Desk {
    let desk = large(100);
    let rows = desk.cloud.rows();
    for number in 0..40 {
        let (pk, sk) = (format!("PIPELINE#service-{number:03}"), format!("BAKE#service-{number:03}-001"));
        let row = rows.iter().find(|row| row.key.pk == pk && row.key.sk == sk).unwrap();
        let mut doc = row.doc.clone();
        doc["status"] = json!("running");
        let status = Some(("running".to_owned(), doc["started"].as_str().unwrap().to_owned()));
        let time = Some((
            format!("service-{number:03}").parse().unwrap(),
            doc["started"].as_str().unwrap().parse().unwrap(),
        ));
        desk.write(&pk, &sk, doc, Index { status, time, ..Index::default() });
    }
    desk
}

#[test]
fn each_page_of_a_large_account_takes_less_than_a_tenth_of_every_bucket() {
    for path in LARGE_PAGES {
        let counts = calls(busy, &[path]);
        println!("{path}: {counts:?}");
        for (name, count) in counts {
            let bucket = BUCKETS.iter().find(|(bucket, ..)| *bucket == name);
            let (_, holds, _) =
                bucket.unwrap_or_else(|| panic!("{path} calls {name}, of which no bucket is known"));
            assert!(count * 10 <= *holds, "{path} takes {count} of {holds} {name}");
        }
    }
}

/// Who leaves a page open takes no more than a tenth of what comes back.
#[test]
fn a_page_that_is_watched_takes_less_than_a_tenth_of_what_comes_back() {
    // Read within one moment, the account is asked once.
    assert_eq!(calls(|| large(1), &["/", "/fleet", "/bakes", "/lineage"]), calls(|| large(1), &["/"]));
    let counts = calls(busy, &["/"]);
    for (name, count) in counts {
        let (_, _, refill) = BUCKETS.iter().find(|(bucket, ..)| *bucket == name).unwrap();
        // Executions of bakes on their way are looked at once a minute.
        let seconds = if name == "states:DescribeExecution" { 60 } else { SECONDS };
        assert!(count * 10 <= refill * seconds, "{count} {name} each {seconds} s, of {refill} a second");
    }
}

/// Forty bakes are on their way: each is looked at once a minute, and no more than 25 at once.
#[test]
fn an_execution_is_looked_at_once_a_minute() {
    let reader = Reader::new(busy());
    let begun = reader.account.cloud.now();
    let looks = |seconds: i64| {
        let count = || {
            let calls = reader.account.cloud.calls();
            calls.iter().filter(|call| call.actions[0] == "states:DescribeExecution").count()
        };
        let before = count();
        block_on(reader.snapshot(begun + SignedDuration::from_secs(seconds)));
        count() - before
    };
    assert_eq!([0, 6, 12, 54, 61, 67].map(looks), [25, 15, 0, 0, 25, 15]);
}

/// Fifty pipelines have a parameter each, and another one's says something else.
fn parameters(snapshot: &Snapshot) -> [usize; 2] {
    let all = snapshot.pipelines.iter().flat_map(|one| &one.channels).flat_map(|channel| &channel.parameters);
    let all: Vec<_> = all.collect();
    assert_eq!(all.len(), 51);
    [all.iter().filter(|one| one.unread).count(), all.iter().filter(|one| one.drifted).count()]
}

/// Each is read once a minute and no more than 20 at once; what differs is looked at each time.
#[test]
fn parameters_are_read_in_turn() {
    let reader = Reader::new(large(50));
    let begun = reader.account.cloud.now();
    let looks = |seconds: i64| {
        let count = || {
            let calls = reader.account.cloud.calls();
            calls.iter().filter(|call| call.actions[0] == "ssm:GetParameters").count()
        };
        let before = count();
        let snapshot = block_on(reader.snapshot(begun + SignedDuration::from_secs(seconds)));
        (count() - before, parameters(&snapshot))
    };
    let expected = [
        (0, (2, [31, 1])),
        (6, (2, [11, 1])),
        (12, (2, [0, 1])),
        (18, (1, [0, 1])),
        (54, (1, [0, 1])),
        (60, (2, [0, 1])),
        (66, (2, [0, 1])),
        // Who comes back after a while is not told what was.
        (600, (2, [31, 1])),
    ];
    for (seconds, told) in expected {
        assert_eq!(looks(seconds), told, "after {seconds} s");
    }
    // What is made once leaves nothing for later.
    let reader = Reader::once(large(50));
    assert_eq!(parameters(&block_on(reader.snapshot(begun))), [0, 1]);
}

/// Of many parameters, a part is read each time. A pipeline's own page has its own.
#[test]
fn a_parameter_that_was_left_for_later_is_neither_right_nor_wrong() {
    let served = Served::new(|| large(100), false);
    let cookie = served.cookie();
    let page = served.get(&cookie, "/").body;
    has(&page, &["81 parameters are still to be read", "data-live=\"/live/\""]);
    assert_eq!(page.matches(">parameter /images/").count(), 1, "the one that differs");
    for name in ["service-000", "service-099"] {
        let page = served.get(&cookie, &format!("/pipelines/{name}")).body;
        let own = format!("/images/{name}/stable</code> <span class=\"pill good\">says the same");
        assert!(page.contains(&own), "{page}");
    }
    assert!(!page_of(usual, "/").contains("still to be read"));
}

/// A channel that moved has a parameter that is not known, and not one that says something else.
#[test]
fn a_parameter_is_read_anew_when_its_channel_moved() {
    let reader = Reader::new(large(50));
    let (cloud, begun) = (&reader.account.cloud, reader.account.cloud.now());
    let mut seconds = 0;
    let mut look = || {
        seconds += 6;
        parameters(&block_on(reader.snapshot(begun + SignedDuration::from_secs(seconds))))
    };
    assert_eq!((0..3).map(|_| look()).last(), Some([0, 1]));
    let old = reader.account.channel("storefront", "production").previous[0].image.to_string();
    for number in 0..40 {
        let name = format!("service-{number:03}");
        cloud.put_parameter(&format!("/images/{name}/stable").parse().unwrap(), &old);
        let change = |doc: &mut serde_json::Value| doc["current"]["image"] = json!(old);
        reader.account.edit(&format!("PIPELINE#{name}"), "CHANNEL#stable", "CHANNEL#stable", change);
    }
    assert_eq!([look(), look()], [[20, 1], [0, 1]]);
    let right = reader.account.channel("storefront", "production").current.unwrap().image;
    cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), right.as_str());
    assert_eq!(look(), [0, 0]);
}

#[test]
fn the_overview_asks_so_much_for_each_pipeline_and_ec2_no_more() {
    let (few, many) = (calls(|| large(5), &["/"]), calls(|| large(15), &["/"]));
    let all = |counts: &BTreeMap<String, usize>| counts.values().sum::<usize>();
    let of_ec2 = |counts: &BTreeMap<String, usize>| {
        counts
            .iter()
            .filter(|(call, _)| call.starts_with("ec2:"))
            .map(|(_, count)| *count)
            .collect::<Vec<_>>()
    };
    println!("5 pipelines: {few:?}, 15 pipelines: {many:?}");
    assert!(all(&many) - all(&few) <= 10 * 5, "{few:?} and {many:?}");
    // All of them stand on one base.
    assert_eq!(of_ec2(&few), of_ec2(&many));
    assert!(of_ec2(&many).iter().sum::<usize>() <= 5, "{many:?}");
}
