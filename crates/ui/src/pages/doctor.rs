//! What of the account and the stack would make a bake fail, as `ovenbird doctor` says it.

use maud::{Markup, html};
use ovenbird_core::{
    domain::plain::plain_line,
    views::doctor::{Check, Checkup, Severity},
};

use super::layout::{self, Body, View, pill};
use crate::{Account, Reader, read::Problem};

pub async fn body<A: Account>(reader: &Reader<A>, view: &View<'_>) -> Body {
    let content = match reader.account.checkup(view.now).await {
        Ok(checkup) => checked(view, &checkup),
        Err(error) => layout::problems(view, &[Problem::new("the account", &error)]),
    };
    // It asks the account a hundred questions: nobody repeats them by leaving a tab open.
    Body::new(view.page.title(), content)
}

fn checked(view: &View<'_>, checkup: &Checkup) -> Markup {
    let wrong = checkup.checks.iter().map(|check| check.findings.len()).sum::<usize>();
    let rows = html! {
        @for check in &checkup.checks {
            tr class=[(check.worst() == Some(Severity::Fails)).then_some("bad")] {
                th scope="row" { (plain_line(&check.name)) }
                td { (worst(check)) }
                td { (plain_line(&check.seen)) }
                td { (findings(view, check)) }
            }
        }
    };
    html! {
        p {
            @if checkup.bakes_would_fail { strong { "A bake would fail." } " The first of these must be fixed." }
            @else if wrong > 0 { "Bakes go on. Something is weaker than it should be, or could not be seen." }
            @else { "Nothing is wrong." }
        }
        (layout::table("What was looked at", &["What", "How it stands", "What was seen", "What is wrong, and its fix"], &rows))
    }
}

fn worst(check: &Check) -> Markup {
    match check.worst() {
        None => pill("good", "ok"),
        Some(Severity::Fails) => pill("bad", "fails"),
        Some(Severity::Weaker) => pill("warn", "weaker"),
        Some(Severity::Unknown) => pill("dull", "unknown"),
    }
}

fn findings(view: &View<'_>, check: &Check) -> Markup {
    html! {
        @for finding in &check.findings {
            p {
                strong { (plain_line(&finding.what)) } ": " (layout::prose(&finding.why)) " "
                span.fix { "Fix: " (layout::prose(&view.cmd(&finding.fix))) }
            }
        }
    }
}
