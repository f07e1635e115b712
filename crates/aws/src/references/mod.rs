//! What of the account names images: a file for each kind of thing.
//!
//! Each goes through every page. A page that can't be read or understood is an error, and no shorter answer.

mod fleets;
mod groups;
mod instances;
mod launch_configurations;
mod parameters;
mod spot_fleets;
mod templates;

use std::collections::{BTreeMap, BTreeSet};

use ovenbird_core::{
    Result,
    domain::{
        id::AmiId,
        reference::{Kind, Reference, images_in},
        template::Pin,
    },
    ports::{Look, References, Versions},
};

use crate::Cloud;

impl References for Cloud {
    async fn named_by_instances(&self) -> Result<Look> {
        instances::instances_in_use(self).await
    }

    async fn named_by_launch_templates(&self, versions: Versions) -> Result<Look> {
        templates::templates_by_version(self, versions).await
    }

    async fn named_by_groups(&self) -> Result<Look> {
        groups::groups_and_refreshes(self).await
    }

    async fn named_by_launch_configurations(&self) -> Result<Look> {
        launch_configurations::every_launch_configuration(self).await
    }

    async fn named_by_fleets(&self) -> Result<Look> {
        fleets::every_fleet(self).await
    }

    async fn named_by_spot_fleets(&self) -> Result<Look> {
        spot_fleets::every_spot_fleet(self).await
    }

    async fn named_by_parameters(&self) -> Result<Look> {
        parameters::every_parameter(self).await
    }
}

/// What an image's name begins with where it is a parameter's.
const ALIAS: &str = "resolve:ssm:";

/// Things that name images by their ids, or by parameters whose values are asked for at the end.
#[derive(Default)]
struct Named {
    look: Look,
    aliases: BTreeMap<String, BTreeSet<Reference>>,
}

impl Named {
    /// Notes that something names an image: by an id, or as `resolve:ssm:` and a parameter.
    fn note(&mut self, kind: Kind, id: &str, image: Option<&str>) {
        let Some(image) = image else { return };
        match image.strip_prefix(ALIAS) {
            Some(parameter) => {
                let id = format!("{id}, by parameter {parameter}");
                let of = self.aliases.entry(parameter.to_owned()).or_default();
                of.insert(Reference::new(kind, id));
            }
            None => self.look.named.extend(images_in(image).map(|image| (image, Reference::new(kind, id)))),
        }
    }

    /// Notes what launches by a version of a template, if it names it by its number.
    fn pin(&mut self, by: &str, template: Option<&str>, version: Option<&str>) {
        let version = version.and_then(|version| version.parse().ok());
        let pin = template.zip(version).map(|(template, version)| Pin {
            template: template.to_owned(),
            version,
            by: by.to_owned(),
        });
        self.look.pins.extend(pin);
    }

    /// Asks what the parameters hold. One that isn't there names nothing.
    async fn resolved(mut self, cloud: &Cloud) -> Result<Look> {
        let names: Vec<String> = self.aliases.keys().cloned().collect();
        for (name, value) in parameters::values(cloud, &names).await? {
            let references = self.aliases.get(&name).into_iter().flatten();
            for reference in references {
                let images: Vec<AmiId> = images_in(&value).collect();
                self.look.named.extend(images.into_iter().map(|image| (image, reference.clone())));
            }
        }
        Ok(self.look)
    }
}
