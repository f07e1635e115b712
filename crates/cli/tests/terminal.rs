//! What the command prints in a terminal of 60, 80 and 200 columns and without one, with its exit statuses.

use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Where a program runs.
#[derive(Debug, Clone, Copy)]
enum Where {
    /// In a terminal of so many columns.
    Columns(u16),
    /// Standard output is a pipe.
    Pipe,
}

const PLACES: [Where; 4] = [Where::Columns(60), Where::Columns(80), Where::Columns(200), Where::Pipe];

/// What is typed, by the name of its snapshot. Nothing of it asks a cloud that is there.
const TYPED: &[(&str, &[&str])] = &[
    ("nothing", &[]),
    ("an unknown command", &["stauts"]),
    ("a missing argument", &["rollback"]),
    ("no cloud", &["--local", "list"]),
    ("no local cloud", &["local", "status"]),
    ("an option of both clouds", &["--local", "--profile", "x", "list"]),
    ("a recipe without a mistake", &["recipe", "check", "good.toml"]),
    ("a recipe with a note", &["recipe", "check", "noted.toml"]),
    ("a recipe with mistakes", &["recipe", "check", "bad.toml"]),
    ("mistakes for code scanning", &["recipe", "check", "bad.toml", "--format", "github"]),
    ("help of a command", &["prune", "undo", "--help"]),
];

const GOOD: &str = r#"pipeline = "shop"
base.parameter = "/aws/service/debian/release/12/latest/amd64"
test = [{ name = "it", command = "true" }]
promote.channel = "production"
[[step]]
shell = "true"
"#;

const BAD: &str = r#"pipeline = "Shop"
bsae.parameter = "/aws/service/debian/release/12/latest/amd64"
promote.channel = "production"
[[step]]
shell = "true"
timeout = "soon"
"#;

/// Runs the command; gives its exit status and all that it printed.
fn run(home: &Path, place: Where, arguments: &[&str]) -> (i32, String) {
    let program = env!("CARGO_BIN_EXE_ovenbird");
    let mut command = match place {
        Where::Pipe => {
            let mut command = Command::new("sh");
            command.args(["-c", "exec \"$0\" \"$@\" 2>&1", program]).args(arguments);
            command
        }
        Where::Columns(columns) => {
            let quoted: Vec<String> = arguments.iter().map(|one| format!("'{one}'")).collect();
            let line = format!("stty cols {columns} rows 50; exec '{program}' {}", quoted.join(" "));
            let mut command = Command::new("script");
            command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
            command
        }
    };
    for name in [
        "OVENBIRD_LOCAL",
        "OVENBIRD_STACK",
        "AWS_PROFILE",
        "AWS_ENDPOINT_URL",
        "NO_COLOR",
        "OVENBIRD_PORT",
        "CLICOLOR",
        "COLUMNS",
    ] {
        command.env_remove(name);
    }
    command
        .current_dir(home)
        .env("OVENBIRD_HOME", home)
        .env("TERM", "xterm")
        .env("LANG", "C")
        .stdin(Stdio::null());
    let output = command.output().expect("a program");
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    (output.status.code().expect("a status"), text.replace(&*home.to_string_lossy(), "HOME"))
}

#[test]
fn each_width_has_its_text_and_all_the_same_exit_status() {
    if !Path::new("/usr/bin/script").exists() {
        assert!(std::env::var_os("CI").is_none(), "CI must have `script` (bsdutils)");
        println!("SKIPPED: no /usr/bin/script");
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("good.toml"), GOOD).expect("written");
    std::fs::write(home.path().join("bad.toml"), BAD).expect("written");
    std::fs::write(
        home.path().join("noted.toml"),
        GOOD.replace("shell = \"true\"", "shell = \"sh ./setup.sh\""),
    )
    .expect("written");
    std::fs::write(home.path().join("setup.sh"), "#!/bin/sh\ntrue\n").expect("written");
    for (name, arguments) in TYPED {
        let mut whole = format!("$ ovenbird {}\n", arguments.join(" "));
        let mut statuses = Vec::new();
        for place in PLACES {
            let (status, text) = run(home.path(), place, arguments);
            let head = match place {
                Where::Pipe => "without a terminal".to_owned(),
                Where::Columns(columns) => format!("{columns} columns"),
            };
            if let Where::Pipe = place {
                assert!(!text.contains('\u{1b}'), "{name}: a colour without a terminal: {text}");
            }
            // What points at a place of a recipe is as wide as that, and GitHub reads its own lines.
            if let (Where::Columns(columns), false) = (place, name.contains("mistakes")) {
                let width = usize::from(columns);
                let wide = text.lines().find(|line| !line.contains('\u{1b}') && line.chars().count() > width);
                assert_eq!(wide, None, "{name} at {columns}");
            }
            let shown = console_text(&text);
            whole.push_str(&format!("\n--- {head}: exit status {status}\n{}\n", shown.trim_end()));
            statuses.push(status);
        }
        assert!(statuses.iter().all(|status| *status == statuses[0]), "{name}: {statuses:?}");
        insta::assert_snapshot!(name.replace(' ', "-"), whole);
    }
}

/// A text with its colours in words.
fn console_text(text: &str) -> String {
    text.replace('\u{1b}', "ESC").replace("ESC[0m", "<>")
}

#[test]
fn no_color_means_none() {
    if !Path::new("/usr/bin/script").exists() {
        return;
    }
    let home = tempfile::tempdir().expect("a folder");
    std::fs::write(home.path().join("good.toml"), GOOD).expect("written");
    let (_, coloured) = run(home.path(), Where::Columns(80), &["nonsense"]);
    assert!(coloured.contains('\u{1b}'), "{coloured}");
    let line = format!("NO_COLOR=1 exec '{}' nonsense", env!("CARGO_BIN_EXE_ovenbird"));
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .current_dir(home.path())
        .env("TERM", "xterm")
        .stdin(Stdio::null())
        .output()
        .expect("script");
    assert!(!String::from_utf8_lossy(&output.stdout).contains('\u{1b}'), "{output:?}");
}
