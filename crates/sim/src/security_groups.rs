//! Security groups and their rules. Machines here are reached from loopback alone, whatever a rule says.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, InstanceState, Page, Paging, Result, Tags, World,
    filters::{Fields, Filtered, Filters, one},
    images::check_tags,
    network::described,
    refuse_dry_run,
};

/// A security group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// The id that EC2 gave it: `sg-…`.
    pub id: String,
    /// The name, unique within its network.
    pub name: String,
    /// The text that its maker gave it.
    pub description: String,
    /// The id of the network that it is in.
    pub vpc: String,
    /// What it lets in and out.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Its tags: at most 50.
    pub tags: Tags,
    /// Whether another service made it, and changes and deletes it.
    #[serde(default)]
    pub elsewhere: bool,
}

/// Which way a rule lets pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// To the machines of the group: `Ingress`.
    In,
    /// From them: `Egress`.
    Out,
}

/// Whom a rule lets pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleSource {
    /// A range of IPv4 addresses: `10.0.0.0/8`.
    Ipv4(String),
    /// A range of IPv6 addresses: `::/0`.
    Ipv6(String),
    /// A prefix list, by its id.
    PrefixList(String),
    /// The machines of a security group, by its id.
    Group(String),
}

/// A rule of a security group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The id that EC2 gave it: `sgr-…`.
    pub id: String,
    /// Which way it lets pass.
    pub direction: Direction,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `-1` for all, or a protocol's number.
    pub protocol: String,
    /// The first port; none for a protocol without ports.
    pub from: Option<i32>,
    /// The last port.
    pub to: Option<i32>,
    /// Whom it lets pass.
    pub source: RuleSource,
    /// The text that its maker gave it.
    pub description: Option<String>,
    /// Its tags: at most 50.
    #[serde(default)]
    pub tags: Tags,
}

/// The parameters of `CreateSecurityGroup`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateSecurityGroup {
    /// Its name.
    pub name: String,
    /// A text for people, which EC2 demands.
    pub description: String,
    /// The network; none means the default one.
    pub vpc: Option<String>,
    /// Tags by kind of resource: `security-group`.
    pub tags: BTreeMap<String, Tags>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl Rule {
    /// Whether it lets the same pass, whatever it is called.
    fn same(&self, other: &Self) -> bool {
        (self.direction, &self.protocol, self.from, self.to, &self.source)
            == (other.direction, &other.protocol, other.from, other.to, &other.source)
    }
}

/// Everything, to everywhere or from a group.
pub(crate) fn all(id: String, direction: Direction, source: RuleSource) -> Rule {
    let (from, to, description, tags) = (None, None, None, Tags::new());
    Rule { id, direction, protocol: "-1".into(), from, to, source, description, tags }
}

impl World {
    /// Puts a security group that was made elsewhere, or changes it.
    pub fn put_security_group(&mut self, group: SecurityGroup) {
        self.security_groups.insert(group.id.clone(), SecurityGroup { elsewhere: true, ..group });
    }

    /// Forgets the security groups that were made elsewhere and aren't there any more.
    pub fn keep_security_groups(&mut self, there: &[String]) {
        self.security_groups.retain(|id, group| !group.elsewhere || there.contains(id));
    }

    /// A security group by its id.
    pub fn security_group(&self, id: &str) -> Option<&SecurityGroup> {
        self.security_groups.get(id)
    }

    /// Security groups by id and filter.
    pub fn describe_security_groups(&self, ids: &[String], filters: &[Filter]) -> Result<Vec<SecurityGroup>> {
        let groups: Vec<_> = self.security_groups.values().cloned().collect();
        described(self, &groups, |group| &group.id, ids, filters, "InvalidGroup.NotFound", "security group")
    }

    /// The id of a group that is given by its id or, in the default network, by its name.
    pub fn security_group_id(&self, id: Option<&str>, name: Option<&str>) -> Result<String> {
        let found = match (id, name) {
            (Some(id), _) => self.security_groups.get(id),
            (None, Some(name)) => {
                let default = self.default_vpc();
                self.security_groups.values().find(|group| group.name == name && group.vpc == default)
            }
            (None, None) => return Err(ApiError::missing("GroupId")),
        };
        found.map(|group| group.id.clone()).ok_or_else(|| no_group(id.or(name).unwrap_or_default()))
    }

