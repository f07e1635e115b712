//! The endpoint with the world and simulated machines behind it.

use std::{collections::BTreeMap, sync::Arc};

use axum::Router;
use jiff::Timestamp;
use ovenbird_local::{Control, Front, Home, Machines, Options, Service, Simulated, router};
use ovenbird_world::{BaseImage, World};

/// An endpoint on a port of its own, for as long as it lives.
pub struct Endpoint {
    pub url: String,
    pub base: String,
    _home: tempfile::TempDir,
    _runtime: tokio::runtime::Runtime,
}

impl Endpoint {
    /// Starts one on a world that is prepared first, behind whatever the routes are wrapped in.
    pub fn with(
        prepare: impl FnOnce(&mut World),
        wrap: impl FnOnce(Router) -> Router,
    ) -> (Self, Arc<Service>) {
        let home = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Runtime::new().expect("threads");
        let (url, base, service) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
            let port = listener.local_addr().expect("an address").port();
            let (tell, news) = tokio::sync::mpsc::unbounded_channel();
            let mut world = World::new("123456789012", "us-east-1");
            let base = BaseImage { description: "a base".into(), ..BaseImage::debian_12("test", "x86_64") };
            let base = world.register_base(Timestamp::now(), &base).to_string();
            prepare(&mut world);
            let service = Service::start(world, Box::new(Simulated::new(tell)), news, None);
            let mut options = Options::new(port);
            options.home = Home::new(home.path());
            options.machines = Machines::Simulated;
            let parameters = BTreeMap::from([("/aws/service/test/base".to_owned(), base.clone())]);
            let (served, control) = (Arc::clone(&service), Control::new(options));
            let front = Front { service, ministack: None, parameters, control };
            let routes = wrap(router(Arc::new(front)));
            tokio::spawn(async move { axum::serve(listener, routes).await });
            (format!("http://127.0.0.1:{port}"), base, served)
        });
        (Self { url, base, _home: home, _runtime: runtime }, service)
    }
}
