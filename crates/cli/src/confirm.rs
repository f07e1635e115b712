//! Destroying asks first: people see the plan, and say yes by `--yes` or at the terminal.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::Args;
use ovenbird_core::domain::plain::plain;

/// How far a command that destroys may go.
#[derive(Debug, Clone, Copy, Args)]
pub struct Confirm {
    /// Do it without asking
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
}

impl Confirm {
    /// Whether to go on. It asks only a person who sees what is asked about, and who has not answered yet: a program
    /// that reads JSON is not asked.
    pub fn agrees(self, question: &str, json: bool) -> bool {
        if self.dry_run || self.yes || json {
            return self.yes;
        }
        if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
            return false;
        }
        asked(question)
    }
}

/// Whether the person at the terminal says yes; anything else is a no, and so is a question that can't be shown.
pub fn asked(question: &str) -> bool {
    let mut answer = String::new();
    let mut stderr = std::io::stderr();
    let shown = write!(stderr, "{} [y/N] ", plain(question));
    let read =
        shown.and_then(|()| stderr.flush()).and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
