//! A whole local cloud with real machines, in a process of its own that can be killed.

use std::{
    fs,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use ovenbird_local::{Credentials, Home, Options, serve, status};

use crate::lab::{Lab, until};

/// The hidden command by which this program is a local cloud.
pub const SERVE: &str = "serve-cloud";

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

/// A home for a local cloud, with the usual Python environment and base, and nothing deployed; none, said out loud, when
/// there is no such environment.
pub fn home(lab: &Lab, name: &str) -> Option<Options> {
    let usual = Home::from_env();
    if !usual.python().is_file() {
        let problem = format!("{} has no MiniStack: `make setup` installs it", usual.root().display());
        assert!(std::env::var_os("CI").is_none(), "{problem}");
        eprintln!("SKIPPED: {problem}");
        return None;
    }
    let folder = lab.home().join(name);
    fs::create_dir_all(&folder).expect("a folder");
    for shared in ["venv", "base"] {
        symlink(usual.root().join(shared), folder.join(shared)).expect("a link");
    }
    let port = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let mut options = Options::new(port.expect("a port").port());
    (options.home, options.repository) = (Home::new(&folder), None);
    Some(options)
}

/// A local cloud that was started, and is killed when it is dropped.
pub struct Cloud {
    pub options: Options,
    pub supervisor: Child,
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let _ = self.supervisor.kill().and_then(|()| self.supervisor.wait());
    }
}

impl Cloud {
    pub fn start(options: &Options) -> Self {
        Self::start_with(options, |_| {})
    }

    /// Starts one; the command that does is changed first.
    pub fn start_with(options: &Options, change: impl FnOnce(&mut Command)) -> Self {
        let log = options.home.root().join("test.log");
        let log = fs::File::options().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new("/proc/self/exe");
        command.arg(SERVE).arg(serde_json::to_string(options).expect("JSON")).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        change(&mut command);
        Self { options: options.clone(), supervisor: command.spawn().expect("a supervisor") }
    }

    /// Waits until it is ready, which it must become at the first try.
    #[track_caller]
    pub fn ready(&mut self, lab: &Lab, round: u32) -> Caller {
        let options = self.options.clone();
        until("it is up", || {
            let log = || fs::read_to_string(options.home.root().join("test.log")).unwrap_or_default();
            let ended = self.supervisor.try_wait().expect("it can be asked");
            assert_eq!(ended, None, "round {round}: it doesn't come up: {}", log());
            let asked = lab
                .runtime
                .block_on(async { tokio::time::timeout(Duration::from_secs(5), status(&options)).await });
            matches!(asked, Ok(Ok(status)) if status.ready)
        });
        Caller::new(&options)
    }

    /// Kills it, and waits for its own death.
    pub fn kill(&mut self) {
        self.supervisor.kill().expect("it is killed");
        self.supervisor.wait().expect("it is dead");
    }
}

/// The processes of a cloud that run.
pub fn processes(options: &Options) -> Vec<PathBuf> {
    let home = options.home.root().to_str().expect("a path");
    let group = own_group(options.home.root());
    let own = |process: &Path| {
        let read = |name: &str| fs::read(process.join(name)).unwrap_or_default();
        let says = |bytes: Vec<u8>, word: &str| String::from_utf8_lossy(&bytes).contains(word);
        let me = process.ends_with(std::process::id().to_string());
        // A dead one that nobody has asked for yet is somebody else's to ask for.
        let dead = says(read("stat"), ") Z ");
        !me && !dead
            && (says(read("cmdline"), home)
                || says(read("environ"), home)
                || says(read("cgroup"), &group)
                || says(read("environ"), &options.endpoint()))
    };
    let processes = fs::read_dir("/proc").expect("/proc").flatten().map(|entry| entry.path());
    processes.filter(|process| own(process)).collect()
}

/// Fails unless nothing of a cloud runs or is mounted after a time.
#[track_caller]
pub fn nothing_runs(options: &Options, round: u32, patience: Duration) {
    let start = Instant::now();
    loop {
        let seen = processes(options);
        if seen.is_empty() {
            break;
        }
        let names = |process: &PathBuf| fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let names: Vec<_> = seen.iter().map(names).collect();
        assert!(start.elapsed() < patience, "round {round}: {names:?} are left");
        std::thread::sleep(Duration::from_millis(20));
    }
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    assert!(!mounts.contains(options.home.root().to_str().expect("a path")), "round {round}: {mounts}");
}

