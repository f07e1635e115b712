//! `ovenbird fleet`: which machines run from which image, and for how long another one is the channel's.

use jiff::Timestamp;
use ovenbird_core::{
    Result,
    domain::id::InstanceId,
    views::{
        fleet::{self, OnImage, Standing},
        status::{self, Records},
    },
};

use crate::{render, target::Target};

/// The machines of the account by their images; with a pipeline, those of its images alone.
pub async fn run(pipeline: Option<&str>, target: &Target, now: Timestamp) -> Result<Vec<OnImage>> {
    let (deployment, records, machines) = crate::status::read(pipeline, target).await?;
    let pipelines = status::status(&deployment.cloud, &records, &machines, now).await?;
    let mut all = fleet::fleet(&pipelines, records.iter().flat_map(Records::bakes), &machines);
    // Another pipeline's image is foreign to this one.
    all.retain(|one| pipeline.is_none() || one.standing != Standing::Foreign);
    Ok(all)
}

/// A line for each image, and below all how many machines run on an older one.
pub fn table(all: &[OnImage], now: Timestamp) -> String {
    if all.is_empty() {
        return "no machine runs, those of bakes aside".to_owned();
    }
    let head = ["IMAGE", "STANDING", "OF", "OUTDATED FOR", "MACHINES", "ARTIFACT"];
    let rows = all.iter().map(|one| {
        let of = match (&one.pipeline, &one.channel) {
            (Some(pipeline), Some(channel)) => format!("{pipeline}/{channel}"),
            (Some(pipeline), None) => pipeline.to_string(),
            (None, _) => "-".to_owned(),
        };
        [
            one.image.to_string(),
            one.standing.as_str().to_owned(),
            of,
            one.outdated.map_or("-".to_owned(), |since| render::age(since, now)),
            one.instances.len().to_string(),
            one.artifact.as_ref().map(|key| key.name().to_owned()).unwrap_or_default(),
        ]
    });
    let mut text = render::table(head, rows);
    let older = all.iter().filter(|one| one.standing == Standing::Older);
    for one in older {
        let ids: Vec<&str> = one.instances.iter().map(InstanceId::as_str).collect();
        let coming = match (&one.rollout, &one.pipeline, &one.channel) {
            (Some(_), Some(pipeline), Some(channel)) => {
                format!("; a rollout is under way: `ovenbird rollout {pipeline} --channel {channel}`")
            }
            _ => String::new(),
        };
        text.push_str(&format!("\n\non {}: {}{coming}", one.image, ids.join(" ")));
    }
    text
}
