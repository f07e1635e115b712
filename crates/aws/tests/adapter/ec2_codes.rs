//! Which of EC2's codes mean what.

use ovenbird_aws::ec2_codes::{loss, shortage};
use ovenbird_core::domain::offer::Shortage;

#[test]
fn only_a_shortage_moves_on_to_the_next_offer() {
    for (code, meaning) in [
        ("InsufficientInstanceCapacity", Some(Shortage::Offer)),
        ("Unsupported", Some(Shortage::Offer)),
        ("VcpuLimitExceeded", Some(Shortage::Quota)),
        ("MaxSpotInstanceCountExceeded", Some(Shortage::SpotQuota)),
        ("InsufficientFreeAddressesInSubnet", Some(Shortage::Subnet)),
        ("UnfulfillableCapacity", Some(Shortage::Offer)),
        // What the next offer would be refused for, too, or what a second try may well get.
        ("InvalidBlockDeviceMapping", None),
        ("InvalidParameterValue", None),
        ("UnauthorizedOperation", None),
        ("RequestLimitExceeded", None),
        ("InternalError", None),
        ("InvalidParameterCombination", None),
        ("", None),
    ] {
        assert_eq!(shortage(code, ""), meaning, "{code}");
    }
    // In an account of the Free plan, another type may do.
    let message = "The specified instance type is not eligible for Free Tier.";
    assert_eq!(shortage("InvalidParameterCombination", message), Some(Shortage::Offer));
}

#[test]
fn what_ec2_says_of_a_lost_instance_decides_the_advice() {
    for (code, advice) in [
        ("Server.SpotInstanceTermination", "spot = false"),
        ("Server.InsufficientInstanceCapacity", "another type or subnet first"),
        ("Client.InternalError", "BuilderKmsKeys"),
        ("Client.VolumeLimitExceeded", "quota for EBS volumes"),
        ("Client.InstanceInitiatedShutdown", "powered it off"),
        ("Client.UserInitiatedShutdown", "Somebody"),
        ("Server.InternalError", "its console"),
    ] {
        assert!(loss(code).advice().contains(advice), "{code}: {}", loss(code).advice());
    }
}
