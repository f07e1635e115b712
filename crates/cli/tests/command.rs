//! The command as a person types it, where there is no cloud.

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn command(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ovenbird"));
    command.args(arguments).current_dir(home).env("OVENBIRD_HOME", home).stdin(Stdio::null());
    for name in ["OVENBIRD_LOCAL", "OVENBIRD_STACK", "OVENBIRD_CONTEXT", "AWS_PROFILE", "AWS_ENDPOINT_URL"] {
        command.env_remove(name);
    }
    // Nobody's account is asked: the key is none, and nothing listens where SSM would be.
    command
        .env("AWS_ACCESS_KEY_ID", "none")
        .env("AWS_SECRET_ACCESS_KEY", "none")
        .env("AWS_REGION", "us-east-1");
    command.env("AWS_CONFIG_FILE", "/dev/null").env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_ENDPOINT_URL_SSM", "http://127.0.0.1:1").env("AWS_MAX_ATTEMPTS", "1");
    command
}

fn said(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[test]
fn an_empty_endpoint_is_none_as_for_awss_own_tools() {
    let home = tempfile::tempdir().expect("a folder");
    let output = command(home.path(), &["list"]).env("AWS_ENDPOINT_URL", "").output().expect("ovenbird");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("can't be reached") && !said(&output).contains("panicked"),
        "{}",
        said(&output)
    );
}

