//! The chef recipe of the fixtures, with a stand-in for Chef that takes exactly what Chef's documentation says.

use std::{fs, path::Path};

use ovenbird_core::domain::{
    recipe::Recipe,
    report::{Exit, ProvisionReport},
};

use super::{cloud::World, verbs};

/// It reads the two files as Chef would: the node's document for what to run, the configuration for where that is.
const STAND_IN: &str = r#"
fail() { echo "chef-client: $1" >&2; exit 1; }
[ $# -eq 7 ] || fail "$# arguments"
[ "$1 $2 $3 $4 $6" = "--local-mode --no-color --force-formatter --config --json-attributes" ] || fail "$*"
[ "$CHEF_LICENSE" = accept-no-persist ] || exit 172
[ "$(sed 's/ .*//' "$5" | tr '\n' ' ')" = "cookbook_path cache_path node_path log_location " ] || fail "settings"
[ "$(cat "$7")" = '{"run_list":["recipe[shop::default]"],"shop":{"greeting":"hello","port":8097}}' ] || fail "node"
cookbooks=$(sed -n "s/^cookbook_path \['\(.*\)'\]$/\1/p" "$5")
for file in metadata.rb attributes/default.rb recipes/default.rb templates/shop.conf.erb; do
  [ -f "$cookbooks/shop/$file" ] || fail "no $cookbooks/shop/$file"
done
case "$(sed -n "s/^cache_path '\(.*\)'$/\1/p" "$5")" in */var/lib/ovenbird/chef/*) ;; *) fail "cache" ;; esac
echo "Running handlers complete"
"#;

#[test]
fn chef_is_given_the_recipe_s_cookbooks() {
    let world = World::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/provisioners/chef");
    let text = fs::read_to_string(folder.join("recipe.toml")).unwrap();
    let recipe = Recipe::parse_pushed(&text).unwrap();
    let mut files = Vec::new();
    for source in recipe.sources() {
        collect(&folder, Path::new(&source), &mut files);
    }
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    let mut plan = world.plan(recipe.steps);
    plan.bundle = Some(verbs::upload_files(&world, &files));
    world.program("opt/chef/bin/chef-client", STAND_IN);
    let output = world.run("provision", &plan);
    assert!(output.status.success(), "{output:?}");
    let report: ProvisionReport = serde_json::from_str(&world.object("provision.json")).unwrap();
    let shop = report.steps.last().unwrap();
    assert_eq!((&shop.exit, shop.output_tail.as_str()), (&Exit::Status(0), "Running handlers complete"));
}

fn collect(folder: &Path, source: &Path, files: &mut Vec<(String, String)>) {
    let path = folder.join(source);
    if path.is_file() {
        files.push((source.to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap()));
        return;
    }
    for entry in fs::read_dir(path).unwrap() {
        collect(folder, &source.join(entry.unwrap().file_name()), files);
    }
}
