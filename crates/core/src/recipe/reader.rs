//! Reading TOML with a place for every mistake: a table is taken apart key by key, and what is left is unknown.

use std::{collections::BTreeMap, fmt, ops::Range, time::Duration};

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

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
        writeln!(f, "{source_name}:{line}:{column}: {problem}")?;
        writeln!(f, " {margin} |")?;
        writeln!(f, " {line} | {text}")?;
        writeln!(f, " {margin} | {}{}", " ".repeat(column - 1), "^".repeat((*width).max(1)))?;
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
    pub name: &'a str,
    pub text: &'a str,
    pub errors: Vec<RecipeError>,
}

impl Source<'_> {
    /// Notes a mistake at a place.
    pub fn wrong(&mut self, at: &Range<usize>, problem: impl Into<String>, hint: impl Into<String>) {
        let start = at.start.min(self.text.len());
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_text = self.text[line_start..].lines().next().unwrap_or_default();
        let column = before[line_start..].chars().count() + 1;
        let meant = self.text.get(start..at.end.min(self.text.len())).unwrap_or_default();
        let width = meant.lines().next().unwrap_or_default().chars().count();
        self.errors.push(RecipeError {
            source_name: self.name.to_owned(),
            line: before.matches('\n').count() + 1,
            column,
            text: line_text.to_owned(),
            width,
            problem: problem.into(),
            hint: hint.into(),
        });
    }
}

/// A value with its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A table that is taken apart key by key.
pub(super) struct Table<'a> {
    /// What the table is, for messages: `[builder]`.
    pub what: String,
    /// Where it is.
    pub span: Range<usize>,
    entries: BTreeMap<String, (Range<usize>, Value<'a>)>,
}

impl<'a> Table<'a> {
    pub fn new(what: impl Into<String>, span: Range<usize>, table: DeTable<'a>) -> Self {
        let entries = table.into_iter().map(|(key, value)| {
            let span = key.span();
            (key.into_inner().into_owned(), (span, value))
        });
        Self { what: what.into(), span, entries: entries.collect() }
    }

    /// Takes a key out.
    pub fn take(&mut self, key: &str) -> Option<Value<'a>> {
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Whether a key is still there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    pub fn text(&mut self, source: &mut Source<'_>, key: &str) -> Option<(String, Range<usize>)> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::String(text) if !text.trim().is_empty() => Some((text.into_owned(), span)),
            DeValue::String(_) => {
                source.wrong(
                    &span,
                    format!("`{key}` is empty"),
                    format!("Give `{key}` a value, or leave the key out"),
                );
                None
            }
            other => wrong_type(source, &span, key, "a text in quotes", &other),
        }
    }

    /// A text that must be there.
    pub fn need_text(&mut self, source: &mut Source<'_>, key: &str) -> Option<(String, Range<usize>)> {
        if !self.has(key) {
            let hint = format!("Add `{key} = \"…\"`");
            source.wrong(&self.span, format!("{} lacks `{key}`", self.what), hint);
            return None;
        }
        self.text(source, key)
    }

    pub fn flag(&mut self, source: &mut Source<'_>, key: &str, default: bool) -> bool {
        let Some(value) = self.take(key) else { return default };
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(flag) => flag,
            other => wrong_type(source, &span, key, "`true` or `false`", &other).unwrap_or(default),
        }
    }

    /// A whole number within a range.
    pub fn number(&mut self, source: &mut Source<'_>, key: &str, range: Range<i64>) -> Option<i64> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Integer(number) = value.get_ref() else {
            return wrong_type(source, &span, key, "a whole number", value.get_ref());
        };
        let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            let hint = format!("Give a number from {} to {}", range.start, range.end - 1);
            source.wrong(&span, format!("`{key}` is out of range"), hint);
        }
        found
    }

    /// A length of time: `"90s"`, `"5m"`, `"1h"`.
    pub fn time(&mut self, source: &mut Source<'_>, key: &str, default: Duration) -> Duration {
        let Some((text, span)) = self.text(source, key) else { return default };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            _ => None,
        };
        let seconds = unit.zip(digits.parse::<u64>().ok()).and_then(|(unit, count)| count.checked_mul(unit));
        match seconds.filter(|seconds| (1..=43_200).contains(seconds)) {
            Some(seconds) => Duration::from_secs(seconds),
            None => {
                let hint = "Give a number and `s`, `m` or `h`, at most 12 hours: `\"90s\"`";
                source.wrong(&span, format!("`{key}` is no length of time"), hint);
                default
            }
        }
    }

    pub fn texts(&mut self, source: &mut Source<'_>, key: &str) -> Option<Vec<String>> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            source.wrong(&span, format!("`{key}` is no list"), format!("Write `{key} = [\"…\"]`"));
            return None;
        };
        let mut texts = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::String(text) => texts.push(text.into_owned()),
                other => wrong_type(source, &span, key, "a list of texts", &other).unwrap_or(()),
            }
        }
        Some(texts)
    }

    pub fn text_map(&mut self, source: &mut Source<'_>, key: &str) -> BTreeMap<String, String> {
        let Some(mut table) = self.table(source, key) else { return BTreeMap::new() };
        let keys: Vec<String> = table.entries.keys().cloned().collect();
        keys.into_iter().filter_map(|key| Some((key.clone(), table.text(source, &key)?.0))).collect()
    }

    /// A table under a key.
    pub fn table(&mut self, source: &mut Source<'_>, key: &str) -> Option<Table<'a>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(format!("`{key}`"), span, table)),
            other => wrong_type(source, &span, key, "a table", &other),
        }
    }

    /// The tables of `[[key]]`.
    pub fn tables(&mut self, source: &mut Source<'_>, key: &str) -> Vec<Table<'a>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let span = value.span();
        let DeValue::Array(items) = value.into_inner() else {
            source.wrong(&span, format!("`{key}` is no list of tables"), format!("Write `[[{key}]]`"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in items {
            let span = item.span();
            match item.into_inner() {
                DeValue::Table(table) => tables.push(Table::new(format!("`[[{key}]]`"), span, table)),
                other => wrong_type(source, &span, key, "a table", &other).unwrap_or(()),
            }
        }
        tables
    }

    /// Every key that was not taken is unknown.
    pub fn finish(self, source: &mut Source<'_>, known: &[&str]) {
        for (key, (span, _)) in self.entries {
            let near = known.iter().map(|word| (distance(&key, word), word)).min();
            let hint = match near.filter(|(distance, _)| *distance <= 3) {
                Some((_, word)) => format!("Did you mean `{word}`?"),
                None => format!("{} knows: {}", self.what, known.join(", ")),
            };
            source.wrong(&span, format!("unknown key `{key}` in {}", self.what), hint);
        }
    }
}

fn wrong_type<T>(
    source: &mut Source<'_>,
    span: &Range<usize>,
    key: &str,
    wanted: &str,
    found: &DeValue<'_>,
) -> Option<T> {
    let problem = format!("`{key}` is {} and should be {wanted}", found.type_str());
    source.wrong(span, problem, format!("Write `{key}` as {wanted}"));
    None
}

/// How many letters differ (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = corner + usize::from(x != *y);
            corner = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}
