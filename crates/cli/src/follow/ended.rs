//! How following ended: what is shown of it, the exit status, and the bakes that a promotion started.

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use ovenbird_aws::workflow::Execution;
use ovenbird_core::{
    Result,
    domain::{
        bake::{Bake, Status},
        id::BakeId,
        plan::FOLDER,
    },
    store::{Ledger, Versioned},
    views::{
        bake::BakeView,
        error::{ErrorView, Failed},
    },
};

use super::{FollowArgs, Followed, follow, goes_on};
use crate::{
    FAILED, bake,
    pace::Pace,
    print, render,
    reports::{self, Reports},
    target::Deployment,
};

/// The exit status when a bake that was to be promoted was not: something newer was promoted first, or the channel is held.
const NOT_PROMOTED: u8 = 3;

/// The exit status when it isn't known how the bake ends: it was lost sight of, or the time to follow it was over.
const UNKNOWN: u8 = 4;

/// How often the execution of a bake that was promoted is looked at: its last state starts the bakes of others.
const LOOK: Duration = Duration::from_secs(2);

/// That state takes no longer, with all its repetitions.
const STARTING: Duration = Duration::from_secs(600);

/// How the end of following is told.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    /// How it was followed.
    pub args: &'a FollowArgs,
    /// Whether it is printed as JSON.
    pub json: bool,
    /// Whether it was baked in the local cloud.
    pub local: bool,
}

impl Ending<'_> {
    /// Shows how following ended, and gives the exit status. Failed and cancelled are failures, and so is a promotion that
    /// was asked for and did not happen. With its children, the exit status is that of the worst of them.
    pub async fn ended(self, deployment: &Deployment, id: BakeId, followed: Followed) -> Result<ExitCode> {
        if !self.args.children {
            let (code, bake) = self.one(deployment, &id, followed).await?;
            if let Some(bake) = &bake
                && self.json
            {
                print(true, &BakeView::from(bake), "");
            }
            return Ok(ExitCode::from(code));
        }
        let (mut worst, mut ended) = (0, Vec::new());
        let mut next = VecDeque::from([(id, followed)]);
        while let Some((id, followed)) = next.pop_front() {
            let (code, bake) = self.one(deployment, &id, followed).await?;
            worst = worse(worst, code);
            let Some(bake) = bake else { continue };
            let bake = with_children(deployment, bake).await?;
            if bake.progress.rollout.is_some() {
                crate::tell!("the bakes of those that stand on it start when its rollout has ended");
            }
            for child in &bake.progress.children {
                let Some(id) = &child.bake else {
                    crate::tell!("pipeline {} stands on it, and has no artifact to bake yet", child.pipeline);
                    continue;
                };
                let followed = follow(deployment, &child.pipeline, id, self.args, self.json).await?;
                next.push_back((id.clone(), followed));
            }
            ended.push(bake);
        }
        if self.json {
            print(true, &ended.iter().map(BakeView::from).collect::<Vec<_>>(), "");
        }
        Ok(ExitCode::from(worst))
    }

    /// Shows how one ended; gives the exit status, and the bake if that is known.
    async fn one(
        self,
        deployment: &Deployment,
        id: &BakeId,
        followed: Followed,
    ) -> Result<(u8, Option<Bake>)> {
        let bake = match followed {
            Followed::Ended(bake) => bake,
            Followed::Lost(error) => {
                if self.json {
                    print(true, &Failed::from(&error), "");
                }
                crate::tell!("{}", render::error(&error));
                crate::tell!("\nIt isn't known how the bake ends; {}", goes_on(id));
                return Ok((UNKNOWN, None));
            }
            Followed::TimedOut => {
                if self.json {
                    let (name, message) =
                        ("TimedOut".to_owned(), format!("the time to follow bake {id} is over"));
                    let error = ErrorView { name, message, causes: Vec::new(), hint: goes_on(id) };
                    print(true, &Failed { error }, "");
                }
                crate::tell!("the time to follow it is over; {}", goes_on(id));
                return Ok((UNKNOWN, None));
            }
        };
        // They only tell more: the bake has ended, and how is known.
        let reports = match Reports::read(deployment, &bake).await {
            Ok(reports) => reports,
            Err(error) => {
                crate::tell!("{}", render::error(&error));
                Reports::default()
            }
        };
        if let Some(path) = &self.args.junit {
            reports::write_junit(path, &bake, &reports)?;
        }
        if !self.json {
            print(false, &(), &bake::report(&bake, &reports));
            if let (true, Status::Failed, Some(builder)) =
                (self.local, bake.progress.status, &bake.progress.builder)
                && bake.spec.options.keep_builder
            {
                crate::tell!(
                    "on the local cloud: `ovenbird local shell {builder}`; its steps' logs are in {FOLDER}/logs/"
                );
            }
        }
        let code = exit_status(bake.progress.status, bake.progress.not_promoted.is_some());
        Ok((code, Some(*bake)))
    }
}

/// The exit status of a bake that ended so. `closed` says that it was to be promoted and the channel takes nothing, because
/// somebody holds it or it rejected the image: a script that deploys must not take that for a deployment.
fn exit_status(status: Status, closed: bool) -> u8 {
    match status {
        Status::Failed | Status::Cancelled => FAILED,
        Status::Superseded => NOT_PROMOTED,
        Status::Validated if closed => NOT_PROMOTED,
        Status::Running | Status::Promoted | Status::Validated => 0,
    }
}

/// The worse of two exit statuses: a failure is certain, what isn't known may be one, and what was superseded is well.
fn worse(a: u8, b: u8) -> u8 {
    let rank = |code: u8| match code {
        0 => 0,
        NOT_PROMOTED => 1,
        UNKNOWN => 2,
        _ => 3,
    };
    if rank(b) > rank(a) { b } else { a }
}

/// A bake as it is recorded once it has started the bakes of others: its execution's last state does that, and the bake
/// has ended before.
async fn with_children(deployment: &Deployment, bake: Bake) -> Result<Bake> {
    let (pipeline, id) = (&bake.spec.pipeline, &bake.spec.id);
    if bake.progress.status != Status::Promoted {
        return Ok(bake);
    }
    let pace = Pace::up_to(LOOK);
    while let Some(Execution::Running) = deployment.cloud.execution(&deployment.bake_machine, id).await?
        && pace.waited() < STARTING
    {
        pace.pause().await;
    }
    let recorded = Ledger(&deployment.cloud).bake(pipeline, id).await?.map(Versioned::into_inner);
    Ok(recorded.unwrap_or(bake))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_of_a_family_is_its_exit_status() {
        assert_eq!([0, NOT_PROMOTED, 0].into_iter().fold(0, worse), NOT_PROMOTED);
        assert_eq!([NOT_PROMOTED, UNKNOWN, 0].into_iter().fold(0, worse), UNKNOWN);
        assert_eq!([FAILED, UNKNOWN].into_iter().fold(0, worse), FAILED);
        assert_eq!([0, 0].into_iter().fold(0, worse), 0);
    }

    #[test]
    fn what_was_to_be_promoted_and_was_not_is_no_success() {
        assert_eq!(exit_status(Status::Validated, true), 3, "the channel is held");
        assert_eq!(exit_status(Status::Superseded, true), 3);
        assert_eq!(exit_status(Status::Superseded, false), 3);
        // As asked for: `--no-promote`; or a rollout brings it.
        assert_eq!(exit_status(Status::Validated, false), 0);
        assert_eq!(exit_status(Status::Promoted, false), 0);
        assert_eq!(exit_status(Status::Failed, false), 1);
        assert_eq!(exit_status(Status::Cancelled, false), 1);
    }
}
