//! Launch templates, through EC2.

use aws_sdk_ec2::types::{LaunchTemplateVersion, RequestLaunchTemplateData};
use ovenbird_core::{
    Result,
    domain::{
        id::{AmiId, TemplateName},
        rollout::Template,
    },
    ports::Templates,
};

use crate::{
    Cloud,
    errors::{code, translate, unreadable},
};

/// EC2's codes for a template or a version that isn't there.
const ABSENT: [&str; 4] = [
    "InvalidLaunchTemplateName.NotFoundException",
    "InvalidLaunchTemplateId.NotFound",
    "InvalidLaunchTemplateId.VersionNotFound",
    "InvalidLaunchTemplateName.VersionNotFound",
];

impl Templates for Cloud {
    async fn default_version(&self, name: &TemplateName) -> Result<Option<(Template, Option<AmiId>)>> {
        let operation = "ec2:DescribeLaunchTemplateVersions";
        let request = self.ec2.describe_launch_template_versions().launch_template_name(name.as_str());
        let answer = match request.versions("$Default").send().await {
            Ok(answer) => answer,
            Err(error) if ABSENT.contains(&code(&error)) => return Ok(None),
            Err(error) => return Err(translate(operation, name.as_str(), &error)),
        };
        let Some(found) = answer.launch_template_versions().first() else { return Ok(None) };
        Ok(Some((numbered(found, operation, name.as_str())?, image(found))))
    }

    async fn version_image(&self, template: &Template) -> Result<Option<AmiId>> {
        let request = self.ec2.describe_launch_template_versions().launch_template_id(&template.id);
        match request.versions(template.version.to_string()).send().await {
            Ok(answer) => Ok(answer.launch_template_versions().first().and_then(image)),
            Err(error) if ABSENT.contains(&code(&error)) => Ok(None),
            Err(error) => Err(translate("ec2:DescribeLaunchTemplateVersions", &template.name, &error)),
        }
    }

    async fn with_image(&self, template: &Template, image: &AmiId, token: &str) -> Result<Template> {
        let operation = "ec2:CreateLaunchTemplateVersion";
        let request = self
            .ec2
            .create_launch_template_version()
            .launch_template_id(&template.id)
            .source_version(template.version.to_string())
            .version_description(format!("Ovenbird: {image}"))
            .client_token(token)
            .launch_template_data(RequestLaunchTemplateData::builder().image_id(image.as_str()).build());
        let answer = request.send().await.map_err(|error| translate(operation, &template.name, &error))?;
        let made = answer.launch_template_version();
        let made = made.ok_or_else(|| unreadable(operation, &template.name, "no version"))?;
        numbered(made, operation, &template.name)
    }

    async fn make_default(&self, template: &Template) -> Result<()> {
        let request = self.ec2.modify_launch_template().launch_template_id(&template.id);
        let answer = request.default_version(template.version.to_string()).send().await;
        answer.map(drop).map_err(|error| translate("ec2:ModifyLaunchTemplate", &template.name, &error))
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

/// The image that a version names by its id; none for `resolve:ssm:…` and for one without an image.
fn image(found: &LaunchTemplateVersion) -> Option<AmiId> {
    AmiId::parse(found.launch_template_data()?.image_id()?).ok()
}