    /// Makes a security group, which lets everything out and nothing in.
    pub fn create_security_group(&mut self, request: &CreateSecurityGroup) -> Result<SecurityGroup> {
        check_tags(&request.tags, &["security-group"])?;
        let vpc = request.vpc.clone().unwrap_or_else(|| self.default_vpc());
        self.describe_vpcs(std::slice::from_ref(&vpc), &[])?;
        let fits = |text: &str| (1..=255).contains(&text.len()) && text.is_ascii();
        if !fits(&request.name) || request.name.starts_with("sg-") {
            let problem = "A name has 1 to 255 ASCII characters and doesn't begin with sg-.";
            return Err(ApiError::value(&request.name, "groupName", problem));
        }
        if !fits(&request.description) {
            let problem = "A description has 1 to 255 ASCII characters.";
            return Err(ApiError::value(&request.description, "groupDescription", problem));
        }
        if self.security_groups.values().any(|group| group.name == request.name && group.vpc == vpc) {
            let message = format!("The security group '{}' already exists for VPC '{vpc}'", request.name);
            return Err(ApiError::new("InvalidGroup.Duplicate", message));
        }
        refuse_dry_run(request.dry_run)?;
        let id = format!("sg-{}", &self.next_id("sg")[..17]);
        let rule = format!("sgr-{}", &self.next_id("sgr")[..17]);
        let group = SecurityGroup {
            id: id.clone(),
            name: request.name.clone(),
            description: request.description.clone(),
            vpc,
            rules: vec![all(rule, Direction::Out, RuleSource::Ipv4("0.0.0.0/0".into()))],
            tags: request.tags.get("security-group").cloned().unwrap_or_default(),
            elsewhere: false,
        };
        self.security_groups.insert(id, group.clone());
        Ok(group)
    }

    /// Deletes a security group that nothing uses.
    pub fn delete_security_group(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let group = self.security_groups.get(id).ok_or_else(|| no_group(id))?;
        if group.name == "default" {
            let message =
                format!("the specified group: \"{id}\" name: \"default\" cannot be deleted by a user");
            return Err(ApiError::new("CannotDelete", message));
        }
        let mut live = self.instances.values().filter(|one| one.state != InstanceState::Terminated);
        let named = RuleSource::Group(id.to_owned());
        let mut others = self.security_groups.values().filter(|other| other.id != id);
        if live.any(|one| one.security_groups.iter().any(|group| group == id))
            || others.any(|other| other.rules.iter().any(|rule| rule.source == named))
        {
            let message = format!("resource {id} has a dependent object");
            return Err(ApiError::new("DependencyViolation", message));
        }
        refuse_dry_run(dry_run)?;
        self.security_groups.remove(id);
        Ok(())
    }

    /// Adds rules to a group, all or none; gives them with their ids.
    pub fn authorize(&mut self, id: &str, rules: &[Rule], dry_run: bool) -> Result<Vec<Rule>> {
        let group = self.security_groups.get(id).ok_or_else(|| no_group(id))?;
        if rules.is_empty() {
            return Err(ApiError::missing("IpPermissions"));
        }
        for (place, rule) in rules.iter().enumerate() {
            self.check_rule(rule)?;
            let before = group.rules.iter().chain(&rules[..place]);
            if before.clone().any(|one| one.same(rule)) {
                let message = "the specified rule already exists";
                return Err(ApiError::new("InvalidPermission.Duplicate", message));
            }
        }
        refuse_dry_run(dry_run)?;
        let named = rules
            .iter()
            .map(|rule| Rule { id: format!("sgr-{}", &self.next_id("sgr")[..17]), ..rule.clone() });
        let named: Vec<_> = named.collect();
        if let Some(group) = self.security_groups.get_mut(id) {
            group.rules.extend(named.iter().cloned());
        }
        Ok(named)
    }

