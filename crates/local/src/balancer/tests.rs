//! A real `HAProxy` over targets on loopback. It needs root, as the local cloud does.

mod counts;

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use axum::{Router, body::Body, extract::Request, routing::any};
use http::StatusCode;
use http_body_util::BodyExt as _;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use ovenbird_sim::load_balancing::{Condition, Pool, Route, RouteAction, RouteTarget};
use tokio::{net::TcpStream, sync::Notify};

use super::*;

/// The port of the endpoint of a cloud that isn't there: each test has one of its own, and so addresses of its own.
static PORT: AtomicU16 = AtomicU16::new(64_001);

struct Lab {
    _folder: tempfile::TempDir,
    balancer: Balancer,
    address: SocketAddrV4,
}

impl Lab {
    fn new() -> Option<Self> {
        let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy", "/usr/bin/haproxy"];
        if !nix::unistd::geteuid().is_root() || !program.iter().any(|path| Path::new(path).exists()) {
            assert!(std::env::var_os("CI").is_none(), "CI must run this test: it needs root, and haproxy");
            eprintln!("SKIPPED: it needs root, and haproxy");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let port = PORT.fetch_add(1, Ordering::SeqCst);
        let [high, low] = port.to_be_bytes();
        let sockets = Arc::new(Sockets::new(port, None));
        let balancer =
            Balancer::new(folder.path().join("lb"), None, sockets, Pids::default(), Counts::default());
        let address = SocketAddrV4::new(Ipv4Addr::new(127, high, low, 1), 8080);
        Some(Self { _folder: folder, balancer: balancer.expect("a balancer"), address })
    }

    async fn bring(&mut self, routes: &[Route]) {
        self.balancer.bring(routes).await.expect("the routes");
    }

    fn route(&self, priority: Option<u32>, conditions: Vec<Condition>, action: RouteAction) -> Route {
        Route {
            balancer: "lb".into(),
            listener: "arn:listener/1".into(),
            dns_name: self.address.ip().to_string(),
            port: self.address.port(),
            priority,
            conditions,
            action,
        }
    }

    fn forward(&self, pools: &[Pool]) -> Route {
        self.route(None, vec![], RouteAction::Forward { pools: pools.to_vec(), stickiness: None })
    }

    async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.expect("a connection");
        let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("a client");
        tokio::spawn(connection);
        Client(sender)
    }

    /// The status and the body of a request with a connection of its own.
    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client().await.get(path, &[]).await;
        (answer.status, answer.body)
    }
}

struct Client(SendRequest<Body>);

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
    closes: bool,
    cookies: Vec<String>,
}

impl Client {
    async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = http::Request::get(path).header("host", "shop.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.0.ready().await.expect("the connection is open");
        let answer =
            self.0.send_request(request.body(Body::empty()).expect("a request")).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let text = |name: &str| {
            let values = head.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.map(str::to_owned).collect::<Vec<_>>()
        };
        let bytes = body.collect().await.expect("a body").to_bytes();
        Answer {
            status: head.status.as_u16(),
            body: String::from_utf8_lossy(&bytes).into_owned(),
            closes: text("connection").iter().any(|value| value == "close"),
            cookies: text("set-cookie"),
        }
    }
}

/// A target that answers with its name; `/slow` it answers when it is told to, `/error` with 503.
async fn target(name: &'static str, go: Arc<Notify>) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let answer = move |request: Request| {
        let go = Arc::clone(&go);
        async move {
            match request.uri().path() {
                "/slow" => go.notified().await,
                "/error" => return (StatusCode::SERVICE_UNAVAILABLE, name.to_owned()),
                "/seen" => {
                    let headers =
                        ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-port", "x-amzn-trace-id"];
                    let value =
                        |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
                    let seen = headers.map(|name| value(name).unwrap_or("-").to_owned());
                    return (StatusCode::OK, seen.join(" "));
                }
                _ => {}
            }
            (StatusCode::OK, name.to_owned())
        }
    };
    let routes = Router::new().fallback(any(answer));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    address
}

