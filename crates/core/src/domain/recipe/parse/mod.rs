//! From the text of a recipe to the recipe, or to every mistake in it.

mod base;
mod builder;

mod policy;
mod provisioners;
mod steps;
mod test_kinds;
mod words;

use std::path::Path;

use toml::de::DeTable;

use self::words::{absolute, absolute_file, parsed};
pub(super) use self::{
    base::KINDS as BASES,
    steps::KINDS as STEPS,
    test_kinds::{KINDS as TESTS, METHODS, OF_COMMAND},
};
use super::{Beside, Placement, Recipe, RecipeErrors, Step, Test, mistake::Source, reader::Table};

/// Tells what there is at a path relative to the recipe.
type Look<'a> = &'a dyn Fn(&Path) -> Beside;

pub(super) fn recipe(name: &str, text: &str, look: Option<Look<'_>>) -> Result<Recipe, RecipeErrors> {
    // A line's end is no part of a text: a script with `\r` in it fails, and would be another recipe.
    let text = text.replace("\r\n", "\n");
    let mut source = Source::new(name, &text);
    let (table, errors) = DeTable::parse_recoverable(&text);
    if !errors.is_empty() {
        // What would be read of such a text is a guess: its keys are not judged.
        for error in errors {
            let at = error.span().unwrap_or(0..0);
            source.wrong(&at, error.message().to_owned(), "Fix the TOML: https://toml.io");
        }
        return Err(source.into_errors());
    }
    let mut root = Table::new("the recipe", 0..0, table.into_inner());
    let recipe = root_table(&mut source, &mut root, look);
    root.finish(&mut source);
    let errors = source.into_errors();
    match recipe {
        Some(recipe) if errors.0.is_empty() => Ok(recipe),
        _ => Err(errors),
    }
}

/// Reads every table even when one is wrong, so that all mistakes are shown at once.
fn root_table(source: &mut Source<'_>, root: &mut Table<'_>, look: Option<Look<'_>>) -> Option<Recipe> {
    let pipeline = root.need_line(source, "pipeline").and_then(|text| parsed(source, text));
    let base = base::base(source, root);
    let builder = builder::builder(source, root);
    let artifact = artifact(source, root);
    let tables = root.tables(source, "step").into_iter().enumerate();
    let steps: Vec<Option<Step>> =
        tables.map(|(index, table)| steps::step(source, table, index, look)).collect();
    if !root.has("test") {
        let hint = "Add a `[[test]]`: an image without a test is never promoted";
        source.wrong(&(0..0), "the recipe has no test", hint);
    }
    let tables = root.tables(source, "test").into_iter().enumerate();
    let tests: Vec<Option<Test>> =
        tables.map(|(index, table)| test_kinds::test(source, table, index)).collect();
    let validate = policy::validate(source, root);
    let promote = policy::promote(source, root);
    let retain = policy::retain(source, root);
    let deadlines = policy::deadlines(source, root);
    Some(Recipe {
        pipeline: pipeline?,
        base: base?,
        builder,
        artifact,
        steps: steps.into_iter().collect::<Option<_>>()?,
        tests: tests.into_iter().collect::<Option<_>>()?,
        validate,
        promote: promote?,
        retain,
        deadlines,
    })
}

fn artifact(source: &mut Source<'_>, root: &mut Table<'_>) -> Option<Placement> {
    let mut table = root.table(source, "artifact")?;
    if table.has("to") == table.has("unpack-to") {
        source.wrong(&table.span, "`[artifact]` needs exactly one place", "Keep one of `to` and `unpack-to`");
    }
    let to = table.line(source, "to").and_then(|path| absolute_file(source, path)).map(Placement::To);
    let unpack =
        table.line(source, "unpack-to").and_then(|path| absolute(source, path)).map(Placement::UnpackTo);
    table.finish(source);
    to.or(unpack)
}

/// The one kind that a step, test or base is of, with its table.
fn one_of<'a>(
    source: &mut Source<'_>,
    mut table: Table<'a>,
    kinds: &'static [&'static str],
    (nothing, several): (&str, &str),
) -> Option<(&'static str, Table<'a>)> {
    table.know(kinds);
    let hint = format!("Give it exactly one of: {}", kinds.join(", "));
    let named: Vec<_> = kinds.iter().filter(|kind| table.has(kind)).collect();
    match named[..] {
        [kind] => return Some((kind, table)),
        [] => {
            // An unknown key in it is likely the kind, misspelt: one mistake, shown once.
            let before = source.count();
            let (span, problem) = (table.span.clone(), format!("{} {nothing}", table.what));
            table.drop_known();
            table.finish(source);
            if source.count() == before {
                source.wrong(&span, problem, hint);
            }
        }
        [_, second, ..] => {
            source.wrong(&table.place(second), format!("{} {several}", table.what), hint);
        }
    }
    None
}
