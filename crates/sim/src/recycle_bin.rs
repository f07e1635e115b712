//! The Recycle Bin: retention rules, what they keep of deregistered images and deleted snapshots, and the way back.
//!
//! Sources: the EBS user guide's pages "Considerations for Recycle Bin" and "Recover deleted AMIs from the Recycle Bin",
//! and the references of `CreateRule` and of EC2's four calls. A rule works from the moment it is made; at AWS the first
//! one of an account may take half an hour.

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::id::{AmiId, SnapshotId};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Image, Order, Page, Paging, Result, Snapshot, SnapshotState, Tags, World, refuse_dry_run,
    table::Table,
};

/// How long a snapshot comes out of the bin. AWS says nowhere how long that takes.
const RECOVERS: SignedDuration = SignedDuration::from_secs(5);

/// What a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum BinKind {
    /// Images that are deregistered.
    #[serde(rename = "EC2_IMAGE")]
    Image,
    /// Snapshots that are deleted.
    #[serde(rename = "EBS_SNAPSHOT")]
    Snapshot,
}

/// A tag that a rule looks for; without a value, whatever its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct BinTag {
    /// The tag's key.
    pub resource_tag_key: String,
    /// Its value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_tag_value: Option<String>,
}

/// A retention rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BinRule {
    /// Eleven letters and digits.
    pub id: String,
    /// What it keeps.
    pub kind: BinKind,
    /// For how many days, 1 to 365.
    pub days: u16,
    /// What people say of it.
    pub description: String,
    /// It keeps what has one of these tags; without any, everything.
    pub tags: Vec<BinTag>,
    /// What has one of these it doesn't keep: for a rule without `tags`.
    pub excluded: Vec<BinTag>,
}

/// Something in the bin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binned<T> {
    /// As it was.
    pub thing: T,
    /// When it came into the bin.
    pub entered: Timestamp,
    /// When the bin loses it.
    pub leaves: Timestamp,
}

/// The Recycle Bin of an account.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct RecycleBin {
    pub rules: Table<String, BinRule>,
    pub images: Table<AmiId, Binned<Image>>,
    pub snapshots: Table<SnapshotId, Binned<Snapshot>>,
}

impl RecycleBin {
    /// How long the bin keeps something that has these tags: as the rule says that keeps it longest.
    fn keeps(&self, kind: BinKind, tags: &Tags) -> Option<SignedDuration> {
        let has = |one: &BinTag| {
            let value = tags.get(&one.resource_tag_key);
            value.is_some_and(|value| one.resource_tag_value.as_ref().is_none_or(|wanted| wanted == value))
        };
        let applies = |rule: &&BinRule| {
            rule.kind == kind
                && (rule.tags.is_empty() || rule.tags.iter().any(has))
                && !rule.excluded.iter().any(has)
        };
        let days = self.rules.values().filter(applies).map(|rule| rule.days).max();
        days.map(|days| SignedDuration::from_hours(24 * i64::from(days)))
    }

    fn is_due(&self, now: Timestamp) -> bool {
        let images = self.images.values().map(|one| one.leaves);
        images.chain(self.snapshots.values().map(|one| one.leaves)).any(|leaves| leaves <= now)
    }
}

impl World {
    /// Makes a retention rule; its id is given to it here.
    pub fn create_bin_rule(&mut self, rule: BinRule) -> Result<BinRule> {
        let problem = if !(1..=365).contains(&rule.days) {
            "RetentionPeriodValue is 1 to 365."
        } else if rule.tags.len() > 50 || rule.excluded.len() > 5 {
            "A rule has up to 50 ResourceTags, and up to 5 ExcludeResourceTags."
        } else if !rule.tags.is_empty() && !rule.excluded.is_empty() {
            "ExcludeResourceTags are for rules without ResourceTags."
        } else {
            let id = self.next_id("rule").chars().take(11).collect::<String>();
            let rule = BinRule { id: id.clone(), ..rule };
            self.recycle_bin.rules.insert(id, rule.clone());
            return Ok(rule);
        };
        Err(ApiError::new("ValidationException", problem))
    }

    /// Every retention rule.
    pub fn bin_rules(&self) -> impl Iterator<Item = &BinRule> {
        self.recycle_bin.rules.values()
    }

    /// Removes a rule. What it put into the bin stays there as long as it said.
    pub fn delete_bin_rule(&mut self, id: &str) -> Result<()> {
        match self.recycle_bin.rules.remove(id) {
            Some(_) => Ok(()),
            None => Err(ApiError::new("ResourceNotFoundException", format!("There is no rule {id}."))),
        }
    }

