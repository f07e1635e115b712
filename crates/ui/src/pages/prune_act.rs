//! The question before a prune run is started from the page, and the start itself. The run is prune's own, by its own
//! role: it judges each image once more, and the page removes nothing.

use maud::html;
use ovenbird_core::{
    Error, Result,
    domain::id::BakeId,
    steps::prune::{Request, ask_undo},
};

use super::{
    layout::{Body, View},
    question::{Answer, Question},
};
use crate::{
    Account,
    site::{Page, PruneAct},
};

/// Asks a person, and says what was wrong with their answer before.
pub fn question(view: &View<'_>, act: &PruneAct, wrong: Option<(&str, String)>) -> Body {
    let text = match act {
        PruneAct::Plan => "A run looks at everything and writes a new plan. It removes nothing.",
        PruneAct::Run(_) => {
            "The run does what this plan says, and judges each image once more before it goes. A plan that is older than \
             an hour is refused."
        }
        PruneAct::Undo(_) => "The image is as before, and is left alone for 30 days.",
    };
    let question = Question {
        page: Page::PruneAct(act.clone()),
        text: text.to_owned(),
        command: act.command(),
        takes_why: false,
        agreement: act.agreement(),
        word: act.word(),
        takes_away: matches!(act, PruneAct::Run(_)),
        back: Page::Prune,
    };
    question.ask(view, wrong)
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
                p { "See what it does: " (view.link(&Page::Prune, "the newest runs")) }
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
        PruneAct::Undo(image) => {
            ask_undo(image, account.cloud()).await?;
            Request::Undo { image: image.clone() }
        }
    };
    account.start_prune(&run, &wish.input()).await?;
    Ok(run)
}
