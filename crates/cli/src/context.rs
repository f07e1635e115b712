//! `ovenbird.toml`: which account a folder's commands talk to, so that nobody has to name it each time.
//!
//! It is looked for in this folder and in those above it. What is typed goes before everything; a context that is named goes
//! before the environment, and one that the file chose by itself after it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use clap::{ArgMatches, parser::ValueSource};
use ovenbird_core::{Error, Result, domain::id::PipelineName};
use serde::Deserialize;

use crate::target::Target;

/// The file's name.
const NAME: &str = "ovenbird.toml";

/// Variables by which AWS's own tools choose a profile, or a key in its place.
const PROFILE: &[&str] = &["AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID"];

/// Variables by which AWS's own tools choose a Region.
const REGION: &[&str] = &["AWS_REGION", "AWS_DEFAULT_REGION"];

/// What the file says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// The pipeline that a command means which names none.
    pipeline: Option<PipelineName>,
    /// The context of commands that name none.
    default: Option<String>,
    /// The contexts by their names.
    #[serde(default)]
    context: BTreeMap<String, Context>,
}

/// One place where a stack is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    /// Whether it is the local cloud.
    #[serde(default)]
    local: bool,
    /// The local cloud's port.
    port: Option<u16>,
    /// The profile of the AWS configuration.
    profile: Option<String>,
    /// The Region.
    region: Option<String>,
    /// The stack's name.
    stack: Option<String>,
}

/// What was typed and what the environment says, as far as it chooses an account.
#[derive(Debug)]
pub struct Typed<'m> {
    matches: &'m ArgMatches,
    /// Whether the command is about the local cloud alone.
    is_local: bool,
    /// Whether the environment has a variable that isn't empty.
    has: fn(&str) -> bool,
}

impl<'m> Typed<'m> {
    /// What was typed.
    pub fn new(matches: &'m ArgMatches, is_local: bool) -> Self {
        Self { matches, is_local, has: |name| std::env::var_os(name).is_some_and(|value| !value.is_empty()) }
    }

    fn flag(&self, name: &str) -> bool {
        self.matches.value_source(name) == Some(ValueSource::CommandLine)
    }

    /// Whether an option is free for a context: nobody said something stronger.
    fn is_free(&self, name: &str, variables: &[&str], named: bool) -> bool {
        let in_environment = self.matches.value_source(name) == Some(ValueSource::EnvVariable)
            || variables.iter().any(|variable| (self.has)(variable));
        !self.flag(name) && (named || !in_environment)
    }

    /// Whether it is said that the local cloud is meant, or AWS; none when nothing says so.
    fn means_local(&self, named: bool, target: &Target) -> Option<bool> {
        if self.is_local || self.flag("local") {
            return Some(true);
        }
        if self.flag("profile") || self.flag("region") {
            return Some(false);
        }
        let said = self.matches.value_source("local") == Some(ValueSource::EnvVariable);
        (said && !named).then_some(target.local)
    }
}

/// Fills in what the folder's file says. Without a file and without `--context`, nothing changes.
pub fn apply(target: &mut Target, typed: &Typed<'_>) -> Result<()> {
    let here = std::env::current_dir().unwrap_or_default();
    let found = find(&here).map_err(|(path, error)| unreadable(&path, error.to_string()))?;
    match found {
        Some((path, text)) => {
            let file = toml::from_str(&text).map_err(|error| unreadable(&path, error.to_string()))?;
            fill(target, typed, &path, file)
        }
        None => match &target.context {
            Some(name) => Err(Error::bad_input(
                format!("context `{name}`"),
                format!("can't be looked up: there is no {NAME} in this folder or above it"),
                "Go to the folder that has one, or write one: docs/operating.md, \"Contexts\"",
            )),
            None => Ok(()),
        },
    }
}

/// The names of the contexts that the folder's file has; none without a file that can be read.
pub fn names() -> Vec<String> {
    let here = std::env::current_dir().unwrap_or_default();
    let text = find(&here).ok().flatten().map(|(_, text)| text).unwrap_or_default();
    toml::from_str::<File>(&text).map(|file| file.context.into_keys().collect()).unwrap_or_default()
}

