//! Puppet, Chef and Ansible: the tools that a step hands the work to.

use super::{
    Look,
    words::{FACT, RUN_LIST, Wanted, beside, named, parsed, words},
};
use crate::domain::recipe::{
    Action, Ansible, Beside, Chef, Puppet,
    mistake::Source,
    reader::{Table, as_json},
    step::{HIERA_DATA, folder},
};

pub(super) fn puppet(
    source: &mut Source<'_>,
    mut table: Table<'_>,
    look: Option<Look<'_>>,
) -> Option<Action> {
    let manifest = table.need_line(source, "manifest").and_then(|t| beside(source, t, look, Wanted::File));
    let modules = table.line(source, "modules").map(|text| beside(source, text, look, Wanted::Folder));
    let hiera_at = table.place("hiera");
    let hiera = table.line(source, "hiera").map(|text| beside(source, text, look, Wanted::File));
    let lone = hiera.iter().flatten().any(|path| folder(path).is_none());
    if lone && look.is_some_and(|look| look(HIERA_DATA.as_ref()) != Beside::Folder) {
        let hint = "Put its data into `data` beside it, or both into a folder of their own";
        source.wrong(&hiera_at, "`hiera` has no folder `data` beside it", hint);
    }
    let facts = named(source, &mut table, "facts", &FACT, true);
    let install = table.flag(source, "install").unwrap_or(false);
    table.finish(source);
    Some(Action::Puppet(Puppet {
        manifest: manifest?,
        modules: modules.flatten(),
        hiera: hiera.flatten(),
        facts,
        install,
    }))
}

pub(super) fn chef(source: &mut Source<'_>, mut table: Table<'_>, look: Option<Look<'_>>) -> Option<Action> {
    let cookbooks =
        table.need_line(source, "cookbooks").and_then(|t| beside(source, t, look, Wanted::Folder));
    let list_at = table.place("run-list");
    let run_list = table.texts(source, "run-list").unwrap_or_default();
    if run_list.is_empty() {
        let hint = "Add `run-list = [\"recipe[storefront::default]\"]`";
        source.wrong(&list_at, "`chef` has nothing to run", hint);
    }
    let run_list = words(source, run_list, &RUN_LIST);
    let lone = cookbooks.as_ref().is_some_and(|path| folder(path).is_none());
    if lone && run_list.iter().any(|entry| entry.starts_with("role[")) {
        let hint =
            "Put cookbooks and roles into a folder: `cookbooks = \"chef/cookbooks\"`, and `chef/roles`";
        source.wrong(
            &list_at,
            "a role is looked for beside the cookbooks, and nothing is pushed there",
            hint,
        );
    }
    let attributes = json(source, &mut table, "attributes");
    let install = table.flag(source, "install").unwrap_or(false);
    table.finish(source);
    Some(Action::Chef(Chef { cookbooks: cookbooks?, run_list, attributes, install }))
}

pub(super) fn ansible(
    source: &mut Source<'_>,
    mut table: Table<'_>,
    look: Option<Look<'_>>,
) -> Option<Action> {
    let playbook = table.need_line(source, "playbook").and_then(|t| beside(source, t, look, Wanted::File));
    let roles = table.line(source, "roles").map(|text| beside(source, text, look, Wanted::Folder));
    let variables = json(source, &mut table, "variables");
    let vault_password = table.line(source, "vault-password").and_then(|text| parsed(source, text));
    let install = table.flag(source, "install").unwrap_or(false);
    table.finish(source);
    Some(Action::Ansible(Ansible {
        playbook: playbook?,
        roles: roles.flatten(),
        variables,
        vault_password,
        install,
    }))
}

/// Values of any kind by name, as the tool reads them: JSON.
fn json(
    source: &mut Source<'_>,
    table: &mut Table<'_>,
    key: &'static str,
) -> serde_json::Map<String, serde_json::Value> {
    let Some(table) = table.table(source, key) else { return serde_json::Map::new() };
    let pairs =
        table.rest().filter_map(|(name, value)| Some((name.into_inner(), as_json(source, key, value)?)));
    pairs.collect()
}
