//! `ansible`: a playbook, run on the machine by itself.

use std::fs;

use anyhow::{Context as _, Result};
use ovenbird_core::domain::{recipe::Ansible, report::Exit};
use serde_json::Value;

use super::{Try, memory::MemoryFile, package::Extras, tool};

const TOOL: tool::Tool = tool::Tool {
    name: "Ansible",
    program: "ansible-playbook",
    folders: &["/opt/ansible/bin", "/root/.local/bin"],
    packages: &["ansible-core", "ansible"],
    // Debian's recommends every collection there is: thirty times its own size, and minutes.
    extras: Extras::None,
};

/// The same with the collections of Ansible's community, which half of all public roles need.
const FULL: tool::Tool = tool::Tool { packages: &["ansible"], ..TOOL };

/// Where the base may have collections of its own.
const COLLECTIONS: &str = "/usr/share/ansible/collections:/etc/ansible/collections";

/// Where the base may have roles of its own.
const ROLES: &str = "/usr/share/ansible/roles:/etc/ansible/roles";

pub fn act(this: &mut Try<'_>, ansible: &Ansible) -> Result<Exit> {
    let playbook = this.machine.source(&ansible.playbook)?;
    // All that Ansible leaves is in our folder, and gone with the seal.
    let folder = this.machine.own_folder("ansible")?;
    let at = |name: &str| folder.join(name).display().to_string();
    let beside = |name: &str| playbook.with_file_name(name);
    let settings = Some(beside("ansible.cfg")).filter(|path| path.is_file());
    // Where the recipe says nothing, the playbook's own settings do.
    let roles = match &ansible.roles {
        Some(roles) => Some(format!("{}:{ROLES}", this.machine.source(roles)?.display())),
        None => settings.is_none().then(|| ROLES.to_owned()),
    };
    let collections = Some(beside("collections")).filter(|path| path.is_dir());
    let own = [
        ("ANSIBLE_CONFIG", settings.map(|path| path.display().to_string())),
        ("ANSIBLE_ROLES_PATH", roles),
        ("ANSIBLE_COLLECTIONS_PATH", collections.map(|path| format!("{}:{COLLECTIONS}", path.display()))),
    ];
    let variables = at("variables.json");
    fs::write(&variables, Value::Object(ansible.variables.clone()).to_string())
        .with_context(|| format!("write {variables}"))?;
    let program = match ansible.full {
        true => tool::bring(this, &FULL)?,
        false => tool::find(this, &TOOL, ansible.install)?,
    };
    let (home, temporary) = (at("home"), at("tmp"));
    let usual = [
        ("ANSIBLE_HOME", home.as_str()),
        ("ANSIBLE_LOCAL_TEMP", &temporary),
        ("ANSIBLE_REMOTE_TEMP", &temporary),
        ("ANSIBLE_NOCOLOR", "1"),
        ("ANSIBLE_RETRY_FILES_ENABLED", "0"),
        ("ANSIBLE_PYTHON_INTERPRETER", "auto_silent"),
        // A play for hosts that are not there would do nothing, and that is no success.
        ("ANSIBLE_HOST_PATTERN_MISMATCH", "error"),
    ];
    let own = own.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
    let usual: Vec<(&str, &str)> = usual.into_iter().chain(own).collect();
    let mut command = this.command_with(program, &usual)?;
    command.args(["--inventory", "localhost,", "--connection", "local"]);
    command.args(["--extra-vars", &format!("@{variables}")]);
    let password = match &this.unlocked.vault_password {
        Some(secret) => Some(MemoryFile::new("vault", secret)?),
        None => None,
    };
    if let Some(file) = &password {
        command.arg("--vault-password-file").arg(file.path());
    }
    command.arg(playbook);
    let exit = this.run(command)?;
    Ok(judge(exit))
}

