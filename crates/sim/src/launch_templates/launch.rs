//! Launches by a template.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{LaunchTemplateData, LaunchTemplateVersion, TemplateSpec};
use crate::{ApiError, Instance, Result, RunInstances, Tags, World};

/// The parameters of `RunInstances` with a launch template.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RunByTemplate {
    /// By which template.
    pub template: TemplateSpec,
    /// What the call says itself: it counts more than what the template says.
    pub over: LaunchTemplateData,
    /// The subnet; none means one of the default network's.
    pub subnet: Option<String>,
    /// At least so many.
    pub min_count: i64,
    /// At most so many.
    pub max_count: i64,
    /// The token that makes a repetition the same launch.
    pub client_token: Option<String>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// From now on a parameter has this value: what `resolve:ssm:` followed by its name means. The name may have a
    /// version or a label behind a colon, as Systems Manager reads it. Without a value there is no such parameter.
    pub fn set_image_parameter(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => drop(self.image_parameters.insert(name.to_owned(), value.to_owned())),
            None => drop(self.image_parameters.remove(name)),
        }
    }

    /// What a parameter is known to have as its value.
    pub fn image_parameter(&self, name: &str) -> Option<&str> {
        self.image_parameters.get(name).map(String::as_str)
    }

    /// The parameters that versions of templates name as their image, as they name them.
    pub fn parameters_in_templates(&self) -> BTreeSet<String> {
        let versions = self.templates.by_id.values().flat_map(|template| template.versions.values());
        versions.filter_map(|version| version.data.image_parameter().map(str::to_owned)).collect()
    }

    /// The id of an image that is given by its id or as `resolve:ssm:`.
    pub(crate) fn resolve_image(&self, image: &str) -> Result<String> {
        let Some(name) = image.strip_prefix("resolve:ssm:") else { return Ok(image.to_owned()) };
        self.image_parameters.get(name).cloned().ok_or_else(|| {
            let message = format!("Value ({name}) for parameter ImageId is invalid. No such parameter");
            ApiError::new("InvalidParameterValue", message)
        })
    }

    /// The version that a template and a version's name mean now.
    pub(crate) fn template_version(&self, spec: &TemplateSpec) -> Result<&LaunchTemplateVersion> {
        self.template_of(spec)?.named(spec.version.as_deref())
    }

    /// Launches instances by a template, all of one reservation.
    pub fn run_instances_by_template(
        &mut self,
        now: Timestamp,
        request: &RunByTemplate,
    ) -> Result<Vec<Instance>> {
        let version = self.template_version(&request.template)?;
        let own = aws_tags(version);
        let data = version.data.with(&request.over);
        let launch = RunInstances {
            subnet: request.subnet.clone(),
            min_count: request.min_count,
            max_count: request.max_count,
            client_token: request.client_token.clone(),
            dry_run: request.dry_run,
            ..data.launch()?
        };
        self.run_with_tags(now, &launch, &own)
    }

    /// Launches instances, and gives them tags that only AWS may give.
    pub(crate) fn run_with_tags(
        &mut self,
        now: Timestamp,
        launch: &RunInstances,
        own: &Tags,
    ) -> Result<Vec<Instance>> {
        let launch = RunInstances { image: self.resolve_image(&launch.image)?, ..launch.clone() };
        let mut launched = self.run_instances(now, &launch)?;
        for instance in &mut launched {
            let Some(known) = self.instances.get_mut(&instance.id) else { continue };
            for (key, value) in own {
                // A launch that its token repeats has them already.
                known.tags.entry(key.clone()).or_insert_with(|| value.clone());
            }
            instance.tags = known.tags.clone();
        }
        Ok(launched)
    }
}

/// The tags that EC2 gives to what is launched by a template.
pub(crate) fn aws_tags(version: &LaunchTemplateVersion) -> Tags {
    Tags::from([
        ("aws:ec2launchtemplate:id".to_owned(), version.template.clone()),
        ("aws:ec2launchtemplate:version".to_owned(), version.number.to_string()),
    ])
}