fn pool(group: &str, weight: u16, targets: &[(&str, SocketAddr)], draining: &[(&str, SocketAddr)]) -> Pool {
    let target = |(id, address): &(&str, SocketAddr)| RouteTarget {
        instance: format!("i-{id:0>17}").parse().expect("an id"),
        address: Some(address.ip().to_string()),
        port: address.port(),
        healthy_since: Some(Timestamp::UNIX_EPOCH),
    };
    Pool {
        group: format!("arn:targetgroup/{group}/{group}"),
        weight,
        targets: targets.iter().map(target).collect(),
        draining: draining.iter().map(target).collect(),
        slow_start: 0,
        algorithm: "round_robin".into(),
        stickiness: None,
    }
}

#[tokio::test]
async fn a_client_keeps_its_connection_while_targets_come_and_go() {
    let Some(mut lab) = Lab::new() else { return };
    let go = Arc::new(Notify::new());
    let (one, two) = (target("one", Arc::clone(&go)).await, target("two", Arc::clone(&go)).await);
    let first = lab.forward(&[pool("web", 1, &[("1", one)], &[])]);
    lab.bring(std::slice::from_ref(&first)).await;
    let (mut idle, mut busy) = (lab.client().await, lab.client().await);
    assert_eq!(idle.get("/", &[]).await.body, "one");
    let slow = tokio::spawn(async move { busy.get("/slow", &[]).await });
    // The slow request is under way once HAProxy counts its connection.
    until("the slow request is at its target", async || {
        lab.sessions("tg-web", "i-00000000000000001").await == 1
    })
    .await;

    let moved = lab.forward(&[pool("web", 1, &[("2", two)], &[("1", one)])]);
    lab.bring(std::slice::from_ref(&moved)).await;
    for _ in 0..20 {
        let answer = idle.get("/", &[]).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.closes), (200, "two", false));
        assert_eq!(lab.get("/").await, (200, "two".to_owned()));
    }
    assert!(!slow.is_finished(), "what is under way goes on");
    go.notify_waiters();
    let answer = slow.await.expect("the slow request");
    assert_eq!((answer.status, answer.body.as_str()), (200, "one"), "the old target ends what it has");

    // Its time is over: what is still under way is cut, and the target is forgotten.
    lab.bring(std::slice::from_ref(&first)).await;
    let mut busy = lab.client().await;
    let slow = tokio::spawn(async move { busy.get("/slow", &[]).await });
    until("the slow request is at its target", async || {
        lab.sessions("tg-web", "i-00000000000000001").await == 1
    })
    .await;
    lab.bring(std::slice::from_ref(&moved)).await;
    let gone = lab.forward(&[pool("web", 1, &[("2", two)], &[])]);
    lab.bring(std::slice::from_ref(&gone)).await;
    let answer = slow.await.expect("the slow request");
    assert!(matches!(answer.status, 502..=504), "{answer:?}");
    until("it is forgotten", async || lab.balancer.bring(std::slice::from_ref(&gone)).await.expect("routes"))
        .await;
    assert_eq!(lab.sessions("tg-web", "i-00000000000000001").await, -1);
    assert_eq!(lab.balancer.started, 1, "nothing of this needs another process");
}

#[tokio::test]
async fn weights_move_the_requests_of_an_open_connection() {
    let Some(mut lab) = Lab::new() else { return };
    let (one, two) = (target("one", Arc::default()).await, target("two", Arc::default()).await);
    let shares = |blue: u16, green: u16| {
        [pool("blue", blue, &[("1", one)], &[]), pool("green", green, &[("2", two)], &[])]
    };
    lab.bring(&[lab.forward(&shares(1, 0))]).await;
    let mut client = lab.client().await;
    for (blue, green, expected) in
        [(1, 0, 0..1), (900, 100, 20..180), (1, 1, 400..600), (0, 999, 1000..1001), (0, 0, 0..1)]
    {
        lab.bring(&[lab.forward(&shares(blue, green))]).await;
        let mut to_green = 0;
        for _ in 0..1000 {
            let answer = client.get("/", &[]).await;
            if (blue, green) == (0, 0) {
                assert_eq!(answer.status, 503, "nobody has a share");
            }
            to_green += u32::from(answer.body == "two");
        }
        assert!(expected.contains(&to_green), "{blue}:{green} sent {to_green} of 1000 to green");
    }
    assert_eq!(lab.balancer.started, 1, "nothing of this needs another process");
}

