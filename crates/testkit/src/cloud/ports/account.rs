//! What an account is like: the networks of the model, and around them what a test says.

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::{
    Result,
    domain::id::ParameterName,
    ports::{
        Account, Caller, Endpoint, Networks, ParameterKind, RouteTable, Rule, Run, Signals, Subnet,
        Subscription, VolumeEncryption, Vpc,
    },
};

use super::{super::Cloud, translate};

impl Networks for Cloud {
    async fn vpcs(&self) -> Result<Vec<Vpc>> {
        self.call(&["ec2:DescribeVpcs"], |state| {
            let all = state.world.describe_vpcs(&[], &[]);
            let all = all.map_err(|error| translate("ec2:DescribeVpcs", "", &error))?;
            Ok(all.into_iter().map(|one| Vpc { id: one.id, is_default: one.is_default }).collect())
        })
        .await
    }

    async fn subnets(&self) -> Result<Vec<Subnet>> {
        self.call(&["ec2:DescribeSubnets"], |state| {
            let all = state.world.describe_subnets(&[], &[]);
            let all = all.map_err(|error| translate("ec2:DescribeSubnets", "", &error))?;
            let all = all.into_iter().map(|one| Subnet {
                free: state.world.free_addresses(&one),
                id: one.id,
                vpc: one.vpc,
                zone: one.zone,
                is_default: true,
                gives_public_address: true,
            });
            Ok(all.collect())
        })
        .await
    }

    async fn route_tables(&self) -> Result<Vec<RouteTable>> {
        self.call(&["ec2:DescribeRouteTables"], |state| {
            if let Some(tables) = &state.around.tables {
                return Ok(tables.clone());
            }
            let all = state.world.describe_vpcs(&[], &[]);
            let all = all.map_err(|error| translate("ec2:DescribeRouteTables", "", &error))?;
            let main = all.into_iter().map(|one| RouteTable {
                id: one.id.replace("vpc-", "rtb-"),
                vpc: one.id,
                is_main: true,
                subnets: Vec::new(),
                internet: Some("igw-0123456789abcdef0".to_owned()),
            });
            Ok(main.collect())
        })
        .await
    }

    async fn endpoints(&self) -> Result<Vec<Endpoint>> {
        self.call(&["ec2:DescribeVpcEndpoints"], |state| Ok(state.around.endpoints.clone())).await
    }
}

impl Account for Cloud {
    async fn identity(&self) -> Result<Caller> {
        self.call(&["sts:GetCallerIdentity"], |_| {
            Ok(Caller {
                account: "123456789012".to_owned(),
                name: "user/alice".to_owned(),
                region: "eu-central-1".to_owned(),
            })
        })
        .await
    }

    async fn volume_encryption(&self) -> Result<VolumeEncryption> {
        let actions = &["ec2:GetEbsEncryptionByDefault", "ec2:GetEbsDefaultKmsKeyId"];
        self.call(actions, |state| Ok(state.around.encryption.clone())).await
    }

    async fn instance_types(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>> {
        self.call(&["ec2:DescribeInstanceTypes"], |state| {
            let known = state.around.types.iter().filter(|(name, _)| names.contains(*name));
            Ok(known.map(|(name, runs)| (name.clone(), runs.clone())).collect())
        })
        .await
    }

    async fn kinds(&self, names: &BTreeSet<ParameterName>) -> Result<BTreeMap<ParameterName, ParameterKind>> {
        self.call(&["ssm:DescribeParameters"], |state| {
            let usual = || ParameterKind {
                kind: "String".to_owned(),
                data_type: "aws:ec2:image".to_owned(),
                tier: "Standard".to_owned(),
                has_policies: false,
                written: state.now,
            };
            let there = names.iter().filter_map(|name| match state.around.kinds.get(name) {
                Some(kind) => Some((name.clone(), kind.clone())),
                None => state.parameters.contains_key(name).then(|| (name.clone(), usual())),
            });
            Ok(there.collect())
        })
        .await
    }
}

impl Signals for Cloud {
    async fn uploads_are_told(&self) -> Result<bool> {
        self.call(&["s3:GetBucketNotification"], |state| Ok(state.around.uploads)).await
    }

    async fn rules(&self, target: &str) -> Result<Vec<Rule>> {
        self.call(&["events:ListRuleNamesByTarget", "events:DescribeRule"], |state| {
            let name = target.rsplit(':').next().unwrap_or(target);
            Ok(vec![Rule { name: format!("to-{name}"), is_enabled: state.around.rules }])
        })
        .await
    }

    async fn subscriptions(&self, _topic: &str) -> Result<Vec<Subscription>> {
        self.call(&["sns:ListSubscriptionsByTopic"], |state| Ok(state.around.subscriptions.clone())).await
    }

    async fn runs(&self, machine: &str, most: u8) -> Result<Vec<Run>> {
        self.call(&["states:ListExecutions"], |state| {
            let runs = state.around.runs.get(machine).into_iter().flatten();
            Ok(runs.take(usize::from(most)).cloned().collect())
        })
        .await
    }
}
