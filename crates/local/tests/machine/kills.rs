//! A local cloud that is killed again and again while it works: nothing that it answered is lost, and nothing is left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use ovenbird_local::{Credentials, Home, Options, down, serve, status};

use crate::lab::{Lab, until};

/// The hidden command by which this program is a local cloud.
pub const SERVE: &str = "serve-cloud";

/// How often it is killed; `OVENBIRD_KILLS` says otherwise.
const KILLS: u32 = 4;

/// A local cloud until it is killed, or told to end.
pub fn serve_cloud() -> ExitCode {
    let Some(options) = std::env::args().nth(2).and_then(|text| serde_json::from_str(&text).ok()) else {
        return ExitCode::FAILURE;
    };
    let runtime = tokio::runtime::Runtime::new().expect("threads");
    match runtime.block_on(serve(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

pub fn a_cloud_that_is_killed_at_any_moment_loses_nothing_and_leaves_nothing(lab: &Lab) {
    let usual = Home::from_env();
    if !usual.python().is_file() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} has no MiniStack: `make setup`",
            usual.root().display()
        );
        eprintln!("SKIPPED: {} has no MiniStack; `make setup` installs it", usual.root().display());
        return;
    }
    let folder = lab.home().join("kills");
    fs::create_dir_all(&folder).expect("a folder");
    for shared in ["venv", "base"] {
        symlink(usual.root().join(shared), folder.join(shared)).expect("a link");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let mut options = Options::new(port.expect("a port").port());
    (options.home, options.repository) = (Home::new(&folder), None);
    let kills = std::env::var("OVENBIRD_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(KILLS);
    let mut random = Random::of_now();
    let mut answered = Answered::default();
    let mut slowest = Duration::ZERO;
    for round in 1..=kills {
        let start = Instant::now();
        let mut supervisor = supervisor(&options);
        // Some are killed before they are up.
        if random.below(5) == 0 {
            std::thread::sleep(Duration::from_millis(random.below(2000)));
        } else {
            ready(lab, &options, &mut supervisor, round);
            slowest = slowest.max(start.elapsed());
            let cloud = Caller::new(&options);
            answered.check(&cloud, round);
            let moment = Duration::from_millis(random.below(3000));
            let ended = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| answered.work(&cloud, round, &ended));
                std::thread::sleep(moment);
                supervisor.kill().expect("it is killed");
                ended.store(true, Ordering::Release);
            });
        }
        supervisor.kill().expect("it is killed");
        supervisor.wait().expect("it is dead");
        nothing_runs(&folder, &options, round);
    }
    let mut last = supervisor(&options);
    ready(lab, &options, &mut last, kills + 1);
    answered.check(&Caller::new(&options), kills + 1);
    assert!(!answered.images.is_empty() || kills < 20, "no image was ever made: it proves little");
    assert!(lab.runtime.block_on(down(&options)).expect("it ends"), "none ran");
    last.wait().expect("it is dead");
    nothing_runs(&folder, &options, kills + 1);
    assert_eq!(groups(&folder), Vec::<String>::new(), "a cgroup is left");
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
    let home = Home::new(lab.home().join("down"));
    fs::create_dir_all(home.root()).expect("a folder");
    let name = own_group(home.root());
    let made: Vec<_> = hierarchies().into_iter().map(|hierarchy| hierarchy.join(&name).join("i-1")).collect();
    for group in &made {
        fs::create_dir_all(group).expect("a group");
    }
    let mut options = Options::new(1);
    options.home = home;
    assert!(!lab.runtime.block_on(down(&options)).expect("it asks"), "one runs");
    assert_eq!(groups(options.home.root()), Vec::<String>::new());
}

fn supervisor(options: &Options) -> Child {
    let log = options.home.root().join("test.log");
    let log = fs::File::options().create(true).append(true).open(log).expect("a log");
    let mut command = Command::new("/proc/self/exe");
    command.arg(SERVE).arg(serde_json::to_string(options).expect("JSON")).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("a supervisor")
}

