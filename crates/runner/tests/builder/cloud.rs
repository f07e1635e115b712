//! What the runner talks to, on loopback and in one: the metadata service, the Parameter Store and a bucket.
//!
//! It is strict: what AWS would refuse, it refuses, and what the runner asked is kept for the test to look at.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use jiff::Timestamp;
use ovenbird_core::domain::{
    id::{BakeId, ParameterName},
    mailbox::Urls,
    plan::{Plan, PresignedUrl},
    recipe::{Action, Step},
};
use serde_json::{Value, json};

pub const ROLE: &str = "builder-role";
pub const ACCESS_KEY: &str = "ASIAEXAMPLE";
pub const SECRET_KEY: &str = "the+secret/key";
pub const SESSION_TOKEN: &str = "the//session+token==";
const IMDS_TOKEN: &str = "the-imds-token==";

/// What is there, and what happened.
#[derive(Default)]
pub struct State {
    /// Parameters by name.
    pub parameters: BTreeMap<String, String>,
    /// How the instance's role is answered for: a status, when it isn't there.
    pub no_role: Option<u16>,
    /// How often the Parameter Store is busy before it answers.
    pub throttled: usize,
    /// Parameters that the role may not read.
    pub denied: Vec<String>,
    /// Objects of the bucket.
    pub objects: BTreeMap<String, Vec<u8>>,
    /// Parameters that were asked for, in order.
    pub asked: Vec<String>,
    /// What was wrong with a request.
    pub complaints: Vec<String>,
    /// How often the bucket is busy before it takes an object.
    pub busy: usize,
    /// EC2's notice that it takes the instance back; with one, the instance is a spot instance.
    pub interruption: Option<String>,
    /// Whether the bucket takes no object, and says so.
    pub takes_nothing: bool,
    /// The machine's folder that the seal removes, and whether it was still there when each object came.
    pub folder: PathBuf,
    pub unsealed: BTreeMap<String, bool>,
}

/// A machine in a folder, with the cloud that it is in.
pub struct World {
    pub url: String,
    pub state: Arc<Mutex<State>>,
    pub root: tempfile::TempDir,
}

struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl World {
    pub fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("var/lib/ovenbird");
        let state = Arc::new(Mutex::new(State { folder, ..State::default() }));
        let (shared, own) = (Arc::clone(&state), url.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                serve(stream, &shared, &own);
            }
        });
        let world = Self { url, state, root };
        // What a sealed machine is powered off by, where no systemd is.
        let note = format!("echo poweroff >> {}\n", world.root.path().join("orders").display());
        world.program("sbin/poweroff", &note);
        world
    }

    pub fn own(&self, name: &str) -> PathBuf {
        self.root.path().join("var/lib/ovenbird").join(name)
    }

    /// The URLs of a mailbox in the bucket.
    pub fn urls(&self) -> Urls {
        let at =
            |name: &str| PresignedUrl::new(format!("{}/bucket/{name}?X-Amz-Signature=presigned", self.url));
        Urls {
            signed: Timestamp::UNIX_EPOCH,
            urls: at("urls.json"),
            plan: at("plan.json"),
            orders: at("orders.json"),
            progress: at("progress.json"),
            provision: at("provision.json"),
            log: Some(at("steps.log")),
            test: at("test.json"),
            junit: at("junit.xml"),
            seal: at("seal.json"),
        }
    }

    /// A plan of these steps.
    pub fn plan(&self, steps: Vec<Step>) -> Plan {
        Plan {
            bake: BakeId::parse("bake-1").unwrap(),
            artifact: None,
            bundle: None,
            steps,
            tests: Vec::new(),
            seal: Default::default(),
            ends: Timestamp::MAX,
            endpoint: Some(self.url.clone()),
        }
    }

    /// Puts plan and URLs where the runner has them.
    pub fn prepare(&self, plan: &Plan) {
        fs::create_dir_all(self.own("")).unwrap();
        fs::write(self.own("plan.json"), serde_json::to_vec(plan).unwrap()).unwrap();
        fs::write(self.own("urls.json"), serde_json::to_vec(&self.urls()).unwrap()).unwrap();
    }

    /// Runs a verb to its end, and puts its reports where `work` does.
    pub fn run(&self, verb: &str, plan: &Plan) -> Output {
        self.prepare(plan);
        let output = self.command(verb).output().unwrap();
        for (file, object) in
            [("report.json", "provision.json"), ("test-report.json", "test.json"), ("junit.xml", "junit.xml")]
        {
            if let Ok(bytes) = fs::read(self.own(file)) {
                self.put(object, bytes);
            }
        }
        output
    }

    /// Puts an object into the bucket.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        self.state.lock().unwrap().objects.insert(name.to_owned(), bytes);
    }

    /// The object, once it is there.
    pub fn wait_for(&self, name: &str) -> String {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !self.state.lock().unwrap().objects.contains_key(name) {
            assert!(std::time::Instant::now() < deadline, "no {name} within 30 s");
            thread::sleep(Duration::from_millis(20));
        }
        self.object(name)
    }

    pub fn command(&self, verb: &str) -> Command {
        // A `curl` that notes what everybody could read of it while it runs.
        let noted = self.root.path().join("noted");
        let note = format!("(echo \"$@\"; tr '\\0' '\\n' < /proc/$$/environ) >> {}", noted.display());
        self.program("noting/curl", &format!("{note}\nPATH=${{PATH#*:}}\nexec curl \"$@\"\n"));
        let programs = self.root.path().join("noting");
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_ovenbird-runner"));
        command
            .args(verb.split(' '))
            .args(["--root", self.root.path().to_str().unwrap()])
            .env("PATH", format!("{}:{path}", programs.display()))
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", &self.url);
        command
    }

    /// Puts a shell script in a program's place. By another process: one that another test starts just then would
    /// hold a file of ours open for writing, and what is open for writing can't be run.
    pub fn program(&self, path: &str, script: &str) {
        let (file, draft) = (self.root.path().join(path), self.root.path().join("draft"));
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&draft, format!("#!/bin/sh\n{script}")).unwrap();
        let status = Command::new("install").args(["-m", "755"]).arg(&draft).arg(&file).status().unwrap();
        assert!(status.success());
    }

    /// An object that the runner put there.
    pub fn object(&self, name: &str) -> String {
        let state = self.state.lock().unwrap();
        assert!(state.complaints.is_empty(), "{:?}", state.complaints);
        String::from_utf8(state.objects.get(name).unwrap_or_else(|| panic!("no {name}")).clone()).unwrap()
    }

    /// Every file of the machine that holds a text.
    pub fn files_with(&self, text: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        search(self.root.path(), text.as_bytes(), &mut found);
        found
    }
}

fn search(folder: &Path, text: &[u8], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            search(&path, text, found);
        } else if fs::read(&path).unwrap().windows(text.len()).any(|window| window == text) {
            found.push(path);
        }
    }
}

pub fn step(name: &str, action: Action) -> Step {
    Step {
        name: name.into(),
        action,
        timeout: Duration::from_secs(60),
        environment: BTreeMap::new(),
        secrets: BTreeMap::new(),
        only_if: None,
        retries: 0,
        reboot: false,
    }
}

pub fn shell(name: &str, run: &str) -> Step {
    step(name, Action::Shell { run: run.into() })
}

pub fn parameter(name: &str) -> ParameterName {
    ParameterName::parse(name).unwrap()
}

fn serve(stream: TcpStream, state: &Mutex<State>, url: &str) {
    let mut reader = BufReader::new(stream);
    let Some(request) = read(&mut reader) else { return };
    let (status, body) = answer(&request, &mut state.lock().unwrap(), url);
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    let _ = reader.get_mut().write_all(&[head.as_bytes(), &body].concat());
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let mut words = first.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next()?, words.next()?);
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|value| value == "100-continue") {
        reader.get_mut().write_all(b"HTTP/1.1 100 Continue\r\n\r\n").ok()?;
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Request { method, path, headers, body })
}

