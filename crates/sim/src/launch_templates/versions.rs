//! Versions of a launch template: make, delete.

use jiff::Timestamp;

use super::{LaunchTemplateData, LaunchTemplateVersion, MOST_VERSIONS, TemplateSpec};
use crate::{ApiError, Result, World, refuse_dry_run};

/// The parameters of `CreateLaunchTemplateVersion`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateLaunchTemplateVersion {
    /// Of which template; its version is not read.
    pub template: TemplateSpec,
    /// The version that gives what `data` doesn't say: a number, `$Latest` or `$Default`.
    pub source_version: Option<String>,
    /// What it is.
    pub description: Option<String>,
    /// What it says.
    pub data: LaunchTemplateData,
    /// The token that makes a repetition the same call.
    pub client_token: Option<String>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

/// A version that could not be deleted: its number as it was given, EC2's code, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undeleted {
    /// The version as it was given.
    pub version: String,
    /// EC2's `LaunchTemplateErrorCode`.
    pub code: &'static str,
    /// Why.
    pub message: String,
}

impl World {
    /// Makes the next version of a template. It becomes `$Latest`, never by itself the default.
    pub fn create_launch_template_version(
        &mut self,
        now: Timestamp,
        request: &CreateLaunchTemplateVersion,
    ) -> Result<LaunchTemplateVersion> {
        let text = format!("{:?}", CreateLaunchTemplateVersion { dry_run: false, ..request.clone() });
        if let Some((id, number)) = self.known_call(request.client_token.as_deref(), &text)? {
            return self.template(&id)?.named(Some(&number.to_string())).cloned();
        }
        request.data.check()?;
        check_description(request.description.as_deref())?;
        let template = self.template_of(&request.template)?;
        let data = match request.source_version.as_deref() {
            Some(source) => template.named(Some(source))?.data.with(&request.data),
            None => request.data.clone(),
        };
        if template.versions.len() >= MOST_VERSIONS {
            let message =
                format!("The launch template {} has its {MOST_VERSIONS} versions already.", template.id);
            return Err(ApiError::new("LaunchTemplateVersionLimitExceeded", message));
        }
        refuse_dry_run(request.dry_run)?;
        let version = LaunchTemplateVersion {
            template: template.id.clone(),
            name: template.name.clone(),
            number: template.last_number + 1,
            description: request.description.clone(),
            created: now,
            created_by: template.created_by.clone(),
            is_default: false,
            data,
        };
        let template = self.template_mut(&version.template)?;
        template.last_number = version.number;
        template.versions.insert(version.number, version.clone());
        self.remember_call(request.client_token.as_deref(), text, &version.template, version.number);
        Ok(version)
    }

    /// Deletes versions, each for itself; the default one stays. Gives the deleted numbers, and what is left and why.
    pub fn delete_launch_template_versions(
        &mut self,
        spec: &TemplateSpec,
        versions: &[String],
        dry_run: bool,
    ) -> Result<(Vec<u64>, Vec<Undeleted>)> {
        if versions.is_empty() {
            return Err(ApiError::missing("LaunchTemplateVersion"));
        }
        if versions.len() > 200 {
            let problem = "At most 200 versions can be deleted at once.";
            return Err(ApiError::value(&versions.len().to_string(), "Versions", problem));
        }
        let id = self.template_of(spec)?.id.clone();
        refuse_dry_run(dry_run)?;
        let (mut deleted, mut left) = (Vec::new(), Vec::new());
        for text in versions {
            let template = self.template_mut(&id)?;
            let mut leave = |code, message: String| {
                left.push(Undeleted { version: text.clone(), code, message });
            };
            match number(text) {
                Err(error) => leave("unexpectedError", error.message),
                Ok(number) if number == template.default_version => {
                    leave("unexpectedError", "The default version can't be deleted.".into());
                }
                Ok(number) if template.versions.remove(&number).is_some() => deleted.push(number),
                Ok(number) => leave(
                    "launchTemplateVersionDoesNotExist",
                    format!("The specified launch template version {number} does not exist."),
                ),
            }
        }
        Ok((deleted, left))
    }
}

/// A version's number.
pub(super) fn number(text: &str) -> Result<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number > 0).ok_or_else(|| {
        let message = format!("Invalid launch template version: '{text}' is no number, $Latest or $Default.");
        ApiError::new("InvalidParameterValue", message)
    })
}

pub(super) fn check_description(description: Option<&str>) -> Result<()> {
    match description {
        Some(text) if text.chars().count() > 255 => {
            Err(ApiError::value(text, "VersionDescription", "It has at most 255 characters."))
        }
        Some(_) | None => Ok(()),
    }
}
