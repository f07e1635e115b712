//! Parameters, through SSM.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_ssm::types::{ParameterStringFilter, ParameterTier, ParameterType};
use aws_smithy_types::error::metadata::ProvideErrorMetadata as _;
use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::id::{AmiId, ParameterName},
    ports::{ParameterKind, Parameters, Put},
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// `GetParameters` takes so many names.
const MOST_NAMES: usize = 10;

/// A filter of `DescribeParameters` takes so many.
const MOST_FILTERED: usize = 50;

impl Parameters for Cloud {
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>> {
        match self.ssm.get_parameter().name(name.as_str()).send().await {
            Ok(answer) => Ok(answer.parameter().and_then(|parameter| parameter.value()).map(str::to_owned)),
            Err(error) if code(&error) == "ParameterNotFound" => Ok(None),
            Err(error) => Err(translate("ssm:GetParameter", name.as_str(), &error)),
        }
    }

    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>> {
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_NAMES) {
            let names: Vec<String> = names.iter().map(ToString::to_string).collect();
            let answer = self.ssm.get_parameters().set_names(Some(names)).send().await;
            let answer =
                answer.map_err(|error| translate("ssm:GetParameters", "the channels' parameters", &error))?;
            for parameter in answer.parameters() {
                let name = ParameterName::parse(parameter.name().unwrap_or_default())
                    .map_err(|error| unreadable("ssm:GetParameters", "a parameter's name", error))?;
                found.insert(name, parameter.value().unwrap_or_default().to_owned());
            }
        }
        Ok(found)
    }

    async fn kinds(&self, names: &BTreeSet<ParameterName>) -> Result<BTreeMap<ParameterName, ParameterKind>> {
        const OPERATION: &str = "ssm:DescribeParameters";
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut found = BTreeMap::new();
        for names in names.chunks(MOST_FILTERED) {
            let filter = ParameterStringFilter::builder().key("Name").option("Equals");
            let filter = filter.set_values(Some(names.to_vec())).build();
            let filter = filter.map_err(|error| unreadable(OPERATION, "the parameters", error))?;
            let mut pages = self.ssm.describe_parameters().parameter_filters(filter).into_paginator().send();
            while let Some(page) = pages.next().await {
                let page = page.map_err(|error| translate(OPERATION, "the parameters", &error))?;
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
                        version: one.version(),
                        written: written.unwrap_or_default(),
                    };
                    found.insert(name, kind);
                }
            }
        }
        Ok(found)
    }

    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<Put> {
        let answer = self
            .ssm
            .put_parameter()
            .name(name.as_str())
            .value(image.as_str())
            .r#type(ParameterType::String)
            .data_type("aws:ec2:image")
            .overwrite(true)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Put::Taken),
            Err(error) => {
                let refused = Put::refused(code(&error), error.message().unwrap_or_default());
                refused.ok_or_else(|| translate("ssm:PutParameter", name.as_str(), &error))
            }
        }
    }

    async fn remove(&self, name: &ParameterName) -> Result<()> {
        match self.ssm.delete_parameter().name(name.as_str()).send().await {
            Ok(_) => Ok(()),
            Err(error) if code(&error) == "ParameterNotFound" => Ok(()),
            Err(error) => Err(translate("ssm:DeleteParameter", name.as_str(), &error)),
        }
    }
}
