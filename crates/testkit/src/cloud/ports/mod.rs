//! Core's ports, answered by the world, the table and the bucket in memory.

mod account;
mod balancers;
mod bucket;
mod ec2;
mod groups;
mod recycle_bin;
mod references;
mod retirement;
mod ssm;
mod table;
mod traffic;

use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{BakeId, Digest, StackId},
        retirement::Floors,
        signature::Signers,
    },
    ports::{Clock, Execution, Stack, Workflow},
};

use super::Cloud;
use ovenbird_sim::{ApiError, Page, Paging};

fn translate(operation: &str, subject: &str, error: &ApiError) -> Error {
    Error::Aws {
        operation: operation.to_owned(),
        subject: subject.to_owned(),
        code: error.code.to_owned(),
        message: error.message.clone(),
        request_id: String::new(),
    }
}

/// Everything that a list has, page by page, as the port has it.
fn pages<T, P>(
    mut page: impl FnMut(&Paging) -> ovenbird_sim::Result<Page<T>>,
    port: impl FnMut(T) -> P,
) -> ovenbird_sim::Result<Vec<P>> {
    let (mut paging, mut all, mut port) = (Paging::default(), Vec::new(), port);
    loop {
        let Page { items, next_token } = page(&paging)?;
        all.extend(items.into_iter().map(&mut port));
        if next_token.is_none() {
            return Ok(all);
        }
        paging.next_token = next_token;
    }
}

impl Clock for Cloud {
    fn now(&self) -> Timestamp {
        Self::now(self)
    }

    async fn sleep(&self, time: SignedDuration) {
        let walked = self.state.borrow().walked;
        if walked {
            self.stand_still(|state| state.nap = Some(time)).await;
        } else {
            self.pass(time);
        }
    }
}

impl Cloud {
    async fn start_once(&self, name: &BakeId, input: &serde_json::Value) -> Result<()> {
        self.call(&["states:StartExecution"], |state| {
            if !state.executions.contains_key(name) {
                state.executions.insert(name.clone(), input.clone());
                state.unclaimed.push(name.clone());
            }
            Ok(())
        })
        .await
    }

    async fn standing(&self, name: &BakeId) -> Result<Option<Execution>> {
        self.call(&["states:DescribeExecution"], |state| Ok(state.standings.get(name).cloned())).await
    }
}

impl Workflow for Cloud {
    async fn start_bake(&self, bake: &BakeId, input: &serde_json::Value) -> Result<()> {
        self.start_once(bake, input).await
    }

    async fn start_rollout(&self, name: &BakeId, input: &serde_json::Value) -> Result<()> {
        self.start_once(name, input).await
    }

    async fn rollout_execution(&self, name: &BakeId) -> Result<Option<Execution>> {
        self.standing(name).await
    }

    async fn bake_execution(&self, bake: &BakeId) -> Result<Option<Execution>> {
        self.standing(bake).await
    }
}

impl Stack for Cloud {
    fn stack(&self) -> &StackId {
        &self.stack
    }

    fn floors(&self) -> Result<Floors> {
        Ok(self.floors.get())
    }

    fn most_builders(&self) -> Result<u32> {
        Ok(self.most_builders.get())
    }

    fn runners(&self) -> Vec<Digest> {
        self.runners.borrow().clone()
    }

    fn signers(&self) -> &Signers {
        static NONE: LazyLock<Signers> = LazyLock::new(Signers::default);
        self.signers.get().unwrap_or(&NONE)
    }
}
