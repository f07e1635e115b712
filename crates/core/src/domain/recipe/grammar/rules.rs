//! What names, words and paths in a recipe must look like: each reaches some program as an argument of its own.

use std::path::{Component, Path};

use crate::domain::{
    destination::Share,
    id::{AmiId, ChannelName, GroupName, IdError, ParameterName, PipelineName, TemplateName},
    names::Names,
};

/// What a text of some kind must look like.
pub(in crate::domain::recipe) struct Rule {
    /// Judges a text.
    pub judge: Judge,
    /// As much of it as a schema can say; it refuses nothing that the judge takes.
    pub pattern: Option<&'static str>,
}

/// Tells whether a text follows a rule, and what the rule is.
pub(in crate::domain::recipe) enum Judge {
    /// A word of a recipe.
    Word {
        /// What it is, with its article.
        what: &'static str,
        /// How to make it right.
        hint: &'static str,
        /// Whether a text is one.
        valid: fn(&str) -> bool,
    },
    /// One of these.
    Choice {
        /// What it is, with its article.
        what: &'static str,
        /// The words.
        of: &'static [&'static str],
    },
    /// An identifier that the rest of the product knows, too.
    Id(fn(&str) -> Option<IdError>),
}

pub(super) const fn word(what: &'static str, hint: &'static str, valid: fn(&str) -> bool) -> Rule {
    Rule { judge: Judge::Word { what, hint, valid }, pattern: None }
}

const fn choice(what: &'static str, of: &'static [&'static str]) -> Rule {
    Rule { judge: Judge::Choice { what, of }, pattern: None }
}

const fn id(judge: fn(&str) -> Option<IdError>, pattern: &'static str) -> Rule {
    Rule { judge: Judge::Id(judge), pattern: Some(pattern) }
}

impl Rule {
    pub(super) const fn pattern(self, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    /// What a text is not, and how to make it right; none when it follows the rule.
    pub fn broken_by(&self, text: &str) -> Option<(&'static str, String)> {
        match &self.judge {
            Judge::Word { what, hint, valid } => (!valid(text)).then(|| (*what, (*hint).to_owned())),
            Judge::Choice { what, of } => {
                (!of.contains(&text)).then(|| (*what, format!("Use one of: {}", of.join(", "))))
            }
            Judge::Id(error) => error(text).map(|error| (error.kind, format!("Use {}", error.rule))),
        }
    }
}

pub(super) static PIPELINE: Rule = id(|text| PipelineName::parse(text).err(), "^[a-z][a-z0-9-]{0,39}$");
pub(super) static CHANNEL: Rule = id(|text| ChannelName::parse(text).err(), "^[a-z][a-z0-9-]{0,39}$");
pub(super) static AMI: Rule = id(|text| AmiId::parse(text).err(), "^ami-[0-9a-fA-F]{8,17}$");
pub(super) static PARAMETER: Rule = id(|text| ParameterName::parse(text).err(), "^[A-Za-z0-9_./-]{1,1011}$");
pub(super) static TEMPLATE: Rule = id(|text| TemplateName::parse(text).err(), "^[A-Za-z0-9()./_-]{3,128}$");
pub(super) static GROUP: Rule = id(|text| GroupName::parse(text).err(), "^[^:]{1,255}$");
pub(super) static NAMES: Rule =
    word("a pattern of file names", "Write it like `*.jar`, without `/`", |text| {
        Names::parse(text).is_some()
    })
    .pattern("^[^/]+$");
pub(super) static STRATEGY: Rule = choice("a strategy", &["rolling", "blue-green"]);
pub(super) static SHARE: Rule =
    word("a part of a group", "Write `1 instance`, `3 instances` or `25%`", |text| {
        Share::parse(text).is_some()
    })
    .pattern("^([0-9]+ instances?|[0-9]+%)$");
pub(super) static ALARM: Rule = word("the name of an alarm", "Use 1 to 255 printable characters", |text| {
    (1..=255).contains(&text.chars().count()) && !text.contains(char::is_control)
});

pub(super) static METHOD: Rule =
    choice("a method of HTTP", &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);
pub(super) static ARCHITECTURE: Rule = choice("an architecture of builders", &["x86_64", "arm64"]);
// EC2 has st1 and sc1 too, and boots no machine from them.
pub(super) static VOLUME_TYPE: Rule =
    choice("a type of volume that EC2 boots a machine from", &["gp3", "gp2", "io2", "io1", "standard"]);

pub(super) static ANY: Rule = word("a text", "Use a text", |_| true);

pub(super) static NAME: Rule =
    word("a short name", "Shorten it: a name has at most 80 characters", |text| text.chars().count() <= 80);

pub(super) static VARIABLE: Rule = word(
    "a name of an environment variable",
    "Use letters, digits and `_`, not beginning with a digit",
    |text| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    },
)
.pattern("^[A-Za-z_][A-Za-z0-9_]*$");

pub(super) static USER: Rule = word(
    "a name of a user or group",
    "Use letters, digits and `_.-`, beginning with a letter, digit or `_`, at most 32",
    user,
);

pub(super) static OWNER: Rule =
    word("an owner", "Use `user` or `user:group`", |text| match text.split_once(':') {
        Some((name, group)) => user(name) && user(group),
        None => user(text),
    });

pub(super) static MODE: Rule = word("a file mode", "Write it in octal: `mode = \"0644\"`", |text| {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits && u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777)
})
.pattern("^[0-7]{1,}$");

