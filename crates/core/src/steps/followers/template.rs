//! A launch template follows a channel: its default version has the channel's image.
//!
//! The default version is the only thing that is changed. Whoever launches by a version's number is not touched.

use crate::{
    domain::{
        destination::Destination,
        digest::token,
        error::{Error, Result},
        id::TemplateName,
    },
    ports::{Table, Templates},
    store::Ledger,
};

/// How often a channel may move while its template is changed, before the step is tried again as a whole.
const MOST_MOVES: usize = 3;

/// Lets the template's default version follow the channel, whoever moved that last.
///
/// The new version differs from the default one in nothing but the image: what a person changed in the default version
/// meanwhile stays. Where the channel points at nothing, the template stays as it is: nobody knows what it was before.
pub(super) async fn apply(
    name: &TemplateName,
    to: &Destination,
    cloud: &(impl Templates + Table),
) -> Result<()> {
    let ledger = Ledger(cloud);
    for _ in 0..MOST_MOVES {
        let Some(channel) = ledger.channel(&to.pipeline, &to.channel).await? else { return Ok(()) };
        let Some(current) = &channel.current else { return Ok(()) };
        let found = cloud.default_version(name).await?;
        let (default, image) = found.ok_or_else(|| {
            Error::bad_input(
                format!("launch template `{name}`"),
                "does not exist",
                "Correct `launch-templates` in the recipe's `[promote]`, or make the template",
            )
        })?;
        if image.as_ref() != Some(&current.image) {
            // One token for each move of the channel and each version it starts from: a lost answer makes no second one.
            let from = format!("{}/{}/{}", default.id, default.version, channel.generation);
            let next = cloud.with_image(&default, &current.image, &token(to.name(), &from)).await?;
            cloud.make_default(&next).await?;
        }
        let after = ledger.channel(&to.pipeline, &to.channel).await?;
        if after.is_some_and(|after| after.generation == channel.generation) {
            return Ok(());
        }
    }
    Err(Error::changed(format!("channel {}", to.name())))
}
