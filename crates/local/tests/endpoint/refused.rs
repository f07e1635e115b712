//! What the endpoint refuses: every request that neither the operator nor a function signed, and that a machine may
//! not make. Beside each stands the one that is like it and is answered.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::DefaultBodyLimit};
use jiff::{SignedDuration, Timestamp};
use ovenbird_local::{Clock, Credentials, Link};

use crate::{
    client::Sent,
    fixture::TestEndpoint,
    programs::{program, succeeds},
};

/// An endpoint whose clock stands ahead by what it is told, with an S3 that has one answer.
pub struct Bench {
    pub endpoint: TestEndpoint,
    pub host: String,
    /// What its endpoint answers by.
    pub routes: Router,
    /// How many seconds its clock is ahead.
    pub ahead: Arc<AtomicI64>,
    pub refused: std::cell::Cell<usize>,
    _folder: tempfile::TempDir,
    /// Where what stands for MiniStack runs.
    pub runtime: tokio::runtime::Runtime,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("ministack.sock");
        let ministack = tokio::runtime::Runtime::new().expect("threads");
        // It listens before anything is asked.
        let listener =
            ministack.block_on(async { tokio::net::UnixListener::bind(&socket).expect("a socket") });
        ministack.spawn(stand_in(listener));
        let ahead = Arc::new(AtomicI64::new(0));
        let clock = Arc::clone(&ahead);
        let clock =
            Clock::new(move || Timestamp::now() + SignedDuration::from_secs(clock.load(Ordering::SeqCst)));
        let mut routes = Router::new();
        let keep = |all: Router| {
            routes = all.clone();
            all
        };
        let (endpoint, _) = TestEndpoint::at(clock, Some(Link::new(&socket)), |_| {}, keep);
        let host = endpoint.url.strip_prefix("http://").expect("a plain URL").to_owned();
        Self { endpoint, host, routes, ahead, refused: 0.into(), _folder: folder, runtime: ministack }
    }

    /// A launch, which must never happen unless it is signed.
    pub fn launch(&self) -> Sent {
        let form = format!("Action=RunInstances&ImageId={}&MinCount=1&MaxCount=1", self.endpoint.base);
        Sent::new("POST", &self.host, "/", &form).with("content-type", "application/x-www-form-urlencoded")
    }

    pub fn get(&self, path: &str) -> Sent {
        Sent::new("GET", &self.host, path, "")
    }

    #[track_caller]
    pub fn refuses(&self, what: &str, sent: &Sent) {
        self.refuses_with(what, 403, sent, &self.endpoint.url);
    }

    #[track_caller]
    fn refuses_machine(&self, what: &str, sent: &Sent) {
        self.refuses_with(what, 403, sent, &self.endpoint.machine);
    }

    #[track_caller]
    fn refuses_with(&self, what: &str, status: u16, sent: &Sent, url: &str) {
        let (found, body) = sent.send(url);
        assert_eq!(found, status, "{what}: {body}");
        assert!(!body.contains(&self.endpoint.operator.secret), "{what}: {body}");
        self.refused.set(self.refused.get() + 1);
    }

    #[track_caller]
    pub fn answers(&self, what: &str, sent: &Sent, url: &str) -> String {
        let (status, body) = sent.send(url);
        assert_eq!(status, 200, "{what}: {body}");
        body
    }

    pub fn instances(&self) -> usize {
        let list = Sent::new("POST", &self.host, "/", "Action=DescribeInstances");
        let now = Timestamp::now() + SignedDuration::from_secs(self.ahead.load(Ordering::SeqCst));
        let list = list.signed("ec2", &self.endpoint.operator, now);
        self.answers("the list", &list, &self.endpoint.url).matches("<instanceId>").count()
    }
}

/// Answers every request, once it has it whole, as an S3 that has the object, and as an EC2 that has nothing.
async fn stand_in(listener: tokio::net::UnixListener) {
    let routes = Router::new().fallback(|_whole: axum::body::Bytes| async { OBJECT });
    axum::serve(listener, routes.layer(DefaultBodyLimit::disable())).await.expect("it serves");
}

/// An object that is an answer of a query service, too.
pub const OBJECT: &str = "<Response>the object</Response>";

pub fn other_signature(authorization: &str) -> String {
    let (rest, last) = authorization.split_at(authorization.len() - 1);
    format!("{rest}{}", if last == "0" { '1' } else { '0' })
}