/// Waits until it is ready, which it must become at the first try.
fn ready(lab: &Lab, options: &Options, supervisor: &mut Child, round: u32) {
    until("it is up", || {
        let log = || fs::read_to_string(options.home.root().join("test.log")).unwrap_or_default();
        let ended = supervisor.try_wait().expect("it can be asked");
        assert_eq!(ended, None, "round {round}: it doesn't come up: {}", log());
        let asked = lab
            .runtime
            .block_on(async { tokio::time::timeout(Duration::from_secs(5), status(options)).await });
        matches!(asked, Ok(Ok(status)) if status.ready)
    });
}

/// Nothing of a cloud runs or is mounted, a while after its end: MiniStack saves what it has.
fn nothing_runs(folder: &Path, options: &Options, round: u32) {
    let home = folder.to_str().expect("a path");
    let group = own_group(folder);
    let own = |process: &Path| {
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let says = |bytes: Vec<u8>, word: &str| String::from_utf8_lossy(&bytes).contains(word);
        let me = process.ends_with(std::process::id().to_string());
        !me && (says(read("cmdline"), home)
            || says(read("environ"), home)
            || says(read("cgroup"), &group)
            || says(read("environ"), &options.endpoint()))
    };
    let left = || {
        let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
        processes.filter(|process| own(process)).collect::<Vec<_>>()
    };
    let start = Instant::now();
    let mut seen = left();
    while !seen.is_empty() {
        let names = |process: &Path| fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let names: Vec<_> = seen.iter().map(|process| names(process)).collect();
        assert!(start.elapsed() < Duration::from_secs(30), "round {round}: {names:?} are left");
        std::thread::sleep(Duration::from_millis(20));
        seen = left();
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(home), "round {round}: {mounts}");
}

/// Where control groups are: the one hierarchy and the older ones.
fn hierarchies() -> Vec<std::path::PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let groups = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let limits = options.split(',').any(|option| ["memory", "pids"].contains(&option));
        (kind == "cgroup2" || (kind == "cgroup" && limits)).then(|| point.into())
    });
    groups.collect()
}

/// The name of a home's control groups.
fn own_group(home: &Path) -> String {
    let hash = ovenbird_core::domain::digest::sha256(home.as_os_str().as_encoded_bytes());
    format!("ovenbird-{}", &hash.as_str()[..8])
}

fn groups(home: &Path) -> Vec<String> {
    let name = own_group(home);
    let all = hierarchies().into_iter().map(|hierarchy| hierarchy.join(&name));
    all.filter(|group| group.exists()).map(|group| group.display().to_string()).collect()
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

/// What signs and sends calls, as any client would.
struct Caller {
    key: Credentials,
    url: String,
}

impl Caller {
    fn new(options: &Options) -> Self {
        Self { key: Credentials::of(&options.home).expect("the operator's key"), url: options.endpoint() }
    }

    fn curl(&self, service: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "--max-time", "20", &self.url])
            .args(["--aws-sigv4", &format!("aws:amz:us-east-1:{service}")])
            .args(["--user", &format!("{}:{}", self.key.access_key, self.key.secret)])
            .args(arguments)
            .output()
            .expect("curl");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A call of EC2: its answer, if there was one that says yes.
    fn ec2(&self, call: &str) -> Option<String> {
        self.curl("ec2", &["-d", &format!("Version=2016-11-15&Action={call}")])
    }

    fn dynamodb(&self, action: &str, body: &str) -> Option<String> {
        let target = format!("X-Amz-Target: DynamoDB_20120810.{action}");
        self.curl("dynamodb", &["-H", &target, "-H", "Content-Type: application/x-amz-json-1.0", "-d", body])
    }
}

/// The text of an element, the first one of its name.
fn text(answer: &str, name: &str) -> Option<String> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text.to_owned())
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
        let base = cloud.ec2("DescribeImages&Filter.1.Name=is-public&Filter.1.Value.1=true");
        let Some(base) = base.and_then(|answer| text(&answer, "imageId")) else { return };
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
