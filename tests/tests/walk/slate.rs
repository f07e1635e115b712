//! Clean slate, defined once: what may be there when every execution has ended.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::{
    domain::{
        bake::{Bake, Status},
        id::AmiId,
        rollout::Rollout,
        tags,
        turn::Turn,
    },
    steps::rollout::execution,
    store::{Channel, ImageSet, ImageStatus, Lease},
};
use ovenbird_sim::{
    ImageState, InstanceState, Tags, Volume, World, auto_scaling::Configuration, load_balancing::Action,
};
use ovenbird_testkit::Cloud;
use serde::{Deserialize, de::DeserializeOwned};

use ovenbird_testkit::walk::machine::End;

use super::{children, told};

/// Who has a builder, or waits for one.
#[derive(Debug, Deserialize)]
struct Turns {
    turns: Vec<Turn>,
}

/// How every execution of a walk ended.
pub type Ends = BTreeMap<String, End>;

/// Everything that is there and should not be, or isn't and should.
///
/// A bake of which `excused` holds said itself that its clean-up did not run to its end, or its execution is
/// lost: what is left of it is the scheduled prune's, and no violation yet.
///
/// Where an operator `overruled` a promotion by hand, a channel and its parameter may say different things.
pub fn violations(cloud: &Cloud, ends: &Ends, excused: &BTreeSet<String>, overruled: bool) -> Vec<String> {
    let mut found = Vec::new();
    let bakes: Vec<Bake> = decode(cloud, "BAKE#");
    let channels: Vec<Channel> = decode(cloud, "CHANNEL#");
    let leases: Vec<Lease> = decode(cloud, "LEASE");
    let records: Vec<ImageSet> = decode(cloud, "SET");
    let rollouts: Vec<Rollout> = decode(cloud, "ROLLOUT#");
    let excuse = |tags: &Tags| tags.get(tags::TAG_BAKE).is_some_and(|bake| excused.contains(bake));
    // One whose record says so, or whose bake ended well.
    let validated = |image: &AmiId| {
        records.iter().any(|record| {
            record.home.image == *image
                && record.status == ImageStatus::Validated
                && record.passed.iter().all(|passed| passed.count > 0)
                && !record.passed.is_empty()
        }) || bakes.iter().any(|bake| {
            let well =
                [Status::Promoted, Status::Validated, Status::Superseded].contains(&bake.progress.status);
            bake.progress.image.as_ref() == Some(image)
                && well
                && bake.progress.tests_passed.is_some_and(|tests| tests > 0)
        })
    };

    let now = cloud.now();
    cloud.with(|world| {
        let instances: BTreeSet<_> = world.live_instances().map(|one| one.id.clone()).collect();
        for instance in world.live_instances() {
            // Until it expires, a failed bake's builder is kept where that was asked for.
            let kept = bakes.iter().any(|bake| {
                let its = instance.tags.get(tags::TAG_BAKE).is_some_and(|tag| tag == bake.spec.id.as_str());
                its && bake.spec.options.keep_builder
                    && bake.progress.status == Status::Failed
                    && now < bake.expires()
            });
            let ours = instance.tags.contains_key(tags::TAG_BAKE);
            if ours && !kept && !excuse(&instance.tags) {
                found.push(format!("instance {} is {:?}", instance.id, instance.state));
            }
        }
        // No step gives a volume a life of its own, so not even an excused bake may leave one.
        let lone = |volume: &&Volume| volume.instance.as_ref().is_none_or(|id| !instances.contains(id));
        for volume in world.volumes().filter(lone) {
            found.push(format!("volume {} has no instance", volume.id));
        }
        let mut snapshots = BTreeSet::new();
        for image in world.own_images() {
            snapshots.extend(image.snapshots().cloned());
            if !validated(&image.id) && !excuse(&image.tags) {
                found.push(format!("image {} was never validated", image.id));
            }
        }
        for snapshot in world.snapshots().filter(|one| !snapshots.contains(&one.id) && !excuse(&one.tags)) {
            found.push(format!("snapshot {} belongs to no image", snapshot.id));
        }
        for record in records.iter().filter(|record| !excused.contains(record.bake.as_str())) {
            if !world.own_images().any(|image| image.id == record.home.image) {
                found.push(format!(
                    "{} is on record as {:?} and is not there",
                    record.home.image, record.status
                ));
            }
        }
        for channel in &channels {
            let Some(current) = &channel.current else { continue };
            let image = world.own_images().find(|image| image.id == current.image);
            if image.is_none_or(|image| image.state != ImageState::Available) {
                found.push(format!("channel {} points at {}: {image:?}", channel.name, current.image));
            }
            if !validated(&current.image) {
                found.push(format!("channel {} points at what was never validated", channel.name));
            }
            let maker = bakes
                .iter()
                .find(|bake| bake.progress.image.as_ref() == Some(&current.image) && !bake.progress.reused);
            if let (Some(image), Some(Bake { spec, .. })) = (image, maker)
                && (image.standing.protected, image.standing.imdsv2)
                    != (spec.settings.protected, spec.settings.imdsv2)
            {
                found.push(format!("channel {} points at {image:?}, of {:?}", channel.name, spec.settings));
            }
        }
    });

    found.extend(destroyed(cloud, &channels, excuse));
    if excused.is_empty() {
        found.extend(dangling(cloud));
    }
    if !overruled {
        found.extend(outrun(&bakes, &channels));
    }

    found.extend(told::silent(cloud, &bakes, (&channels, &rollouts), ends, excused, overruled));
    found.extend(told::untrue(cloud, &channels, &rollouts));

    for lease in leases {
        if let Some(holder) = lease.holder.filter(|holder| !excused.contains(holder.as_str())) {
            found.push(format!("bake {holder} still holds a lease"));
        }
    }
    for turn in decode::<Turns>(cloud, "TURNS").into_iter().flat_map(|kept| kept.turns) {
        if !excused.contains(turn.bake.as_str()) {
            found.push(format!("bake {} still has its turn, or waits for it", turn.bake));
        }
    }
    for bake in &bakes {
        let excused = excused.contains(bake.spec.id.as_str());
        if let Some(problem) = untrue(bake, &channels, ends.get(bake.spec.id.as_str()), excused) {
            found.push(format!("bake {} says {:?}: {problem}", bake.spec.id, bake.progress.status));
        }
    }
    found.extend(children::childless(cloud, &bakes, &channels, ends));
    found.extend(children::unregistered(cloud, ends));
    // A parameter follows its channel.
    let parameters = cloud.parameters();
    let followed: BTreeMap<_, _> = bakes
        .iter()
        .filter(|bake| !excused.contains(bake.spec.id.as_str()))
        .filter_map(|bake| Some((bake.spec.settings.parameter.clone()?, bake)))
        .collect();
    // One whose execution is lost goes on with the next prune run.
    let lost = |rollout: &Rollout| excused.contains(execution(rollout).as_str());
    let unsettled =
        bakes.iter().any(|bake| excused.contains(bake.spec.id.as_str())) || rollouts.iter().any(lost);
    // A person has the word until then: nothing is late yet.
    let asks = rollouts.iter().any(|rollout| rollout.approval_ends().is_some_and(|ends| now < ends));
    if !unsettled && !overruled && !asks {
        found.extend(uneven(cloud, &rollouts, &channels));
    }
    for (name, bake) in followed.into_iter().filter(|_| !unsettled && !overruled) {
        let channel = channels.iter().find(|channel| {
            channel.pipeline == bake.spec.pipeline && channel.name == bake.spec.settings.channel
        });
        let current =
            channel.and_then(|channel| channel.current.as_ref()).map(|target| target.image.to_string());
        if parameters.get(&name) != current.as_ref() {
            found.push(format!("parameter {name} is {:?}, its channel {current:?}", parameters.get(&name)));
        }
    }
    found
}

