//! What all pages have in common: the frame, and the small things that they are made of.

use jiff::{Timestamp, tz::TimeZone};
use maud::{DOCTYPE, Markup, PreEscaped, html};
use ovenbird_core::domain::{
    bake::Status,
    plain::{plain, plain_line},
};
pub use ovenbird_core::views::age;

use crate::{
    read::Problem,
    site::{Act, Form, Page, PruneAct, up},
};

/// How a page is shown.
#[derive(Debug, Clone)]
pub struct View<'a> {
    /// The page.
    pub page: &'a Page,
    /// Where it is.
    pub form: Form,
    /// The moment.
    pub now: Timestamp,
    /// The zone of the machine at which the reader sits.
    pub zone: TimeZone,
    /// Whether the page may change anything.
    pub changes: bool,
    /// How the command is called for this account: `ovenbird --local`.
    pub command: &'a str,
    /// Which account that is, in words.
    pub place: &'a str,
    /// The command that helps where it doesn't answer.
    pub reach: &'a str,
}

/// What a page says.
#[derive(Debug)]
pub struct Body {
    /// Its title.
    pub title: String,
    /// What stands below it.
    pub content: Markup,
    /// Whether it changes while it is looked at.
    pub live: bool,
    /// Whether there is no such thing.
    pub missing: bool,
}

impl Body {
    /// A page that stays as it is.
    pub fn new(title: impl Into<String>, content: Markup) -> Self {
        Self { title: title.into(), content, live: false, missing: false }
    }

    /// A page about something that isn't there.
    pub fn missing(what: &str) -> Self {
        let content = html! { p { (plain_line(what)) " is not on record." } };
        Self { missing: true, ..Self::new("Not found", content) }
    }
}

/// Where a document goes on after its frame. What others wrote can't have it: it is escaped.
const MAIN: &str = "<main";

/// What of a document comes after what [`View::early`] gave.
pub fn late(document: &str) -> String {
    document.split_once(MAIN).map_or_else(|| document.to_owned(), |(_, after)| format!("{MAIN}{after}"))
}

/// The content of a document without its frame; and the same with what stands below it, which says when it was read.
pub fn main_of(document: &str) -> (&str, &str) {
    let from = document.find(MAIN).unwrap_or_default();
    let to = |end: &str| document[from..].find(end).map_or(document.len(), |at| from + at + end.len());
    (&document[from..to("</main>")], &document[from..to("</footer>")])
}

const BANDS: [(&str, Page); 7] = [
    ("Overview", Page::Overview),
    ("Bakes", Page::Bakes),
    ("Lineage", Page::Lineage),
    ("Fleet", Page::Fleet),
    ("Rollouts", Page::Rollouts),
    ("Prune", Page::Prune),
    ("Doctor", Page::Doctor),
];

