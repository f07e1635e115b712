//! Launch templates: each version may name another image, by id or by a parameter.

use aws_sdk_ec2::{
    operation::describe_launch_template_versions::DescribeLaunchTemplateVersionsOutput, types,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use ovenbird_core::{
    Result,
    domain::{reference::Reference, tags::TAG_STACK},
    ports::{Look, Versions},
};

use super::Named;
use crate::{Cloud, errors::translate, instances::tags};

/// So many templates are asked for at once. EC2 refills 20 such requests a second, for everybody in the account.
const AT_ONCE: usize = 4;

const ALL: &str = "all launch templates";

pub(super) async fn templates_by_version(cloud: &Cloud, versions: Versions) -> Result<Look> {
    let templates = templates(cloud).await?;
    let mut named = Named::default();
    named.look.seen = templates.len();
    let stack = cloud.settings.stack.as_str();
    let ours = templates.iter().filter(|one| tags(one.tags()).get(TAG_STACK).is_some_and(|of| of == stack));
    named.look.ours = ours.filter_map(|one| one.launch_template_name()?.parse().ok()).collect();
    // Without a template, EC2 answers for all of them.
    let request = cloud.ec2.describe_launch_template_versions().versions("$Latest").versions("$Default");
    if !templates.is_empty() {
        let mut pages = request.into_paginator().send();
        while let Some(page) = pages.next().await {
            note(&mut named, &page.map_err(|error| failed(ALL, &error))?);
        }
    }
    if versions == Versions::Every {
        // One version is the newest and the default one.
        let others = templates.iter().filter(|one| one.latest_version_number() != Some(1));
        let others = others.filter_map(|one| one.launch_template_id());
        let all: Vec<Vec<_>> = stream::iter(others.map(|id| every_version(cloud, id)))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        for page in all.iter().flatten() {
            note(&mut named, page);
        }
    }
    named.resolved(cloud).await
}

async fn templates(cloud: &Cloud) -> Result<Vec<types::LaunchTemplate>> {
    let mut pages = cloud.ec2.describe_launch_templates().into_paginator().send();
    let mut templates = Vec::new();
    while let Some(page) = pages.next().await {
        let page = page.map_err(|error| translate("ec2:DescribeLaunchTemplates", ALL, &error))?;
        templates.extend(page.launch_templates.unwrap_or_default());
    }
    Ok(templates)
}

async fn every_version(cloud: &Cloud, id: &str) -> Result<Vec<DescribeLaunchTemplateVersionsOutput>> {
    let request = cloud.ec2.describe_launch_template_versions().launch_template_id(id);
    let mut pages = request.into_paginator().send();
    let mut found = Vec::new();
    while let Some(page) = pages.next().await {
        match page {
            Ok(page) => found.push(page),
            // Deleted since the list was read: it launches nothing any more.
            Err(error) if crate::errors::code(&error) == "InvalidLaunchTemplateId.NotFound" => break,
            Err(error) => return Err(failed(id, &error)),
        }
    }
    Ok(found)
}

fn failed<E>(subject: &str, error: &E) -> ovenbird_core::Error
where
    E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
{
    translate("ec2:DescribeLaunchTemplateVersions", subject, error)
}

fn note(named: &mut Named, page: &DescribeLaunchTemplateVersionsOutput) {
    for version in page.launch_template_versions() {
        let name = version.launch_template_name().or(version.launch_template_id()).unwrap_or_default();
        let number = version.version_number().and_then(|number| u64::try_from(number).ok());
        let reference = Reference::version(name, number.unwrap_or_default());
        let image = version.launch_template_data().and_then(|data| data.image_id());
        named.note(reference.kind, &reference.id, image);
    }
}
