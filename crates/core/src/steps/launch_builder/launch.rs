//! Launches an instance: one offer after the other, each on record before EC2 is asked for it.

use std::collections::BTreeMap;

use crate::{
    domain::{
        bake::Bake,
        digest::token,
        error::{Error, Result},
        id::{AmiId, InstanceId},
        offer::{Offer, RootVolume, Shortage},
        recipe::Builder,
    },
    ports::{Builders, Image, LaunchOrder, Profile, Table},
    store::{Ledger, Versioned},
};

/// What an instance is launched with, whatever offer it comes of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The image to start from.
    pub image: AmiId,
    /// Security groups; none means the one of the stack.
    pub security_groups: Vec<String>,
    /// The instance profile.
    pub profile: Profile,
    /// The image's EBS devices.
    pub devices: Vec<String>,
    /// The root volume, where the image's own won't do.
    pub volume: Option<RootVolume>,
    /// What cloud-init runs.
    pub user_data: String,
    /// What the token is made of, beside the bake and the offer.
    pub purpose: &'static str,
    /// Tags.
    pub tags: BTreeMap<String, String>,
}

impl Wanted {
    fn order(&self, bake: &Bake, offer: &Offer) -> LaunchOrder {
        LaunchOrder {
            image: self.image.clone(),
            offer: offer.clone(),
            security_groups: self.security_groups.clone(),
            profile: self.profile.clone(),
            devices: self.devices.clone(),
            volume: self.volume.clone(),
            user_data: self.user_data.clone(),
            token: token(&bake.spec.id, &format!("{} {offer}", self.purpose)),
            tags: self.tags.clone(),
        }
    }
}

/// The root volume that a recipe asks for, on an image that it fits; none when the image's own will do.
pub fn root_volume(builder: &Builder, base: &Image) -> Result<Option<RootVolume>> {
    let Some(volume) = &builder.volume else { return Ok(None) };
    let refuse = |problem: String, fix: &str| {
        Error::bad_input(format!("`volume` under `[builder]`, on base {}", base.id), problem, fix)
    };
    let Some(device) = base.root_device.clone() else {
        return Err(refuse("has no EBS root device to change".into(), "Take a base with an EBS root device"));
    };
    if let (Some(gib), Some(least)) = (volume.gib, base.gib)
        && gib < least
    {
        let problem = format!("is {gib} GiB, and the base's snapshot needs {least}");
        return Err(refuse(problem, "Make it at least as large as the base: a snapshot doesn't shrink"));
    }
    Ok(Some(RootVolume {
        device,
        gib: volume.gib,
        kind: volume.kind.clone(),
        iops: volume.iops,
        throughput: volume.throughput,
        kms_key: volume.kms_key.clone(),
    }))
}

/// Asks for one offer after the other until there is an instance; gives it, and whether it is a spot instance.
///
/// Which offer is asked for is on record before it is: a try whose reply was lost is made again with the same
/// token, and finds the instance of it. Beginning anew at the first offer could launch a second one.
pub async fn launch(
    bake: &mut Versioned<Bake>,
    wanted: &Wanted,
    offers: &[Offer],
    cloud: &(impl Builders + Table),
) -> Result<(InstanceId, bool)> {
    let mut met: Vec<(&Offer, Shortage)> = Vec::new();
    // What an earlier try got past was short, too.
    let mut tried: Vec<String> = offers.iter().take(bake.progress.offer).map(ToString::to_string).collect();
    let mut last = None;
    for (number, offer) in offers.iter().enumerate().skip(bake.progress.offer) {
        if met.iter().any(|(one, shortage)| shortage.concerns(one, offer)) {
            continue;
        }
        if number != bake.progress.offer {
            bake.progress.offer = number;
            Ledger(cloud).save(bake).await?;
        }
        match cloud.launch(&wanted.order(bake, offer)).await {
            Ok(instance) => return Ok((instance, offer.spot)),
            Err(Error::NoCapacity { tried: one, shortage, source }) => {
                tried.push(one);
                met.push((offer, shortage));
                // A quota is what the account's owner can change: it is told, whatever came after it.
                last = Some((
                    last.map_or(
                        shortage,
                        |(before, _): (Shortage, _)| if before.is_quota() { before } else { shortage },
                    ),
                    source,
                ));
            }
            Err(error) if error.goes_by() => return Err(error),
            Err(error) => return Err(refused(bake, error, cloud).await),
        }
    }
    let (shortage, source) = last.unwrap_or((Shortage::Offer, None));
    Err(refused(bake, Error::NoCapacity { tried: tried.join(", "), shortage, source }, cloud).await)
}

/// Writes down that nothing was launched. The clean-up need not look for what EC2 may not show yet.
pub async fn refused(bake: &mut Versioned<Bake>, error: Error, table: &impl Table) -> Error {
    bake.progress.refused = true;
    // Without it, the clean-up looks all the same.
    let _ = Ledger(table).save(bake).await;
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::recipe::Volume,
        ports::{ImageState, Protection},
    };

    fn base(root_device: Option<&str>) -> Image {
        Image {
            id: AmiId::parse("ami-0123456789abcdef0").unwrap(),
            name: "base".into(),
            owner: String::new(),
            state: ImageState::Available,
            reason: String::new(),
            created: jiff::Timestamp::UNIX_EPOCH,
            architecture: "x86_64".into(),
            root_device: root_device.map(str::to_owned),
            gib: Some(8),
            devices: root_device.map(str::to_owned).into_iter().collect(),
            deprecated: None,
            protection: Protection::Off,
            imdsv2: false,
            launched: None,
            snapshots: Vec::new(),
            tags: BTreeMap::new(),
        }
    }

    #[test]
    fn a_volume_is_of_the_base_s_root_device_and_not_smaller() {
        let volume = |gib: u32, key: &str| Builder {
            volume: Some(Volume { gib: Some(gib), kms_key: Some(key.into()), ..Volume::default() }),
            ..Builder::default()
        };
        let found = root_volume(&volume(8, "alias/aws/ebs"), &base(Some("/dev/sda1"))).unwrap().unwrap();
        assert_eq!((found.device.as_str(), found.kms_key.as_deref()), ("/dev/sda1", Some("alias/aws/ebs")));
        let found = root_volume(&volume(20, "alias/images"), &base(Some("/dev/xvda"))).unwrap().unwrap();
        assert_eq!((found.gib, found.kms_key.as_deref()), (Some(20), Some("alias/images")));
        assert_eq!(root_volume(&Builder::default(), &base(None)).unwrap(), None);
        let error = root_volume(&volume(7, "alias/aws/ebs"), &base(Some("/dev/xvda"))).unwrap_err();
        insta::assert_snapshot!(error, @"`volume` under `[builder]`, on base ami-0123456789abcdef0: is 7 GiB, and the base's snapshot needs 8");
        let error = root_volume(&volume(8, "alias/aws/ebs"), &base(None)).unwrap_err();
        assert!(error.to_string().contains("no EBS root device"), "{error}");
    }
}