/// What of a street isn't as its channel says: a rollout without an end, machines of two images, or a launch template
/// whose default is another one.
fn uneven(cloud: &Cloud, rollouts: &[Rollout], channels: &[Channel]) -> Vec<String> {
    let mut found = Vec::new();
    for rollout in rollouts.iter().filter(|rollout| rollout.progress.outcome.is_none()) {
        found.push(format!("rollout {} is in phase {}", rollout.spec.id, rollout.progress.phase.as_str()));
    }
    for channel in channels {
        for rolling in channel.rolling.iter().chain(&channel.waiting) {
            found.push(format!("channel {} still waits for rollout {}", channel.name, rolling.rollout));
        }
    }
    let current = channels.iter().find_map(|channel| channel.current.as_ref());
    let Some(current) = current.map(|current| current.image.to_string()) else { return found };
    cloud.with(|world| {
        for template in world.launch_templates() {
            let image = template.version(template.default_version).and_then(|one| one.data.image.as_ref());
            if image != Some(&current) {
                found.push(format!("the template's default has {image:?}, the channel {current}"));
            }
        }
        for group in world.auto_scaling_groups() {
            if let Some(refresh) = group.active_refresh() {
                found.push(format!("refresh {} is {}", refresh.id, refresh.status.as_str()));
            }
            let staying = group.members.iter().filter(|member| !member.lifecycle.is_ending());
            for member in staying.filter(|member| member.image.as_str() != current) {
                found.push(format!(
                    "{} runs from {}, the channel has {current}",
                    member.instance, member.image
                ));
            }
            // Of a pair the other group is at rest.
            let launched = launched(world, &group.configuration);
            if group.desired > 0 && launched.as_ref() != Some(&current) {
                found.push(format!("{} launches {launched:?}, the channel has {current}", group.name));
            }
        }
        found.extend(dark(world));
    });
    found
}

