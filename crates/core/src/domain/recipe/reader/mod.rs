//! Reads TOML by the grammar: every mistake is noted with its place, and the rest is read on.

mod beside;
mod fields;
mod values;

use std::{collections::BTreeMap, ops::Range, path::Path};

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

pub(super) use self::fields::{Field, Fields};
use super::{
    Beside, RecipeErrors,
    grammar::{Key, Kind, Need, Table},
    mistake::{Source, quoted},
};

/// Tells what there is at a path relative to the recipe.
pub(super) type Look<'a> = &'a dyn Fn(&Path) -> Beside;

/// The keys of a table as they are written, with the place of each.
pub(super) type Entries<'v> = BTreeMap<String, (Range<usize>, Spanned<DeValue<'v>>)>;

/// The entries of a table, with their places.
pub(super) fn entries(table: DeTable<'_>) -> Entries<'_> {
    let entries = table.into_iter().map(|(key, value)| {
        let span = key.span();
        (key.into_inner().into_owned(), (span, value))
    });
    entries.collect()
}

/// A recipe's text, what lies beside it, and the mistakes found so far.
pub(super) struct Reader<'a> {
    source: Source<'a>,
    look: Option<Look<'a>>,
}

impl<'a> Reader<'a> {
    pub fn new(name: &'a str, text: &'a str, look: Option<Look<'a>>) -> Self {
        Self { source: Source::new(name, text), look }
    }

    /// Notes a mistake at a place.
    pub fn wrong(&mut self, at: &Range<usize>, problem: impl Into<String>, hint: impl Into<String>) {
        self.source.wrong(at, problem, hint);
    }

    /// What there is at a path relative to the recipe, where somebody can tell.
    pub fn beside(&self, path: &str) -> Option<Beside> {
        self.look.map(|look| look(path.as_ref()))
    }

    /// The mistakes in the order of their places.
    pub fn into_errors(self) -> RecipeErrors {
        self.source.into_errors()
    }

    /// Reads the recipe's own table; none when the text is no TOML.
    pub fn root(&mut self, text: &str, table: &'static Table) -> Option<Fields> {
        let (toml, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let at = error.span().unwrap_or(0..0);
            self.wrong(&at, error.message().to_owned(), "Fix the TOML: https://toml.io");
        }
        // What would be read of a broken text is a guess: its keys are not judged.
        errors.is_empty().then(|| self.table(table, "the recipe", 0..0, entries(toml.into_inner())))
    }

    /// Reads a table: every key that it has, then what is wrong with the keys together.
    fn table(
        &mut self,
        table: &'static Table,
        what: &str,
        span: Range<usize>,
        mut entries: Entries<'_>,
    ) -> Fields {
        let mut fields = Fields { span, ..Fields::default() };
        for key in table.keys {
            let value = match (entries.remove(key.name), &key.need) {
                (Some((place, value)), _) => {
                    fields.places.insert(key.name, place);
                    self.value(key, value)
                }
                (None, Need::Default(toml)) => {
                    DeValue::parse(toml).ok().and_then(|value| self.value(key, value))
                }
                (None, Need::Empty) => {
                    let empty = Spanned::new(0..0, DeValue::Table(DeTable::new()));
                    self.value(key, empty)
                }
                (None, Need::Needed(add)) => {
                    let shown = key.shown(what == "the recipe");
                    let choices = key.kind.table().filter(|table| table.choice.is_some());
                    let hint = match (choices, &key.kind) {
                        (Some(choices), Kind::Table(_)) => {
                            format!("Add {add} with one of: {}", Table::list(choices.choices()))
                        }
                        _ => format!("Add {add}"),
                    };
                    self.wrong(&fields.span, format!("{what} lacks `{shown}`"), hint);
                    None
                }
                (None, Need::Absent(_) | Need::Choice) => None,
            };
            fields.found.extend(value.map(|value| (key.name, value)));
        }
        if table.filled && fields.places.is_empty() && entries.is_empty() {
            let keys = Table::list(table.keys.iter().map(|key| key.name));
            let hint = format!("Give it at least one of: {keys}; or leave it out");
            self.wrong(&fields.span, format!("{what} is empty"), hint);
        }
        self.choose(table, what, &mut fields, entries.is_empty());
        self.unknown(table, what, fields.choice, entries);
        fields
    }

    /// Exactly one of the table's choices, and nothing that belongs to another one.
    fn choose(&mut self, table: &Table, what: &str, fields: &mut Fields, all_known: bool) {
        let Some(noun) = table.choice else { return };
        let chosen: Vec<_> = table.choices().filter(|choice| fields.given(choice)).collect();
        let hint = format!("Give it exactly one of: {}", Table::list(table.choices()));
        match chosen[..] {
            [one] => fields.choice = Some(one),
            // An unknown key is likely the choice, misspelt: one mistake, shown once.
            [] if !all_known => {}
            [] => self.wrong(&fields.span, format!("{what} has no {noun}"), hint),
            [_, second, ..] => {
                self.wrong(&fields.place(second), format!("{what} has more than one {noun}"), hint);
            }
        }
        for key in table.keys.iter().filter(|key| fields.given(key.name)) {
            if let Some((owner, choice)) = key.belongs_to.zip(fields.choice).filter(|(owner, is)| owner != is)
            {
                let problem = format!("`{}` belongs to `{owner}`, and this {what} has `{choice}`", key.name);
                let hint = format!("Leave it out, or add another {what} with `{owner}`");
                self.wrong(&fields.place(key.name), problem, hint);
            }
        }
    }

    /// Every key that the grammar does not have is a mistake, with the nearest that it has.
    fn unknown(&mut self, table: &Table, what: &str, choice: Option<&str>, entries: Entries<'_>) {
        let fits = |key: &&Key| key.belongs_to.is_none() || key.belongs_to == choice;
        let known: Vec<&str> = table.keys.iter().filter(fits).map(|key| key.name).collect();
        for (key, (span, _)) in entries {
            let hint = match nearest(&key, known.iter().copied()) {
                Some(word) => format!("Did you mean `{word}`?"),
                None => format!("{what} knows: {}", known.join(", ")),
            };
            self.wrong(&span, format!("unknown key {} in {what}", quoted(&key)), hint);
        }
    }
}

/// The word that was likely meant, if one is near.
pub(super) fn nearest<'w>(typed: &str, known: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let near = known.into_iter().map(|word| (distance(typed, word), word)).min();
    near.filter(|(distance, word)| *distance <= 3 && *distance < word.len()).map(|(_, word)| word)
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
