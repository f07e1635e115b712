//! The networks in which builders start, as EC2 describes them.

use crate::domain::error::Result;

/// A virtual network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its id: `vpc-…`.
    pub id: String,
    /// Whether EC2 takes it for a launch that names none.
    pub is_default: bool,
}

/// A part of a network, in one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its id: `subnet-…`.
    pub id: String,
    /// The network that it is a part of.
    pub vpc: String,
    /// Its zone: `eu-central-1a`.
    pub zone: String,
    /// How many addresses are free.
    pub free: u32,
    /// Whether EC2 takes it for a launch that names none.
    pub is_default: bool,
    /// Whether an instance in it gets a public address.
    pub gives_public_address: bool,
}

/// Where packets of a subnet go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Its id: `rtb-…`.
    pub id: String,
    /// The network that it belongs to.
    pub vpc: String,
    /// Whether it is that of the network's subnets that name none.
    pub is_main: bool,
    /// The subnets that name it.
    pub subnets: Vec<String>,
    /// Where packets to the internet go (`0.0.0.0/0`): `igw-…`, `nat-…`. None if there is no such route, or what it
    /// leads to is gone.
    pub internet: Option<String>,
}

/// What an endpoint of a network is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointKind {
    /// A route of some route tables.
    Gateway,
    /// An address in the network.
    Interface,
    /// Any other.
    Other,
}

/// A way from a network to a service of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its id: `vpce-…`.
    pub id: String,
    /// The network that it is in.
    pub vpc: String,
    /// The service: `com.amazonaws.eu-central-1.s3`.
    pub service: String,
    /// What it is.
    pub kind: EndpointKind,
    /// Whether it can be used.
    pub is_available: bool,
    /// The route tables that lead to it; a gateway's alone.
    pub tables: Vec<String>,
    /// Whether the service's usual name leads to it; an interface's alone.
    pub has_usual_name: bool,
}

/// The networks of the account in this Region.
pub trait Networks {
    /// All networks.
    async fn vpcs(&self) -> Result<Vec<Vpc>>;
    /// All subnets.
    async fn subnets(&self) -> Result<Vec<Subnet>>;
    /// All route tables.
    async fn route_tables(&self) -> Result<Vec<RouteTable>>;
    /// All endpoints.
    async fn endpoints(&self) -> Result<Vec<Endpoint>>;
}
