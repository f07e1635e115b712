//! What an operator does about an error: the command, setting or permission that fixes it.

use super::Error;
use crate::domain::{report, stage::Stage};

impl Error {
    /// What the operator does about it.
    pub fn hint(&self) -> String {
        match self {
            Self::BadInput { fix, .. } => fix.clone(),
            Self::NoRecipe { pipeline } => {
                format!("Push one: `ovenbird recipe push recipe.toml` with `pipeline = \"{pipeline}\"`")
            }
            Self::BadRecipe { .. } => "Fix what `ovenbird recipe check` shows, then `ovenbird recipe push`".into(),
            Self::NoArtifact { pipeline, .. } => {
                format!("Upload it to `artifacts/{pipeline}/` of the bucket, or run `ovenbird bake {pipeline} --artifact FILE`")
            }
            Self::NoBase { .. } => "Name an image that exists in this Region under `[base]` of the recipe. If it names a channel, check its spelling, or bake that pipeline first".into(),
            Self::NoCapacity { shortage, .. } if shortage.is_quota() => {
                "Raise the account's EC2 quota in Service Quotas, or ask for smaller `instance-types` under `[builder]`".into()
            }
            Self::NoCapacity { .. } => {
                "Add more `instance-types`, or `subnets` in other zones, under `[builder]` of the recipe".into()
            }
            Self::StepFailed { step, .. } if step == report::FETCH => {
                "Fix the artifact, or `[artifact]` of the recipe (`unpack-to` takes archives alone, `to` any file); or push the recipe's files again: `ovenbird recipe push`".into()
            }
            Self::StepFailed { .. } => {
                "Fix the step and push the recipe; `ovenbird bake PIPELINE --keep-builder` keeps the machine to look at".into()
            }
            Self::TestsFailed { .. } => "Fix the application or the test; the channel still points at the image before".into(),
            Self::SealFailed { .. } => {
                "Find what holds the file, or name it under `[seal]` of the recipe; `ovenbird bake PIPELINE --keep-builder` keeps the machine to look at".into()
            }
            Self::RunnerFailed { .. } => {
                "Push the runner that belongs to this stack: `make push-runner`; the console has more: `aws ec2 get-console-output`".into()
            }
            Self::BuilderSilent { heard: false, .. } => {
                "The base needs cloud-init, `curl` or `wget`, and a way out to S3: a gateway endpoint or a NAT gateway in the subnet's route table".into()
            }
            Self::BuilderSilent { heard: true, .. } => {
                "Its runner died, or the machine hangs or lost its network; `ovenbird bake PIPELINE --keep-builder` keeps the machine to look at".into()
            }
            Self::BuilderLost { loss, .. } => loss.advice().into(),
            Self::DeadlinePassed { stage, .. } => match stage {
                Stage::Builder | Stage::Boot => {
                    "Make the steps faster, or raise `builder` under `[deadlines]` of the recipe".into()
                }
                Stage::Validation => "Raise `validation` under `[deadlines]` of the recipe".into(),
                Stage::Seal | Stage::Image => "Raise `imaging` under `[deadlines]` of the recipe".into(),
                Stage::Promotion => "Raise `promotion` under `[deadlines]` of the recipe".into(),
                Stage::AwaitTurn => "Look what has builders with `ovenbird list --status running`. Raise `concurrency` \
                    under `[builder]` of the recipe, or the stack's parameter `MostBuilders`"
                    .into(),
                Stage::Launch | Stage::AwaitTwin | Stage::CleanUp => "Start the bake again".into(),
            },
            Self::ImageFailed { .. } => "Start the bake again; EC2 gave no image for this one".into(),
            Self::NotPromotable { .. } => "Bake it anew: `ovenbird bake PIPELINE --force`".into(),
            Self::ParameterTaken { .. } => {
                "Give `parameter` under `[promote]` of the recipe a name of its own, and push the recipe".into()
            }
            Self::ParameterBusy { .. } => {
                "SSM looks at the image of a write for up to five minutes: try again after that".into()
            }
            Self::Unseen { bake, .. } => format!("Run `ovenbird clean {bake}` in three minutes, or wait for the scheduled prune"),
            Self::NotFollowed { .. } => {
                "`ovenbird status` has the command that writes the parameter; CloudTrail has SSM's reason. Raise `promotion` under `[deadlines]` of the recipe if it comes later by itself".into()
            }
            Self::BakeEnded { .. } => "Nothing to do: start another bake if you still need one".into(),
            Self::LeaseLost { .. } => "Another bake may have taken over; if none is running, start the bake again".into(),
            Self::LeftBehind { bake, .. } => format!("Run `ovenbird clean {bake}`, or wait for the scheduled prune"),
            Self::PruneIncomplete { .. } => "`ovenbird prune --dry-run` shows everything. Do what it says about each; the next run tries the rest again".into(),
            Self::TryAgain { .. } | Self::Throttled { .. } => {
                "Try again in a minute; what a state machine started, it tries again by itself".into()
            }
            Self::Denied { operation, .. } if operation == "ec2:RunInstances" => {
                "The role allows the stack's own security group and instance profile. If the recipe asks for others, or for a KMS key, add them to `BuilderSecurityGroups`, `BuilderInstanceProfiles`, `BuilderRoles` or `BuilderKmsKeys` of `infra/template.yaml`, and deploy".into()
            }
            Self::Denied { operation, .. } => {
                format!("Allow `{operation}`: for a function, in its role in `infra/template.yaml`; for a person, in their own permissions")
            }
            Self::Aws { .. } => "Look the code up in AWS's documentation of the operation".into(),
            Self::Corrupt { .. } => "Use the newest `ovenbird` and deploy its stack: another version wrote it. If it stays so, this is a bug".into(),
        }
    }
}
