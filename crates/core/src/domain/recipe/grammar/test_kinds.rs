//! `[[test]]`: what a test may assert, and how.

use super::{
    Kind::{self, Flag, Line, Map, Number, Table as Of, TableOr, Text, Time},
    Need::{Absent, Choice, Default, Needed},
    Table, Values, key,
    rules::{
        ANY, FILE_PATH, HEADER, METHOD, MODE, NAME, OWNER, PACKAGE_NAME, PATH, POINTER, PROCESS, SERVICE,
        URL, USER, VERSION, WRITTEN,
    },
};

#[rustfmt::skip]
pub(super) static TEST: Table =
    Table::one("assertion", "one test: exactly one assertion, and how long it is tried", &[
    key("name", Line(&NAME), Absent("its number and kind: `1 http`"), "what reports call it"),
    key("within", Time, Default(r#""30s""#), "it is tried again until it passes or this time is over"),
    key("http", Of(&HTTP), Choice, "a URL answers"),
    key("command", Text, Choice, "a shell command ends as it should"),
    key("exit", Number { min: 0, max: 255 }, Default("0"), "its exit status").of("command"),
    key("stdout-contains", Text, Absent(""), "a text that must be in its output").of("command"),
    key("stderr-contains", Text, Absent(""), "a text that must be in its errors").of("command"),
    key("junit", Line(&WRITTEN), Absent(""),
        "the JUnit file that it writes, by its path in the folder of the recipe's files, or an absolute one: a suite of your own, whose cases are \
         reported one by one").of("command"),
    key("port", Number { min: 1, max: 65_535 }, Choice, "something listens on this TCP port of the machine"),
    key("file", Of(&FILE), Choice, "a file is there, or is not"),
    key("service", TableOr("name", &SERVICE_TEST), Choice, "a systemd service runs, or does not"),
    key("process", TableOr("name", &PROCESS_TEST), Choice, "a process runs whose program has this name"),
    key("package", TableOr("name", &PACKAGE_TEST), Choice, "a package is installed"),
    key("user", TableOr("name", &USER_TEST), Choice, "a user exists"),
]);

#[rustfmt::skip]
static HTTP: Table = Table::of("a request, and what its answer must be", &[
    key("url", Line(&URL), Needed(r#"`url = "http://127.0.0.1:8080/"`"#),
        "the URL; begins with `http://` or `https://`"),
    key("method", Line(&METHOD), Default(r#""GET""#), "the method"),
    key("headers", Kind::map(&HEADER, Values::Line(&ANY)), Absent("none"), "the request's headers, by name"),
    key("body", Text, Absent("none"), "the request's body; not with GET or HEAD"),
    key("status", Number { min: 100, max: 599 }, Default("200"), "the answer's status"),
    key("body-contains", Text, Absent(""), "a text that must be in the answer's body"),
    key("body-matches", Text, Absent(""),
        "a [regular expression](https://docs.rs/regex-lite) that the body must match somewhere; best in \
         single quotes"),
    key("json",
        Map { names: &POINTER, values: Values::Json, filled: Some(r#"`json = { "/status" = "UP" }`"#), max: None },
        Absent(""),
        "values that the JSON body must have at these [pointers](https://www.rfc-editor.org/rfc/rfc6901): \
         `{ \"/status\" = \"UP\" }`"),
    key("within", Time, Default(r#""30s""#), "as the test's own; give one of the two"),
]);

#[rustfmt::skip]
static FILE: Table = Table::of("a file that is there, or is not", &[
    key("path", Line(&PATH), Needed(r#"`path = "/etc/motd"`"#), "its path on the machine"),
    key("exists", Flag, Default("true"), "whether it must be there"),
    key("contains", Text, Absent(""), "a text that must be in it"),
    key("mode", Line(&MODE), Absent(""), "permission bits, in octal"),
    key("owner", Line(&OWNER), Absent(""), "`user` or `user:group`"),
]);

#[rustfmt::skip]
static SERVICE_TEST: Table = Table::of("a systemd service that runs, or does not", &[
    key("name", Line(&SERVICE), Needed(r#"`name = "nginx"`"#), "its name"),
    key("running", Flag, Default("true"), "whether it must run"),
    key("enabled", Flag, Absent("either will do"), "whether it must start at boot"),
    key("for", Time, Default(r#""2s""#),
        "how long it must run without ending or being restarted; less than `deadlines.validation`"),
]);

#[rustfmt::skip]
static PROCESS_TEST: Table = Table::of("a process that runs", &[
    key("name", Line(&PROCESS), Needed(r#"`name = "java"`"#), "its program's name without the folder"),
    key("for", Time, Default(r#""2s""#),
        "how long one and the same process must run; less than `deadlines.validation`"),
]);

#[rustfmt::skip]
static PACKAGE_TEST: Table = Table::of("a package that is installed", &[
    key("name", Line(&PACKAGE_NAME), Needed(r#"`name = "nginx"`"#), "its name"),
    key("version", Line(&VERSION), Absent("any"), "its version begins with this"),
]);

#[rustfmt::skip]
static USER_TEST: Table = Table::of("a user that exists", &[
    key("name", Line(&USER), Needed(r#"`name = "storefront"`"#), "its name"),
    key("group", Line(&USER), Absent("any"), "it is in this group"),
    key("shell", Line(&FILE_PATH), Absent("any"), "its login shell"),
]);
