//! Launch templates, through EC2.

use aws_sdk_ec2::types::{LaunchTemplateVersion, RequestLaunchTemplateData};
use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        error::Retry,
        id::{AmiId, TemplateName},
        rollout::{Launched, Template},
        tags::TAG_STACK,
        template::{LaunchTemplate, Version, description},
    },
    ports::Templates,
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
    instances::tags,
};

/// What most of these methods ask for.
const VERSIONS: &str = "ec2:DescribeLaunchTemplateVersions";

/// EC2's codes for a template or a version that isn't there.
const ABSENT: [&str; 4] = [
    "InvalidLaunchTemplateName.NotFoundException",
    "InvalidLaunchTemplateId.NotFound",
    "InvalidLaunchTemplateId.VersionNotFound",
    "InvalidLaunchTemplateName.VersionNotFound",
];

impl Templates for Cloud {
    async fn default_version(&self, name: &TemplateName) -> Result<Option<(Template, Option<AmiId>)>> {
        let request = self.ec2.describe_launch_template_versions().launch_template_name(name.as_str());
        let answer = match request.versions("$Default").send().await {
            Ok(answer) => answer,
            Err(error) if ABSENT.contains(&code(&error)) => return Ok(None),
            Err(error) => return Err(translate(VERSIONS, name.as_str(), &error)),
        };
        let Some(found) = answer.launch_template_versions().first() else { return Ok(None) };
        Ok(Some((numbered(found, VERSIONS, name.as_str())?, image(found))))
    }

    async fn launched(&self, template: &Template) -> Result<Option<Launched>> {
        let request = self.ec2.describe_launch_template_versions().launch_template_id(&template.id);
        match request.versions(template.version.to_string()).send().await {
            Ok(answer) => Ok(answer.launch_template_versions().first().map(|found| {
                let data = found.launch_template_data();
                let by_attributes = data.is_some_and(|data| data.instance_requirements().is_some());
                Launched { image: image(found), by_attributes }
            })),
            Err(error) if ABSENT.contains(&code(&error)) => Ok(None),
            Err(error) => Err(translate(VERSIONS, &template.name, &error)),
        }
    }

    async fn every_version(&self, name: &TemplateName) -> Result<Option<LaunchTemplate>> {
        let request = self.ec2.describe_launch_templates().launch_template_names(name.as_str());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) if ABSENT.contains(&code(&error)) => return Ok(None),
            Err(error) => return Err(translate("ec2:DescribeLaunchTemplates", name.as_str(), &error)),
        };
        let Some(found) = answer.launch_templates().first() else { return Ok(None) };
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let (Some(id), Some(default)) = (found.launch_template_id(), number(found.default_version_number()))
        else {
            return Err(unreadable(
                "ec2:DescribeLaunchTemplates",
                name.as_str(),
                "no id, or no default version",
            ));
        };
        let ours =
            tags(found.tags()).get(TAG_STACK).map(String::as_str) == Some(self.settings.stack.as_str());
        let request = self.ec2.describe_launch_template_versions().launch_template_id(id);
        let mut pages = request.into_paginator().send();
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(page) => page,
                // Deleted since the list was read.
                Err(error) if ABSENT.contains(&code(&error)) => return Ok(None),
                Err(error) => return Err(translate(VERSIONS, id, &error)),
            };
            for one in page.launch_template_versions() {
                versions.push(read_version(one)?);
            }
        }
        Ok(Some(LaunchTemplate { id: id.to_owned(), name: name.clone(), ours, default, versions }))
    }

    async fn with_image(&self, template: &Template, image: &AmiId, token: &str) -> Result<Template> {
        let operation = "ec2:CreateLaunchTemplateVersion";
        let request = self
            .ec2
            .create_launch_template_version()
            .launch_template_id(&template.id)
            .source_version(template.version.to_string())
            .version_description(description(image))
            .client_token(token)
            .launch_template_data(RequestLaunchTemplateData::builder().image_id(image.as_str()).build());
        let answer = request.send().await.map_err(|error| translate(operation, &template.name, &error))?;
        let made = answer.launch_template_version();
        let made = made.ok_or_else(|| unreadable(operation, &template.name, "no version"))?;
        numbered(made, operation, &template.name)
    }

    async fn make_default(&self, template: &Template) -> Result<()> {
        let request = self.ec2.modify_launch_template().launch_template_id(&template.id);
        match request.default_version(template.version.to_string()).send().await {
            Ok(_) => Ok(()),
            // It was made a moment ago.
            Err(error) if code(&error) == "InvalidLaunchTemplateId.VersionNotFound" => {
                let what = format!("version {} of launch template {}", template.version, template.name);
                Err(Error::TryAgain { what, why: Retry::Unseen })
            }
            Err(error) => Err(translate("ec2:ModifyLaunchTemplate", &template.name, &error)),
        }
    }
}

fn numbered(found: &LaunchTemplateVersion, operation: &'static str, name: &str) -> Result<Template> {
    let id = found.launch_template_id().map(str::to_owned);
    let version = found.version_number().and_then(|number| u64::try_from(number).ok());
    let (Some(id), Some(version)) = (id, version) else {
        return Err(unreadable(operation, name, "a version without its number"));
    };
    Ok(Template { id, name: name.to_owned(), version })
}

fn read_version(found: &LaunchTemplateVersion) -> Result<Version> {
    let created = found.create_time().and_then(|at| Timestamp::from_second(at.secs()).ok());
    let number = found.version_number().and_then(|number| u64::try_from(number).ok());
    let (Some(number), Some(created)) = (number, created) else {
        let id = found.launch_template_id().unwrap_or_default();
        return Err(unreadable(VERSIONS, id, "a version without its number, or without its time"));
    };
    Ok(Version {
        number,
        image: image(found),
        description: found.version_description().unwrap_or_default().to_owned(),
        created,
    })
}

/// The image that a version names by its id; none for `resolve:ssm:…` and for one without an image.
fn image(found: &LaunchTemplateVersion) -> Option<AmiId> {
    AmiId::parse(found.launch_template_data()?.image_id()?).ok()
}
