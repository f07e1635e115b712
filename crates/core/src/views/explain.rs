//! Why a bake makes another image than the one before it: their inputs, compared one by one.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::{
    domain::{
        bake::{Artifact, Bake, BaseImage},
        error::{Error, Result},
        id::{Digest, PipelineName},
        inputs::Inputs,
        recipe::Recipe,
    },
    ports::Bucket,
    steps::inputs::Resolved,
    store::recipes::{self, Files},
};

/// One of the two that are compared.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Every input by its own digest.
    pub inputs: &'a Inputs,
    /// The base, as it was written and as it was resolved.
    pub base: &'a BaseImage,
    /// The artifact; none for a pipeline without artifacts.
    pub artifact: Option<&'a Artifact>,
    /// The version of the recipe.
    pub recipe: &'a Digest,
}

impl<'a> From<&'a Bake> for Side<'a> {
    fn from(bake: &'a Bake) -> Self {
        Self {
            inputs: &bake.spec.inputs,
            base: &bake.spec.base,
            artifact: bake.spec.artifact.as_ref(),
            recipe: &bake.spec.recipe,
        }
    }
}

impl<'a> From<&'a Resolved> for Side<'a> {
    fn from(resolved: &'a Resolved) -> Self {
        let Resolved { pointer, recipe: _, artifact, base, image: _, inputs } = resolved;
        Self { inputs, base, artifact: artifact.as_ref(), recipe: &pointer.version }
    }
}

/// One input of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The input's name, as operators read it: `base`, `steps`, `artifact`.
    pub input: &'static str,
    /// The older value, shortened for people.
    pub before: String,
    /// The newer value, shortened likewise.
    pub now: String,
    /// Whether they differ.
    pub changed: bool,
    /// What of it differs, as far as that can be told.
    pub details: Vec<String>,
}

/// Compares every input. What can't be read any more of an old recipe leaves its details out, and no more.
pub async fn explain(
    bucket: &impl Bucket,
    pipeline: &PipelineName,
    before: Side<'_>,
    now: Side<'_>,
) -> Result<Vec<Line>> {
    let base = |side: Side<'_>| {
        let parent = side.base.parent.as_ref().map(|parent| format!(" ({parent})")).unwrap_or_default();
        format!("{} {}{parent}", side.base.image, side.base.name)
    };
    let artifact = |side: Side<'_>| {
        let key = side.artifact.map(|artifact| artifact.key.to_string());
        format!("{} {}", short(side.inputs.artifact.as_ref()), key.unwrap_or_default()).trim_end().to_owned()
    };
    let [a, b] = [before.inputs, now.inputs];
    let line = |input, before: String, now: String, changed| Line {
        input,
        before,
        now,
        changed,
        details: Vec::new(),
    };
    let digests = |input, before: Option<&Digest>, now: Option<&Digest>| {
        line(input, short(before), short(now), before != now)
    };
    let mut lines = vec![
        line("base", base(before), base(now), a.base != b.base),
        line(
            "architecture",
            a.architecture.clone(),
            b.architecture.clone(),
            a.architecture != b.architecture,
        ),
        digests("configuration", Some(&a.configuration), Some(&b.configuration)),
        digests("volume", a.volume.as_ref(), b.volume.as_ref()),
        digests("files", a.files.as_ref(), b.files.as_ref()),
        line("artifact", artifact(before), artifact(now), a.artifact != b.artifact),
        line("secrets", secrets(a), secrets(b), a.secrets != b.secrets),
        digests("runner", Some(&a.runner), Some(&b.runner)),
        digests("tests", Some(&a.tests), Some(&b.tests)),
    ];
    if a.rule != b.rule {
        let rule = |inputs: &Inputs| match inputs.rule {
            0 => "an older one".to_owned(),
            rule => rule.to_string(),
        };
        lines.push(line("rule of the digest", rule(a), rule(b), true));
    }
    if before.base.written != now.base.written {
        lines[0].details.push(format!("was {}, is {}", before.base.written, now.base.written));
    }
    if lines.iter().any(|line| line.changed)
        && let Some(old) = read(bucket, pipeline, before.recipe).await?
        && let Some(new) = read(bucket, pipeline, now.recipe).await?
    {
        for line in lines.iter_mut().filter(|line| line.changed) {
            line.details.extend(match line.input {
                "configuration" => {
                    configuration(&old.0.configuration_inputs(), &new.0.configuration_inputs())
                }
                "tests" => tests(&old.0.test_inputs(), &new.0.test_inputs()),
                "files" => files(&old.1, &new.1),
                _ => Vec::new(),
            });
        }
    }
    Ok(lines)
}

