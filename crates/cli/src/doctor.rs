//! `ovenbird doctor`: what would make a bake fail, before one does.

use std::fmt::Write as _;

use jiff::Timestamp;
use ovenbird_core::{
    Result,
    views::doctor::{self, Checkup, Finding, Severity},
};

use crate::target::Target;

/// Looks at the account and the stack.
pub async fn run(target: &Target, now: Timestamp) -> Result<Checkup> {
    let (cloud, stack) = target.examined().await?;
    let command = env!("CARGO_PKG_VERSION");
    let facts = doctor::gather(&cloud, &target.stack, stack, command, target.local, now).await;
    Ok(doctor::checkup(&facts))
}

/// One line for each check, and below it what is not as it should be.
pub fn text(checkup: &Checkup) -> String {
    let width = checkup.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in &checkup.checks {
        let mark = match check.worst() {
            None => "ok",
            Some(worst) => word(worst),
        };
        let line = format!("{mark:<7}  {:<width$}  {}", check.name, check.seen);
        let _ = writeln!(text, "{}", line.trim_end());
        for finding in &check.findings {
            let _ = writeln!(text, "{}", told(finding));
        }
    }
    let _ = write!(text, "\n{}", verdict(checkup));
    text
}

/// What stands before a check.
fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Fails => "FAILS",
        Severity::Weaker => "weaker",
        Severity::Unknown => "unknown",
    }
}

fn told(finding: &Finding) -> String {
    let word = word(finding.severity);
    format!(
        "         {word}: {}\n           why: {}\n           fix: {}",
        finding.what, finding.why, finding.fix
    )
}

fn verdict(checkup: &Checkup) -> String {
    let count = |severity| {
        let findings = checkup.checks.iter().flat_map(|check| &check.findings);
        findings.filter(|finding| finding.severity == severity).count()
    };
    let (fails, weaker, unknown) =
        (count(Severity::Fails), count(Severity::Weaker), count(Severity::Unknown));
    if fails + weaker + unknown == 0 {
        return "nothing is wrong".to_owned();
    }
    let would = if checkup.bakes_would_fail { "a bake would fail" } else { "bakes go on" };
    format!("{would}: {fails} to fix first, {weaker} weaker than they should be, {unknown} not seen")
}

#[cfg(test)]
mod tests {
    use ovenbird_core::views::doctor::Check;

    use super::*;

    fn check(name: &str, seen: &str, findings: &[(Severity, &str)]) -> Check {
        let findings = findings.iter().map(|(severity, what)| Finding {
            severity: *severity,
            what: (*what).to_owned(),
            why: "so".to_owned(),
            fix: "do this".to_owned(),
        });
        Check { name: name.to_owned(), seen: seen.to_owned(), findings: findings.collect() }
    }

    #[test]
    fn one_screen_says_what_is_well_and_what_fixes_the_rest() {
        let checks = vec![
            check("account", "user/alice in account 123456789012", &[]),
            check(
                "runner",
                "none",
                &[(Severity::Weaker, "one is old"), (Severity::Fails, "no runner for arm64")],
            ),
        ];
        let checkup = Checkup { stack: "ovenbird".to_owned(), bakes_would_fail: true, checks };
        let expected = [
            "ok       account  user/alice in account 123456789012",
            "FAILS    runner   none",
            "         weaker: one is old",
            "           why: so",
            "           fix: do this",
            "         FAILS: no runner for arm64",
            "           why: so",
            "           fix: do this",
            "",
            "a bake would fail: 1 to fix first, 1 weaker than they should be, 0 not seen",
        ];
        assert_eq!(text(&checkup).lines().collect::<Vec<_>>(), expected);
        let checks = vec![check("account", "user/alice", &[])];
        let checkup = Checkup { stack: "ovenbird".to_owned(), bakes_would_fail: false, checks };
        assert!(text(&checkup).ends_with("nothing is wrong"));
    }
}
