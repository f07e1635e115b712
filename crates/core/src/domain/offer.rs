//! Offers: what EC2 is asked for when an instance is launched, in which order, and what a refusal means for the rest.
//!
//! Every offer is one request with a token of its own, because EC2 refuses a token that comes back with other
//! parameters. Only a shortage moves on to the next offer: whatever else EC2 refuses, it would refuse for all.

use std::fmt;

use super::recipe::Builder;

/// What EC2 is asked for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The instance type: `c7i.large`.
    pub instance_type: String,
    /// The subnet, and with it the zone; none means whatever EC2 takes of the default network.
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

/// The types of a recipe that names none: small, current and cheap. The second is of another generation, where capacity is
/// another. The last is one of those that an account of AWS's Free plan may launch, and such an account no other.
fn usual_types(architecture: &str) -> [&'static str; 3] {
    match architecture {
        "arm64" => ["m7g.large", "m6g.large", "t4g.small"],
        _ => ["m7i.large", "m6i.large", "m7i-flex.large"],
    }
}

/// The types that a builder on a base of this architecture may have, in order of preference.
pub fn types(builder: &Builder, architecture: &str) -> Vec<String> {
    match builder.instance_types.as_slice() {
        [] => usual_types(architecture).map(str::to_owned).to_vec(),
        own => own.to_vec(),
    }
}

/// Every offer, in the order of the recipe's preference: a type in all zones before the next type, and all of
/// them as spot, where that is wanted, before the first on demand.
///
/// The stack's subnets are for recipes that name none, and so are the types of the base's architecture.
pub fn offers(builder: &Builder, architecture: &str, of_stack: &[String]) -> Vec<Offer> {
    let markets = if builder.spot { &[true, false][..] } else { &[false] };
    let subnets: Vec<Option<&String>> = match (builder.subnets.as_slice(), of_stack) {
        ([], []) => vec![None],
        ([], some) | (some, _) => some.iter().map(Some).collect(),
    };
    let mut offers = Vec::new();
    for spot in markets {
        for instance_type in types(builder, architecture) {
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
    /// Capacity for this very offer: another type, zone or market may do.
    Offer,
    /// The account's quota of vCPUs for this family of types on demand: another family may have its own.
    Quota,
    /// The account's quota for spot instances: no other spot offer will do.
    SpotQuota,
    /// Addresses in the subnet: another subnet may do.
    Subnet,
}

impl Shortage {
    /// Whether the shortage that one offer met is another's, too.
    pub fn concerns(self, met: &Offer, other: &Offer) -> bool {
        match self {
            Self::Offer => met == other,
            Self::Quota => {
                met.spot == other.spot
                    && quota(&met.instance_type) == quota(&other.instance_type)
                    && size(&met.instance_type) <= size(&other.instance_type)
            }
            Self::SpotQuota => other.spot,
            Self::Subnet => met.subnet == other.subnet,
        }
    }

    /// Whether the account may have more once its owner asks AWS for it.
    pub fn is_quota(self) -> bool {
        match self {
            Self::Quota | Self::SpotQuota => true,
            Self::Offer | Self::Subnet => false,
        }
    }
}

/// The quota of vCPUs that a type counts to. EC2 has one for the families A, C, D, H, I, M, R, T and Z together, and one for each of
/// the others (EC2 user guide, "Amazon EC2 instance type quotas").
fn quota(instance_type: &str) -> &str {
    let end = instance_type.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(instance_type.len());
    match &instance_type[..end] {
        "a" | "c" | "d" | "h" | "i" | "im" | "is" | "m" | "r" | "t" | "z" => "standard",
        "g" | "gr" | "vt" => "g",
        other => other,
    }
}

/// How large a type is, as far as its name says: what is too large for what is left of a quota, a smaller one may fit into.
fn size(instance_type: &str) -> u32 {
    const SMALL: [&str; 6] = ["nano", "micro", "small", "medium", "large", "xlarge"];
    let size = instance_type.split_once('.').map_or("", |(_, size)| size);
    if let Some(place) = SMALL.iter().position(|small| *small == size) {
        return u32::try_from(place).unwrap_or_default();
    }
    // `2xlarge`, and `metal` above all.
    let times = size.strip_suffix("xlarge").and_then(|times| times.parse::<u32>().ok());
    times.map_or(u32::MAX, |times| times.saturating_add(4))
}

/// Why an instance went down, as far as EC2 says. The adapters read EC2's codes; here they have a meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// EC2 took the spot capacity back.
    SpotReclaimed,
    /// EC2 took the launch, and then had no capacity for it.
    Capacity,
    /// The key of a volume could not be used.
    VolumeKey,
    /// The account may have no more EBS volumes.
    VolumeQuota,
    /// Something on the machine powered it off.
    PoweredOff,
    /// Somebody stopped or terminated it by EC2's API.
    ByRequest,
    /// EC2 says nothing, or something else.
    Unknown,
}

impl Loss {
    /// What an operator does about it.
    pub fn advice(self) -> &'static str {
        match self {
            Self::SpotReclaimed => {
                "EC2 took the spot capacity back: start the bake again, or set `spot = false` under `[builder]`"
            }
            Self::Capacity => {
                "EC2 took the launch and then had no capacity: start the bake again, or put another type or subnet first under `[builder]`"
            }
            Self::VolumeKey => {
                "EC2 could not use the volume's KMS key: name it in `BuilderKmsKeys` of `infra/template.yaml`, and for spot grant it to AWSServiceRoleForEC2Spot"
            }
            Self::VolumeQuota => {
                "Raise the account's quota for EBS volumes, or ask for a smaller `volume` under `[builder]`"
            }
            Self::PoweredOff => {
                "Something on the builder powered it off; a step may boot the machine again (`reboot = true`), but not power it off"
            }
            Self::ByRequest => "Somebody ended it by EC2's API: start the bake again",
            Self::Unknown => "Start the bake again; if it is lost again, its console says what happened",
        }
    }
}

