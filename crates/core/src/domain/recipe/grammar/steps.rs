//! `[[step]]`: what a step may do, and how.

use super::{
    Kind::{
        self, AnyText, BesideFile, BesideFolder, Flag, Line, List, Names, Number, Program, Table as Of,
        TableOr, Text, Time,
    },
    Need::{Absent, Choice, Default, Needed},
    Table, Values, key,
    rules::{
        ANY, EXEC, FACT, FILE_PATH, MODE, NAME, OWNER, PACKAGE, PARAMETER, PATH, RUN_LIST, SERVICE, UNIT,
        USER, VARIABLE,
    },
};

#[rustfmt::skip]
pub(super) static STEP: Table = Table::one("action", "one step: exactly one action, and how it is run", &[
    key("name", Line(&NAME), Absent("its number and kind: `2 service`"), "what reports call it"),
    key("timeout", Time, Default(r#""600s""#),
        "how long each try may take; then all that it started is killed"),
    key("environment", Kind::map(&VARIABLE, Values::Text), Absent("none"),
        "variables by name. A `file` or `service` step reads none"),
    key("secrets", Kind::map(&VARIABLE, Values::Line(&PARAMETER)), Absent("none"),
        "variables whose values are `SecureString` parameters, by name of the parameter. They are read on \
         the builder with its role, are written to no disk, and are masked in all outputs. See below for \
         where they must be, and what is masked"),
    key("only-if", Text, Absent("always"), "a shell command that must succeed, or the step is left out"),
    key("retries", Number { min: 0, max: 10 }, Default("0"), "how often it is tried again when it fails"),
    key("reboot", Flag, Default("false"),
        "whether the machine boots again after the step, before the next one; the step may also boot it by itself"),
    key("shell", Text, Choice, "runs this text with `/bin/sh -e`"),
    key("script", TableOr("source", &SCRIPT), Choice, "runs a file beside the recipe"),
    key("file", Of(&FILE), Choice, "writes a file"),
    key("service", TableOr("name", &SERVICE_STEP), Choice,
        "sets up a systemd service: writes its unit if one is given, enables it and (re)starts it"),
    key("package", Names(&PACKAGE), Choice,
        "installs packages, groups (`@name`) or package files of the machine with the base's own package manager"),
    key("puppet", Of(&PUPPET), Choice, "applies a Puppet manifest, without a server"),
    key("chef", Of(&CHEF), Choice, "runs Chef in local mode"),
    key("ansible", Of(&ANSIBLE), Choice, "runs an Ansible playbook on the builder itself"),
]);

#[rustfmt::skip]
static SCRIPT: Table = Table::of("a file beside the recipe, to run", &[
    key("source", BesideFile, Needed(r#"`source = "setup.sh"`"#), "its path beside the recipe"),
    key("args", List { items: &ANY, filled: false }, Absent("none"),
        "its arguments, each one word whatever is in it"),
    key("interpreter", Program, Absent("the file's own `#!` line"),
        "the program that runs it, as a text that is split at its spaces, or as a list"),
]);

#[rustfmt::skip]
static FILE: Table = Table::one("content", "a file to write: exactly one of `content` and `source`", &[
    key("to", Line(&FILE_PATH), Needed(r#"`to = "/etc/motd"`"#), "its path on the machine"),
    key("content", AnyText, Choice, "the text it holds; either this or `source`"),
    key("source", BesideFile, Choice, "the file beside the recipe that it is a copy of"),
    key("mode", Line(&MODE), Default(r#""0644""#), "permission bits, in octal"),
    key("owner", Line(&OWNER), Absent("root"), "`user` or `user:group`"),
]);

#[rustfmt::skip]
static SERVICE_STEP: Table = Table::of("a systemd service", &[
    key("name", Line(&SERVICE), Needed(r#"`name = "nginx"`"#), "its name, without `.service`"),
    key("unit", Of(&UNIT_FILE), Absent(""), "the unit to write; without it, the unit must be there already"),
    key("enabled", Flag, Default("true"), "whether it starts at boot"),
    key("started", Flag, Default("true"), "whether it is (re)started now"),
]);

#[rustfmt::skip]
static UNIT_FILE: Table = Table::of("a systemd unit from fields", &[
    key("exec", Line(&EXEC), Needed(r#"`exec = "/usr/bin/java -jar /opt/storefront/app.jar"`"#),
        "the command: systemd's `ExecStart`"),
    key("user", Line(&USER), Absent("a user of its own, without rights"),
        "the user that it runs as; `\"root\"` must be written"),
    key("working-directory", Line(&PATH), Absent("`/`"), "its working folder"),
    key("environment", Kind::map(&VARIABLE, Values::Line(&ANY)), Absent("none"), "variables by name"),
    key("after", List { items: &UNIT, filled: false }, Absent("none"),
        r#"units that it starts after, by their whole names: `"network-online.target"`"#),
]);

#[rustfmt::skip]
static PUPPET: Table = Table::of("`puppet apply`", &[
    key("manifest", BesideFile, Needed(r#"`manifest = "puppet/site.pp"`"#), "the manifest beside the recipe"),
    key("modules", BesideFolder, Absent("none"),
        "the folder of modules beside the recipe; modules that the base brings stay in reach"),
    key("hiera", BesideFile, Absent("none"),
        "Hiera's configuration beside the recipe. Its data goes along: the folder that it is in, or, when \
         it lies beside `recipe.toml`, the folder `data` there"),
    key("facts", Kind::map(&FACT, Values::Line(&ANY)), Absent("none"),
        "facts for the manifest, by name: lower-case letters, digits and `_`"),
    key("install", Flag, Default("false"),
        "installs `puppet-agent` or `puppet` by the base's package manager when it is missing"),
]);

#[rustfmt::skip]
static CHEF: Table = Table::of("`chef-client --local-mode`", &[
    key("cookbooks", BesideFolder, Needed(r#"`cookbooks = "chef/cookbooks"`"#),
        "the folder of cookbooks beside the recipe. In a folder of its own (`chef/cookbooks`), all that is \
         in that goes along: roles, data bags"),
    key("run-list", List { items: &RUN_LIST, filled: true },
        Needed(r#"`run-list = ["recipe[storefront::default]"]`"#),
        "what to run: `recipe[cookbook::recipe]`, `role[name]`"),
    key("attributes", Kind::map(&ANY, Values::Json), Absent("none"), "the node's attributes: any values"),
    key("install", Flag, Default("false"),
        "installs `chef` by the base's package manager when it is missing"),
]);

#[rustfmt::skip]
static ANSIBLE: Table = Table::of("`ansible-playbook` with a local connection", &[
    key("playbook", BesideFile, Needed(r#"`playbook = "ansible/site.yml"`"#),
        "the playbook beside the recipe. In a folder of its own (`ansible/site.yml`), all that is in it \
         goes along: templates, files, group variables, collections, `ansible.cfg`"),
    key("roles", BesideFolder, Absent("none"),
        "the folder of roles beside the recipe; roles that the base brings stay in reach"),
    key("variables", Kind::map(&ANY, Values::Json), Absent("none"), "extra variables: any values"),
    key("vault-password", Line(&PARAMETER), Absent("none"),
        "the `SecureString` parameter with the vault's password; read as `secrets` are"),
    key("install", Flag, Default("false"),
        "installs `ansible-core` or `ansible` by the base's package manager when it is missing"),
    key("full", Flag, Default("false"),
        "with `install`: installs the package `ansible`, which brings the community's collections, also where \
         Ansible is there without them"),
]);
