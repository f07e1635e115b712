//! What cloud-init on a builder is given, and the plan that the runner there follows.

use super::Material;
use crate::{
    domain::{
        bake::BakeSpec,
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

/// The user data, made once: presigned URLs differ from second to second, and EC2 refuses a client token
/// that comes back with other parameters.
pub(super) async fn user_data(
    bake: &BakeSpec,
    material: &Material,
    role: Role,
    cloud: &(impl Bucket + Presigner),
) -> Result<String> {
    let key = |file: &str| keys::of_bake(&bake.pipeline, &bake.id, file);
    let (user_data_key, plan_key, verb) = match role {
        Role::Builder => (key("user-data"), key("plan.json"), plan::Verb::Provision),
        Role::Verifier => (key("boot-user-data"), key("boot-plan.json"), plan::Verb::Test),
    };
    if let Some(user_data) = cloud.text(&user_data_key).await? {
        return Ok(user_data);
    }
    let seconds = u64::try_from(bake.settings.deadlines.total()).unwrap_or(86_400).min(604_800);
    let plan = self::plan(bake, material, role, cloud, seconds).await?;
    let text = serde_json::to_string(&plan).unwrap_or_else(|_| unreachable!("a plan has string keys only"));
    cloud.put_text(&plan_key, &text).await?;
    // The runner of the bake's inputs, whatever was pushed since.
    let runner = &bake.inputs.runner;
    let runner_key = keys::runner(&bake.inputs.architecture, runner);
    let runner_url = cloud.get_url(&runner_key, None, seconds).await?;
    let plan_url = cloud.get_url(&plan_key, None, seconds).await?;
    let user_data = plan::user_data(&runner_url, runner, &plan_url, verb)?;
    cloud.put_text(&user_data_key, &user_data).await?;
    Ok(user_data)
}

async fn plan(
    bake: &BakeSpec,
    material: &Material,
    role: Role,
    cloud: &(impl Bucket + Presigner),
    seconds: u64,
) -> Result<Plan> {
    let key = |file: &str| keys::of_bake(&bake.pipeline, &bake.id, file);
    let Material { pointer, recipe, image: _ } = material;
    check(bake, recipe, pointer)?;
    let bundle = match (pointer.bundle.clone(), pointer.files.clone()) {
        (Some(sha256), Some(files)) => {
            let key = keys::bundle(&bake.pipeline, &pointer.version);
            let url = cloud.get_url(&key, None, seconds).await?;
            Some(plan::Bundle { archive: plan::Download { url, sha256 }, files })
        }
        (None, _) | (_, None) => None,
    };
    let artifact = match &bake.artifact {
        Some(artifact) => Some(plan::Download {
            url: cloud.get_url(artifact.key.as_str(), artifact.version.as_deref(), seconds).await?,
            sha256: artifact.sha256.clone(),
        }),
        None => None,
    };
    let (test_report, junit) = match role {
        Role::Builder => (keys::TEST_REPORT, "junit.xml"),
        Role::Verifier => (keys::BOOT_REPORT, "boot-junit.xml"),
    };
    let reports = plan::Reports {
        provision: cloud.put_url(&key(keys::PROVISION_REPORT), seconds).await?,
        test: cloud.put_url(&key(test_report), seconds).await?,
        junit: cloud.put_url(&key(junit), seconds).await?,
        seal: match role {
            Role::Builder => Some(cloud.put_url(&key(keys::SEAL_REPORT), seconds).await?),
            Role::Verifier => None,
        },
    };
    let done = match role {
        Role::Builder => Some(cloud.get_url(&key(keys::PROVISION_REPORT), None, seconds).await?),
        Role::Verifier => None,
    };
    let endpoint = cloud.endpoint();
    Ok(Plan { done, endpoint, ..Plan::new(bake.id.clone(), recipe, artifact, bundle, reports) })
}

/// What the builder is told to do must be what the bake's digest was made of. A later call reads the bucket again, and
/// whoever may push may have written there meanwhile.
fn check(bake: &BakeSpec, recipe: &Recipe, pointer: &RecipePointer) -> Result<()> {
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
