//! Networks, subnets and the way to S3.

use super::*;

#[test]
fn a_network_that_is_not_there_is_told() {
    fails("no default network", |facts| facts.network.vpcs = Ok(Vec::new()));
    fails("network vpc-00000009 does not exist", |facts| stack(facts).vpc = Some("vpc-00000009".into()));
    fails("subnet subnet-00000009, which the stack names, does not exist", |facts| {
        stack(facts).subnets = vec!["subnet-00000001".into(), "subnet-00000009".into()];
    });
    fails("which pipeline shop names, does not exist", |facts| {
        with_recipe(facts, "[builder]\nsubnets = [\"subnet-00000009\"]");
    });
    let elsewhere = Subnet { vpc: "vpc-00000002".into(), is_default: false, ..subnet("subnet-00000002") };
    let two = || {
        let second = RouteTable { id: "rtb-2".into(), vpc: "vpc-00000002".into(), ..table(Some("nat-1")) };
        Some(Ok(vec![table(Some("igw-1")), second]))
    };
    fails("is in vpc-00000002, and the stack's security group in vpc-00000001", |facts| {
        facts.network.subnets = Ok(vec![subnet("subnet-00000001"), elsewhere.clone()]);
        facts.network.tables = two();
        with_recipe(facts, "[builder]\nsubnets = [\"subnet-00000002\"]");
    });
    // With a group of its own, it may be anywhere.
    let mut facts = well();
    facts.network.subnets = Ok(vec![subnet("subnet-00000001"), elsewhere]);
    facts.network.tables = two();
    with_recipe(
        &mut facts,
        "[builder]\nsubnets = [\"subnet-00000002\"]\nsecurity-groups = [\"sg-00000001\"]",
    );
    assert_eq!(told(&facts), []);
}

#[test]
fn a_subnet_with_few_free_addresses_is_told_and_one_without_any_fails() {
    let free = |id: &str, free| Subnet { free, ..subnet(id) };
    weaker("has 3 free addresses", |facts| facts.network.subnets = Ok(vec![free("subnet-00000001", 3)]));
    weaker("subnet-00000001 in eu-central-1a has 0", |facts| {
        facts.network.subnets = Ok(vec![free("subnet-00000001", 0), free("subnet-00000002", 100)]);
    });
    fails("has 0 free addresses", |facts| facts.network.subnets = Ok(vec![free("subnet-00000001", 0)]));
}

#[test]
fn a_subnet_without_a_way_to_s3_is_told() {
    fails("has no route to the internet", |facts| facts.network.tables = Some(Ok(vec![table(None)])));
    fails("gives its instances no public address", |facts| {
        let private = Subnet { gives_public_address: false, ..subnet("subnet-00000001") };
        facts.network.subnets = Ok(vec![private]);
    });
}

#[test]
fn every_way_to_s3_is_known() {
    let service = "com.amazonaws.eu-central-1.s3".to_owned();
    let gateway = Endpoint {
        id: "vpce-1".into(),
        vpc: VPC.into(),
        service,
        kind: EndpointKind::Gateway,
        is_available: true,
        tables: vec!["rtb-1".into()],
        has_usual_name: false,
    };
    let interface = Endpoint { kind: EndpointKind::Interface, tables: Vec::new(), ..gateway.clone() };
    let named = Endpoint { has_usual_name: true, ..interface.clone() };
    let pending = Endpoint { is_available: false, ..gateway.clone() };
    let other = Endpoint { service: "com.amazonaws.eu-central-1.dynamodb".into(), ..gateway.clone() };
    let far = Endpoint { vpc: "vpc-00000002".into(), ..gateway.clone() };
    let unrouted = Endpoint { tables: vec!["rtb-7".into()], ..gateway.clone() };
    let from = subnet("subnet-00000001");
    let private = Subnet { gives_public_address: false, ..from.clone() };
    let none = [table(None)];
    for endpoint in [interface, pending, other, far, unrouted] {
        assert_eq!(way(&from, &none, std::slice::from_ref(&endpoint)), Way::None, "{endpoint:?}");
    }
    assert_eq!(way(&private, &none, &[gateway]), Way::Gateway("vpce-1".into()));
    assert_eq!(way(&private, &none, &[named]), Way::Interface("vpce-1".into()));
    let to = |target: &str| [table(Some(target))];
    assert_eq!(way(&from, &to("igw-1"), &[]), Way::Internet("igw-1".into()));
    assert_eq!(way(&private, &to("igw-1"), &[]), Way::NoAddress);
    assert_eq!(way(&private, &to("nat-1"), &[]), Way::Behind("nat-1".into()));
    // A table of its own counts, and not the network's.
    let own = RouteTable { is_main: false, subnets: vec![from.id.clone()], ..table(None) };
    assert_eq!(way(&from, &[table(Some("igw-1")), own], &[]), Way::None);
    // Another network's main table is nobody's here.
    let foreign = RouteTable { vpc: "vpc-00000002".into(), ..table(Some("igw-1")) };
    assert_eq!(way(&from, &[foreign], &[]), Way::None);
}