impl View<'_> {
    /// The whole document.
    pub fn document(&self, body: &Body) -> String {
        let asset = |name: &str| match self.form {
            Form::Live => format!("/{name}"),
            Form::Export => format!("{}{name}", up(self.page)),
        };
        let live = body.live && self.form == Form::Live;
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    @if self.form == Form::Export {
                        meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'self'; img-src data:";
                    }
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (body.title) " · Ovenbird" }
                    link rel="icon" href="data:,";
                    link rel="stylesheet" href=(asset("style.css"));
                    @if live { noscript { meta http-equiv="refresh" content="10"; } }
                    @if self.form == Form::Live { script src="/page.js" defer {} }
                }
                body {
                    a.skip href="#main" { "Skip to the content" }
                    header {
                        p.brand { (self.link(&Page::Overview, "Ovenbird")) " " span.place { (self.place) } }
                        nav aria-label="Pages" {
                            ul {
                                @for (name, page) in &BANDS {
                                    li {
                                        a href=(page.href(self.form, self.page))
                                            aria-current=[self.page.stands(page)] { (name) }
                                    }
                                }
                            }
                        }
                    }
                    main #main tabindex="-1" data-live=[live.then(|| format!("/live{}", self.page.href(Form::Live, self.page)))] {
                        h1 { (body.title) }
                        (body.content)
                    }
                    footer {
                        p {
                            "Read " (self.moment(self.now)) ". "
                            @match (self.form, self.changes) {
                                (Form::Export, _) => { "This is a copy: nothing here changes." }
                                (Form::Live, false) => { "Read-only: start " code { (self.cmd("ovenbird ui --allow-changes")) } " to change things from here." }
                                (Form::Live, true) => { "Changes are allowed. Each asks first." }
                            }
                            @if live {
                                span.follows { " What changes is shown as it happens." }
                                noscript { " Without JavaScript it reloads itself every ten seconds." }
                            }
                        }
                    }
                }
            }
        };
        document.into_string()
    }

    /// The head of the page and the bar above it, for as long as the rest takes.
    pub fn early(&self) -> String {
        let frame = self.document(&Body::new(self.page.title(), html! {}));
        frame.split_once(MAIN).map(|(before, _)| before.to_owned()).unwrap_or_default()
    }

    /// A link to a page.
    pub fn link(&self, page: &Page, text: &str) -> Markup {
        html! { a href=(page.href(self.form, self.page)) { (plain_line(text)) } }
    }

    /// A command as this account's operator types it.
    pub fn cmd(&self, command: &str) -> String {
        match command.strip_prefix("ovenbird ") {
            Some(rest) => format!("{} {rest}", self.command),
            None => command.to_owned(),
        }
    }

    /// A command to copy.
    pub fn command(&self, command: &str) -> Markup {
        html! { code.cmd { (plain_line(&self.cmd(command))) } }
    }

    /// A moment, in the reader's zone.
    pub fn moment(&self, at: Timestamp) -> Markup {
        let text = at.to_zoned_datetime(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string();
        html! { time datetime=(format!("{at:.0}")) { (text) } }
    }

    /// How long ago a moment was. Which one it was stands on the page that the row leads to.
    pub fn ago(&self, at: Timestamp) -> Markup {
        html! { time datetime=(format!("{at:.0}")) { (age(at, self.now)) } }
    }

    /// What can be done, as a link to the question; nothing where nothing may be changed.
    pub fn act(&self, act: Act) -> Markup {
        let word = act.verb.word();
        let label = format!("{word} {}", act.agreement());
        html! {
            @if self.changes && self.form == Form::Live {
                a.act href=(Page::Act(act).href(self.form, self.page)) aria-label=(label) { (word) }
            }
        }
    }
}

impl View<'_> {
    /// A prune run that can be started, as a link to the question; nothing where nothing may be changed.
    pub fn prune(&self, act: PruneAct, text: &str) -> Markup {
        html! {
            @if self.changes && self.form == Form::Live {
                a.act href=(Page::PruneAct(act).href(self.form, self.page)) { (text) }
            }
        }
    }
}

/// A word with the colour of what it means; the word alone says it, too.
pub fn status(status: Status) -> Markup {
    let class = match status {
        Status::Promoted | Status::Validated => "good",
        Status::Running => "busy",
        Status::Superseded | Status::Cancelled => "dull",
        Status::Failed => "bad",
    };
    pill(class, status.as_str())
}

/// A line in which commands and names stand between backticks.
pub fn prose(text: &str) -> Markup {
    let text = plain_line(text);
    let pieces: Vec<&str> = text.split('`').collect();
    // Where one has no partner, it is a character as any other.
    if pieces.len().is_multiple_of(2) {
        return html! { (text) };
    }
    html! { @for (number, piece) in pieces.iter().enumerate() { @if number % 2 == 1 { code { (piece) } } @else { (piece) } } }
}

/// A word with a colour.
pub fn pill(class: &str, text: &str) -> Markup {
    html! { span class={ "pill " (class) } { (plain_line(text)) } }
}

