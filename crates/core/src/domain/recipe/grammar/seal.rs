//! `[seal]`: what stays and what goes beside what is a machine's own.

use std::path::{Component, Path};

use super::{
    Kind::List,
    Need::Absent,
    Table, key,
    rules::{Rule, word},
};

#[rustfmt::skip]
pub(super) static SEAL: Table = Table::of("what the seal keeps, and what it removes in addition", &[
    key("keep", List { items: &KEPT, filled: true }, Absent("nothing"),
        r#"patterns of paths that stay, with all that is in them, though they are on the list: `"/var/log/shop/**"`"#),
    key("remove", List { items: &REMOVED, filled: true }, Absent("nothing"),
        r#"patterns of paths that go, too: `"/opt/shop/build"`, `"/srv/*/cache"`"#),
]);

static KEPT: Rule = word(
    "a pattern of paths below one of the machine's folders",
    "Begin it with `/` and a folder's name, without `.` or `..` in it: `/var/log/shop/**`. `*` and `?` stay within a name, \
     `**` stands for any folders",
    |text| pattern(text).is_some(),
)
.pattern("^/[^/*?]");

static REMOVED: Rule = word(
    "a pattern of paths that the seal may remove",
    "Name what is to go, and not all of one of the machine's folders: `/opt/shop/build`, `/srv/*/cache`; without `.` or \
     `..` in it. `*` and `?` stay within a name, `**` stands for any folders",
    |text| {
        pattern(text).is_some_and(|parts| {
            // A name of its own must be in it somewhere below the first: `/etc`, `/usr/*` and `/var/**/*` are whole systems.
            let named = parts.iter().skip(1).any(|part| part.contains(|c: char| !['*', '?', '.'].contains(&c)));
            let end = parts.iter().rposition(|part| !part.chars().all(|c| c == '*' || c == '?')).unwrap_or(0);
            named && !["proc", "sys", "dev", "run"].contains(&parts[0]) && !WHOLE.contains(&&parts[..=end])
        })
    },
)
.pattern("^/[^/*?]+/");

/// Folders that no machine works without; what a recipe wants removed is in them.
const WHOLE: &[&[&str]] = &[
    &["usr", "bin"],
    &["usr", "sbin"],
    &["usr", "lib"],
    &["usr", "lib64"],
    &["usr", "share"],
    &["var", "lib"],
    &["var", "log"],
];

/// The names of an absolute pattern: the first is one name, no other climbs, and `**` stands alone.
fn pattern(text: &str) -> Option<Vec<&str>> {
    let path = text.strip_prefix('/')?;
    let climbs =
        Path::new(text).components().any(|part| !matches!(part, Component::RootDir | Component::Normal(_)));
    let parts: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    let plain = |part: &&str| {
        !part.is_empty() && *part != "." && (*part == "**" || !part.contains("**")) && !part.contains('\0')
    };
    let first = parts.first().is_some_and(|part| !part.contains(['*', '?']));
    (!climbs && first && parts.iter().all(plain)).then_some(parts)
}