pub(super) static PATH: Rule =
    word("an absolute path", "Begin it with `/`, without `..`", absolute).pattern("^/");

pub(super) static FILE_PATH: Rule = word(
    "an absolute path of a file",
    "Begin it with `/` and end it with the file's name, without `..`",
    |text| absolute(text) && !text.ends_with('/'),
)
.pattern("^/");

pub(super) static WRITTEN: Rule = word(
    "a path of a file",
    "Give an absolute path, or one from the folder of the recipe's files on; end it with the file's name, without `..`",
    |text| {
        let inside = Path::new(text).components().all(|part| matches!(part, Component::Normal(_)));
        (absolute(text) || inside) && !text.ends_with('/')
    },
);

// A `-` at the end makes apt remove the package.
pub(super) static PACKAGE: Rule = word(
    "a package",
    "Name a package, with a version as the base's package manager writes it; a group of dnf, `@name`; or a package file \
     on the machine, `/path/to/it.deb`. For a pattern, a URL or an option, use a `shell` step: `apt-get install -y …`",
    |text| {
        let file = [".deb", ".rpm", ".apk"].iter().any(|end| text.ends_with(end));
        match text.strip_prefix('@') {
            // A group's name may have spaces: `@Development Tools`.
            Some(group) => begins_plainly(group) && plain(group, b"+-._:/ ") && !group.ends_with([' ', '-']),
            None if text.starts_with('/') => file && absolute(text) && plain(text, b"+-._:=~@/"),
            None => {
                plain(text, b"+-._:=~@/")
                    && begins_plainly(text)
                    && !text.ends_with('-')
                    && !text.contains("..")
                    && !text.contains("//")
                    && !file
            }
        }
    },
);

pub(super) static PACKAGE_NAME: Rule = word(
    "a name of a package",
    "Use letters, digits and `+-._:@/`, beginning with a letter or digit; its version is a key of its own",
    |text| plain(text, b"+-._:@/~") && begins_plainly(text),
);

pub(super) static VERSION: Rule = word(
    "the beginning of a version",
    "Use letters, digits and `+-._:~`, beginning with a letter or digit",
    |text| begins_plainly(text) && plain(text, b"+-._:~"),
);

pub(super) static SERVICE: Rule = word(
    "a name of a service",
    "Use letters, digits and `-_.@:\\`, beginning with a letter or digit",
    service,
);

pub(super) static UNIT: Rule =
    word("a unit", "Use its whole name: `network-online.target`", |text| service(text) && text.contains('.'));

pub(super) static EXEC: Rule = word(
    "a command on one line",
    "Leave the `\\` at its end out: systemd joins the next line to it",
    |text| !text.ends_with('\\'),
);

pub(super) static PROCESS: Rule =
    word("a name of a process", "Use its program's name without the folder", |text| {
        text.len() <= 255 && !text.contains('/')
    })
    .pattern("^[^/]+$");

pub(super) static FACT: Rule =
    word("a name of a fact", "Use lower-case letters, digits and `_`, beginning with a letter", |text| {
        text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            && text.starts_with(|c: char| c.is_ascii_lowercase())
    })
    .pattern("^[a-z][a-z0-9_]*$");

pub(super) static HEADER: Rule =
    word("a name of a header", "Use letters, digits and `-_`, beginning with a letter", |text| {
        plain(text, b"-_") && text.starts_with(|c: char| c.is_ascii_alphabetic())
    });

pub(super) static URL: Rule =
    word("an HTTP address", "Begin it with `http://127.0.0.1:`, and write a space as `%20`", |text| {
        let rest = ["http://", "https://"].iter().find_map(|scheme| text.strip_prefix(scheme));
        rest.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '['))
            && !text.contains(char::is_whitespace)
    })
    .pattern("^https?://[^\\s]+$");