/// Rules of load balancers that send requests to a group without machines, and groups whose machines get none.
fn dark(world: &World) -> Vec<String> {
    let mut found = Vec::new();
    for rule in world.listeners().flat_map(|listener| &listener.rules) {
        let Action::Forward(forward) = &rule.action else { continue };
        for group in world.auto_scaling_groups() {
            let weights = forward.groups.iter().filter(|one| group.target_groups.contains(&one.group));
            let weight: u16 = weights.map(|one| one.weight).sum();
            let staying = group.members.iter().filter(|member| !member.lifecycle.is_ending()).count();
            if (weight > 0) != (staying > 0) {
                found.push(format!("group {} has {staying} machines and the weight {weight}", group.name));
            }
        }
    }
    found
}

/// Versions that Ovenbird made for an image that is there, that nothing launches by, and whose image nothing else needs:
/// prune leaves none, or the image would stay for ever.
pub fn superseded(cloud: &Cloud) -> Vec<String> {
    let needed: String = decode::<Channel>(cloud, "CHANNEL#").iter().map(|one| format!("{one:?}")).collect();
    cloud.with(|world| {
        let launched: BTreeSet<(String, u64)> = world
            .auto_scaling_groups()
            .flat_map(|group| {
                group.members.iter().map(|member| &member.template).chain(group.configuration.templates())
            })
            .filter_map(|spec| Some((spec.id.clone()?, spec.version.as_ref()?.parse().ok()?)))
            .collect();
        // A recipe retains it, whatever became of it.
        let newest = world.own_images().max_by_key(|one| one.created).map(|one| one.id.to_string());
        let mut found = Vec::new();
        for template in world.launch_templates() {
            for version in template.versions() {
                let made = version.description.as_ref().and_then(|text| text.strip_prefix("Ovenbird: "));
                let Some(image) = made else { continue };
                let stays = newest.as_deref().is_none_or(|newest| newest == image)
                    || !world.own_images().any(|one| one.id.as_str() == image)
                    || version.number == template.default_version
                    || version.number == template.latest_version()
                    || launched.contains(&(template.id.clone(), version.number))
                    || needed.contains(image)
                    || world.live_instances().any(|one| one.image.as_str() == image);
                if !stays {
                    found
                        .push(format!("version {} of {} still names {image}", version.number, template.name));
                }
            }
        }
        found
    })
}

