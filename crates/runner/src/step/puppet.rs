//! `puppet`: applies a manifest on the machine itself, without a server.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::{recipe::Puppet, report::Exit};

use super::{Try, package::Extras, tool};

const TOOL: tool::Tool = tool::Tool {
    name: "Puppet",
    program: "puppet",
    folders: &["/opt/puppetlabs/bin"],
    packages: &["puppet-agent", "puppet"],
    // What they recommend is small, and some facts are made from it.
    extras: Extras::AsUsual,
};

pub fn act(this: &mut Try<'_>, puppet: &Puppet) -> Result<Exit> {
    let facts = facts(puppet)?;
    let manifest = this.machine.source(&puppet.manifest)?;
    let mut words = vec!["apply".to_owned(), "--detailed-exitcodes".into(), "--color=false".into()];
    words.push(format!("--confdir={}", configure(this)?));
    if let Some(modules) = &puppet.modules {
        // The recipe's modules first; those that the base brings stay in reach.
        words.push(format!("--modulepath={}:$basemodulepath", this.machine.source(modules)?.display()));
    }
    if let Some(hiera) = &puppet.hiera {
        words.push(format!("--hiera_config={}", this.machine.source(hiera)?.display()));
    }
    let program = tool::find(this, &TOOL, puppet.install)?;
    let usual: Vec<(&str, &str)> =
        facts.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut command = this.command_with(program, &usual)?;
    command.args(words).arg(manifest);
    let exit = this.run(command)?;
    Ok(judge(exit))
}

/// A configuration of its own, so that all that Puppet leaves (catalogs, reports, certificates) is gone with the seal.
fn configure(this: &Try<'_>) -> Result<String> {
    let folder = this.machine.own_folder("puppet")?;
    let at = folder.display();
    // In the file and not as options: a setting that a version doesn't know is then ignored.
    let settings =
        ["vardir", "ssldir", "rundir", "logdir", "publicdir"].map(|name| format!("{name} = {at}/{name}\n"));
    fs::write(folder.join("puppet.conf"), format!("[main]\n{}", settings.concat()))
        .with_context(|| format!("write {at}/puppet.conf"))?;
    Ok(at.to_string())
}

/// External facts, as Facter takes them from its environment: the one way that every version of it has.
fn facts(puppet: &Puppet) -> Result<Vec<(String, String)>> {
    let variable = |(name, value): (&String, &String)| {
        let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        ensure!(plain && !name.is_empty(), "fact `{name}`: a name is lower-case letters, digits and `_`");
        Ok((format!("FACTER_{name}"), value.clone()))
    };
    puppet.facts.iter().map(variable).collect()
}

/// What an exit status of `--detailed-exitcodes` means.
fn judge(exit: Exit) -> Exit {
    match exit {
        // Nothing to do; all was done.
        Exit::Status(0 | 2) => Exit::Status(0),
        Exit::Status(1) => {
            Exit::Failed("exit 1: the run failed, or the manifest could not be compiled".into())
        }
        Exit::Status(4) => Exit::Failed("exit 4: resources failed".into()),
        Exit::Status(6) => Exit::Failed("exit 6: some resources were changed, and others failed".into()),
        Exit::Status(_)
        | Exit::Signal(_)
        | Exit::TimedOut(_)
        | Exit::Failed(_)
        | Exit::Skipped
        | Exit::Rebooted(_) => exit,
    }
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn puppet() -> Puppet {
        Puppet {
            manifest: "site.pp".into(),
            modules: Some("modules".into()),
            hiera: Some("hiera.yaml".into()),
            facts: [("tier".to_owned(), "web; exit 1".to_owned())].into(),
            install: false,
        }
    }

    fn stage() -> Stage {
        let stage = Stage::new();
        for file in ["files/site.pp", "files/modules/shop/manifests/init.pp", "files/hiera.yaml"] {
            stage.write(file, "");
        }
        stage
    }

    #[test]
    fn the_invocation_is_this() {
        let stage = stage();
        stage.program("opt/puppetlabs/bin/puppet", "printf '%s\\n' \"$@\" \"$FACTER_tier\"; pwd\n");
        let (exit, output) = stage.act(Action::Puppet(puppet()));
        assert_eq!(exit, Exit::Status(0));
        let own = stage.machine.own("").display().to_string();
        let expected = format!(
            "apply\n--detailed-exitcodes\n--color=false\n--confdir={own}puppet\n\
             --modulepath={own}files/modules:$basemodulepath\n--hiera_config={own}files/hiera.yaml\n\
             {own}files/site.pp\nweb; exit 1\n{own}files"
        );
        assert_eq!(output, expected);
    }

    #[test]
    fn exit_statuses_are_told_apart() {
        for (status, success, words) in [
            (0, true, ""),
            (1, false, "compiled"),
            (2, true, ""),
            (4, false, "failed"),
            (6, false, "changed"),
        ] {
            let stage = stage();
            stage.program("usr/bin/puppet", &format!("exit {status}\n"));
            let (exit, _) = stage.act(Action::Puppet(puppet()));
            assert_eq!(exit.is_success(), success, "{status}");
            assert!(exit.to_string().contains(words), "{exit}");
        }
    }

    #[test]
    fn a_missing_puppet_is_told_or_installed() {
        let stage = stage();
        let (exit, _) = stage.act(Action::Puppet(puppet()));
        assert!(exit.to_string().contains("`install = true`"), "{exit}");
        // This base calls the package by its older name.
        let apk = "case \"$*\" in *puppet-agent) echo no such package; exit 1;; esac\n\
                   printf '#!/bin/sh\\necho applied\\n' > $ROOT/usr/bin/puppet; chmod +x $ROOT/usr/bin/puppet\n";
        stage.program("usr/bin/apk", apk);
        let (exit, output) = stage.act(Action::Puppet(Puppet { install: true, ..puppet() }));
        assert_eq!((exit, output.as_str()), (Exit::Status(0), "no such package\napplied"));
    }

    #[test]
    fn a_puppet_that_nobody_has_is_told() {
        let stage = stage();
        stage.program("usr/bin/apk", "exit 1\n");
        let (exit, _) = stage.act(Action::Puppet(Puppet { install: true, ..puppet() }));
        assert!(exit.to_string().contains("could not install `puppet-agent` or `puppet` (exit 1)"), "{exit}");
    }

    #[test]
    fn a_fact_s_name_is_a_name() {
        let stage = stage();
        stage.program("usr/bin/puppet", "");
        let facts = [("a=b".to_owned(), String::new())].into();
        let (exit, _) = stage.act(Action::Puppet(Puppet { facts, ..puppet() }));
        assert!(exit.to_string().contains("fact `a=b`"), "{exit}");
    }
}
