//! Strictness: each code and each state, as AWS documents them.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::{AmiId, InstanceId};
use ovenbird_sim::*;
use ovenbird_testkit::{Script, SimulatedHardware};

mod attributes;
mod balancing;
mod copies;
mod kept;
mod launch;
mod members;
mod properties;
mod refreshes;
mod rollbacks;
mod scaling;
mod templates;
mod volumes;

use kept::Kept;

struct Cloud {
    world: World,
    hardware: SimulatedHardware,
    now: Timestamp,
    base: String,
    /// The world as whoever keeps it has it.
    rows: Kept,
}

impl Cloud {
    fn new() -> Self {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let mut world = World::new("123456789012", "us-east-1");
        let base = BaseImage::debian_12("20260101", "x86_64");
        let base = world.register_base(now, &base).to_string();
        let hardware = SimulatedHardware::new(|work| {
            let script = work.command.unwrap_or_default();
            let (fails, powers_off) = (script.contains("fail"), script.contains("poweroff"));
            Script { exit: i32::from(fails), powers_off, ..Script::default() }
        });
        Self { world, hardware, now, base, rows: Kept::default() }
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.hardware.advance(&mut self.world, self.now);
        self.rows.now_and_then(&mut self.world);
    }

    fn request(&self) -> RunInstances {
        RunInstances {
            image: self.base.clone(),
            min_count: 1,
            max_count: 1,
            profile: Some("p".into()),
            ..RunInstances::default()
        }
    }

    fn launch(&mut self) -> String {
        let request = self.request();
        let id = self.world.run_instances(self.now, &request).unwrap()[0].id.to_string();
        self.pass(0);
        id
    }

    fn state(&mut self, id: &str) -> InstanceState {
        self.world.instances().find(|one| one.id.as_str() == id).unwrap().state
    }

    fn image_of(&self, image: &AmiId) -> &Image {
        self.world.own_images().find(|one| one.id == *image).unwrap()
    }

    fn image(&mut self, instance: &str, name: &str) -> Result<AmiId> {
        let request = CreateImage { instance: instance.into(), name: name.into(), ..CreateImage::default() };
        self.world.create_image(self.now, &request)
    }
}

#[track_caller]
fn code<T: std::fmt::Debug>(result: Result<T>) -> &'static str {
    result.unwrap_err().code
}

#[test]
fn an_instance_goes_through_its_states() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    assert_eq!(cloud.state(&id), InstanceState::Pending);
    cloud.pass(3);
    assert_eq!(cloud.state(&id), InstanceState::Running);
    cloud.world.stop_instances(std::slice::from_ref(&id), false).unwrap();
    assert_eq!(cloud.state(&id), InstanceState::Stopping);
    cloud.pass(1);
    cloud.pass(1);
    assert_eq!(cloud.state(&id), InstanceState::Stopped);
    cloud.world.start_instances(std::slice::from_ref(&id), false).unwrap();
    assert_eq!(cloud.state(&id), InstanceState::Pending);
    cloud.pass(0);
    cloud.pass(3);
    let changes = cloud.world.terminate_instances(std::slice::from_ref(&id), false).unwrap();
    assert_eq!(
        (changes[0].previous, changes[0].current),
        (InstanceState::Running, InstanceState::ShuttingDown)
    );
    cloud.pass(0);
    cloud.pass(1);
    assert_eq!(cloud.state(&id), InstanceState::Terminated);
    assert_eq!(code(cloud.world.start_instances(std::slice::from_ref(&id), false)), "IncorrectInstanceState");
    // Still shown for an hour, then unknown.
    cloud.now += SignedDuration::from_hours(2);
    let gone = cloud.world.describe_instances(cloud.now, &[id], &[], &Paging::default());
    assert_eq!(code(gone), "InvalidInstanceID.NotFound");
}

