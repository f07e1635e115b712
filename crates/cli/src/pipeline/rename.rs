//! `ovenbird pipeline rename`: what a new name takes. It changes nothing.
//!
//! A pipeline's name is part of the digest of each image, of their tags, of the keys of the table and of the bucket, and of
//! the roles' conditions. Nothing of that can be changed in one moment, so a rename would be a time in which prune and
//! promotions see half a pipeline. A second pipeline beside the first has no such time.

use ovenbird_core::{
    Error, Result,
    domain::id::{ChannelName, ParameterName, PipelineName},
    ports::{Bucket, Table},
    store::{Child, Ledger},
};
use serde::Serialize;

/// What a new name of a pipeline takes.
#[derive(Debug, Serialize)]
pub struct RenamePlan {
    /// The pipeline.
    pub pipeline: PipelineName,
    /// The name that it is to have.
    pub to: PipelineName,
    /// Its channels, which the new pipeline will have too.
    pub channels: Vec<ChannelName>,
    /// The parameters that follow them, and that belong to the old name until that is removed.
    pub parameters: Vec<ParameterName>,
    /// The pipelines that are built on its channels.
    pub children: Vec<PipelineName>,
    /// What to do, in this order.
    pub steps: Vec<String>,
}

/// What a rename takes.
///
/// # Errors
/// When there is no such pipeline, or one of the new name is there already.
pub async fn plan(
    pipeline: &PipelineName,
    to: &PipelineName,
    cloud: &(impl Bucket + Table),
) -> Result<RenamePlan> {
    let ledger = Ledger(cloud);
    let known = ledger.pipelines(cloud).await?;
    if !known.contains(pipeline) {
        return Err(Error::NoRecipe { pipeline: pipeline.clone() });
    }
    if known.contains(to) {
        return Err(Error::bad_input(
            format!("pipeline `{to}`"),
            "is there already",
            "Choose another name; `ovenbird pipeline list` has those that are taken",
        ));
    }
    let channels: Vec<ChannelName> =
        ledger.channels(pipeline).await?.into_iter().map(|channel| channel.name).collect();
    let owned = ledger.parameters().await?.into_iter().filter(|owner| owner.pipeline == *pipeline);
    let parameters: Vec<ParameterName> = owned.map(|owner| owner.parameter).collect();
    let mut children = Vec::new();
    for channel in &channels {
        for Child { pipeline: child, .. } in ledger.children(pipeline, channel).await? {
            if !children.contains(&child) {
                children.push(child);
            }
        }
    }
    let steps = steps(pipeline, to, &parameters, &children);
    Ok(RenamePlan { pipeline: pipeline.clone(), to: to.clone(), channels, parameters, children, steps })
}

fn steps(
    old: &PipelineName,
    new: &PipelineName,
    parameters: &[ParameterName],
    children: &[PipelineName],
) -> Vec<String> {
    let mut steps = vec![format!("In the recipe, write `pipeline = \"{new}\"`")];
    if !parameters.is_empty() {
        let names: Vec<&str> = parameters.iter().map(ParameterName::as_str).collect();
        steps.push(format!(
            "Take `parameter` out of it for now: {} belongs to {old} until that is removed",
            names.join(", ")
        ));
    }
    steps.push(format!("`ovenbird recipe push`, then `ovenbird bake {new}`; upload artifacts to `artifacts/{new}/` from now on"));
    for child in children {
        steps
            .push(format!("In {child}'s recipe, write `{new}/…` as the base's channel; push it and bake it"));
    }
    steps.push(format!(
        "`ovenbird pipeline remove {old}`, once no machine runs on its images: it says what stands against it"
    ));
    if !parameters.is_empty() {
        steps.push(format!("Put `parameter` back, push, and bake {new}"));
    }
    steps
}

impl RenamePlan {
    /// For people.
    pub fn text(&self) -> String {
        let Self { pipeline, to, steps, .. } = self;
        let mut text = format!(
            "Pipeline {pipeline} can't be renamed: its name is in the digest and the tags of every image. A second pipeline \
             {to} takes its place:\n"
        );
        for (number, step) in steps.iter().enumerate() {
            text.push_str(&format!("  {}. {step}\n", number + 1));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_and_children_take_steps_of_their_own() {
        let name = |text: &str| PipelineName::parse(text).unwrap();
        let short = steps(&name("shop"), &name("store"), &[], &[]);
        assert_eq!(short.len(), 3, "{short:?}");
        let parameter = ParameterName::parse("/images/shop/production").unwrap();
        let long = steps(&name("shop"), &name("store"), &[parameter], &[name("web"), name("api")]);
        assert_eq!(long.len(), 7, "{long:?}");
        assert!(
            long[1].contains("/images/shop/production belongs to shop")
                && long[3].contains("In web's recipe")
        );
        assert!(long[5].contains("pipeline remove shop") && long[6].contains("Put `parameter` back"));
    }
}
