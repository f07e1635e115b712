//! A recipe that has everything, one of few words, and what must hold of all.

mod docs;
mod grammar;
mod mistakes;
mod mistakes_of_tests;
mod properties;
mod schema;

use super::*;

/// A recipe as most are.
const WHOLE: &str = r#"
pipeline = "storefront"
[base]
newest = { owner = "136693071363", name = "debian-12-amd64-*" }
[builder]
instance-types = ["c7i.large"]
[artifact]
to = "/opt/storefront/app.jar"
[[step]]
shell = "useradd --system storefront"
[[step]]
name = "service"
service = { name = "storefront", unit = { exec = "/usr/bin/java -jar /opt/storefront/app.jar", user = "storefront" } }
[[test]]
name = "serves"
http = { url = "http://127.0.0.1:8080/", within = "60s" }
[[test]]
port = 8080
[promote]
channel = "production"
"#;

/// A recipe with every key in every form.
const FULL: &str = include_str!("full.toml");

fn parse(text: &str) -> Recipe {
    Recipe::parse_pushed(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// The mistakes of a recipe with nothing beside it.
fn errors(text: &str) -> String {
    Recipe::parse("recipe.toml", text, &|_| Beside::Nothing).unwrap_err().to_string()
}

/// A recipe around some tables of steps and tests.
fn around(tables: &str) -> String {
    let test = if tables.contains("[[test]]") { "" } else { "[[test]]\nport = 80\n" };
    format!(
        "pipeline = \"a\"\n[base]\nimage = \"ami-0123456789abcdef0\"\n[promote]\nchannel = \"c\"\n{test}{tables}\n"
    )
}

#[test]
fn a_whole_recipe_is_understood() {
    let recipe = parse(WHOLE);
    assert_eq!(recipe.steps.len(), 2);
    assert_eq!(recipe.tests[0].within, Duration::from_secs(60));
    let retain = Retain { newest: 5, days: 30, history: 1, soak: 7, retire_shared: false };
    assert_eq!(recipe.retain, retain);
    let place = Placement::To("/opt/storefront/app.jar".into());
    assert_eq!(recipe.artifact, Some(Artifact { place, mode: None, owner: None, names: None }));
    // What had no `mode` and `owner` has the digest that it had before there were any.
    let written = serde_json::to_string(&recipe.artifact).unwrap();
    assert_eq!(written, r#"{"to":"/opt/storefront/app.jar"}"#);
}

#[test]
fn every_key_is_understood() {
    let recipe = parse(FULL);
    let first = &recipe.steps[0];
    assert_eq!(first.timeout, Duration::from_secs(90));
    assert_eq!(
        (first.environment["NAME"].as_str(), first.environment["EMPTY"].as_str()),
        ("store front", "")
    );
    assert_eq!((first.secrets["TOKEN"].as_str(), first.retries), ("/storefront/token", 2));
    assert!(first.reboot && !recipe.steps[1].reboot);
    assert_eq!(first.only_if.as_deref(), Some("! getent passwd storefront"));
    let Action::Script { args, interpreter, .. } = &recipe.steps[2].action else { panic!("no script") };
    assert_eq!((args[1].as_str(), args[2].as_str()), ("a b; $(c)", ""));
    assert_eq!(interpreter, &["python3", "-u"]);
    let Action::Chef(chef) = &recipe.steps[11].action else { panic!("no chef") };
    assert_eq!(chef.attributes["storefront"]["ratio"], 0.5);
    let TestKind::Http(http) = &recipe.tests[0].kind else { panic!("no http") };
    assert_eq!((http.status, http.json["/checks/0"]["ok"].as_bool()), (201, Some(true)));
    assert_eq!(recipe.tests[0].within, Duration::from_secs(60));
    let volume = recipe.builder.volume.unwrap();
    assert_eq!((volume.gib, volume.kind.as_deref(), volume.iops), (Some(20), Some("gp3"), Some(4_000)));
    assert!(recipe.builder.spot && recipe.validate.boot);
}

#[test]
fn a_file_with_the_line_ends_of_windows_is_the_same_recipe() {
    assert_eq!(parse(&FULL.replace('\n', "\r\n")), parse(FULL));
}

#[test]
fn a_step_takes_its_neighbours_along() {
    let sources = parse(FULL).sources();
    let expected = [
        "setup.sh",
        "scripts/setup.py",
        "setup.sh",
        "motd",
        "puppet/site.pp",
        "puppet/modules",
        "puppet",
        "chef",
        "ansible",
        "ansible/roles",
    ];
    assert_eq!(sources, expected);
    let lone = around("[[step]]\npuppet = { manifest = \"site.pp\", hiera = \"hiera.yaml\" }\n");
    assert_eq!(parse(&lone).sources(), ["site.pp", "hiera.yaml", "data"]);
}

#[test]
fn comments_and_the_order_of_keys_do_not_change_the_inputs() {
    let inputs = |text: &str| {
        let recipe = parse(text);
        (recipe.configuration_inputs(), recipe.test_inputs())
    };
    for (one, other) in [
        (
            r#"environment = { NAME = "store front", EMPTY = "" }"#,
            "environment = { EMPTY = '', NAME = \"store front\" } # sorted",
        ),
        (r#"{ port = 8080, ratio = 0.5,"#, "{ ratio = 0.5, port = 8_080,"),
        (r#"{ role = "web server", tier = "1" }"#, r#"{ tier = "1", role = "web server" }"#),
        (r#"variables = { port = 8080, names"#, r#"variables = { port = 0x1f90, names"#),
        (
            r#""/status" = "UP", "/checks/0" = { ok = true }"#,
            r#""/checks/0" = { ok = true }, "/status" = "UP""#,
        ),
        (r#""puppet/modules/""#, r#""puppet//modules""#),
        (r#"timeout = "90s""#, "# 1.5 minutes\ntimeout = '90s'"),
    ] {
        let text = FULL.replace(one, other);
        assert_ne!(text, FULL, "{one}");
        assert_eq!(inputs(&text), inputs(FULL), "{other}");
    }
}

#[test]
fn what_configures_the_machine_and_what_tests_it_are_inputs_of_their_own() {
    let inputs = |text: &str| {
        let recipe = parse(text);
        (recipe.configuration_inputs(), recipe.test_inputs())
    };
    let (configuration, tests) = inputs(FULL);
    // Words of the digest: others would bake every image once more.
    let words = parse(FULL).test_inputs();
    assert!(words["tests"][0]["check"]["http"]["url"].is_string(), "{words}");
    for change in [
        ("useradd", "adduser"),
        ("store front", "storefront"),
        ("EMPTY = \"\"", "EMPTZ = \"\""),
        ("/storefront/token", "/storefront/other"),
        ("TOKEN", "TOKEM"),
        ("ratio = 0.5", "ratio = 0.6"),
        ("unpack-to = \"/opt/storefront\"", "unpack-to = \"/opt/shop\""),
        ("owner = \"storefront\"\n\n[[step]]", "\n[[step]]"),
        ("retries = 2", "retries = 3"),
        ("reboot = true", "reboot = false"),
    ] {
        let text = FULL.replace(change.0, change.1);
        assert_ne!(text, FULL, "{change:?}");
        assert_ne!(inputs(&text).0, configuration, "{change:?}");
        assert_eq!(inputs(&text).1, tests, "{change:?}");
    }
    for change in [("status = 201", "status = 202"), ("\nboot = true", "\nboot = false")] {
        let text = FULL.replace(change.0, change.1);
        assert_eq!(inputs(&text).0, configuration, "{change:?}");
        assert_ne!(inputs(&text).1, tests, "{change:?}");
    }
    for change in [("spot = true", "spot = false"), ("newest = 3", "newest = 4"), ("\"20m\"", "\"21m\"")] {
        assert_eq!(inputs(&FULL.replace(change.0, change.1)), (configuration.clone(), tests.clone()));
    }
}

#[test]
fn the_starter_works_and_so_does_every_key_that_it_offers() {
    let pipeline = PipelineName::parse("shop").unwrap();
    let starter = Recipe::starter(&pipeline);
    assert_eq!(parse(&starter).pipeline, pipeline);
    let judge = schema::Judge::new();
    judge.judge(&starter).unwrap();
    let lines: Vec<&str> = starter.lines().collect();
    let offered =
        |line: &str| line.starts_with('#') && !["", ":", " "].contains(&line.get(1..2).unwrap_or(""));
    let mut count = 0;
    for start in (1..lines.len()).filter(|at| offered(lines[*at]) && !offered(lines[at - 1])) {
        count += 1;
        let end = (start..lines.len()).find(|at| !offered(lines[*at])).unwrap();
        let in_base = lines[..start].iter().rev().find(|line| line.starts_with('[')) == Some(&"[base]");
        let chosen = lines.iter().enumerate().map(|(at, line)| match *line {
            line if (start..end).contains(&at) => &line[1..],
            line if in_base && lines[start].starts_with("#[") => line,
            // Another base is chosen instead of the one that is there.
            line if in_base && line.starts_with("parameter = \"/aws") => "",
            line => line,
        });
        let chosen: String = chosen.flat_map(|line| [line, "\n"]).collect();
        judge.judge(&chosen).unwrap_or_else(|error| panic!("{}: {error}", lines[start]));
        parse(&chosen);
    }
    assert_eq!(count, 9);
}
