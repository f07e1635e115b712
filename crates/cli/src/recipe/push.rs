//! Makes a recipe current: refuses what must not be, uploads it with its files, and waits until it is registered.

use std::path::Path;

use jiff::Timestamp;
use ovenbird_core::{
    Error, Result,
    domain::{
        id::{Digest, PipelineName},
        recipe::Recipe,
    },
    ports::{Bucket as _, Table},
    steps::register,
    store::{Ledger, Push, keys, recipes::RecipePointer},
};

use super::{bundle::Bundle, history, sign};
use crate::{
    bake::{LOOK, PATIENCE},
    pace::Pace,
    target::{Deployment, Target},
};

/// What a push did.
#[derive(Debug)]
pub struct Done {
    /// Whether the pipeline's current recipe is another one since.
    pub moved: bool,
    /// What a person should know beside that.
    pub notes: Vec<String>,
}

/// Pushes.
pub async fn push(
    bundle: &Bundle,
    path: &Path,
    message: Option<String>,
    sign: Option<&Path>,
    target: &Target,
) -> Result<Done> {
    let deployment = target.deployment().await?;
    prepare(&deployment, &bundle.recipe).await?;
    upload(&deployment, bundle, sign).await?;
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let git = history::commit(folder, &bundle.folder);
    let moved = make_current(&deployment, &bundle.recipe, &bundle.pointer(), message, git).await?;
    let missing = register::missing_base(&bundle.recipe, &deployment.cloud).await?;
    let notes = missing
        .map(|base| format!("its base, channel {base}, has no image yet: bakes fail until it has one"));
    Ok(Done { moved, notes: notes.into_iter().collect() })
}

/// Uploads a recipe that is not to be current, for one bake; gives its version.
pub async fn upload_for_a_bake(
    deployment: &Deployment,
    pipeline: &PipelineName,
    path: &Path,
    sign: Option<&Path>,
) -> Result<Digest> {
    let bundle = Bundle::read(path)?;
    if bundle.recipe.pipeline != *pipeline {
        return Err(Error::bad_input(
            format!("recipe `{}`", path.display()),
            format!("is of pipeline `{}`, and `{pipeline}` is to be baked", bundle.recipe.pipeline),
            format!("Bake that one: `ovenbird bake {} --recipe {}`", bundle.recipe.pipeline, path.display()),
        ));
    }
    if let Some(prefix) = &deployment.secrets {
        check_secrets(&bundle.recipe, prefix)?;
    }
    upload(deployment, &bundle, sign).await?;
    Ok(bundle.pointer().version)
}

/// Refuses a recipe that must not become current.
pub async fn prepare(deployment: &Deployment, recipe: &Recipe) -> Result<()> {
    let Deployment { cloud, secrets, .. } = deployment;
    let pipeline = &recipe.pipeline;
    if let Some(prefix) = secrets {
        check_secrets(recipe, prefix)?;
    }
    let ledger = Ledger(cloud);
    if let Some(name) = &recipe.promote.parameter {
        ledger.check_parameter(name, pipeline).await?;
    }
    if let Some(limited) = ledger.builder_limits(pipeline).await? {
        // What hangs on the base, a bake says: it may be another one by then.
        limited.limits.check(recipe, None)?;
    }
    // A circle is refused before anything is pushed.
    register::is_registered(recipe, cloud).await.map(drop)
}

/// Uploads a version with its files; the current one stays what it is.
async fn upload(Deployment { cloud, .. }: &Deployment, bundle: &Bundle, key: Option<&Path>) -> Result<()> {
    let pointer = bundle.pointer();
    let (pipeline, version) = (&bundle.recipe.pipeline, &pointer.version);
    if let Some(signature) = sign::signature(pipeline, version, key, cloud).await? {
        cloud.put_text(&keys::signature(pipeline, version), &signature).await?;
    }
    if let Some(archive) = &bundle.archive {
        cloud.put(&keys::bundle(pipeline, version), archive.clone().into()).await?;
    }
    if !bundle.files.is_empty() {
        let files = serde_json::to_string(&bundle.files)
            .unwrap_or_else(|_| unreachable!("the list of files has string keys only"));
        cloud.put_text(&keys::files(pipeline, version), &files).await?;
    }
    cloud.put_text(&keys::recipe(pipeline, version), &bundle.text).await?;
    cloud.put_text(&keys::recipe_version_pointer(pipeline, version), &written(&pointer)).await
}

