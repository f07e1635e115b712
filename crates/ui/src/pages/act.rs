//! The question before something is changed, and the change itself, by what the command calls as well.

use jiff::Timestamp;
use maud::html;
use ovenbird_core::{
    Error, Result,
    domain::{id::BakeId, plain::plain_line, rollout::Wish},
    ops::{
        promotion::{self, Person, Promotion},
        rollout,
    },
    store::{Hold, Rolled},
};

use super::{
    layout::{Body, View},
    question::{Answer, Question},
};
use crate::{
    Account,
    site::{Act, Page, Verb},
};

/// Asks a person, and says what was wrong with their answer before.
pub fn question(view: &View<'_>, act: &Act, wrong: Option<(&str, String)>) -> Body {
    let text = match act.verb {
        Verb::Hold => "Automation promotes nothing to the channel until somebody releases it.".to_owned(),
        Verb::Release => "Automation promotes to the channel again.".to_owned(),
        Verb::RollBack => "The channel goes back to its image before, and is held.".to_owned(),
        Verb::Promote(ref image) => format!("The channel goes to {image}. That ends a hold."),
        Verb::Pause => "The rollout pauses before its next stage.".to_owned(),
        Verb::Resume => "The rollout goes on after a pause, or where its execution died.".to_owned(),
        Verb::Approve => "The rollout waits for a person, and goes on.".to_owned(),
        Verb::Skip => "The rollout leaves out its other stages and the rest of its watch.".to_owned(),
        Verb::Abort => "The rollout goes back: all is as before it.".to_owned(),
        Verb::Reject => "The rollout waits for a person, and goes back: all is as before it.".to_owned(),
        Verb::Leave => {
            "The rollout ends as it stands: nothing is brought back any more. Groups and rules are as they are now, and it is for you to put them right.".to_owned()
        }
    };
    let question = Question {
        page: Page::Act(act.clone()),
        text,
        command: act.command(),
        takes_why: act.verb.takes_why(),
        agreement: act.agreement(),
        word: act.verb.word(),
        takes_away: matches!(act.verb, Verb::RollBack | Verb::Abort | Verb::Reject | Verb::Leave),
        back: Page::Pipeline(act.pipeline.clone()),
    };
    question.ask(view, wrong)
}

/// Does it, if the person agreed.
pub async fn answered<A: Account>(account: &A, view: &View<'_>, act: &Act, answer: Answer) -> Body {
    if !view.changes {
        return question(view, act, None);
    }
    if answer.typed != act.agreement() {
        let wrong = "That is not the channel's name: nothing was changed.";
        return question(view, act, Some((wrong, answer.request)));
    }
    let request = answer.request.clone();
    match perform(account, act, answer, view.now).await {
        Ok(done) => {
            let content = html! {
                p role="status" { (plain_line(&done)) }
                p { "It was the same as " (view.command(&act.command())) }
                p { (view.link(&Page::Pipeline(act.pipeline.clone()), &format!("Pipeline {}", act.pipeline))) }
            };
            Body::new("Done", content)
        }
        Err(error) => {
            let wrong = format!("It failed: {}. {}", error.chain(), error.hint());
            question(view, act, Some((&wrong, request)))
        }
    }
}

async fn perform<A: Account>(account: &A, act: &Act, answer: Answer, now: Timestamp) -> Result<String> {
    let Act { verb, pipeline, channel } = act;
    let cloud = account.cloud();
    let Answer { why, request, typed: _ } = answer;
    let person = async |why: Option<String>| {
        let request = BakeId::parse(&request).map_err(|error| Error::bad_id("the request", &error))?;
        Ok(Person { by: account.caller().await?, why, request })
    };
    let steered = |rollout: &ovenbird_core::domain::rollout::Rollout| {
        let id = &rollout.spec.id;
        match verb {
            Verb::Approve => format!("Rollout {id} is approved, and goes on."),
            Verb::Reject => format!("Rollout {id} is rejected, and goes back."),
            verb => format!("Rollout {id} is told to {}.", verb.word()),
        }
    };
    Ok(match verb {
        Verb::Hold => {
            let hold = Hold { by: account.caller().await?, why, since: now };
            promotion::hold(pipeline, channel, Some(hold), cloud).await?;
            format!("Channel {pipeline}/{channel} is held.")
        }
        Verb::Release => {
            promotion::hold(pipeline, channel, None, cloud).await?;
            format!("Channel {pipeline}/{channel} is open.")
        }
        Verb::RollBack => {
            let person = person(why).await?;
            rolled(act, &promotion::roll_back(pipeline, channel, None, &person, cloud, now).await?)
        }
        Verb::Promote(image) => {
            let what = Promotion {
                pipeline: pipeline.clone(),
                channel: channel.clone(),
                image: image.clone(),
                force: false,
            };
            rolled(act, &promotion::promote(&what, &person(why).await?, cloud, now).await?)
        }
        Verb::Pause => steered(&rollout::wish(pipeline, channel, Wish::Pause, cloud, now).await?),
        Verb::Skip => steered(&rollout::wish(pipeline, channel, Wish::Skip, cloud, now).await?),
        Verb::Abort | Verb::Reject => {
            steered(&rollout::wish(pipeline, channel, Wish::Abort, cloud, now).await?)
        }
        Verb::Leave => steered(&rollout::wish(pipeline, channel, Wish::Leave, cloud, now).await?),
        Verb::Resume | Verb::Approve => steered(&rollout::resume(pipeline, channel, cloud, now).await?),
    })
}

fn rolled(act: &Act, rolled: &Rolled) -> String {
    let of = act.agreement();
    match rolled {
        Rolled::Begins(id) => format!("Rollout {id} of {of} begins."),
        Rolled::Waits(id) => format!("Rollout {id} of {of} waits for the one that is under way."),
        Rolled::Unchanged => format!("{of} has the image already."),
        Rolled::Superseded => format!("Nothing was done: something newer is on its way to {of}."),
        Rolled::Closed(why) => format!("Nothing was done: {why}"),
    }
}
