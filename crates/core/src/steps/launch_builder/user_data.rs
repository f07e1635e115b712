//! What cloud-init on a builder is given, and the plan that the runner there follows.

use super::{Hands, Material};
use crate::{
    domain::{
        bake::Bake,
        digest::canonical,
        error::Result,
        plan::{self, Plan},
        recipe::Recipe,
    },
    ports::{Bucket, Presigner, Role},
    store::{
        keys,
        recipes::{self, RecipePointer},
    },
};

impl<B, I, P, K: Bucket + Presigner, T, W> Hands<'_, B, I, P, K, T, W> {
    /// The user data, made once: presigned URLs differ from second to second, and EC2 refuses a client token
    /// that comes back with other parameters.
    pub(super) async fn user_data(&self, bake: &Bake, material: &Material, role: Role) -> Result<String> {
        let key = |file: &str| keys::of_bake(&bake.pipeline, &bake.bake, file);
        let (user_data_key, plan_key, verb) = match role {
            Role::Builder => (key("user-data"), key("plan.json"), plan::Verb::Provision),
            Role::Verifier => (key("boot-user-data"), key("boot-plan.json"), plan::Verb::Test),
        };
        if let Some(user_data) = self.bucket.text(&user_data_key).await? {
            return Ok(user_data);
        }
        let seconds = u64::try_from(bake.settings.deadlines.total()).unwrap_or(86_400).min(604_800);
        let plan = self.plan(bake, material, role, seconds).await?;
        let text =
            serde_json::to_string(&plan).unwrap_or_else(|_| unreachable!("a plan has string keys only"));
        self.bucket.put_text(&plan_key, &text).await?;
        // The runner of the bake's inputs, whatever was pushed since.
        let runner = &bake.inputs.runner;
        let runner_key = keys::runner(&bake.inputs.architecture, runner);
        let runner_url = self.bucket.get_url(&runner_key, None, seconds).await?;
        let plan_url = self.bucket.get_url(&plan_key, None, seconds).await?;
        let user_data = plan::user_data(&runner_url, runner, &plan_url, verb)?;
        self.bucket.put_text(&user_data_key, &user_data).await?;
        Ok(user_data)
    }

    async fn plan(&self, bake: &Bake, material: &Material, role: Role, seconds: u64) -> Result<Plan> {
        let key = |file: &str| keys::of_bake(&bake.pipeline, &bake.bake, file);
        let Material { pointer, recipe, image: _ } = material;
        check(bake, recipe, pointer)?;
        let bundle = match (pointer.bundle.clone(), pointer.files.clone()) {
            (Some(sha256), Some(files)) => {
                let key = keys::bundle(&bake.pipeline, &pointer.version);
                let url = self.bucket.get_url(&key, None, seconds).await?;
                Some(plan::Bundle { archive: plan::Download { url, sha256 }, files })
            }
            (None, _) | (_, None) => None,
        };
        let artifact = match &bake.artifact {
            Some(artifact) => Some(plan::Download {
                url: self.bucket.get_url(artifact.key.as_str(), artifact.version.as_deref(), seconds).await?,
                sha256: artifact.sha256.clone(),
            }),
            None => None,
        };
        let (test_report, junit) = match role {
            Role::Builder => (keys::TEST_REPORT, "junit.xml"),
            Role::Verifier => (keys::BOOT_REPORT, "boot-junit.xml"),
        };
        let reports = plan::Reports {
            provision: self.bucket.put_url(&key(keys::PROVISION_REPORT), seconds).await?,
            test: self.bucket.put_url(&key(test_report), seconds).await?,
            junit: self.bucket.put_url(&key(junit), seconds).await?,
            seal: match role {
                Role::Builder => Some(self.bucket.put_url(&key(keys::SEAL_REPORT), seconds).await?),
                Role::Verifier => None,
            },
        };
        let done = match role {
            Role::Builder => Some(self.bucket.get_url(&key(keys::PROVISION_REPORT), None, seconds).await?),
            Role::Verifier => None,
        };
        let endpoint = self.bucket.endpoint();
        Ok(Plan { done, endpoint, ..Plan::new(bake.bake.clone(), recipe, artifact, bundle, reports) })
    }
}

/// What the builder is told to do must be what the bake's digest was made of. A later call reads the bucket again, and
/// whoever may push may have written there meanwhile.
fn check(bake: &Bake, recipe: &Recipe, pointer: &RecipePointer) -> Result<()> {
    let inputs = &bake.inputs;
    let bundled = pointer.bundle.is_some() == pointer.files.is_some();
    let other = [
        (canonical(&recipe.configuration_inputs()) != inputs.configuration, "what its steps do"),
        (canonical(&recipe.test_inputs()) != inputs.tests, "what its tests ask for"),
        (!bundled || pointer.files != inputs.files, "what it says of its files"),
    ];
    match other.into_iter().find(|(differs, _)| *differs) {
        Some((_, what)) => Err(recipes::changed(&bake.pipeline, &bake.recipe, what)),
        None => Ok(()),
    }
}
