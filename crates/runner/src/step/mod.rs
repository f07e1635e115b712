//! Steps: what each kind of action does on the machine.

mod ansible;
mod chef;
mod file;
mod memory;
mod package;
mod puppet;
mod service;
mod shell;
#[cfg(test)]
mod testing;
mod tool;

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use ovenbird_core::domain::{
    recipe::{Action, Step},
    report::Exit,
};
use secrecy::{ExposeSecret as _, SecretString};

use crate::{machine::Machine, mask::Mask, output::Output, process, quiet, secrets::Secrets};

/// A step's secrets, read.
#[derive(Debug, Default)]
pub struct Unlocked {
    environment: BTreeMap<String, SecretString>,
    vault_password: Option<SecretString>,
}

impl Unlocked {
    pub fn read(secrets: &mut Secrets, step: &Step) -> Result<Self> {
        let mut unlocked = Self::default();
        for (name, parameter) in &step.secrets {
            unlocked.environment.insert(name.clone(), secrets.read(parameter)?);
        }
        if let Action::Ansible(ansible) = &step.action
            && let Some(parameter) = &ansible.vault_password
        {
            unlocked.vault_password = Some(secrets.read(parameter)?);
        }
        Ok(unlocked)
    }
}

/// One try of a step: what it has, what it prints to, how long it may take.
#[derive(Debug)]
pub struct Try<'a> {
    machine: &'a Machine,
    step: &'a Step,
    unlocked: &'a Unlocked,
    mask: &'a Mask,
    kept: &'a mut Output,
    until: Instant,
}

impl<'a> Try<'a> {
    /// The time runs from here.
    pub fn begin(
        machine: &'a Machine,
        step: &'a Step,
        unlocked: &'a Unlocked,
        mask: &'a Mask,
        kept: &'a mut Output,
    ) -> Self {
        Self { machine, step, unlocked, mask, kept, until: Instant::now() + step.timeout }
    }

    /// A program with the step's environment, in the folder of the recipe's files.
    fn command(&self, program: impl AsRef<OsStr>) -> Result<Command> {
        self.command_with(program, &[])
    }

    /// The same, with variables that the step's own go before.
    fn command_with(&self, program: impl AsRef<OsStr>, usual: &[(&str, &str)]) -> Result<Command> {
        let mut command = self.machine.command(program);
        command.envs(quiet::apt_config(self.machine));
        command.envs(usual.iter().copied()).envs(&self.step.environment);
        command.envs(self.unlocked.environment.iter().map(|(name, secret)| (name, secret.expose_secret())));
        command.current_dir(self.machine.files()?);
        Ok(command)
    }

    /// Runs a program for as long as the try may still take.
    fn run(&mut self, command: Command) -> Result<Exit> {
        Ok(match process::run(command, self.kept, self.left())? {
            // Of which command the time ran out says little; how much the step had says what to change.
            Exit::TimedOut(_) => Exit::TimedOut(self.step.timeout.as_secs()),
            exit @ (Exit::Status(_)
            | Exit::Signal(_)
            | Exit::Failed(_)
            | Exit::Skipped
            | Exit::Rebooted(_)) => exit,
        })
    }

    /// Whether the machine has a program, by its path, or by its name in the step's own `PATH`.
    fn has(&self, program: &str) -> Result<bool> {
        if program.contains('/') {
            return Ok(self.machine.files()?.join(program).exists());
        }
        let command = self.command(program)?;
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, value)| value);
        Ok(path.is_some_and(|path| std::env::split_paths(path).any(|folder| folder.join(program).exists())))
    }

    fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }
}

/// Does what the step says, once.
pub fn act(this: &mut Try<'_>) -> Result<Exit> {
    match &this.step.action {
        Action::Shell { run } => shell::run(this, run),
        Action::Script { source, args, interpreter } => shell::script(this, source, args, interpreter),
        Action::File { to, content, mode, owner } => file::act(this, to, content, *mode, owner.as_deref()),
        Action::Service { name, unit, enabled, started } => {
            service::act(this, name, unit.as_ref(), *enabled, *started)
        }
        Action::Package { names } => package::act(this, names),
        Action::Puppet(puppet) => puppet::act(this, puppet),
        Action::Chef(chef) => chef::act(this, chef),
        Action::Ansible(ansible) => ansible::act(this, ansible),
    }
}