#[tokio::test]
async fn the_first_rule_that_fits_is_taken_and_a_new_rule_loses_no_request() {
    let Some(mut lab) = Lab::new() else { return };
    let (one, two) = (target("one", Arc::default()).await, target("two", Arc::default()).await);
    let (web, api) = (pool("web", 1, &[("1", one)], &[]), pool("api", 1, &[("2", two)], &[]));
    let before = lab.forward(std::slice::from_ref(&web));
    lab.bring(std::slice::from_ref(&before)).await;
    let mut old = lab.client().await;
    assert!(!old.get("/", &[]).await.closes);

    let fixed = |status, body: &str| RouteAction::Fixed {
        status,
        content_type: Some("application/json".into()),
        body: Some(body.into()),
    };
    let header = |value: &str| Condition::HttpHeader { name: "X-Beta".into(), values: vec![value.into()] };
    let routes = [
        lab.route(
            Some(1),
            vec![Condition::PathPattern(vec!["/down/*".into()]), header("y?s")],
            fixed(418, "{\"a\": '1'}\n"),
        ),
        lab.route(
            Some(2),
            vec![Condition::PathPattern(vec!["/api.v1/*".into(), "/other".into()])],
            RouteAction::Forward { pools: vec![api], stickiness: None },
        ),
        lab.route(Some(3), vec![Condition::HostHeader(vec!["*.example".into()])], fixed(200, "")),
        before,
    ];
    lab.bring(&routes).await;
    assert_eq!(lab.balancer.started, 2);
    let answer = old.get("/api.v1/x", &[]).await;
    assert_eq!(
        (answer.status, answer.body.as_str(), answer.closes),
        (200, "one", true),
        "the last by the old rules"
    );
    until("the old process ends", async || {
        lab.balancer.clear().await;
        lab.balancer.retired.is_empty()
    })
    .await;
    let mut client = lab.client().await;
    for (path, headers, expected) in [
        ("/down/now", &[("x-beta", "YES")][..], (418, "{\"a\": '1'}\n")),
        ("/down/now", &[("x-beta", "no")], (200, "one")),
        ("/api.v1/x", &[], (200, "two")),
        ("/apixv1/x", &[], (200, "one")),
        ("/other", &[], (200, "two")),
        ("/Other", &[], (200, "one")),
        ("/", &[], (200, "one")),
    ] {
        let answer = client.get(path, headers).await;
        assert_eq!((answer.status, answer.body.as_str()), expected, "{path} {headers:?}");
    }
    let seen = client.get("/seen", &[]).await.body;
    let words: Vec<&str> = seen.split(' ').collect();
    assert_eq!(words[..3], ["127.0.0.1", "http", "8080"], "{seen}");
    assert!(words[3].starts_with("Root=1-") && words[3].len() == "Root=1-".len() + 8 + 1 + 24, "{seen}");
}

#[tokio::test]
async fn a_target_that_is_not_there_is_502_and_none_is_503_and_nothing_is_sent_twice() {
    let Some(mut lab) = Lab::new() else { return };
    let one = target("one", Arc::default()).await;
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    lab.bring(&[lab.forward(&[pool("web", 1, &[], &[])])]).await;
    assert_eq!(lab.get("/").await.0, 503);
    lab.bring(&[lab.forward(&[pool("web", 1, &[("1", one), ("2", closed)], &[])])]).await;
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(lab.get("/").await.0);
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [[200; 5], [502; 5]].concat(), "a request is not sent to another target");
    lab.bring(&[lab.forward(&[pool("web", 1, &[("1", one)], &[])])]).await;
    assert_eq!(lab.get("/error").await, (503, "one".to_owned()), "a target's own 503 stays what it is");
}