fn written(pointer: &RecipePointer) -> String {
    serde_json::to_string(pointer).unwrap_or_else(|_| unreachable!("a pointer has string keys only"))
}

/// Makes a version that is uploaded whole the current one, and notes who did; whether it wasn't before.
pub async fn make_current(
    Deployment { cloud, .. }: &Deployment,
    recipe: &Recipe,
    pointer: &RecipePointer,
    message: Option<String>,
    git: Option<String>,
) -> Result<bool> {
    let pipeline = &recipe.pipeline;
    let (current, text) = (keys::recipe_pointer(pipeline), written(pointer));
    let moved = cloud.text(&current).await?.is_none_or(|before| before != text);
    // Last: until here the pipeline's current recipe is the one before, whole.
    cloud.put_text(&current, &text).await?;
    if moved {
        let (at, by) = (Timestamp::now(), cloud.caller().await?);
        let (pipeline, version) = (pipeline.clone(), pointer.version.clone());
        Ledger(cloud).note_push(&Push { pipeline, version, at, by, message, git }).await?;
    }
    registered(recipe, cloud).await?;
    Ok(moved)
}

/// Waits until launch-builder has registered a recipe that is current. It was told so by S3, through EventBridge.
async fn registered(recipe: &Recipe, cloud: &impl Table) -> Result<()> {
    let pace = Pace::up_to(LOOK);
    while !register::is_registered(recipe, cloud).await? {
        if pace.waited() > PATIENCE {
            let pipeline = &recipe.pipeline;
            return Err(Error::bad_input(
                format!("the recipe of pipeline `{pipeline}`"),
                format!(
                    "is current, and was not registered within {} s: no move of its base starts a bake yet",
                    PATIENCE.as_secs()
                ),
                "Push it once more. If it stays so, `ovenbird doctor` says whether the stack hears of its bucket",
            ));
        }
        pace.pause().await;
    }
    Ok(())
}

/// Refuses secrets that the stack's builders may not read: the bake would fail at the step that asks for them.
fn check_secrets(recipe: &Recipe, prefix: &str) -> Result<()> {
    let outside: Vec<_> = recipe
        .secrets_outside(prefix)
        .map(|(step, parameter)| format!("step `{}` reads parameter `{parameter}`", step.name))
        .collect();
    if outside.is_empty() {
        return Ok(());
    }
    Err(Error::bad_input(
        format!("recipe of pipeline `{}`", recipe.pipeline),
        format!("has secrets that this stack's builders may not read: {}", outside.join("; ")),
        format!(
            "Keep them below `{prefix}`, or deploy the stack with another `SecretsPrefix`, or name an \
             `instance-profile` under `[builder]` whose role may read them"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(builder: &str) -> Recipe {
        let text = format!(
            r#"
            pipeline = "shop"
            base.parameter = "/aws/service/debian/release/12/latest/amd64"
            test = [{{ name = "it", command = "true" }}]
            promote.channel = "production"
            {builder}
            [[step]]
            name = "register"
            shell = "true"
            secrets = {{ IN = "/ovenbird/secrets/a", OUT = "/shop/token", BESIDE = "/ovenbird/secretsauce" }}
            [[step]]
            ansible = {{ playbook = "site.yml", vault-password = "/shop/vault" }}
            "#
        );
        Recipe::parse_pushed(&text).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_secret_that_builders_may_not_read_is_refused_before_it_is_pushed() {
        let error = check_secrets(&recipe(""), "/ovenbird/secrets/").unwrap_err();
        assert_eq!(
            error.to_string(),
            "recipe of pipeline `shop`: has secrets that this stack's builders may not read: \
             step `register` reads parameter `/ovenbird/secretsauce`; \
             step `register` reads parameter `/shop/token`; \
             step `2 ansible` reads parameter `/shop/vault`"
        );
        assert!(error.hint().contains("below `/ovenbird/secrets/`"), "{}", error.hint());
        assert!(check_secrets(&recipe(""), "/").is_ok());
        // What another role may read is not ours to know.
        let own = recipe("builder.instance-profile = \"own\"");
        assert!(check_secrets(&own, "/ovenbird/secrets/").is_ok());
    }
}