/// What others wrote, as they wrote it: of many lines.
pub fn output(text: &str) -> Markup {
    html! { @if !text.trim().is_empty() { pre tabindex="0" { (plain(text.trim_end())) } } }
}

/// What is being printed: its end is what counts.
pub fn tail(text: &str) -> Markup {
    html! { @if !text.trim().is_empty() { pre.tail tabindex="0" { (plain(text.trim_end())) } } }
}

/// What could not be read.
pub fn problems(view: &View<'_>, problems: &[Problem]) -> Markup {
    // Where nobody answers, every question fails for one reason.
    let (silent, others): (Vec<&Problem>, Vec<&Problem>) =
        problems.iter().partition(|problem| problem.no_answer.is_some());
    html! {
        @if !problems.is_empty() {
            section.alert aria-label="What could not be read" {
                h2 { "Could not be read" }
                ul {
                    @if let Some(first) = silent.first() { li {
                        strong { (view.place) } " does not answer: " (plain_line(first.no_answer.as_deref().unwrap_or_default()))
                        span.fix { "Missing for it: " (silent.iter().map(|one| plain_line(&one.of)).collect::<Vec<_>>().join("; ")) }
                        span.fix { "Fix: " (view.command(view.reach)) }
                    } }
                    @for problem in others { li {
                        strong { (plain_line(&problem.of)) } ": " (prose(&problem.why)) " "
                        span.fix { "Fix: " (prose(&view.cmd(&problem.fix))) }
                    } }
                }
            }
        }
    }
}

/// What is said where there is nothing. What could not be read may be there all the same.
pub fn nothing(problems: &[Problem], text: &Markup) -> Markup {
    html! { p.empty { @if problems.is_empty() { (text) } @else { "Nothing can be shown: see above." } } }
}

/// A table that scrolls by itself where there is no room.
pub fn table(label: &str, head: &[&str], rows: &Markup) -> Markup {
    html! {
        div.scroll role="region" aria-label={ "Table: " (label) } tabindex="0" {
            table {
                thead { tr { @for cell in head { th scope="col" { (cell) } } } }
                tbody { (PreEscaped(labelled(head, &rows.0))) }
            }
        }
    }
}

/// Gives each cell its column's name, for phones: there, each row is a card under its first cell, and the head is not shown.
///
/// What others wrote is escaped, so every tag in the rows is one of ours, and no table stands in a table.
fn labelled(head: &[&str], rows: &str) -> String {
    let (mut text, mut rest, mut column) = (String::with_capacity(rows.len() + rows.len() / 4), rows, 0);
    while let Some(at) = rest.find('<') {
        let (before, tag) = rest.split_at(at);
        text.push_str(before);
        let end = tag.find('>').map_or(tag.len(), |end| end + 1);
        let (tag, after) = tag.split_at(end);
        let is = |name: &str| tag[1..].strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '>']));
        if is("tr") {
            column = 0;
        }
        match tag.strip_prefix("<td") {
            Some(rest) if is("td") => {
                let label = head.get(column).copied().unwrap_or_default();
                text.push_str(&format!("<td data-l=\"{label}\"{rest}"));
            }
            _ => text.push_str(tag),
        }
        if is("td") || is("th") {
            let span =
                tag.split_once("colspan=\"").and_then(|(_, rest)| rest.split('"').next()?.parse().ok());
            column += span.unwrap_or(1);
        }
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cell_has_its_column_s_name() {
        let rows = html! {
            tr { th scope="row" { "a" } td colspan="2" { "<td>" } td.num { a href="x" { "b" } } }
            tr.bad { td {} }
        };
        let head = ["A", "B", "C", "D"];
        assert_eq!(
            labelled(&head, &rows.0),
            "<tr><th scope=\"row\">a</th><td data-l=\"B\" colspan=\"2\">&lt;td&gt;</td>\
             <td data-l=\"D\" class=\"num\"><a href=\"x\">b</a></td></tr>\
             <tr class=\"bad\"><td data-l=\"A\"></td></tr>"
        );
    }
}
