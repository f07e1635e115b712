//! Whether an upload starts a bake.

use jiff::SignedDuration;

use super::{
    Check, Finding, Severity,
    facts::{Facts, OfStack},
    seen,
};
use crate::{domain::error::Result, ports::Rule};

const NAME: &str = "uploads";

/// S3 takes about five minutes to begin with its events (Amazon S3 user guide, "Enabling Amazon EventBridge").
const BEGINS: SignedDuration = SignedDuration::from_mins(6);

pub(super) fn uploads(facts: &Facts) -> Check {
    let (Some(of), Ok(stack)) = (&facts.of_stack, &facts.stack) else {
        return Check::new(NAME, "unknown", Vec::new());
    };
    let mut findings = told(of, &stack.bucket);
    findings.extend(rules(
        &of.triggers,
        Severity::Fails,
        "no rule leads from uploads to the bake state machine",
        "no upload starts a bake, or no push of a recipe is registered",
    ));
    let young = stack.since.filter(|since| facts.now.duration_since(*since) < BEGINS && !facts.local);
    if let Some(since) = young {
        findings.push(Finding::weaker(
            format!("the stack was deployed {} ago", crate::views::age(since, facts.now)),
            "After the first deploy, S3 takes about five minutes before it tells of uploads; what comes earlier starts no bake",
            "Wait, then upload; `ovenbird bake PIPELINE` starts one by hand",
        ));
    }
    let by = of.triggers.as_ref().map(|rules| names(rules)).unwrap_or_default();
    Check::new(NAME, format!("to {}{by}", stack.bucket), findings)
}

fn names(rules: &[Rule]) -> String {
    rules.iter().map(|rule| format!(", rule {}", rule.name)).collect()
}

fn told(of: &OfStack, bucket: &str) -> Vec<Finding> {
    match seen(&of.uploads) {
        Err(findings) => findings,
        Ok(true) => Vec::new(),
        Ok(false) => vec![Finding::fails(
            format!("bucket {bucket} doesn't tell EventBridge of uploads"),
            "no upload starts a bake",
            format!(
                "aws s3api put-bucket-notification-configuration --bucket {bucket} \
                 --notification-configuration '{{\"EventBridgeConfiguration\": {{}}}}' (it replaces what is set there)"
            ),
        )],
    }
}

/// What is wrong with the rules that lead somewhere: there is `none`, or one is disabled. `why` says what comes of it.
pub(super) fn rules(look: &Result<Vec<Rule>>, severity: Severity, none: &str, why: &str) -> Vec<Finding> {
    let finding = |what: String, fix: String| Finding { severity, what, why: why.to_owned(), fix };
    match seen(look).map(Vec::as_slice) {
        Err(findings) => findings,
        Ok([]) => vec![finding(none.to_owned(), "make deploy".to_owned())],
        Ok(rules) => rules
            .iter()
            .filter(|rule| !rule.is_enabled)
            .map(|rule| {
                let fix = format!("aws events enable-rule --name {}", rule.name);
                finding(format!("rule {} is disabled", rule.name), fix)
            })
            .collect(),
    }
}
