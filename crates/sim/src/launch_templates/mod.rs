//! Launch templates and their versions (EC2, API version 2016-11-15).
//!
//! Sources of the rules: the API reference of each action, "Error codes for the Amazon EC2 API", and "Restrictions
//! for launch templates" (5,000 templates in a Region, 10,000 versions of one).

mod data;
mod describe;
mod launch;
mod versions;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use self::launch::aws_tags;
pub use self::{
    data::{InstanceRequirements, LaunchTemplateData},
    describe::{DescribeLaunchTemplateVersions, DescribeLaunchTemplates},
    launch::RunByTemplate,
    versions::{CreateLaunchTemplateVersion, Undeleted},
};
use crate::{ApiError, Result, Tags, World, images, refuse_dry_run, table::Table};

/// How many templates an account may have in a Region.
const MOST_TEMPLATES: usize = 5_000;
/// How many versions a template may have.
const MOST_VERSIONS: usize = 10_000;

/// The templates of an account, and the calls that client tokens stand for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LaunchTemplates {
    #[serde(default)]
    pub(crate) by_id: Table<String, LaunchTemplate>,
    /// By token: the request as it was, and the template and version that it made.
    #[serde(default)]
    pub(crate) tokens: Table<String, (String, String, u64)>,
}

/// A launch template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplate {
    /// Its id: `lt-` and 17 hexadecimal digits.
    pub id: String,
    /// Its name, unique in account and Region.
    pub name: String,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// The version that a launch without one uses.
    pub default_version: u64,
    /// Its tags.
    pub tags: Tags,
    /// The highest number ever given to a version; it is never given again.
    last_number: u64,
    versions: BTreeMap<u64, LaunchTemplateVersion>,
}

impl LaunchTemplate {
    /// The newest version that is there.
    pub fn latest_version(&self) -> u64 {
        self.versions.keys().next_back().copied().unwrap_or(self.last_number)
    }

    /// A version by its number.
    pub fn version(&self, number: u64) -> Option<&LaunchTemplateVersion> {
        self.versions.get(&number)
    }

    /// Its versions, the oldest first.
    pub fn versions(&self) -> impl Iterator<Item = &LaunchTemplateVersion> {
        self.versions.values()
    }

    /// A version by number, `$Latest` or `$Default`; without a word the default one.
    pub(crate) fn named(&self, version: Option<&str>) -> Result<&LaunchTemplateVersion> {
        let number = match version {
            None | Some("$Default") => self.default_version,
            Some("$Latest") => self.latest_version(),
            Some(text) => versions::number(text)?,
        };
        self.versions.get(&number).ok_or_else(|| {
            let message = format!(
                "Could not find the specified version {number} for the launch template with ID {}.",
                self.id
            );
            ApiError::new("InvalidLaunchTemplateId.VersionNotFound", message)
        })
    }
}

/// A version of a launch template; it never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LaunchTemplateVersion {
    /// Its template's id.
    pub template: String,
    /// Its template's name.
    pub name: String,
    /// Its number, from 1.
    pub number: u64,
    /// What it is.
    pub description: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Who made it.
    pub created_by: String,
    /// Whether it is the template's default; true of the answer's time alone.
    #[serde(default)]
    pub is_default: bool,
    /// What it says.
    pub data: LaunchTemplateData,
}

/// Which template, and which version of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TemplateSpec {
    /// By its id.
    #[serde(default)]
    pub id: Option<String>,
    /// By its name.
    #[serde(default)]
    pub name: Option<String>,
    /// A number, `$Latest` or `$Default`; none means the default.
    #[serde(default)]
    pub version: Option<String>,
}

impl TemplateSpec {
    /// A version of the template with this id.
    pub fn of(id: &str, version: impl ToString) -> Self {
        Self { id: Some(id.to_owned()), name: None, version: Some(version.to_string()) }
    }

    /// Whether it is one version by its number: whatever else can come to mean another one later.
    pub fn is_pinned(&self) -> bool {
        self.version.as_deref().is_some_and(|version| versions::number(version).is_ok())
    }
}

/// The parameters of `CreateLaunchTemplate`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CreateLaunchTemplate {
    /// The name.
    pub name: String,
    /// What its first version is.
    pub description: Option<String>,
    /// What its first version says.
    pub data: LaunchTemplateData,
    /// Tags by kind of resource: `launch-template`.
    pub tags: BTreeMap<String, Tags>,
    /// The token that makes a repetition the same call.
    pub client_token: Option<String>,
    /// Only ask whether it would be done.
    pub dry_run: bool,
}

