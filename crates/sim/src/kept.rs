//! The world as rows: what changed since the last time it was kept, and how it is made of its rows again.

use serde_json::{Value, json};

use crate::{
    World, auto_scaling::AutoScaling, launch_templates::LaunchTemplates, load_balancing::LoadBalancing,
    recycle_bin::RecycleBin, table::Rows,
};

/// The table of the one row that has what isn't in any other: the account, its network, the counter of ids.
const REST: &str = "rest";

/// A row that is new, changed or gone.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The kind of thing: `images`, `balancing.groups`.
    pub table: &'static str,
    /// Its key among its kind.
    pub key: String,
    /// What it is now, as JSON; none if it is gone.
    pub row: Option<Value>,
}

impl World {
    /// What is new, changed or gone since this was asked last. A row in it may be as it was.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let rest = Change { table: REST, key: String::new(), row: Some(self.rest()) };
        let mut changes = vec![rest];
        for (table, rows) in self.tables() {
            let rows = rows.take_changes().into_iter();
            changes.extend(rows.map(|(key, row)| Change { table, key, row }));
        }
        changes
    }

    /// The world of these rows, each with its table and key; they count as kept.
    ///
    /// # Errors
    /// When a row is not what this version, or one before it, wrote.
    pub fn of_rows(rows: impl IntoIterator<Item = (String, String, Value)>) -> serde_json::Result<Self> {
        let mut whole = json!({});
        for (table, key, row) in rows {
            match row {
                Value::Object(rest) if table == REST => {
                    for (name, value) in rest {
                        whole[name.as_str()] = value;
                    }
                }
                // `balancing.groups` is an object in an object.
                row => {
                    let place = table.split('.').fold(&mut whole, |place, part| &mut place[part]);
                    place[key.as_str()] = row;
                }
            }
        }
        let mut world: Self = serde_json::from_value(whole)?;
        for (_, rows) in world.tables() {
            rows.forget_changes();
        }
        Ok(world)
    }

    /// What is in no table. It is small, whatever the world has.
    fn rest(&self) -> Value {
        json!({
            "account": self.account,
            "region": self.region,
            "sequence": self.sequence,
            "shortages": self.shortages,
            "vpcs": self.vpcs,
            "subnets": self.subnets,
        })
    }

    /// Every table with its place in the world's JSON. Each field is named: one that is forgotten here would not be kept.
    fn tables(&mut self) -> [(&'static str, &mut dyn Rows); 22] {
        let Self {
            // These are the rest.
            account: _,
            region: _,
            sequence: _,
            shortages: _,
            vpcs: _,
            subnets: _,
            // Orders go out before anything is kept.
            orders: _,
            instances,
            volumes,
            images,
            snapshots,
            commands,
            tokens,
            copy_tokens,
            volume_tokens,
            key_pairs,
            security_groups,
            templates: LaunchTemplates { by_id, tokens: template_tokens },
            image_parameters,
            balancing: LoadBalancing { balancers, listeners, groups: target_groups },
            alarms,
            scaling: AutoScaling { groups },
            recycle_bin: RecycleBin { rules, images: binned_images, snapshots: binned_snapshots },
            locks,
        } = self;
        [
            ("instances", instances),
            ("volumes", volumes),
            ("images", images),
            ("snapshots", snapshots),
            ("commands", commands),
            ("tokens", tokens),
            ("copy_tokens", copy_tokens),
            ("volume_tokens", volume_tokens),
            ("key_pairs", key_pairs),
            ("security_groups", security_groups),
            ("templates.by_id", by_id),
            ("templates.tokens", template_tokens),
            ("image_parameters", image_parameters),
            ("balancing.balancers", balancers),
            ("balancing.listeners", listeners),
            ("balancing.groups", target_groups),
            ("alarms", alarms),
            ("scaling.groups", groups),
            ("recycle_bin.rules", rules),
            ("recycle_bin.images", binned_images),
            ("recycle_bin.snapshots", binned_snapshots),
            ("locks", locks),
        ]
    }
}
