//! The grammar is what the types hold, and `full.toml` has all of it.

use std::{collections::BTreeSet, env, fs};

use toml::{Table as Toml, Value as TomlValue};

use super::*;
use crate::domain::recipe::grammar::{Key, Kind, Need, RECIPE, Table};

/// Compares a file of the repository with what the grammar makes of it, or writes it anew.
pub(super) fn keep(path: &str, now: &str, wanted: &str) {
    if env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(path, wanted).unwrap();
        return;
    }
    assert!(now == wanted, "{path} is old: run `OVENBIRD_UPDATE=1 cargo test -p ovenbird-core --lib recipe`");
}

/// The table at a path of keys: `step.file`.
pub(super) fn find(path: &str) -> Option<&'static Table> {
    let words = path.split('.').filter(|word| *word != "recipe");
    let mut table = &RECIPE;
    for word in words {
        table = table.keys.iter().find(|key| key.name == word)?.kind.table()?;
    }
    Some(table)
}

/// Every key with its path.
fn keys(table: &'static Table, path: &str) -> Vec<(String, &'static Key)> {
    let own = table.keys.iter().flat_map(|key| {
        let path = format!("{path}{}", key.name);
        let inner = key.kind.table().map(|table| keys(table, &format!("{path}."))).unwrap_or_default();
        [(path, key)].into_iter().chain(inner)
    });
    own.collect()
}

/// A key where a recipe has it.
pub(super) struct Place {
    pub path: String,
    pub key: &'static Key,
    /// A small recipe: with one of the steps, tests or tables of `full.toml`.
    recipe: Toml,
}

impl Place {
    /// The recipe's text, with the table that has the key as `change` makes it.
    pub fn changed(&self, change: impl FnOnce(&mut Toml)) -> String {
        let mut recipe = self.recipe.clone();
        change(table_with(&mut recipe, &self.path).unwrap());
        toml::to_string(&recipe).unwrap()
    }
}

/// The table that has the key at a path.
fn table_with<'t>(recipe: &'t mut Toml, path: &str) -> Option<&'t mut Toml> {
    let mut words: Vec<&str> = path.split('.').collect();
    let last = words.pop()?;
    let mut table = recipe;
    for word in words {
        table = match table.get_mut(word)? {
            TomlValue::Table(table) => table,
            TomlValue::Array(list) => list.first_mut()?.as_table_mut()?,
            TomlValue::String(_)
            | TomlValue::Integer(_)
            | TomlValue::Float(_)
            | TomlValue::Boolean(_)
            | TomlValue::Datetime(_) => return None,
        };
    }
    table.contains_key(last).then_some(table)
}

/// Every key in every form that `full.toml` has it in, and the bases and places that can't stand there beside others.
pub(super) fn places() -> Vec<Place> {
    let parts = toml::from_str::<Toml>(FULL).unwrap().into_iter().flat_map(|(name, value)| {
        if let TomlValue::Array(list) = value {
            list.into_iter().map(|one| (name.clone(), vec![one].into())).collect()
        } else {
            vec![(name, value)]
        }
    });
    let others = [
        ("base", "image = 'ami-0123456789abcdef0'"),
        ("base", "parameter = '/images/debian'"),
        ("base", "channel = 'jvm-runtime/stable'"),
        ("artifact", "to = '/opt/storefront/app.jar'\nmode = '0600'"),
    ];
    let others = others.map(|(name, text)| (name.to_owned(), toml::from_str::<Toml>(text).unwrap().into()));
    let places = parts.chain(others).flat_map(|(part, value)| {
        let mut recipe: Toml = toml::from_str(&around("")).unwrap();
        recipe.insert(part.clone(), value);
        let of_part =
            keys(&RECIPE, "").into_iter().filter(move |(path, _)| path.split('.').next() == Some(&part));
        of_part.filter_map(move |(path, key)| {
            let mut recipe = recipe.clone();
            table_with(&mut recipe, &path)?;
            Some(Place { path, key, recipe })
        })
    });
    places.collect()
}

#[test]
fn every_key_is_in_the_full_recipe_and_does_something() {
    let mut silent: BTreeSet<String> = keys(&RECIPE, "").into_iter().map(|(path, _)| path).collect();
    for place in places() {
        let whole = parse(&place.changed(|_| {}));
        let left_out = Recipe::parse_pushed(&place.changed(|table| {
            table.remove(place.key.name);
        }));
        if left_out != Ok(whole) {
            silent.remove(&place.path);
        }
    }
    assert!(
        silent.is_empty(),
        "no type has these keys, or `full.toml` has at most their default: {silent:?}"
    );
}

#[test]
fn a_default_is_what_holds_without_the_key() {
    let mut count = 0;
    for place in places() {
        let Need::Default(default) = place.key.need else { continue };
        // Where the keys beside it can't stand with the default, the mistakes are the same ones.
        let read = |text: &str| {
            let problems = |errors: RecipeErrors| errors.0.into_iter().map(|error| error.problem).collect();
            Recipe::parse_pushed(text).map_err::<Vec<_>, _>(problems)
        };
        let left_out = read(&place.changed(|table| {
            table.remove(place.key.name);
        }));
        let told = read(&place.changed(|table| {
            let mut value: Toml = toml::from_str(&format!("value = {default}")).unwrap();
            table.insert(place.key.name.to_owned(), value.remove("value").unwrap());
        }));
        assert_eq!(left_out, told, "{}", place.path);
        assert!(left_out.map_or_else(|problems| !problems.is_empty(), |_| true), "{}", place.path);
        count += 1;
    }
    assert!(count > 20, "{count} defaults");
}

#[test]
fn the_grammar_is_sound() {
    for (path, key) in keys(&RECIPE, "") {
        let text = key.doc;
        assert!(!text.ends_with('.') && !text.contains('|'), "{path}: {text}");
        assert!(!text.starts_with(char::is_uppercase) || text.starts_with("Hiera"), "{path}: {text}");
        if let Kind::TableOr(main, table) = key.kind {
            let main = table.keys.iter().find(|key| key.name == main).map(|key| &key.need);
            assert!(matches!(main, Some(Need::Needed(_))), "{path}");
        }
        if let Some(table) = key.kind.table() {
            let names: BTreeSet<_> = table.keys.iter().map(|key| key.name).collect();
            assert_eq!(names.len(), table.keys.len(), "{path}");
            assert_eq!(table.choice.is_some(), table.choices().count() > 1, "{path}");
            for owner in table.keys.iter().filter_map(|key| key.belongs_to) {
                assert!(table.choices().any(|choice| choice == owner), "{path}: {owner}");
            }
        }
    }
}

/// The runner has it as a number: a plan of before says none.
#[test]
fn the_default_of_for_is_one_number() {
    let recipe = parse(&around("[[test]]\nprocess = \"java\"\n"));
    let TestKind::Process { settle, .. } = recipe.tests[0].kind else { panic!("no process") };
    assert_eq!(settle, SETTLE);
}
