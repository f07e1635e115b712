//! The mailbox of a bake's instance: see [`crate::domain::mailbox`].

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{keys, text::decode};
use crate::{
    domain::{
        bake::BakeSpec,
        error::Result,
        mailbox::{Heartbeat, Order, Orders, RENEW_AFTER, SIGNED_FOR, Urls},
    },
    ports::{Bucket, Presigner, Role},
};

/// The mailbox of one instance of a bake.
#[derive(Debug)]
pub struct Mailbox<'a, B> {
    bucket: &'a B,
    spec: &'a BakeSpec,
    role: Role,
}

impl<'a, B> Mailbox<'a, B> {
    /// The mailbox of a bake's instance in this role.
    pub fn new(bucket: &'a B, spec: &'a BakeSpec, role: Role) -> Self {
        Self { bucket, spec, role }
    }

    /// Where one of its objects lies.
    pub fn key(&self, file: &str) -> String {
        keys::of_instance(&self.spec.pipeline, &self.spec.id, self.role, file)
    }
}

impl<B: Bucket> Mailbox<'_, B> {
    /// Orders. Ordered twice is ordered once.
    pub async fn order(&self, order: Order) -> Result<()> {
        self.bucket.put_text(&self.key(keys::ORDERS), &text(&Orders::from(order))).await
    }

    /// The report that an order ended with; none before it did.
    pub async fn report<D: DeserializeOwned>(&self, file: &str) -> Result<Option<D>> {
        let key = self.key(file);
        match self.bucket.text(&key).await? {
            Some(text) => decode(&key, &text).map(Some),
            None => Ok(None),
        }
    }

    /// The last heartbeat, and when the bucket got it; none when the instance was not heard of yet.
    pub async fn heartbeat(&self) -> Result<Option<(Heartbeat, Timestamp)>> {
        let key = self.key(keys::PROGRESS);
        match self.bucket.written_text(&key).await? {
            Some((text, written)) => Ok(Some((decode(&key, &text)?, written))),
            None => Ok(None),
        }
    }
}

impl<B: Bucket + Presigner> Mailbox<'_, B> {
    /// Signs every URL that the instance needs, and leaves them where it looks for them.
    pub async fn sign(&self, now: Timestamp) -> Result<()> {
        let get = async |file: &str| self.bucket.get_url(&self.key(file), None, SIGNED_FOR).await;
        let put = async |file: &str| self.bucket.put_url(&self.key(file), SIGNED_FOR).await;
        let urls = Urls {
            signed: now,
            urls: get(keys::URLS).await?,
            plan: get(keys::PLAN).await?,
            orders: get(keys::ORDERS).await?,
            progress: put(keys::PROGRESS).await?,
            provision: put(keys::PROVISION_REPORT).await?,
            log: Some(put(keys::LOG).await?),
            test: put(keys::TEST_REPORT).await?,
            junit: put(keys::JUNIT).await?,
            seal: put(keys::SEAL_REPORT).await?,
        };
        self.bucket.put_text(&self.key(keys::URLS), &text(&urls)).await
    }

    /// Signs them again before they end: a presigned URL dies with the credentials that signed it. Gives when they were
    /// signed.
    pub async fn renew(&self, signed: Option<Timestamp>, now: Timestamp) -> Result<Timestamp> {
        match signed {
            Some(signed) if now.duration_since(signed) < RENEW_AFTER => Ok(signed),
            Some(_) | None => self.sign(now).await.map(|()| now),
        }
    }
}

fn text(document: &impl serde::Serialize) -> String {
    serde_json::to_string(document).unwrap_or_else(|_| unreachable!("it has string keys only"))
}
