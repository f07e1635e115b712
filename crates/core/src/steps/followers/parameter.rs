//! An SSM parameter follows a channel: it holds the id of the channel's image.

use super::{Observed, bring_to};
use crate::{
    domain::{
        destination::Destination,
        error::{Error, Result},
        id::{AmiId, ParameterName},
    },
    ports::{Parameters, Table},
    store::Ledger,
};

/// Refuses a parameter that follows another pipeline's channel.
pub(super) async fn preflight(name: &ParameterName, to: &Destination, table: &impl Table) -> Result<()> {
    Ledger(table).check_parameter(name, &to.pipeline).await
}

/// Lets the parameter follow the channel, whoever moved that last.
pub(super) async fn apply(
    name: &ParameterName,
    to: &Destination,
    cloud: &(impl Parameters + Table),
) -> Result<()> {
    // A promotion that moves nothing claims nothing, and a parameter may have come into the recipe since.
    Ledger(cloud).claim_parameter(to).await?;
    bring_to(to, cloud, async |image, _| {
        // Written only when it differs: each write is a version of the parameter.
        let differs = cloud.parameter(name).await?.as_deref() != Some(image.as_str());
        if differs {
            cloud.put_image(name, image).await?;
        }
        Ok(differs)
    })
    .await
}

/// AWS answers a write of an image parameter before it has validated it: only reading it back tells.
pub(super) async fn observe(
    name: &ParameterName,
    to: &Destination,
    cloud: &(impl Parameters + Table),
) -> Result<Observed> {
    let channel = Ledger(cloud).channel(&to.pipeline, &to.channel).await?;
    // Something newer may have been promoted over it meanwhile; then that is what the parameter follows.
    let current = channel.and_then(|channel| channel.current).map(|target| target.image);
    let value = cloud.parameter(name).await?;
    if value.is_some() && value.as_deref() == current.as_ref().map(AmiId::as_str) {
        return Ok(Observed::Settled);
    }
    Ok(Observed::Behind(format!("parameter `{name}` is {}", value.as_deref().unwrap_or("not there"))))
}

/// Lets the parameter follow the channel back. After the first promotion of all it goes, if what it holds is ours.
pub(super) async fn revert(
    name: &ParameterName,
    to: &Destination,
    image: Option<&AmiId>,
    cloud: &(impl Parameters + Table),
) -> Result<()> {
    let ledger = Ledger(cloud);
    match ledger.check_parameter(name, &to.pipeline).await {
        // It was never written for this channel.
        Err(Error::ParameterTaken { .. }) => return Ok(()),
        other => other?,
    }
    let points = async || {
        let channel = ledger.channel(&to.pipeline, &to.channel).await?;
        Ok::<_, Error>(channel.is_some_and(|channel| channel.current.is_some()))
    };
    if points().await? {
        return apply(name, to, cloud).await;
    }
    let Some(image) = image else { return Ok(()) };
    if cloud.parameter(name).await?.as_deref() == Some(image.as_str()) {
        cloud.remove(name).await?;
        // Another bake may have promoted meanwhile, and it was its image that went.
        if points().await? {
            return apply(name, to, cloud).await;
        }
    }
    ledger.release_parameter(to).await
}