#[test]
fn nobody_but_the_operator_and_the_functions_is_answered() {
    let bench = Bench::new();
    let (key, now) = (bench.endpoint.operator.clone(), Timestamp::now());
    let wrong = Credentials { secret: "0".repeat(64), ..key.clone() };
    let function = bench.endpoint.keys.function("arn:aws:lambda:us-east-1:123456789012:function:f");
    let url = bench.endpoint.url.clone();

    // From elsewhere, or from a page.
    let port = bench.host.rsplit(':').next().expect("a port").to_owned();
    for name in
        ["evil.example", &format!("evil.example:{port}"), "127.0.0.1:1", "localhost", "169.254.169.254:80"]
    {
        let sent = Sent { headers: vec![("host".into(), name.into())], ..bench.launch() };
        bench.refuses(&format!("Host: {name}"), &sent.signed("ec2", &key, now));
    }
    let foreign = bench.launch().signed("ec2", &key, now).to(|_| format!("http://evil.example:{port}/"));
    bench.refuses("a foreign name before the path", &foreign);
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", &url),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("sec-fetch-site", "same-origin"),
    ] {
        let sent = bench.launch().signed("ec2", &key, now).with(name, value);
        bench.refuses(&format!("{name}: {value}"), &sent);
    }

    // Without a signature, or with a forged one.
    bench.refuses("no signature", &bench.launch());
    let forged = "/?X-Amz-Credential=AK/20260101/us-east-1/ec2/aws4_request";
    let page = bench.launch().to(|_| forged.to_owned()).but("content-type", |_| "text/plain".to_owned());
    bench.refuses("the forged query", &page);
    let page = page.with("origin", "http://evil.example").but("host", |_| "evil.example".to_owned());
    bench.refuses("the forged query of a web page", &page);
    let header = "AWS4-HMAC-SHA256 Credential=local/20260101/us-east-1/ec2/aws4_request, SignedHeaders=host, Signature=0";
    bench.refuses("the forged header", &bench.launch().with("authorization", header));
    bench.refuses(
        "the key `local`",
        &bench.launch().signed(
            "ec2",
            &Credentials { access_key: "local".into(), secret: "local".into(), token: None },
            now,
        ),
    );
    bench.refuses("another secret", &bench.launch().signed("ec2", &wrong, now));
    let guessed = Credentials { secret: "0".repeat(64), ..function.clone() };
    bench.refuses("another secret of a function", &bench.launch().signed("ec2", &guessed, now));
    let with_token = Credentials { token: Some("a token of an account's".into()), ..key.clone() };
    bench.refuses("a session token", &bench.launch().signed("ec2", &with_token, now));
    let signed = bench.launch().signed("ec2", &key, now);
    bench.refuses("another signature", &signed.clone().but("authorization", other_signature));
    let twice = signed.headers.iter().find(|(name, _)| name == "authorization").expect("signed").1.clone();
    bench.refuses("two signatures", &signed.clone().with("authorization", &twice));
    bench.refuses("presigned, too", &signed.clone().to(|_| forged.to_owned()));
    let unnamed = |text: &str| text.replace("host;", "").replace(";host", "");
    bench.refuses("a signature without Host", &signed.clone().but("authorization", unnamed));
    let unnamed = |text: &str| text.replace(";x-amz-date", "");
    bench.refuses("a signature without its time", &signed.clone().but("authorization", unnamed));
    let old = "/bucket/key?AWSAccessKeyId=local&Signature=x&Expires=4102444800";
    bench.refuses("a signature of version 2", &bench.get(old));

    // Changed on its way.
    let changed = Sent { body: signed.body.replace("MinCount=1", "MinCount=9"), ..signed.clone() };
    bench.refuses("another body", &changed);
    bench.refuses("another path", &signed.clone().to(|_| "/2015-03-31/functions".to_owned()));
    bench.refuses("another query", &signed.clone().to(|_| "/?a=b".to_owned()));
    bench.refuses("another method", &Sent { method: "PUT".into(), ..signed.clone() });
    bench.refuses(
        "another service",
        &signed.clone().but("authorization", |text| text.replace("/ec2/", "/sts/")),
    );
    bench.refuses("another kind of body", &signed.clone().but("content-type", |_| "text/plain".into()));
    let object = Sent::new("PUT", &bench.host, "/bucket/key", "an object").signed("s3", &key, now);
    bench.answers("an object", &object, &url);
    let changed = Sent { body: "another o".into(), ..object.clone() };
    bench.refuses_with("another object", 400, &changed, &url);
    let emptied = Sent { body: String::new(), ..object.clone() };
    bench.refuses_with("no object", 400, &emptied, &url);
    let unsaid = Sent {
        headers: object.headers.iter().filter(|(name, _)| name != "x-amz-content-sha256").cloned().collect(),
        ..object
    };
    bench.refuses("an object of which nothing is said", &unsaid);

    // At another time.
    let later = now + SignedDuration::from_mins(16);
    bench.refuses("a request of later", &bench.launch().signed("ec2", &key, later));
    // The seventh second, written otherwise than it was signed.
    let seventh = now - SignedDuration::from_secs(now.as_second().rem_euclid(60) + 53);
    let seventh = bench.launch().signed("ec2", &key, seventh);
    for other in ["7Z", " 7Z"] {
        let written = |time: &str| time.replace("07Z", other);
        bench.refuses("a time of another form", &seventh.clone().but("x-amz-date", written));
    }
    let yesterday = |text: &str| text.replace(&now.strftime("%Y%m%d").to_string(), "20200101");
    bench.refuses("a scope of another day", &signed.clone().but("authorization", yesterday));

    assert_eq!(bench.instances(), 0, "something was launched");
    bench.answers("a signed launch", &signed, &url);
    bench.answers("a function's launch", &bench.launch().signed("ec2", &function, now), &url);
    assert_eq!(bench.instances(), 2);
    bench.ahead.store(16 * 60, Ordering::SeqCst);
    bench.refuses("the same, after 16 minutes", &signed);
    assert_eq!(bench.instances(), 2, "a replay launched something");
    eprintln!("{} requests were refused by the endpoint", bench.refused.get());
}

