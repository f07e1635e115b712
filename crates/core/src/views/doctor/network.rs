//! Whether builders have a subnet, a free address in it, and a way to S3.

use std::collections::BTreeSet;

use super::{Check, Finding, facts::Facts, seen};
use crate::ports::{Endpoint, EndpointKind, RouteTable, Subnet};

const NAME: &str = "network";

/// With fewer free addresses than this, some bakes at once use them up.
const FEW: u32 = 8;

/// How a builder in a subnet reaches S3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Way {
    /// By this gateway endpoint: S3 of this Region, and nothing else.
    Gateway(String),
    /// By this interface endpoint: S3 of this Region, and nothing else.
    Interface(String),
    /// By this internet gateway, with a public address.
    Internet(String),
    /// By a NAT gateway, a transit gateway or whatever else: the route is there, and what is behind it can't be seen.
    Behind(String),
    /// There is an internet gateway, and an instance has no public address to use it with.
    NoAddress,
    /// None.
    None,
}

pub(super) fn way(subnet: &Subnet, tables: &[RouteTable], endpoints: &[Endpoint]) -> Way {
    let own = tables.iter().find(|table| table.subnets.contains(&subnet.id));
    let table = own.or_else(|| tables.iter().find(|table| table.is_main && table.vpc == subnet.vpc));
    let of_s3 = endpoints
        .iter()
        .filter(|one| one.vpc == subnet.vpc && one.is_available && one.service.ends_with(".s3"));
    for endpoint in of_s3 {
        match endpoint.kind {
            EndpointKind::Gateway if table.is_some_and(|table| endpoint.tables.contains(&table.id)) => {
                return Way::Gateway(endpoint.id.clone());
            }
            // Without the usual name, a presigned URL leads to S3's public addresses.
            EndpointKind::Interface if endpoint.has_usual_name => {
                return Way::Interface(endpoint.id.clone());
            }
            EndpointKind::Gateway | EndpointKind::Interface | EndpointKind::Other => {}
        }
    }
    match table.and_then(|table| table.internet.as_deref()) {
        None => Way::None,
        Some(target) if target.starts_with("igw-") && !subnet.gives_public_address => Way::NoAddress,
        Some(target) if target.starts_with("igw-") => Way::Internet(target.to_owned()),
        Some(target) => Way::Behind(target.to_owned()),
    }
}

/// The subnets of all bakes, by id, with who names each.
fn named(facts: &Facts) -> Vec<(String, String)> {
    let mut named: Vec<(String, String)> = Vec::new();
    if let Ok(stack) = &facts.stack {
        named.extend(stack.subnets.iter().map(|id| (id.clone(), "the stack".to_owned())));
    }
    for (pipeline, recipe) in facts.recipes() {
        let own = recipe.builder.subnets.iter();
        named.extend(own.map(|id| (id.clone(), format!("pipeline {pipeline}"))));
    }
    let mut known = BTreeSet::new();
    named.retain(|(id, _)| known.insert(id.clone()));
    named
}

/// Whether some bake starts in whatever subnet of the default network EC2 takes.
fn uses_default(facts: &Facts) -> bool {
    let of_stack = facts.stack.as_ref().is_ok_and(|stack| !stack.subnets.is_empty());
    let mut recipes = facts.recipes().peekable();
    !of_stack && (recipes.peek().is_none() || recipes.any(|(_, recipe)| recipe.builder.subnets.is_empty()))
}

