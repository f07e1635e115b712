//! Mistakes of a recipe, each with its place, shown with a caret under it.
//!
//! Our own, and not `annotate-snippets` or `miette`: it is one line of the recipe, shown without control characters and cut
//! around the mistake, in forty lines of code; the layout is tested.

use std::{fmt, ops::Range};

use crate::domain::plain::visible;

/// How much of a line is shown; around the mistake when the line is longer.
const SHOWN: usize = 120;

/// One mistake of a recipe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipeError {
    /// The recipe's name.
    pub source_name: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The line's text.
    pub text: String,
    /// How many characters are meant.
    pub width: usize,
    /// What is wrong.
    pub problem: String,
    /// How to make it right.
    pub hint: String,
}

impl fmt::Display for RecipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source_name, line, column, text, width, problem, hint } = self;
        let margin = " ".repeat(line.to_string().len());
        let first = if text.chars().count() > SHOWN { (column - 1).saturating_sub(SHOWN / 2) } else { 0 };
        // What a terminal would obey instead of showing has no place in a message; a tab stays as wide as it is.
        let shown: String = text.chars().skip(first).take(SHOWN).map(visible).collect();
        let indent: String =
            shown.chars().take(column - 1 - first).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat((*width).clamp(1, SHOWN));
        writeln!(f, "{source_name}:{line}:{column}: {problem}")?;
        writeln!(f, " {margin} |")?;
        writeln!(f, " {line} | {shown}")?;
        writeln!(f, " {margin} | {indent}{carets}")?;
        write!(f, " {margin} = {hint}")
    }
}

/// Every mistake of a recipe, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RecipeErrors(pub Vec<RecipeError>);

impl fmt::Display for RecipeErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            write!(f, "{}{error}", if index == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// The recipe's text and the mistakes found in it so far.
pub(super) struct Source<'a> {
    name: &'a str,
    text: &'a str,
    errors: Vec<RecipeError>,
}

impl<'a> Source<'a> {
    pub fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, errors: Vec::new() }
    }

    /// Notes a mistake at a place.
    pub fn wrong(&mut self, at: &Range<usize>, problem: impl Into<String>, hint: impl Into<String>) {
        let start = floor(self.text, at.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_text = self.text[line_start..].lines().next().unwrap_or_default();
        let meant = &self.text[start..floor(self.text, at.end.max(start))];
        self.errors.push(RecipeError {
            source_name: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            text: line_text.to_owned(),
            width: meant.lines().next().unwrap_or_default().chars().count(),
            problem: problem.into(),
            hint: hint.into(),
        });
    }

    /// The mistakes in the order of their places.
    pub fn into_errors(mut self) -> RecipeErrors {
        self.errors.sort_by_key(|error| (error.line, error.column));
        RecipeErrors(self.errors)
    }
}

/// The nearest place that doesn't cut a character.
fn floor(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// A text from a recipe within a message: on one line, short, and nothing that a terminal obeys.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 60;
    let mut shown: String = text.chars().take(MOST).flat_map(char::escape_debug).collect();
    if text.chars().nth(MOST).is_some() {
        shown.push('…');
    }
    format!("`{shown}`")
}
