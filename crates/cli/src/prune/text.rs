//! What people read of prune: the plan as a table, the question before it is acted on, one image, the past.

use ovenbird_core::{
    domain::{
        bake::Status,
        id::SnapshotId,
        price::{AtMost, PRICED, SNAPSHOT_GB_MONTH},
        retirement::{Act, Retiring},
    },
    steps::prune::{DeadBake, Kept, MOST_AWAY, MOST_PER_RUN, Outcome, Plan, Reason, Unused, Verdict},
};

use super::{Past, Pruned};
use crate::render;

/// What a person is asked before the plan is acted on.
pub(super) fn question(plan: &Plan) -> String {
    let count = |number: usize, one: &str, more: &str| match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {more}"),
    };
    let of = |act: Act| plan.retire.iter().filter(|one| one.act == act).count();
    let mut parts = Vec::new();
    for (act, word) in [
        (Act::Restore, "restore"),
        (Act::Deprecate, "deprecate"),
        (Act::Disable, "disable"),
        (Act::Deregister, "deregister"),
    ] {
        if of(act) > 0 {
            parts.push(format!("{word} {}", count(of(act), "image", "images")));
        }
    }
    let versions: usize = plan.retire.iter().map(|one| one.versions.len()).sum();
    if versions > 0 {
        parts.push(format!(
            "delete {}",
            count(
                versions,
                "superseded version of a launch template",
                "superseded versions of launch templates"
            )
        ));
    }
    if !plan.dead_bakes.is_empty() {
        parts.push(format!("remove what {} left", count(plan.dead_bakes.len(), "dead bake", "dead bakes")));
    }
    let last = of(Act::Deregister) > 0 || versions > 0 || !plan.dead_bakes.is_empty();
    let back = match (last, of(Act::Disable) + of(Act::Deprecate) > 0) {
        (true, _) => {
            "What is deregistered, deleted or removed can't be had back, unless the Recycle Bin keeps it."
        }
        (false, true) => "`ovenbird prune undo IMAGE` takes an image back.",
        (false, false) => "Nothing is taken away.",
    };
    let question = parts.join(", ");
    let mut letters = question.chars();
    let question = letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().collect::<String>() + letters.as_str());
    format!("{question}? {back}")
}

