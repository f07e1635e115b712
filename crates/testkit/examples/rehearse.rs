//! Prints how bakes would go at AWS's pace: `make rehearse`.

use std::{collections::BTreeMap, thread};

use jiff::SignedDuration;
use ovenbird_testkit::{
    rehearsal::{Bake, KINDS, buckets, percentile, rehearse},
    walk::cost,
};
use serde_json::json;

/// How many bakes of each kind.
const SEEDS: u64 = 1000;

/// How many plain bakes begin within how many seconds, to see how near they come to AWS's limits.
const AT_ONCE: [(usize, i32); 3] = [(20, 0), (100, 120), (100, 0)];

/// Median and 99th percentile.
fn both(bakes: &[Bake], of: impl Fn(&Bake) -> f64) -> [f64; 2] {
    let mut values: Vec<f64> = bakes.iter().map(of).collect();
    [percentile(&mut values, 50), percentile(&mut values, 99)]
}

/// Bakes of a kind, on all cores.
fn bakes(kind: &'static str, many: u64, others: usize) -> Vec<Bake> {
    let workers = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers)
            .map(|worker| {
                scope.spawn(move || {
                    let seeds = (0..many).skip(worker).step_by(workers);
                    seeds.map(|seed| rehearse(kind, seed, others)).collect::<Vec<_>>()
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a rehearsal")).collect()
    })
}

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    if !json {
        println!(
            "{SEEDS} bakes of each kind; seconds, median and 99th percentile.\n\
             AWS's latencies are those of crates/testkit/src/latency/table.tsv. Most of them are inferred, not measured."
        );
        println!(
            "{:16} {:>16} {:>14} {:>16} {:>10} {:>10} {:>12} {:>16}",
            "", "wall", "recipe's work", "AWS's work", "promoted", "overhead", "transitions", "dollars"
        );
    }
    let two = |[median, high]: [f64; 2]| format!("{median:.1} {high:.1}");
    let mut plain = Vec::new();
    for (kind, _) in KINDS {
        let bakes = bakes(kind, SEEDS, 0);
        let [wall, own, aws] =
            [both(&bakes, |bake| bake.wall), both(&bakes, |bake| bake.own), both(&bakes, |bake| bake.aws)];
        let overhead = both(&bakes, Bake::overhead);
        let promoted = both(&bakes, Bake::overhead_until_promoted);
        let transitions = both(&bakes, |bake| bake.transitions as f64);
        let dollars = both(&bakes, |bake| bake.dollars);
        if json {
            let row = json!({"kind": kind, "wall": wall, "own": own, "aws": aws, "overhead": overhead, "promoted": promoted,
                "transitions": transitions, "dollars": dollars});
            println!("{row}");
        } else {
            println!(
                "{kind:16} {:>16} {:>14} {:>16} {:>10} {:>10} {:>12} {:>16}",
                two(wall),
                two(own),
                two(aws),
                two(promoted),
                two(overhead),
                format!("{:.0} {:.0}", transitions[0], transitions[1]),
                format!("{:.5} {:.5}", dollars[0], dollars[1])
            );
        }
        if *kind == "plain" {
            plain = bakes;
        }
    }
    let ours = both(&plain, Bake::overhead);
    let packer = [0, 1].map(|waiter| both(&plain, |bake| bake.packer[waiter]));
    if json {
        println!("{}", json!({"packer": {"2 s": packer[0], "15 s": packer[1]}}));
    } else {
        println!(
            "\nThe plain bake by Packer's documented waits, in the same times: what it adds, and how often ours that is"
        );
        for (pause, packer) in ["2 s", "15 s"].iter().zip(packer) {
            println!(
                "{:16} {:>14} {:>8.1} {:>5.1}",
                format!("waiters of {pause}"),
                two(packer),
                packer[0] / ours[0],
                packer[1] / ours[1]
            );
        }
    }
    let mut shares: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for (many, within) in AT_ONCE {
        let together = bakes("plain", many as u64, many - 1);
        let calls = buckets::spread(together, SignedDuration::from_secs(within.into()));
        for (api, bucket) in buckets::used(&calls) {
            shares.entry(api).or_default().push((bucket.used, bucket.share()));
        }
    }
    if json {
        println!("{}", json!({"buckets": shares}));
        return;
    }
    let idle = cost::measure(&cost::IDLE_PRUNE);
    let dollars: f64 = cost::price(&idle)
        .iter()
        .filter(|(what, _)| *what != "the machine")
        .map(|(_, dollars)| dollars)
        .sum();
    println!(
        "\nA prune run that finds nothing: {} transitions, $ {dollars:.6}; one each hour, for a month of 730 hours: $ {:.2}",
        idle.diary.transitions.get(),
        dollars * 730.0
    );
    println!(
        "\nOf AWS's request buckets, used at most by so many plain bakes that begin within so many seconds: {AT_ONCE:?}"
    );
    for (api, used) in shares {
        let used: Vec<String> =
            used.iter().map(|(used, share)| format!("{used:6.0} ({:3.0} %)", share * 100.0)).collect();
        println!("{api:28} {}", used.join(" "));
    }
}