async fn read(
    bucket: &impl Bucket,
    pipeline: &PipelineName,
    version: &Digest,
) -> Result<Option<(Recipe, Files)>> {
    match recipes::recipe_version(bucket, pipeline, version).await {
        Ok((pointer, recipe)) => match recipes::files(bucket, pipeline, &pointer).await {
            Ok(files) => Ok(Some((recipe, files))),
            Err(Error::NoRecipe { .. } | Error::BadRecipe { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        Err(Error::NoRecipe { .. } | Error::BadRecipe { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Each secret with its version.
fn secrets(inputs: &Inputs) -> String {
    let all = inputs.secrets.iter().map(|(name, version)| format!("{name}:{version}"));
    let text = all.collect::<Vec<_>>().join(", ");
    if text.is_empty() { "-".to_owned() } else { text }
}

/// As much of a digest as tells it apart.
fn short(digest: Option<&Digest>) -> String {
    digest.map_or_else(|| "-".to_owned(), |digest| digest.as_str()[..12].to_owned())
}

fn configuration(before: &Value, now: &Value) -> Vec<String> {
    let mut found = keys("artifact", &before["artifact"], &now["artifact"]);
    found.extend(named("step", &before["steps"], &now["steps"]));
    found
}

fn tests(before: &Value, now: &Value) -> Vec<String> {
    let mut found = named("test", &before["tests"], &now["tests"]);
    if before["boot"] != now["boot"] {
        found.push(format!("validate.boot: {} → {}", before["boot"], now["boot"]));
    }
    found
}

/// What differs between the files of two versions, a line for each file.
pub fn files(before: &Files, now: &Files) -> Vec<String> {
    let paths: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
    let told = paths.into_iter().filter_map(|path| match (before.get(path), now.get(path)) {
        (None, _) => Some(format!("`{path}` is new")),
        (_, None) => Some(format!("`{path}` is gone")),
        (Some(a), Some(b)) if a.sha256 != b.sha256 => Some(format!("`{path}` has another content")),
        (Some(a), Some(b)) if a.mode != b.mode => {
            Some(format!("`{path}` has mode {:o}, had {:o}", b.mode, a.mode))
        }
        (Some(_), Some(_)) => None,
    });
    told.collect()
}

/// Steps or tests, told apart by their name.
fn named(kind: &str, before: &Value, now: &Value) -> Vec<String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let (before, now) = (list(before), list(now));
    let name = |value: &Value| value["name"].as_str().unwrap_or_default().to_owned();
    let find = |list: &[Value], wanted: &str| list.iter().find(|one| name(one) == wanted).cloned();
    let mut found = Vec::new();
    for one in &now {
        let name = name(one);
        match find(&before, &name) {
            None => found.push(format!("{kind} `{name}` is new")),
            Some(old) => found.extend(keys(&format!("{kind} `{name}`"), &old, one)),
        }
    }
    let gone = before.iter().filter(|one| find(&now, &name(one)).is_none());
    found.extend(gone.map(|one| format!("{kind} `{}` is gone", name(one))));
    if found.is_empty() && before != now {
        found.push(format!("the order of the {kind}s changed"));
    }
    found
}

/// The keys below which two values differ, each with its older and its newer value.
fn keys(what: &str, before: &Value, now: &Value) -> Vec<String> {
    let mut found = Vec::new();
    differing(before, now, &mut Vec::new(), &mut found);
    let told = found.into_iter().map(|(key, before, now)| {
        let key = if key.is_empty() { key } else { format!(" {key}") };
        format!("{what}{key}: {} → {}", shown(before), shown(now))
    });
    told.collect()
}

/// A key with its older and its newer value.
type Changed<'v> = (String, &'v Value, &'v Value);

fn differing<'v>(before: &'v Value, now: &'v Value, at: &mut Vec<String>, found: &mut Vec<Changed<'v>>) {
    match (before, now) {
        (Value::Object(a), Value::Object(b)) if seconds(before).is_none() => {
            for key in a.keys().chain(b.keys().filter(|key| !a.contains_key(*key))) {
                at.push(key.clone());
                differing(a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null), at, found);
                at.pop();
            }
        }
        (a, b) if a != b => found.push((as_written(at), a, b)),
        _ => {}
    }
}

/// A key as a recipe has it: `http.body-contains`. What only our types have between a step and its keys is left out.
fn as_written(path: &[String]) -> String {
    // Below these, keys are names that people chose.
    let chosen = path
        .iter()
        .position(|key| matches!(key.as_str(), "environment" | "secrets" | "facts" | "headers" | "json"));
    let own = chosen.map_or(path.len(), |at| at + 1);
    let ours = |(place, key): &(usize, &String)| {
        *place == 0 && matches!(key.as_str(), "action" | "check")
            || *place > 0 && *place < own && *key == "run"
    };
    let keys = path.iter().enumerate().filter(|one| !ours(one));
    let keys = keys.map(|(place, key)| if place < own { key.replace('_', "-") } else { key.clone() });
    keys.collect::<Vec<_>>().join(".")
}

/// A duration, as serde writes one.
fn seconds(value: &Value) -> Option<f64> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    Some(fields.get("secs")?.as_f64()? + fields.get("nanos")?.as_f64()? / 1e9)
}

/// How much of a value is shown: a script can be long, and what changed is most often told by its beginning.
const SHOWN: usize = 80;

/// A value in a few words: a text in backticks on one line, nothing as `-`.
fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "-".to_owned(),
        Value::String(text) => text.clone(),
        other @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            return seconds(other).map_or_else(|| cut(&other.to_string()), |time| format!("{time} s"));
        }
    };
    format!("`{}`", cut(&text.split_whitespace().collect::<Vec<_>>().join(" ")))
}

