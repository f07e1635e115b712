//! What a group launches: a launch template, or a mixed instances policy over one.

use serde::{Deserialize, Serialize};

use super::{Member, invalid};
use crate::{
    ApiError, Result, World,
    launch_templates::{InstanceRequirements, LaunchTemplateData, LaunchTemplateVersion, TemplateSpec},
};

/// What a group launches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Configuration {
    /// By a launch template.
    Template(TemplateSpec),
    /// By a launch template, with several types.
    Mixed(MixedInstancesPolicy),
}

/// A mixed instances policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixedInstancesPolicy {
    /// The launch template of every override that has none itself.
    pub template: TemplateSpec,
    /// What is tried, in this order.
    #[serde(default)]
    pub overrides: Vec<Override>,
    /// On demand or spot.
    #[serde(default)]
    pub distribution: Distribution,
}

/// What differs from the launch template.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Override {
    /// The type.
    pub instance_type: Option<String>,
    /// The image, by its id alone.
    pub image: Option<String>,
    /// Another launch template.
    pub template: Option<TemplateSpec>,
    /// How many units of capacity such an instance is: 1 to 999.
    pub weight: Option<u32>,
    /// What is asked of a type that isn't named.
    pub requirements: Option<InstanceRequirements>,
}

/// On demand or spot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Distribution {
    /// So many units are on demand first.
    pub on_demand_base: u32,
    /// Of the rest, so many per cent: 0 to 100.
    pub on_demand_percentage: u32,
}

impl Default for Distribution {
    fn default() -> Self {
        Self { on_demand_base: 0, on_demand_percentage: 100 }
    }
}

/// One way to launch an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub version: LaunchTemplateVersion,
    /// What differs from it.
    pub over: LaunchTemplateData,
    pub weight: u32,
}

impl Configuration {
    /// The template that it launches by, unless an override names another.
    pub fn base(&self) -> &TemplateSpec {
        match self {
            Self::Template(template) => template,
            Self::Mixed(policy) => &policy.template,
        }
    }

    /// Every template that it names, the base first.
    pub fn templates(&self) -> impl Iterator<Item = &TemplateSpec> {
        let own = self.overrides().iter().filter_map(|one| one.template.as_ref());
        std::iter::once(self.base()).chain(own)
    }

    /// Whether every template is named by the number of its version.
    pub fn is_pinned(&self) -> bool {
        self.templates().all(TemplateSpec::is_pinned)
    }

    /// What differs from the base, in the order in which it is tried.
    pub fn overrides(&self) -> &[Override] {
        match self {
            Self::Template(_) => &[],
            Self::Mixed(policy) => &policy.overrides,
        }
    }
}

impl World {
    /// The ways to launch an instance, in the order in which they are tried.
    pub(super) fn choices(&self, configuration: &Configuration) -> Result<Vec<Choice>> {
        let choice = |template: &TemplateSpec, one: &Override| {
            let over = LaunchTemplateData {
                image: one.image.clone(),
                instance_type: one.instance_type.clone(),
                requirements: one.requirements.clone(),
                ..LaunchTemplateData::default()
            };
            let version = self.template_version(template)?.clone();
            Ok(Choice { version, over, weight: one.weight.unwrap_or(1) })
        };
        match configuration {
            Configuration::Template(template) => Ok(vec![choice(template, &Override::default())?]),
            Configuration::Mixed(policy) if policy.overrides.is_empty() => {
                Ok(vec![choice(&policy.template, &Override::default())?])
            }
            Configuration::Mixed(policy) => policy
                .overrides
                .iter()
                .map(|one| choice(one.template.as_ref().unwrap_or(&policy.template), one))
                .collect(),
        }
    }

    /// Whether an instance is as the configuration would launch it now: version, image, and type where one is named.
    /// What its user data fetched is not seen, as at AWS.
    pub(super) fn matches(&self, member: &Member, configuration: &Configuration) -> bool {
        let choices = self.choices(configuration).unwrap_or_default();
        choices.iter().any(|choice| {
            let data = choice.version.data.with(&choice.over);
            let image = data.image.as_deref().and_then(|image| self.resolve_image(image).ok());
            member.template.id.as_deref() == Some(choice.version.template.as_str())
                && member.template.version == Some(choice.version.number.to_string())
                && image.as_deref() == Some(member.image.as_str())
                && data.instance_type.as_ref().is_none_or(|kind| *kind == member.instance_type)
        })
    }

    /// Whether types are chosen by attributes.
    pub(super) fn is_attribute_based(&self, configuration: &Configuration) -> bool {
        let by_template =
            |template| self.template_version(template).is_ok_and(|one| one.data.requirements.is_some());
        configuration.overrides().iter().any(|one| one.requirements.is_some())
            || configuration.templates().any(by_template)
    }

    /// Whether an image is read from a parameter at each launch.
    pub(super) fn reads_parameter(&self, configuration: &Configuration) -> bool {
        let by_template =
            |template| self.template_version(template).is_ok_and(|one| one.data.image_parameter().is_some());
        configuration.templates().any(by_template)
    }

    /// Refuses what Auto Scaling refuses of a configuration.
    pub(super) fn check_configuration(&self, configuration: &Configuration) -> Result<()> {
        for template in configuration.templates() {
            self.template_version(template).map_err(|error| invalid(error.message))?;
        }
        let overrides = configuration.overrides();
        for one in overrides {
            if one.weight.is_some_and(|weight| !(1..=999).contains(&weight)) {
                return Err(invalid("A weighted capacity is between 1 and 999."));
            }
            if one.image.as_deref().is_some_and(|image| !image.starts_with("ami-")) {
                return Err(invalid("An override's ImageId is an id that begins with ami-."));
            }
            if one.instance_type.is_some() && one.requirements.is_some() {
                let message = "InstanceType and InstanceRequirements can't both be in an override.";
                return Err(invalid(message));
            }
        }
        let weighted = overrides.iter().filter(|one| one.weight.is_some()).count();
        if weighted > 0 && weighted < overrides.len() {
            return Err(invalid("Weights must be given for every override, or for none."));
        }
        if let Configuration::Mixed(policy) = configuration
            && policy.distribution.on_demand_percentage > 100
        {
            return Err(invalid("OnDemandPercentageAboveBaseCapacity is between 0 and 100."));
        }
        let choices = self.choices(configuration)?;
        // A group that can launch nothing is refused, as its first launch would be.
        for choice in &choices {
            let data = choice.version.data.with(&choice.over);
            if data.image.is_none() {
                return Err(invalid(
                    "You must use a valid fully-formed launch template. The request must contain the parameter ImageId",
                ));
            }
            if data.instance_type.is_none() && data.requirements.is_none() {
                return Err(invalid(
                    "You must use a valid fully-formed launch template. The request must contain the parameter InstanceType",
                ));
            }
            if data.spot == Some(true) && matches!(configuration, Configuration::Mixed(_)) {
                let message = "Incompatible launch template: Your launch template can't ask for spot instances when you use a mixed instances policy.";
                return Err(ApiError::new("ValidationError", message));
            }
        }
        Ok(())
    }
}
