//! Whatever is written into a recipe, the parser answers; what it takes is data and leaves no folder.

use std::{
    cell::Cell,
    path::{Component, Path},
    sync::LazyLock,
};

use proptest::prelude::*;
use toml::{Table as Toml, Value as TomlValue};

use super::{
    grammar::{Place, places},
    schema::Judge,
    *,
};
use crate::domain::recipe::grammar::Kind;

/// Every key of a recipe in every form, for texts to stand in its place.
static PLACES: LazyLock<Vec<Place>> = LazyLock::new(places);

/// Recipes with the text wherever the value of this key has room for one; none when it is no text.
fn with(place: &Place, text: &str) -> Vec<String> {
    let name = place.key.name;
    let put = |value: TomlValue| {
        place.changed(|table| {
            table.insert(name.to_owned(), value);
        })
    };
    let own = Cell::new(None);
    place.changed(|table| own.set(table.get(name).cloned()));
    match (own.take(), &place.key.kind) {
        (Some(TomlValue::String(_)), _) => vec![put(text.into())],
        (Some(TomlValue::Array(list)), Kind::List { .. } | Kind::Names(_) | Kind::Program) => {
            let longer = list.into_iter().chain([text.into()]).collect();
            vec![put(vec![text].into()), put(TomlValue::Array(longer))]
        }
        (Some(TomlValue::Table(map)), Kind::Map { .. }) => {
            let first = map.iter().next().unwrap();
            let named = Toml::from_iter([(text.to_owned(), first.1.clone())]);
            let valued = Toml::from_iter([(first.0.clone(), text.into())]);
            let both = Toml::from_iter([(text.to_owned(), vec![text].into())]);
            [named, valued, both].map(|map| put(map.into())).into()
        }
        _ => Vec::new(),
    }
}

/// Texts of every kind, those that somebody means harm with among them.
fn text() -> impl Strategy<Value = String> {
    let nasty = prop::sample::select(vec![
        "../x",
        "/etc/passwd",
        "a/../../b",
        "./x",
        "a/./b",
        "..",
        ".",
        "/",
        "//",
        "a//b",
        "-rf",
        "--now",
        "a b",
        "$(reboot)",
        "`id`",
        "; id",
        "a\nb",
        "a\r\nb",
        "a\0b",
        "\u{1b}[2J",
        "'",
        "\"",
        "\\",
        "a\\",
        "%s",
        "%h",
        "~",
        "*",
        "",
        " ",
        "\t",
        "é",
        "e\u{301}",
        "\u{202e}x",
        "nginx-",
        "a:b",
        "root:",
        "10s",
        "0644",
        "99999999999999999999",
        "ünit.target",
        "http://",
        "http://a b",
        "[",
        "(",
        "recipe[a",
        "aws:x",
        "ovenbird:bake",
        "a/b",
        "a.pp",
        "x.sh",
    ]);
    prop_oneof![
        4 => nasty.prop_map(str::to_owned),
        3 => "[a-z0-9_./:=@+-]{1,12}",
        2 => "(?s).{0,24}",
        1 => any::<String>(),
    ]
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    // JSON's escapes are TOML's too, but for those that JSON leaves out.
    let json = Value::from(text).to_string().replace('\u{7f}', "\\u007f");
    json.chars()
        .map(|c| if ('\u{80}'..'\u{a0}').contains(&c) { format!("\\u{:04x}", c as u32) } else { c.into() })
        .collect()
}

fn filled(slot: &str, text: &str) -> String {
    around(&slot.replace("{}", &quoted(text)))
}