#[tokio::test]
async fn a_client_stays_with_its_group_and_its_target() {
    let Some(mut lab) = Lab::new() else { return };
    let (one, two) = (target("one", Arc::default()).await, target("two", Arc::default()).await);
    let sticky = |blue, green| RouteAction::Forward {
        pools: vec![pool("blue", blue, &[("1", one)], &[]), pool("green", green, &[("2", two)], &[])],
        stickiness: Some(60),
    };
    lab.bring(&[lab.route(None, vec![], sticky(1, 1))]).await;
    let mut client = lab.client().await;
    for _ in 0..10 {
        let first = client.get("/", &[]).await;
        let [cookie] = first.cookies.as_slice() else { panic!("{first:?}") };
        assert!(cookie.starts_with("AWSALBTG=tg-") && cookie.contains("Max-Age=60"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap_or_default();
        for _ in 0..10 {
            assert_eq!(client.get("/", &[("cookie", cookie)]).await.body, first.body);
        }
    }
    lab.bring(&[lab.route(None, vec![], sticky(0, 1))]).await;
    let moved = client.get("/", &[("cookie", "AWSALBTG=tg-blue")]).await;
    assert_eq!(moved.body, "two", "a group without a share keeps nobody");

    let mut web = pool("web", 1, &[("1", one), ("2", two)], &[]);
    web.stickiness = Some(60);
    lab.bring(&[lab.forward(std::slice::from_ref(&web))]).await;
    let mut client = lab.client().await;
    let first = client.get("/", &[]).await;
    let cookie = first.cookies.iter().find(|one| one.starts_with("AWSALB=")).expect("a cookie");
    let cookie = cookie.split(';').next().unwrap_or_default().to_owned();
    for _ in 0..10 {
        assert_eq!(client.get("/", &[("cookie", &cookie)]).await.body, first.body);
    }
    // It leaves; the client goes to another, and nothing fails.
    let (stays, leaves) =
        if first.body == "one" { (("2", two), ("1", one)) } else { (("1", one), ("2", two)) };
    let mut web = pool("web", 1, &[stays], &[leaves]);
    web.stickiness = Some(60);
    lab.bring(&[lab.forward(&[web])]).await;
    let moved = client.get("/", &[("cookie", &cookie)]).await;
    assert!(moved.status == 200 && moved.body != first.body, "{moved:?}");
}

#[tokio::test]
async fn nothing_runs_without_a_listener_and_a_new_process_takes_over_from_one_that_died() {
    let Some(mut lab) = Lab::new() else { return };
    let one = target("one", Arc::default()).await;
    lab.bring(&[]).await;
    assert!(lab.balancer.current.is_none());
    let route = lab.forward(&[pool("web", 1, &[("1", one)], &[])]);
    lab.bring(std::slice::from_ref(&route)).await;
    let pid = lab.balancer.current.as_ref().and_then(Process::pid).expect("a process");
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("a process id"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).expect("it ends");
    ended(&mut lab.balancer.current).await;
    // Who connects meanwhile waits.
    let address = lab.address;
    let waits = tokio::spawn(async move { TcpStream::connect(address).await });
    waits.await.expect("a task").expect("the port is open all the time");
    lab.balancer.current = None;
    lab.bring(std::slice::from_ref(&route)).await;
    assert_eq!(lab.get("/").await, (200, "one".to_owned()));
    lab.bring(&[]).await;
    assert!(lab.balancer.current.is_none());
    // A process that another test starts has this one's sockets, too, until its program begins.
    until("nobody listens", async || TcpStream::connect(lab.address).await.is_err()).await;
}

impl Lab {
    /// How many requests a server is answering, by `HAProxy`'s own count; -1 if it doesn't know it.
    async fn sessions(&self, group: &str, instance: &str) -> i64 {
        let current = self.balancer.current.as_ref().expect("a process");
        let table = current.tell("show stat").await.expect("a table");
        let rows = table.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let own =
            rows.filter(|row| row[0] == group && row.get(1).is_some_and(|name| name.starts_with(instance)));
        own.map(|row| row[4].parse().unwrap_or_default()).next().unwrap_or(-1)
    }
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(30), "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