#[test]
fn a_launch_refuses_what_ec2_refuses() {
    let mut cloud = Cloud::new();
    let mut refused = |change: &dyn Fn(&mut RunInstances)| {
        let mut request = cloud.request();
        change(&mut request);
        code(cloud.world.run_instances(cloud.now, &request))
    };
    assert_eq!(refused(&|r| r.image = "ami-0123456789abcdef0".into()), "InvalidAMIID.NotFound");
    assert_eq!(refused(&|r| r.image = "nonsense".into()), "InvalidAMIID.Malformed");
    assert_eq!(refused(&|r| r.min_count = 0), "InvalidParameterValue");
    assert_eq!(refused(&|r| r.user_data = Some(vec![0; 16 * 1024 + 1])), "InvalidParameterValue");
    assert_eq!(refused(&|r| r.http_tokens = Some("maybe".into())), "InvalidParameterValue");
    assert_eq!(refused(&|r| r.subnet = Some("subnet-1".into())), "InvalidSubnetID.NotFound");
    assert_eq!(refused(&|r| r.security_groups = vec!["sg-1".into()]), "InvalidGroup.NotFound");
    assert_eq!(refused(&|r| r.dry_run = true), "DryRunOperation");
    assert!(cloud.world.take_orders().is_empty(), "a refused launch orders nothing");
}

#[test]
fn a_token_stands_for_one_launch() {
    let mut cloud = Cloud::new();
    let request = RunInstances { client_token: Some("t".into()), ..cloud.request() };
    let first = cloud.world.run_instances(cloud.now, &request).unwrap();
    let again = cloud.world.run_instances(cloud.now, &request).unwrap();
    assert_eq!(first[0].id, again[0].id);
    let other = RunInstances { instance_type: Some("m7i.large".into()), ..request };
    assert_eq!(code(cloud.world.run_instances(cloud.now, &other)), "IdempotentParameterMismatch");
}

#[test]
fn an_image_goes_through_its_states_and_its_name_is_its_own() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    assert_eq!(code(cloud.image(&id, "web-1")), "IncorrectInstanceState");
    cloud.pass(3);
    let image = cloud.image(&id, "web-1").unwrap();
    assert_eq!(code(cloud.image(&id, "web-1")), "InvalidAMIName.Duplicate");
    assert_eq!(code(cloud.image(&id, "x")), "InvalidAMIName.Malformed");
    let unavailable = RunInstances { image: image.to_string(), ..cloud.request() };
    assert_eq!(code(cloud.world.run_instances(cloud.now, &unavailable)), "InvalidAMIID.Unavailable");
    cloud.pass(0);
    cloud.pass(1);
    let found = cloud
        .world
        .describe_images(&DescribeImages { owners: vec!["self".into()], ..DescribeImages::default() });
    let snapshot = found.unwrap().items[0].snapshot.clone().unwrap();
    assert_eq!(cloud.world.snapshots().find(|one| one.id == snapshot).unwrap().progress, 50);
    cloud.pass(2);
    assert_eq!(cloud.image_of(&image).state, ImageState::Available);
    assert_eq!(
        code(cloud.world.delete_snapshot(cloud.now, snapshot.as_str(), false)),
        "InvalidSnapshot.InUse"
    );
    cloud.world.deregister_image(cloud.now, image.as_str(), false, false).unwrap();
    assert_eq!(
        code(cloud.world.deregister_image(cloud.now, image.as_str(), false, false)),
        "InvalidAMIID.NotFound"
    );
    cloud.world.delete_snapshot(cloud.now, snapshot.as_str(), false).unwrap();
    assert_eq!(
        code(cloud.world.delete_snapshot(cloud.now, snapshot.as_str(), false)),
        "InvalidSnapshot.NotFound"
    );
}

#[test]
fn a_lost_host_fails_what_was_under_way_and_keeps_what_was_whole() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    cloud.pass(3);
    let whole = cloud.image(&id, "whole").unwrap();
    cloud.pass(0);
    cloud.pass(3);
    let half = cloud.image(&id, "half").unwrap();
    cloud.world.apply(cloud.now, MachineEvent::HostLost);
    assert_eq!(cloud.image_of(&whole).state, ImageState::Available);
    assert_eq!(cloud.image_of(&half).state, ImageState::Failed);
    assert_eq!(cloud.state(&id), InstanceState::Terminated);
}

