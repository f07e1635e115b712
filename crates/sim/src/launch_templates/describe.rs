//! Looks at launch templates and their versions.

use super::{LaunchTemplate, LaunchTemplateVersion, TemplateSpec, versions};
use crate::{
    ApiError, Filter, Page, Paging, Result, Tags, World,
    filters::{Fields, Filtered, Filters, any, at, none, one},
};

/// EC2's limit of results on a page.
const MOST_RESULTS: i64 = 200;

/// The parameters of `DescribeLaunchTemplates`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribeLaunchTemplates {
    /// With these ids.
    pub ids: Vec<String>,
    /// With these names.
    pub names: Vec<String>,
    /// That pass these.
    pub filters: Vec<Filter>,
    /// On which page.
    pub paging: Paging,
}

/// The parameters of `DescribeLaunchTemplateVersions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DescribeLaunchTemplateVersions {
    /// Of which template; none with `$Latest` or `$Default` means every template.
    pub template: TemplateSpec,
    /// These: numbers, `$Latest`, `$Default`.
    pub versions: Vec<String>,
    /// From this number on.
    pub min: Option<String>,
    /// Up to this number.
    pub max: Option<String>,
    /// That pass these.
    pub filters: Vec<Filter>,
    /// Whether an image that is a parameter is answered as the id that it stands for now.
    pub resolve_alias: bool,
    /// On which page.
    pub paging: Paging,
}

impl World {
    /// Templates by id, name and filter.
    pub fn describe_launch_templates(
        &self,
        request: &DescribeLaunchTemplates,
    ) -> Result<Page<LaunchTemplate>> {
        let filters = Filters::<LaunchTemplate>::read(&request.filters)?;
        for id in &request.ids {
            self.template(id)?;
        }
        for name in &request.names {
            self.template_of(&TemplateSpec { name: Some(name.clone()), ..TemplateSpec::default() })?;
        }
        let everything = request.ids.is_empty() && request.names.is_empty();
        let wanted = |one: &LaunchTemplate| {
            everything || request.ids.contains(&one.id) || request.names.contains(&one.name)
        };
        let found = self.launch_templates().filter(|one| wanted(one) && filters.pass(self, one));
        page(&request.paging)?.cut(found.cloned(), 1, |one| one.id.clone())
    }

    /// Versions, of each template the newest first.
    pub fn describe_launch_template_versions(
        &self,
        request: &DescribeLaunchTemplateVersions,
    ) -> Result<Page<LaunchTemplateVersion>> {
        let filters = Filters::<LaunchTemplateVersion>::read(&request.filters)?;
        let mut found = Vec::new();
        for version in self.asked(request)? {
            let mut version = version.clone();
            let template = self.template(&version.template)?;
            version.is_default = version.number == template.default_version;
            if request.resolve_alias
                && let Some(image) = &version.data.image
            {
                version.data.image = Some(self.resolve_image(image)?);
            }
            if filters.pass(self, &version) {
                found.push(version);
            }
        }
        let key = |one: &LaunchTemplateVersion| format!("{}/{:020}", one.template, u64::MAX - one.number);
        found.sort_by_key(key);
        found.dedup_by_key(|one| key(one));
        page(&request.paging)?.cut(found, 1, key)
    }

    fn asked(&self, request: &DescribeLaunchTemplateVersions) -> Result<Vec<&LaunchTemplateVersion>> {
        let range = request.min.is_some() || request.max.is_some();
        if range && !request.versions.is_empty() {
            let message = "Versions can't be used together with MinVersion or MaxVersion.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
        if request.template.id.is_none() && request.template.name.is_none() {
            let known = |text: &String| text == "$Latest" || text == "$Default";
            if request.versions.is_empty() || !request.versions.iter().all(known) {
                return Err(ApiError::missing("LaunchTemplateId"));
            }
            let all = self.launch_templates();
            return all
                .flat_map(|one| request.versions.iter().map(|version| one.named(Some(version))))
                .collect();
        }
        let template = self.template_of(&request.template)?;
        if !request.versions.is_empty() {
            return request.versions.iter().map(|version| template.named(Some(version))).collect();
        }
        let min = request.min.as_deref().map_or(Ok(1), versions::number)?;
        let max = request.max.as_deref().map_or(Ok(u64::MAX), versions::number)?;
        if min > max {
            return Err(ApiError::value(&min.to_string(), "MinVersion", "It is above MaxVersion."));
        }
        Ok(template.versions.range(min..=max).map(|(_, version)| version).collect())
    }
}

/// The page as asked for; without a size, one of EC2's greatest.
fn page(paging: &Paging) -> Result<Paging> {
    let most = paging.max_results.unwrap_or(MOST_RESULTS);
    if !(1..=MOST_RESULTS).contains(&most) {
        let problem = format!("Expecting a value between 1 and {MOST_RESULTS}.");
        return Err(ApiError::value(&most.to_string(), "MaxResults", &problem));
    }
    Ok(Paging { max_results: Some(most), next_token: paging.next_token.clone() })
}

impl Filtered for LaunchTemplate {
    const FIELDS: Fields<Self> =
        &[("launch-template-name", |it, _| one(&it.name)), ("create-time", |it, _| at(it.created))];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

impl Filtered for LaunchTemplateVersion {
    const TAGGED: bool = false;
    const FIELDS: Fields<Self> = &[
        ("create-time", |it, _| at(it.created)),
        ("ebs-optimized", none),
        ("host-resource-group-arn", none),
        ("http-endpoint", none),
        ("http-protocol-ipv4", none),
        ("kernel-id", none),
        ("license-configuration-arn", none),
        ("network-card-index", none),
        ("ram-disk-id", none),
        ("is-default-version", |it, _| one(it.is_default)),
        ("image-id", |it, _| any(it.data.image.as_ref())),
        ("instance-type", |it, _| any(it.data.instance_type.as_ref())),
        ("iam-instance-profile", |it, _| any(it.data.profile.as_ref())),
        ("http-tokens", |it, _| any(it.data.http_tokens.as_ref())),
    ];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}
