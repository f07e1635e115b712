//! Reads a value by its kind.

use std::{collections::BTreeMap, ops::Range, time::Duration};

use serde_json::Value as Json;
use serde_spanned::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::{Entries, Field, Reader, entries};
use crate::domain::recipe::{
    grammar::{Key, Kind, Need, Rule, Values},
    mistake::quoted,
};

/// The longest time that a recipe may give.
const LONGEST: u64 = 12 * 3600;

type At = Range<usize>;

impl Reader<'_> {
    /// The value of a key; none when it is another kind's, or has a mistake.
    pub(super) fn value(&mut self, known: &Key, value: Spanned<DeValue<'_>>) -> Option<Field> {
        let (key, at) = (known.name, value.span());
        match (&known.kind, value.into_inner()) {
            (Kind::Flag, DeValue::Boolean(flag)) => Some(Field::Flag(flag)),
            (Kind::Number { min, max }, DeValue::Integer(number)) => {
                let number = u32::from_str_radix(number.as_str(), number.radix()).ok();
                let number = number.filter(|number| (min..=max).contains(&number));
                if number.is_none() {
                    let hint = format!("Give a number from {min} to {max}");
                    self.wrong(&at, format!("`{key}` is out of range"), hint);
                }
                number.map(Field::Number)
            }
            (Kind::AnyText, DeValue::String(text)) => Some(Field::Text(text.into_owned())),
            (Kind::Text, DeValue::String(text)) => self.filled(key, &at, &text).map(Field::Text),
            (Kind::Time, DeValue::String(text)) => {
                let text = self.filled(key, &at, &text)?;
                self.time(key, &at, &text).map(Field::Time)
            }
            (Kind::Line(rule), DeValue::String(text)) => {
                let text = self.filled(key, &at, &text)?;
                let text = self.on_one_line(key, &at, text)?;
                self.follows(rule, &at, text).map(Field::Text)
            }
            (Kind::BesideFile | Kind::BesideFolder, DeValue::String(text)) => {
                let text = self.filled(key, &at, &text)?;
                let text = self.on_one_line(key, &at, text)?;
                self.path_beside(&at, &text, matches!(known.kind, Kind::BesideFolder)).map(Field::Text)
            }
            (Kind::List { items, filled }, DeValue::Array(list)) => {
                self.list(known, &at, items, *filled, list).map(Field::Texts)
            }
            (Kind::Names(rule), DeValue::Array(list)) => {
                self.list(known, &at, rule, true, list).map(Field::Texts)
            }
            (Kind::Names(rule), DeValue::String(text)) => {
                let text = self.without_nul(key, &at, &text)?;
                self.follows(rule, &at, text).map(|text| Field::Texts(vec![text]))
            }
            (Kind::Program, value @ (DeValue::String(_) | DeValue::Array(_))) => {
                self.program(key, &at, value).map(Field::Texts)
            }
            (Kind::Map { names, values, filled, max }, DeValue::Table(table)) => {
                if let Some(example) = filled.filter(|_| table.is_empty()) {
                    self.wrong(&at, format!("`{key}` is empty"), format!("Write {example}, or leave it out"));
                }
                if let Some(max) = max.filter(|max| table.len() > *max) {
                    self.wrong(&at, format!("`{key}` has more than {max} {key}"), "Leave some out");
                }
                Some(match values {
                    Values::Text => Field::Map(self.map(names, table, |reader, name, value| {
                        reader.text(name, value).map(|(_, text)| text)
                    })),
                    Values::Line(rule) => Field::Map(self.map(names, table, |reader, name, value| {
                        let (at, text) = reader.text(name, value)?;
                        let text = reader.on_one_line(name, &at, text)?;
                        reader.follows(rule, &at, text)
                    })),
                    Values::Json => {
                        Field::Json(self.map(names, table, |reader, _, value| reader.json(key, value)))
                    }
                })
            }
            (Kind::Table(grammar) | Kind::TableOr(_, grammar), DeValue::Table(table)) => {
                Some(Field::Table(self.table(grammar, &format!("`{key}`"), at, entries(table))))
            }
            (Kind::TableOr(main, grammar), text @ DeValue::String(_)) => {
                let only = ((*main).to_owned(), (at.clone(), Spanned::new(at.clone(), text)));
                Some(Field::Table(self.table(grammar, &format!("`{key}`"), at, Entries::from([only]))))
            }
            (Kind::Tables(grammar), DeValue::Array(items)) => {
                let what = format!("`[[{key}]]`");
                if let (Need::Needed(add), true) = (&known.need, items.is_empty()) {
                    self.wrong(&at, format!("`{key}` is empty"), format!("Add {add}"));
                }
                let mut tables = Vec::new();
                for item in items {
                    let at = item.span();
                    let value = item.into_inner();
                    if let DeValue::Table(table) = value {
                        tables.push(self.table(grammar, &what, at, entries(table)));
                    } else {
                        self.wrong_kind(key, &at, "a table", &value);
                    }
                }
                Some(Field::Tables(tables))
            }
            (kind, other) => {
                self.wrong_kind(key, &at, kind.form(), &other);
                None
            }
        }
    }

    fn wrong_kind(&mut self, key: &str, at: &At, wanted: &str, found: &DeValue<'_>) {
        let found = match found {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) | DeValue::Float(_) => "a number",
            DeValue::Boolean(_) => "`true` or `false`",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        let hint = match wanted {
            "a table" => format!("Write it with the keys it has: `{key} = {{ … }}`"),
            "a list of tables" => format!("Write `[[{key}]]`"),
            _ => format!("Write {} as {wanted}", quoted(key)),
        };
        self.wrong(at, format!("{} is {found} and should be {wanted}", quoted(key)), hint);
    }

    /// Any text that a program can be given: no NUL in it.
    fn without_nul(&mut self, key: &str, at: &At, text: &str) -> Option<String> {
        if text.contains('\0') {
            self.wrong(at, format!("{} has a NUL character", quoted(key)), "Leave `\\u0000` out");
            return None;
        }
        Some(text.to_owned())
    }

    /// A text with something in it.
    fn filled(&mut self, key: &str, at: &At, text: &str) -> Option<String> {
        let text = self.without_nul(key, at, text)?;
        if text.trim().is_empty() {
            self.wrong(
                at,
                format!("`{key}` is empty"),
                format!("Give `{key}` a value, or leave the key out"),
            );
            return None;
        }
        Some(text)
    }

    fn on_one_line(&mut self, key: &str, at: &At, text: String) -> Option<String> {
        if text.chars().any(char::is_control) {
            let problem = format!("{} has a line break or control character", quoted(key));
            self.wrong(at, problem, "Keep it on one line");
            return None;
        }
        Some(text)
    }

    /// The text if it follows the rule.
    fn follows(&mut self, rule: &Rule, at: &At, text: String) -> Option<String> {
        let Some((what, hint)) = rule.broken_by(&text) else { return Some(text) };
        self.wrong(at, format!("{} is not {what}", quoted(&text)), hint);
        None
    }

    /// A text, which may be an empty one, with its place.
    fn text(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> Option<(At, String)> {
        let at = value.span();
        let value = value.into_inner();
        if let DeValue::String(text) = value {
            self.without_nul(key, &at, &text).map(|text| (at, text))
        } else {
            self.wrong_kind(key, &at, Kind::Text.form(), &value);
            None
        }
    }

    /// A length of time: `"90s"`, `"5m"`, `"1h"`.
    fn time(&mut self, key: &str, at: &At, text: &str) -> Option<Duration> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match &text[digits.len()..] {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            _ => None,
        };
        let count = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        let seconds = unit.zip(count).and_then(|(unit, count)| count.checked_mul(unit));
        let problem = match seconds {
            Some(0) => "is no time at all",
            Some(seconds) if seconds <= LONGEST => return Some(Duration::from_secs(seconds)),
            Some(_) => "is too long",
            None => "is no length of time",
        };
        let hint = "Give a number and `s`, `m` or `h`, at most 12 hours: `\"90s\"`";
        self.wrong(at, format!("`{key}` {problem}"), hint);
        None
    }

    fn list(
        &mut self,
        known: &Key,
        at: &At,
        rule: &Rule,
        filled: bool,
        list: DeArray<'_>,
    ) -> Option<Vec<String>> {
        let key = known.name;
        if filled && list.is_empty() {
            let hint = match known.need {
                Need::Needed(example) => format!("Write {example}"),
                Need::Choice => "Name at least one".to_owned(),
                Need::Default(_) | Need::Empty | Need::Absent(_) => {
                    format!("Name at least one, or leave `{key}` out")
                }
            };
            self.wrong(at, format!("`{key}` is empty"), hint);
            return None;
        }
        let texts = list.into_iter().filter_map(|item| {
            let (at, text) = self.text(key, item)?;
            self.follows(rule, &at, text)
        });
        Some(texts.collect())
    }

    /// A program and its arguments: a list as it is, a text by its spaces.
    fn program(&mut self, key: &str, at: &At, value: DeValue<'_>) -> Option<Vec<String>> {
        let list: Vec<String> = if let DeValue::Array(list) = value {
            list.into_iter().filter_map(|item| self.text(key, item).map(|(_, text)| text)).collect()
        } else {
            let (_, text) = self.text(key, Spanned::new(at.clone(), value))?;
            let text = self.on_one_line(key, at, text)?;
            if text.contains(['"', '\'', '\\']) {
                let hint = format!("Write a list: `{key} = [\"python3\", \"-c\", \"…\"]`");
                self.wrong(at, format!("`{key}` is split at spaces, whatever the quotes"), hint);
                return None;
            }
            text.split_whitespace().map(str::to_owned).collect()
        };
        if list.first().is_none_or(|program| program.trim().is_empty()) {
            self.wrong(at, format!("`{key}` names no program"), format!("Write `{key} = \"python3 -u\"`"));
            return None;
        }
        Some(list)
    }

    fn map<T>(
        &mut self,
        names: &Rule,
        table: DeTable<'_>,
        mut read: impl FnMut(&mut Self, &str, Spanned<DeValue<'_>>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let pairs = entries(table).into_iter().filter_map(|(name, (at, value))| {
            let value = read(self, &name, value);
            Some((self.follows(names, &at, name)?, value?))
        });
        pairs.collect()
    }

    /// The value as JSON, for what a tool reads as such.
    fn json(&mut self, key: &str, value: Spanned<DeValue<'_>>) -> Option<Json> {
        let at = value.span();
        match value.into_inner() {
            DeValue::String(text) => Some(Json::String(text.into_owned())),
            DeValue::Boolean(flag) => Some(Json::Bool(flag)),
            DeValue::Integer(number) => {
                let number = i64::from_str_radix(number.as_str(), number.radix()).ok();
                if number.is_none() {
                    let problem = format!("`{key}` has a number that is too large");
                    self.wrong(&at, problem, "Write it in quotes");
                }
                number.map(Json::from)
            }
            DeValue::Float(number) => {
                let number = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
                if number.is_none() {
                    let problem = format!("`{key}` has a number that JSON lacks");
                    self.wrong(&at, problem, "Write a finite number");
                }
                number.map(Json::Number)
            }
            DeValue::Datetime(_) => {
                self.wrong(&at, format!("`{key}` has a date, which JSON lacks"), "Write it in quotes");
                None
            }
            DeValue::Array(items) => {
                let items: Vec<_> = items.into_iter().map(|item| self.json(key, item)).collect();
                items.into_iter().collect::<Option<_>>().map(Json::Array)
            }
            DeValue::Table(table) => {
                let pairs: Vec<_> = entries(table)
                    .into_iter()
                    .map(|(name, (_, value))| Some((name, self.json(key, value)?)))
                    .collect();
                pairs.into_iter().collect::<Option<_>>().map(Json::Object)
            }
        }
    }
}
