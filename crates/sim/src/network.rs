//! The default network: one VPC, a subnet in each zone, security groups.

use std::collections::BTreeMap;

use ovenbird_core::domain::digest;
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, Result, Tags, World,
    capacity::{Lack, Shortage},
    filters::{Filtered, Filters, Fleet, Region, Zone},
    security_groups::{self, Direction, RuleSource, SecurityGroup},
};

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vpc {
    /// The id that EC2 gave it: `vpc-…`.
    pub id: String,
    /// The addresses that it has: `172.31.0.0/16`.
    pub cidr: String,
    /// Whether it is the account's default one.
    pub is_default: bool,
    /// Its tags: at most 50.
    pub tags: Tags,
}

/// A part of a network in one zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subnet {
    /// The id that EC2 gave it: `subnet-…`.
    pub id: String,
    /// The id of the network that it is a part of.
    pub vpc: String,
    /// The availability zone that it is in.
    pub zone: String,
    /// The addresses that it has: `172.31.0.0/20`.
    pub cidr: String,
    /// Its tags: at most 50.
    pub tags: Tags,
}

/// A zone's id, which is the same in every account: `use1-az1` of `us-east-1a`.
pub fn zone_id(zone: &str) -> String {
    let letter = zone.bytes().last().unwrap_or(b'a');
    let mut parts = zone.trim_end_matches(|c: char| c.is_ascii_alphabetic()).split('-');
    let (area, side) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let short = match side {
        "northeast" | "southeast" | "northwest" | "southwest" => {
            format!("{}{}", &side[..1], &side[5..6])
        }
        side => side.chars().take(1).collect(),
    };
    format!("{area}{short}{}-az{}", parts.next().unwrap_or_default(), letter.saturating_sub(b'a') + 1)
}

type Network = (Vec<Vpc>, Vec<Subnet>, BTreeMap<String, SecurityGroup>);

pub(crate) fn default(account: &str, region: &str) -> Network {
    let id = |kind: &str| {
        let hash = digest::sha256(format!("{account}/{region}/{kind}").as_bytes());
        format!("{}-{}", kind.split('/').next().unwrap_or(kind), &hash.as_str()[..17])
    };
    let vpc = Vpc { id: id("vpc"), cidr: "172.31.0.0/16".into(), is_default: true, tags: Tags::new() };
    let subnets = ["a", "b", "c"].iter().enumerate().map(|(index, letter)| Subnet {
        id: id(&format!("subnet/{letter}")),
        vpc: vpc.id.clone(),
        zone: format!("{region}{letter}"),
        cidr: format!("172.31.{}.0/20", index * 16),
        tags: Tags::new(),
    });
    let group = SecurityGroup {
        id: id("sg"),
        name: "default".into(),
        description: "default VPC security group".into(),
        vpc: vpc.id.clone(),
        rules: Vec::new(),
        tags: Tags::new(),
        elsewhere: false,
    };
    let rule = |way: &str| format!("sgr-{}", &id(&format!("sgr/{way}"))[4..21]);
    let group = SecurityGroup {
        rules: vec![
            security_groups::all(rule("in"), Direction::In, RuleSource::Group(group.id.clone())),
            security_groups::all(rule("out"), Direction::Out, RuleSource::Ipv4("0.0.0.0/0".into())),
        ],
        ..group
    };
    let subnets = subnets.collect();
    (vec![vpc], subnets, BTreeMap::from([(group.id.clone(), group)]))
}

impl World {
    /// The id of the default network.
    pub fn default_vpc(&self) -> String {
        self.vpcs.iter().find(|vpc| vpc.is_default).map(|vpc| vpc.id.clone()).unwrap_or_default()
    }

    /// A subnet's ARN.
    pub fn subnet_arn(&self, subnet: &Subnet) -> String {
        format!("arn:aws:ec2:{}:{}:subnet/{}", self.region, self.account, subnet.id)
    }

    /// How many addresses of a subnet are free: of each, EC2 keeps five for itself. None are where launches lack them.
    pub fn free_addresses(&self, subnet: &Subnet) -> u32 {
        let short = |short: &Shortage| {
            short.lack == Lack::Addresses && short.zone.as_ref().is_none_or(|zone| *zone == subnet.zone)
        };
        if self.shortages.iter().any(short) {
            return 0;
        }
        let bits = subnet.cidr.split_once('/').and_then(|(_, bits)| bits.parse().ok()).unwrap_or(32);
        let all = 2_u32.pow(32 - u32::min(bits, 32));
        let taken = self.live_instances().filter(|one| one.subnet == subnet.id).count();
        all.saturating_sub(5).saturating_sub(u32::try_from(taken).unwrap_or(u32::MAX))
    }

    /// The Region, if it passes the filters.
    pub fn describe_regions(&self, filters: &[Filter]) -> Result<Option<String>> {
        let filters = Filters::<Region>::read(filters)?;
        Ok(Some(self.region.clone()).filter(|region| filters.pass(self, &Region(region.clone()))))
    }

    /// The zones of the Region that pass the filters.
    pub fn describe_zones(&self, filters: &[Filter]) -> Result<Vec<String>> {
        let filters = Filters::<Zone>::read(filters)?;
        let zones = self.describe_availability_zones().into_iter();
        Ok(zones.filter(|zone| filters.pass(self, &Zone(zone.clone()))).collect())
    }

    /// Fleets: none can be made here. Filters are read all the same.
    pub fn describe_fleets(&self, filters: &[Filter]) -> Result<()> {
        Filters::<Fleet>::read(filters).map(drop)
    }

    /// The zones of the Region.
    pub fn describe_availability_zones(&self) -> Vec<String> {
        self.subnets.iter().map(|subnet| subnet.zone.clone()).collect()
    }

    /// Networks.
    pub fn describe_vpcs(&self, ids: &[String], filters: &[Filter]) -> Result<Vec<Vpc>> {
        described(self, &self.vpcs, |vpc| &vpc.id, ids, filters, "InvalidVpcID.NotFound", "vpc ID")
    }

    /// Subnets by id and filter.
    pub fn describe_subnets(&self, ids: &[String], filters: &[Filter]) -> Result<Vec<Subnet>> {
        described(
            self,
            &self.subnets,
            |subnet| &subnet.id,
            ids,
            filters,
            "InvalidSubnetID.NotFound",
            "subnet ID",
        )
    }
}

pub(crate) fn described<T: Filtered + Clone>(
    world: &World,
    all: &[T],
    id: impl Fn(&T) -> &String,
    ids: &[String],
    filters: &[Filter],
    code: &'static str,
    what: &str,
) -> Result<Vec<T>> {
    let filters = Filters::<T>::read(filters)?;
    if let Some(unknown) = ids.iter().find(|wanted| !all.iter().any(|one| id(one) == *wanted)) {
        return Err(ApiError::new(code, format!("The {what} '{unknown}' does not exist")));
    }
    let named = |one: &&T| ids.is_empty() || ids.contains(id(one));
    Ok(all.iter().filter(named).filter(|one| filters.pass(world, one)).cloned().collect())
}
