//! `[validate]`, `[promote]`, `[[channel]]`, `[rollout]`, `[retain]` and `[deadlines]`: what is done with an image, and how long it may take.

use std::{collections::BTreeSet, str::FromStr, time::Duration};

use crate::domain::{
    destination::{Policy, Share, Strategy},
    id::{GroupName, TemplateName},
    recipe::{
        Attributes, Promote, Retain, Validate, Waits,
        reader::{Fields, Reader},
    },
};

pub(super) fn validate(mut validate: Fields) -> Option<Validate> {
    Some(Validate { boot: validate.flag("boot")? })
}

pub(super) fn promote(reader: &mut Reader<'_>, mut promote: Fields) -> Option<(Promote, Attributes)> {
    let (imdsv2, protected) = (promote.flag("imdsv2"), promote.flag("deregistration-protection"));
    let promote = follows(reader, promote, "channel")?;
    Some((promote, Attributes { imdsv2: imdsv2?, protected: protected? }))
}

/// The recipe's other channels. Each may be there once, and each thing may follow one channel only.
pub(super) fn channels(
    reader: &mut Reader<'_>,
    tables: Vec<Fields>,
    promote: Option<&Promote>,
) -> Option<Vec<Promote>> {
    let mut known: Vec<Promote> = promote.cloned().into_iter().collect();
    let own = known.len();
    for table in tables {
        let span = table.span.clone();
        let channel = follows(reader, table, "name")?;
        for other in &known {
            let twice = if other.channel == channel.channel {
                Some(format!("channel `{}`", channel.channel))
            } else if other.parameter.is_some() && other.parameter == channel.parameter {
                channel.parameter.as_ref().map(|name| format!("parameter `{name}`"))
            } else if let Some(name) = channel.groups.iter().find(|name| other.groups.contains(name)) {
                Some(format!("group `{name}`"))
            } else {
                let both = channel.launch_templates.iter().find(|name| other.launch_templates.contains(name));
                both.map(|name| format!("launch template `{name}`"))
            };
            if let Some(what) = twice {
                reader.wrong(&span, format!("{what} is there twice"), "Let it follow one channel");
            }
        }
        known.push(channel);
    }
    Some(known.split_off(own))
}

fn follows(reader: &mut Reader<'_>, mut table: Fields, name: &str) -> Option<Promote> {
    let parameter = table.id("parameter");
    let groups: Vec<GroupName> = ids(table.texts("groups"));
    let launch_templates: Vec<TemplateName> = ids(table.texts("launch-templates"));
    let twice = |count: usize, distinct: BTreeSet<String>| distinct.len() < count;
    if twice(groups.len(), groups.iter().map(ToString::to_string).collect())
        || twice(launch_templates.len(), launch_templates.iter().map(ToString::to_string).collect())
    {
        reader.wrong(&table.span, "a group or launch template is there twice", "Name it once");
    }
    Some(Promote { channel: table.id(name)?, parameter, launch_templates, groups })
}

/// The grammar has judged each.
fn ids<T: FromStr>(texts: Option<Vec<String>>) -> Vec<T> {
    texts.unwrap_or_default().iter().filter_map(|text| text.parse().ok()).collect()
}

pub(super) fn rollout(reader: &mut Reader<'_>, mut rollout: Fields, channels: &[Promote]) -> Option<Policy> {
    let alarms = rollout.texts("alarms").unwrap_or_default();
    if alarms.len() > 10 {
        let problem = format!("{} alarms: an instance refresh takes 10", alarms.len());
        reader.wrong(&rollout.place("alarms"), problem, "Use a composite alarm");
    }
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let strategy = match rollout.text("strategy")?.as_str() {
        "blue-green" => Strategy::BlueGreen,
        _ => Strategy::Rolling,
    };
    let pairs = |one: &&Promote| !one.groups.is_empty() && one.groups.len() != 2;
    if let (Strategy::BlueGreen, Some(channel)) = (strategy, channels.iter().find(pairs)) {
        let problem = format!(
            "`blue-green` takes two groups, and {} follow channel `{}`",
            channel.groups.len(),
            channel.channel
        );
        reader.wrong(
            &rollout.place("strategy"),
            problem,
            "Name the group that serves, and the one that takes over",
        );
    }
    let stages = stages(reader, &mut rollout, strategy);
    let (pause_before, approve_hours) = (rollout.number("pause-before"), rollout.number("approve-hours"));
    if approve_hours.is_some() && pause_before.is_none() {
        let problem = "there is a time for approval, and nothing asks for one";
        reader.wrong(
            &rollout.place("approve-hours"),
            problem,
            "Add `pause-before = 1`, or remove `approve-hours`",
        );
    }
    Some(Policy {
        strategy,
        stages,
        watch: rollout.time("watch").map(seconds)?,
        soak: rollout.time("soak").map(seconds)?,
        keep_for: rollout.time("keep-for").map(seconds)?,
        healthy_within: rollout.time("healthy-within").map(seconds)?,
        alarms,
        max_unhealthy: rollout.number("max-unhealthy")?,
        pause_before,
        approve_within: approve_hours.map(|hours: u32| i64::from(hours) * 3600),
        deadline: rollout.time("deadline").map(seconds)?,
    })
}

/// What the recipe says, or a part first and then all.
fn stages(reader: &mut Reader<'_>, rollout: &mut Fields, strategy: Strategy) -> Vec<Share> {
    let Some(texts) = rollout.texts("stages") else {
        return match strategy {
            Strategy::Rolling => vec![Share::Instances(1), Share::ALL],
            Strategy::BlueGreen => vec![Share::Percent(10), Share::ALL],
        };
    };
    let stages: Vec<Share> = texts.iter().filter_map(|text| Share::parse(text)).collect();
    if stages.last().is_none_or(|last| !last.is_all()) {
        reader.wrong(
            &rollout.place("stages"),
            "the last stage is not `100%`",
            "End `stages` with `\"100%\"`",
        );
    }
    if strategy == Strategy::BlueGreen && stages.iter().any(|stage| matches!(stage, Share::Instances(_))) {
        reader.wrong(
            &rollout.place("stages"),
            "`blue-green` shares out requests, not instances",
            "Write per cents: `stages = [\"10%\", \"100%\"]`",
        );
    }
    stages
}

pub(super) fn retain(mut retain: Fields) -> Option<Retain> {
    Some(Retain {
        newest: retain.number("newest")?,
        days: retain.number("days")?,
        history: retain.number("history")?,
        soak: retain.number("soak")?,
        retire_shared: retain.flag("retire-shared")?,
    })
}

pub(super) fn deadlines(reader: &mut Reader<'_>, mut deadlines: Fields) -> Option<Waits> {
    let waits = Waits {
        builder: deadlines.time("builder")?,
        validation: deadlines.time("validation")?,
        imaging: deadlines.time("imaging")?,
        promotion: deadlines.time("promotion")?,
    };
    let longest = 2 * waits.builder + waits.validation + 2 * waits.imaging + waits.promotion;
    if longest > MOST {
        let hours = longest.as_secs_f64() / 3600.0;
        let problem = format!("`[deadlines]` lets a bake take {hours:.1} h, and 23 h is the most");
        let hint =
            "Give less: `builder` counts twice (a fresh instance may be tested), and `imaging` (sealing)";
        reader.wrong(&deadlines.span, problem, hint);
    }
    Some(waits)
}

/// With what a step's retries take, a bake ends within a day; with a twin that it waited for in vain, within the two
/// days after which the state machine ends without any clean-up.
const MOST: Duration = Duration::from_secs(23 * 3600);
