//! Requests that nobody would write: the query form and the signature, changed at random by a seed that is always the
//! same. `make test` does a little of it, `make test-slow` a lot. `OVENBIRD_SEED` takes another seed.

use std::panic::AssertUnwindSafe;

use axum::body::{Body, to_bytes};
use futures::FutureExt as _;
use http::Request;
use jiff::Timestamp;
use tower_service::Service as _;

use crate::{
    client::Sent,
    fuzz_words::{ANSWERED, NAMES, OF_FORMS, OF_SIGNATURES, VALUES},
    refused::Bench,
};

/// How many requests each test makes within `make test`, and within `make test-slow`.
const FEW: u32 = 1_500;
const MANY: u32 = 60_000;

/// Numbers that look random and are the same each time (xorshift).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("OVENBIRD_SEED").ok().and_then(|seed| seed.parse().ok());
        Self(seed.unwrap_or(0x0BED_B1BD_5EED))
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(end.max(1)).expect("a size")).expect("a size")
    }

    fn of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    /// Another text: a letter changed, taken or added, a piece doubled or moved, a word put in.
    fn changed(&mut self, text: &str, words: &[&str]) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        for _ in 0..=self.below(3) {
            let (at, to) = (self.below(letters.len()), self.below(letters.len() + 1));
            let (from, to) = (at.min(to), at.max(to));
            match self.below(6) {
                0 if !letters.is_empty() => drop(letters.remove(at)),
                1 => letters
                    .insert(from, *self.of(&[&'0', &'a', &'%', &'&', &'=', &'.', &'é', &'/', &' ', &'+'])),
                2 if !letters.is_empty() => {
                    letters[at] = char::from(33 + u8::try_from(self.below(94)).expect("a letter"));
                }
                3 => {
                    let piece: Vec<char> = letters[from..to].to_vec();
                    letters.splice(from..from, piece);
                }
                4 => drop(letters.drain(from..to)),
                _ => drop(letters.splice(from..from, self.of(words).chars().collect::<Vec<_>>())),
            }
            letters.truncate(6000);
        }
        letters.into_iter().collect()
    }
}

/// What the endpoint answers: the status, whether its gate refused it, and the text.
struct Answer {
    status: u16,
    refused: bool,
    text: String,
}

/// Asks the endpoint in this process, without a socket. None if no such request can be written.
fn ask(bench: &Bench, sent: &Sent) -> Option<Answer> {
    let mut request = Request::builder().method(sent.method.as_str()).uri(&sent.target);
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::from(sent.body.clone())).ok()?;
    let mut routes = bench.routes.clone();
    let answered = bench.runtime.block_on(AssertUnwindSafe(routes.call(request)).catch_unwind());
    let answer = answered.unwrap_or_else(|_| panic!("it panics: {sent:?}")).expect("an answer");
    let (parts, body) = answer.into_parts();
    let body = bench.runtime.block_on(to_bytes(body, usize::MAX)).expect("a body");
    let code = parts.headers.get("x-amzn-errortype").and_then(|code| code.to_str().ok());
    let refused = code.is_some_and(|code| GATE.contains(&code));
    Some(Answer {
        status: parts.status.as_u16(),
        refused,
        text: String::from_utf8(body.to_vec()).expect("text"),
    })
}

/// How the gate refuses.
const GATE: &[&str] = &[
    "AccessDenied",
    "MissingAuthenticationToken",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "SignatureDoesNotMatch",
    "RequestTimeTooSkewed",
    "RequestExpired",
    "RequestEntityTooLarge",
    "XAmzContentSHA256Mismatch",
];

fn forms(count: u32) {
    let bench = Bench::new();
    let (key, base) = (bench.endpoint.operator.clone(), bench.endpoint.base.clone());
    let operations: Vec<(&str, &str)> = ovenbird_local::operations()
        .into_iter()
        .filter(|(service, _)| *service != "ssm")
        .flat_map(|(service, operations)| operations.into_iter().map(move |operation| (service, operation)))
        .collect();
    let (mut random, mut good) = (Random::new(), 0);
    for round in 0..count {
        let (service, mut form) = if random.below(2) == 0 {
            let (service, form) = ANSWERED[random.below(ANSWERED.len())];
            (service, form.replace("BASE", &base))
        } else {
            let (service, operation) = operations[random.below(operations.len())];
            (service, format!("Action={operation}"))
        };
        for _ in 0..random.below(4) {
            let value = if random.below(6) == 0 { &base } else { random.of(VALUES) };
            form.push_str(&format!("&{}={value}", random.of(NAMES)));
        }
        if random.below(2) == 0 {
            form = random.changed(&form, OF_FORMS);
        }
        let sent = Sent::new("POST", &bench.host, "/", &form)
            .with("content-type", "application/x-www-form-urlencoded");
        let sent = sent.signed(service, &key, Timestamp::now());
        let Some(answer) = ask(&bench, &sent) else { continue };
        // What was passed on to the service that stands in is answered with 200, too.
        assert!(
            matches!(answer.status, 200 | 400..=499),
            "{round}: {} {form}\n{}",
            answer.status,
            answer.text
        );
        assert!(!answer.refused, "{round}: signed, and refused: {form}\n{}", answer.text);
        good += u32::from(answer.status == 200);
        well_formed(&answer.text)
            .unwrap_or_else(|problem| panic!("{round}: {problem}: {form}\n{}", answer.text));
    }
    assert!(good > count / 50, "only {good} of {count} did anything: it proves little");
    eprintln!("{count} forms, {good} of them answered with 200");
}

