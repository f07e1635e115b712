//! How an instance is launched: which offers EC2 is asked for, in which order, and what a refusal means for the rest.
//!
//! Every offer is one request with a token of its own, because EC2 refuses a token that comes back with other
//! parameters. Only a shortage moves on to the next offer: whatever else EC2 refuses, it would refuse for all.

use std::{collections::BTreeMap, fmt};

use crate::{
    bake::Bake,
    error::{Error, Result},
    id::{AmiId, InstanceId},
    ledger::Ledger,
    ports::{Builders, Image, LaunchOrder, RootVolume, Table},
    recipe::Builder,
};

/// What EC2 is asked for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The instance type.
    pub instance_type: String,
    /// The subnet, and with it the zone; none means the one of the stack.
    pub subnet: Option<String>,
    /// Whether it is spot capacity, which EC2 may take back.
    pub spot: bool,
}

impl fmt::Display for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.instance_type, if self.spot { "spot" } else { "on demand" })?;
        self.subnet.iter().try_for_each(|subnet| write!(f, " in {subnet}"))
    }
}

/// Every offer, in the order of the recipe's preference: a type in all zones before the next type, and all of
/// them as spot, where that is wanted, before the first on demand.
pub fn offers(builder: &Builder) -> Vec<Offer> {
    let markets = if builder.spot { &[true, false][..] } else { &[false] };
    let subnets: Vec<Option<&String>> = match builder.subnets.as_slice() {
        [] => vec![None],
        some => some.iter().map(Some).collect(),
    };
    let mut offers = Vec::new();
    for spot in markets {
        for instance_type in &builder.instance_types {
            for subnet in &subnets {
                offers.push(Offer {
                    instance_type: instance_type.clone(),
                    subnet: subnet.cloned(),
                    spot: *spot,
                });
            }
        }
    }
    offers
}

/// What there is too little of, by one refusal of EC2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Capacity for this very offer, or the account's quota for it: another type, zone or market may do.
    Offer,
    /// Spot instances that the account may have: no other spot offer will do.
    Spot,
    /// Addresses in the subnet: another subnet may do.
    Subnet,
}

impl Shortage {
    /// What an error code of `RunInstances` says is short; none for an error that no other offer mends.
    pub fn of(code: &str) -> Option<Self> {
        match code {
            // `Unsupported` is EC2's word for a type that a zone doesn't have.
            "InsufficientInstanceCapacity"
            | "InsufficientCapacity"
            | "InsufficientVolumeCapacity"
            | "InstanceLimitExceeded"
            | "SpotMaxPriceTooLow"
            | "Unsupported"
            | "VcpuLimitExceeded" => Some(Self::Offer),
            "MaxSpotInstanceCountExceeded" => Some(Self::Spot),
            "InsufficientFreeAddressesInSubnet" => Some(Self::Subnet),
            _ => None,
        }
    }

    /// Whether the shortage that one offer met is another's, too.
    fn concerns(self, met: &Offer, other: &Offer) -> bool {
        match self {
            Self::Offer => met == other,
            Self::Spot => other.spot,
            Self::Subnet => met.subnet == other.subnet,
        }
    }
}

/// The refusal of an offer: [`Error::NoCapacity`] if the code says that something is short, else the error as it is.
pub fn refusal(offer: &Offer, code: &str, error: Error) -> Error {
    match Shortage::of(code) {
        Some(shortage) => {
            Error::NoCapacity { tried: format!("{offer} ({code})"), shortage, source: Some(Box::new(error)) }
        }
        None => error,
    }
}

/// What an instance is launched with, whatever offer it comes of.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The image to start from.
    pub image: AmiId,
    /// Security groups; none means the one of the stack.
    pub security_groups: Vec<String>,
    /// The instance profile; none means the one of the stack.
    pub instance_profile: Option<String>,
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
            instance_profile: self.instance_profile.clone(),
            devices: self.devices.clone(),
            volume: self.volume.clone(),
            user_data: self.user_data.clone(),
            token: crate::digest::token(&bake.bake, &format!("{} {offer}", self.purpose)),
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
        kms_key: volume.kms_key.clone(),
    }))
}

/// Asks for one offer after the other until there is an instance; gives it, and whether it is a spot instance.
///
/// Which offer is asked for is on record before it is: a try whose reply was lost is made again with the same
/// token, and finds the instance of it. Beginning anew at the first offer could launch a second one.
pub async fn launch(
    bake: &mut Bake,
    wanted: &Wanted,
    offers: &[Offer],
    builders: &impl Builders,
    table: &impl Table,
) -> Result<(InstanceId, bool)> {
    let mut met: Vec<(&Offer, Shortage)> = Vec::new();
    // What an earlier try got past was short, too.
    let mut tried: Vec<String> = offers.iter().take(bake.offer).map(ToString::to_string).collect();
    let mut last = None;
    for (number, offer) in offers.iter().enumerate().skip(bake.offer) {
        if met.iter().any(|(one, shortage)| shortage.concerns(one, offer)) {
            continue;
        }
        if number != bake.offer {
            bake.offer = number;
            Ledger(table).save(bake).await?;
        }
        match builders.launch(&wanted.order(bake, offer)).await {
            Ok(instance) => return Ok((instance, offer.spot)),
            Err(Error::NoCapacity { tried: one, shortage, source }) => {
                tried.push(one);
                met.push((offer, shortage));
                last = Some((shortage, source));
            }
            Err(error) => return Err(error),
        }
    }
    let (shortage, source) = last.unwrap_or((Shortage::Offer, None));
    Err(Error::NoCapacity { tried: tried.join(", "), shortage, source })
}