/// The image of the launch template's version that a group names by its number.
fn launched(world: &World, configuration: &Configuration) -> Option<String> {
    let version = configuration.base().version.as_ref()?.parse().ok()?;
    world.launch_templates().find_map(|template| template.version(version)?.data.image.clone())
}

/// What is referred to and isn't there any more.
fn destroyed(cloud: &Cloud, channels: &[Channel], excuse: impl Fn(&Tags) -> bool) -> Vec<String> {
    let mut referrers: Vec<(String, AmiId)> = Vec::new();
    for channel in channels {
        let current = channel.current.iter().map(|target| target.image.clone());
        referrers
            .extend(current.map(|image| (format!("channel {}/{}", channel.pipeline, channel.name), image)));
    }
    cloud.with(|world| {
        // Whoever's: a base is somebody else's image, and an operator's instance runs from ours.
        let live = world
            .live_instances()
            .filter(|one| one.state != InstanceState::ShuttingDown && !excuse(&one.tags));
        referrers.extend(live.map(|one| (format!("instance {}", one.id), one.image.clone())));
        let gone = referrers.into_iter().filter(|(_, image)| world.image(image).is_none());
        gone.map(|(who, image)| format!("{image} was destroyed, and {who} refers to it")).collect()
    })
}

/// Parameters that name an image which isn't there any more, whoever wrote it there.
fn dangling(cloud: &Cloud) -> Vec<String> {
    let images =
        cloud.parameters().into_iter().filter_map(|(name, value)| Some((name, AmiId::parse(&value).ok()?)));
    let gone = images.filter(|(_, image)| cloud.with(|world| world.image(image).is_none()));
    gone.map(|(name, image)| format!("{image} was destroyed, and parameter {name} names it")).collect()
}

/// What isn't so of what a person was told who took an image back. Where it was `retiring` before, it is to be had all the time,
/// so nobody is told that it is not; and whoever is told that it is back finds it as it was before its retirement.
pub fn not_taken_back(cloud: &Cloud, artifact: &str, end: &End, retiring: bool) -> Vec<String> {
    let mut found = Vec::new();
    match end {
        End::Succeeded(_) => {}
        End::Failed { error, cause } if error == "BadInput" && retiring => {
            return vec![format!("{artifact} was not taken back: {cause}")];
        }
        End::Failed { .. } | End::Lost | End::Broken(_) => return found,
    }
    let key = format!("artifacts/storefront/{artifact}");
    let bakes: Vec<Bake> = decode(cloud, "BAKE#");
    let is_of = |bake: &&Bake| bake.spec.artifact.as_ref().is_some_and(|one| one.key.as_str() == key);
    let maker = bakes.iter().find(is_of).expect("its bake");
    let id = maker.progress.image.as_ref().expect("its image");
    cloud.with(|world| match world.own_images().find(|image| image.id == *id) {
        Some(image) => {
            let standing = &image.standing;
            let is = (image.state, standing.deprecated.is_some(), standing.protected);
            if is != (ImageState::Available, false, maker.spec.settings.protected)
                || standing.permissions.is_empty() == retiring
            {
                found.push(format!("{artifact} was taken back, and is {image:?}"));
            }
        }
        None => found.push(format!("{artifact} was not taken back: there is no {id}")),
    });
    let records: Vec<ImageSet> = decode(cloud, "SET");
    if !records.iter().any(|record| record.home.image == *id && record.status == ImageStatus::Validated) {
        found.push(format!("{artifact} was taken back, and has no record"));
    }
    found
}