/// Another signer than AWS's for Rust, in all the ways in which it signs.
#[test]
fn what_botocore_signs_is_let_in() {
    let Some(python) = program("python") else { return };
    let bench = Bench::new();
    let mut command = bench.endpoint.command(&python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/endpoint/boto3_signs.py"));
    assert!(succeeds(command).ends_with("all let in\n"));
}

#[test]
fn a_presigned_url_is_for_one_object_and_one_time() {
    let bench = Bench::new();
    let (key, now, life) = (bench.endpoint.operator.clone(), Timestamp::now(), Duration::from_secs(3600));
    let url = bench.endpoint.url.clone();
    let given = bench.get("/bucket/a%20key").presigned("s3", &key, now, life);
    assert_eq!(bench.answers("a presigned URL", &given, &url), OBJECT);
    for (what, from, to) in [
        ("another key", "/bucket/a%20key", "/bucket/another"),
        ("another bucket", "/bucket/", "/bakes/"),
        ("another time to live", "X-Amz-Expires=3600", "X-Amz-Expires=3601"),
        ("no time to live", "&X-Amz-Expires=3600", ""),
        ("one more parameter", "?", "?versionId=1&"),
        ("two credentials", "?", "?X-Amz-Credential=a&"),
    ] {
        let tampered = given.clone().to(|target| target.replacen(from, to, 1));
        assert_ne!(tampered.target, given.target, "{what}");
        bench.refuses(what, &tampered);
    }
    bench.refuses("another method", &Sent { method: "PUT".into(), body: "mine".into(), ..given.clone() });
    let for_ever = bench.get("/bucket/key").presigned("s3", &key, now, Duration::from_secs(604_801));
    bench.refuses("more than seven days", &for_ever);
    bench.ahead.store(3599, Ordering::SeqCst);
    bench.answers("its last second", &given, &url);
    bench.ahead.store(3600, Ordering::SeqCst);
    bench.refuses("an expired URL", &given);
    eprintln!("{} presigned requests were refused by the endpoint", bench.refused.get());
}

#[test]
fn the_control_api_is_the_operator_s() {
    let bench = Bench::new();
    let (key, now) = (bench.endpoint.operator.clone(), Timestamp::now());
    let function = bench.endpoint.keys.function("arn");
    bench.refuses("status without a key", &bench.get("/_ovenbird/status"));
    for what in ["shutdown", "forward", "interrupt"] {
        let sent = Sent::new("POST", &bench.host, &format!("/_ovenbird/{what}"), "");
        bench.refuses(what, &sent);
        bench.refuses(what, &sent.clone().signed("ovenbird", &function, now));
        bench.refuses(what, &sent.clone().signed("s3", &key, now));
        bench.refuses(what, &sent.signed("ovenbird", &key, now).with("origin", "null"));
    }
    // The one path without a key: it takes an answer of a custom resource, and only from a program.
    let resource = "/_ministack/cfn-response/a-random-word";
    let sent = Sent::new("PUT", &bench.host, resource, "{}");
    bench.answers("an answer of a custom resource", &sent, &bench.endpoint.url);
    bench.refuses("the same of a page", &sent.clone().with("origin", "null"));
    bench.refuses("the same of another name", &sent.but("host", |_| "evil.example".to_owned()));
    for path in [resource, "/_ministack/reset", "/_ministack/config"] {
        bench.refuses(path, &Sent::new("POST", &bench.host, path, "{}"));
    }
    let climbing = "/_ministack/cfn-response/../reset";
    bench.refuses("a climb", &Sent::new("PUT", &bench.host, climbing, "{}"));

    let status = bench.get("/_ovenbird/status").signed("ovenbird", &key, now);
    assert!(bench.answers("status", &status, &bench.endpoint.url).contains("\"ready\""));
    eprintln!("{} requests were refused by the control API", bench.refused.get());
}

#[test]
fn a_machine_has_its_objects_and_its_role_and_nothing_else() {
    let bench = Bench::new();
    let (key, now, life) = (bench.endpoint.operator.clone(), Timestamp::now(), Duration::from_secs(3600));
    let role = bench.endpoint.role.clone();
    let machine = bench.endpoint.machine.clone();
    let function = bench.endpoint.keys.function("arn:launch-builder");
    let ssm = |operation: &str, body: &str| {
        Sent::new("POST", &bench.host, "/", body)
            .with("content-type", "application/x-amz-json-1.1")
            .with("x-amz-target", &format!("AmazonSSM.{operation}"))
    };
    let parameter = ssm("GetParameter", r#"{"Name": "/aws/service/test/base"}"#);

    let plan = bench.get("/bucket/bakes/p/b/plan.json").presigned("s3", &function, now, life);
    assert_eq!(bench.answers("its own plan", &plan, &machine), OBJECT);
    let report = Sent::new("PUT", &bench.host, "/bucket/bakes/p/b/test.json", "{}");
    bench.answers("its own report", &report.presigned("s3", &function, now, life), &machine);
    let read = bench.answers("a parameter", &parameter.clone().signed("ssm", &role, now), &machine);
    assert!(read.contains(&bench.endpoint.base), "{read}");

    bench.refuses_machine("a parameter without a key", &parameter);
    let without = Credentials { token: None, ..role.clone() };
    bench.refuses_machine("a key without its token", &parameter.clone().signed("ssm", &without, now));
    let other = Credentials::machine();
    bench.refuses_machine("another machine's key", &parameter.clone().signed("ssm", &other, now));
    bench.refuses_machine("a function's key", &parameter.clone().signed("ssm", &function, now));
    bench.refuses_machine("the operator's key", &parameter.signed("ssm", &key, now));
    for operation in ["PutParameter", "SendCommand", "DescribeParameters", "GetParametersByPath"] {
        bench.refuses_machine(operation, &ssm(operation, "{}").signed("ssm", &role, now));
    }
    let functions = bench.get("/2015-03-31/functions/");
    bench.refuses_machine("ListFunctions", &functions.clone().signed("lambda", &role, now));
    bench.refuses_machine("ListFunctions without a key", &functions);
    bench.refuses_machine("RunInstances", &bench.launch().signed("ec2", &role, now));
    let forged = "/?X-Amz-Credential=AK/20260101/us-east-1/ec2/aws4_request";
    bench.refuses_machine("RunInstances, forged", &bench.launch().to(|_| forged.to_owned()));
    bench.refuses_machine("RunInstances, presigned", &bench.launch().presigned("ec2", &function, now, life));
    for path in
        ["/_ovenbird/status", "/_ovenbird/shutdown", "/_ministack/reset", "/_ministack/lambda-code/1/2/f"]
    {
        let sent = Sent::new("POST", &bench.host, path, "");
        bench.refuses_machine(path, &sent);
        bench.refuses_machine(path, &sent.clone().signed("ovenbird", &role, now));
        bench.refuses_machine(path, &sent.presigned("s3", &function, now, life));
    }
    let elsewhere = |from: &str, to: &str| plan.clone().to(|target| target.replace(from, to));
    bench.refuses_machine("another bucket's key", &elsewhere("/bucket/", "/other/"));
    bench.refuses_machine("another bake's key", &elsewhere("/b/plan", "/c/plan"));
    bench.refuses_machine("an object by its role", &bench.get("/bucket/key").signed("s3", &role, now));
    bench.refuses_machine("an object without a key", &bench.get("/bucket/key"));
    let with_role = bench.get("/bucket/key").presigned("s3", &role, now, life);
    bench.refuses_machine("an object that its role presigned", &with_role);
    bench.refuses_machine("a bucket's list", &bench.get("/bucket").presigned("s3", &function, now, life));
    bench.refuses_machine("another name", &plan.clone().but("host", |_| "evil.example".to_owned()));
    bench.refuses_machine("a page's request", &plan.clone().with("origin", "null"));
    let delete = Sent::new("DELETE", &bench.host, "/bucket/key", "");
    bench.refuses_machine("a deletion", &delete.presigned("s3", &function, now, life));
    assert_eq!(bench.instances(), 0, "a machine launched something");
    bench.ahead.store(3600, Ordering::SeqCst);
    bench.refuses_machine("an expired plan", &plan);
    eprintln!("{} requests of a machine were refused", bench.refused.get());
}
