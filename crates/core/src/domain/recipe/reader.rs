//! Reading TOML with a place for every mistake: a table is taken apart key by key, and what is left is unknown.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::mistake::{Source, quoted};

/// A value with its place.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// A text with its place.
pub(super) type Text = Spanned<String>;

/// A table that is taken apart key by key.
pub(super) struct Table<'a> {
    /// What the table is, for messages: `[[step]]`.
    pub what: String,
    /// Where it is.
    pub span: Range<usize>,
    entries: BTreeMap<String, (Range<usize>, Value<'a>)>,
    /// The keys that were asked for: those it may have.
    known: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub fn new(what: impl Into<String>, span: Range<usize>, table: DeTable<'a>) -> Self {
        let entries = table.into_iter().map(|(key, value)| {
            let span = key.span();
            (key.into_inner().into_owned(), (span, value))
        });
        Self { what: what.into(), span, entries: entries.collect(), known: Vec::new() }
    }

    /// Takes a key out.
    pub fn take(&mut self, key: &'static str) -> Option<Value<'a>> {
        self.know(&[key]);
        self.entries.remove(key).map(|(_, value)| value)
    }

    /// Keys that the table may have although this one's were not taken.
    pub fn know(&mut self, keys: &[&'static str]) {
        self.known.extend(keys.iter().filter(|key| !self.known.contains(key)).copied().collect::<Vec<_>>());
    }

    /// Whether a key is still there.
    pub fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// Where a key is, else where the table is.
    pub fn place(&self, key: &str) -> Range<usize> {
        self.entries.get(key).map_or_else(|| self.span.clone(), |(span, _)| span.clone())
    }

    /// Drops what the table may have: an unknown key stays.
    pub fn drop_known(&mut self) {
        self.entries.retain(|key, _| !self.known.contains(&key.as_str()));
    }

    /// All that is left, with the keys' places: for tables whose keys are the recipe's own.
    pub fn rest(self) -> impl Iterator<Item = (Text, Value<'a>)> {
        self.entries.into_iter().map(|(key, (span, value))| (Spanned::new(span, key), value))
    }

    /// A text with something in it.
    pub fn text(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Text> {
        let text = as_text(source, key, self.take(key)?)?;
        if text.get_ref().trim().is_empty() {
            let hint = format!("Give `{key}` a value, or leave the key out");
            source.wrong(&text.span(), format!("`{key}` is empty"), hint);
            return None;
        }
        Some(text)
    }

    /// A text with something in it, on one line.
    pub fn line(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Text> {
        let text = self.text(source, key)?;
        on_one_line(source, key, text)
    }

    /// Notes that a key that must be there is not.
    pub fn need(&mut self, source: &mut Source<'_>, key: &'static str) -> bool {
        self.know(&[key]);
        let has = self.has(key);
        if !has {
            let hint = format!("Add `{key} = \"…\"`");
            source.wrong(&self.span, format!("{} lacks `{key}`", self.what), hint);
        }
        has
    }

    pub fn need_line(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Text> {
        if self.need(source, key) { self.line(source, key) } else { None }
    }

    pub fn flag(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<bool> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Boolean(flag) => Some(flag),
            other => wrong_type(source, &span, key, "`true` or `false`", &other),
        }
    }

    /// A whole number within a range.
    pub fn number(&mut self, source: &mut Source<'_>, key: &'static str, range: Range<u32>) -> Option<u32> {
        let value = self.take(key)?;
        let span = value.span();
        let DeValue::Integer(number) = value.get_ref() else {
            return wrong_type(source, &span, key, "a whole number", value.get_ref());
        };
        let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let found = number.filter(|number| range.contains(number));
        if found.is_none() {
            let hint = format!("Give a number from {} to {}", range.start, range.end - 1);
            source.wrong(&span, format!("`{key}` is out of range"), hint);
        }
        found
    }

    /// A length of time: `"90s"`, `"5m"`, `"1h"`.
    pub fn time(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Duration> {
        let text = self.text(source, key)?;
        let digits = text.get_ref().trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text.get_ref()[digits.len()..] {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            _ => None,
        };
        let count = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        let seconds = unit.zip(count).and_then(|(unit, count)| count.checked_mul(unit));
        let time = seconds.filter(|seconds| (1..=43_200).contains(seconds)).map(Duration::from_secs);
        if time.is_none() {
            let problem = match seconds {
                Some(0) => "is no time at all",
                Some(_) => "is too long",
                None => "is no length of time",
            };
            let hint = "Give a number and `s`, `m` or `h`, at most 12 hours: `\"90s\"`";
            source.wrong(&text.span(), format!("`{key}` {problem}"), hint);
        }
        time
    }

    /// A list of texts, which may be empty ones.
    pub fn texts(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Vec<Text>> {
        let value = self.take(key)?;
        as_texts(source, key, value)
    }

    /// Names of the recipe's own choice with a text each, which may be empty.
    pub fn text_map(&mut self, source: &mut Source<'_>, key: &'static str) -> Vec<(Text, Text)> {
        let Some(table) = self.table(source, key) else { return Vec::new() };
        let pairs = table.rest().filter_map(|(name, value)| {
            let text = as_text(source, name.get_ref(), value)?;
            Some((name, text))
        });
        pairs.collect()
    }

    /// A table under a key.
    pub fn table(&mut self, source: &mut Source<'_>, key: &'static str) -> Option<Table<'a>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(format!("`{key}`"), span, table)),
            other => wrong_type(source, &span, key, "a table", &other),
        }
    }

    /// A table under a key; a text in its place is the table with only its main key: `service = "nginx"`.
    pub fn table_or(
        &mut self,
        source: &mut Source<'_>,
        key: &'static str,
        main: &'static str,
    ) -> Option<Table<'a>> {
        let value = self.take(key)?;
        let span = value.span();
        match value.into_inner() {
            DeValue::Table(table) => Some(Table::new(format!("`{key}`"), span, table)),
            text @ DeValue::String(_) => {
                let mut table = Table::new(format!("`{key}`"), span.clone(), DeTable::new());
                table.entries.insert(main.to_owned(), (span.clone(), Spanned::new(span, text)));
                Some(table)
            }
            other => wrong_type(source, &span, key, "a text in quotes or a table", &other),
        }
    }

    /// The tables of `[[key]]`.
    pub fn tables(&mut self, source: &mut Source<'_>, key: &'static str) -> Vec<Table<'a>> {
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

    /// Every key that was not asked for is unknown.
    pub fn finish(self, source: &mut Source<'_>) {
        for (key, (span, _)) in self.entries {
            let near = self.known.iter().map(|word| (distance(&key, word), word)).min();
            let hint = match near.filter(|(distance, word)| *distance <= 3 && *distance < word.len()) {
                Some((_, word)) => format!("Did you mean `{word}`?"),
                None => format!("{} knows: {}", self.what, self.known.join(", ")),
            };
            source.wrong(&span, format!("unknown key {} in {}", quoted(&key), self.what), hint);
        }
    }
}

/// A text that a program can be given: anything but a NUL.
pub(super) fn as_text(source: &mut Source<'_>, key: &str, value: Value<'_>) -> Option<Text> {
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) if text.contains('\0') => {
            source.wrong(&span, format!("{} has a NUL character", quoted(key)), "Leave `\\u0000` out");
            None
        }
        DeValue::String(text) => Some(Spanned::new(span, text.into_owned())),
        other => wrong_type(source, &span, key, "a text in quotes", &other),
    }
}

pub(super) fn as_texts(source: &mut Source<'_>, key: &str, value: Value<'_>) -> Option<Vec<Text>> {
    let span = value.span();
    match value.into_inner() {
        DeValue::Array(items) => {
            Some(items.into_iter().filter_map(|item| as_text(source, key, item)).collect())
        }
        other => {
            let wanted = "a list of texts";
            wrong_type(source, &span, key, wanted, &other)
        }
    }
}

pub(super) fn on_one_line(source: &mut Source<'_>, key: &str, text: Text) -> Option<Text> {
    if text.get_ref().chars().any(char::is_control) {
        let problem = format!("{} has a line break or control character", quoted(key));
        source.wrong(&text.span(), problem, "Keep it on one line");
        return None;
    }
    Some(text)
}

/// The value as JSON, for what a tool reads as such.
pub(super) fn as_json(source: &mut Source<'_>, key: &str, value: Value<'_>) -> Option<serde_json::Value> {
    use serde_json::Value as Json;
    let span = value.span();
    match value.into_inner() {
        DeValue::String(text) => Some(Json::String(text.into_owned())),
        DeValue::Boolean(flag) => Some(Json::Bool(flag)),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Some(Json::from(number)),
            Err(_) => {
                source.wrong(&span, format!("`{key}` has a number that is too large"), "Write it in quotes");
                None
            }
        },
        DeValue::Float(number) => {
            let number = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            if number.is_none() {
                source.wrong(&span, format!("`{key}` has a number that JSON lacks"), "Write a finite number");
            }
            number.map(Json::Number)
        }
        DeValue::Datetime(_) => {
            source.wrong(&span, format!("`{key}` has a date, which JSON lacks"), "Write it in quotes");
            None
        }
        DeValue::Array(items) => {
            let items: Vec<_> = items.into_iter().map(|item| as_json(source, key, item)).collect();
            items.into_iter().collect::<Option<_>>().map(Json::Array)
        }
        DeValue::Table(table) => {
            let entries = table.into_iter().map(|(name, value)| {
                let name = name.into_inner().into_owned();
                Some((name, as_json(source, key, value)?))
            });
            let entries: Vec<_> = entries.collect();
            entries.into_iter().collect::<Option<_>>().map(Json::Object)
        }
    }
}

pub(super) fn wrong_type<T>(
    source: &mut Source<'_>,
    span: &Range<usize>,
    key: &str,
    wanted: &str,
    found: &DeValue<'_>,
) -> Option<T> {
    let found = match found {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "`true` or `false`",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    let fix = match wanted {
        "a table" => format!("Write it with the keys it has: `{key} = {{ … }}`"),
        _ => format!("Write {} as {wanted}", quoted(key)),
    };
    source.wrong(span, format!("{} is {found} and should be {wanted}", quoted(key)), fix);
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
