//! A launch template follows a channel: its default version has the channel's image.
//!
//! The default version is the only thing that is changed. Whoever launches by a version's number is not touched.

use std::cell::Cell;

use super::bring_to;
use crate::{
    domain::{
        destination::Destination,
        digest::token,
        error::{Error, Result},
        id::TemplateName,
    },
    ports::{Table, Templates},
};

/// Lets the template's default version follow the channel, whoever moved that last.
///
/// The new version differs from the default one in nothing but the image: what a person changed in the default version
/// meanwhile stays. Where the channel points at nothing, the template stays as it is: nobody knows what it was before.
pub(super) async fn apply(
    name: &TemplateName,
    to: &Destination,
    cloud: &(impl Templates + Table),
) -> Result<()> {
    let missing = || {
        Error::bad_input(
            format!("launch template `{name}`"),
            "does not exist",
            "Correct `launch-templates` in the recipe's `[promote]`, or make the template",
        )
    };
    if bring(name, to, cloud).await? { Ok(()) } else { Err(missing()) }
}

/// The same after the channel went back. A template that somebody deleted meanwhile needs no bringing back: to insist on it
/// would keep a rollout from ever ending.
pub(super) async fn bring_back(
    name: &TemplateName,
    to: &Destination,
    cloud: &(impl Templates + Table),
) -> Result<()> {
    bring(name, to, cloud).await.map(drop)
}

/// Brings it there; says whether there is such a template.
async fn bring(name: &TemplateName, to: &Destination, cloud: &(impl Templates + Table)) -> Result<bool> {
    let is_there = Cell::new(true);
    bring_to(to, cloud, async |image, generation| {
        let Some((default, has)) = cloud.default_version(name).await? else {
            is_there.set(false);
            return Ok(false);
        };
        if has.as_ref() == Some(image) {
            // Written all the same: EC2 may not show yet what the last promotion made of it, and a promotion that is taken
            // back right after that would leave an image that is about to go.
            cloud.make_default(&default).await?;
            return Ok(true);
        }
        // One token for each move of the channel and each version it starts from: a lost answer makes no second one.
        let from = format!("{}/{}/{generation}", default.id, default.version);
        let next = cloud.with_image(&default, image, &token(to.name(), &from)).await?;
        cloud.make_default(&next).await?;
        Ok(true)
    })
    .await?;
    Ok(is_there.get())
}
