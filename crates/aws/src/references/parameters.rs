//! SSM parameters, by value: an id of an image in a text of any shape counts. A `SecureString` is not read.

use std::collections::BTreeMap;

use aws_sdk_ssm::types::{ParameterStringFilter, ParameterType};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ovenbird_core::{
    Result,
    domain::reference::{Kind, Reference, images_in},
    ports::Look,
};

use crate::{
    Cloud,
    errors::{translate, unreadable},
};

/// `GetParameters` takes so many names.
const MOST_NAMES: usize = 10;

/// So many requests at once: SSM allows 40 a second, for everybody in the account.
const AT_ONCE: usize = 4;

const ALL: &str = "all parameters";

pub(super) async fn every_parameter(cloud: &Cloud) -> Result<Look> {
    let plain = ParameterStringFilter::builder()
        .key("Type")
        .values(ParameterType::String.as_str())
        .values(ParameterType::StringList.as_str())
        .build()
        .map_err(|error| unreadable("ssm:DescribeParameters", ALL, error))?;
    let mut pages = cloud.ssm.describe_parameters().parameter_filters(plain).into_paginator().send();
    let mut names = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| translate("ssm:DescribeParameters", ALL, &error))?;
        names.extend(page.parameters().iter().filter_map(|one| one.name()).map(str::to_owned));
    }
    let mut look = Look { seen: names.len(), ..Look::default() };
    for (name, value) in values(cloud, &names).await? {
        let named = images_in(&value).map(|image| (image, Reference::new(Kind::Parameter, &name)));
        look.named.extend(named);
    }
    Ok(look)
}

/// The values of those of the names that exist. A name may end with `:` and a version or a label.
pub(super) async fn values(cloud: &Cloud, names: &[String]) -> Result<BTreeMap<String, String>> {
    let requests = names.chunks(MOST_NAMES).map(|names| async move {
        let answer = cloud.ssm.get_parameters().set_names(Some(names.to_vec())).send().await;
        let answer = answer.map_err(|error| translate("ssm:GetParameters", ALL, &error))?;
        let found = answer.parameters().iter().flat_map(|one| {
            let (selector, value) = (one.selector().unwrap_or_default(), one.value().unwrap_or_default());
            // Another account's parameter is asked for by its ARN.
            let known =
                [one.name(), one.arn()].into_iter().flatten().map(move |name| format!("{name}{selector}"));
            known.filter(|name| names.contains(name)).map(move |name| (name, value.to_owned()))
        });
        Ok(found.collect::<Vec<_>>())
    });
    let found: Vec<Vec<_>> = stream::iter(requests).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
