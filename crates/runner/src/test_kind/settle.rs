//! How long something must run on before a test believes it.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use ovenbird_core::domain::recipe::TestKind;

/// What was seen to end must then run this long: a service that dies every few seconds runs, too, when it is looked
/// at in a lucky moment, and a test that is tried again has many.
const SUSPECT: Duration = Duration::from_secs(12);

const LOOK: Duration = Duration::from_millis(200);

/// The time that it must run, for all tries of one test together.
#[derive(Debug)]
pub struct Settle {
    needed: Duration,
}

/// One look at what shall run.
pub enum Look<R> {
    /// It runs: which run of it, and since when if that can be told.
    Runs(R, Option<Duration>),
    /// It does not, in words.
    Not(String),
}

impl Settle {
    /// What a test asks for.
    pub fn of(kind: &TestKind) -> Self {
        match kind {
            TestKind::Service { settle, .. } | TestKind::Process { settle, .. } => Self::new(*settle),
            TestKind::Http(_)
            | TestKind::Command { .. }
            | TestKind::Port { .. }
            | TestKind::File { .. }
            | TestKind::Package { .. }
            | TestKind::User { .. } => Self::new(Duration::ZERO),
        }
    }

    pub fn new(needed: Duration) -> Self {
        Self { needed }
    }

    /// How long that is by now.
    #[cfg(test)]
    pub fn needed(&self) -> Duration {
        self.needed
    }

    /// It was seen to end, or was restarted: the next tries ask for more.
    pub fn suspect(&mut self) {
        self.needed = self.needed.max(SUSPECT);
    }

    /// Looks until one and the same run has lasted long enough, and gives it; or until it ends.
    pub fn watch<R>(
        &mut self,
        what: &str,
        mut look: impl FnMut(&mut Self) -> Result<Look<R>>,
        same: impl Fn(&mut R, R) -> bool,
    ) -> Result<R> {
        let start = Instant::now();
        let mut run: Option<R> = None;
        loop {
            let lasted = match (look(self)?, &mut run) {
                (Look::Not(words), None) => bail!("{words}"),
                (Look::Not(words), Some(_)) => {
                    self.suspect();
                    bail!("{words}, after it ran for {:.1} s", start.elapsed().as_secs_f64());
                }
                (Look::Runs(seen, lasted), None) => {
                    run = Some(seen);
                    lasted
                }
                (Look::Runs(seen, lasted), Some(known)) => {
                    if !same(known, seen) {
                        self.suspect();
                        bail!("{what} was restarted while it was looked at: it does not stay up");
                    }
                    lasted
                }
            };
            let lasted = lasted.unwrap_or_default().max(start.elapsed());
            match run.take_if(|_| lasted >= self.needed) {
                Some(run) => return Ok(run),
                None => thread::sleep(LOOK.min(self.needed.saturating_sub(lasted))),
            }
        }
    }
}