fn cut(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod unit {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_step_is_told_by_its_name_and_the_key_that_changed() {
        let before = json!({"artifact": {"to": "/opt/a"}, "steps": [
            {"name": "user", "action": {"shell": {"run": "useradd a"}}, "only_if": "true",
             "environment": {"A_B": "1"}, "timeout": {"secs": 60, "nanos": 0}},
            {"name": "old", "action": {"shell": {"run": "x"}}},
        ]});
        let now = json!({"artifact": {"to": "/opt/b"}, "steps": [
            {"name": "new", "action": {"shell": {"run": "x"}}},
            {"name": "user", "action": {"shell": {"run": "useradd b"}}, "only_if": null,
             "environment": {"A_B": "2"}, "timeout": {"secs": 90, "nanos": 500_000_000}},
        ]});
        assert_eq!(
            configuration(&before, &now),
            [
                "artifact to: `/opt/a` → `/opt/b`",
                "step `new` is new",
                "step `user` shell: `useradd a` → `useradd b`",
                "step `user` environment.A_B: `1` → `2`",
                "step `user` only-if: `true` → -",
                "step `user` timeout: 60 s → 90.5 s",
                "step `old` is gone",
            ]
        );
        let turned = json!({"artifact": {"to": "/opt/a"}, "steps": [before["steps"][1], before["steps"][0]]});
        assert_eq!(configuration(&before, &turned), ["the order of the steps changed"]);
        assert!(configuration(&now, &now).is_empty());
    }

    #[test]
    fn files_are_told_by_their_path() {
        let facts = |content: &str, mode| recipes::FileFacts {
            sha256: crate::domain::digest::sha256(content.as_bytes()),
            mode,
        };
        let before = Files::from([
            ("a".to_owned(), facts("1", 0o644)),
            ("b".to_owned(), facts("2", 0o644)),
            ("c".to_owned(), facts("3", 0o644)),
        ]);
        let now = Files::from([
            ("a".to_owned(), facts("x", 0o644)),
            ("b".to_owned(), facts("2", 0o755)),
            ("d".to_owned(), facts("3", 0o644)),
        ]);
        assert_eq!(
            files(&before, &now),
            ["`a` has another content", "`b` has mode 755, had 644", "`c` is gone", "`d` is new"]
        );
    }
}
