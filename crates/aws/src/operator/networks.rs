//! The networks, through EC2.

use aws_sdk_ec2::types::{self, RouteState, State, VpcEndpointType};
use ovenbird_core::{
    Result,
    ports::{Endpoint, EndpointKind, Networks, RouteTable, Subnet, Vpc},
};

use crate::{Cloud, errors::translate};

/// Every address that isn't the network's own.
const INTERNET: &str = "0.0.0.0/0";

impl Networks for Cloud {
    async fn vpcs(&self) -> Result<Vec<Vpc>> {
        let all = self.ec2.describe_vpcs().into_paginator().items().send().try_collect().await;
        let all = all.map_err(|error| translate("ec2:DescribeVpcs", "all networks", &error))?;
        Ok(all.iter().map(vpc).collect())
    }

    async fn subnets(&self) -> Result<Vec<Subnet>> {
        let all = self.ec2.describe_subnets().into_paginator().items().send().try_collect().await;
        let all = all.map_err(|error| translate("ec2:DescribeSubnets", "all subnets", &error))?;
        Ok(all.iter().map(subnet).collect())
    }

    async fn route_tables(&self) -> Result<Vec<RouteTable>> {
        let all = self.ec2.describe_route_tables().into_paginator().items().send().try_collect().await;
        let all = all.map_err(|error| translate("ec2:DescribeRouteTables", "all route tables", &error))?;
        Ok(all.iter().map(table).collect())
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        let all = self.ec2.describe_vpc_endpoints().into_paginator().items().send().try_collect().await;
        let all = all.map_err(|error| translate("ec2:DescribeVpcEndpoints", "all endpoints", &error))?;
        Ok(all.iter().map(endpoint).collect())
    }
}

fn vpc(vpc: &types::Vpc) -> Vpc {
    Vpc { id: vpc.vpc_id().unwrap_or_default().to_owned(), is_default: vpc.is_default().unwrap_or_default() }
}

fn subnet(subnet: &types::Subnet) -> Subnet {
    Subnet {
        id: subnet.subnet_id().unwrap_or_default().to_owned(),
        vpc: subnet.vpc_id().unwrap_or_default().to_owned(),
        zone: subnet.availability_zone().unwrap_or_default().to_owned(),
        free: subnet.available_ip_address_count().and_then(|free| free.try_into().ok()).unwrap_or(0),
        is_default: subnet.default_for_az().unwrap_or_default(),
        gives_public_address: subnet.map_public_ip_on_launch().unwrap_or_default(),
    }
}

fn table(table: &types::RouteTable) -> RouteTable {
    let internet = table.routes().iter().find(|route| {
        route.destination_cidr_block() == Some(INTERNET) && route.state() == Some(&RouteState::Active)
    });
    let internet = internet.and_then(|route| {
        let ways = [
            route.gateway_id(),
            route.nat_gateway_id(),
            route.transit_gateway_id(),
            route.vpc_peering_connection_id(),
            route.network_interface_id(),
            route.instance_id(),
            route.local_gateway_id(),
            route.carrier_gateway_id(),
            route.core_network_arn(),
        ];
        ways.into_iter().flatten().next().map(str::to_owned)
    });
    RouteTable {
        id: table.route_table_id().unwrap_or_default().to_owned(),
        vpc: table.vpc_id().unwrap_or_default().to_owned(),
        is_main: table.associations().iter().any(|one| one.main() == Some(true)),
        subnets: table.associations().iter().filter_map(|one| one.subnet_id()).map(str::to_owned).collect(),
        internet,
    }
}

fn endpoint(endpoint: &types::VpcEndpoint) -> Endpoint {
    Endpoint {
        id: endpoint.vpc_endpoint_id().unwrap_or_default().to_owned(),
        vpc: endpoint.vpc_id().unwrap_or_default().to_owned(),
        service: endpoint.service_name().unwrap_or_default().to_owned(),
        kind: match endpoint.vpc_endpoint_type() {
            Some(VpcEndpointType::Gateway) => EndpointKind::Gateway,
            Some(VpcEndpointType::Interface) => EndpointKind::Interface,
            _ => EndpointKind::Other,
        },
        is_available: endpoint.state() == Some(&State::Available),
        tables: endpoint.route_table_ids().to_vec(),
        has_usual_name: endpoint.private_dns_enabled().unwrap_or_default(),
    }
}