    /// The images in the bin, all or those with these ids.
    pub fn list_images_in_recycle_bin(&self, ids: &[String], paging: &Paging) -> Result<Page<Binned<Image>>> {
        if ids.len() > 20 {
            return Err(ApiError::new("InvalidParameterValue", "ImageIds takes up to 20 ids."));
        }
        let named = |one: &&Binned<Image>| ids.is_empty() || ids.iter().any(|id| id == one.thing.id.as_str());
        let found = self.recycle_bin.images.values().filter(named).cloned();
        paging.cut(found, 1, |one: &Binned<Image>| one.thing.id.to_string())
    }

    /// The snapshots in the bin, all or those with these ids.
    pub fn list_snapshots_in_recycle_bin(
        &self,
        ids: &[String],
        paging: &Paging,
    ) -> Result<Page<Binned<Snapshot>>> {
        let named =
            |one: &&Binned<Snapshot>| ids.is_empty() || ids.iter().any(|id| id == one.thing.id.as_str());
        let found = self.recycle_bin.snapshots.values().filter(named).cloned();
        paging.cut(found, 5, |one: &Binned<Snapshot>| one.thing.id.to_string())
    }

    /// Takes an image out of the bin: it is as it was, with its tags and whom it was shared with. All its snapshots must
    /// be out of the bin, and whole.
    pub fn restore_image_from_recycle_bin(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let parsed = AmiId::parse(id).map_err(|_| ApiError::malformed("InvalidAMIID.Malformed", id))?;
        let image = self.recycle_bin.images.get(&parsed).ok_or_else(|| ApiError::no_image(id))?.thing.clone();
        self.check_name(&image.name)?;
        for snapshot in image.snapshots() {
            // By which code EC2 refuses this is documented nowhere.
            if self.own_snapshot(snapshot.as_str())?.state != SnapshotState::Completed {
                let message = format!("The snapshot {snapshot} is not available.");
                return Err(ApiError::new("IncorrectState", message));
            }
        }
        refuse_dry_run(dry_run)?;
        self.recycle_bin.images.remove(&parsed);
        self.images.insert(parsed, image);
        Ok(())
    }

    /// Takes a snapshot out of the bin; it is whole again a little later.
    pub fn restore_snapshot_from_recycle_bin(
        &mut self,
        now: Timestamp,
        id: &str,
        dry_run: bool,
    ) -> Result<Snapshot> {
        let parsed =
            SnapshotId::parse(id).map_err(|_| ApiError::malformed("InvalidSnapshotID.Malformed", id))?;
        let binned = self.recycle_bin.snapshots.get(&parsed).ok_or_else(|| ApiError::no_snapshot(id))?;
        let whole = now + RECOVERS;
        let snapshot =
            Snapshot { state: SnapshotState::Recovering, copied: Some(whole), ..binned.thing.clone() };
        refuse_dry_run(dry_run)?;
        self.recycle_bin.snapshots.remove(&parsed);
        self.snapshots.insert(parsed, snapshot.clone());
        Ok(snapshot)
    }

    /// Whether the bin is to lose something: [`World::tick`] does that.
    pub fn bin_is_due(&self, now: Timestamp) -> bool {
        self.recycle_bin.is_due(now)
    }

    /// Puts an image that was deregistered into the bin, if a rule keeps it.
    pub(crate) fn bin_image(&mut self, now: Timestamp, image: Image) {
        if let Some(days) = self.recycle_bin.keeps(BinKind::Image, &image.tags) {
            let binned = Binned { entered: now, leaves: now + days, thing: image };
            self.recycle_bin.images.insert(binned.thing.id.clone(), binned);
        }
    }

    /// Puts a snapshot that was deleted into the bin, if a rule keeps it; else its layer goes.
    pub(crate) fn bin_snapshot(&mut self, now: Timestamp, snapshot: Snapshot) {
        let id = snapshot.id.clone();
        match self.recycle_bin.keeps(BinKind::Snapshot, &snapshot.tags) {
            Some(days) => {
                let binned = Binned { entered: now, leaves: now + days, thing: snapshot };
                self.recycle_bin.snapshots.insert(id, binned);
            }
            None => self.orders.push(Order::DropSnapshot { snapshot: id }),
        }
    }

    /// The bin loses what was in it for long enough.
    pub(crate) fn empty_bin(&mut self, now: Timestamp) {
        self.recycle_bin.images.retain(|_, one| now < one.leaves);
        let gone = self.recycle_bin.snapshots.values().filter(|one| one.leaves <= now);
        for snapshot in gone.map(|one| one.thing.id.clone()).collect::<Vec<_>>() {
            self.recycle_bin.snapshots.remove(&snapshot);
            self.orders.push(Order::DropSnapshot { snapshot });
        }
    }
}