impl World {
    /// Makes a template with its first version, which is its default.
    pub fn create_launch_template(
        &mut self,
        now: Timestamp,
        request: &CreateLaunchTemplate,
    ) -> Result<LaunchTemplate> {
        let text = format!("{:?}", CreateLaunchTemplate { dry_run: false, ..request.clone() });
        if let Some((id, _)) = self.known_call(request.client_token.as_deref(), &text)? {
            return self.template(&id).cloned();
        }
        check_name(&request.name)?;
        request.data.check()?;
        versions::check_description(request.description.as_deref())?;
        images::check_tags(&request.tags, &["launch-template"])?;
        if self.templates.by_id.values().any(|one| one.name == request.name) {
            let message = "Launch template name already in use.";
            return Err(ApiError::new("InvalidLaunchTemplateName.AlreadyExistsException", message));
        }
        if self.templates.by_id.len() >= MOST_TEMPLATES {
            let message = format!("You have reached the limit of {MOST_TEMPLATES} launch templates.");
            return Err(ApiError::new("LaunchTemplateLimitExceeded", message));
        }
        refuse_dry_run(request.dry_run)?;
        let id = format!("lt-{}", &self.next_id("lt")[..17]);
        let created_by = format!("arn:aws:iam::{}:root", self.account);
        let first = LaunchTemplateVersion {
            template: id.clone(),
            name: request.name.clone(),
            number: 1,
            description: request.description.clone(),
            created: now,
            created_by: created_by.clone(),
            is_default: false,
            data: request.data.clone(),
        };
        let template = LaunchTemplate {
            id: id.clone(),
            name: request.name.clone(),
            created: now,
            created_by,
            default_version: 1,
            tags: request.tags.get("launch-template").cloned().unwrap_or_default(),
            last_number: 1,
            versions: BTreeMap::from([(1, first)]),
        };
        self.templates.by_id.insert(id.clone(), template.clone());
        self.remember_call(request.client_token.as_deref(), text, &id, 1);
        Ok(template)
    }

    /// Makes another version the default.
    pub fn modify_launch_template(
        &mut self,
        spec: &TemplateSpec,
        default_version: &str,
        dry_run: bool,
    ) -> Result<LaunchTemplate> {
        let template = self.template_of(spec)?;
        let (id, number) = (template.id.clone(), template.named(Some(default_version))?.number);
        refuse_dry_run(dry_run)?;
        let template = self.template_mut(&id)?;
        template.default_version = number;
        Ok(template.clone())
    }

    /// Deletes a template with all its versions; what was launched from it goes on.
    pub fn delete_launch_template(&mut self, spec: &TemplateSpec, dry_run: bool) -> Result<LaunchTemplate> {
        let template = self.template_of(spec)?.clone();
        refuse_dry_run(dry_run)?;
        self.templates.by_id.remove(&template.id);
        Ok(template)
    }

    /// Every template.
    pub fn launch_templates(&self) -> impl Iterator<Item = &LaunchTemplate> {
        self.templates.by_id.values()
    }

    /// The template that is named, by id or by name.
    pub(crate) fn template_of(&self, spec: &TemplateSpec) -> Result<&LaunchTemplate> {
        match (&spec.id, &spec.name) {
            (Some(id), None) => self.template(id),
            (None, Some(name)) => {
                let found = self.templates.by_id.values().find(|one| one.name == *name);
                found.ok_or_else(|| {
                    let message =
                        "At least one of the launch templates specified in the request does not exist.";
                    ApiError::new("InvalidLaunchTemplateName.NotFoundException", message)
                })
            }
            (None, None) => Err(ApiError::missing("LaunchTemplateId")),
            (Some(_), Some(_)) => {
                let message = "Specify either the launch template ID or the launch template name, not both.";
                Err(ApiError::new("InvalidParameterCombination", message))
            }
        }
    }

    /// The same with both the id and the name of the template, if there is such a template: AWS answers with both.
    pub fn whole_spec(&self, spec: &TemplateSpec) -> TemplateSpec {
        match self.template_of(spec) {
            Ok(template) => TemplateSpec {
                id: Some(template.id.clone()),
                name: Some(template.name.clone()),
                version: spec.version.clone(),
            },
            Err(_) => spec.clone(),
        }
    }

    fn template(&self, id: &str) -> Result<&LaunchTemplate> {
        check_id(id)?;
        self.templates.by_id.get(id).ok_or_else(|| no_template(id))
    }

    pub(crate) fn template_mut(&mut self, id: &str) -> Result<&mut LaunchTemplate> {
        check_id(id)?;
        self.templates.by_id.get_mut(id).ok_or_else(|| no_template(id))
    }

    /// The template and version that a token stands for already.
    fn known_call(&self, token: Option<&str>, text: &str) -> Result<Option<(String, u64)>> {
        let Some(token) = token else { return Ok(None) };
        if token.len() > 128 || !token.is_ascii() {
            let problem = "A token has at most 128 ASCII characters.";
            return Err(ApiError::value(token, "ClientToken", problem));
        }
        match self.templates.tokens.get(token) {
            None => Ok(None),
            Some((known, ..)) if known != text => {
                let message = "The client token was already used with other parameters.";
                Err(ApiError::new("IdempotentParameterMismatch", message))
            }
            Some((_, id, version)) => Ok(Some((id.clone(), *version))),
        }
    }

    fn remember_call(&mut self, token: Option<&str>, text: String, id: &str, version: u64) {
        if let Some(token) = token {
            self.templates.tokens.insert(token.to_owned(), (text, id.to_owned(), version));
        }
    }
}

fn no_template(id: &str) -> ApiError {
    let message = format!("The specified launch template, with template ID {id}, does not exist.");
    ApiError::new("InvalidLaunchTemplateId.NotFound", message)
}

fn check_id(id: &str) -> Result<()> {
    let digits = id.strip_prefix("lt-").unwrap_or_default();
    if matches!(digits.len(), 8 | 17) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let message = format!("The launch template ID '{id}' is malformed: lt- and 17 hexadecimal digits.");
    Err(ApiError::new("InvalidLaunchTemplateId.Malformed", message))
}

fn check_name(name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"()./-_".contains(&b);
    if (3..=128).contains(&name.len()) && name.bytes().all(allowed) {
        return Ok(());
    }
    let message = "A launch template name must be between 3 and 128 characters, and may contain letters, numbers, and the following characters: - ( ) . / _.";
    Err(ApiError::new("InvalidLaunchTemplateName.MalformedException", message))
}
