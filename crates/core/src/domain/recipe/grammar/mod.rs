//! The grammar of a recipe as data: every table, and every key that it may have.
//!
//! The reader, the JSON Schema and the tables in `docs/recipe.md` are made of it. To add a key, add its line here, its
//! field to the type that it fills, and its value to `tests/full.toml`; the tests name what is still missing. The tables
//! are laid out by hand, which rustfmt would undo: a key has its name, kind and default on one line, its text below.

mod rules;
mod seal;
mod steps;
mod tables;
mod test_kinds;

pub(super) use self::{
    rules::{AWS_OWN_KEY, Judge, Rule},
    tables::RECIPE,
};

/// The keys of a table.
pub(super) struct Table {
    /// What it is, as the schema says it.
    pub doc: &'static str,
    /// What its `Choice` keys are choices of: it has exactly one of them.
    pub choice: Option<&'static str>,
    /// Whether it must have a key.
    pub filled: bool,
    /// Its keys, in the order in which they are explained.
    pub keys: &'static [Key],
}

impl Table {
    /// A table in which no key excludes another.
    const fn of(doc: &'static str, keys: &'static [Key]) -> Self {
        Self { doc, choice: None, filled: false, keys }
    }

    /// A table with exactly one of its `Choice` keys.
    const fn one(choice: &'static str, doc: &'static str, keys: &'static [Key]) -> Self {
        Self { doc, choice: Some(choice), filled: false, keys }
    }

    const fn filled(self) -> Self {
        Self { filled: true, ..self }
    }

    /// The keys of which it has exactly one.
    pub fn choices(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().filter(|key| matches!(key.need, Need::Choice)).map(|key| key.name)
    }

    /// The names of keys, for a message.
    pub fn list(names: impl Iterator<Item = &'static str>) -> String {
        names.collect::<Vec<_>>().join(", ")
    }
}

/// A key of a table.
pub(super) struct Key {
    /// How it is written in the recipe: `only-if`.
    pub name: &'static str,
    /// What its value looks like.
    pub kind: Kind,
    /// What holds when it is left out.
    pub need: Need,
    /// The choice of its table that it belongs to, when it has no sense beside another.
    pub belongs_to: Option<&'static str>,
    /// What it is for: begins in lower case, without a full stop at the end.
    pub doc: &'static str,
}

const fn key(name: &'static str, kind: Kind, need: Need, doc: &'static str) -> Key {
    Key { name, kind, need, belongs_to: None, doc }
}

impl Key {
    const fn of(self, choice: &'static str) -> Self {
        Self { belongs_to: Some(choice), ..self }
    }

    /// The key as a message and the docs write it: `[base]`, `[[step]]`, `port`.
    pub fn shown(&self, in_root: bool) -> String {
        match self.kind {
            Kind::Table(_) if in_root => format!("[{}]", self.name),
            Kind::Tables(_) => format!("[[{}]]", self.name),
            Kind::Table(_)
            | Kind::TableOr(..)
            | Kind::Flag
            | Kind::Number { .. }
            | Kind::Time
            | Kind::Text
            | Kind::AnyText
            | Kind::Line(_)
            | Kind::BesideFile
            | Kind::BesideFolder
            | Kind::List { .. }
            | Kind::Names(_)
            | Kind::Program
            | Kind::Map { .. } => self.name.to_owned(),
        }
    }

    /// What it is for, with the values that it may have.
    pub fn text(&self) -> String {
        let doc = self.doc;
        match &self.kind {
            Kind::Number { min, max } => format!("{doc}; {min} to {max}"),
            Kind::Line(Rule { judge: Judge::Choice { of, .. }, .. }) => {
                format!("{doc}: `{}`", of.join("`, `"))
            }
            Kind::Line(_)
            | Kind::Flag
            | Kind::Time
            | Kind::Text
            | Kind::AnyText
            | Kind::BesideFile
            | Kind::BesideFolder
            | Kind::List { .. }
            | Kind::Names(_)
            | Kind::Program
            | Kind::Map { .. }
            | Kind::Table(_)
            | Kind::TableOr(..)
            | Kind::Tables(_) => doc.to_owned(),
        }
    }
}

/// What holds when a key is left out.
pub(super) enum Need {
    /// That is a mistake; what to add, as a message says it.
    Needed(&'static str),
    /// Another key of the table is the one that is chosen.
    Choice,
    /// This value, as TOML.
    Default(&'static str),
    /// The same as for a table without keys: each has its default.
    Empty,
    /// Nothing, and what follows from that, for the docs.
    Absent(&'static str),
}

/// What a value looks like.
pub(super) enum Kind {
    /// `true` or `false`.
    Flag,
    /// A whole number from `min` to `max`.
    Number {
        /// The least.
        min: u32,
        /// The most.
        max: u32,
    },
    /// A length of time: `"90s"`.
    Time,
    /// A text that is not empty.
    Text,
    /// Any text, an empty one too.
    AnyText,
    /// A text that is not empty, on one line, that follows a rule.
    Line(&'static Rule),
    /// The path of a file beside the recipe.
    BesideFile,
    /// The path of a folder beside the recipe.
    BesideFolder,
    /// A list of texts that follow a rule.
    List {
        /// What each of the texts must follow.
        items: &'static Rule,
        /// Whether it must have one.
        filled: bool,
    },
    /// A text, or a list of texts, that follow a rule.
    Names(&'static Rule),
    /// A program with its arguments: a text that is split at its spaces, or a list.
    Program,
    /// Names of the recipe's own choice with a value each.
    Map {
        /// What each of the names must follow.
        names: &'static Rule,
        /// What the values are.
        values: Values,
        /// What to write when it has no entry; none where that is no mistake.
        filled: Option<&'static str>,
        /// The most entries.
        max: Option<usize>,
    },
    /// A table.
    Table(&'static Table),
    /// A table, or a text that stands for a table with this key alone.
    TableOr(&'static str, &'static Table),
    /// A list of tables: `[[step]]`. One that is needed is not empty.
    Tables(&'static Table),
}

/// What the values of a map are.
#[derive(Clone, Copy)]
pub(super) enum Values {
    /// Any texts.
    Text,
    /// Texts on one line that follow a rule.
    Line(&'static Rule),
    /// Anything that JSON knows, too.
    Json,
}

impl Kind {
    const fn map(names: &'static Rule, values: Values) -> Self {
        Self::Map { names, values, filled: None, max: None }
    }

    /// What a value should be, when it is something else.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Flag => "`true` or `false`",
            Self::Number { .. } => "a whole number",
            Self::Time
            | Self::Text
            | Self::AnyText
            | Self::Line(_)
            | Self::BesideFile
            | Self::BesideFolder => "a text in quotes",
            Self::List { .. } => "a list of texts",
            Self::Names(_) | Self::Program => "a text in quotes or a list of such",
            Self::Map { .. } | Self::Table(_) => "a table",
            Self::TableOr(..) => "a text in quotes or a table",
            Self::Tables(_) => "a list of tables",
        }
    }

    /// The table that a value of this kind is or has.
    pub fn table(&self) -> Option<&'static Table> {
        match self {
            Self::Table(table) | Self::TableOr(_, table) | Self::Tables(table) => Some(table),
            Self::Flag
            | Self::Number { .. }
            | Self::Time
            | Self::Text
            | Self::AnyText
            | Self::Line(_)
            | Self::BesideFile
            | Self::BesideFolder
            | Self::List { .. }
            | Self::Names(_)
            | Self::Program
            | Self::Map { .. } => None,
        }
    }
}
