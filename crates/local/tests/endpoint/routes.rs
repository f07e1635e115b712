//! Every route of the endpoint, taken from the tables of what it serves: nobody comes in by any of them.

use std::sync::atomic::Ordering;

use jiff::Timestamp;
use ovenbird_local::Credentials;

use crate::{
    client::Sent,
    refused::{Bench, other_signature},
};

/// A request for each route: what it is, the service that it is signed for, and itself.
fn routes(bench: &Bench) -> Vec<(String, &'static str, Sent)> {
    let form = |action: &str| {
        Sent::new("POST", &bench.host, "/", &format!("Action={action}"))
            .with("content-type", "application/x-www-form-urlencoded")
    };
    let json = |target: &str| {
        let sent = Sent::new("POST", &bench.host, "/", "{}");
        sent.with("content-type", "application/x-amz-json-1.1").with("x-amz-target", target)
    };
    let served = ovenbird_local::operations()
        .into_iter()
        .flat_map(|(service, operations)| operations.into_iter().map(move |operation| (service, operation)));
    let mut routes: Vec<_> = served
        .flat_map(|(service, operation)| {
            let name = format!("{service}:{operation}");
            let by_url = format!("/?Action={operation}");
            let by_url =
                (service == "ec2").then(|| (format!("{name}, in the URL"), service, bench.get(&by_url)));
            let sent = match service {
                "ssm" => json(&format!("AmazonSSM.{operation}")),
                _ => form(operation),
            };
            [Some((name, service, sent)), by_url].into_iter().flatten()
        })
        .collect();
    assert!(routes.len() > 150, "{} routes: the tables are not read", routes.len());
    let control = |method: &str, path: &str| Sent::new(method, &bench.host, path, "");
    routes.extend([
        ("the rest of SSM".to_owned(), "ssm", json("AmazonSSM.DescribeParameters")),
        ("S3".to_owned(), "s3", bench.get("/bucket/key")),
        ("S3, a list".to_owned(), "s3", bench.get("/bucket?list-type=2")),
        ("a JSON service".to_owned(), "dynamodb", json("DynamoDB_20120810.ListTables")),
        ("a REST service".to_owned(), "lambda", bench.get("/2015-03-31/functions")),
        ("a query service".to_owned(), "iam", form("ListRoles")),
        ("MiniStack's own path".to_owned(), "s3", control("POST", "/_ministack/reset")),
        ("the control API's status".to_owned(), "ovenbird", control("GET", "/_ovenbird/status")),
        ("the control API's forward".to_owned(), "ovenbird", control("POST", "/_ovenbird/forward")),
        ("the control API's end".to_owned(), "ovenbird", control("POST", "/_ovenbird/shutdown")),
    ]);
    routes
}

#[test]
fn every_route_refuses_a_replay_a_wrong_signature_a_foreign_host_and_no_signature() {
    let bench = Bench::new();
    let (key, now) = (bench.endpoint.operator.clone(), Timestamp::now());
    let routes = routes(&bench);
    let count = routes.len();
    for (what, service, sent) in routes {
        bench.ahead.store(0, Ordering::SeqCst);
        let signed = sent.clone().signed(service, &key, now);
        // What the operation says of it is its own affair: it was let in.
        let (status, body) = signed.send(&bench.endpoint.url);
        assert!(status != 403 && status < 500, "{what}: {status} {body}");
        bench.refuses(&format!("{what}, unsigned"), &sent);
        bench.refuses(
            &format!("{what}, another signature"),
            &signed.clone().but("authorization", other_signature),
        );
        let wrong = Credentials { secret: "0".repeat(64), ..key.clone() };
        bench.refuses(&format!("{what}, another secret"), &sent.clone().signed(service, &wrong, now));
        for name in ["evil.example", "localhost", "169.254.169.254"] {
            let elsewhere = sent.clone().but("host", |_| name.to_owned()).signed(service, &key, now);
            bench.refuses(&format!("{what}, Host: {name}"), &elsewhere);
        }
        bench.ahead.store(15 * 60 + 1, Ordering::SeqCst);
        bench.refuses(&format!("{what}, replayed after 15 minutes"), &signed);
    }
    eprintln!("{} requests were refused on {count} routes", bench.refused.get());
}
