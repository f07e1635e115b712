//! `[base]`: the image to start from.

use super::{
    one_of,
    words::{Rule, parsed, word},
};
use crate::domain::recipe::{
    Base,
    mistake::{Source, quoted},
    reader::{Table, Text},
};

pub(in crate::domain::recipe) const KINDS: &[&str] = &["image", "parameter", "newest", "channel"];

const OWNER: Rule = Rule {
    what: "an owner of images",
    rule: "an account's 12 digits, or `amazon`, `self`, `aws-marketplace`",
    valid: |text| {
        ["amazon", "self", "aws-marketplace"].contains(&text)
            || (text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()))
    },
};

const ARCHITECTURE: Rule = Rule {
    what: "an architecture of builders",
    rule: "`x86_64` or `arm64`",
    valid: |text| ["x86_64", "arm64"].contains(&text),
};

pub(super) fn base(source: &mut Source<'_>, root: &mut Table<'_>) -> Option<Base> {
    if !root.has("base") {
        root.know(&["base"]);
        let hint = format!("Add `[base]` with one of: {}", KINDS.join(", "));
        source.wrong(&(0..0), "the recipe lacks `[base]`", hint);
        return None;
    }
    let table = root.table(source, "base")?;
    let (kind, mut table) = one_of(source, table, KINDS, ("names no base", "names more than one base"))?;
    let base = match kind {
        "image" => table.line(source, kind).and_then(|text| parsed(source, text)).map(Base::Image),
        "parameter" => table.line(source, kind).and_then(|text| parsed(source, text)).map(Base::Parameter),
        "channel" => table.line(source, kind).and_then(|text| channel(source, text)),
        _ => table.table(source, kind).and_then(|mut newest| {
            let owner = newest.need_line(source, "owner").and_then(|text| word(source, text, &OWNER));
            let name = newest.need_line(source, "name");
            let architecture = newest.line(source, "architecture");
            let architecture = architecture.and_then(|text| word(source, text, &ARCHITECTURE));
            newest.finish(source);
            Some(Base::Newest { owner: owner?, name: name?.into_inner(), architecture })
        }),
    };
    table.finish(source);
    base
}

fn channel(source: &mut Source<'_>, text: Text) -> Option<Base> {
    let Some((pipeline, channel)) = text.get_ref().split_once('/') else {
        let problem = format!("{} is no channel of a pipeline", quoted(text.get_ref()));
        source.wrong(&text.span(), problem, "Write `channel = \"jvm-runtime/stable\"`");
        return None;
    };
    let part = |part: &str| Text::new(text.span(), part.to_owned());
    let pipeline = parsed(source, part(pipeline));
    let channel = parsed(source, part(channel));
    Some(Base::Channel { pipeline: pipeline?, channel: channel? })
}
