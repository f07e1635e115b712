//! The filters of Regions and zones, and of fleets, of which there are none here.

use super::{Fields, Filtered, none, one};
use crate::{Tags, network::zone_id};

/// The Region that everything is in.
pub(crate) struct Region(pub String);

impl Filtered for Region {
    const TAGGED: bool = false;
    const FIELDS: Fields<Self> = &[
        ("endpoint", |it, _| one(format!("ec2.{}.amazonaws.com", it.0))),
        ("opt-in-status", |_, _| one("opt-in-not-required")),
        ("region-name", |it, _| one(&it.0)),
    ];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

/// An availability zone.
pub(crate) struct Zone(pub String);

impl Filtered for Zone {
    const TAGGED: bool = false;
    const FIELDS: Fields<Self> = &[
        ("group-long-name", none),
        ("group-name", |_, world| one(format!("{}-zg-1", world.region))),
        ("message", none),
        ("opt-in-status", |_, _| one("opt-in-not-required")),
        ("parent-zone-id", none),
        ("parent-zone-name", none),
        ("region-name", |_, world| one(&world.region)),
        ("state", |_, _| one("available")),
        ("zone-id", |it, _| one(zone_id(&it.0))),
        ("zone-name", |it, _| one(&it.0)),
        ("zone-type", |_, _| one("availability-zone")),
    ];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}

/// A fleet. None can be made here.
pub(crate) enum Fleet {}

impl Filtered for Fleet {
    const TAGGED: bool = false;
    const FIELDS: Fields<Self> = &[
        ("activity-status", none),
        ("excess-capacity-termination-policy", none),
        ("fleet-state", none),
        ("replace-unhealthy-instances", none),
        ("type", none),
    ];

    fn tags(&self) -> Option<&Tags> {
        None
    }
}
