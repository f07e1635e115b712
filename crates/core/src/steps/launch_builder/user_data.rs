//! What cloud-init on a builder is given, and the plan that the runner there follows.

use futures::try_join;
use jiff::Timestamp;

use super::Material;
use crate::{
    domain::{
        bake::{Bake, BakeSpec},
        digest::{self, canonical},
        error::Result,
        mailbox::{Order, SIGNED_FOR},
        plan::{self, Plan},
        recipe::Recipe,
    },
    ports::{Bucket, Presigner, Role},
    store::{
        Mailbox, keys,
        recipes::{self, RecipePointer},
    },
};

/// The user data, made once: presigned URLs differ from second to second, and EC2 refuses a client token
/// that comes back with other parameters. At the first try there is none to look for.
pub(super) async fn user_data(
    bake: &Bake,
    material: &Material,
    (role, is_first): (Role, bool),
    cloud: &(impl Bucket + Presigner),
    now: Timestamp,
) -> Result<String> {
    let mailbox = Mailbox::new(cloud, &bake.spec, role);
    if !is_first && let Some(user_data) = cloud.text(&mailbox.key(keys::USER_DATA)).await? {
        return Ok(user_data);
    }
    let key = mailbox.key(keys::PLAN);
    // One that an earlier try left is followed: user data that names it may be out already.
    let earlier = if is_first { None } else { cloud.text(&key).await? };
    let is_new = earlier.is_none();
    let text = match earlier {
        Some(text) => text,
        None => serde_json::to_string(&plan(bake, material, cloud).await?)
            .unwrap_or_else(|_| unreachable!("a plan has string keys only")),
    };
    let order = match role {
        Role::Builder => Order::Provision,
        Role::Verifier => Order::Test,
    };
    let put_plan = async { if is_new { cloud.put_text(&key, &text).await } else { Ok(()) } };
    // Side by side. The user data comes after all of them: where it lies, an instance finds what it names.
    try_join!(put_plan, mailbox.order(order), mailbox.sign(now))?;
    // The runner of the bake's inputs, whatever was pushed since.
    let runner = &bake.spec.inputs.runner;
    let runner_key = keys::runner(&bake.spec.inputs.architecture, runner);
    let runner_url = cloud.get_url(&runner_key, None, SIGNED_FOR).await?;
    let urls = cloud.get_url(&mailbox.key(keys::URLS), None, SIGNED_FOR).await?;
    let hash = digest::sha256(text.as_bytes());
    let user_data = plan::user_data(&runner_url, runner, &urls, &hash, cloud.endpoint().as_deref())?;
    cloud.put_text(&mailbox.key(keys::USER_DATA), &user_data).await?;
    Ok(user_data)
}

async fn plan(bake: &Bake, material: &Material, cloud: &(impl Bucket + Presigner)) -> Result<Plan> {
    let Material { pointer, recipe, image: _ } = material;
    let spec = &bake.spec;
    check(spec, recipe, pointer)?;
    let bundle = match (pointer.bundle.clone(), pointer.files.clone()) {
        (Some(sha256), Some(files)) => {
            let key = keys::bundle(&spec.pipeline, &pointer.version);
            let url = cloud.get_url(&key, None, SIGNED_FOR).await?;
            Some(plan::Bundle { archive: plan::Download { url, sha256 }, files })
        }
        (None, _) | (_, None) => None,
    };
    let artifact = match &spec.artifact {
        Some(artifact) => Some(plan::Download {
            url: cloud.get_url(artifact.key.as_str(), artifact.version.as_deref(), SIGNED_FOR).await?,
            sha256: artifact.sha256.clone(),
        }),
        None => None,
    };
    let endpoint = cloud.endpoint();
    Ok(Plan { endpoint, ..Plan::new(spec.id.clone(), recipe, artifact, bundle, bake.expires()) })
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