/// The nearest file, with its text.
fn find(here: &Path) -> std::result::Result<Option<(PathBuf, String)>, (PathBuf, io::Error)> {
    for folder in here.ancestors() {
        let path = folder.join(NAME);
        match fs::read_to_string(&path) {
            Ok(text) => return Ok(Some((path, text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err((path, error)),
        }
    }
    Ok(None)
}

fn unreadable(path: &Path, problem: String) -> Error {
    let keys = "`pipeline`, `default`, and `[context.NAME]` with `profile`, `region`, `stack`, or `local` and `port`";
    Error::bad_input(path.display().to_string(), problem, format!("It may have {keys}"))
}

fn fill(target: &mut Target, typed: &Typed<'_>, path: &Path, mut file: File) -> Result<()> {
    target.pipeline = file.pipeline;
    let named = target.context.is_some();
    let Some(name) = target.context.clone().or(file.default) else { return Ok(()) };
    let names: Vec<_> = file.context.keys().map(|name| format!("`{name}`")).collect();
    let Some(context) = file.context.remove(&name) else {
        let known = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let fix = format!("Choose one of these, or add `[context.{name}]`");
        return Err(Error::bad_input(
            format!("context `{name}`"),
            format!("is not in {}, which has {known}", path.display()),
            fix,
        ));
    };
    let of_aws = context.profile.is_some() || context.region.is_some();
    if context.local && of_aws || !context.local && context.port.is_some() {
        return Err(unreadable(
            path,
            format!("context `{name}` is of the local cloud and of AWS at the same time"),
        ));
    }
    if typed.means_local(named, target).is_some_and(|local| local != context.local) {
        let (is, means) = match context.local {
            true => ("of the local cloud", "AWS"),
            false => ("of AWS", "the local cloud"),
        };
        return match named {
            true => Err(Error::bad_input(
                format!("context `{name}`"),
                format!("is {is}, and what you typed means {means}"),
                "Leave one of them out",
            )),
            // The file's own choice is for those who say nothing.
            false => Ok(()),
        };
    }
    target.local = context.local;
    let free = |option: &str, variables: &[&str]| typed.is_free(option, variables, named);
    if let Some(port) = context.port.filter(|_| free("port", &[])) {
        target.port = port;
    }
    if let Some(stack) = context.stack.filter(|_| free("stack", &[])) {
        target.stack = stack;
    }
    if free("profile", PROFILE) {
        target.profile = context.profile;
    }
    if free("region", REGION) {
        target.region = context.region;
    }
    target.chosen = Some(format!("context {name} of {}", path.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory as _, FromArgMatches as _};

    use super::*;
    use crate::command::Cli;

    const FILE: &str = r#"
pipeline = "storefront"
default = "staging"
[context.staging]
profile = "acme-staging"
region = "eu-central-1"
[context.production]
profile = "acme"
stack = "images"
[context.here]
local = true
port = 4700
"#;

    fn with(text: &str, typed: &[&str], has: fn(&str) -> bool, is_local: bool) -> Result<Target> {
        let matches = Cli::command()
            .mut_args(|argument| argument.env(None))
            .get_matches_from([&["ovenbird"], typed, &["list"]].concat());
        let mut target = Cli::from_arg_matches(&matches).expect("a command").target;
        let file = toml::from_str(text).map_err(|error| unreadable(Path::new(NAME), error.to_string()))?;
        fill(&mut target, &Typed { matches: &matches, is_local, has }, Path::new(NAME), file)?;
        Ok(target)
    }

    fn told(target: Result<Target>) -> String {
        let Target { local, port, profile, region, stack, .. } =
            target.unwrap_or_else(|error| panic!("{error}"));
        let (profile, region) = (profile.unwrap_or_default(), region.unwrap_or_default());
        format!(
            "{} {profile} {region} {stack}",
            if local { format!("local {port}") } else { "AWS".to_owned() }
        )
    }

    #[test]
    fn a_context_fills_in_what_nobody_said() {
        let nothing = |_: &str| false;
        let typed = |typed: &[&str]| told(with(FILE, typed, nothing, false));
        assert_eq!(typed(&[]), "AWS acme-staging eu-central-1 ovenbird");
        assert_eq!(typed(&["--context", "production"]), "AWS acme  images");
        assert_eq!(typed(&["--context", "here"]), "local 4700  ovenbird".replace("  ", "   "));
        assert_eq!(typed(&["--profile", "mine"]), "AWS mine eu-central-1 ovenbird");
        assert_eq!(typed(&["--stack", "two", "--context", "production"]), "AWS acme  two");
        // What is typed means the local cloud: the file's own choice, which is of AWS, says nothing of it.
        assert_eq!(typed(&["--local"]), "local 4566   ovenbird");
        assert_eq!(told(with(FILE, &[], nothing, true)), "AWS   ovenbird");
        let target = with(FILE, &[], nothing, false).expect("a target");
        assert_eq!(target.pipeline.as_ref().map(PipelineName::as_str), Some("storefront"));
    }

    #[test]
    fn the_environment_is_stronger_than_the_files_choice_and_weaker_than_a_named_context() {
        let region = |name: &str| name == "AWS_REGION";
        assert_eq!(told(with(FILE, &[], region, false)), "AWS acme-staging  ovenbird");
        // A key of CI's own is an account, too.
        let key = |name: &str| name == "AWS_ACCESS_KEY_ID";
        assert_eq!(told(with(FILE, &[], key, false)), "AWS  eu-central-1 ovenbird");
        assert_eq!(
            told(with(FILE, &["--context", "staging"], |_| true, false)),
            "AWS acme-staging eu-central-1 ovenbird"
        );
    }

    #[test]
    fn a_context_that_is_not_there_or_of_another_cloud_is_refused() {
        let refused = |text: &str, typed: &[&str], is_local: bool| {
            with(text, typed, |_| false, is_local).expect_err("refused").to_string()
        };
        for (typed, is_local, words) in [
            (&["--context", "prod"][..], false, "which has `here`, `production`, `staging`"),
            (
                &["--context", "production", "--local"],
                false,
                "is of AWS, and what you typed means the local cloud",
            ),
            (&["--context", "production"], true, "is of AWS"),
            (
                &["--context", "here", "--profile", "x"],
                false,
                "is of the local cloud, and what you typed means AWS",
            ),
        ] {
            let said = refused(FILE, typed, is_local);
            assert!(said.contains(words), "{typed:?}: {said}");
        }
        for (text, words) in [
            ("stack = \"x\"", "unknown field `stack`"),
            ("default = \"a\"", "which has none"),
            ("default = \"a\"\n[context.a]\nlocal = true\nprofile = \"x\"", "at the same time"),
            ("pipeline = \"No Name\"", "pipeline"),
        ] {
            let said = refused(text, &[], false);
            assert!(said.contains(words), "{text:?}: {said}");
        }
    }
}
