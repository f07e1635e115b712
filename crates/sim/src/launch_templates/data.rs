//! What a version of a launch template says of a launch.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ApiError, NewVolume, ROOT_DEVICE, Result, RunInstances, Tags};

/// The parameters that a version of a launch template has. What it lacks is the launch's to say.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchTemplateData {
    /// The image: an id, or `resolve:ssm:` and a parameter's name.
    pub image: Option<String>,
    /// The type.
    pub instance_type: Option<String>,
    /// The user data, decoded.
    #[serde(with = "crate::base64")]
    pub user_data: Option<Vec<u8>>,
    /// The name of the instance profile.
    pub profile: Option<String>,
    /// The name of the key pair.
    pub key_name: Option<String>,
    /// Whether instances can't be terminated by a call.
    pub no_termination: Option<bool>,
    /// Whether instances can't be stopped by a call.
    pub no_stop: Option<bool>,
    /// The security groups.
    pub security_groups: Vec<String>,
    /// `required` or `optional`.
    pub http_tokens: Option<String>,
    /// `stop` or `terminate`.
    pub shutdown_behavior: Option<String>,
    /// The volumes by device, the root among them.
    pub mappings: BTreeMap<String, NewVolume>,
    /// Whether a spot instance is asked for.
    pub spot: Option<bool>,
    /// Tags by kind of resource: `instance`, `volume`.
    pub tags: BTreeMap<String, Tags>,
    /// What is asked of a type that isn't named; never together with `instance_type`.
    pub requirements: Option<InstanceRequirements>,
}

/// Attributes that an instance type must have (attribute-based selection).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstanceRequirements {
    /// At least so many vCPUs.
    pub vcpus_min: u32,
    /// At least so much memory, in MiB.
    pub memory_mib_min: u32,
}

/// The types that attribute-based selection chooses from, the smallest first: name, vCPUs, memory in MiB.
const TYPES: &[(&str, u32, u32)] = &[
    ("t3.micro", 2, 1024),
    ("c7i.large", 2, 4096),
    ("m7i.large", 2, 8192),
    ("m7i.xlarge", 4, 16_384),
    ("m7i.2xlarge", 8, 32_768),
];

impl InstanceRequirements {
    /// The smallest type that has them.
    pub(crate) fn smallest(&self) -> Result<&'static str> {
        let fits = TYPES
            .iter()
            .find(|(_, vcpus, memory)| *vcpus >= self.vcpus_min && *memory >= self.memory_mib_min);
        let none = || ApiError::new("InvalidParameterValue", "No instance type has these attributes.");
        fits.map(|(name, ..)| *name).ok_or_else(none)
    }
}

impl LaunchTemplateData {
    /// These parameters with those over them: one that is said there counts, a list as a whole.
    #[must_use]
    pub fn with(&self, over: &Self) -> Self {
        fn list<T: Clone>(own: &[T], over: &[T]) -> Vec<T> {
            if over.is_empty() { own.to_vec() } else { over.to_vec() }
        }
        fn either<T: Clone>(own: Option<&T>, over: Option<&T>) -> Option<T> {
            over.or(own).cloned()
        }
        let mappings = if over.mappings.is_empty() { &self.mappings } else { &over.mappings };
        let mut tags = self.tags.clone();
        tags.extend(over.tags.clone());
        // A named type and attributes exclude each other: the newer word counts.
        let (own_type, own_requirements) = match (&over.instance_type, &over.requirements) {
            (None, None) => (self.instance_type.as_ref(), self.requirements.as_ref()),
            (Some(_), _) | (_, Some(_)) => (None, None),
        };
        Self {
            image: either(self.image.as_ref(), over.image.as_ref()),
            instance_type: either(own_type, over.instance_type.as_ref()),
            user_data: either(self.user_data.as_ref(), over.user_data.as_ref()),
            profile: either(self.profile.as_ref(), over.profile.as_ref()),
            key_name: either(self.key_name.as_ref(), over.key_name.as_ref()),
            no_termination: over.no_termination.or(self.no_termination),
            no_stop: over.no_stop.or(self.no_stop),
            security_groups: list(&self.security_groups, &over.security_groups),
            http_tokens: either(self.http_tokens.as_ref(), over.http_tokens.as_ref()),
            shutdown_behavior: either(self.shutdown_behavior.as_ref(), over.shutdown_behavior.as_ref()),
            mappings: mappings.clone(),
            spot: over.spot.or(self.spot),
            tags,
            requirements: either(own_requirements, over.requirements.as_ref()),
        }
    }

    /// The parameter that the image's id is read from at each launch.
    pub fn image_parameter(&self) -> Option<&str> {
        self.image.as_deref().and_then(|image| image.strip_prefix("resolve:ssm:"))
    }

    /// The launch that these parameters make.
    pub(crate) fn launch(&self) -> Result<RunInstances> {
        let image = self.image.clone().ok_or_else(|| ApiError::missing("ImageId"))?;
        let instance_type = match &self.requirements {
            Some(requirements) => Some(requirements.smallest()?.to_owned()),
            None => self.instance_type.clone(),
        };
        let mut devices = self.mappings.clone();
        let volume = devices.remove(ROOT_DEVICE).unwrap_or_default();
        Ok(RunInstances {
            image,
            instance_type,
            min_count: 1,
            max_count: 1,
            user_data: self.user_data.clone(),
            tags: self.tags.clone(),
            profile: self.profile.clone(),
            key_name: self.key_name.clone(),
            no_termination: self.no_termination.unwrap_or(false),
            no_stop: self.no_stop.unwrap_or(false),
            security_groups: self.security_groups.clone(),
            http_tokens: self.http_tokens.clone(),
            shutdown_behavior: self.shutdown_behavior.clone(),
            volume,
            devices,
            spot: self.spot.unwrap_or(false),
            ..RunInstances::default()
        })
    }

    /// Refuses what EC2 refuses when a version is made; most of a launch is judged by the launch alone.
    pub(super) fn check(&self) -> Result<()> {
        if *self == Self::default() {
            return Err(ApiError::missing("LaunchTemplateData"));
        }
        if self.instance_type.is_some() && self.requirements.is_some() {
            let message = "InstanceType and InstanceRequirements cannot both be specified.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        if let Some(image) = &self.image {
            let id = image.starts_with("ami-") && image.len() > 4;
            if !id && self.image_parameter().is_none_or(str::is_empty) {
                return Err(ApiError::malformed("InvalidAMIID.Malformed", image));
            }
        }
        crate::images::check_tags(
            &self.tags,
            &["instance", "volume", "network-interface", "spot-instances-request"],
        )
    }
}