/// What holds of every recipe that the parser took.
fn assert_safe(recipe: &Recipe) {
    for source in recipe.sources() {
        assert!(inside(&source), "{source:?} leaves the folder");
    }
    let mut absolute: Vec<&str> = Vec::new();
    let mut words: Vec<&str> = Vec::new();
    let mut lines: Vec<&str> = Vec::new();
    for step in &recipe.steps {
        lines.push(&step.name);
        words.extend(step.environment.keys().chain(step.secrets.keys()).map(String::as_str));
        match &step.action {
            Action::Shell { .. } | Action::Script { .. } => {}
            Action::File { to, owner, .. } => {
                absolute.push(to);
                words.extend(owner.as_deref());
            }
            Action::Service { name, unit, .. } => {
                words.push(name);
                if let Some(unit) = unit {
                    lines.extend(
                        [unit.exec.as_str()].into_iter().chain(unit.environment.values().map(String::as_str)),
                    );
                    words.extend(
                        unit.user
                            .iter()
                            .chain(&unit.after)
                            .chain(unit.environment.keys())
                            .map(String::as_str),
                    );
                    absolute.extend(unit.working_directory.as_deref());
                }
            }
            Action::Package { names } => {
                for name in names {
                    match name.strip_prefix('@') {
                        // An argument of its own, which may have spaces.
                        Some(group) => words.extend(group.split(' ').filter(|word| !word.is_empty())),
                        None => words.push(name),
                    }
                }
            }
            Action::Puppet(puppet) => {
                words.extend(puppet.facts.keys().map(String::as_str));
                lines.extend(puppet.facts.values().map(String::as_str));
            }
            Action::Chef(chef) => {
                assert!(
                    chef.run_list.iter().all(|entry| entry.ends_with(']') && !entry.contains([' ', ',']))
                );
            }
            Action::Ansible(_) => {}
        }
    }
    for test in &recipe.tests {
        lines.push(&test.name);
        match &test.kind {
            TestKind::Http(http) => {
                lines.extend([http.url.as_str(), http.method.as_str()]);
                words.extend(http.headers.keys().map(String::as_str));
                lines.extend(http.headers.values().map(String::as_str));
            }
            TestKind::Command { junit: Some(junit), .. } if !junit.starts_with('/') => {
                assert!(inside_loosely(junit), "{junit:?}");
            }
            TestKind::Command { junit, .. } => absolute.extend(junit.as_deref()),
            TestKind::Port { .. } => {}
            TestKind::File { path, owner, .. } => {
                absolute.push(path);
                words.extend(owner.as_deref());
            }
            TestKind::Service { name, .. } | TestKind::Package { name, .. } => words.push(name),
            TestKind::Process { name, .. } => lines.push(name),
            TestKind::User { name, group, shell } => {
                words.push(name);
                words.extend(group.as_deref());
                absolute.extend(shell.as_deref());
            }
        }
    }
    words.extend(recipe.builder.instance_types.iter().chain(&recipe.builder.subnets).map(String::as_str));
    words.extend(recipe.builder.instance_profile.as_deref());
    for tag in recipe.builder.tags.keys() {
        assert!(!tag.starts_with("aws:") && !tag.starts_with("ovenbird:"), "{tag:?}");
    }
    match &recipe.artifact {
        Some(Artifact { place: Placement::To(path) | Placement::UnpackTo(path), mode, owner, names }) => {
            assert!(mode.is_none_or(|mode| mode <= 0o7777), "{mode:?}");
            absolute.push(path);
            words.extend(owner.as_deref());
            assert!(names.as_ref().is_none_or(|names| !names.to_string().contains('/')), "{names:?}");
        }
        None => {}
    }
    for path in absolute {
        assert!(
            path.strip_prefix('/').is_some_and(|rest| rest.is_empty() || inside_loosely(rest)),
            "{path:?}"
        );
    }
    for word in words {
        let plain = !word.is_empty()
            && word.chars().all(|c| c.is_ascii_graphic() && !"$`;&|<>(){}*?!#'\"".contains(c));
        assert!(plain && !word.starts_with('-'), "{word:?} is more than a word");
    }
    for line in lines {
        assert!(!line.contains(['\n', '\r', '\0']), "{line:?} is more than a line");
    }
}

fn inside(path: &str) -> bool {
    let parts: Vec<_> = Path::new(path).components().collect();
    !parts.is_empty() && parts.iter().all(|part| matches!(part, Component::Normal(_))) && !path.ends_with('/')
}

fn inside_loosely(path: &str) -> bool {
    Path::new(path).components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir))
}

#[test]
fn texts_are_tried_in_many_places() {
    let places: Vec<String> = PLACES.iter().flat_map(|place| with(place, "a text")).collect();
    assert!(places.len() > 90 && places.iter().all(|toml| toml.contains("a text")), "{}", places.len());
}

thread_local! {
    static JUDGE: Judge = Judge::new();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_text_in_any_place_is_taken_as_data_or_refused_with_a_reason(text in text()) {
        for toml in PLACES.iter().flat_map(|place| with(place, &text)) {
            match Recipe::parse_pushed(&toml) {
                Ok(recipe) => {
                    assert_safe(&recipe);
                    JUDGE.with(|judge| judge.judge(&toml)).unwrap_or_else(|error| panic!("the schema refuses {toml}: {error}"));
                    let plan = serde_json::to_string(&(&recipe.steps, &recipe.tests)).unwrap();
                    let back: (Vec<Step>, Vec<Test>) = serde_json::from_str(&plan).unwrap();
                    prop_assert_eq!(back, (recipe.steps, recipe.tests));
                }
                Err(errors) => {
                    prop_assert!(!errors.0.is_empty(), "no reason for {}", toml);
                    let shown = errors.to_string();
                    prop_assert!(!shown.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{:?}", shown);
                }
            }
        }
    }

    #[test]
    fn free_text_arrives_as_it_was_written(text in text().prop_filter("empty", |text| !text.trim().is_empty() && !text.contains('\0'))) {
        let recipe = parse(&filled("[[step]]\nshell = {}\nenvironment = { A = {} }", &text));
        prop_assert_eq!(&recipe.steps[0].action, &Action::Shell { run: text.clone() });
        prop_assert_eq!(&recipe.steps[0].environment["A"], &text);
        let recipe = parse(&filled("[[step]]\nscript = { source = 'a', args = [{}] }", &text));
        let Action::Script { args, .. } = &recipe.steps[0].action else { panic!("no script") };
        prop_assert_eq!(args, &vec![text]);
    }

    #[test]
    fn a_recipe_cut_and_mixed_is_answered(
        from in 0..FULL.len(), length in 0..40_usize, insert in text(), look in 0..5_u8,
    ) {
        let bytes = FULL.as_bytes();
        let cut = [&bytes[..from], insert.as_bytes(), &bytes[(from + length).min(bytes.len())..]].concat();
        let text = String::from_utf8_lossy(&cut);
        let beside = match look {
            0 => Beside::Nothing,
            1 => Beside::File(Head::default()),
            2 => Beside::Folder,
            3 => Beside::EmptyFolder,
            _ => Beside::Other("a socket"),
        };
        if let Err(errors) = Recipe::parse("recipe.toml", &text, &|_| beside.clone()) {
            prop_assert!(!errors.0.is_empty());
            prop_assert!(errors.to_string().contains("recipe.toml:"));
        }
    }
}
