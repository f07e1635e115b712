//! What names and paths in a recipe must look like: each reaches some program as an argument of its own.

use std::{
    collections::BTreeMap,
    path::{Component, Path},
};

use super::Look;
use crate::domain::{
    id::{IdError, ParameterName},
    recipe::{
        Beside,
        mistake::{Source, quoted},
        reader::{Table, Text, as_text, on_one_line},
    },
};

/// What a word of some kind looks like.
pub(super) struct Rule {
    /// The kind with its article.
    pub what: &'static str,
    /// What it is made of.
    pub rule: &'static str,
    /// Whether a text is one.
    pub valid: fn(&str) -> bool,
}

pub(super) const VARIABLE: Rule = Rule {
    what: "a name of an environment variable",
    rule: "letters, digits and `_`, not beginning with a digit",
    valid: |text| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    },
};

pub(super) const USER: Rule = Rule {
    what: "a name of a user or group",
    rule: "letters, digits and `_.-`, beginning with a letter, digit or `_`, at most 32",
    valid: user,
};

pub(super) const OWNER: Rule = Rule {
    what: "an owner",
    rule: "`user` or `user:group`",
    valid: |text| match text.split_once(':') {
        Some((name, group)) => user(name) && user(group),
        None => user(text),
    },
};

pub(super) const PACKAGE: Rule = Rule {
    what: "a package",
    rule: "letters, digits and `+-._:=~@/`, beginning with a letter, digit or `@`, not ending with `-`",
    // A `-` at the end makes apt remove the package.
    valid: |text| {
        plain(text, b"+-._:=~@/")
            && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@')
            && !text.ends_with('-')
            && !text.contains("..")
    },
};

pub(super) const VERSION: Rule = Rule {
    what: "the beginning of a version",
    rule: "letters, digits and `+-._:~`, beginning with a letter or digit",
    valid: |text| plain(text, b"+-._:~") && text.starts_with(|c: char| c.is_ascii_alphanumeric()),
};

pub(super) const SERVICE: Rule = Rule {
    what: "a name of a service",
    rule: "letters, digits and `-_.@:\\`, beginning with a letter or digit",
    valid: |text| plain(text, b"-_.@:\\") && text.starts_with(|c: char| c.is_ascii_alphanumeric()),
};

pub(super) const FACT: Rule = Rule {
    what: "a name of a fact",
    rule: "lower-case letters, digits and `_`, beginning with a letter",
    valid: |text| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && text.starts_with(|c: char| c.is_ascii_lowercase())
    },
};

pub(super) const HEADER: Rule = Rule {
    what: "a name of a header",
    rule: "letters, digits and `-_`, beginning with a letter",
    valid: |text| plain(text, b"-_") && text.starts_with(|c: char| c.is_ascii_alphabetic()),
};

pub(super) const POINTER: Rule = Rule {
    what: "a JSON pointer",
    rule: "`/` before every part: `/status`, `/checks/0/name`; `~0` for a `~` and `~1` for a `/` in a part",
    valid: |text| {
        (text.is_empty() || text.starts_with('/'))
            && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
    },
};

pub(super) const RUN_LIST: Rule = Rule {
    what: "an entry of a run list",
    rule: "`recipe[cookbook::recipe]` or `role[name]`",
    valid: |text| {
        let inner = ["recipe[", "role["].iter().find_map(|kind| text.strip_prefix(kind)?.strip_suffix(']'));
        inner.is_some_and(|name| {
            plain(name, b"-_.:@") && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        })
    },
};

pub(super) const INSTANCE_TYPE: Rule = Rule {
    what: "an instance type",
    rule: "EC2's word for it: `c7i.large`",
    valid: |text| {
        text.split_once('.').is_some_and(|(family, size)| plain(family, b"-") && plain(size, b"-"))
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
    },
};

pub(super) const SUBNET: Rule = Rule {
    what: "a subnet's id",
    rule: "`subnet-` and 8 to 17 hexadecimal digits",
    valid: |text| aws_id(text, "subnet-"),
};

pub(super) const SECURITY_GROUP: Rule = Rule {
    what: "a security group's id",
    rule: "`sg-` and 8 to 17 hexadecimal digits",
    valid: |text| aws_id(text, "sg-"),
};

pub(super) const INSTANCE_PROFILE: Rule = Rule {
    what: "a name of an instance profile",
    rule: "its name, not its ARN: letters, digits and `+=,.@_-`, at most 128",
    valid: |text| plain(text, b"+=,.@_-") && text.len() <= 128 && !text.starts_with('-'),
};

