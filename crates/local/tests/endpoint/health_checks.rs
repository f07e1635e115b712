//! Health checks of target groups: against a server of the test's own, which is a port of every simulated machine.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::Request, routing::get};
use http::{StatusCode, header};
use jiff::Timestamp;
use ovenbird_local::{CloudState, Simulated};
use ovenbird_sim::{
    BaseImage, InstanceState, RunInstances, Tags, World,
    auto_scaling::HealthCheckType,
    load_balancing::{
        Action, CreateListener, CreateLoadBalancer, CreateTargetGroup, Forward, HealthCheckChange, TargetId,
        TargetState, Weighted,
    },
};

use crate::time::group;

/// The port of the targets. Other ports of the machines are closed.
const PORT: u16 = 8080;

/// What the server answers, and what it saw.
#[derive(Debug, Default)]
struct Server {
    /// The status of `/changing`.
    status: AtomicU16,
    /// Requests for `/slow` that wait at this moment, and the most that ever did.
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
    /// Method, `User-Agent` and `Host` of the last request by path.
    seen: Mutex<BTreeMap<String, [String; 3]>>,
}

/// Counts a request for as long as it waits: its client may go before it has an answer.
struct Waiting(Arc<Server>);

impl Waiting {
    fn new(server: Arc<Server>) -> Self {
        let now = server.waiting.fetch_add(1, Ordering::SeqCst) + 1;
        server.most_waiting.fetch_max(now, Ordering::SeqCst);
        Self(server)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Server {
    async fn start() -> (Arc<Self>, SocketAddr) {
        let server = Arc::new(Self { status: AtomicU16::new(200), ..Self::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (changing, slow, noted) = (Arc::clone(&server), Arc::clone(&server), Arc::clone(&server));
        let routes = Router::new()
            .route(
                "/changing",
                get(async move || {
                    StatusCode::from_u16(changing.status.load(Ordering::SeqCst)).expect("a status")
                }),
            )
            .route("/broken", get(async || StatusCode::INTERNAL_SERVER_ERROR))
            .route(
                "/slow",
                get(async move || {
                    let _waiting = Waiting::new(Arc::clone(&slow));
                    std::future::pending::<()>().await;
                }),
            )
            .layer(axum::middleware::from_fn(move |request: Request, next: axum::middleware::Next| {
                noted.note(&request);
                next.run(request)
            }));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (server, address)
    }

    fn note(&self, request: &Request) {
        let header = |name| {
            let value = request.headers().get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let seen = [request.method().to_string(), header(header::USER_AGENT), header(header::HOST)];
        self.seen.lock().expect("what was seen").insert(request.uri().to_string(), seen);
    }
}

/// A target group for each path, and a load balancer that sends to all of them; gives their ARNs in this order.
fn target_groups(world: &mut World, checks: &[(&str, &str, u16)]) -> Vec<String> {
    let vpc = world.describe_vpcs(&[], &[]).expect("networks").remove(0).id;
    let mut arns = Vec::new();
    for (name, path, port) in checks {
        let health_check = HealthCheckChange {
            path: Some((*path).to_owned()),
            port: Some(port.to_string()),
            interval: Some(5),
            timeout: Some(2),
            ..HealthCheckChange::default()
        };
        let request = CreateTargetGroup {
            name: (*name).to_owned(),
            port: PORT,
            vpc: vpc.clone(),
            health_check,
            tags: Tags::new(),
        };
        let arn = world.create_target_group(&request).expect("a target group").arn;
        let at_once = BTreeMap::from([("deregistration_delay.timeout_seconds".to_owned(), "0".to_owned())]);
        world.modify_target_group_attributes(&arn, &at_once).expect("attributes");
        arns.push(arn);
    }
    let subnets = world.describe_subnets(&[], &[]).expect("subnets");
    let request = CreateLoadBalancer {
        name: "web".into(),
        subnets: subnets.into_iter().map(|subnet| subnet.id).collect(),
        ..CreateLoadBalancer::default()
    };
    let balancer = world.create_load_balancer(Timestamp::now(), &request).expect("a load balancer").arn;
    let groups = arns.iter().map(|arn| Weighted { group: arn.clone(), weight: 1 }).collect();
    let default_action = Action::Forward(Forward { groups, stickiness: None });
    let request = CreateListener { balancer, port: 80, default_action, tags: Tags::new() };
    world.create_listener(&request).expect("a listener");
    arns
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn targets_are_asked_and_a_group_replaces_the_one_that_answers_wrongly() {
    let (server, address) = Server::start().await;
    let (sender, events) = tokio::sync::mpsc::unbounded_channel();
    let mut world = World::new("123456789012", "us-east-1");
    let base = world.register_base(Timestamp::now(), &BaseImage::debian_12("test", "x86_64")).to_string();
    let checks = [
        ("changing", "/changing", PORT),
        ("broken", "/broken", PORT),
        ("slow", "/slow?a=b", PORT),
        ("closed", "/", 9),
    ];
    let arns = target_groups(&mut world, &checks);
    let [changing, broken, slow, closed] = arns.as_slice() else { panic!("{arns:?}") };
    group(&mut world, &base, |request| {
        request.target_groups = vec![changing.clone()];
        request.health_check_type = Some(HealthCheckType::Elb);
    });
    let state =
        CloudState::start(world, Box::new(Simulated::new(sender).with_port(PORT, address)), events, None);
    state.keep_time();

    let request = RunInstances { image: base, min_count: 1, max_count: 1, ..RunInstances::default() };
    let launched = state.call(|world, now| world.run_instances(now, &request)).expect("an instance");
    let alone = launched[0].id.clone();
    let runs =
        |world: &World| world.instances().any(|one| one.id == alone && one.state == InstanceState::Running);
    until("the instance runs", || state.read(runs)).await;
    for arn in [broken, slow, closed] {
        let target = TargetId::of(&alone);
        state.call(|world, now| world.register_targets(now, arn, &[target])).expect("a target");
    }
    let health = |arn: &str| {
        let found = state.read(|world| world.describe_target_health(arn, &[])).expect("health");
        found.into_iter().map(|one| (one.instance, one.health)).collect::<Vec<_>>()
    };
    let healthy = |arn: &str| {
        let found = health(arn).into_iter().find(|(_, health)| health.state == TargetState::Healthy);
        found.map(|(instance, _)| instance)
    };
    until("the group's instance is healthy", || healthy(changing).is_some()).await;
    let first = healthy(changing).expect("it stays so");

    for (arn, reason, description) in [
        (broken, "Target.ResponseCodeMismatch", "Health checks failed with these codes: [500]"),
        (slow, "Target.Timeout", "Request timed out"),
        (closed, "Target.FailedHealthChecks", "Health checks failed"),
    ] {
        until(reason, || health(arn)[0].1.state != TargetState::Initial).await;
        let (instance, found) = health(arn).remove(0);
        assert_eq!((instance.as_str(), found.state), (alone.as_str(), TargetState::Unhealthy));
        assert_eq!((found.reason, found.description.as_deref()), (Some(reason), Some(description)));
    }
    assert_eq!(server.most_waiting.load(Ordering::SeqCst), 1, "one target was asked twice at once");
    let seen = server.seen.lock().expect("what was seen").clone();
    let expected = ["GET".to_owned(), "ELB-HealthChecker/2.0".to_owned(), address.to_string()];
    assert_eq!(
        seen,
        ["/broken", "/changing", "/slow?a=b"].map(|path| (path.to_owned(), expected.clone())).into()
    );

    server.status.store(503, Ordering::SeqCst);
    let gone = |world: &World| {
        world.instances().all(|one| one.id.as_str() != first || one.state == InstanceState::Terminated)
    };
    until("the group ends what answers 503", || state.read(gone)).await;
    server.status.store(200, Ordering::SeqCst);
    until("its successor is healthy", || healthy(changing).is_some_and(|now| now != first)).await;
}
