//! Who calls, through STS: for the operators' command.

use ovenbird_core::Result;

use crate::{Cloud, errors::translate};

impl Cloud {
    /// Who calls, without the account's number: `user/alice`, `assumed-role/Admin/alice`.
    pub async fn caller(&self) -> Result<String> {
        let answer = self.sts.get_caller_identity().send().await;
        let answer = answer.map_err(|error| translate("sts:GetCallerIdentity", "the caller", &error))?;
        Ok(answer.arn().and_then(|arn| arn.splitn(6, ':').nth(5)).unwrap_or("somebody").to_owned())
    }
}