fn well_formed(text: &str) -> Result<(), String> {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(quick_xml::events::Event::Eof) => return Ok(()),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// What of a request its signature stands for, read as simply as can be: two requests of which this is the same say
/// the same.
fn meaning(sent: &Sent) -> impl PartialEq + std::fmt::Debug {
    // What follows a `#` is cut off before anybody reads it.
    let target = sent.target.split('#').next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = form_urlencoded::parse(query.as_bytes()).into_owned();
    let mut pairs: Vec<_> = pairs.filter(|(name, value)| !name.is_empty() || !value.is_empty()).collect();
    pairs.sort();
    let mut steps = Vec::new();
    for step in path.split('/').filter(|step| !["", "."].contains(step)) {
        if step == ".." { drop(steps.pop()) } else { steps.push(step.to_owned()) }
    }
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in &sent.headers {
        let plain = value.split_whitespace().collect::<Vec<_>>().join(" ");
        if name != "authorization" {
            headers.push((name.clone(), plain));
            continue;
        }
        let (algorithm, fields) = plain.split_once(' ').unwrap_or((&plain, ""));
        headers.push(("algorithm".to_owned(), algorithm.to_owned()));
        for name in ["Credential", "SignedHeaders", "Signature"] {
            let mut fields = fields.split(',').filter_map(|field| field.trim().split_once('='));
            let value = fields.find(|(known, _)| *known == name).map_or("", |(_, value)| value);
            headers.push((name.to_owned(), value.to_owned()));
        }
    }
    headers.sort();
    // Of a presigned object, the body is signed by nobody.
    let open =
        pairs.iter().any(|(name, value)| name == "X-Amz-Credential" && value.ends_with("/s3/aws4_request"));
    let body = if open { String::new() } else { sent.body.clone() };
    (sent.method.clone(), steps, pairs, headers, body)
}

/// One part of a request, changed.
fn tampered(random: &mut Random, sent: &Sent) -> Sent {
    let mut other = sent.clone();
    match random.below(8) {
        0 => {
            other.method =
                random.of(&["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "post", "X"]).to_owned();
        }
        1 | 2 => {
            other.target =
                format!("/{}", random.changed(other.target.trim_start_matches('/'), OF_SIGNATURES));
        }
        3 => other.body = random.changed(&other.body, OF_FORMS),
        4 if other.headers.len() > 1 => drop(other.headers.remove(random.below(other.headers.len()))),
        5 => {
            let again = other.headers[random.below(other.headers.len())].clone();
            other.headers.push((again.0, random.changed(&again.1, OF_SIGNATURES)));
        }
        _ => {
            let which = random.below(other.headers.len());
            other.headers[which].1 = random.changed(&other.headers[which].1, OF_SIGNATURES);
        }
    }
    other
}

fn signatures(count: u32) {
    let bench = Bench::new();
    let (key, now) = (bench.endpoint.operator.clone(), Timestamp::now());
    let life = std::time::Duration::from_secs(3600);
    let json = Sent::new("POST", &bench.host, "/", "{}")
        .with("content-type", "application/x-amz-json-1.1")
        .with("x-amz-target", "DynamoDB_20120810.ListTables");
    let right = [
        bench.launch().signed("ec2", &key, now),
        bench.get("/?Action=DescribeVpcs").signed("ec2", &key, now),
        bench.get("/?Action=DescribeVpcs").presigned("ec2", &key, now, life),
        json.signed("dynamodb", &key, now),
        bench.get("/bucket/a%20key?partNumber=1").signed("s3", &key, now),
        bench.get("/bucket/a%20key").presigned("s3", &key, now, life),
        Sent::new("GET", &bench.host, "/_ovenbird/status", "").signed("ovenbird", &key, now),
    ];
    for sent in &right {
        let answer = ask(&bench, sent).expect("a request");
        assert_eq!((answer.status, answer.refused), (200, false), "{sent:?}: {}", answer.text);
    }
    let before = bench.instances();
    let (mut random, mut refused) = (Random::new(), 0);
    for round in 0..count {
        let sent = &right[random.below(right.len())];
        let mut other = tampered(&mut random, sent);
        if random.below(4) == 0 {
            other = tampered(&mut random, &other);
        }
        if meaning(&other) == meaning(sent) {
            continue;
        }
        let Some(answer) = ask(&bench, &other) else { continue };
        assert!(answer.refused, "{round}: {}\nwas let in: {other:?}\nfor: {sent:?}", answer.text);
        assert!(!answer.text.contains(&key.secret), "{round}: it tells the key");
        refused += 1;
    }
    assert_eq!(bench.instances(), before, "something was launched");
    assert!(refused > count / 2, "only {refused} of {count} were changed: it proves little");
    eprintln!("{refused} altered requests, all refused");
}

#[test]
fn no_form_makes_the_endpoint_panic() {
    forms(FEW);
}

#[test]
fn no_altered_request_is_let_in() {
    signatures(FEW);
}

#[test]
#[ignore = "takes minutes: `make test-slow`"]
fn no_form_of_very_many_makes_the_endpoint_panic() {
    forms(MANY);
}

#[test]
#[ignore = "takes minutes: `make test-slow`"]
fn none_of_very_many_altered_requests_is_let_in() {
    signatures(MANY);
}
