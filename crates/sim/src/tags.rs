//! Tags of every kind of resource.

use crate::{
    ApiError, Filter, Page, Paging, Result, Tags, World,
    filters::{Fields, Filtered, Filters, one},
    refuse_dry_run,
    security_groups::no_group,
};

/// EC2's limit of tags for one resource.
const MOST_TAGS: usize = 50;

/// One tag of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagDescription {
    /// The id of the resource that has it.
    pub resource: String,
    /// Its kind: `instance`, `image`, `launch-template`, `snapshot`, `volume`, `key-pair`, `security-group`.
    pub kind: &'static str,
    /// The tag's key: 1 to 127 characters.
    pub key: String,
    /// The tag's value: at most 256 characters, keys 127 (EC2 API reference, `Tag`).
    pub value: String,
}

/// Refuses what AWS refuses: its own prefix, keys and values that are too long, too many.
pub(crate) fn check(tags: &Tags) -> Result<()> {
    if tags.len() > MOST_TAGS {
        return Err(ApiError::new(
            "TagLimitExceeded",
            "The maximum number of Tags for a resource has been reached.",
        ));
    }
    for (key, value) in tags {
        if key.is_empty() || key.chars().count() > 127 || is_aws(key) {
            return Err(ApiError::value(
                key,
                "Tag.Key",
                "Tag keys have 1 to 127 characters and don't begin with aws:.",
            ));
        }
        if value.chars().count() > 256 {
            return Err(ApiError::value(value, "Tag.Value", "Tag values have at most 256 characters."));
        }
    }
    Ok(())
}

fn is_aws(key: &str) -> bool {
    key.starts_with("aws:")
}

impl World {
    /// Adds or changes tags.
    pub fn create_tags(&mut self, resources: &[String], tags: &Tags, dry_run: bool) -> Result<()> {
        check(tags)?;
        // All resources are looked up before the first is changed.
        for id in resources {
            // AWS's own tags neither count nor break the rule for names.
            let mut merged = self.tags_of(id)?.clone();
            merged.retain(|key, _| !is_aws(key));
            merged.extend(tags.clone());
            check(&merged)?;
        }
        refuse_dry_run(dry_run)?;
        for id in resources {
            self.tags_of(id)?.extend(tags.clone());
        }
        Ok(())
    }

    /// Removes tags: by key, or only where the value is also this; no tags at all removes every one.
    pub fn delete_tags(
        &mut self,
        resources: &[String],
        tags: &[(String, Option<String>)],
        dry_run: bool,
    ) -> Result<()> {
        for id in resources {
            self.tags_of(id)?;
        }
        if let Some((key, _)) = tags.iter().find(|(key, _)| is_aws(key)) {
            return Err(ApiError::value(key, "Tag.Key", "Tags that begin with aws: are AWS's own."));
        }
        refuse_dry_run(dry_run)?;
        for id in resources {
            let own = self.tags_of(id)?;
            if tags.is_empty() {
                own.retain(|key, _| is_aws(key));
            }
            for (key, value) in tags {
                if value.is_none() || own.get(key) == value.as_ref() {
                    own.remove(key);
                }
            }
        }
        Ok(())
    }

    /// Every tag.
    pub fn describe_tags(&self, filters: &[Filter], paging: &Paging) -> Result<Page<TagDescription>> {
        let filters = Filters::<Tagged>::read(filters)?;
        let instances = self.instances.values().map(|one| (one.id.to_string(), "instance", &one.tags));
        let images = self.images.values().map(|one| (one.id.to_string(), "image", &one.tags));
        let snapshots = self.snapshots.values().map(|one| (one.id.to_string(), "snapshot", &one.tags));
        let volumes = self.volumes.values().map(|one| (one.id.to_string(), "volume", &one.tags));
        let templates = self.launch_templates().map(|one| (one.id.clone(), "launch-template", &one.tags));
        let keys = self.key_pairs.values().map(|one| (one.id.clone(), "key-pair", &one.tags));
        let groups = self.security_groups.values();
        let groups = groups.map(|one| (one.id.clone(), "security-group", &one.tags));
        let tagged = instances.chain(images).chain(snapshots).chain(volumes).chain(templates);
        let tagged = tagged.chain(keys).chain(groups);
        let mut all = Vec::new();
        for (resource, kind, tags) in tagged {
            for (key, value) in tags {
                let tag = TagDescription {
                    resource: resource.clone(),
                    kind,
                    key: key.clone(),
                    value: value.clone(),
                };
                let tagged = Tagged { tag, alone: Tags::from([(key.clone(), value.clone())]) };
                if filters.pass(self, &tagged) {
                    all.push(tagged.tag);
                }
            }
        }
        all.sort_by_key(|tag| format!("{}/{}", tag.resource, tag.key));
        paging.cut(all, 5, |tag| format!("{}/{}", tag.resource, tag.key))
    }

    fn tags_of(&mut self, id: &str) -> Result<&mut Tags> {
        let (kind, _) = id.split_once('-').unwrap_or((id, ""));
        match kind {
            "i" => self.instance_mut(id).map(|one| &mut one.tags),
            "ami" => self.own_image_mut(id).map(|one| &mut one.tags),
            "lt" => self.template_mut(id).map(|one| &mut one.tags),
            "snap" => self.own_snapshot_mut(id).map(|one| &mut one.tags),
            "vol" => {
                let found = self.volumes.find_mut(|one| one.id.as_str() == id);
                found.map(|one| &mut one.tags).ok_or_else(|| ApiError::no_volume(id))
            }
            "key" => {
                let found = self.key_pairs.find_mut(|one| one.id == id);
                found.map(|one| &mut one.tags).ok_or_else(|| no("InvalidKeyPair.NotFound", id))
            }
            "sg" => self.security_groups.get_mut(id).map(|one| &mut one.tags).ok_or_else(|| no_group(id)),
            _ => Err(ApiError::new("InvalidID", format!("The ID '{id}' is not valid"))),
        }
    }
}

fn no(code: &'static str, id: &str) -> ApiError {
    ApiError::new(code, format!("The ID '{id}' does not exist"))
}

/// A tag, as a resource that has no other.
pub(crate) struct Tagged {
    tag: TagDescription,
    alone: Tags,
}

impl Filtered for Tagged {
    const FIELDS: Fields<Self> = &[
        ("resource-id", |it, _| one(&it.tag.resource)),
        ("resource-type", |it, _| one(it.tag.kind)),
        ("key", |it, _| one(&it.tag.key)),
        ("value", |it, _| one(&it.tag.value)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.alone)
    }
}
