//! `[[step]]`: what a step does and how it is run.

use super::name;
use crate::domain::recipe::{
    Action, Ansible, Beside, Chef, Content, Puppet, Step, Unit,
    mistake::quoted,
    reader::{Fields, Reader},
    step::{HIERA_DATA, folder},
};

pub(super) fn step(reader: &mut Reader<'_>, mut step: Fields, index: usize) -> Option<Step> {
    let kind = step.choice?;
    variables(reader, &step, kind);
    let environment = step.map("environment").unwrap_or_default();
    let secrets = step.map("secrets").unwrap_or_default();
    for name in secrets.keys().filter(|name| environment.contains_key(*name)) {
        let problem = format!("`{name}` is in `environment` and in `secrets`");
        reader.wrong(&step.place("secrets"), problem, "Keep it in one of the two");
    }
    let secrets = secrets.into_iter().filter_map(|(name, parameter)| Some((name, parameter.parse().ok()?)));
    let action = match kind {
        "shell" => step.text(kind).map(|run| Action::Shell { run }),
        "package" => step.texts(kind).map(|names| Action::Package { names }),
        "script" => step.table(kind).and_then(|table| script(reader, table)),
        "file" => step.table(kind).and_then(|table| file(reader, table)),
        "service" => step.table(kind).and_then(|table| service(reader, table)),
        "puppet" => step.table(kind).and_then(|table| puppet(reader, table)),
        "chef" => step.table(kind).and_then(|table| chef(reader, table)),
        "ansible" => step.table(kind).and_then(|table| ansible(reader, table)),
        _ => None,
    };
    Some(Step {
        name: name(&mut step, index, kind),
        action: action?,
        timeout: step.time("timeout")?,
        environment,
        secrets: secrets.collect(),
        only_if: step.text("only-if"),
        retries: step.number("retries")?,
        reboot: step.flag("reboot")?,
    })
}

/// A value that nothing reads is a mistake, not a wish granted in silence.
fn variables(reader: &mut Reader<'_>, step: &Fields, kind: &str) {
    let hint = match kind {
        "service" => "Give the service its own by `unit = { environment = { … } }`",
        "file" => "Leave it out, or write the file in a `shell` step",
        _ => return,
    };
    for key in ["environment", "secrets"].into_iter().filter(|key| step.given(key)) {
        reader.wrong(&step.place(key), format!("a `{kind}` step reads no `{key}`"), hint);
    }
}

fn script(reader: &mut Reader<'_>, mut script: Fields) -> Option<Action> {
    let args = script.texts("args").unwrap_or_default();
    let interpreter = script.texts("interpreter").unwrap_or_default();
    let source = script.text("source")?;
    // Other interpreters read what Windows writes; a shell takes it for a part of its commands.
    let program = interpreter.first().map(|program| program.rsplit('/').next().unwrap_or(program));
    if program.is_none_or(|program| SHELLS.contains(&program)) {
        flaw(reader, &script, &source);
    }
    Some(Action::Script { source, args, interpreter })
}

const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "ksh", "zsh"];

/// A file that Linux could not run, however good what follows is.
fn flaw(reader: &mut Reader<'_>, fields: &Fields, source: &str) {
    if let Some(Beside::File(head)) = reader.beside(source)
        && let Some((what, hint)) = head.flaw()
    {
        reader.wrong(&fields.place("source"), format!("{} {what}", quoted(source)), hint);
    }
}

fn file(reader: &mut Reader<'_>, mut file: Fields) -> Option<Action> {
    let (source, mode) = (file.text("source"), file.mode("mode")?);
    if let Some(source) = source.as_ref().filter(|_| mode & 0o111 != 0) {
        flaw(reader, &file, source);
    }
    let content = file.text("content").map(Content::Inline);
    let content = content.or(source.map(Content::Source));
    let owner = file.text("owner");
    Some(Action::File { to: file.text("to")?, content: content?, mode, owner })
}

fn service(reader: &mut Reader<'_>, mut service: Fields) -> Option<Action> {
    let name = service.text("name")?;
    if name.ends_with(".service") {
        reader.wrong(&service.place("name"), "`name` ends with `.service`", "Leave `.service` out");
    }
    let unit = service.table("unit").and_then(unit);
    Some(Action::Service { name, unit, enabled: service.flag("enabled")?, started: service.flag("started")? })
}

fn unit(mut unit: Fields) -> Option<Unit> {
    Some(Unit {
        exec: unit.text("exec")?,
        user: unit.text("user"),
        working_directory: unit.text("working-directory"),
        environment: unit.map("environment").unwrap_or_default(),
        after: unit.texts("after").unwrap_or_default(),
    })
}

fn puppet(reader: &mut Reader<'_>, mut puppet: Fields) -> Option<Action> {
    let hiera = puppet.text("hiera");
    let lone = hiera.as_ref().is_some_and(|path| folder(path).is_none());
    if lone && reader.beside(HIERA_DATA).is_some_and(|found| found != Beside::Folder) {
        let hint = "Put its data into `data` beside it, or both into a folder of their own";
        reader.wrong(&puppet.place("hiera"), "`hiera` has no folder `data` beside it", hint);
    }
    Some(Action::Puppet(Puppet {
        manifest: puppet.text("manifest")?,
        modules: puppet.text("modules"),
        hiera,
        facts: puppet.map("facts").unwrap_or_default(),
        install: puppet.flag("install")?,
    }))
}

fn chef(reader: &mut Reader<'_>, mut chef: Fields) -> Option<Action> {
    let cookbooks = chef.text("cookbooks");
    let run_list = chef.texts("run-list").unwrap_or_default();
    let lone = cookbooks.as_ref().is_some_and(|path| folder(path).is_none());
    if lone && run_list.iter().any(|entry| entry.starts_with("role[")) {
        let problem = "a role is looked for beside the cookbooks, and nothing is pushed there";
        let hint =
            "Put cookbooks and roles into a folder: `cookbooks = \"chef/cookbooks\"`, and `chef/roles`";
        reader.wrong(&chef.place("run-list"), problem, hint);
    }
    Some(Action::Chef(Chef {
        cookbooks: cookbooks?,
        run_list,
        attributes: chef.json("attributes").unwrap_or_default().into_iter().collect(),
        install: chef.flag("install")?,
    }))
}

fn ansible(reader: &mut Reader<'_>, mut ansible: Fields) -> Option<Action> {
    let (install, full) = (ansible.flag("install")?, ansible.flag("full")?);
    if full && !install {
        let problem = "`full` says what is installed, and nothing is";
        reader.wrong(&ansible.place("full"), problem, "Add `install = true`, or leave `full` out");
    }
    Some(Action::Ansible(Ansible {
        playbook: ansible.text("playbook")?,
        roles: ansible.text("roles"),
        variables: ansible.json("variables").unwrap_or_default().into_iter().collect(),
        vault_password: ansible.id("vault-password"),
        install,
        full,
    }))
}
