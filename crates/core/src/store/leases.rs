//! Leases: one bake at a time makes the image of a digest, and its writes carry a fencing number.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::ledger::{Ledger, encode, expect, read};
use crate::{
    domain::{
        bake::BakeSpec,
        error::{Error, Result},
        id::{BakeId, Digest},
    },
    ports::{Expect, Index, Key, Table, Write},
};

/// Who bakes a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The bake; none when the lease is free.
    pub holder: Option<BakeId>,
    /// After this moment it may be taken over.
    pub expires: Timestamp,
    /// Grows with every holder: the writes of an older one are refused.
    pub fence: u64,
}

/// Who may bake a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This bake, under this fencing number.
    Granted(u64),
    /// Another one.
    Held(BakeId),
}

impl<T: Table> Ledger<'_, T> {
    /// Asks for the right to bake the bake's digest. A holder whose execution is over, as `dead` says, holds it no more.
    pub async fn claim(
        &self,
        bake: &BakeSpec,
        now: Timestamp,
        expires: Timestamp,
        dead: Option<&BakeId>,
    ) -> Result<Claim> {
        let key = lease_key(&bake.digest);
        let row = self.0.get(&key).await?;
        let lease = read::<Lease>(row.clone())?.map(|(_, lease)| lease);
        if let Some(lease) = &lease
            && let Some(holder) = &lease.holder
            && *holder != bake.id
            && Some(holder) != dead
            && lease.expires > now
        {
            return Ok(Claim::Held(holder.clone()));
        }
        let fence = match &lease {
            Some(lease) if lease.holder.as_ref() == Some(&bake.id) => lease.fence,
            Some(lease) => lease.fence + 1,
            None => 1,
        };
        let lease = Lease { holder: Some(bake.id.clone()), expires, fence };
        let doc = encode(&lease);
        if row.as_ref().is_none_or(|row| row.doc != doc) {
            let put = Write::Put { key, doc, expect: expect(row.as_ref()), index: Index::default() };
            self.0.commit(vec![put]).await?;
        }
        Ok(Claim::Granted(fence))
    }

    /// Who holds the digest's lease at this moment.
    pub async fn holder(&self, digest: &Digest, now: Timestamp) -> Result<Option<BakeId>> {
        let lease = read::<Lease>(self.0.get(&lease_key(digest)).await?)?;
        Ok(lease.and_then(|(_, lease)| lease.holder.filter(|_| lease.expires > now)))
    }

    /// Gives the lease back. Its fencing number stays, so that it never goes down.
    pub async fn release(&self, digest: &Digest, bake: &BakeId) -> Result<()> {
        match self.released(digest, bake).await? {
            Some(write) => self.0.commit(vec![write]).await,
            None => Ok(()),
        }
    }

    /// The write that gives the bake's lease back, if it holds one.
    pub(super) async fn released(&self, digest: &Digest, bake: &BakeId) -> Result<Option<Write>> {
        let key = lease_key(digest);
        let Some((row, lease)) = read::<Lease>(self.0.get(&key).await?)? else { return Ok(None) };
        if lease.holder.as_ref() != Some(bake) {
            return Ok(None);
        }
        let doc = encode(&Lease { holder: None, ..lease });
        let expect = Expect::Version(row.version);
        Ok(Some(Write::Put { key, doc, expect, index: Index::default() }))
    }

    /// The check that the bake holds the lease, for the write that depends on it.
    pub(super) async fn held(&self, digest: &Digest, bake: &BakeId, fence: u64) -> Result<Write> {
        let key = lease_key(digest);
        let lost = || Error::LeaseLost { bake: bake.clone() };
        let (row, lease) = read::<Lease>(self.0.get(&key).await?)?.ok_or_else(lost)?;
        if lease.holder.as_ref() != Some(bake) || lease.fence != fence {
            return Err(lost());
        }
        Ok(Write::Check { key, expect: Expect::Version(row.version) })
    }
}

pub(super) fn lease_key(digest: &Digest) -> Key {
    Key { pk: format!("DIGEST#{digest}"), sk: "LEASE".to_owned() }
}

/// A lease lasts this long beyond the deadline of the stage it covers: time for the step to be retried.
pub fn lease_end(now: Timestamp, stage_seconds: i64) -> Timestamp {
    now + SignedDuration::from_secs(stage_seconds + 600)
}
