//! What EC2 has too little of, on demand: a launch meets it with EC2's code for it.

use serde::{Deserialize, Serialize};

use crate::{ApiError, Subnet, World};

/// What EC2 can be short of. Each is refused with EC2's own code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Lack {
    /// Instances.
    Capacity,
    /// Instances, and EC2 notices it only after it has taken the launch.
    LateCapacity,
    /// Spot instances that the account may have.
    SpotQuota,
    /// vCPUs that the account may have.
    VcpuQuota,
    /// Addresses in the subnet.
    Addresses,
    /// The type, in this zone.
    Support,
}

/// Launches that meet a lack: all that are as every field says that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Shortage {
    /// What is short.
    pub lack: Lack,
    /// For this instance type.
    #[serde(default)]
    pub instance_type: Option<String>,
    /// In this zone.
    #[serde(default)]
    pub zone: Option<String>,
    /// For spot instances, or for those on demand.
    #[serde(default)]
    pub spot: Option<bool>,
}

impl Shortage {
    /// A lack for every launch.
    pub fn of(lack: Lack) -> Self {
        Self { lack, instance_type: None, zone: None, spot: None }
    }

    /// The same for one instance type.
    #[must_use]
    pub fn for_type(self, instance_type: &str) -> Self {
        Self { instance_type: Some(instance_type.to_owned()), ..self }
    }

    /// The same in one zone.
    #[must_use]
    pub fn in_zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.to_owned()), ..self }
    }

    /// The same for spot instances only, or for those on demand only.
    #[must_use]
    pub fn if_spot(self, spot: bool) -> Self {
        Self { spot: Some(spot), ..self }
    }
}

impl World {
    /// From now on this is short, and nothing else.
    pub fn set_shortages(&mut self, shortages: Vec<Shortage>) {
        self.shortages = shortages;
    }

    /// What a launch lacks.
    pub(crate) fn lack(&self, instance_type: &str, zone: &str, spot: bool) -> Option<Lack> {
        let met = self.shortages.iter().find(|short| {
            short.instance_type.as_deref().is_none_or(|one| one == instance_type)
                && short.zone.as_deref().is_none_or(|one| one == zone)
                && short.spot.is_none_or(|one| one == spot)
        });
        met.map(|short| short.lack)
    }
}

/// EC2's refusal of a launch; none for a lack that it notices later.
pub(crate) fn refusal(lack: Lack, instance_type: &str, subnet: &Subnet) -> Option<ApiError> {
    let zone = &subnet.zone;
    Some(match lack {
        Lack::LateCapacity => return None,
        Lack::Capacity => ApiError {
            code: "InsufficientInstanceCapacity",
            message: format!(
                "We currently do not have sufficient {instance_type} capacity in the Availability Zone you requested ({zone})."
            ),
            // EC2 counts it as a fault of its own.
            http: 500,
        },
        Lack::SpotQuota => ApiError::new("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded"),
        Lack::VcpuQuota => {
            let message = format!(
                "You have requested more vCPU capacity than your current vCPU limit allows for the instance bucket that {instance_type} belongs to."
            );
            ApiError::new("VcpuLimitExceeded", message)
        }
        Lack::Addresses => {
            let message = format!("Not enough free addresses in subnet {} for the launch.", subnet.id);
            ApiError::new("InsufficientFreeAddressesInSubnet", message)
        }
        Lack::Support => {
            let message = format!(
                "Your requested instance type ({instance_type}) is not supported in your requested Availability Zone ({zone})."
            );
            ApiError::new("Unsupported", message)
        }
    })
}
