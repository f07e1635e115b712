//! What an account is like, through STS, EC2 and SSM.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, ProcessorInfo};
use aws_sdk_ssm::types::{ParameterStringFilter, ParameterTier, ParameterType};
use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::id::ParameterName,
    ports::{Account, Caller, ParameterKind, VolumeEncryption},
};

use crate::{
    Cloud,
    errors::{translate, unreadable},
};

/// A filter takes so many values: EC2 200, SSM 50.
const MOST_TYPES: usize = 200;
const MOST_NAMES: usize = 50;

impl Account for Cloud {
    async fn identity(&self) -> Result<Caller> {
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| translate("sts:GetCallerIdentity", "the caller", &error))?;
        let name = answer.arn().and_then(|arn| arn.splitn(6, ':').nth(5));
        Ok(Caller {
            account: answer.account().unwrap_or_default().to_owned(),
            name: name.unwrap_or("somebody").to_owned(),
            region: self.sts.config().region().map(ToString::to_string).unwrap_or_default(),
        })
    }

    async fn volume_encryption(&self) -> Result<VolumeEncryption> {
        let answer = self.ec2.get_ebs_encryption_by_default().send().await;
        let answer =
            answer.map_err(|error| translate("ec2:GetEbsEncryptionByDefault", "new volumes", &error))?;
        let key = self.ec2.get_ebs_default_kms_key_id().send().await;
        let key = key.map_err(|error| translate("ec2:GetEbsDefaultKmsKeyId", "new volumes", &error))?;
        Ok(VolumeEncryption {
            by_default: answer.ebs_encryption_by_default().unwrap_or_default(),
            key: key.kms_key_id().unwrap_or_default().to_owned(),
        })
    }

    async fn instance_types(&self, names: &BTreeSet<String>) -> Result<BTreeMap<String, BTreeSet<String>>> {
        let names: Vec<String> = names.iter().cloned().collect();
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_TYPES) {
            // By a filter: of names in their own parameter, one that the Region lacks fails the whole call.
            let filter = Filter::builder().name("instance-type").set_values(Some(names.to_vec())).build();
            let mut pages = self.ec2.describe_instance_types().filters(filter).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page
                    .map_err(|error| translate("ec2:DescribeInstanceTypes", "the recipes' types", &error))?;
                found.extend(page.instance_types().iter().filter_map(|one| {
                    let runs = one.processor_info().map(ProcessorInfo::supported_architectures);
                    let runs = runs.unwrap_or_default().iter().map(|one| one.as_str().to_owned());
                    Some((one.instance_type()?.as_str().to_owned(), runs.collect()))
                }));
            }
        }
        Ok(found)
    }

    async fn kinds(&self, names: &BTreeSet<ParameterName>) -> Result<BTreeMap<ParameterName, ParameterKind>> {
        const OPERATION: &str = "ssm:DescribeParameters";
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_NAMES) {
            let filter = ParameterStringFilter::builder().key("Name").option("Equals");
            let filter = filter.set_values(Some(names.to_vec())).build();
            let filter = filter.map_err(|error| unreadable(OPERATION, "the recipes' parameters", error))?;
            let mut pages = self.ssm.describe_parameters().parameter_filters(filter).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| translate(OPERATION, "the recipes' parameters", &error))?;
                for one in page.parameters() {
                    let bad = |why: String| unreadable(OPERATION, one.name().unwrap_or("?"), why);
                    let name = ParameterName::parse(one.name().unwrap_or_default())
                        .map_err(|error| bad(error.to_string()))?;
                    let written = one.last_modified_date().map(|at| Timestamp::from_second(at.secs()));
                    let written = written.transpose().map_err(|error| bad(error.to_string()))?;
                    let kind = ParameterKind {
                        kind: one.r#type().map_or("?", ParameterType::as_str).to_owned(),
                        // SSM leaves out what is usual.
                        data_type: one.data_type().unwrap_or("text").to_owned(),
                        tier: one.tier().map_or("Standard", ParameterTier::as_str).to_owned(),
                        has_policies: !one.policies().is_empty(),
                        written: written.unwrap_or_default(),
                    };
                    found.insert(name, kind);
                }
            }
        }
        Ok(found)
    }
}
