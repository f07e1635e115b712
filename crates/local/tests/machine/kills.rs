//! A local cloud that is killed again and again while it works: nothing that it answered is lost, and nothing is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use ovenbird_local::{Home, Options, down};

use crate::{
    cloud::{Caller, Cloud, groups, hierarchies, home, nothing_runs, own_group, text},
    lab::Lab,
};

/// How often it is killed; `OVENBIRD_KILLS` says otherwise.
const KILLS: u32 = 4;

pub fn a_cloud_that_is_killed_at_any_moment_loses_nothing_and_leaves_nothing(lab: &Lab) {
    let Some(options) = home(lab, "kills") else { return };
    let kills = std::env::var("OVENBIRD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut random = Random::of_now();
    let mut answered = Answered::default();
    let mut slowest = Duration::ZERO;
    for round in 1..=kills {
        let start = Instant::now();
        let mut cloud = Cloud::start(&options);
        // Some are killed before they are up.
        if random.below(5) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(2000)));
        } else {
            let caller = cloud.ready(lab, round);
            slowest = slowest.max(start.elapsed());
            answered.check(&caller, round);
            let moment = Duration::from_millis(random.below(3000));
            let ended = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| answered.work(&caller, round, &ended));
                std::thread::sleep(moment);
                cloud.kill();
                ended.store(true, Ordering::Release);
            });
        }
        cloud.kill();
        // MiniStack saves what it has.
        nothing_runs(&options, round, Duration::from_secs(30));
    }
    let mut last = Cloud::start(&options);
    let caller = last.ready(lab, kills + 1);
    answered.check(&caller, kills + 1);
    let keys = fs::read_dir(options.home.new_keys()).map_or(0, Iterator::count);
    assert_eq!(keys, 0, "private keys are left");
    assert!(!answered.images.is_empty() || kills < 20, "no image was ever made: it proves little");
    assert!(lab.runtime.block_on(down(&options)).expect("it ends"), "none ran");
    nothing_runs(&options, kills + 1, Duration::ZERO);
    let folder = options.home.root();
    assert_eq!(groups(folder), Vec::<PathBuf>::new(), "a cgroup is left");
    let layers = fs::read_dir(folder.join("snapshots")).map_or(0, Iterator::count);
    assert!(layers <= answered.most_layers, "{layers} layers for {} images", answered.most_layers);
    eprintln!(
        "{kills} kills; {} calls answered, {} images, slowest start {:.1} s",
        answered.calls,
        answered.images.len(),
        slowest.as_secs_f64()
    );
}

/// One that was killed has no time to remove its groups: they go with the next `down`.
pub fn a_cloud_that_is_down_leaves_no_cgroup(lab: &Lab) {
    let mut options = Options::new(1);
    options.home = Home::new(lab.home().join("down"));
    fs::create_dir_all(options.home.root()).expect("a folder");
    let name = own_group(options.home.root());
    let made: Vec<_> = hierarchies().into_iter().map(|hierarchy| hierarchy.join(&name).join("i-1")).collect();
    for group in &made {
        fs::create_dir_all(group).expect("a group");
    }
    assert!(!lab.runtime.block_on(down(&options)).expect("it asks"), "one runs");
    assert_eq!(groups(options.home.root()), Vec::<PathBuf>::new());
}