/// The plan or what became of it, as a table: a line for each image with its strongest reason, and one for each bake.
pub fn text_of(pruned: &Pruned) -> String {
    let plan = &pruned.plan;
    let mut rows = Vec::new();
    if pruned.acted {
        rows.extend(pruned.retired.iter().map(|one| row(&done(one.act), one)));
        for one in &pruned.cleaned {
            let status = one.status.map_or("no record", Status::as_str).to_owned();
            rows.push(bake_row("cleaned up", &one.bake, status));
            rows.extend(one.kept.iter().map(kept_row));
        }
    } else {
        let mut due: Vec<&Verdict> = plan.retire.iter().collect();
        due.sort_by_key(|one| std::cmp::Reverse(one.act));
        rows.extend(due.into_iter().map(|one| row(&one.act.to_string(), one)));
        for dead in &plan.dead_bakes {
            let leaves =
                if dead.leaves.is_empty() { "nothing but its lease".into() } else { dead.leaves.join(", ") };
            rows.push(bake_row("clean up", dead, leaves));
        }
        rows.extend(plan.keep.iter().map(|one| row(&one.act.to_string(), one)));
        rows.extend(plan.stays.iter().map(kept_row));
    }
    let mut text = String::new();
    if !rows.is_empty() {
        let head = ["ACT", "WHAT", "NAME", "PIPELINE", "WHY"].map(str::to_owned);
        text = render::columns(std::iter::once(head).chain(rows));
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    if !pruned.acted {
        lines.extend(plan.problems.iter().map(|problem| format!("look at: {problem}")));
        if plan.later > 0 {
            lines.push(format!(
                "later: {} more; a run takes {MOST_AWAY} images or a tenth of all, and {MOST_PER_RUN} dead bakes",
                plan.later
            ));
        }
        lines.extend(plan.unused.iter().map(unused));
        lines.extend(money(plan));
        lines.extend(plan.halted.iter().map(|why| format!("halted: {why}")));
    }
    if lines.is_empty() {
        lines.push("no images".to_owned());
    }
    lines.join("\n")
}

/// A pipeline that bakes for nobody, and what can be done about it.
fn unused(one: &Unused) -> String {
    let (pipeline, since) = (&one.pipeline, one.since.strftime("%Y-%m-%d"));
    let images =
        if one.images == 1 { "its image".to_owned() } else { format!("any of its {} images", one.images) };
    format!(
        "unused: {pipeline}: nobody is known to have used {images} since {since}. If nobody will: `ovenbird pipeline pause \
         {pipeline}` ends its bakes, `ovenbird pipeline remove {pipeline}` lets its images retire, too"
    )
}

/// What goes in money, if something does.
fn money(plan: &Plan) -> Option<String> {
    if plan.will_free == AtMost::default() {
        return None;
    }
    let of = |room: AtMost| format!("{:.1} GB, ${:.2} a month", room.gb(), room.dollars());
    let unknown = match plan.will_free.unknown {
        0 => String::new(),
        some => format!(" Of {some} snapshots EC2 didn't say the size."),
    };
    Some(format!(
        "frees: at most {} now, and {} with all that is on its way. That is their full size, which they share with other \
         snapshots, at ${SNAPSHOT_GB_MONTH} a GB and month ({PRICED}).{unknown}",
        of(plan.frees),
        of(plan.will_free)
    ))
}

fn done(act: Act) -> String {
    match act {
        Act::Keep | Act::Wait => "kept",
        Act::DeleteVersions => "versions deleted",
        Act::Deprecate => "deprecated",
        Act::Disable => "disabled",
        Act::Deregister => "deregistered",
        Act::Restore => "restored",
    }
    .to_owned()
}

fn row(act: &str, one: &Verdict) -> [String; 5] {
    let mut why = because(one.reason, &one.by);
    if let Some(until) = one.until {
        why.push_str(&format!(", until {}", render::moment(until)));
    }
    match one.also.len() {
        0 => {}
        1 => why.push_str("; and 1 more reason"),
        more => why.push_str(&format!("; and {more} more reasons")),
    }
    [act.to_owned(), one.image.to_string(), one.name.clone(), one.pipeline.to_string(), why]
}

fn bake_row(act: &str, dead: &DeadBake, why: String) -> [String; 5] {
    [act.to_owned(), format!("bake {}", dead.bake), String::new(), dead.pipeline.to_string(), why]
}

fn kept_row(kept: &Kept) -> [String; 5] {
    ["keep".to_owned(), kept.id.clone(), String::new(), String::new(), because(kept.reason, &kept.by)]
}

fn because(reason: Reason, by: &str) -> String {
    if by.is_empty() { reason.to_string() } else { format!("{reason} ({by})") }
}

/// One image with every reason.
pub fn explained(one: &Verdict) -> String {
    let mut lines = vec![
        format!("image     {} ({})", one.image, one.name),
        format!("pipeline  {}", one.pipeline),
        format!("act       {}", one.act),
        format!("because   {}", because(one.reason, &one.by)),
    ];
    lines.extend(one.also.iter().map(|also| format!("and       {}", because(also.reason, &also.by))));
    if let Some(until) = one.until {
        lines.push(format!("until     {}", render::moment(until)));
    }
    if let Some(was) = one.was {
        let stage = match was.stage {
            Retiring::Deprecated => "deprecated",
            Retiring::Disabled => "disabled",
            Retiring::Undone => "taken back",
            Retiring::Returning => "returning",
        };
        lines.push(format!("{stage:<9} since {}", render::moment(was.since)));
    }
    if !one.versions.is_empty() {
        let versions: Vec<String> =
            one.versions.iter().map(|one| format!("{} version {}", one.name, one.version)).collect();
        lines.push(format!("first     {}", versions.join(", ")));
    }
    if !one.snapshots.is_empty() {
        let snapshots: Vec<&str> = one.snapshots.iter().map(SnapshotId::as_str).collect();
        lines.push(format!("with it   {}", snapshots.join(", ")));
    }
    lines.join("\n")
}

/// What became of an image that was to be taken back.
pub fn undone(one: &Verdict) -> String {
    match one.act {
        Act::Restore => format!("restored {}: it is as before, and left alone for 30 days", one.image),
        Act::Keep | Act::Wait | Act::DeleteVersions | Act::Deprecate | Act::Disable | Act::Deregister => {
            format!("not restored: {}: {}", one.image, because(one.reason, &one.by))
        }
    }
}

/// The runs of the past, a line for each.
pub fn past(runs: &[Past]) -> String {
    let head = ["STARTED", "RUN", "IMAGES", "DEAD BAKES", "LOOK AT"].map(str::to_owned);
    let rows = runs.iter().map(|one| {
        let of = |count: fn(&Outcome) -> usize| {
            one.outcome.as_ref().map_or_else(|| "-".to_owned(), |outcome| count(outcome).to_string())
        };
        [
            render::minute(one.started),
            one.run.to_string(),
            of(|outcome| outcome.retired.len()),
            of(|outcome| outcome.cleaned.len()),
            of(|outcome| outcome.failures.len()),
        ]
    });
    render::columns(std::iter::once(head).chain(rows)).trim_end().to_owned()
}

/// What is said at the end.
pub fn report(pruned: &Pruned) -> String {
    if pruned.acted {
        return text_of(pruned);
    }
    if pruned.plan.is_empty() {
        return format!("{}\nnothing to do", text_of(pruned));
    }
    "nothing was done; `--yes` makes the plan anew and acts on it without asking".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn plan(verdicts: &serde_json::Value) -> Plan {
        serde_json::from_value(json!({"made": "2026-06-01T00:00:00Z", "dead_bakes": [], "keep": [],
            "retire": verdicts}))
        .unwrap()
    }

    fn verdict(act: &str) -> serde_json::Value {
        json!({"image": "ami-0123456789abcdef0", "name": "shop-1", "pipeline": "shop", "act": act,
            "reason": "retired", "judged": "2026-06-01T00:00:00Z"})
    }

    #[test]
    fn the_question_says_what_happens_and_whether_there_is_a_way_back() {
        let asked = |acts: &[&str]| question(&plan(&acts.iter().map(|act| verdict(act)).collect()));
        assert_eq!(
            asked(&["deprecate", "disable", "disable"]),
            "Deprecate 1 image, disable 2 images? `ovenbird prune undo IMAGE` takes an image back."
        );
        assert_eq!(
            asked(&["deregister", "restore"]),
            "Restore 1 image, deregister 1 image? What is deregistered, deleted or removed can't be had back, unless the \
             Recycle Bin keeps it."
        );
        assert_eq!(asked(&["restore"]), "Restore 1 image? Nothing is taken away.");
    }

    #[test]
    fn an_image_is_explained_with_every_reason() {
        let mut one = verdict("wait");
        one["reason"] = json!("launch-template");
        one["by"] = json!("web version 3");
        one["also"] = json!([{"reason": "newest"}]);
        one["until"] = json!("2026-06-08T00:00:00Z");
        one["was"] = json!({"stage": "disabled", "since": "2026-06-01T00:00:00Z"});
        let text = explained(&serde_json::from_value(one).unwrap());
        let moment = |text: &str| render::moment(text.parse().unwrap());
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                "image     ami-0123456789abcdef0 (shop-1)",
                "pipeline  shop",
                "act       wait",
                "because   a launch template names it (web version 3)",
                "and       it is among the newest retained",
                &format!("until     {}", moment("2026-06-08T00:00:00Z")),
                &format!("disabled  since {}", moment("2026-06-01T00:00:00Z")),
            ]
        );
    }
}
