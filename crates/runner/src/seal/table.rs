//! What the seal would do, as a table for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use ovenbird_core::domain::plain::{plain, plain_line};

use super::{
    hands::{Hands, Weight},
    list::Rule,
    packages,
    plan::{Plan, Scope, Site},
};
use crate::machine::Machine;

/// So many files of one folder are shown one by one.
const FEW: usize = 12;

/// A line of the table.
struct Row {
    act: &'static str,
    path: String,
    weight: Weight,
    rule: &'static Rule,
}

/// The table; the machine stays as it is.
pub fn dry_run(machine: &Machine) -> anyhow::Result<String> {
    // Without a plan it is a machine that somebody tries this on.
    let seal = machine.plan().map(|plan| plan.seal).unwrap_or_default();
    let site = Site::new(machine, &seal)?;
    let plan = Plan::new(&site, &seal, Scope::Whole)?;
    let mut hands = Hands::weighing(&site);
    let mut rows = Vec::new();
    for target in &plan.targets {
        let weight = hands.do_it(target);
        if weight.files > 0 {
            let path = target.path.display().to_string();
            rows.push(Row { act: target.act.told(), path, weight, rule: target.rule });
        }
    }
    let total = rows.iter().fold(Weight::default(), |sum, row| Weight {
        files: sum.files + row.weight.files,
        bytes: sum.bytes + row.weight.bytes,
    });
    let mut text = String::new();
    if rows.is_empty() {
        text.push_str("Nothing here is this machine's own: the seal has nothing to do.\n");
    } else {
        let reasons = reasons(&rows);
        text.push_str(&lines(&short(rows)));
        let _ = writeln!(text, "\n{} files, {} in all. Nothing was changed.", total.files, size(total.bytes));
        text.push_str(&reasons);
    }
    let mut stays: Vec<(String, String)> =
        plan.left.iter().map(|left| (left.path.display().to_string(), left.why.to_string())).collect();
    stays.extend(
        hands.stubborn.iter().map(|stubborn| (stubborn.path.display().to_string(), stubborn.why.clone())),
    );
    if !stays.is_empty() {
        text.push_str("\nThese stay:\n");
        for (path, why) in stays {
            let _ = writeln!(text, "  {}  ({})", plain_line(&path), plain(&why));
        }
    }
    let fails = plan.left.iter().filter(|left| left.fails_at_once() || left.fails(machine));
    let mut problems: Vec<String> =
        fails.map(|left| format!("{} would stay: {}", left.path.display(), left.why)).collect();
    problems.extend(packages::problem(machine));
    for problem in problems {
        let _ = writeln!(text, "\nThe seal would fail: {}", plain(&problem));
    }
    Ok(text)
}

/// Why each kind of thing goes, and who else says so.
fn reasons(rows: &[Row]) -> String {
    let mut text = String::from("\nWhy:\n");
    let mut told = BTreeSet::new();
    for rule in rows.iter().map(|row| row.rule).filter(|rule| told.insert(rule.what)) {
        let _ = writeln!(text, "  {}: {}. As in: {}", rule.what, rule.why, rule.source);
    }
    text
}

/// Many files of one folder that the same happens to are one line.
fn short(rows: Vec<Row>) -> Vec<Row> {
    let folder = |row: &Row| {
        let parent = row.path.rsplit_once('/').map_or("", |(parent, _)| parent).to_owned();
        (parent, row.act, row.rule.what)
    };
    let mut counts: BTreeMap<_, usize> = BTreeMap::new();
    for row in &rows {
        *counts.entry(folder(row)).or_default() += 1;
    }
    let mut shown: Vec<Row> = Vec::new();
    let mut places: BTreeMap<_, usize> = BTreeMap::new();
    for row in rows {
        let of = folder(&row);
        if counts[&of] <= FEW {
            shown.push(row);
        } else if let Some(at) = places.get(&of) {
            let weight: &mut Weight = &mut shown[*at].weight;
            weight.files += row.weight.files;
            weight.bytes += row.weight.bytes;
        } else {
            places.insert(of.clone(), shown.len());
            shown.push(Row { path: format!("{}/… ({} names)", of.0, counts[&of]), ..row });
        }
    }
    shown
}

fn lines(rows: &[Row]) -> String {
    let cells = rows.iter().map(|row| {
        [
            row.act.to_owned(),
            plain_line(&row.path),
            row.weight.files.to_string(),
            size(row.weight.bytes),
            row.rule.what.to_owned(),
        ]
    });
    let mut table: Vec<[String; 5]> =
        vec![["DOES", "PATH", "FILES", "SIZE", "WHAT IT IS"].map(str::to_owned)];
    table.extend(cells);
    let width = |column: usize| table.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1), width(2), width(3)];
    let mut text = String::new();
    for [act, path, files, size, why] in &table {
        let [a, b, c, d] = widths;
        let _ = writeln!(text, "{act:a$}  {path:b$}  {files:>c$}  {size:>d$}  {why}");
    }
    text
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{size:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_told_in_the_largest_unit_that_it_fills() {
        assert_eq!([0, 1023, 1024, 1536 << 20].map(size), ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]);
    }
}