/// Numbers that nobody chose; the seed is told, so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn of_now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
        let seed = std::env::var("OVENBIRD_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(since.subsec_nanos()) | 1);
        eprintln!("OVENBIRD_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: u64) -> u64 {
        // Xorshift.
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// What was answered, and must be there. What a call without an answer was about may be there or not.
#[derive(Debug, Default)]
struct Answered {
    calls: u32,
    /// Images with the tag that each must have, if it is known.
    images: BTreeMap<String, Option<String>>,
    deregistered: BTreeSet<String>,
    keys: BTreeSet<String>,
    instances: BTreeSet<String>,
    items: BTreeSet<String>,
    /// Every image that may be there: each has a layer at most.
    most_layers: usize,
}

impl Answered {
    fn check(&self, cloud: &Caller, round: u32) {
        let ask = |call: &str| cloud.ec2(call).unwrap_or_else(|| panic!("round {round}: {call}"));
        let images = ask("DescribeImages&Owner.1=self");
        let tags = ask("DescribeTags&Filter.1.Name=resource-type&Filter.1.Value.1=image");
        for (image, tag) in &self.images {
            assert!(images.contains(image.as_str()), "round {round}: {image} is lost");
            let tag = tag.as_ref().is_none_or(|tag| tags.contains(&format!("<value>{tag}</value>")));
            assert!(tag, "round {round}: the tag of {image} is lost: {tags}");
        }
        for image in &self.deregistered {
            assert!(!images.contains(image.as_str()), "round {round}: {image} is back");
        }
        let keys = ask("DescribeKeyPairs");
        for key in &self.keys {
            assert!(keys.contains(&format!("<keyName>{key}</keyName>")), "round {round}: {key} is lost");
        }
        let instances = ask("DescribeInstances");
        for instance in &self.instances {
            assert!(instances.contains(instance.as_str()), "round {round}: {instance} is lost");
        }
        assert!(!instances.contains("<name>running</name>"), "round {round}: an instance outlived its host");
        if !self.items.is_empty() {
            let items = cloud.dynamodb("Scan", r#"{"TableName":"kept"}"#).expect("the items");
            for item in &self.items {
                assert!(items.contains(&format!("\"{item}\"")), "round {round}: {item} is lost: {items}");
            }
        }
    }

    /// Works until the cloud is killed.
    fn work(&mut self, cloud: &Caller, round: u32, ended: &AtomicBool) {
        self.instances.clear();
        let Some(base) = cloud.base() else { return };
        let table = r#"{"TableName":"kept","BillingMode":"PAY_PER_REQUEST","AttributeDefinitions":[{"AttributeName":"k",
            "AttributeType":"S"}],"KeySchema":[{"AttributeName":"k","KeyType":"HASH"}]}"#;
        // It is there already but for the first time.
        let _ = cloud.dynamodb("CreateTable", table);
        let mut step = 0;
        while !ended.load(Ordering::Acquire) {
            let name = format!("r{round}-{step}");
            self.calls += 1;
            if self.one(cloud, &base, &name, step).is_none() {
                self.calls -= 1;
            }
            step += 1;
        }
    }

    /// One call of many kinds; none if it had no answer.
    fn one(&mut self, cloud: &Caller, base: &str, name: &str, step: u32) -> Option<()> {
        match step % 6 {
            0 => {
                let answer = cloud.ec2(&format!("RunInstances&ImageId={base}&MinCount=1&MaxCount=1"))?;
                self.instances.insert(text(&answer, "instanceId")?);
            }
            1 => {
                cloud.ec2(&format!("CreateKeyPair&KeyName={name}"))?;
                self.keys.insert(name.to_owned());
            }
            2 => {
                cloud.dynamodb(
                    "PutItem",
                    &format!(r#"{{"TableName":"kept","Item":{{"k":{{"S":"{name}"}}}}}}"#),
                )?;
                self.items.insert(name.to_owned());
            }
            3 => {
                let instance = self.instances.iter().next()?.clone();
                self.most_layers += 1;
                let answer =
                    cloud.ec2(&format!("CreateImage&InstanceId={instance}&Name={name}&NoReboot=true"))?;
                self.images.insert(text(&answer, "imageId")?, None);
            }
            4 => {
                let (image, tag) = self.images.iter_mut().next_back()?;
                // Until it is answered the tag is one or the other.
                *tag = None;
                cloud.ec2(&format!("CreateTags&ResourceId.1={image}&Tag.1.Key=k&Tag.1.Value={name}"))?;
                *tag = Some(name.to_owned());
            }
            _ if self.images.len() > 8 => {
                let (image, _) = self.images.pop_first()?;
                cloud.ec2(&format!("DeregisterImage&ImageId={image}"))?;
                self.deregistered.insert(image);
            }
            _ => {
                let instance = self.instances.iter().next()?.clone();
                if self.instances.len() > 2 {
                    cloud.ec2(&format!("TerminateInstances&InstanceId.1={instance}"))?;
                }
            }
        }
        Some(())
    }
}
