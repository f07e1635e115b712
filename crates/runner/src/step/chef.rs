//! `chef`: Chef Infra Client in local mode, without a server.
//!
//! Checked by contract: a stand-in program that takes these arguments and files and no others, after Chef's own
//! documentation and source. Chef itself is in few distributions' repositories, and in none that the tests can reach.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use ovenbird_core::domain::{recipe::Chef, report::Exit};
use serde_json::Value;

use super::{Try, package::Extras, tool};

const TOOL: tool::Tool = tool::Tool {
    name: "Chef",
    program: "chef-client",
    folders: &["/opt/chef/bin", "/opt/cinc/bin"],
    packages: &["chef"],
    extras: Extras::AsUsual,
};

/// From version 15 on, Chef runs only for who accepts its licence; a recipe that runs Chef does. Nothing is written
/// down for later, so no file of it is in the image. A step's own `CHEF_LICENSE` goes before this.
const LICENSE: (&str, &str) = ("CHEF_LICENSE", "accept-no-persist");

pub fn act(this: &mut Try<'_>, chef: &Chef) -> Result<Exit> {
    let cookbooks = this.machine.source(&chef.cookbooks)?;
    let folder = this.machine.own_folder("chef")?;
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| format!("write {}", path.display())).map(|()| path)
    };
    let config = write("client.rb", configuration(&folder, &cookbooks))?;
    let node = write("node.json", node(chef))?;
    let program = tool::find(this, &TOOL, chef.install)?;
    let mut command = this.command_with(program, &[LICENSE])?;
    // The formatter is for people; without a terminal Chef would give its own log instead.
    command.args(["--local-mode", "--no-color", "--force-formatter"]);
    command.arg("--config").arg(config).arg("--json-attributes").arg(node);
    let exit = this.run(command)?;
    Ok(judge(exit, this.step.reboot))
}

/// Chef's caches and the node's object stay in our folder. Roles and data bags are looked for beside the cookbooks.
fn configuration(folder: &Path, cookbooks: &Path) -> String {
    let ruby = |path: &Path| path.display().to_string().replace('\\', "\\\\").replace('\'', "\\'");
    format!(
        "cookbook_path ['{}']\ncache_path '{}'\nnode_path '{}'\nlog_location STDOUT\n",
        ruby(cookbooks),
        ruby(&folder.join("cache")),
        ruby(&folder.join("nodes")),
    )
}

/// Attributes and run list in one document: as an option, a run list's items would be cut at their commas.
fn node(chef: &Chef) -> String {
    let mut node = chef.attributes.clone();
    node.insert("run_list".to_owned(), chef.run_list.iter().cloned().map(Value::from).collect());
    Value::Object(node).to_string()
}

/// What Chef's exit statuses mean (its RFC 062).
fn judge(exit: Exit, reboot: bool) -> Exit {
    match exit {
        // It did its work, and wants the boot that follows.
        Exit::Status(35 | 37) if reboot => Exit::Status(0),
        Exit::Status(status @ (35 | 37)) => {
            Exit::Failed(format!("exit {status}: a recipe asks for a reboot; give the step `reboot = true`"))
        }
        Exit::Status(172) => Exit::Failed("exit 172: Chef's licence is not accepted (`CHEF_LICENSE`)".into()),
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

    fn chef() -> Chef {
        let attributes = serde_json::json!({"shop": {"port": 8080, "name": "it's \"ours\""}});
        Chef {
            cookbooks: "chef's cookbooks".into(),
            run_list: vec!["recipe[shop::default]".into(), "recipe[a,b]".into()],
            attributes: attributes.as_object().unwrap().clone(),
            install: false,
        }
    }

    /// Takes exactly the arguments in exactly the order, and reads the two files as Chef would.
    const STAND_IN: &str = r#"
fail() { echo "chef-client: $1" >&2; exit 1; }
[ $# -eq 7 ] || fail "$# arguments"
[ "$1 $2 $3 $4 $6" = "--local-mode --no-color --force-formatter --config --json-attributes" ] || fail "$*"
[ "$CHEF_LICENSE" = accept-no-persist ] || exit 172
for file in "$5" "$7"; do case "$file" in /*) [ -f "$file" ] || fail "no $file";; *) fail "$file";; esac; done
cat "$5" "$7""#;

    #[test]
    fn the_invocation_is_this() {
        let stage = Stage::new();
        stage.write("files/chef's cookbooks/shop/recipes/default.rb", "");
        stage.program("opt/chef/bin/chef-client", STAND_IN);
        let (exit, output) = stage.act(Action::Chef(chef()));
        let own = stage.machine.own("").display().to_string();
        let expected = format!(
            "cookbook_path ['{own}files/chef\\'s cookbooks']\ncache_path '{own}chef/cache'\n\
             node_path '{own}chef/nodes'\nlog_location STDOUT\n"
        );
        let (config, node) = output.split_at(expected.len());
        assert_eq!((&exit, config), (&Exit::Status(0), expected.as_str()), "{output}");
        let node: Value = serde_json::from_str(node).unwrap();
        let wanted = serde_json::json!({
            "shop": {"port": 8080, "name": "it's \"ours\""},
            "run_list": ["recipe[shop::default]", "recipe[a,b]"],
        });
        assert_eq!(node, wanted);
    }

    #[test]
    fn a_missing_chef_is_told() {
        let stage = Stage::new();
        stage.write("files/chef's cookbooks/shop/recipes/default.rb", "");
        let (exit, _) = stage.act(Action::Chef(chef()));
        assert!(exit.to_string().contains("no `chef-client`: set `install = true`"), "{exit}");
        stage.program("usr/bin/dnf", "echo 'No match for argument: chef'; exit 1\n");
        let (exit, _) = stage.act(Action::Chef(Chef { install: true, ..chef() }));
        assert!(exit.to_string().contains("could not install `chef` (exit 1)"), "{exit}");
    }

    #[test]
    fn exit_statuses_are_told_apart() {
        for (status, words) in [(1, "exit 1"), (35, "reboot"), (172, "licence")] {
            let stage = Stage::new();
            stage.write("files/chef's cookbooks/shop/recipes/default.rb", "");
            stage.program("usr/bin/chef-client", &format!("exit {status}\n"));
            let (exit, _) = stage.act(Action::Chef(chef()));
            assert!(!exit.is_success() && exit.to_string().contains(words), "{exit}");
        }
    }
}