/// What Ansible's exit statuses mean.
fn judge(exit: Exit) -> Exit {
    match exit {
        Exit::Status(2) => Exit::Failed("exit 2: tasks failed".into()),
        Exit::Status(4) => {
            Exit::Failed("exit 4: the playbook could not be read, or the machine not be reached".into())
        }
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
    use std::path::Path;

    use ovenbird_core::domain::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn ansible() -> Ansible {
        Ansible {
            playbook: "site.yml".into(),
            roles: Some("roles".into()),
            variables: serde_json::json!({"port": 8080}).as_object().unwrap().clone(),
            vault_password: None,
            install: false,
            full: false,
        }
    }

    fn stage() -> Stage {
        let stage = Stage::new();
        stage.write("files/site.yml", "");
        stage.write("files/roles/shop/tasks/main.yml", "");
        stage
    }

    #[test]
    fn the_invocation_is_this() {
        let stage = stage();
        let script = "printf '%s\\n' \"$@\" \"$ANSIBLE_ROLES_PATH\"; cat \"${6#@}\"\n";
        stage.program("usr/bin/ansible-playbook", script);
        let (exit, output) = stage.act(Action::Ansible(ansible()));
        assert_eq!(exit, Exit::Status(0), "{output}");
        let own = stage.machine.own("").display().to_string();
        let expected = format!(
            "--inventory\nlocalhost,\n--connection\nlocal\n--extra-vars\n@{own}ansible/variables.json\n\
             {own}files/site.yml\n{own}files/roles:{ROLES}\n{{\"port\":8080}}"
        );
        assert_eq!(output, expected);
    }

    #[test]
    fn what_lies_beside_the_playbook_is_used() {
        let stage = stage();
        let script = "echo \"$ANSIBLE_CONFIG|$ANSIBLE_COLLECTIONS_PATH|$ANSIBLE_ROLES_PATH\"\n";
        stage.program("usr/bin/ansible-playbook", script);
        let own = stage.machine.own("files").display().to_string();
        assert_eq!(stage.act(Action::Ansible(ansible())).1, format!("||{own}/roles:{ROLES}"));
        let mut step = Ansible { playbook: "play/site.yml".into(), ..ansible() };
        for file in ["play/site.yml", "play/ansible.cfg", "play/collections/ansible_collections/a/b/x"] {
            stage.write(&format!("files/{file}"), "");
        }
        let (cfg, collections) =
            (format!("{own}/play/ansible.cfg"), format!("{own}/play/collections:{COLLECTIONS}"));
        let (_, seen) = stage.act(Action::Ansible(step.clone()));
        assert_eq!(seen, format!("{cfg}|{collections}|{own}/roles:{ROLES}"));
        step.roles = None;
        let (_, seen) = stage.act(Action::Ansible(step));
        assert_eq!(seen, format!("{cfg}|{collections}|"), "the playbook's own settings name its roles");
    }

    #[test]
    fn the_whole_package_is_brought_though_the_small_one_is_there() {
        let stage = stage();
        stage.program("usr/bin/ansible-playbook", "echo played\n");
        stage.program("usr/bin/apk", "echo \"$*\" | sed 's/--wait [0-9]*/--wait/'\n");
        let full = Ansible { install: true, full: true, ..ansible() };
        let (exit, output) = stage.act(Action::Ansible(full.clone()));
        assert_eq!((exit, output.as_str()), (Exit::Status(0), "add --update-cache --wait ansible\nplayed"));
        assert_eq!(stage.act(Action::Ansible(Ansible { full: false, ..full.clone() })).1, "played");
        stage.program("usr/bin/apk", "exit 1\n");
        let (exit, _) = stage.act(Action::Ansible(full));
        assert!(exit.to_string().contains("could not install `ansible` (exit 1)"), "{exit}");
    }

    #[test]
    fn the_vault_s_password_is_in_memory_and_in_no_argument() {
        let stage = stage();
        let script = "while [ $# -gt 1 ]; do case \"$1\" in --vault-password-file) file=$2;; esac; shift; done\n\
                      echo \"$file\"; stat -c %a \"$file\"; cat \"$file\"\n";
        stage.program("usr/bin/ansible-playbook", script);
        let (exit, output) = stage.act_with(Action::Ansible(ansible()), Some("hunter2"));
        let lines: Vec<&str> = output.lines().collect();
        assert_eq!((exit, &lines[1..]), (Exit::Status(0), &["600", "hunter2"][..]), "{output}");
        assert!(lines[0].starts_with("/run/") || lines[0].starts_with("/dev/shm/"), "{output}");
        assert!(!Path::new(lines[0]).exists(), "it stayed");
    }

    #[test]
    fn exit_statuses_are_told_apart() {
        for (status, words) in [(1, "exit 1"), (2, "tasks failed"), (4, "could not be read")] {
            let stage = stage();
            stage.program("usr/bin/ansible-playbook", &format!("exit {status}\n"));
            let (exit, _) = stage.act(Action::Ansible(ansible()));
            assert!(!exit.is_success() && exit.to_string().contains(words), "{exit}");
        }
    }
}
