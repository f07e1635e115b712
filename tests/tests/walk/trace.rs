//! What is shown of a walk that went wrong.

use ovenbird_testkit::Call;
use ovenbird_testkit::walk::machine::End;

use super::{ground::Walked, slate::after_the_end};

/// The word for an end: a status, or the name of an error.
pub fn word(end: &End) -> String {
    match end {
        End::Succeeded(document) => document["status"].as_str().unwrap_or("succeeded").to_owned(),
        End::Failed { error, .. } => error.clone(),
        End::Lost | End::Broken(_) => format!("{end:?}"),
    }
}

/// Whether a call is one that cleans up after a bake, or brings a rollout back.
pub fn cleans_up(call: &Call) -> bool {
    ["/CleanUp", "/Revert"].iter().any(|state| call.by.contains(state))
}

/// Whose call it is: an execution's name.
pub fn run(call: &Call) -> &str {
    call.by.split('/').next().unwrap_or_default()
}

/// Whether a call is one after which a failure changes nothing about what became of its bake.
pub fn after_the_bake(call: &Call) -> bool {
    ["/StartChildren", "/Finish"].iter().any(|state| call.by.contains(state)) || cleans_up(call)
}

/// What was wrong with a walk, with its shortest trace: the states, the calls of those that a fault hit, what is left.
pub fn trace(walked: &Walked, marks: &[(usize, String)]) -> Option<String> {
    let mut wrong = walked.violations.clone();
    // A clean-up that didn't run to its end must have been hit itself.
    let hit = marks.iter().any(|(call, _)| walked.calls.get(*call).is_some_and(after_the_bake));
    for (name, end) in &walked.ends {
        if let End::Failed { error, .. } = end
            && after_the_end(error)
            && !hit
        {
            wrong.push(format!("{name} ended with {end:?}, and no fault hit its clean-up"));
        }
    }
    if wrong.is_empty() {
        return None;
    }
    let mut text = String::new();
    let mut by = "";
    for (number, call) in walked.calls.iter().enumerate() {
        let mark = marks.iter().find(|(one, _)| *one == number).map(|(_, mark)| format!(" <== {mark}"));
        if call.by != by && !call.by.is_empty() && !call.by.starts_with("before") {
            text += &format!("\n  {}:", call.by);
        }
        by = &call.by;
        if !by.is_empty() && !by.starts_with("before") {
            text += &format!(" {}{}", call.actions[0], mark.unwrap_or_default());
        }
    }
    for (name, end) in walked.ends.iter().filter(|(name, _)| !name.starts_with("before")) {
        let end = match end {
            End::Succeeded(document) => format!("Succeeded, {}", document["status"]),
            other => format!("{other:?}"),
        };
        text += &format!("\n  {name} ended: {end}");
    }
    for left in wrong {
        text += &format!("\n  VIOLATION: {left}");
    }
    Some(text)
}
