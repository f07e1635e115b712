//! An SSM parameter follows a channel: it holds the id of the channel's image.

use std::{cell::RefCell, collections::BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{Applied, Observed, Reverting, bring_to};
use crate::{
    domain::{
        destination::Destination,
        error::{Error, Result},
        id::{AmiId, ParameterName},
    },
    ports::{ParameterKind, Parameters, Put, Table},
    store::Ledger,
};

/// So long after a write its image may still come into the parameter: "you can try again after five minutes have passed from
/// the original attempt".
/// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-ec2-aliases.html>
const VALIDATION: SignedDuration = SignedDuration::from_mins(5);

/// Refuses a parameter that follows another pipeline's channel, and one that never takes an image.
pub(super) async fn preflight(
    name: &ParameterName,
    to: &Destination,
    cloud: &(impl Parameters + Table),
) -> Result<()> {
    Ledger(cloud).check_parameter(name, &to.pipeline).await?;
    let kinds = cloud.kinds(&BTreeSet::from([name.clone()])).await?;
    match kinds.get(name).and_then(ParameterKind::refuses_images) {
        None => Ok(()),
        Some(problem) => Err(Error::bad_input(
            format!("parameter `{name}`"),
            format!("{problem}: SSM would refuse the promotion after the whole bake"),
            format!("Delete it, and the promotion makes it anew: `aws ssm delete-parameter --name {name}`"),
        )),
    }
}

/// Lets the parameter follow the channel, whoever moved that last.
pub(super) async fn apply(
    name: &ParameterName,
    to: &Destination,
    cloud: &(impl Parameters + Table),
) -> Result<Applied> {
    // A channel that points at nothing leaves its parameter as it is.
    let applied = RefCell::new(Applied::Written);
    // A promotion that moves nothing claims nothing, and a parameter may have come into the recipe since.
    Ledger(cloud).claim_parameter(to).await?;
    bring_to(to, cloud, async |image, _| {
        // Written only when it differs: each write is a version of the parameter.
        let differs = cloud.parameter(name).await?.as_deref() != Some(image.as_str());
        let done = if !differs {
            Applied::Settled
        } else {
            match cloud.put_image(name, image).await? {
                Put::Taken => Applied::Written,
                Put::NotYet(why) => Applied::Refused(why),
            }
        };
        *applied.borrow_mut() = done;
        Ok(differs)
    })
    .await?;
    Ok(applied.into_inner())
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

/// Lets the parameter follow the channel, and sees that it does.
///
/// # Errors
/// `ParameterBusy` as long as it doesn't.
pub(super) async fn settle(
    name: &ParameterName,
    to: &Destination,
    cloud: &(impl Parameters + Table),
) -> Result<()> {
    let applied = apply(name, to, cloud).await?;
    match observe(name, to, cloud).await? {
        Observed::Settled => Ok(()),
        Observed::Behind(_) => {
            let why = if let Applied::Refused(why) = applied { format!(": {why}") } else { String::new() };
            Err(busy(name, format!("does not follow channel `{}` yet{why}", to.name())))
        }
    }
}

/// Whether SSM may still look at a write of this time, as at others by the same step.
fn is_validating(written: Option<Timestamp>, now: Timestamp) -> bool {
    written.is_some_and(|at| now < at + VALIDATION)
}

/// Whether the image may still come into the parameter, by a write that no answer of SSM shows.
pub(super) async fn may_take(
    name: &ParameterName,
    Reverting { image, written, now }: Reverting<'_>,
    parameters: &impl Parameters,
) -> Result<bool> {
    let Some(image) = image.filter(|_| is_validating(written, now)) else { return Ok(false) };
    Ok(parameters.parameter(name).await?.as_deref() != Some(image.as_str()))
}

fn busy(name: &ParameterName, what: String) -> Error {
    Error::ParameterBusy { parameter: name.clone(), what }
}

/// Lets the parameter follow the channel back. After the first promotion of all it goes, if what it holds is ours.
///
/// The image is destroyed after this, so nothing may bring it into the parameter any more.
///
/// # Errors
/// `ParameterBusy` while a write of the image may still become its value, and while the way back is not seen to have.
pub(super) async fn revert(
    name: &ParameterName,
    to: &Destination,
    Reverting { image, written, now }: Reverting<'_>,
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
    let Some(image) = image else { return Ok(()) };
    let has_it = cloud.parameter(name).await?.as_deref() == Some(image.as_str());
    if !has_it && is_validating(written, now) {
        return Err(busy(name, format!("may still take {image}")));
    }
    if points().await? {
        return settle(name, to, cloud).await;
    }
    if has_it {
        cloud.remove(name).await?;
        // Another bake may have promoted meanwhile, and it was its image that went.
        if points().await? {
            return settle(name, to, cloud).await;
        }
    }
    ledger.release_parameter(to).await
}