pub(super) const KMS_KEY: Rule = Rule {
    what: "a KMS key",
    rule: "a key's id, `alias/…`, or the ARN of either; `alias/aws/ebs` is AWS's own",
    valid: |text| {
        let id = |text: &str| {
            (36..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let alias = |text: &str| text.strip_prefix("alias/").is_some_and(|name| plain(name, b"/_-"));
        let arn = || {
            let resource = text.splitn(6, ':').nth(5)?;
            let kms = text.starts_with("arn:aws") && text.split(':').nth(2) == Some("kms");
            Some(kms && (alias(resource) || resource.strip_prefix("key/").is_some_and(id)))
        };
        text.len() <= 512 && (id(text) || alias(text) || arn().unwrap_or(false))
    },
};

/// Letters, digits and these others, at least one.
fn plain(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}

fn user(text: &str) -> bool {
    plain(text, b"_.-")
        && text.len() <= 32
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
}

fn aws_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| (8..=17).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The text if it follows the rule.
pub(super) fn word(source: &mut Source<'_>, text: Text, rule: &Rule) -> Option<String> {
    if (rule.valid)(text.get_ref()) {
        return Some(text.into_inner());
    }
    let problem = format!("{} is not {}", quoted(text.get_ref()), rule.what);
    source.wrong(&text.span(), problem, format!("Use {}", rule.rule));
    None
}

/// The texts that follow the rule; mistakes are noted.
pub(super) fn words(source: &mut Source<'_>, texts: Vec<Text>, rule: &Rule) -> Vec<String> {
    texts.into_iter().filter_map(|text| word(source, text, rule)).collect()
}

/// Names of a rule, each with a text that may be empty: `{ KEY = "value" }`.
pub(super) fn named(
    source: &mut Source<'_>,
    table: &mut Table<'_>,
    key: &'static str,
    rule: &Rule,
    one_line: bool,
) -> BTreeMap<String, String> {
    let pairs = table.text_map(source, key);
    let pairs = pairs.into_iter().filter_map(|(name, text)| {
        let text = if one_line { on_one_line(source, name.get_ref(), text) } else { Some(text) };
        let name = word(source, name, rule);
        Some((name?, text?.into_inner()))
    });
    pairs.collect()
}

/// Secrets by the name of their variable: `{ TOKEN = "/storefront/token" }`.
pub(super) fn secrets(source: &mut Source<'_>, table: &mut Table<'_>) -> BTreeMap<String, ParameterName> {
    let Some(table) = table.table(source, "secrets") else { return BTreeMap::new() };
    let pairs = table.rest().filter_map(|(name, value)| {
        let parameter = as_text(source, name.get_ref(), value);
        let name = word(source, name, &VARIABLE);
        Some((name?, parameter.and_then(|text| parsed(source, text))?))
    });
    pairs.collect()
}

/// An identifier of one of our kinds.
pub(super) fn parsed<T: std::str::FromStr<Err = IdError>>(source: &mut Source<'_>, text: Text) -> Option<T> {
    let id = text.get_ref().parse();
    id.map_err(|error: IdError| {
        let problem = format!("{} is not {}", quoted(text.get_ref()), error.kind);
        source.wrong(&text.span(), problem, format!("Use {}", error.rule));
    })
    .ok()
}

/// Permission bits in octal: `"0644"`.
pub(super) fn mode(source: &mut Source<'_>, table: &mut Table<'_>) -> Option<u32> {
    let text = table.line(source, "mode")?;
    let digits = text.get_ref().bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(text.get_ref(), 8).ok().filter(|mode| digits && *mode <= 0o7777);
    if mode.is_none() {
        source.wrong(&text.span(), "`mode` is no file mode", "Write it in octal: `mode = \"0644\"`");
    }
    mode
}

/// A path on the machine: absolute, and not climbing.
pub(super) fn absolute(source: &mut Source<'_>, text: Text) -> Option<String> {
    let path = text.get_ref();
    let parts =
        Path::new(path).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if path.starts_with('/') && parts {
        return Some(text.into_inner());
    }
    let problem = format!("{} is no absolute path", quoted(path));
    source.wrong(&text.span(), problem, "Begin it with `/`, without `..`");
    None
}

/// A file's path on the machine.
pub(super) fn absolute_file(source: &mut Source<'_>, text: Text) -> Option<String> {
    let at = text.span();
    let path = absolute(source, text)?;
    if path.ends_with('/') {
        source.wrong(&at, format!("{} is no path of a file", quoted(&path)), "End it with the file's name");
        return None;
    }
    Some(path)
}

/// What must be there at a path beside the recipe.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    File,
    Folder,
}

/// A path beside the recipe: relative, not climbing, and there. Equal paths are given in equal letters.
pub(super) fn beside(
    source: &mut Source<'_>,
    text: Text,
    look: Option<Look<'_>>,
    wanted: Wanted,
) -> Option<String> {
    let parts: Option<Vec<&str>> = Path::new(text.get_ref())
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
        })
        .collect();
    let Some(path) = parts.map(|parts| parts.join("/")).filter(|path| !path.is_empty()) else {
        let problem = format!("{} is no path beside the recipe", quoted(text.get_ref()));
        let hint = "Name it from the recipe's folder on, without `/` or `./` before it and without `..`";
        source.wrong(&text.span(), problem, hint);
        return None;
    };
    let found = look.map(|look| look(Path::new(&path)));
    let (problem, hint) = match (found, wanted) {
        (None, _) | (Some(Beside::File), Wanted::File) | (Some(Beside::Folder), Wanted::Folder) => {
            return Some(path);
        }
        (Some(Beside::Nothing), Wanted::File) => {
            (format!("there is no file {} beside the recipe", quoted(&path)), "Create it, or fix the path")
        }
        (Some(Beside::Nothing), Wanted::Folder) => {
            (format!("there is no folder {} beside the recipe", quoted(&path)), "Create it, or fix the path")
        }
        (Some(Beside::Folder | Beside::EmptyFolder), Wanted::File) => {
            (format!("{} is a folder and should be a file", quoted(&path)), "Name a file in it")
        }
        (Some(Beside::File), Wanted::Folder) => {
            (format!("{} is a file and should be a folder", quoted(&path)), "Name the folder that it is in")
        }
        (Some(Beside::EmptyFolder), Wanted::Folder) => {
            (format!("folder {} has no file in it", quoted(&path)), "Fill it, or leave the key out")
        }
        (Some(Beside::Other(what)), _) => (
            format!("{} is {what}, which can't be pushed", quoted(&path)),
            "Put a plain file or folder in its place",
        ),
    };
    source.wrong(&text.span(), problem, hint);
    None
}
