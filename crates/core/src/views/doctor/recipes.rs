//! Whether each pipeline's recipe can be baked: base, runner, instance types, and all that it names.

use std::collections::BTreeMap;

use super::{
    Check, Finding,
    facts::{Deployed, Facts, OfStack, Pipeline},
    is_verdict, seen,
};
use crate::{
    domain::{
        error::{Error, Result},
        id::{ParameterName, PipelineName},
        offer,
        recipe::{Promote, Recipe},
    },
    ports::{Image, ParameterKind},
};

pub(super) fn runner(facts: &Facts) -> Option<Check> {
    const NAME: &str = "runner";
    let of = facts.of_stack.as_ref()?;
    if of.runners.is_empty() {
        return None;
    }
    let mut findings = Vec::new();
    let mut there = Vec::new();
    for (architecture, look) in &of.runners {
        match seen(look) {
            Ok(true) => there.push(architecture.as_str()),
            Ok(false) => {
                let of_it = pipelines(of).iter().filter(|one| architecture_of(one) == Some(architecture));
                let names: Vec<&str> = of_it.map(|one| one.name.as_str()).collect();
                let target = if architecture == "arm64" { "aarch64" } else { "x86_64" };
                findings.push(Finding::fails(
                    format!("no runner for {architecture}, which the base of {} is of", names.join(", ")),
                    "A bake ends before it launches a builder",
                    format!("make push-runner RUNNER_TARGET={target}-unknown-linux-gnu"),
                ));
            }
            Err(unseen) => findings.extend(unseen),
        }
    }
    let seen = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
    Some(Check::new(NAME, seen, findings))
}

fn pipelines(of: &OfStack) -> &[Pipeline] {
    of.pipelines.as_ref().map(Vec::as_slice).unwrap_or_default()
}

fn architecture_of(pipeline: &Pipeline) -> Option<&String> {
    Some(&pipeline.base.as_ref()?.as_ref().ok()?.architecture)
}

/// A check for each pipeline.
pub(super) fn recipes(facts: &Facts) -> Vec<Check> {
    let (Some(of), Ok(stack)) = (&facts.of_stack, &facts.stack) else { return Vec::new() };
    match seen(&of.pipelines).map(Vec::as_slice) {
        Err(findings) => vec![Check::new("pipelines", "unknown", findings)],
        Ok([]) => vec![Check::new("pipelines", "none yet: `ovenbird recipe push`", Vec::new())],
        Ok(all) => all.iter().map(|one| pipeline(one, of, stack, facts.local)).collect(),
    }
}

fn pipeline(one: &Pipeline, of: &OfStack, stack: &Deployed, local: bool) -> Check {
    let name = format!("pipeline {}", one.name);
    let recipe = match &one.recipe {
        Ok(recipe) => recipe,
        Err(error) => return Check::new(name, "no recipe that can be read", vec![judged(error)]),
    };
    let mut findings = Vec::new();
    let base = match &one.base {
        Some(Ok(base)) => {
            findings.extend(types(base, recipe, of));
            format!("base {} ({})", base.id, base.architecture)
        }
        Some(Err(error)) => {
            findings.push(judged(error));
            format!("base {}", recipe.base)
        }
        None => String::new(),
    };
    let channels: Vec<&Promote> = std::iter::once(&recipe.promote).chain(&recipe.channels).collect();
    findings.extend(parameters(&one.name, recipe, &channels, of, stack, local));
    findings.extend(followers(&channels, of));
    Check::new(name, base, findings)
}

/// An error that a bake would end with, or one that hides what it would do.
fn judged(error: &Error) -> Finding {
    if is_verdict(error) {
        Finding::fails(error.to_string(), "A bake ends with this before it launches a builder", error.hint())
    } else {
        Finding::unseen(error)
    }
}

