//! The tags that everything a bake makes carries: a contract with IAM, whose conditions name them.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::id::{BakeId, Digest, PipelineName, StackId};

/// The stack that made it. What has another value here is another stack's, and is never touched.
pub const TAG_STACK: &str = "ovenbird:stack";
/// The bake that made it.
pub const TAG_BAKE: &str = "ovenbird:bake";
/// The pipeline it belongs to.
pub const TAG_PIPELINE: &str = "ovenbird:pipeline";
/// The digest it was made for.
pub const TAG_DIGEST: &str = "ovenbird:digest";
/// What an instance is for: `builder` or `verifier`.
pub const TAG_ROLE: &str = "ovenbird:role";
/// The artifact that is in it, by its key.
pub const TAG_ARTIFACT: &str = "ovenbird:artifact";
/// The version of the recipe by which it was configured.
pub const TAG_RECIPE: &str = "ovenbird:recipe";
/// When it may be reaped.
pub const TAG_EXPIRES: &str = "ovenbird:expires";
/// What has this tag, whatever its value, is never destroyed.
pub const TAG_KEEP: &str = "ovenbird:keep";

/// The tags that everything a bake makes carries from its first moment.
pub fn tags(
    stack: &StackId,
    bake: &BakeId,
    pipeline: &PipelineName,
    digest: &Digest,
    expires: Timestamp,
) -> BTreeMap<String, String> {
    BTreeMap::from([
        (TAG_STACK.to_owned(), stack.to_string()),
        (TAG_BAKE.to_owned(), bake.to_string()),
        (TAG_PIPELINE.to_owned(), pipeline.to_string()),
        (TAG_DIGEST.to_owned(), digest.to_string()),
        (TAG_EXPIRES.to_owned(), expires.to_string()),
    ])
}
