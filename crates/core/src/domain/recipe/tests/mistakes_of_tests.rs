//! What is wrong with a `[[test]]`.

use super::{mistakes::short, *};

#[test]
fn tests_that_assert_nothing_or_what_cannot_hold() {
    insta::assert_snapshot!(short(r#"
        [[test]]
        name = "nothing"
        [[test]]
        http = { url = "127.0.0.1:8080", method = "FETCH" }
        [[test]]
        http = { url = "http://a/", body = "a", body-matches = "(", json = { status = "UP" }, within = "1s" }
        within = "2s"
        [[test]]
        http = { url = "http://a/", method = "HEAD", body-contains = "a", json = {}, headers = { "a b" = "c" } }
        [[test]]
        port = 0
        exit = 1
        [[test]]
        command = "true"
        junit = "../report.xml"
        exit = 256
        [[test]]
        file = { path = "/etc/nologin", exists = false, contains = "a" }
        [[test]]
        process = "/usr/bin/java"
        [[test]]
        user = { name = "a b", shell = "sh" }
        [[test]]
        package = { version = "1" }
        [[test]]
        port = 80
        exists = true
    "#), @r#"
    `[[test]]` has no assertion
      Give it exactly one of: http, command, port, file, service, process, package, user
    `127.0.0.1:8080` is not an HTTP address
      Begin it with `http://127.0.0.1:`, and write a space as `%20`
    `FETCH` is not a method of HTTP
      Use one of: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS
    a GET request has no `body`
      Add `method = "POST"`
    `body-matches` is no regular expression: found open group without closing ')'
      Write it in single quotes, so that `\` is only a `\`
    `status` is not a JSON pointer
      Use `/` before every part: `/status`, `/checks/0/name`; `~0` for a `~` and `~1` for a `/` in a part
    `within` is given twice
      Keep the one in `[[test]]`
    `body-contains` can't hold: the answer to HEAD has no body
      Use `method = "GET"`
    `json` is empty
      Write `json = { "/status" = "UP" }`, or leave it out
    `a b` is not a name of a header
      Use letters, digits and `-_`, beginning with a letter
    `port` is out of range
      Give a number from 1 to 65535
    `exit` belongs to `command`, and this `[[test]]` has `port`
      Leave it out, or add another `[[test]]` with `command`
    `../report.xml` is not a path of a file
      Give an absolute path, or one from the folder of the recipe's files on; end it with the file's name, without `..`
    `exit` is out of range
      Give a number from 0 to 255
    `contains` can't hold of a file that shall not exist
      Leave it or `exists = false` out
    `/usr/bin/java` is not a name of a process
      Use its program's name without the folder
    `a b` is not a name of a user or group
      Use letters, digits and `_.-`, beginning with a letter, digit or `_`, at most 32
    `sh` is not an absolute path of a file
      Begin it with `/` and end it with the file's name, without `..`
    `package` lacks `name`
      Add `name = "nginx"`
    unknown key `exists` in `[[test]]`
      `[[test]]` knows: name, within, http, command, port, file, service, process, package, user
    "#);
}

#[test]
fn a_list_of_no_tests_is_no_test() {
    let text = "test = []\npipeline = \"a\"\nbase = { image = \"ami-0123456789abcdef0\" }\npromote = { channel = \"c\" }\n";
    insta::assert_snapshot!(errors(text), @r#"
    recipe.toml:1:8: `test` is empty
       |
     1 | test = []
       |        ^^
       = Add a `[[test]]`: an image without a test is never promoted
    "#);
}

/// A test that has to look on for longer than all tests may take fails its bake at the deadline.
#[test]
fn what_must_run_for_longer_than_the_tests_may_take_is_refused() {
    let of = |time: &str, deadlines: &str| {
        around(&format!(
            "[[test]]\nservice = {{ name = \"a\", for = \"{time}\" }}\n\
             [[test]]\nprocess = {{ name = \"a\", for = \"{time}\" }}\n{deadlines}"
        ))
    };
    insta::assert_snapshot!(errors(&of("15m", "")), @r#"
    recipe.toml:7:25: `for` is 900 s, and all tests must end within `deadlines.validation`, which is 900 s
       |
     7 | service = { name = "a", for = "15m" }
       |                         ^^^
       = Give less, or a longer `validation` in `[deadlines]`
    recipe.toml:9:25: `for` is 900 s, and all tests must end within `deadlines.validation`, which is 900 s
       |
     9 | process = { name = "a", for = "15m" }
       |                         ^^^
       = Give less, or a longer `validation` in `[deadlines]`
    "#);
    parse(&of("14m", ""));
    parse(&of("15m", "[deadlines]\nvalidation = \"1h\"\n"));
}