/// Channels that point at something older than what was promoted into them. A forced bake asks for just that.
fn outrun(bakes: &[Bake], channels: &[Channel]) -> Vec<String> {
    let mut found = Vec::new();
    for channel in channels {
        let Some(current) = &channel.current else { continue };
        let into = bakes.iter().filter(|bake| {
            bake.spec.pipeline == channel.pipeline
                && bake.spec.settings.channel == channel.name
                && bake.spec.options.promote
        });
        let (forced, others): (Vec<_>, Vec<_>) = into.partition(|bake| bake.spec.options.force);
        if !forced.is_empty() {
            continue;
        }
        let ended_well = others.into_iter().filter(|bake| bake.progress.status == Status::Promoted);
        for newer in ended_well.filter(|bake| bake.spec.order().compare(&current.order).is_gt()) {
            found.push(format!(
                "channel {} points at {}, older than {}",
                channel.name, current.bake, newer.spec.id
            ));
        }
    }
    found
}

/// Bakes that launched two instances for one purpose, or made two images, however short a time.
pub fn made_twice(cloud: &Cloud) -> Vec<String> {
    let mut made: BTreeMap<String, usize> = BTreeMap::new();
    cloud.with(|world| {
        for instance in world.instances().filter(|one| one.tags.contains_key(tags::TAG_BAKE)) {
            let (bake, role) = (&instance.tags[tags::TAG_BAKE], &instance.tags[tags::TAG_ROLE]);
            *made.entry(format!("bake {bake} launched a {role}")).or_default() += 1;
        }
        for image in world.own_images() {
            *made.entry(format!("bake {} made an image", image.tags[tags::TAG_BAKE])).or_default() += 1;
        }
    });
    made.into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|(what, times)| format!("{what} {times} times"))
        .collect()
}

/// What of a bake's record isn't so.
fn untrue(bake: &Bake, channels: &[Channel], end: Option<&End>, excused: bool) -> Option<String> {
    let targets = || channels.iter().flat_map(|channel| channel.current.iter().chain(&channel.previous));
    // A rollout promotes after its bake has ended.
    let promoted = || targets().any(|target| target.bake == bake.spec.id && target.rollout.is_none());
    // Twins promote one image, and only those that are newer write it into the channel.
    let stands = || targets().any(|target| Some(&target.image) == bake.progress.image.as_ref());
    if excused {
        return None;
    }
    match bake.progress.status {
        Status::Running => Some("and no execution of it runs".into()),
        Status::Promoted if !stands() => Some("and no channel ever pointed at what it made".into()),
        Status::Failed | Status::Cancelled | Status::Validated | Status::Superseded if promoted() => {
            Some("and a channel has it among what it points or pointed at".into())
        }
        Status::Failed | Status::Cancelled if bake.progress.failure.is_none() => Some("and not why".into()),
        Status::Failed | Status::Cancelled if matches!(end, Some(End::Succeeded(_))) => {
            Some("and its execution succeeded".into())
        }
        Status::Promoted | Status::Validated | Status::Superseded if matches!(end, Some(End::Failed { error, .. }) if !after_the_end(error)) => {
            Some(format!("and its execution ended with {end:?}"))
        }
        Status::Promoted | Status::Validated | Status::Superseded | Status::Failed | Status::Cancelled => {
            None
        }
    }
}

/// Errors of the clean-up and of the start of children, which change nothing about what became of a bake.
pub fn after_the_end(error: &str) -> bool {
    ["LeftBehind", "NotCleanedUp", "ChildrenNotStarted", "NotReverted", "NotFinished", "NotFollowed"]
        .contains(&error)
}

pub(super) fn decode<D: DeserializeOwned>(cloud: &Cloud, sort: &str) -> Vec<D> {
    let rows = cloud.rows().into_iter().filter(|row| row.key.sk.starts_with(sort));
    rows.map(|row| serde_json::from_value(row.doc).expect("our own documents")).collect()
}
