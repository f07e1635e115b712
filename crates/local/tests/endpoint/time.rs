//! What the model does by time alone: when it begins.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, Weak},
};

use futures::future::BoxFuture;
use jiff::Timestamp;
use ovenbird_core::domain::id::{InstanceId, SnapshotId};
use ovenbird_local::{CloudState, Endpoint, Hardware, machine::Interruption};
use ovenbird_sim::{
    BaseImage, Order, World,
    auto_scaling::{Configuration, CreateGroup},
    launch_templates::{CreateLaunchTemplate, LaunchTemplateData, TemplateSpec},
};
use tokio::net::TcpStream;

/// Hardware that only notes its orders.
#[derive(Debug, Default)]
struct Noted(Arc<Mutex<Vec<Order>>>);

impl Hardware for Noted {
    fn carry_out(&self, order: Order) {
        self.0.lock().expect("the orders").push(order);
    }

    fn console(&self, _instance: &InstanceId) -> Option<String> {
        None
    }

    fn address(&self, _instance: &InstanceId) -> Option<Ipv4Addr> {
        None
    }

    fn process(&self, _instance: &InstanceId) -> Option<u32> {
        None
    }

    fn forward(
        &self,
        _instance: InstanceId,
        _port: u16,
        _here: Option<u16>,
    ) -> BoxFuture<'_, io::Result<SocketAddr>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn forwards(&self) -> Vec<ovenbird_local::Forward> {
        Vec::new()
    }

    fn close(&self, _instance: &InstanceId, _port: Option<u16>) -> Vec<ovenbird_local::Forward> {
        Vec::new()
    }

    fn announce(&self, _: &InstanceId, _: Interruption) -> bool {
        true
    }

    fn adopt(&self, _snapshot: &SnapshotId, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn reach(&self, _instance: InstanceId, _port: u16) -> BoxFuture<'_, io::Result<TcpStream>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn connect(&self, _endpoint: Weak<Endpoint>) {}

    fn network(&self) -> Vec<u32> {
        Vec::new()
    }

    fn shut_down(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

/// Makes a group of one instance.
pub fn group(world: &mut World, base: &str, change: impl FnOnce(&mut CreateGroup)) {
    let now = Timestamp::now();
    let data = LaunchTemplateData {
        image: Some(base.to_owned()),
        instance_type: Some("t3.micro".into()),
        ..LaunchTemplateData::default()
    };
    let template = CreateLaunchTemplate { name: "web".into(), data, ..CreateLaunchTemplate::default() };
    world.create_launch_template(now, &template).expect("a template");
    let subnets = world.describe_subnets(&[], &[]).expect("subnets");
    let subnets: Vec<_> = subnets.into_iter().map(|subnet| subnet.id).collect();
    let spec = TemplateSpec { id: None, name: Some("web".into()), version: Some("1".into()) };
    let mut request = CreateGroup::new("web", Configuration::Template(spec), (1, 1, 1), &subnets);
    change(&mut request);
    world.create_auto_scaling_group(now, &request).expect("a group");
}

/// A world that was saved with a group, and whose machines are gone, launches at its first tick. The hardware has its
/// endpoint only some time after the world is there.
#[tokio::test(flavor = "current_thread")]
async fn a_group_launches_nothing_before_time_is_kept() {
    let mut world = World::new("123456789012", "us-east-1");
    let base = world.register_base(Timestamp::now(), &BaseImage::debian_12("test", "x86_64")).to_string();
    group(&mut world, &base, |_| {});
    let orders = Arc::default();
    let hardware = Box::new(Noted(Arc::clone(&orders)));
    let (_events, events) = tokio::sync::mpsc::unbounded_channel();
    let state = CloudState::start(world, hardware, events, None);
    // Every task that can run has run, many times over.
    let settled = async || {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    };
    settled().await;
    assert!(orders.lock().expect("the orders").is_empty(), "it ticks before the hardware is ready");
    state.keep_time();
    settled().await;
    let orders = orders.lock().expect("the orders");
    assert!(matches!(orders.as_slice(), [Order::Boot { .. }]), "{orders:?}");
}
