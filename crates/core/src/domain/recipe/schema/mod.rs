//! The JSON Schema of `recipe.toml`: what editors complete, describe and check while one types.
//!
//! The types here are the TOML as it is written. Doc comments become the descriptions that editors show. The parser
//! stays the judge: it knows more than a schema can say, and the schema never refuses what it takes.

#![expect(dead_code, reason = "the schema is made of these types; no recipe is ever read into them")]

mod steps;
mod test_kinds;

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};
use serde_json::{Value, json};

use self::{steps::Step, test_kinds::Test};
use crate::domain::digest::sorted;

/// The schema. Draft 7 is what editors' TOML extensions know best.
pub(super) fn schema() -> Value {
    let settings = SchemaSettings::draft07().with_transform(RecursiveTransform(without_null));
    sorted(&settings.into_generator().into_root_schema_for::<Recipe>().to_value())
}

/// TOML has no null: a key that may be left out is left out.
fn without_null(schema: &mut Schema) {
    let null = json!({ "type": "null" });
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [one] = &types[..] {
            let one = one.clone();
            object.insert("type".to_owned(), one);
        }
    }
    if let Some(Value::Array(choices)) = object.get_mut("anyOf") {
        choices.retain(|choice| *choice != null);
        if let [Value::Object(one)] = &choices[..] {
            let one = one.clone();
            object.remove("anyOf");
            // In draft 7 a `$ref` hides what stands beside it, the description too.
            if object.is_empty() {
                object.extend(one);
            } else {
                object.insert("allOf".to_owned(), json!([one]));
            }
        }
    }
    // Rust's word for a number's size says nothing to the reader of a recipe.
    object.remove("format");
}

/// Exactly one of these keys.
fn exactly_one(keys: &[&str]) -> Value {
    keys.iter().map(|key| json!({ "required": [key] })).collect()
}

/// What an image of a pipeline is made of, tested with and promoted to.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, title = "Ovenbird recipe")]
struct Recipe {
    /// The pipeline: lower-case letters, digits and `-`, at most 40.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9-]{0,39}$"))]
    pipeline: String,
    /// The image to start from: exactly one of `image`, `parameter`, `newest`, `channel`.
    base: Base,
    /// The machine that is configured and made an image.
    builder: Option<Builder>,
    /// Where the uploaded artifact goes. Leave it out for a pipeline without artifacts.
    artifact: Option<Artifact>,
    /// How the machine is configured, in order; the first failure ends the bake.
    step: Option<Vec<Step>>,
    /// What must hold of the configured machine. All tests run; an image that fails one is never promoted.
    #[schemars(length(min = 1))]
    test: Vec<Test>,
    /// How the image is validated.
    validate: Option<Validate>,
    /// What follows a validated image.
    promote: Promote,
    /// How long images are kept.
    retain: Option<Retain>,
    /// How long each part of a bake may take.
    deadlines: Option<Deadlines>,
}

/// The image to start from.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(super::parse::BASES)))]
struct Base {
    /// This very image: `ami-0123456789abcdef0`.
    #[schemars(regex(pattern = r"^ami-[0-9a-fA-F]{8,17}$"))]
    image: Option<String>,
    /// The image that an SSM parameter names: a public alias, or one of yours.
    parameter: Option<Parameter>,
    /// The newest available image of an owner whose name matches.
    newest: Option<Newest>,
    /// The image that another pipeline's channel points at: `jvm-runtime/stable`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9-]{0,39}/[a-z][a-z0-9-]{0,39}$"))]
    channel: Option<String>,
}

/// The newest available image of an owner whose name matches.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Newest {
    /// The owner: an account's 12 digits, or `amazon`, `self`, `aws-marketplace`.
    #[schemars(regex(pattern = r"^([0-9]{12}|amazon|self|aws-marketplace)$"))]
    owner: String,
    /// The image's name, with `*` and `?`: `debian-12-amd64-*`.
    name: String,
    /// Its architecture, when images of several match.
    #[schemars(regex(pattern = r"^(x86_64|arm64)$"))]
    architecture: Option<String>,
}

