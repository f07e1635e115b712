//! Where things lie in the bucket.

use crate::{
    domain::{
        error::Error,
        id::{BakeId, Digest, PipelineName},
    },
    ports::Role,
};

/// The pointer to a pipeline's current recipe.
pub fn recipe_pointer(pipeline: &PipelineName) -> String {
    format!("recipes/{pipeline}/current.json")
}

/// The pointer as it was when this version was pushed.
pub fn recipe_version_pointer(pipeline: &PipelineName, version: &Digest) -> String {
    format!("recipes/{pipeline}/{version}/pointer.json")
}

/// The signature of one version, of a recipe that was pushed with one.
pub fn signature(pipeline: &PipelineName, version: &Digest) -> String {
    format!("recipes/{pipeline}/{version}/signature.pem")
}

/// The recipe's text, of one version.
pub fn recipe(pipeline: &PipelineName, version: &Digest) -> String {
    format!("recipes/{pipeline}/{version}/recipe.toml")
}

/// The files beside the recipe, of one version, as a `tar.gz`.
pub fn bundle(pipeline: &PipelineName, version: &Digest) -> String {
    format!("recipes/{pipeline}/{version}/bundle.tar.gz")
}

/// The list of the files beside the recipe, of one version.
pub fn files(pipeline: &PipelineName, version: &Digest) -> String {
    format!("recipes/{pipeline}/{version}/files.json")
}

/// The runner for an architecture, by its hash.
pub fn runner(architecture: &str, sha256: &Digest) -> String {
    format!("runner/{architecture}/{sha256}/ovenbird-runner")
}

/// The pointer to the current runner for an architecture.
pub fn runner_pointer(architecture: &str) -> String {
    format!("runner/{architecture}/current.json")
}

/// A file of one bake.
pub fn of_bake(pipeline: &PipelineName, bake: &BakeId, file: &str) -> String {
    format!("bakes/{pipeline}/{bake}/{file}")
}

/// A file of one instance of a bake: its plan, its orders, its reports. The verifier's have names of their own.
pub fn of_instance(pipeline: &PipelineName, bake: &BakeId, role: Role, file: &str) -> String {
    match role {
        Role::Builder => of_bake(pipeline, bake, file),
        Role::Verifier => of_bake(pipeline, bake, &format!("boot-{file}")),
    }
}

/// What a prune run found, with its reason for every image.
pub fn prune_plan(run: &BakeId) -> String {
    format!("prunes/{run}.json")
}

/// Where the plans and results of prune runs are.
pub const PRUNES: &str = "prunes/";

/// What a prune run did.
pub fn prune_result(run: &BakeId) -> String {
    format!("prunes/{run}.result.json")
}

/// How many things prune's inventory saw lately.
pub fn prune_seen() -> String {
    "prunes/seen.json".to_owned()
}

/// When earlier prune runs saw last that somebody used images of which pipeline.
pub fn prune_used() -> String {
    "prunes/used.json".to_owned()
}

/// How many bytes are read of an object that is read whole; what is larger is refused.
///
/// Builders write reports, and whoever pushes recipes writes those. One object that fills a function's memory would end every
/// prune run. The steps' log, which people alone read, has 16 MiB of output and its titles. Only prune writes to `prunes/`: its
/// plans grow with the account.
pub fn largest(key: &str) -> usize {
    if key.starts_with(PRUNES) {
        usize::MAX
    } else if key.ends_with(LOG) {
        64 << 20
    } else {
        16 << 20
    }
}

/// The error of an object that is larger than that.
pub fn too_large(key: &str) -> Error {
    Error::bad_input(
        format!("object `{key}`"),
        format!("has more than {} MiB, and is not read", largest(key) >> 20),
        "Nothing of Ovenbird's is so large: find out who wrote it, and write it anew",
    )
}

/// What cloud-init runs.
pub const USER_DATA: &str = "user-data";
/// What the instance is for.
pub const PLAN: &str = "plan.json";
/// What the instance is to do now.
pub const ORDERS: &str = "orders.json";
/// Fresh presigned URLs.
pub const URLS: &str = "urls.json";
/// That the instance lives, and what it does.
pub const PROGRESS: &str = "progress.json";
/// The report of the steps.
pub const PROVISION_REPORT: &str = "provision.json";
/// What the steps printed, each after the other.
pub const LOG: &str = "steps.log";
/// The report of the tests.
pub const TEST_REPORT: &str = "test.json";
/// The report of the tests as JUnit XML.
pub const JUNIT: &str = "junit.xml";
/// The report of the seal: nothing is an image whose seal did not write it.
pub const SEAL_REPORT: &str = "seal.json";
