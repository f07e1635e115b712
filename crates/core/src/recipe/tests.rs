//! A recipe that has everything, and one for each mistake.

use super::*;

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

fn errors(text: &str) -> String {
    Recipe::parse("recipe.toml", text, &|_| Beside::Nothing).unwrap_err().to_string()
}

#[test]
fn a_whole_recipe_is_understood() {
    let recipe = Recipe::parse_pushed(WHOLE).unwrap();
    assert_eq!(recipe.steps.len(), 2);
    assert_eq!(recipe.tests[0].within, Duration::from_secs(60));
    assert_eq!(recipe.retain, Retain { newest: 5, days: 30 });
    assert_eq!(recipe.artifact, Some(Placement::To("/opt/storefront/app.jar".into())));
}

#[test]
fn comments_and_the_order_of_keys_do_not_change_the_inputs() {
    let reordered = WHOLE.replace(
        r#"owner = "136693071363", name = "debian-12-amd64-*""#,
        r#"name = "debian-12-amd64-*", owner = "136693071363""#,
    );
    let commented = format!("# a comment\n{reordered}");
    let inputs = |text| Recipe::parse_pushed(text).unwrap().image_inputs();
    assert_eq!(inputs(WHOLE), inputs(&commented));
    assert_ne!(inputs(WHOLE), inputs(&WHOLE.replace("useradd", "adduser")));
}

#[test]
fn an_unknown_key_has_a_place_and_a_guess() {
    insta::assert_snapshot!(errors(&WHOLE.replace("instance-types", "instnce-types")), @r#"
    recipe.toml:6:1: unknown key `instnce-types` in `builder`
       |
     6 | instnce-types = ["c7i.large"]
       | ^^^^^^^^^^^^^
       = Did you mean `instance-types`?
    "#);
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text =
        WHOLE.replace("port = 8080", "").replace("channel =", "chanel =").replace("c7i.large", "large one");
    let text = errors(&text);
    for problem in ["asserts nothing", "unknown key `chanel`", "`large one` is not an instance type"] {
        assert!(text.contains(problem), "{problem} is not in\n{text}");
    }
}

#[test]
fn two_bases_a_missing_file_and_a_climbing_path_are_refused() {
    let two = errors(&WHOLE.replace("[base]", "[base]\nimage = \"ami-0123456789abcdef0\""));
    assert!(two.contains("more than one base"), "{two}");
    let missing =
        errors(&WHOLE.replace(r#"shell = "useradd --system storefront""#, r#"script = "setup.sh""#));
    assert!(missing.contains("no file `setup.sh`"), "{missing}");
    let climbing =
        errors(&WHOLE.replace(r#"shell = "useradd --system storefront""#, r#"script = "../setup.sh""#));
    assert!(climbing.contains("no path beside"), "{climbing}");
    let relative = errors(&WHOLE.replace("/opt/storefront/app.jar\"\n[[step]]", "opt/app.jar\"\n[[step]]"));
    assert!(relative.contains("no absolute path"), "{relative}");
}

#[test]
fn a_recipe_without_a_test_is_refused() {
    let text =
        errors("pipeline = \"a\"\n[base]\nimage = \"ami-0123456789abcdef0\"\n[promote]\nchannel = \"c\"\n");
    assert!(text.contains("has no test"), "{text}");
}