#[test]
fn a_machine_that_powers_itself_off_stops_or_goes() {
    let mut cloud = Cloud::new();
    for (behaviour, state) in [("stop", InstanceState::Stopped), ("terminate", InstanceState::Terminated)] {
        let request = RunInstances { shutdown_behavior: Some(behaviour.into()), ..cloud.request() };
        let id = cloud.world.run_instances(cloud.now, &request).unwrap()[0].id.to_string();
        cloud.pass(0);
        cloud.pass(4);
        let send = SendCommand {
            document: "AWS-RunShellScript".into(),
            instances: vec![id.clone()],
            commands: vec!["poweroff".into()],
            ..SendCommand::default()
        };
        cloud.world.send_command(cloud.now, &send).unwrap();
        cloud.pass(0);
        cloud.pass(5);
        cloud.pass(5);
        assert_eq!(cloud.state(&id), state);
    }
}

#[test]
fn a_command_needs_an_instance_that_answers() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    let send = |script: &str| SendCommand {
        document: "AWS-RunShellScript".into(),
        instances: vec![id.clone()],
        comment: "c".into(),
        commands: vec![script.into()],
        ..SendCommand::default()
    };
    assert_eq!(code(cloud.world.send_command(cloud.now, &send("true"))), "InvalidInstanceId");
    cloud.pass(4);
    let good = cloud.world.send_command(cloud.now, &send("true")).unwrap();
    let bad = cloud.world.send_command(cloud.now, &send("fail")).unwrap();
    assert_eq!(good.status(), CommandStatus::Pending);
    cloud.pass(0);
    cloud.pass(2);
    let status =
        |command: &Command| cloud.world.get_command_invocation(command.id.as_str(), &id).unwrap().1.status;
    assert_eq!((status(&good), status(&bad)), (CommandStatus::Success, CommandStatus::Failed));
    let unknown = cloud.world.get_command_invocation(good.id.as_str(), "i-0123456789abcdef0");
    assert_eq!(code(unknown), "InvocationDoesNotExist");
    assert_eq!(
        cloud.world.list_command_invocations(None, Some(&id), &Paging::default()).unwrap().items.len(),
        2
    );
}

#[test]
fn an_unknown_filter_is_refused_and_tags_are_found() {
    let mut cloud = Cloud::new();
    let id = cloud.launch();
    cloud
        .world
        .create_tags(std::slice::from_ref(&id), &Tags::from([("Name".into(), "web".into())]), false)
        .unwrap();
    let find = |name: &str, value: &str| {
        let filter = Filter { name: name.into(), values: vec![value.into()] };
        cloud
            .world
            .describe_instances(cloud.now, &[], &[filter], &Paging::default())
            .map(|page| page.items.len())
    };
    assert_eq!(find("tag:Name", "w*"), Ok(1));
    assert_eq!(find("tag-key", "Nam?"), Ok(1));
    assert_eq!(find("tag:Name", "db"), Ok(0));
    let unknown = cloud.world.create_tags(&["i-0123456789abcdef0".into()], &Tags::new(), false);
    assert_eq!(code(unknown), "InvalidInstanceID.NotFound");
}

#[test]
fn an_unknown_filter_is_refused_where_nothing_is_there_too() {
    let world = World::new("123456789012", "us-east-1");
    let (filters, paging) =
        (vec![Filter { name: "colour".into(), values: vec!["red".into()] }], Paging::default());
    let images = DescribeImages { filters: filters.clone(), ..DescribeImages::default() };
    let now = Timestamp::UNIX_EPOCH;
    for refused in [
        world.describe_instances(now, &[], &filters, &paging).err(),
        world.describe_volumes(&[], &filters, &paging).err(),
        world.describe_images(&images).err(),
        world.describe_snapshots(&[], &[], &[], &filters, &paging).err(),
        world.describe_tags(&filters, &paging).err(),
        world.describe_vpcs(&[], &filters).err(),
        world.describe_subnets(&[], &filters).err(),
        world.describe_security_groups(&[], &filters).err(),
    ] {
        let refused = refused.expect("it is refused");
        assert_eq!(refused.to_string(), "InvalidParameterValue: The filter 'colour' is invalid");
    }
    assert_eq!(code(world.describe_instance_information(&filters, &paging)), "InvalidFilterKey");
    let empty = [Filter { name: "state".into(), values: Vec::new() }];
    assert_eq!(code(world.describe_vpcs(&[], &empty)), "MissingParameter");
}
