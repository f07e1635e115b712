//! Prints how bakes would go at AWS's pace: `make rehearse`.

use ovenbird_testkit::rehearsal::{Bake, KINDS, percentile, rehearse};

fn main() {
    let json = std::env::args().any(|argument| argument == "--json");
    let seeds = 1000;
    if !json {
        println!(
            "{seeds} bakes of each kind; seconds, median and 99th percentile.\n\
             AWS's latencies are those of crates/testkit/src/rehearsal/latencies.tsv. Most of them are inferred, not measured."
        );
        println!(
            "{:16} {:>16} {:>16} {:>16} {:>14} {:>12} {:>18}",
            "", "wall", "recipe's work", "AWS's work", "overhead", "transitions", "dollars"
        );
    }
    for (kind, _) in KINDS {
        let bakes: Vec<Bake> = (0..seeds).map(|seed| rehearse(kind, seed)).collect();
        let both = |of: &dyn Fn(&Bake) -> f64| {
            let mut values: Vec<f64> = bakes.iter().map(of).collect();
            [percentile(&mut values, 50), percentile(&mut values, 99)]
        };
        let [wall, own, aws] = [both(&|bake| bake.wall), both(&|bake| bake.own), both(&|bake| bake.aws)];
        let overhead = both(&Bake::overhead);
        let transitions = both(&|bake| bake.transitions as f64);
        let dollars = both(&|bake| bake.dollars);
        if json {
            let row = serde_json::json!({"kind": kind, "wall": wall, "own": own, "aws": aws, "overhead": overhead,
                "transitions": transitions, "dollars": dollars});
            println!("{row}");
            continue;
        }
        let two = |[median, high]: [f64; 2]| format!("{median:.1} {high:.1}");
        println!(
            "{kind:16} {:>16} {:>16} {:>16} {:>14} {:>12} {:>18}",
            two(wall),
            two(own),
            two(aws),
            two(overhead),
            format!("{:.0} {:.0}", transitions[0], transitions[1]),
            format!("{:.5} {:.5}", dollars[0], dollars[1])
        );
    }
}