fn types(base: &Image, recipe: &Recipe, of: &OfStack) -> Vec<Finding> {
    let Some(look) = &of.types else { return Vec::new() };
    let known = match seen(look) {
        Ok(known) => known,
        Err(findings) => return findings,
    };
    let wanted = offer::types(&recipe.builder, &base.architecture);
    let mut findings = Vec::new();
    let missing: Vec<&str> =
        wanted.iter().filter(|one| !known.contains_key(*one)).map(String::as_str).collect();
    if !missing.is_empty() {
        let what = format!("this Region has no instance type {}", missing.join(", "));
        let fix = "Name types of this Region: `instance-types` under `[builder]`";
        findings.push(match missing.len() == wanted.len() {
            true => Finding::fails(what, "There is none to launch", fix),
            false => Finding::weaker(what, "There are fewer to fall back to when capacity is short", fix),
        });
    }
    // EC2 calls it a wrong parameter, and no shortage: no other offer is tried after it.
    let other = wanted.iter().find_map(|one| {
        let runs = known.get(one).filter(|runs| !runs.contains(&base.architecture))?;
        Some((one, runs))
    });
    if let Some((one, runs)) = other {
        let runs: Vec<&str> = runs.iter().map(String::as_str).collect();
        let like = if base.architecture == "arm64" { "m7g.large, m6g.large" } else { "m7i.large, m6i.large" };
        findings.push(Finding::fails(
            format!("the base is {}, and instance type {one} runs {}", base.architecture, runs.join(", ")),
            "EC2 refuses the launch",
            format!("Name types of that architecture, like {like}: `instance-types` under `[builder]`"),
        ));
    }
    findings
}

fn parameters(
    pipeline: &PipelineName,
    recipe: &Recipe,
    channels: &[&Promote],
    of: &OfStack,
    stack: &Deployed,
    local: bool,
) -> Vec<Finding> {
    let known = match seen(&of.parameters) {
        Ok(known) => known,
        Err(findings) => return findings,
    };
    let mut findings = Vec::new();
    for name in channels.iter().filter_map(|channel| channel.parameter.as_ref()) {
        findings.extend(known.get(name).filter(|_| !local).and_then(|kind| written(name, kind)));
    }
    if let Some(prefix) = &stack.secrets {
        findings.extend(recipe.secrets_outside(prefix).map(|(step, name)| {
            Finding::fails(
                format!("step `{}` reads {name}, and builders may read below {prefix} alone", step.name),
                "The step fails on the builder",
                format!("Put the parameter below {prefix}, or deploy with another SecretsPrefix"),
            )
        }));
    }
    let mut secrets: BTreeMap<&ParameterName, &str> = BTreeMap::new();
    secrets.extend(recipe.secrets().map(|(step, name)| (name, step.name.as_str())));
    for (name, step) in secrets.into_iter().filter(|(name, _)| !known.contains_key(*name)) {
        findings.push(Finding::fails(
            format!("step `{step}` of {pipeline} reads {name}, which does not exist"),
            "The step fails on the builder",
            format!("aws ssm put-parameter --name {name} --type SecureString --value …"),
        ));
    }
    findings
}

/// What is wrong with a parameter that is there already and that a channel writes.
fn written(name: &ParameterName, kind: &ParameterKind) -> Option<Finding> {
    let again = format!("aws ssm delete-parameter --name {name}; the next promotion makes it as it must be");
    let why =
        "SSM changes neither type nor data type of a parameter: a bake ends before it launches a builder";
    if let Some(problem) = kind.refuses_images() {
        return Some(Finding::fails(format!("parameter {name} {problem}"), why, again));
    }
    if kind.has_policies {
        return Some(Finding::weaker(
            format!("parameter {name} has a policy"),
            "A policy may delete it when it expires, and machines that start by it then don't start",
            again,
        ));
    }
    if kind.tier == "Advanced" {
        return Some(Finding::weaker(
            format!("parameter {name} is of the advanced tier"),
            "It costs money each month, and SSM refuses a write that would make it a standard one; ours names no tier",
            again,
        ));
    }
    None
}

fn followers(channels: &[&Promote], of: &OfStack) -> Vec<Finding> {
    let mut findings = Vec::new();
    for channel in channels {
        for name in &channel.launch_templates {
            findings.extend(there("launch template", name.as_str(), of.templates.get(name)));
        }
        for name in &channel.groups {
            findings.extend(there("Auto Scaling group", name.as_str(), of.groups.get(name)));
        }
    }
    findings
}

fn there(what: &str, name: &str, look: Option<&Result<bool>>) -> Vec<Finding> {
    match look.map(seen) {
        None | Some(Ok(true)) => Vec::new(),
        Some(Ok(false)) => vec![Finding::fails(
            format!("{what} {name} does not exist here"),
            "A bake that is to promote ends before it launches a builder",
            format!("Create {name}, or take it out of the recipe"),
        )],
        Some(Err(findings)) => findings,
    }
}
