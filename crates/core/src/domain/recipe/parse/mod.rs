//! From what the grammar took to the recipe: what it means, and the mistakes that only several keys together make.

mod builder;
mod policy;
mod seal;
mod steps;
mod test_kinds;

use crate::domain::names::Names;

use super::{
    Artifact, Base, Placement, Recipe, RecipeErrors, Step, Test,
    grammar::RECIPE,
    reader::{Fields, Look, Reader},
};

pub(super) fn recipe(name: &str, text: &str, look: Option<Look<'_>>) -> Result<Recipe, RecipeErrors> {
    // A line's end is no part of a text: a script with `\r` in it fails, and would be another recipe.
    let text = text.replace("\r\n", "\n");
    let mut reader = Reader::new(name, &text, look);
    let recipe = reader.root(&text, &RECIPE).and_then(|fields| root(&mut reader, fields));
    let errors = reader.into_errors();
    match recipe {
        Some(recipe) if errors.0.is_empty() => Ok(recipe),
        _ => Err(errors),
    }
}

/// Reads every table even when one is wrong, so that all mistakes are shown at once.
fn root(reader: &mut Reader<'_>, mut root: Fields) -> Option<Recipe> {
    let base = root.table("base").and_then(base);
    let builder = root.table("builder").map(|table| builder::builder(reader, table));
    let artifact = root.table("artifact").and_then(artifact);
    let steps = root.tables("step").unwrap_or_default().into_iter().enumerate();
    let steps: Vec<Option<Step>> = steps.map(|(index, table)| steps::step(reader, table, index)).collect();
    let deadlines = root.table("deadlines").and_then(|table| policy::deadlines(reader, table));
    let validation = deadlines.map(|deadlines| deadlines.validation);
    let tests = root.tables("test").unwrap_or_default().into_iter().enumerate();
    let tests: Vec<Option<Test>> =
        tests.map(|(index, table)| test_kinds::test(reader, table, index, validation)).collect();
    let promote = root.table("promote").and_then(|table| policy::promote(reader, table));
    let (promote, attributes) = promote.unzip();
    let channels = policy::channels(reader, root.tables("channel").unwrap_or_default(), promote.as_ref());
    let all: Vec<_> = promote.iter().chain(channels.iter().flatten()).cloned().collect();
    let rollout = root.table("rollout").and_then(|table| policy::rollout(reader, table, &all));
    Some(Recipe {
        pipeline: root.id("pipeline")?,
        base: base?,
        builder: builder?,
        artifact,
        steps: steps.into_iter().collect::<Option<_>>()?,
        tests: tests.into_iter().collect::<Option<_>>()?,
        seal: root.table("seal").map(seal::seal)?,
        validate: root.table("validate").and_then(policy::validate)?,
        promote: promote?,
        attributes: attributes?,
        channels: channels?,
        rollout: rollout?,
        retain: root.table("retain").and_then(policy::retain)?,
        deadlines: deadlines?,
    })
}

fn base(mut base: Fields) -> Option<Base> {
    match base.choice? {
        "image" => base.id("image").map(Base::Image),
        "parameter" => base.id("parameter").map(Base::Parameter),
        "newest" => {
            let mut newest = base.table("newest")?;
            let architecture = newest.text("architecture");
            Some(Base::Newest { owner: newest.text("owner")?, name: newest.text("name")?, architecture })
        }
        "channel" => {
            let text = base.text("channel")?;
            let (pipeline, channel) = text.split_once('/')?;
            Some(Base::Channel { pipeline: pipeline.parse().ok()?, channel: channel.parse().ok()? })
        }
        _ => None,
    }
}

fn artifact(mut artifact: Fields) -> Option<Artifact> {
    let to = artifact.text("to").map(Placement::To);
    let place = to.or(artifact.text("unpack-to").map(Placement::UnpackTo));
    let (mode, owner) = (artifact.mode("mode"), artifact.text("owner"));
    let names = artifact.text("match").and_then(|text| Names::parse(&text));
    Some(Artifact { place: place?, mode, owner, names })
}

/// The name that a step or test was given, or its place in the list with its kind: `2 service`.
fn name(fields: &mut Fields, index: usize, kind: &str) -> String {
    fields.text("name").unwrap_or_else(|| format!("{} {kind}", index + 1))
}
