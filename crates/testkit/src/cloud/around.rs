//! What there is of an account beside what the model has.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::{
    domain::{id::ParameterName, traffic::PerMinute},
    ports::{Endpoint, ParameterKind, RouteTable, Run, Subscription, VolumeEncryption},
};

/// What there is of an account beside what the model has. As it is made, all is well.
#[derive(Debug, Clone)]
pub struct Around {
    /// The stack's subnets.
    pub subnets: Vec<String>,
    /// Its route tables; none means that every network leads to the internet.
    pub tables: Option<Vec<RouteTable>>,
    /// Its endpoints.
    pub endpoints: Vec<Endpoint>,
    /// How volumes are encrypted.
    pub encryption: VolumeEncryption,
    /// The instance types that the Region has, with their architectures.
    pub types: BTreeMap<String, BTreeSet<String>>,
    /// Parameters that aren't what a promotion makes.
    pub kinds: BTreeMap<ParameterName, ParameterKind>,
    /// Whether the bucket tells of uploads.
    pub uploads: bool,
    /// Whether the rules do anything.
    pub rules: bool,
    /// Whom the topic tells.
    pub subscriptions: Vec<Subscription>,
    /// What load balancers counted, by the metric, and the target group or load balancer as `CloudWatch` names them; none
    /// if nobody may ask.
    pub metrics: Option<BTreeMap<(String, String), PerMinute>>,
    /// What ran, by state machine.
    pub runs: BTreeMap<String, Vec<Run>>,
}

impl Default for Around {
    fn default() -> Self {
        let runs = |architecture: &str| BTreeSet::from([architecture.to_owned()]);
        let types = [
            ("c7i.large", "x86_64"),
            ("m7i.large", "x86_64"),
            ("m6i.large", "x86_64"),
            ("m7g.large", "arm64"),
        ];
        Self {
            subnets: Vec::new(),
            tables: None,
            endpoints: Vec::new(),
            encryption: VolumeEncryption { by_default: false, key: "alias/aws/ebs".to_owned() },
            types: types.iter().map(|(name, of)| ((*name).to_owned(), runs(of))).collect(),
            kinds: BTreeMap::new(),
            uploads: true,
            rules: true,
            subscriptions: vec![Subscription {
                protocol: "email".to_owned(),
                endpoint: "alice@example.com".to_owned(),
                is_confirmed: true,
            }],
            metrics: Some(BTreeMap::new()),
            runs: BTreeMap::new(),
        }
    }
}
