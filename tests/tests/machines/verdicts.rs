//! Rollouts by instance refresh on real machines, under load: a person goes back at each stage, and bad versions are found out.
//!
//! One cloud and one set of images for all of it. Each group follows a channel of its own, so all go on beside each other.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use ovenbird_core::domain::bake::Status;
use ovenbird_tests::{clients::within, fleet::Fleet, health::Life, load::Load};
use serde_json::Value;

use crate::{
    Cloud, PATIENCE,
    shop::{RATE, RECIPE, answered, bake, check, push},
};

const PORT: u16 = 14_690;

const ALONE: &str = r#"
[promote]
channel = "steered"
parameter = "/images/shop/steered"
"#;

const FOLLOWS: &str = r#"
groups = ["shop-steered"]
launch-templates = ["shop-steered"]
[[channel]]
name = "single"
parameter = "/images/shop/single"
groups = ["shop-single"]
[[channel]]
name = "late"
groups = ["shop-late"]
[[channel]]
name = "never"
groups = ["shop-never"]
[rollout]
stages = ["1 instance", "100%"]
watch = "5s"
soak = "40s"
healthy-within = "45s"
"#;

/// Beside the loads that are held to 200 requests a second, so that the machine has time for them.
const LESS: u32 = 60;

/// The goals: from the first sick instance to the verdict, and from there to the way back.
const VERDICT_WITHIN: f64 = 180.0;
const BACK_WITHIN: f64 = 10.0;