pub(super) static POINTER: Rule = word(
    "a JSON pointer",
    "Use `/` before every part: `/status`, `/checks/0/name`; `~0` for a `~` and `~1` for a `/` in a part",
    |text| {
        (text.is_empty() || text.starts_with('/'))
            && text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']))
    },
)
.pattern("^(/|$)");

pub(super) static RUN_LIST: Rule =
    word("an entry of a run list", "Use `recipe[cookbook::recipe]` or `role[name]`", |text| {
        let inner = ["recipe[", "role["].iter().find_map(|kind| text.strip_prefix(kind)?.strip_suffix(']'));
        inner.is_some_and(|name| begins_plainly(name) && plain(name, b"-_.:@"))
    });

pub(super) static BASE_CHANNEL: Rule = word(
    "a channel of a pipeline",
    "Write a pipeline and a channel: `jvm-runtime/stable`. Each has lower-case letters, digits and `-`, beginning \
     with a letter, at most 40",
    |text| {
        text.split_once('/').is_some_and(|(pipeline, channel)| {
            PipelineName::parse(pipeline).is_ok() && ChannelName::parse(channel).is_ok()
        })
    },
)
.pattern("^[a-z][a-z0-9-]{0,39}/[a-z][a-z0-9-]{0,39}$");

pub(super) static IMAGE_OWNER: Rule = word(
    "an owner of images",
    "Use an account's 12 digits, or `amazon`, `self`, `aws-marketplace`",
    |text| {
        ["amazon", "self", "aws-marketplace"].contains(&text)
            || (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()))
    },
)
.pattern("^([0-9]{12}|amazon|self|aws-marketplace)$");

pub(super) static INSTANCE_TYPE: Rule =
    word("an instance type", "Use EC2's word for it: `c7i.large`", |text| {
        text.split_once('.').is_some_and(|(family, size)| plain(family, b"-") && plain(size, b"-"))
            && begins_plainly(text)
    });

pub(super) static SUBNET: Rule =
    word("a subnet's id", "Use `subnet-` and 8 to 17 hexadecimal digits", |text| aws_id(text, "subnet-"))
        .pattern("^subnet-[0-9a-fA-F]{8,17}$");

pub(super) static SECURITY_GROUP: Rule =
    word("a security group's id", "Use `sg-` and 8 to 17 hexadecimal digits", |text| aws_id(text, "sg-"))
        .pattern("^sg-[0-9a-fA-F]{8,17}$");

pub(super) static INSTANCE_PROFILE: Rule = word(
    "a name of an instance profile",
    "Use its name, not its ARN: letters, digits and `+=,.@_-`, at most 128",
    |text| plain(text, b"+=,.@_-") && text.len() <= 128 && !text.starts_with('-'),
)
.pattern("^[A-Za-z0-9+=,.@_-]{1,128}$");

pub(super) static KMS_KEY: Rule = word(
    "a KMS key",
    "Use a key's id, `alias/…`, or the ARN of either; `alias/aws/ebs` is AWS's own",
    |text| {
        let id = |text: &str| {
            (36..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let alias = |text: &str| text.strip_prefix("alias/").is_some_and(|name| plain(name, b"/_-"));
        let arn = || {
            let resource = text.splitn(6, ':').nth(5)?;
            let kms = text.starts_with("arn:aws") && text.split(':').nth(2) == Some("kms");
            Some(kms && (alias(resource) || resource.strip_prefix("key/").is_some_and(id)))
        };
        text == AWS_OWN_KEY || (text.len() <= 512 && (id(text) || alias(text) || arn().unwrap_or(false)))
    },
);

/// The name that everybody knows AWS's own key for volumes by; EC2 wants the alias.
pub(in crate::domain::recipe) const AWS_OWN_KEY: &str = "aws/ebs";

pub(super) static TAG: Rule = word(
    "a key that a tag of yours may have",
    "Use 1 to 128 characters on one line, not beginning with `aws:` or `ovenbird:`",
    |text| {
        let lower = text.to_lowercase();
        short(text, 1, 128) && !["aws:", "ovenbird:"].iter().any(|prefix| lower.starts_with(prefix))
    },
);

pub(super) static TAG_VALUE: Rule =
    word("a value of a tag", "Use at most 256 characters on one line", |text| short(text, 0, 256));

/// Letters, digits and these others, at least one.
fn plain(text: &str, others: &[u8]) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || others.contains(&b))
}

fn begins_plainly(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

fn service(text: &str) -> bool {
    begins_plainly(text) && plain(text, b"-_.@:\\")
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

/// A path on the machine: absolute, and not climbing.
fn absolute(text: &str) -> bool {
    text.starts_with('/')
        && Path::new(text).components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

fn short(text: &str, least: usize, most: usize) -> bool {
    (least..=most).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}
