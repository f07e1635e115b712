//! The part of a terminal in which a running bake is shown: a line that moves, and the last lines of the step's output.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::Timestamp;
use ovenbird_core::domain::plain::{plain, plain_line};

use crate::render;

/// How many lines of output are shown. On a terminal that is lower, `indicatif` draws as many as fit.
const LINES: usize = 5;

/// What is drawn, if anything is. Each line is cut to the terminal's width.
pub struct Pane {
    all: MultiProgress,
    head: ProgressBar,
    lines: Vec<ProgressBar>,
}

impl Pane {
    /// On the terminal that standard error is.
    pub fn new() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    /// Nowhere: what is said above it is printed all the same.
    pub fn hidden() -> Self {
        Self::on(ProgressDrawTarget::hidden())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let all = MultiProgress::with_draw_target(target);
        let head = all.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template("  {prefix:<12} {spinner} {wide_msg}") {
            // Without the marks that a terminal with `LANG=C` can't show.
            head.set_style(style.tick_chars(r"-\|/ "));
        }
        if !all.is_hidden() {
            head.enable_steady_tick(Duration::from_millis(100));
        }
        Self { all, head, lines: Vec::new() }
    }

    /// Whether nothing is drawn.
    pub fn is_hidden(&self) -> bool {
        self.all.is_hidden()
    }

    /// Prints a line that stays.
    pub fn above(&self, line: &str) {
        self.all.suspend(|| crate::tell!("{line}"));
    }

    /// Shows a stage since when it lasts, what is done in it, and the last lines of that.
    pub fn show(&mut self, stage: &str, since: Timestamp, doing: Option<&str>, output: Option<&str>) {
        if self.is_hidden() {
            return;
        }
        let doing = doing.map(|doing| format!("  {}", plain_line(doing))).unwrap_or_default();
        self.head.set_prefix(stage.to_owned());
        self.head.set_message(format!("{}{doing}", render::age(since, Timestamp::now())));
        let shown = plain(output.unwrap_or_default());
        let shown: Vec<&str> = shown.lines().filter(|line| !line.trim().is_empty()).collect();
        let shown = &shown[shown.len().saturating_sub(LINES)..];
        while self.lines.len() > shown.len() {
            if let Some(line) = self.lines.pop() {
                line.finish_and_clear();
                self.all.remove(&line);
            }
        }
        while self.lines.len() < shown.len() {
            let line = self.all.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("    {wide_msg}") {
                line.set_style(style);
            }
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(shown) {
            line.set_message(plain_line(text));
        }
    }

    /// Takes everything away that is drawn.
    pub fn close(&mut self) {
        for line in self.lines.drain(..) {
            line.finish_and_clear();
        }
        self.head.finish_and_clear();
    }
}

/// The lines of a tail that weren't in the tail before it: output grows at its end, and a tail loses its beginning.
pub fn fresh<'t>(before: &str, now: &'t str) -> Vec<&'t str> {
    let (before, now): (Vec<&str>, Vec<&str>) = (before.lines().collect(), now.lines().collect());
    let known = (0..=before.len().min(now.len())).rev();
    // The last line may have been half of one.
    let is_known = |count: &usize| {
        let (old, new) = (&before[before.len() - count..], &now[..*count]);
        old.iter().zip(new).enumerate().all(|(at, (old, new))| {
            old == new || at + 1 == *count && !old.is_empty() && new.starts_with(*old)
        })
    };
    let known = known.into_iter().find(is_known).unwrap_or(0);
    let grown = known > 0 && before.last() != now.get(known - 1);
    now[if grown { known - 1 } else { known }..].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_came_since_is_printed() {
        for (before, now, new) in [
            ("", "a\nb", &["a", "b"][..]),
            ("a\nb", "a\nb", &[]),
            ("a\nb", "a\nb\nc", &["c"]),
            // The tail lost its beginning.
            ("a\nb\nc", "b\nc\nd", &["d"]),
            // All of it is new.
            ("a\nb", "x\ny", &["x", "y"]),
            // The last line was half a line.
            ("a\nfetch", "a\nfetched\nb", &["fetched", "b"]),
            // Lines that are the same again and again.
            (".\n.", ".\n.\n.", &["."]),
        ] {
            assert_eq!(fresh(before, now), new, "{before:?} {now:?}");
        }
    }
}
