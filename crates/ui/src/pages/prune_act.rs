//! The question before a prune run is started from the page, and the start itself. The run is prune's own, by its own
//! role: it judges each image once more, and the page removes nothing.

use maud::html;
use ovenbird_core::{
    Error, Result,
    domain::{id::BakeId, plain::plain_line},
    steps::prune::Request,
};

use super::{
    act::Answer,
    layout::{Body, View},
};
use crate::{
    Account,
    site::{Form, Page, PruneAct},
};

/// Asks a person, and says what was wrong with their answer before.
pub fn question(view: &View<'_>, act: &PruneAct, wrong: Option<(&str, String)>) -> Body {
    let title = view.page.title();
    if !view.changes || view.form == Form::Export {
        let content = html! {
            p { "This page is read-only. The command is: " (view.command(&act.command())) }
        };
        return Body::new(title, content);
    }
    // Asked again, it is the same request: an answer may have been lost after the run was started.
    let (wrong, request) = match wrong {
        Some((wrong, request)) => (Some(wrong), request),
        None => (None, format!("page-{}", uuid::Uuid::new_v4().simple())),
    };
    let text = match act {
        PruneAct::Plan => "A run looks at everything and writes a new plan. It removes nothing.",
        PruneAct::Run(_) => {
            "The run does what this plan says, and judges each image once more before it goes. A plan that is older than \
             an hour is refused."
        }
        PruneAct::Undo(_) => "The image is as before, and is left alone for 30 days.",
    };
    let content = html! {
        p { (text) }
        p { "It does the same as " (view.command(&act.command())) }
        @if let Some(wrong) = wrong { p.bad-news role="alert" { (plain_line(wrong)) } }
        form.ask method="post" action=(Page::PruneAct(act.clone()).href(Form::Live, view.page)) {
            input type="hidden" name="request" value=(request);
            label for="typed" { "Type " strong { (act.agreement()) } " to agree" }
            input #typed name="typed" type="text" required autocomplete="off" spellcheck="false" autocapitalize="off";
            button type="submit" { (act.word()) }
            " " (view.link(&Page::Prune, "Don't"))
        }
    };
    Body::new(title, content)
}

/// Starts it, if the person agreed.
pub async fn answered<A: Account>(account: &A, view: &View<'_>, act: &PruneAct, answer: Answer) -> Body {
    if !view.changes {
        return question(view, act, None);
    }
    if answer.typed != act.agreement() {
        let wrong = format!("That is not `{}`: nothing was started.", act.agreement());
        return question(view, act, Some((&wrong, answer.request)));
    }
    match start(account, act, &answer.request).await {
        Ok(run) => {
            let content = html! {
                p role="status" { "Run " code { (run) } " begins." }
                p { "It was the same as " (view.command(&act.command())) }
                p { (view.link(&Page::Prune, "The newest plan")) ", in which the run is seen within half a minute" }
            };
            Body::new("Started", content)
        }
        Err(error) => {
            let wrong = format!("It failed: {}. {}", error.chain(), error.hint());
            question(view, act, Some((&wrong, answer.request)))
        }
    }
}

async fn start<A: Account>(account: &A, act: &PruneAct, request: &str) -> Result<BakeId> {
    let run = BakeId::parse(request).map_err(|error| Error::bad_id("the request", &error))?;
    let wish = match act {
        PruneAct::Plan => Request::Everything { pipeline: None, dry_run: true },
        PruneAct::Run(plan) => Request::Act { plan: plan.clone() },
        PruneAct::Undo(image) => Request::Undo { image: image.clone() },
    };
    account.start_prune(&run, &wish.input()).await?;
    Ok(run)
}