#[test]
fn doctor_says_what_is_wrong_where_nothing_answers_and_a_script_sees_it() {
    let home = tempfile::tempdir().expect("a folder");
    let doctor = |more: &[&str]| {
        let mut command = command(home.path(), &[&["doctor"], more].concat());
        command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1").output().expect("ovenbird")
    };
    let output = doctor(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    for words in
        ["FAILS    account", "can't be reached", "could not look: ec2:DescribeVpcs", "a bake would fail"]
    {
        assert!(said(&output).contains(words), "no {words:?} in {}", said(&output));
    }
    let output = doctor(&["--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let checkup: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(checkup["bakes_would_fail"], true, "{checkup}");
    assert_eq!(checkup["checks"][0]["findings"][0]["severity"], "fails", "{checkup}");
}

#[test]
fn a_profile_means_aws_whatever_the_environment_says() {
    let home = tempfile::tempdir().expect("a folder");
    let output = command(home.path(), &["list", "--profile", "nobody"]).env("OVENBIRD_LOCAL", "1").output();
    let output = output.expect("ovenbird");
    assert!(said(&output).contains("AWS"), "{}", said(&output));
    assert!(!said(&output).contains("no local cloud was ever started"), "{}", said(&output));
    let output =
        command(home.path(), &["list", "--profile", "nobody", "--local"]).output().expect("ovenbird");
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    assert!(said(&output).contains("pass one of them"), "{}", said(&output));
}

/// What a request was signed with: its `Authorization`. Whoever asks gets no answer.
fn signature(ask: impl FnOnce(&str)) -> String {
    use std::io::Read as _;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    let heard = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("somebody asks");
        let mut request = vec![0; 16 << 10];
        let length = stream.read(&mut request).expect("a request");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    ask(&endpoint);
    let request = heard.join().expect("a request");
    let line = request.lines().find(|line| line.to_lowercase().starts_with("authorization:"));
    line.unwrap_or_else(|| panic!("unsigned: {request}")).to_owned()
}

/// The SDK alone prefers a key of the environment, and would act in another account than the one that was named.
#[test]
fn a_profile_or_a_context_that_is_named_goes_before_a_key_of_the_environment() {
    let home = tempfile::tempdir().expect("a folder");
    let aws = home.path().join("aws");
    let keys = "[acme]\naws_access_key_id = AKIDOFACME\naws_secret_access_key = secret\n";
    std::fs::write(&aws, keys).expect("written");
    let context = "default = \"a\"\n[context.a]\nprofile = \"acme\"\nregion = \"eu-north-1\"\n";
    std::fs::write(home.path().join("ovenbird.toml"), context).expect("written");
    let inner = home.path().join("a/folder/below");
    std::fs::create_dir_all(&inner).expect("made");
    let asked = |arguments: &[&str], with_key: bool| {
        signature(|endpoint| {
            let mut command = command(home.path(), arguments);
            command.current_dir(&inner).env("AWS_ENDPOINT_URL_SSM", endpoint);
            command.env("AWS_SHARED_CREDENTIALS_FILE", &aws).env_remove("AWS_REGION");
            if !with_key {
                command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
            }
            command.output().expect("ovenbird");
        })
    };
    for (arguments, with_key, signed) in [
        (&["list", "--profile", "acme"][..], true, ("AKIDOFACME", "eu-north-1")),
        (&["list", "--profile", "acme", "--region", "eu-west-3"], true, ("AKIDOFACME", "eu-west-3")),
        (&["--context", "a", "list"], true, ("AKIDOFACME", "eu-north-1")),
        // The file's own choice, where nobody said anything; a key in the environment says something.
        (&["list"], false, ("AKIDOFACME", "eu-north-1")),
        (&["list"], true, ("none", "eu-north-1")),
    ] {
        let authorization = asked(arguments, with_key);
        let (key, region) = signed;
        assert!(authorization.contains(&format!("Credential={key}/")), "{arguments:?}: {authorization}");
        assert!(authorization.contains(&format!("/{region}/ssm/")), "{arguments:?}: {authorization}");
    }
}

#[test]
fn a_context_that_can_t_be_used_is_told_before_anything_is_asked() {
    let home = tempfile::tempdir().expect("a folder");
    let refused = |arguments: &[&str], words: &str| {
        let output = command(home.path(), arguments).output().expect("ovenbird");
        assert_eq!(output.status.code(), Some(1), "{}", said(&output));
        assert!(said(&output).contains(words), "no {words:?} in {}", said(&output));
    };
    refused(&["list", "--context", "a"], "there is no ovenbird.toml in this folder or above it");
    std::fs::write(home.path().join("ovenbird.toml"), "[context.a]\nprofle = \"x\"\n").expect("written");
    refused(&["list"], "unknown field `profle`");
    refused(&["list", "--json"], "\"name\": \"BadInput\"");
    // What talks to no account doesn't mind.
    assert!(command(home.path(), &["completions", "bash"]).status().expect("run").success());
    std::fs::write(home.path().join("ovenbird.toml"), "pipeline = \"shop\"\n").expect("written");
    refused(&["explain", "--local"], "no local cloud was ever started");
    refused(&["list", "--context", "a"], "which has none");
}

#[test]
fn shells_complete_it_and_man_shows_it() {
    let home = tempfile::tempdir().expect("a folder");
    for (arguments, words) in [
        (
            &["completions", "bash"][..],
            &["OVENBIRD_COMPLETE=\"bash\"", "-F _clap_complete_ovenbird ovenbird"][..],
        ),
        (&["completions", "zsh"], &["#compdef ovenbird"]),
        (&["completions", "fish"], &["complete --keep-order --exclusive --command ovenbird"]),
        (&["man"], &[".TH ovenbird", ".SH \"ovenbird bake\"", "keep\\-builder"]),
    ] {
        let output = command(home.path(), arguments).output().expect("ovenbird");
        assert!(output.status.success(), "{arguments:?}: {}", said(&output));
        for word in words {
            assert!(said(&output).contains(word), "{arguments:?}: no {word:?}");
        }
    }
}

/// What a shell is told when somebody types this much and asks.
fn completed(home: &Path, words: &[&str]) -> Vec<String> {
    let mut command = command(home, &[&["--", "ovenbird"], words].concat());
    command.env("OVENBIRD_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
    command.env("_CLAP_IFS", "\n");
    let output = command.output().expect("ovenbird");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "it tells something beside what is typed");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn a_shell_completes_options_and_contexts_and_is_silent_where_no_account_answers() {
    let home = tempfile::tempdir().expect("a folder");
    assert_eq!(completed(home.path(), &["bake", "--no-p"]), ["--no-promote"]);
    assert_eq!(completed(home.path(), &["recipe", "rev"]), ["revert"]);
    let contexts = "[context.staging]\nprofile = \"a\"\n[context.production]\nprofile = \"b\"\n";
    std::fs::write(home.path().join("ovenbird.toml"), contexts).expect("written");
    assert_eq!(completed(home.path(), &["--context", "s"]), ["staging"]);
    // Nothing answers at the address of Systems Manager, and no local cloud was ever started.
    for words in
        [&["show", "storefront-5"][..], &["--local", "show", "storefront-5"], &["local", "shell", "i-0"]]
    {
        assert_eq!(completed(home.path(), words), [""; 0], "{words:?}");
    }
}

#[test]
fn a_recipe_of_a_template_is_checked_and_shown_with_its_values() {
    let home = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let template = "pipeline = \"${var.name}\" # a service\nbase.channel = \"runtime/stable\"\npromote.channel = \"production\"\n\
                    [[test]]\nport = \"${var.port}\"\n";
    write("service.toml", template);
    write("cart/recipe.toml", "template = \"../service.toml\"\n[variables]\nname = \"cart\"\nport = 8081\n");
    let check = |more: &[&str]| {
        let output = command(home.path(), &[&["recipe", "check", "cart"], more].concat()).output();
        output.expect("ovenbird")
    };
    assert!(said(&check(&[])).starts_with("no mistake in pipeline cart"), "{}", said(&check(&[])));
    let shown = check(&["--expanded"]);
    assert!(shown.status.success());
    let expected = template.replace("${var.name}", "cart").replace("\"${var.port}\"", "8081");
    assert_eq!(String::from_utf8_lossy(&shown.stdout), expected);
    // A mistake is told where it is: in the values, or in the template.
    write("cart/recipe.toml", "template = \"../service.toml\"\n[variables]\nname = \"cart\"\nprot = 8081\n");
    let wrong = check(&["--json"]);
    assert_eq!(wrong.status.code(), Some(1));
    let checked: serde_json::Value = serde_json::from_slice(&wrong.stdout).expect("JSON");
    let mistakes = checked["mistakes"].as_array().expect("mistakes");
    let places = mistakes
        .iter()
        .map(|one| (one["file"].as_str().expect("a file"), one["line"].as_u64().expect("a line")));
    assert_eq!(places.collect::<Vec<_>>(), [("service.toml", 5), ("cart/recipe.toml", 4)], "{checked}");
}

#[test]
fn a_bake_without_a_name_is_of_the_recipe_that_is_here() {
    let home = tempfile::tempdir().expect("a folder");
    let output = command(home.path(), &["explain", "--local"]).output().expect("ovenbird");
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("no recipe.toml here"), "{}", said(&output));
    assert!(command(home.path(), &["recipe", "new", "--pipeline", "shop"]).status().expect("run").success());
    let output = command(home.path(), &["explain", "--local"]).output().expect("ovenbird");
    assert!(said(&output).contains("no local cloud was ever started"), "{}", said(&output));
}

#[test]
fn an_error_is_a_document_and_so_are_the_mistakes_of_a_recipe() {
    let home = tempfile::tempdir().expect("a folder");
    let document = |arguments: &[&str]| -> (Option<i32>, serde_json::Value) {
        let output = command(home.path(), arguments).output().expect("ovenbird");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.code(), serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")))
    };
    let (status, failed) = document(&["list", "--json"]);
    assert_eq!((status, failed["error"]["name"].as_str()), (Some(1), Some("BadInput")), "{failed}");
    assert!(failed["error"]["hint"].as_str().is_some_and(|hint| !hint.is_empty()), "{failed}");
    let (status, failed) = document(&["local", "status", "--json=1"]);
    assert_eq!((status, failed["error"]["name"].as_str()), (Some(1), Some("LocalNoKeys")), "{failed}");
    std::fs::write(home.path().join("recipe.toml"), "pipeline = \"Shop\"\nbsae.image = \"x\"\n")
        .expect("written");
    let (status, checked) = document(&["recipe", "check", "--json"]);
    assert_eq!((status, &checked["pipeline"]), (Some(1), &serde_json::Value::Null), "{checked}");
    let mistakes = checked["mistakes"].as_array().expect("mistakes");
    let last = mistakes.last().expect("one");
    assert_eq!(
        (&last["line"], &last["column"], &last["width"]),
        (&2.into(), &1.into(), &4.into()),
        "{checked}"
    );
    // A version that isn't there is a wrong command line, and prints none.
    let output = command(home.path(), &["list", "--json=2"]).output().expect("ovenbird");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{}", said(&output));
}

#[test]
fn a_label_that_ec2_would_refuse_is_a_wrong_command_line() {
    let home = tempfile::tempdir().expect("a folder");
    for label in ["git", "ovenbird:stack=other", "aws:x=y"] {
        let output = command(home.path(), &["bake", "shop", "--label", label]).output().expect("ovenbird");
        assert_eq!(output.status.code(), Some(2), "{label}: {}", said(&output));
    }
}
