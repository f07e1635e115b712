//! What `recipe check` found, and how it is printed for machines: SARIF for code scanning, and GitHub's workflow commands for annotations.

use clap::ValueEnum;
use ovenbird_core::domain::{
    id::{Digest, PipelineName},
    recipe::RecipeErrors,
};
use serde::Serialize;
use serde_json::{Value, json};

use super::bundle::Bundle;

/// A recipe as checked.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// The pipeline that the recipe names; none with a mistake.
    pipeline: Option<PipelineName>,
    /// The version that a push would make current; none with a mistake.
    version: Option<Digest>,
    /// How many files go with it; none with a mistake.
    files: Option<usize>,
    /// What is no mistake, and may still surprise on the builder.
    notes: Vec<String>,
    /// Every mistake.
    pub mistakes: Vec<Mistake>,
}

/// One mistake of a recipe.
#[derive(Debug, Serialize)]
pub struct Mistake {
    /// The file.
    file: String,
    /// The line, from 1.
    line: usize,
    /// The column in characters, from 1.
    column: usize,
    /// How many characters are meant.
    width: usize,
    /// What is wrong.
    problem: String,
    /// How to make it right.
    hint: String,
}

impl Checked {
    /// One without a mistake.
    pub fn right(bundle: &Bundle) -> Self {
        Self {
            pipeline: Some(bundle.recipe.pipeline.clone()),
            version: Some(bundle.pointer().version),
            files: Some(bundle.files.len()),
            notes: bundle.notes.clone(),
            mistakes: Vec::new(),
        }
    }

    /// One with mistakes.
    pub fn wrong(mistakes: &RecipeErrors) -> Self {
        let mistakes = mistakes.0.iter().map(|one| Mistake {
            file: one.source_name.clone(),
            line: one.line,
            column: one.column,
            width: one.width,
            problem: one.problem.clone(),
            hint: one.hint.clone(),
        });
        let mistakes = mistakes.collect();
        Self { pipeline: None, version: None, files: None, notes: Vec::new(), mistakes }
    }
}

/// How `recipe check` prints what it found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// One JSON document, as `--json` prints it
    Json,
    /// SARIF 2.1.0, as code scanning takes it
    Sarif,
    /// Annotations of GitHub Actions
    Github,
}

/// SARIF 2.1.0: <https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>.
pub fn sarif(checked: &Checked) -> Value {
    let results: Vec<Value> = checked
        .mistakes
        .iter()
        .map(|one| {
            json!({
                "ruleId": "recipe",
                "level": "error",
                "message": { "text": format!("{}. {}", one.problem, one.hint) },
                "locations": [{ "physicalLocation": {
                    "artifactLocation": { "uri": one.file },
                    "region": {
                        "startLine": one.line,
                        "startColumn": one.column,
                        "endColumn": one.column + one.width.max(1),
                    },
                } }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ovenbird",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": [{ "id": "recipe", "shortDescription": { "text": "A mistake in a recipe of Ovenbird" } }],
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

/// Workflow commands, one a line: GitHub shows each beside the line that it is about.
pub fn github(checked: &Checked) -> String {
    let mistakes = checked.mistakes.iter().map(|one| {
        let (file, message) = (property(&one.file), data(&format!("{}. {}", one.problem, one.hint)));
        let end = one.column + one.width.max(1) - 1;
        format!("::error file={file},line={},col={},endColumn={end}::{message}", one.line, one.column)
    });
    let notes = checked.notes.iter().map(|note| format!("::notice::{}", data(note)));
    mistakes.chain(notes).collect::<Vec<_>>().join("\n")
}

/// A message: a line break would end the command.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// A property: these also end it, or begin the next one.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked() -> Checked {
        let mistake = Mistake {
            file: "a,b:c/recipe.toml".into(),
            line: 3,
            column: 5,
            width: 4,
            problem: "unknown key `bsae`\n::error::forged".into(),
            hint: "Did you mean `base`? 100 %".into(),
        };
        Checked {
            pipeline: None,
            version: None,
            files: None,
            notes: vec!["line 1 ends in CR".into()],
            mistakes: vec![mistake],
        }
    }

    #[test]
    fn what_a_recipe_says_forges_no_command_of_github() {
        assert_eq!(
            github(&checked()),
            "::error file=a%2Cb%3Ac/recipe.toml,line=3,col=5,endColumn=8::unknown key `bsae`%0A::error::forged. Did you \
             mean `base`? 100 %25\n::notice::line 1 ends in CR"
        );
    }

    #[test]
    fn sarif_has_each_mistake_with_its_place() {
        let sarif = sarif(&checked());
        let result = &sarif["runs"][0]["results"][0];
        let region = &result["locations"][0]["physicalLocation"]["region"];
        assert_eq!(
            (&region["startLine"], &region["startColumn"], &region["endColumn"]),
            (&json!(3), &json!(5), &json!(9))
        );
        assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"][0]["id"], result["ruleId"]);
    }
}