    /// Takes rules away from a group, all or none: these, and those with these ids.
    pub fn revoke(
        &mut self,
        id: &str,
        direction: Direction,
        rules: &[Rule],
        ids: &[String],
        dry_run: bool,
    ) -> Result<()> {
        let group = self.security_groups.get(id).ok_or_else(|| no_group(id))?;
        if rules.is_empty() && ids.is_empty() {
            return Err(ApiError::missing("IpPermissions"));
        }
        if let Some(unknown) = ids
            .iter()
            .find(|id| !group.rules.iter().any(|rule| rule.id == **id && rule.direction == direction))
        {
            let message = format!("The security group rule ID '{unknown}' does not exist");
            return Err(ApiError::new("InvalidSecurityGroupRuleId.NotFound", message));
        }
        if rules.iter().any(|rule| !group.rules.iter().any(|one| one.same(rule))) {
            let message = "The specified rule does not exist in this security group.";
            return Err(ApiError::new("InvalidPermission.NotFound", message));
        }
        refuse_dry_run(dry_run)?;
        if let Some(group) = self.security_groups.get_mut(id) {
            group.rules.retain(|one| !ids.contains(&one.id) && !rules.iter().any(|rule| rule.same(one)));
        }
        Ok(())
    }

    fn check_rule(&self, rule: &Rule) -> Result<()> {
        let named = matches!(rule.protocol.as_str(), "tcp" | "udp" | "icmp" | "icmpv6" | "-1");
        if !named && rule.protocol.parse::<u8>().is_err() {
            let message = format!("Invalid value '{}' for IP protocol. Unknown protocol.", rule.protocol);
            return Err(ApiError::new("InvalidParameterValue", message));
        }
        let ports = matches!(rule.protocol.as_str(), "tcp" | "udp" | "6" | "17");
        let (from, to) = (rule.from.unwrap_or(-1), rule.to.unwrap_or(-1));
        if ports && !(0 <= from && from <= to && to <= 65_535) {
            let message = format!("Invalid TCP/UDP port range ({from}:{to})");
            return Err(ApiError::new("InvalidParameterValue", message));
        }
        let valid = match &rule.source {
            RuleSource::Ipv4(range) => cidr::<Ipv4Addr>(range, 32),
            RuleSource::Ipv6(range) => cidr::<Ipv6Addr>(range, 128),
            RuleSource::PrefixList(id) => id.starts_with("pl-"),
            RuleSource::Group(id) if self.security_groups.contains_key(id) => true,
            RuleSource::Group(id) => return Err(no_group(id)),
        };
        if valid {
            Ok(())
        } else {
            Err(ApiError::new("InvalidParameterValue", format!("{:?} is not valid", rule.source)))
        }
    }

    /// Rules by id and filter, each with its group's id.
    pub fn describe_security_group_rules(
        &self,
        ids: &[String],
        filters: &[Filter],
        paging: &Paging,
    ) -> Result<Page<(String, Rule)>> {
        let filters = Filters::<RuleOf>::read(filters)?;
        let all: Vec<_> = self
            .security_groups
            .values()
            .flat_map(|group| {
                group.rules.iter().map(|rule| RuleOf { group: group.id.clone(), rule: rule.clone() })
            })
            .collect();
        if let Some(unknown) = ids.iter().find(|id| !all.iter().any(|one| one.rule.id == **id)) {
            let message = format!("The security group rule ID '{unknown}' does not exist");
            return Err(ApiError::new("InvalidSecurityGroupRuleId.NotFound", message));
        }
        let wanted = all.into_iter().filter(|one| ids.is_empty() || ids.contains(&one.rule.id));
        let mut found: Vec<_> =
            wanted.filter(|one| filters.pass(self, one)).map(|one| (one.group, one.rule)).collect();
        found.sort_by(|one, other| one.1.id.cmp(&other.1.id));
        paging.cut(found, 5, |(_, rule)| rule.id.clone())
    }
}

fn cidr<A: std::str::FromStr>(range: &str, most: u8) -> bool {
    let parts = range.split_once('/');
    parts.is_some_and(|(address, bits)| {
        address.parse::<A>().is_ok() && bits.parse::<u8>().is_ok_and(|bits| bits <= most)
    })
}

pub(crate) fn no_group(id: &str) -> ApiError {
    ApiError::new("InvalidGroup.NotFound", format!("The security group '{id}' does not exist"))
}

/// A rule with its group's id.
pub(crate) struct RuleOf {
    group: String,
    rule: Rule,
}

impl Filtered for RuleOf {
    const FIELDS: Fields<Self> =
        &[("group-id", |it, _| one(&it.group)), ("security-group-rule-id", |it, _| one(&it.rule.id))];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.rule.tags)
    }
}
