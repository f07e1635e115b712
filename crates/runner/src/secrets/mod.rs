//! Secrets of steps: `SecureString` parameters, read on the builder itself with its own role.
//!
//! They are in no plan, no report and no log; they live in this program's memory, in the environment of the step
//! that asked for them, and where a tool wants a file, in one of a file system that is memory.

pub mod imds;
mod sigv4;
mod ssm;

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::sys::{
    prctl,
    resource::{Resource, setrlimit},
};
use ovenbird_core::domain::id::ParameterName;
use secrecy::{ExposeSecret as _, SecretString};

use self::imds::Identity;
use crate::mask::{Mask, SHORTEST};

/// How often something is asked before it counts as out of order, and how long after the first try the second is.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// Reads secrets, each once.
#[derive(Debug)]
pub struct Secrets {
    endpoint: Option<String>,
    identity: Option<Identity>,
    known: BTreeMap<ParameterName, SecretString>,
    mask: Mask,
}

impl Secrets {
    /// Nothing is asked before the first secret is wanted: most recipes have none.
    pub fn new(endpoint: Option<String>) -> Self {
        Self { endpoint, identity: None, known: BTreeMap::new(), mask: Mask::default() }
    }

    /// The value of a parameter.
    pub fn read(&mut self, name: &ParameterName) -> Result<SecretString> {
        if let Some(secret) = self.known.get(name) {
            return Ok(secret.clone());
        }
        let read = || -> Result<(Identity, SecretString)> {
            let identity = match &self.identity {
                Some(identity) => identity.clone(),
                None => Identity::of_machine().context("ask the instance metadata service")?,
            };
            let secret = ssm::parameter(&identity, self.endpoint.as_deref(), name)?;
            Ok((identity, secret))
        };
        let (identity, secret) = read().with_context(|| format!("secret `{name}`"))?;
        let letters = secret.expose_secret().trim().chars().count();
        ensure!(
            letters >= SHORTEST,
            "secret `{name}` has {letters} characters, and one of fewer than {SHORTEST} can't be hidden in outputs: make \
             it longer, or put it into `environment` if it is no secret"
        );
        self.identity = Some(identity);
        self.mask.add(&secret);
        self.known.insert(name.clone(), secret.clone());
        Ok(secret)
    }

    /// What hides every secret that was read so far: a step may leave one where a later one, or a test, finds it.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }
}

/// Keeps what is in this program's memory, and what it gives to steps, out of core dumps and from other users.
pub fn protect() -> Result<()> {
    // 1 and not 0: a handler that the kernel pipes a dump into is started whatever the limit is, but for this value.
    setrlimit(Resource::RLIMIT_CORE, 1, 1).context("forbid core dumps")?;
    prctl::set_dumpable(false).context("forbid core dumps")
}

/// What a try came to.
enum Tried<T> {
    Done(T),
    /// It may go better a moment later.
    Busy(anyhow::Error),
}

/// Tries again while the other side is busy or not there.
fn patiently<T>(mut ask: impl FnMut() -> Result<Tried<T>>) -> Result<T> {
    let mut pause = PAUSE;
    for _ in 1..TRIES {
        match ask()? {
            Tried::Done(done) => return Ok(done),
            Tried::Busy(_) => thread::sleep(pause),
        }
        pause *= 2;
    }
    match ask()? {
        Tried::Done(done) => Ok(done),
        Tried::Busy(error) => Err(error.context(format!("{TRIES} tries"))),
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// In a process of its own: a limit can't be taken back.
    #[test]
    fn nothing_is_dumped() {
        const INNER: &str = "OVENBIRD_TEST_PROTECT";
        if std::env::var_os(INNER).is_some() {
            protect().unwrap();
            assert!(!prctl::get_dumpable().unwrap());
            let limits = Command::new("cat").arg("/proc/self/limits").output().unwrap();
            println!("{}", String::from_utf8_lossy(&limits.stdout));
            return;
        }
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "secrets::tests::nothing_is_dumped", "--nocapture"]).env(INNER, "1");
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let limit = text.lines().find(|line| line.starts_with("Max core file size")).unwrap_or_default();
        let limits: Vec<&str> = limit.split_whitespace().skip(4).collect();
        assert!(output.status.success() && limits == ["1", "1", "bytes"], "{text}");
    }
}
