//! What an account is like, through STS and EC2.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ec2::types::{Filter, ProcessorInfo};
use ovenbird_core::{
    Result,
    ports::{Account, Caller, VolumeEncryption},
};

use crate::{Cloud, errors::translate};

/// A filter takes so many values.
const MOST_TYPES: usize = 200;

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
}
