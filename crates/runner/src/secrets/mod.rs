//! Secrets of steps: `SecureString` parameters, read on the builder itself with its own role.
//!
//! They are in no plan, no report and no log; they live in this program's memory, in the environment of the step
//! that asked for them, and where a tool wants a file, in one of a file system that is memory.

mod imds;
mod sigv4;
mod ssm;

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::id::ParameterName;
use secrecy::SecretString;

use self::imds::Identity;

/// How often something is asked before it counts as out of order, and how long after the first try the second is.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(500);

/// Reads secrets, each once.
#[derive(Debug)]
pub struct Secrets {
    endpoint: Option<String>,
    identity: Option<Identity>,
    known: BTreeMap<ParameterName, SecretString>,
}

impl Secrets {
    /// Nothing is asked before the first secret is wanted: most recipes have none.
    pub fn new(endpoint: Option<String>) -> Self {
        Self { endpoint, identity: None, known: BTreeMap::new() }
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
        self.identity = Some(identity);
        self.known.insert(name.clone(), secret.clone());
        Ok(secret)
    }
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
