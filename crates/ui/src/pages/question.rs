//! The question before anything is done from the page, and what a person answers.

use maud::html;
use ovenbird_core::domain::plain::plain_line;

use super::layout::{Body, View};
use crate::site::{Form, Page};

/// What a person typed into the question.
#[derive(Debug, Default, Clone)]
pub struct Answer {
    /// What they typed to agree: the channel, or the plan.
    pub typed: String,
    /// Why.
    pub why: Option<String>,
    /// The number of the request: sent twice, it is done once.
    pub request: String,
}

impl Answer {
    /// Reads a form.
    pub fn parse(body: &[u8]) -> Self {
        let mut answer = Self::default();
        for (name, value) in form_urlencoded::parse(body) {
            match &*name {
                "typed" => answer.typed = value.trim().to_owned(),
                "why" => answer.why = Some(value.trim().to_owned()).filter(|why| !why.is_empty()),
                "request" => answer.request = value.into_owned(),
                _ => {}
            }
        }
        answer
    }
}

/// A question to a person.
#[derive(Debug)]
pub struct Question {
    /// Where the answer is sent.
    pub page: Page,
    /// What will be done.
    pub text: String,
    /// The command that does the same.
    pub command: String,
    /// Whether a person may say why.
    pub takes_why: bool,
    /// What they type to agree.
    pub agreement: String,
    /// The word on the button.
    pub word: &'static str,
    /// Whether it takes something away, or brings something back.
    pub takes_away: bool,
    /// Where who doesn't agree goes.
    pub back: Page,
}

impl Question {
    /// Asks, and says what was wrong with the answer before: that, and the number of its request.
    pub fn ask(&self, view: &View<'_>, wrong: Option<(&str, String)>) -> Body {
        let title = view.page.title();
        if !view.changes || view.form == Form::Export {
            let content = html! {
                p { "This page is read-only. The command is: " (view.command(&self.command)) }
            };
            return Body::new(title, content);
        }
        // Asked again, it is the same request: an answer may have been lost after it was done.
        let (wrong, request) = match wrong {
            Some((wrong, request)) => (Some(wrong), request),
            None => (None, format!("page-{}", uuid::Uuid::new_v4().simple())),
        };
        let content = html! {
            p { (self.text) }
            p { "It does the same as " (view.command(&self.command)) }
            @if let Some(wrong) = wrong { p.bad-news role="alert" { (plain_line(wrong)) } }
            form.ask method="post" action=(self.page.href(Form::Live, view.page)) {
                input type="hidden" name="request" value=(request);
                @if self.takes_why {
                    label for="why" { "Why (for the channel's history)" }
                    input #why name="why" type="text" maxlength="200" autocomplete="off";
                }
                label for="typed" { "Type " strong { (self.agreement) } " to agree" }
                input #typed name="typed" type="text" required autocomplete="off" spellcheck="false" autocapitalize="off";
                p.buttons {
                    button.bad[self.takes_away] type="submit" { (self.word) }
                    " " (view.link(&self.back, "Cancel"))
                }
            }
        };
        Body::new(title, content)
    }
}