/// The machine that is configured and made an image.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Builder {
    /// Instance types in order of preference; the next is tried when capacity is short.
    #[schemars(length(min = 1), extend("default" = ["m7i.large", "m6i.large"]))]
    instance_types: Option<Vec<String>>,
    /// Asks for spot capacity first, and for on-demand when there is none.
    #[schemars(extend("default" = false))]
    spot: Option<bool>,
    /// The root volume, where the base's own won't do.
    volume: Option<Volume>,
    /// Subnets in order of preference; without them, the one of the stack.
    #[schemars(length(min = 1), inner(regex(pattern = r"^subnet-[0-9a-fA-F]{8,17}$")))]
    subnets: Option<Vec<String>>,
    /// Security groups; without them, the one of the stack.
    #[schemars(length(min = 1), inner(regex(pattern = r"^sg-[0-9a-fA-F]{8,17}$")))]
    security_groups: Option<Vec<String>>,
    /// The instance profile's name; without it, the one of the stack.
    #[schemars(regex(pattern = r"^[A-Za-z0-9+=,.@_-]{1,128}$"))]
    instance_profile: Option<String>,
    /// Tags of the builder and its volume beside Ovenbird's own; at most 40.
    #[schemars(extend("maxProperties" = 40))]
    tags: Option<BTreeMap<String, String>>,
}

/// The builder's root volume, which the image's snapshot is made of.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields, extend("minProperties" = 1))]
struct Volume {
    /// Its size in GiB; at least the base's.
    #[schemars(range(min = 1, max = 65_536))]
    gib: Option<u32>,
    /// Its type.
    #[schemars(extend("enum" = ["gp3", "gp2", "io2", "io1", "standard"]))]
    r#type: Option<String>,
    /// Its operations per second: needed for io1 and io2, possible for gp3.
    #[schemars(range(min = 100, max = 256_000))]
    iops: Option<u32>,
    /// Encrypts it with this KMS key: an id, `alias/…`, or an ARN; `alias/aws/ebs` is AWS's own key.
    kms_key: Option<String>,
}

/// Where the uploaded artifact goes: exactly one of `to` and `unpack-to`.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
#[schemars(extend("oneOf" = exactly_one(&["to", "unpack-to"])))]
struct Artifact {
    /// To this file.
    #[schemars(regex(pattern = "^/"))]
    to: Option<String>,
    /// Unpacked into this folder: a tar, tar.gz or zip (also a jar or war).
    #[schemars(regex(pattern = "^/"))]
    unpack_to: Option<String>,
}

/// How the image is validated.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Validate {
    /// Tests a fresh instance of the finished image too.
    #[schemars(extend("default" = false))]
    boot: Option<bool>,
}

/// What follows a validated image.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Promote {
    /// The channel that then points at the image: `production`.
    #[schemars(regex(pattern = r"^[a-z][a-z0-9-]{0,39}$"))]
    channel: String,
    /// The SSM parameter that then holds the image's id.
    parameter: Option<Parameter>,
}

/// How long images are kept.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Retain {
    /// So many of the newest stay.
    #[schemars(range(min = 1, max = 1_000), extend("default" = 5))]
    newest: Option<u32>,
    /// Those younger than so many days stay too.
    #[schemars(range(max = 3_650), extend("default" = 30))]
    days: Option<u32>,
}

/// How long each part of a bake may take.
#[derive(JsonSchema)]
#[schemars(rename_all = "kebab-case", deny_unknown_fields)]
struct Deadlines {
    /// From the launch to the end of the steps.
    #[schemars(extend("default" = "30m"))]
    builder: Option<Time>,
    /// The tests.
    #[schemars(extend("default" = "15m"))]
    validation: Option<Time>,
    /// Sealing, and again for the imaging.
    #[schemars(extend("default" = "60m"))]
    imaging: Option<Time>,
    /// Until the parameter has the new image.
    #[schemars(extend("default" = "5m"))]
    promotion: Option<Time>,
}

/// A length of time: a number and `s`, `m` or `h`, at most 12 hours.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Time(#[schemars(regex(pattern = r"^[0-9]+[smh]$"))] String);

/// The name of an SSM parameter.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Parameter(#[schemars(regex(pattern = r"^[A-Za-z0-9_./-]{1,1011}$"))] String);

/// Permission bits in octal: `0644`.
#[derive(JsonSchema)]
#[schemars(inline)]
struct Mode(#[schemars(regex(pattern = r"^[0-7]{1,}$"))] String);

/// Names of environment variables.
#[derive(JsonSchema)]
#[schemars(inline, extend("propertyNames" = { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" }))]
struct Variables<T>(BTreeMap<String, T>);