pub(super) fn network(facts: &Facts) -> Check {
    let looks = seen(&facts.network.vpcs).and_then(|vpcs| Ok((vpcs, seen(&facts.network.subnets)?)));
    let (vpcs, subnets) = match looks {
        Ok(both) => both,
        Err(findings) => return Check::new(NAME, "unknown", findings),
    };
    let mut findings = Vec::new();
    let default = vpcs.iter().find(|vpc| vpc.is_default).map(|vpc| vpc.id.as_str());
    let own = facts.stack.as_ref().ok().and_then(|stack| stack.vpc.as_deref());
    if let Some(own) = own.filter(|own| !vpcs.iter().any(|vpc| vpc.id == **own)) {
        findings.push(Finding::fails(
            format!("the stack's network {own} does not exist here"),
            "EC2 refuses every launch: the builders' security group is in it",
            deploy_with_network(),
        ));
    }
    if uses_default(facts) && default.is_none() {
        findings.push(Finding::fails(
            "the account has no default network in this Region",
            "EC2 refuses a launch that names no subnet, and the stack's security group can't be made",
            deploy_with_network(),
        ));
    }
    let mut places: Vec<&Subnet> = Vec::new();
    for (id, by) in named(facts) {
        let Some(subnet) = subnets.iter().find(|subnet| subnet.id == id) else {
            findings.push(Finding::fails(
                format!("subnet {id}, which {by} names, does not exist here"),
                "EC2 refuses the launch: InvalidSubnetID.NotFound",
                "aws ec2 describe-subnets; then name another one",
            ));
            continue;
        };
        places.push(subnet);
        findings.extend(elsewhere(facts, subnet, &by, own.or(default)));
    }
    if uses_default(facts) {
        places.extend(subnets.iter().filter(|one| one.is_default && Some(one.vpc.as_str()) == default));
    }
    findings.extend(addresses(&places));
    let ways = match (&facts.network.tables, &facts.network.endpoints) {
        (Some(tables), Some(endpoints)) => {
            match seen(tables).and_then(|tables| Ok((tables, seen(endpoints)?))) {
                Ok((tables, endpoints)) => reach(&places, tables, endpoints, &mut findings),
                Err(unseen) => {
                    findings.extend(unseen);
                    String::new()
                }
            }
        }
        _ => ", machines reach its endpoint".to_owned(),
    };
    let ids: Vec<&str> = places.iter().map(|one| one.id.as_str()).collect();
    let seen = if ids.is_empty() { "no subnet".to_owned() } else { format!("{}{ways}", ids.join(", ")) };
    Check::new(NAME, seen, findings)
}

fn deploy_with_network() -> &'static str {
    "make deploy PARAMETERS=\"VpcId=vpc-… SubnetIds=subnet-…,subnet-…\""
}

/// A subnet outside of the network that the stack's security group is in.
fn elsewhere(facts: &Facts, subnet: &Subnet, by: &str, network: Option<&str>) -> Option<Finding> {
    let network = network.filter(|network| subnet.vpc != **network)?;
    // A recipe with security groups of its own doesn't use the stack's.
    let of_stack = facts.stack.as_ref().is_ok_and(|stack| stack.subnets.contains(&subnet.id));
    let of_recipe = facts.recipes().any(|(_, recipe)| {
        recipe.builder.security_groups.is_empty() && recipe.builder.subnets.contains(&subnet.id)
    });
    (of_stack || of_recipe).then(|| {
        Finding::fails(
            format!(
                "subnet {}, which {by} names, is in {}, and the stack's security group in {network}",
                subnet.id, subnet.vpc
            ),
            "EC2 refuses the launch: a group and a subnet must be of one network",
            "Name a subnet of the same network, or give the recipe `security-groups` of its own",
        )
    })
}

fn addresses(places: &[&Subnet]) -> Vec<Finding> {
    let full = !places.is_empty() && places.iter().all(|subnet| subnet.free == 0);
    let tight = places.iter().filter(|subnet| subnet.free < FEW);
    tight
        .map(|subnet| {
            let what = format!("subnet {} in {} has {} free addresses", subnet.id, subnet.zone, subnet.free);
            let fix = "Name more subnets: make deploy PARAMETERS=\"SubnetIds=subnet-…,subnet-…\"; or end what uses them";
            match full {
                true => Finding::fails(what, "No other subnet has one: EC2 refuses the launch", fix),
                false => Finding::weaker(what, "A builder needs one, and another one for a test of the booted image", fix),
            }
        })
        .collect()
}

/// Looks for a way to S3 from each subnet; gives what is said of those that have one.
fn reach(
    places: &[&Subnet],
    tables: &[RouteTable],
    endpoints: &[Endpoint],
    findings: &mut Vec<Finding>,
) -> String {
    let mut ways = BTreeSet::new();
    for subnet in places {
        let (what, fix) = match way(subnet, tables, endpoints) {
            Way::Gateway(id) | Way::Interface(id) => {
                ways.insert(format!("S3 by endpoint {id}"));
                continue;
            }
            Way::Internet(id) | Way::Behind(id) => {
                ways.insert(format!("S3 by {id}"));
                continue;
            }
            Way::NoAddress => (
                "leads to an internet gateway, but gives its instances no public address",
                format!(
                    "aws ec2 modify-subnet-attribute --subnet-id {} --map-public-ip-on-launch",
                    subnet.id
                ),
            ),
            Way::None => (
                "has no route to the internet and no endpoint of S3",
                format!(
                    "aws ec2 create-vpc-endpoint --vpc-id {} --service-name com.amazonaws.REGION.s3 \
                     --route-table-ids rtb-… (a gateway endpoint is free)",
                    subnet.vpc
                ),
            ),
        };
        findings.push(Finding::fails(
            format!("subnet {} {what}", subnet.id),
            "A builder there can't fetch the runner, and its bake fails after the boot deadline",
            fix,
        ));
    }
    ways.into_iter().map(|way| format!(", {way}")).collect()
}
