//! Key pairs: their public halves. Who makes one keeps the private half.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, Filter, Result, Tags, World,
    filters::{Fields, Filtered, Filters, one},
    images::check_tags,
    refuse_dry_run,
};

/// A key pair, as EC2 keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyPair {
    /// The id that EC2 gave it: `key-…`.
    pub id: String,
    /// The name, unique in the Region.
    pub name: String,
    /// `rsa` or `ed25519`.
    pub kind: String,
    /// As EC2 shows it. For what that is of, see the user guide's page "Verify the fingerprint of your key pair".
    pub fingerprint: String,
    /// The line for `authorized_keys`, without a comment.
    pub public_key: String,
    /// When it was made or imported.
    pub created: Timestamp,
    /// Its tags: at most 50.
    pub tags: Tags,
}

/// A key that a machine lets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizedKey {
    /// The name of its pair at the launch.
    pub name: String,
    /// The line for `authorized_keys`.
    pub line: String,
}

/// A key pair that is to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewKeyPair {
    /// The name.
    pub name: String,
    /// `rsa` or `ed25519`.
    pub kind: String,
    /// As EC2 shows it.
    pub fingerprint: String,
    /// The type and the key in base64, as `authorized_keys` has them.
    pub public_key: String,
    /// Tags by kind of resource: `key-pair`.
    pub tags: BTreeMap<String, Tags>,
}

impl World {
    /// Whether a key pair can have this name and these tags; asked before one is made.
    pub fn check_key_pair(&self, name: &str, tags: &BTreeMap<String, Tags>, dry_run: bool) -> Result<()> {
        check_tags(tags, &["key-pair"])?;
        if !(1..=255).contains(&name.len()) || !name.is_ascii() {
            let problem = "A name has 1 to 255 ASCII characters.";
            return Err(ApiError::value(name, "KeyName", problem));
        }
        if self.key_pairs.contains_key(name) {
            let message = format!("The keypair already exists: {name}");
            return Err(ApiError::new("InvalidKeyPair.Duplicate", message));
        }
        refuse_dry_run(dry_run)
    }

    /// Keeps a key pair's public half.
    pub fn add_key_pair(&mut self, now: Timestamp, new: &NewKeyPair) -> Result<KeyPair> {
        self.check_key_pair(&new.name, &new.tags, false)?;
        let pair = KeyPair {
            id: format!("key-{}", &self.next_id("key")[..17]),
            name: new.name.clone(),
            kind: new.kind.clone(),
            fingerprint: new.fingerprint.clone(),
            public_key: new.public_key.clone(),
            created: now,
            tags: new.tags.get("key-pair").cloned().unwrap_or_default(),
        };
        self.key_pairs.insert(pair.name.clone(), pair.clone());
        Ok(pair)
    }

    /// Key pairs by name, id and filter.
    pub fn describe_key_pairs(
        &self,
        names: &[String],
        ids: &[String],
        filters: &[Filter],
    ) -> Result<Vec<KeyPair>> {
        let filters = Filters::<KeyPair>::read(filters)?;
        if let Some(unknown) = names.iter().find(|name| !self.key_pairs.contains_key(*name)) {
            return Err(no_key_pair(unknown));
        }
        if let Some(unknown) = ids.iter().find(|id| !self.key_pairs.values().any(|one| one.id == **id)) {
            return Err(no_key_pair(unknown));
        }
        let everything = names.is_empty() && ids.is_empty();
        let named = |one: &&KeyPair| everything || names.contains(&one.name) || ids.contains(&one.id);
        let found = self.key_pairs.values().filter(named).filter(|one| filters.pass(self, one));
        Ok(found.cloned().collect())
    }

    /// Deletes a key pair by name or id; one that isn't there is deleted, as at EC2. Machines keep their keys.
    pub fn delete_key_pair(
        &mut self,
        name: Option<&str>,
        id: Option<&str>,
        dry_run: bool,
    ) -> Result<Option<String>> {
        if name.is_none() && id.is_none() {
            return Err(ApiError::missing("KeyName"));
        }
        refuse_dry_run(dry_run)?;
        let found = self.key_pairs.values().find(|one| name == Some(&one.name) || id == Some(&one.id));
        let found = found.map(|one| (one.name.clone(), one.id.clone()));
        Ok(found.map(|(name, id)| {
            self.key_pairs.remove(&name);
            id
        }))
    }

    /// The key that a launch with this key pair puts on its machines.
    pub(crate) fn authorized_key(&self, name: &str) -> Result<AuthorizedKey> {
        let pair = self.key_pairs.get(name).ok_or_else(|| no_key_pair(name))?;
        Ok(AuthorizedKey { name: name.to_owned(), line: format!("{} {name}", pair.public_key) })
    }
}

fn no_key_pair(name: &str) -> ApiError {
    ApiError::new("InvalidKeyPair.NotFound", format!("The key pair '{name}' does not exist"))
}

impl Filtered for KeyPair {
    const FIELDS: Fields<Self> = &[
        ("fingerprint", |it, _| one(&it.fingerprint)),
        ("key-name", |it, _| one(&it.name)),
        ("key-pair-id", |it, _| one(&it.id)),
    ];

    fn tags(&self) -> Option<&Tags> {
        Some(&self.tags)
    }
}
