//! The filters of volumes and snapshots.

use super::{Fields, Filtered, any, at, no, none, one};
use crate::{Snapshot, Tags, Volume, network::zone_id};

impl Filtered for Volume {
    const FIELDS: Fields<Self> = &[
        ("attachment.attach-time", |it, _| {
            any(it.instance.as_ref().map(|_| super::time_text(it.attached())).as_ref())
        }),
        ("attachment.delete-on-termination", |it, _| {
            any(it.instance.as_ref().map(|_| &it.delete_on_termination))
        }),
        ("attachment.device", |it, _| any(it.instance.as_ref().map(|_| &it.device))),
        ("attachment.instance-id", |it, _| any(it.instance.as_ref())),
        ("attachment.status", |it, _| any(it.instance.as_ref().map(|_| &"attached"))),
        ("availability-zone", |it, _| one(&it.zone)),
        ("availability-zone-id", |it, _| one(zone_id(&it.zone))),
        ("create-time", |it, _| at(it.created)),
        ("encrypted", |it, _| one(it.disk.kms_key.is_some())),
        ("fast-restored", no),
        ("multi-attach-enabled", no),
        ("operator.managed", no),
        ("operator.principal", none),
        ("size", |it, _| one(it.disk.size)),
        ("snapshot-id", |it, _| any(it.snapshot.as_ref())),
        ("status", |it, _| one(it.status())),
        ("volume-id", |it, _| one(&it.id)),
        ("volume-type", |it, _| one(&it.disk.kind)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}

impl Filtered for Snapshot {
    const FIELDS: Fields<Self> = &[
        ("description", |it, _| one(&it.description)),
        ("encrypted", |it, _| one(it.kms_key.is_some())),
        // Only Amazon's own publishers have one.
        ("owner-alias", none),
        ("owner-id", |_, world| one(&world.account)),
        ("progress", |it, _| one(format!("{}%", it.progress))),
        ("snapshot-id", |it, _| one(&it.id)),
        ("start-time", |it, _| at(it.started)),
        ("status", |it, _| one(it.state.as_str())),
        ("storage-tier", |_, _| one("standard")),
        ("transfer-type", none),
        ("volume-id", |it, _| one(&it.volume)),
        ("volume-size", |it, _| one(it.size)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}
