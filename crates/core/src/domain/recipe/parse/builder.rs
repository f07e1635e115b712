//! `[builder]`: the machine to configure.

use std::collections::BTreeMap;

use super::words::{INSTANCE_PROFILE, INSTANCE_TYPE, KMS_KEY, Rule, SECURITY_GROUP, SUBNET, word, words};
use crate::domain::recipe::{
    Builder, Volume,
    mistake::{Source, quoted},
    reader::{Table, Text},
};

/// EC2's most tags of a resource are 50; up to ten are ours.
const MOST_TAGS: usize = 40;

pub(super) fn builder(source: &mut Source<'_>, root: &mut Table<'_>) -> Builder {
    // Small, current and cheap; the second is of another generation, where capacity is another.
    let instance_types = vec!["m7i.large".to_owned(), "m6i.large".to_owned()];
    let mut builder = Builder { instance_types, ..Builder::default() };
    let Some(mut table) = root.table(source, "builder") else { return builder };
    if let Some(types) = list(source, &mut table, "instance-types", &INSTANCE_TYPE) {
        builder.instance_types = types;
    }
    builder.spot = table.flag(source, "spot").unwrap_or(false);
    builder.volume = table.table(source, "volume").and_then(|table| volume(source, table));
    builder.subnets = list(source, &mut table, "subnets", &SUBNET).unwrap_or_default();
    builder.security_groups =
        list(source, &mut table, "security-groups", &SECURITY_GROUP).unwrap_or_default();
    builder.instance_profile =
        table.line(source, "instance-profile").and_then(|text| word(source, text, &INSTANCE_PROFILE));
    builder.tags = tags(source, &mut table);
    table.finish(source);
    builder
}

/// A list that says nothing when it is empty: then the key is better left out.
fn list(
    source: &mut Source<'_>,
    table: &mut Table<'_>,
    key: &'static str,
    rule: &Rule,
) -> Option<Vec<String>> {
    let at = table.place(key);
    let texts = table.texts(source, key)?;
    if texts.is_empty() {
        source.wrong(&at, format!("`{key}` is empty"), format!("Name at least one, or leave `{key}` out"));
        return None;
    }
    Some(words(source, texts, rule))
}

fn volume(source: &mut Source<'_>, mut table: Table<'_>) -> Option<Volume> {
    let at = table.span.clone();
    let empty = !["gib", "type", "iops", "kms-key"].iter().any(|key| table.has(key));
    let gib = table.number(source, "gib", 1..65_537);
    let kind = table.line(source, "type");
    let kind_at = kind.as_ref().map_or_else(|| at.clone(), Text::span);
    let kind = kind.map(Text::into_inner);
    let iops = table.number(source, "iops", 100..256_001);
    let kms_key = table.line(source, "kms-key").and_then(|text| match text.get_ref().as_str() {
        // The name that everybody knows AWS's own key by; EC2 wants the alias.
        "aws/ebs" => Some("alias/aws/ebs".to_owned()),
        _ => word(source, text, &KMS_KEY),
    });
    match kind.as_deref() {
        None | Some("gp2" | "standard") if iops.is_some() => {
            source.wrong(&at, "`iops` needs a volume of type gp3, io1 or io2", "Add `type = \"gp3\"`");
        }
        None | Some("gp2" | "gp3" | "standard") => {}
        Some("io1" | "io2") if iops.is_none() => {
            let hint = "Add `iops = 3000`, or use `gp3`, which has as many by itself";
            source.wrong(&kind_at, "a volume of type io1 or io2 needs `iops`", hint);
        }
        Some("io1" | "io2") => {}
        Some(kind @ ("st1" | "sc1")) => {
            source.wrong(&kind_at, format!("EC2 boots no machine from a volume of type {kind}"), "Use `gp3`");
        }
        Some(other) => {
            let problem = format!("{} is no type of volume", quoted(other));
            source.wrong(&kind_at, problem, "Use gp3, gp2, io2, io1 or standard");
        }
    }
    if empty {
        source.wrong(&at, "`volume` says nothing", "Give it `gib`, `type` or `kms-key`, or leave it out");
    }
    table.finish(source);
    Some(Volume { gib, kind, iops, kms_key })
}

fn tags(source: &mut Source<'_>, table: &mut Table<'_>) -> BTreeMap<String, String> {
    let at = table.place("tags");
    let pairs = table.text_map(source, "tags");
    let mut tags = BTreeMap::new();
    for (key, value) in pairs {
        let (key_length, value_length) = (key.get_ref().chars().count(), value.get_ref().chars().count());
        let control = key.get_ref().chars().chain(value.get_ref().chars()).any(char::is_control);
        let prefix =
            ["aws:", "ovenbird:"].into_iter().find(|prefix| key.get_ref().to_lowercase().starts_with(prefix));
        if let Some(prefix) = prefix {
            let problem = format!("tag {} begins with `{prefix}`", quoted(key.get_ref()));
            source.wrong(&key.span(), problem, "Name it otherwise: tags that begin so are not yours");
        } else if key_length == 0 || key_length > 128 || value_length > 256 || control {
            let problem = format!("tag {} is none that EC2 takes", quoted(key.get_ref()));
            let hint = "Use a key of 1 to 128 and a value of at most 256 characters, on one line";
            source.wrong(&key.span(), problem, hint);
        } else {
            tags.insert(key.into_inner(), value.into_inner());
        }
    }
    if tags.len() > MOST_TAGS {
        source.wrong(&at, format!("`tags` has more than {MOST_TAGS} tags"), "Leave some out");
    }
    tags
}