/// A root volume that differs from the image's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootVolume {
    /// The image's root device: `/dev/xvda`.
    pub device: String,
    /// Its size in GiB.
    pub gib: Option<u32>,
    /// Its type in EC2's word.
    pub kind: Option<String>,
    /// Its operations per second.
    pub iops: Option<u32>,
    /// Its throughput in MiB per second.
    pub throughput: Option<u32>,
    /// The KMS key that encrypts it; none leaves it as the image and the account have it.
    pub kms_key: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(types: &[&str], subnets: &[&str], spot: bool) -> Builder {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Builder { instance_types: owned(types), subnets: owned(subnets), spot, ..Builder::default() }
    }

    fn texts(offers: &[Offer]) -> Vec<String> {
        offers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_type_is_tried_in_all_zones_before_the_next_and_spot_before_on_demand() {
        let offers = offers(
            &builder(&["c7i.large", "m7i.large"], &["subnet-1", "subnet-2"], true),
            "x86_64",
            &["subnet-9".into()],
        );
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
    fn without_subnets_the_stack_s_own_are_asked_for_each() {
        let builder = builder(&["c7i.large", "m7i.large"], &[], false);
        let own = offers(&builder, "x86_64", &["subnet-8".into(), "subnet-9".into()]);
        let expected = [
            "c7i.large on demand in subnet-8",
            "c7i.large on demand in subnet-9",
            "m7i.large on demand in subnet-8",
            "m7i.large on demand in subnet-9",
        ];
        assert_eq!(texts(&own), expected);
        assert_eq!(texts(&offers(&builder, "x86_64", &[])), ["c7i.large on demand", "m7i.large on demand"]);
    }

    #[test]
    fn a_shortage_concerns_what_shares_it() {
        let offers = offers(
            &builder(&["c7i.large", "m7i.large"], &["subnet-1", "subnet-2"], true),
            "x86_64",
            &["subnet-9".into()],
        );
        let concerned = |shortage: Shortage| {
            let met = offers.iter().filter(|offer| shortage.concerns(&offers[0], offer));
            met.map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(concerned(Shortage::Offer), ["c7i.large spot in subnet-1"]);
        assert_eq!(concerned(Shortage::SpotQuota), texts(&offers[..4]));
        let in_subnet: Vec<_> = texts(&offers).into_iter().filter(|one| one.ends_with("subnet-1")).collect();
        assert_eq!(concerned(Shortage::Subnet), in_subnet);
    }
    #[test]
    fn a_recipe_without_types_gets_those_of_its_base_s_architecture() {
        let none = builder(&[], &[], false);
        let of = |architecture: &str| texts(&offers(&none, architecture, &[]));
        assert_eq!(of("arm64"), ["m7g.large on demand", "m6g.large on demand", "t4g.small on demand"]);
        assert_eq!(of("x86_64"), ["m7i.large on demand", "m6i.large on demand", "m7i-flex.large on demand"]);
        // What a recipe names is asked for, whatever it runs.
        assert_eq!(types(&builder(&["c7i.large"], &[], false), "arm64"), ["c7i.large"]);
    }

    #[test]
    fn a_quota_is_of_a_family_and_a_smaller_type_may_fit_into_the_rest_of_it() {
        let offer =
            |instance_type: &str, spot| Offer { instance_type: instance_type.into(), subnet: None, spot };
        let met = offer("m7i.xlarge", false);
        let concerned = |other: &str| Shortage::Quota.concerns(&met, &offer(other, false));
        for other in
            ["m7i.xlarge", "c7i.2xlarge", "r7a.48xlarge", "t3.xlarge", "im4gn.4xlarge", "m7i.metal-24xl"]
        {
            assert!(concerned(other), "{other} counts to the same quota");
        }
        for other in ["m7i.large", "t3.small", "g5.xlarge", "x2idn.16xlarge", "inf2.xlarge", "hpc7a.96xlarge"]
        {
            assert!(!concerned(other), "{other} may fit");
        }
        assert!(!Shortage::Quota.concerns(&met, &offer("m7i.xlarge", true)), "spot has a quota of its own");
    }
}
