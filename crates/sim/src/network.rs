//! The default network: one VPC, a subnet in each zone, security groups.

use std::collections::BTreeMap;

use ovenbird_core::domain::digest;
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, Result, Tags, World,
    filters::{Fields, Filtered, Filters, one},
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

/// A security group. Its rules are not modelled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// The id that EC2 gave it: `sg-…`.
    pub id: String,
    /// The name, unique within its network.
    pub name: String,
    /// The text that its maker gave it.
    pub description: String,
    /// The id of the network that it is in.
    pub vpc: String,
    /// Its tags: at most 50.
    pub tags: Tags,
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
        tags: Tags::new(),
    };
    let subnets = subnets.collect();
    (vec![vpc], subnets, BTreeMap::from([(group.id.clone(), group)]))
}

impl World {
    /// Puts a security group that was made elsewhere, or changes it.
    pub fn put_security_group(&mut self, group: SecurityGroup) {
        self.security_groups.insert(group.id.clone(), group);
    }

    /// The zones of the Region.
    pub fn describe_availability_zones(&self) -> Vec<String> {
        self.subnets.iter().map(|subnet| subnet.zone.clone()).collect()
    }

    /// Networks.
    pub fn describe_vpcs(&self, ids: &[String], filters: &[Filter]) -> Result<Vec<Vpc>> {
        described(&self.vpcs, |vpc| &vpc.id, ids, filters, "InvalidVpcID.NotFound", "vpc ID")
    }

    /// Subnets by id and filter.
    pub fn describe_subnets(&self, ids: &[String], filters: &[Filter]) -> Result<Vec<Subnet>> {
        described(&self.subnets, |subnet| &subnet.id, ids, filters, "InvalidSubnetID.NotFound", "subnet ID")
    }

    /// Security groups by id and filter.
    pub fn describe_security_groups(&self, ids: &[String], filters: &[Filter]) -> Result<Vec<SecurityGroup>> {
        let groups: Vec<_> = self.security_groups.values().cloned().collect();
        described(&groups, |group| &group.id, ids, filters, "InvalidGroup.NotFound", "security group")
    }
}

fn described<T: Filtered + Clone>(
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
    Ok(all.iter().filter(named).filter(|one| filters.pass(one)).cloned().collect())
}

impl Filtered for Vpc {
    const FIELDS: Fields<Self> = &[
        ("vpc-id", |it| one(&it.id)),
        ("cidr", |it| one(&it.cidr)),
        ("cidr-block", |it| one(&it.cidr)),
        ("is-default", |it| one(it.is_default)),
        ("isDefault", |it| one(it.is_default)),
        ("state", |_| one("available")),
    ];

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

impl Filtered for Subnet {
    const FIELDS: Fields<Self> = &[
        ("subnet-id", |it| one(&it.id)),
        ("vpc-id", |it| one(&it.vpc)),
        ("availability-zone", |it| one(&it.zone)),
        ("availabilityZone", |it| one(&it.zone)),
        ("default-for-az", |_| one(true)),
        ("defaultForAz", |_| one(true)),
        ("state", |_| one("available")),
    ];

    fn tags(&self) -> &Tags {
        &self.tags
    }
}

impl Filtered for SecurityGroup {
    const FIELDS: Fields<Self> = &[
        ("group-id", |it| one(&it.id)),
        ("group-name", |it| one(&it.name)),
        ("description", |it| one(&it.description)),
        ("vpc-id", |it| one(&it.vpc)),
    ];

    fn tags(&self) -> &Tags {
        &self.tags
    }
}