fn answer(request: &Request, state: &mut State, url: &str) -> (u16, Vec<u8>) {
    let Request { method, path, .. } = request;
    if let Some(object) = path.strip_prefix("/bucket/") {
        let object = object.split('?').next().unwrap_or_default();
        return match method.as_str() {
            "PUT" if state.busy > 0 => {
                state.busy -= 1;
                (503, Vec::new())
            }
            "PUT" if state.takes_nothing => (403, Vec::new()),
            "PUT" => {
                state.unsealed.insert(object.to_owned(), state.folder.exists());
                state.objects.insert(object.to_owned(), request.body.clone());
                (200, Vec::new())
            }
            _ => state.objects.get(object).map_or((404, Vec::new()), |bytes| (200, bytes.clone())),
        };
    }
    if let Some(path) = path.strip_prefix("/latest/") {
        return metadata(request, path, state);
    }
    match store(request, state, url) {
        Ok(answer) => answer,
        Err(complaint) => {
            state.complaints.push(complaint);
            (400, br#"{"__type": "InvalidSignatureException"}"#.to_vec())
        }
    }
}

fn metadata(request: &Request, path: &str, state: &State) -> (u16, Vec<u8>) {
    let header = |name: &str| request.headers.get(name).map(String::as_str);
    if path == "api/token" {
        let seconds =
            header("x-aws-ec2-metadata-token-ttl-seconds").and_then(|value| value.parse::<u32>().ok());
        return match (request.method.as_str(), seconds) {
            ("PUT", Some(1..=21_600)) => (200, IMDS_TOKEN.into()),
            ("PUT", _) => (400, Vec::new()),
            _ => (405, Vec::new()),
        };
    }
    if header("x-aws-ec2-metadata-token") != Some(IMDS_TOKEN) {
        return (401, Vec::new());
    }
    let credentials = json!({
        "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": ACCESS_KEY, "SecretAccessKey": SECRET_KEY,
        "Token": SESSION_TOKEN, "Expiration": "2099-01-01T00:00:00Z", "LastUpdated": "2026-01-01T00:00:00Z",
    });
    match path.trim_start_matches("meta-data/") {
        "iam/security-credentials/" => match state.no_role {
            Some(status) => (status, Vec::new()),
            None => (200, ROLE.into()),
        },
        "iam/security-credentials/builder-role" => (200, credentials.to_string().into()),
        "instance-life-cycle" if state.interruption.is_some() => (200, b"spot".to_vec()),
        "instance-life-cycle" => (200, b"on-demand".to_vec()),
        "spot/instance-action" => {
            state.interruption.as_ref().map_or((404, Vec::new()), |text| (200, text.clone().into_bytes()))
        }
        "placement/region" => (200, b"eu-west-1".to_vec()),
        "services/domain" => (200, b"amazonaws.com".to_vec()),
        _ => (404, Vec::new()),
    }
}

/// The Parameter Store; a request that AWS would not take is a complaint.
fn store(request: &Request, state: &mut State, url: &str) -> Result<(u16, Vec<u8>), String> {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let demand = |right: bool, what: String| if right { Ok(()) } else { Err(what) };
    demand(request.method == "POST" && request.path == "/", format!("{} {}", request.method, request.path))?;
    demand(url.ends_with(&header("host")), format!("host {}", header("host")))?;
    demand(header("content-type") == "application/x-amz-json-1.1", header("content-type"))?;
    demand(header("x-amz-target") == "AmazonSSM.GetParameter", header("x-amz-target"))?;
    demand(header("x-amz-security-token") == SESSION_TOKEN, "no session token".into())?;
    let date = header("x-amz-date");
    let shape = date.len() == 16 && date.ends_with('Z') && date.as_bytes()[8] == b'T';
    demand(shape, format!("date {date}"))?;
    let authorization = header("authorization");
    let scope = format!("{ACCESS_KEY}/{}/eu-west-1/ssm/aws4_request", &date[..8]);
    let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
    let begin = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={names}, Signature=");
    let signature = authorization.strip_prefix(&begin).unwrap_or_default();
    let hex = signature.len() == 64 && signature.bytes().all(|b| b.is_ascii_hexdigit());
    demand(hex, format!("authorization {authorization}"))?;
    let body: Value = serde_json::from_slice(&request.body).map_err(|error| error.to_string())?;
    let name = body["Name"].as_str().unwrap_or_default().to_owned();
    demand(body == json!({"Name": name, "WithDecryption": true}), format!("body {body}"))?;

    let failure =
        |code: &str| (400, json!({"__type": code, "message": format!("about {name}")}).to_string().into());
    if state.throttled > 0 {
        state.throttled -= 1;
        return Ok(failure("ThrottlingException"));
    }
    state.asked.push(name.clone());
    if state.denied.contains(&name) {
        return Ok(failure("AccessDeniedException"));
    }
    Ok(match state.parameters.get(&name) {
        Some(value) => {
            let parameter = json!({"Name": name, "Type": "SecureString", "Value": value, "Version": 1});
            (200, json!({"Parameter": parameter}).to_string().into())
        }
        None => failure("ParameterNotFound"),
    })
}
