//! Load balancers.

use ovenbird_sim::{
    ApiError,
    load_balancing::{CreateLoadBalancer, LoadBalancer},
};

use super::only;
use crate::endpoint::{
    query::{Query, tags, texts, time},
    xml_writer::Xml,
};

pub(super) fn create(query: &Query<'_>) -> Result<String, ApiError> {
    only(query, "Type", "application")?;
    only(query, "IpAddressType", "ipv4")?;
    let request = CreateLoadBalancer {
        name: query.name("Name")?,
        subnets: texts(&query.params, "Subnets"),
        security_groups: texts(&query.params, "SecurityGroups"),
        scheme: query.params.text("Scheme").map(str::to_owned),
        tags: tags(&query.params, "Tags")?,
    };
    query.finish()?;
    let mut made = query.world(|world, now| world.create_load_balancer(now, &request))?;
    // It may have been given an address since.
    if let Some(known) = query.look(|world| world.load_balancers().find(|one| one.arn == made.arn).cloned()) {
        made = known;
    }
    let subnets = subnets(query);
    query.answer(|xml| xml.members("LoadBalancers", [&made], |xml, one| balancer(xml, one, &subnets)))
}

pub(super) fn describe(query: &Query<'_>) -> Result<String, ApiError> {
    let (arns, names) = (texts(&query.params, "LoadBalancerArns"), texts(&query.params, "Names"));
    let paging = query.paging("PageSize", "Marker")?;
    query.finish()?;
    let page = query.look(|world| world.describe_load_balancers(&arns, &names, &paging))?;
    let subnets = subnets(query);
    query.answer(|xml| {
        xml.members("LoadBalancers", &page.items, |xml, one| balancer(xml, one, &subnets));
        xml.optional("NextMarker", page.next_token.as_ref());
    })
}

pub(super) fn delete(query: &Query<'_>) -> Result<String, ApiError> {
    let arn = query.name("LoadBalancerArn")?;
    query.finish()?;
    query.world(|world, _| world.delete_load_balancer(&arn))?;
    query.done()
}

/// Every subnet with its zone.
fn subnets(query: &Query<'_>) -> Vec<(String, String)> {
    let subnets = query.look(|world| world.describe_subnets(&[], &[])).unwrap_or_default();
    subnets.into_iter().map(|subnet| (subnet.id, subnet.zone)).collect()
}

fn balancer(xml: &mut Xml, balancer: &LoadBalancer, subnets: &[(String, String)]) {
    xml.text("LoadBalancerArn", &balancer.arn);
    xml.text("DNSName", &balancer.dns_name);
    xml.text("CreatedTime", time(balancer.created));
    xml.text("LoadBalancerName", &balancer.name);
    xml.text("Scheme", &balancer.scheme);
    xml.text("VpcId", &balancer.vpc);
    xml.part("State", |xml| xml.text("Code", balancer.state()));
    xml.text("Type", "application");
    let own = subnets.iter().filter(|(id, _)| balancer.subnets.contains(id));
    xml.members("AvailabilityZones", own, |xml, (id, zone)| {
        xml.text("ZoneName", zone);
        xml.text("SubnetId", id);
    });
    xml.member_texts("SecurityGroups", &balancer.security_groups);
    xml.text("IpAddressType", "ipv4");
}
