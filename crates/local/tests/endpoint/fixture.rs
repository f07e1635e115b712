//! The endpoint with the world and simulated machines behind it.

use std::{collections::BTreeMap, sync::Arc};

use axum::Router;
use jiff::Timestamp;
use ovenbird_local::{
    Clock, CloudState, Control, Credentials, Endpoint, Gate, Home, Keys, Link, Machines, Options, Simulated,
    Writes, machine_router, router,
};
use ovenbird_sim::{BaseImage, Validation, World};

/// An endpoint on a port of its own, for as long as it lives.
pub struct TestEndpoint {
    pub url: String,
    pub base: String,
    /// The operator's key.
    pub operator: Credentials,
    /// The endpoint as a machine sees it, and what its role signs with.
    pub machine: String,
    pub role: Credentials,
    /// The endpoint's keys.
    pub keys: Keys,
    _home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl TestEndpoint {
    /// Starts one on a world that is prepared first, behind whatever the routes are wrapped in.
    pub fn with(
        prepare: impl FnOnce(&mut World),
        wrap: impl FnOnce(Router) -> Router,
    ) -> (Self, Arc<CloudState>) {
        Self::at(Clock::system(), None, prepare, wrap)
    }

    /// The same, at a time of its own, with something in place of `MiniStack`.
    pub fn at(
        clock: Clock,
        ministack: Option<Link>,
        prepare: impl FnOnce(&mut World),
        wrap: impl FnOnce(Router) -> Router,
    ) -> (Self, Arc<CloudState>) {
        let keys = Keys::new(Credentials::operator());
        let role = Credentials::machine();
        let (gate_keys, machine_role) = (keys.clone(), role.clone());
        let home = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let (url, machine, base, state) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let (sender, events) = tokio::sync::mpsc::unbounded_channel();
            let mut world = World::new("123456789012", "us-east-1");
            let base = BaseImage { description: "a base".into(), ..BaseImage::debian_12("test", "x86_64") };
            let base = world.register_base(Timestamp::now(), &base).to_string();
            prepare(&mut world);
            let state = CloudState::start(world, Box::new(Simulated::new(sender)), events, None);
            state.keep_time();
            let mut options = Options::new(port);
            options.home = Home::new(home.path());
            options.machines = Machines::Simulated;
            let writes = Writes::new(Validation::AT_ONCE);
            let parameters = BTreeMap::from([("/aws/service/test/base".to_owned(), base.clone())]);
            let (kept, control) = (Arc::clone(&state), Control::new(options));
            let gate = Gate { keys: gate_keys, port, clock };
            let endpoint = Arc::new(Endpoint { gate, state, ministack, parameters, writes, control });
            // A machine has the endpoint at the same address, and the host's tests can't have two there.
            let inside = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let machine = inside.local_addr().expect("an address").port();
            let seen = machine_router(Arc::clone(&endpoint), Some(machine_role));
            tokio::spawn(async move { axum::serve(inside, seen).await });
            let routes = wrap(router(endpoint));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{machine}"), base, kept)
        });
        let operator = keys.operator().clone();
        (Self { url, base, operator, machine, role, keys, _home: home, _runtime: runtime }, state)
    }
}