#[test]
fn a_person_goes_back_at_each_stage_and_each_bad_version_is_found_out_under_load() -> Result<()> {
    let Some(cloud) = Cloud::up("verdicts", PORT)? else { return Ok(()) };
    let begun = Instant::now();
    push(&cloud, &format!("{RECIPE}{ALONE}"))?;
    let first = bake(&cloud, "v1", &[], Status::Promoted)?;
    push(&cloud, &format!("{RECIPE}{ALONE}{FOLLOWS}"))?;
    let images = Mutex::new(BTreeMap::from([("v1", first)]));
    let steered = thread::scope(|scope| {
        let bakes: Vec<_> = ["v2", "dies", "leaks", "stuck", "slow", "wrong"]
            .into_iter()
            .map(|version| {
                let (cloud, images) = (&cloud, &images);
                scope.spawn(move || -> Result<()> {
                    let image = bake(cloud, version, &["--no-promote"], Status::Validated)?;
                    images.lock().expect("no thread panics").insert(version, image);
                    Ok(())
                })
            })
            .collect();
        let lanes: [(&'static str, u32, Way); 4] =
            [("steered", 3, steered), ("single", 1, single), ("late", 2, late), ("never", 1, never)];
        let lanes: Vec<_> = lanes
            .into_iter()
            .map(|(channel, size, way)| {
                let (cloud, images) = (&cloud, &images);
                scope.spawn(move || -> Result<Lane<'_>> {
                    let lane = Lane::make(cloud, images, channel, size)?;
                    way(&lane).with_context(|| format!("channel {channel}"))?;
                    Ok(lane)
                })
            })
            .collect();
        bakes.into_iter().try_for_each(ended)?;
        let lanes = lanes.into_iter().map(ended).collect::<Result<Vec<_>>>()?;
        lanes.into_iter().next().context("no group")
    })?;
    eprintln!("all but the kill took {:.0} s", begun.elapsed().as_secs_f64());
    killed(&steered)?;
    eprintln!("all of it took {:.0} s", begun.elapsed().as_secs_f64());
    Ok(())
}

fn ended<T>(thread: thread::ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    match thread.join() {
        Ok(ended) => ended,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// What is done with a group.
type Way = fn(&Lane<'_>) -> Result<()>;

/// A person aborts at each stage, whatever the group is at; then the version goes on to the end.
fn steered(lane: &Lane<'_>) -> Result<()> {
    let first = lane.image("v1")?;
    for (stage, awaits) in [("stage 1 of 2", ""), ("stage 2 of 2", ""), ("stage 2 of 2", "soak")] {
        let load = Load::start(&lane.fleet.address, RATE)?;
        lane.promote("v2")?;
        lane.until("the stage", |now| {
            is(now, "phase", "watch") && has(now, "stage", stage) && has(now, "awaits", awaits)
        })?;
        let begun = Instant::now();
        lane.say(&["rollout", "shop", "abort"])?;
        lane.ends("aborted")?;
        let seconds = begun.elapsed().as_secs_f64();
        let counts = load.stop()?;
        eprintln!("aborted at {stage} {awaits}, back after {seconds:.1} s: {counts}");
        check(&counts, if counts.answers.len() == 1 { &["v1"] } else { &["v1", "v2"] })?;
        lane.serves(&first, 3)?;
    }
    let load = Load::start(&lane.fleet.address, RATE)?;
    lane.promote("v2")?;
    lane.skips_the_soak()?;
    let counts = load.stop()?;
    eprintln!("v1 to v2, 3 machines: {counts}");
    check(&counts, &["v1", "v2"])?;
    lane.serves(&lane.image("v2")?, 3)
}

/// One machine, of which nobody may notice that it is replaced.
fn single(lane: &Lane<'_>) -> Result<()> {
    let first = lane.image("v1")?;
    lane.promote("v1")?;
    lane.skips_the_soak()?;
    lane.found_out("wrong", RATE, "Target.ResponseCodeMismatch")?;

    let load = Load::start(&lane.fleet.address, RATE)?;
    lane.promote("v2")?;
    lane.skips_the_soak()?;
    let counts = load.stop()?;
    eprintln!("v1 to v2, one machine: {counts}");
    check(&counts, &["v1", "v2"])?;
    lane.serves(&lane.image("v2")?, 1)?;

    let load = Load::start(&lane.fleet.address, RATE)?;
    lane.say(&["rollback", "shop", "--yes"])?;
    lane.skips_the_soak()?;
    let counts = load.stop()?;
    eprintln!("rolled back by hand, one machine: {counts}");
    check(&counts, &["v1", "v2"])?;
    lane.serves(&first, 1)
}

/// Versions that serve well at first.
fn late(lane: &Lane<'_>) -> Result<()> {
    lane.promote("v1")?;
    lane.skips_the_soak()?;
    lane.found_out("leaks", LESS, "Target.FailedHealthChecks")?;
    lane.found_out("dies", LESS, "Target.FailedHealthChecks")
}

/// Versions that never serve.
fn never(lane: &Lane<'_>) -> Result<()> {
    lane.promote("v1")?;
    lane.skips_the_soak()?;
    lane.found_out("slow", LESS, "Target.Timeout")?;
    lane.found_out("stuck", LESS, "Target.FailedHealthChecks")
}

/// The whole cloud dies with all machines while a version soaks. What goes on then finds that instances are gone.
fn killed(lane: &Lane<'_>) -> Result<()> {
    let before = lane.image("v2")?;
    lane.promote("v1")?;
    lane.until("the soak", |now| has(now, "awaits", "soak"))?;
    let begun = Instant::now();
    lane.cloud.kill()?;
    lane.cloud.local.ovenbird(&["local", "up"])?;
    lane.say(&["rollout", "shop", "resume"])?;
    let ended = lane.ends("reverted")?;
    lane.serves(&before, 3)?;
    eprintln!(
        "killed in the soak, as before after {:.1} s: {}",
        begun.elapsed().as_secs_f64(),
        ended["reason"]
    );
    ensure!(has(&ended, "reason", "it served, and is gone"), "{ended}");
    Ok(())
}

/// A group with a channel of its own.
struct Lane<'a> {
    cloud: &'a Cloud,
    images: &'a Mutex<BTreeMap<&'static str, String>>,
    channel: &'static str,
    fleet: Fleet<'a>,
    size: u32,
}

impl<'a> Lane<'a> {
    fn make(
        cloud: &'a Cloud,
        images: &'a Mutex<BTreeMap<&'static str, String>>,
        channel: &'static str,
        size: u32,
    ) -> Result<Self> {
        let first = images.lock().expect("no thread panics")["v1"].clone();
        let fleet = Fleet::make(&cloud.local, &format!("shop-{channel}"), size, &first, 8080)?;
        Ok(Self { cloud, images, channel, fleet, size })
    }

    /// A version's image, as soon as it is baked.
    fn image(&self, version: &str) -> Result<String> {
        within("the image", PATIENCE, || {
            let images = self.images.lock().expect("no thread panics");
            images.get(version).cloned().with_context(|| format!("no image of {version} yet"))
        })
    }

    fn say(&self, arguments: &[&str]) -> Result<()> {
        self.cloud.local.ovenbird(&[arguments, &["--channel", self.channel]].concat())
    }

    fn promote(&self, version: &str) -> Result<()> {
        self.say(&["promote", "shop", "--image", &self.image(version)?, "--yes"])
    }

    /// The newest rollout, once it is as it is to be.
    fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        within(what, PATIENCE, || {
            // Each look is a program of its own, and other groups are looked at beside this one.
            thread::sleep(Duration::from_millis(400));
            let now =
                self.cloud.local.ovenbird_json(&["rollout", "shop", "--channel", self.channel], true)?;
            ensure!(is_so(&now), "it stands like this: {now}");
            Ok(now)
        })
    }

    /// Waits until the rollout has ended like that, and no other way.
    fn ends(&self, outcome: &str) -> Result<Value> {
        let ended = self.until("its end", |now| !now["outcome"].is_null())?;
        ensure!(ended["outcome"] == outcome, "it ended otherwise: {ended}");
        Ok(ended)
    }

    /// All serve from the image for a while, which is enough here.
    fn skips_the_soak(&self) -> Result<()> {
        self.until("the soak", |now| has(now, "awaits", "soak"))?;
        self.say(&["rollout", "shop", "skip"])?;
        self.ends("settled").map(drop)
    }

    /// All machines are of this image, the channel and what follows it are at it, and no rollout is under way.
    fn serves(&self, image: &str, size: usize) -> Result<()> {
        self.fleet.healthy(size)?;
        let images = self.fleet.images()?;
        ensure!(images.iter().all(|one| one == image), "not all of {images:?} are {image}");
        let channels = self.cloud.local.ovenbird_json(&["history", "shop"], false)?;
        let own = channels.as_array().into_iter().flatten().find(|one| one["channel"] == self.channel);
        let own = own.with_context(|| format!("no channel {} in {channels}", self.channel))?;
        ensure!(own["rolling"].is_null() && own["current"]["image"] == image, "{own}");
        Ok(())
    }

    /// A bad version is found out, with this reason, and all is as before.
    fn found_out(&self, version: &str, rate: u32, reason: &str) -> Result<()> {
        let (watch, load) = (self.fleet.watch(), Load::start(&self.fleet.address, rate)?);
        self.promote(version)?;
        let ended = self.ends("reverted")?;
        let (lives, counts) = (watch.stop()?, load.stop()?);
        let figures = Figures::of(&ended, &lives)?;
        eprintln!("{version}: {figures}; {}: {counts}", ended["reason"]);
        ensure!(has(&ended, "reason", reason), "no {reason}: {ended}");
        ensure!(figures.verdict <= VERDICT_WITHIN && figures.back <= BACK_WITHIN, "{version}: {figures}");
        self.serves(&self.image("v1")?, self.size as usize)?;
        if counts.lost.is_empty() {
            return answered(&counts, &["v1"]);
        }
        // Those that it answered before it died are v1's customers, too. A load balancer sends on to a dead machine until
        // its checks have failed.
        ensure!(matches!(version, "dies" | "leaks"), "{version}: {counts}; {:?}", counts.lost.first());
        eprintln!("{version}: requests were lost for {:.1} s", counts.harmed().as_secs_f64());
        answered(&counts, &[version, "v1"])
    }
}

fn has(now: &Value, key: &str, text: &str) -> bool {
    now[key].as_str().is_some_and(|value| value.contains(text))
}

fn is(now: &Value, key: &str, text: &str) -> bool {
    now[key] == text
}

/// How long it took to be rid of a bad version, in seconds.
struct Figures {
    /// From the first sick instance to the verdict.
    verdict: f64,
    /// From there until something was done about it.
    back: f64,
    /// From there until all was as before.
    whole: f64,
}

impl Figures {
    fn of(ended: &Value, lives: &BTreeMap<String, Life>) -> Result<Self> {
        let timeline = ended["timeline"].as_array().context("no timeline")?;
        let at =
            |entry: &Value| -> Result<Timestamp> { Ok(entry["at"].as_str().context("no time")?.parse()?) };
        let verdict =
            timeline.iter().position(|entry| has(entry, "what", "goes back: ")).context("no verdict")?;
        let (bad, back) =
            (at(&timeline[verdict])?, at(timeline.get(verdict + 1).context("nothing after it")?)?);
        let end = at(timeline.last().context("no end")?)?;
        let sick = lives.values().filter_map(|life| life.sick).min().context("nobody was seen sick")?;
        let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64();
        Ok(Self { verdict: seconds(sick, bad), back: seconds(bad, back), whole: seconds(bad, end) })
    }
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { verdict, back, whole } = self;
        write!(
            f,
            "sick to verdict {verdict:.1} s, to the way back {back:.1} s, all as before {whole:.1} s after it"
        )
    }
}