/// What an operator does about an instance that EC2 ended for a reason of its own, by that reason.
pub fn advice(reason: &str) -> &'static str {
    let says = |word: &str| reason.contains(word);
    if says("Server.SpotInstanceTermination") || says("Server.SpotInstanceShutdown") {
        "EC2 took the spot capacity back: start the bake again, or set `spot = false` under `[builder]`"
    } else if says("Server.InsufficientInstanceCapacity") {
        "EC2 took the launch and then had no capacity: start the bake again, or put another type or subnet first under `[builder]`"
    } else if says("Client.InternalError") || says("Client.InvalidKMSKey") {
        "EC2 could not use the volume's KMS key: name it in `BuilderKmsKeys` of `infra/template.yaml`, and for spot grant it to AWSServiceRoleForEC2Spot"
    } else if says("Client.VolumeLimitExceeded") {
        "Raise the account's quota for EBS volumes, or ask for a smaller `volume` under `[builder]`"
    } else if says("Client.InstanceInitiatedShutdown") {
        "Something on the builder powered it off; a step may restart services, but not the machine"
    } else if says("Client.UserInitiated") {
        "Somebody ended it by EC2's API: start the bake again"
    } else {
        "Start the bake again; if it is lost again, its console says what happened"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ports::ImageState, recipe::Volume};

    fn builder(types: &[&str], subnets: &[&str], spot: bool) -> Builder {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Builder { instance_types: owned(types), subnets: owned(subnets), spot, ..Builder::default() }
    }

    fn texts(offers: &[Offer]) -> Vec<String> {
        offers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_type_is_tried_in_all_zones_before_the_next_and_spot_before_on_demand() {
        let offers = offers(&builder(&["c7i.large", "m7i.large"], &["subnet-1", "subnet-2"], true));
        insta::assert_snapshot!(texts(&offers).join("\n"), @r"
        c7i.large spot in subnet-1
        c7i.large spot in subnet-2
        m7i.large spot in subnet-1
        m7i.large spot in subnet-2
        c7i.large on demand in subnet-1
        c7i.large on demand in subnet-2
        m7i.large on demand in subnet-1
        m7i.large on demand in subnet-2
        ");
    }

    #[test]
    fn without_subnets_the_stack_s_own_is_asked_for() {
        let offers = offers(&builder(&["c7i.large", "m7i.large"], &[], false));
        assert_eq!(texts(&offers), ["c7i.large on demand", "m7i.large on demand"]);
    }

    #[test]
    fn only_a_shortage_moves_on() {
        for (code, meaning) in [
            ("InsufficientInstanceCapacity", Some(Shortage::Offer)),
            ("Unsupported", Some(Shortage::Offer)),
            ("VcpuLimitExceeded", Some(Shortage::Offer)),
            ("MaxSpotInstanceCountExceeded", Some(Shortage::Spot)),
            ("InsufficientFreeAddressesInSubnet", Some(Shortage::Subnet)),
            // What the next offer would be refused for, too, or what a second try may well get.
            ("InvalidBlockDeviceMapping", None),
            ("InvalidParameterValue", None),
            ("UnauthorizedOperation", None),
            ("RequestLimitExceeded", None),
            ("InternalError", None),
            ("", None),
        ] {
            assert_eq!(Shortage::of(code), meaning, "{code}");
        }
    }

    #[test]
    fn a_shortage_concerns_what_shares_it() {
        let offers = offers(&builder(&["c7i.large", "m7i.large"], &["subnet-1", "subnet-2"], true));
        let concerned = |shortage: Shortage| {
            let met = offers.iter().filter(|offer| shortage.concerns(&offers[0], offer));
            met.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(concerned(Shortage::Offer), ["c7i.large spot in subnet-1"]);
        assert_eq!(concerned(Shortage::Spot), texts(&offers[..4]));
        let in_subnet: Vec<_> = texts(&offers).into_iter().filter(|one| one.ends_with("subnet-1")).collect();
        assert_eq!(concerned(Shortage::Subnet), in_subnet);
    }

    fn base(root_device: Option<&str>) -> Image {
        Image {
            id: AmiId::parse("ami-0123456789abcdef0").unwrap(),
            name: "base".into(),
            state: ImageState::Available,
            reason: String::new(),
            created: jiff::Timestamp::UNIX_EPOCH,
            architecture: "x86_64".into(),
            root_device: root_device.map(str::to_owned),
            gib: Some(8),
            devices: root_device.map(str::to_owned).into_iter().collect(),
            deprecated: None,
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

    #[test]
    fn what_ec2_says_of_a_lost_instance_decides_the_advice() {
        let lost = |reason: &str| Error::BuilderLost {
            instance: InstanceId::parse("i-0123456789abcdef0").unwrap(),
            stage: crate::bake::Stage::Builder,
            state: "terminated".into(),
            reason: format!(": {reason}"),
            console: String::new(),
        };
        for (reason, advice) in [
            ("Server.SpotInstanceTermination: Spot instance termination", "spot = false"),
            ("Server.InsufficientInstanceCapacity: Insufficient capacity", "another type or subnet first"),
            ("Client.InternalError: Client error on launch", "BuilderKmsKeys"),
            ("Client.InstanceInitiatedShutdown: Instance initiated shutdown", "powered it off"),
            ("Client.UserInitiatedShutdown: User initiated shutdown", "Somebody"),
            ("Server.InternalError: The host was lost", "its console"),
        ] {
            assert!(lost(reason).hint().contains(advice), "{reason}: {}", lost(reason).hint());
        }
    }
}
