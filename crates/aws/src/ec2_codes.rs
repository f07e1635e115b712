//! What EC2's codes mean: which refusals of a launch are a shortage, and why an instance is down.

use ovenbird_core::domain::offer::{Loss, Shortage};

/// What an account of the Free plan is told for a type that it may not launch. The code is that of other mistakes, too.
const NOT_ELIGIBLE: &str = "not eligible for Free Tier";

/// What an error of `RunInstances` says is short; none for an error that no other offer fixes.
pub fn shortage(code: &str, message: &str) -> Option<Shortage> {
    match code {
        "InvalidParameterCombination" if message.contains(NOT_ELIGIBLE) => Some(Shortage::Offer),
        // `Unsupported` is EC2's word for a type that a zone doesn't have.
        "InsufficientInstanceCapacity"
        | "InsufficientCapacity"
        | "InsufficientVolumeCapacity"
        | "SpotMaxPriceTooLow"
        | "UnfulfillableCapacity"
        | "Unsupported" => Some(Shortage::Offer),
        "InstanceLimitExceeded" | "VcpuLimitExceeded" => Some(Shortage::Quota),
        "MaxSpotInstanceCountExceeded" => Some(Shortage::SpotQuota),
        "InsufficientFreeAddressesInSubnet" => Some(Shortage::Subnet),
        _ => None,
    }
}

/// What a code of an instance's state reason means.
pub fn loss(code: &str) -> Loss {
    match code {
        "Server.SpotInstanceTermination" | "Server.SpotInstanceShutdown" => Loss::SpotReclaimed,
        "Server.InsufficientInstanceCapacity" => Loss::Capacity,
        // EC2 says "internal error" of a key that it can't use.
        "Client.InternalError" | "Client.InvalidKMSKey" => Loss::VolumeKey,
        "Client.VolumeLimitExceeded" => Loss::VolumeQuota,
        "Client.InstanceInitiatedShutdown" => Loss::PoweredOff,
        "Client.UserInitiatedShutdown" | "Client.UserInitiatedHibernate" => Loss::ByRequest,
        _ => Loss::Unknown,
    }
}