/// Where control groups are: the one hierarchy and the older ones.
pub fn hierarchies() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("mounts");
    let groups = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (point, kind, options) = (fields.next()?, fields.next()?, fields.next()?);
        let limits = options.split(',').any(|option| ["memory", "pids"].contains(&option));
        (kind == "cgroup2" || (kind == "cgroup" && limits)).then(|| point.into())
    });
    groups.collect()
}

/// What the names of a home's control groups begin with.
pub fn own_group(home: &Path) -> String {
    let hash = ovenbird_core::domain::digest::sha256(home.as_os_str().as_encoded_bytes());
    format!("ovenbird-{}", &hash.as_str()[..8])
}

/// The control groups of a home.
pub fn groups(home: &Path) -> Vec<PathBuf> {
    let name = own_group(home);
    let all = hierarchies().into_iter().flat_map(|root| fs::read_dir(root).expect("groups").flatten());
    let own = all.filter(|entry| entry.file_name().to_str().is_some_and(|known| known.starts_with(&name)));
    own.map(|entry| entry.path()).collect()
}

/// What signs and sends calls, as any client would.
pub struct Caller {
    key: Credentials,
    url: String,
}

impl Caller {
    fn new(options: &Options) -> Self {
        Self { key: Credentials::of(&options.home).expect("the operator's key"), url: options.endpoint() }
    }

    /// A call by curl, to a path: its answer, if there was one that says yes.
    pub fn curl(&self, service: &str, path: &str, arguments: &[&str]) -> Option<String> {
        let output = Command::new("curl")
            .args(["-sS", "--fail-with-body", "--max-time", "20", &format!("{}{path}", self.url)])
            .args(["--aws-sigv4", &format!("aws:amz:us-east-1:{service}")])
            .args(["--user", &format!("{}:{}", self.key.access_key, self.key.secret)])
            .args(arguments)
            .output()
            .expect("curl");
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// A call of EC2.
    pub fn ec2(&self, call: &str) -> Option<String> {
        self.curl("ec2", "", &["-d", &format!("Version=2016-11-15&Action={call}")])
    }

    /// A call of `DynamoDB`.
    pub fn dynamodb(&self, action: &str, body: &str) -> Option<String> {
        let target = format!("X-Amz-Target: DynamoDB_20120810.{action}");
        let kind = "Content-Type: application/x-amz-json-1.0";
        self.curl("dynamodb", "", &["-H", &target, "-H", kind, "-d", body])
    }

    /// The id of the base image.
    pub fn base(&self) -> Option<String> {
        let answer = self.ec2("DescribeImages&Filter.1.Name=is-public&Filter.1.Value.1=true")?;
        text(&answer, "imageId")
    }

    /// Makes a function of a shell script that is Lambda's `bootstrap`.
    pub fn function(&self, name: &str, script: &str) {
        let folder = tempfile::tempdir().expect("a folder");
        let pack = "import base64, io, json, sys, zipfile
info = zipfile.ZipInfo('bootstrap'); info.external_attr = 0o100755 << 16
file = io.BytesIO(); zipfile.ZipFile(file, 'w').writestr(info, sys.argv[2])
json.dump({'FunctionName': sys.argv[1], 'Runtime': 'provided.al2023', 'Handler': 'bootstrap', 'Timeout': 300,
  'Role': 'arn:aws:iam::123456789012:role/r', 'Code': {'ZipFile': base64.b64encode(file.getvalue()).decode()}},
  open(sys.argv[3], 'w'))";
        let body = folder.path().join("body.json");
        let packed = Command::new("python3").args(["-c", pack, name, script]).arg(&body).status();
        assert!(packed.expect("python3").success());
        let body = format!("@{}", body.display());
        let made = self.curl("lambda", "/2015-03-31/functions", &["--data-binary", &body]);
        assert!(made.is_some(), "the function {name} was not made");
    }

    /// Calls a function, and waits for what it says.
    pub fn invoke(&self, name: &str) -> Option<String> {
        let path = format!("/2015-03-31/functions/{name}/invocations");
        self.curl("lambda", &path, &["--max-time", "100", "-d", "{}"])
    }
}

/// The text of an element, the first one of its name.
pub fn text(answer: &str, name: &str) -> Option<String> {
    let (_, rest) = answer.split_once(&format!("<{name}>"))?;
    rest.split_once('<').map(|(text, _)| text.to_owned())
}
