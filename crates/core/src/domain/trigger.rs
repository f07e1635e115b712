//! What starts a bake: an upload, somebody's hand, or a parent's promotion; and the push of a recipe, which asks only to be
//! registered. All are outside inputs, parsed once.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::{
    artifact::{self, ArtifactKey},
    bake::{Labels, Options, Parent, UPLOAD},
    error::{Error, Result},
    id::{Digest, PipelineName},
};

/// What an execution was started for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// For a bake.
    Bake(Trigger),
    /// To register a recipe that was pushed.
    Registration(Pushed),
    /// For nothing, which the rule can't tell: a folder's marker, or an artifact that somebody bakes by hand.
    Nothing,
}

/// The event of S3 that a recipe is current since now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// Whose recipe.
    pub pipeline: PipelineName,
    /// When, as S3 tells it: to the second.
    pub at: Timestamp,
}

/// The start of a bake, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// An artifact was uploaded.
    Upload {
        /// The key that was written; the pipeline is in it.
        key: ArtifactKey,
        /// Its version, on a versioned bucket.
        version: Option<String>,
        /// S3's order of writes to the key, or empty.
        sequencer: String,
    },
    /// Somebody asked.
    Manual {
        /// The pipeline to bake.
        pipeline: PipelineName,
        /// With which artifact; none means the newest.
        artifact: Option<ArtifactKey>,
        /// With which version of the recipe; none means the current one.
        recipe: Option<Digest>,
        /// With which options.
        options: Options,
    },
    /// The channel that the pipeline stands on moved.
    Cascade {
        /// The child: its base is the channel that moved.
        pipeline: PipelineName,
        /// The promotion that moved it.
        parent: Parent,
    },
}

/// What a manual execution is started with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manual {
    pipeline: Option<String>,
    artifact: Option<String>,
    recipe: Option<Digest>,
    #[serde(default)]
    force: bool,
    #[serde(default = "yes")]
    promote: bool,
    #[serde(default, rename = "keep-builder")]
    keep_builder: bool,
    #[serde(default)]
    labels: Labels,
    /// Who asked, for whoever looks at the execution: nothing is decided by it.
    #[serde(default)]
    #[expect(dead_code, reason = "operators read it from the execution's input")]
    by: Option<String>,
}

/// What a promotion starts its children with.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Cascade {
    pipeline: PipelineName,
    cascade: Parent,
}

fn yes() -> bool {
    true
}

/// The part of S3's "Object Created" event that we read.
#[derive(Debug, Deserialize, Serialize)]
struct ObjectCreated {
    object: CreatedObject,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "kebab-case")]
struct CreatedObject {
    key: String,
    size: Option<u64>,
    version_id: Option<String>,
    sequencer: Option<String>,
}

/// The name of the pipeline whose current recipe an object says; none of any other object.
fn pushed(key: &str) -> Option<&str> {
    key.strip_prefix("recipes/")?.strip_suffix("/current.json")
}

impl Purpose {
    /// The pipeline that it is about.
    pub fn pipeline(&self) -> Option<&PipelineName> {
        match self {
            Self::Bake(trigger) => Some(trigger.pipeline()),
            Self::Registration(pushed) => Some(&pushed.pipeline),
            Self::Nothing => None,
        }
    }

    /// Parses an execution's input: an S3 event by EventBridge, a promotion's, or what a hand gave.
    pub fn parse(input: &Value) -> Result<Self> {
        if input.get("cascade").is_some() {
            let Cascade { pipeline, cascade } = Cascade::deserialize(input).map_err(|error| {
                let fix = "Start bakes by hand without `cascade`: promotions alone start so";
                Error::bad_input("the execution's input", error.to_string(), fix)
            })?;
            return Ok(Self::Bake(Trigger::Cascade { pipeline, parent: cascade }));
        }
        if input.get("detail-type").is_none() {
            return Trigger::manual(input).map(Self::Bake);
        }
        let wrong = |problem: String| {
            let fix = "Let the rules match `Object Created` of the bucket";
            Error::bad_input("the S3 event", problem, fix)
        };
        let event = EventBridgeEvent::<ObjectCreated>::deserialize(input)
            .map_err(|error| wrong(error.to_string()))?;
        let object = event.detail.object;
        if let Some(pipeline) = pushed(&object.key) {
            let pipeline = PipelineName::parse(pipeline)
                .map_err(|error| wrong(format!("object `{}` is no pipeline's: {error}", object.key)))?;
            let time = input.get("time").and_then(Value::as_str).unwrap_or_default();
            let at = time.parse().map_err(|error| wrong(format!("`time` is `{time}`: {error}")))?;
            return Ok(Self::Registration(Pushed { pipeline, at }));
        }
        if artifact::is_quiet(&object.key, object.size.unwrap_or(0)) {
            return Ok(Self::Nothing);
        }
        Ok(Self::Bake(Trigger::Upload {
            key: ArtifactKey::parse(&object.key)?,
            version: object.version_id.filter(|version| !version.is_empty()),
            sequencer: object.sequencer.unwrap_or_default(),
        }))
    }
}

impl Trigger {
    /// The bake that an execution's input asks for; none when it asks for none, or can't be understood.
    pub fn of(input: &Value) -> Option<Self> {
        match Purpose::parse(input) {
            Ok(Purpose::Bake(trigger)) => Some(trigger),
            Ok(Purpose::Registration(_) | Purpose::Nothing) | Err(_) => None,
        }
    }

    /// The pipeline it starts.
    pub fn pipeline(&self) -> &PipelineName {
        match self {
            Self::Upload { key, .. } => key.pipeline(),
            Self::Manual { pipeline, .. } | Self::Cascade { pipeline, .. } => pipeline,
        }
    }

    /// Its word in the record.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Upload { .. } => UPLOAD,
            Self::Manual { .. } => "manual",
            Self::Cascade { .. } => "cascade",
        }
    }

    /// The version of the recipe that was asked for; none means the current one.
    pub fn recipe(&self) -> Option<&Digest> {
        match self {
            Self::Manual { recipe, .. } => recipe.as_ref(),
            Self::Upload { .. } | Self::Cascade { .. } => None,
        }
    }

    /// What it asks for.
    pub fn options(&self) -> Options {
        match self {
            Self::Upload { .. } | Self::Cascade { .. } => Options::default(),
            Self::Manual { options, .. } => options.clone(),
        }
    }

    /// The promotion that starts it, for a cascade.
    pub fn cascade(&self) -> Option<&Parent> {
        match self {
            Self::Cascade { parent, .. } => Some(parent),
            Self::Upload { .. } | Self::Manual { .. } => None,
        }
    }

    /// The input with which a promotion starts a child's bake.
    pub fn cascade_input(pipeline: &PipelineName, parent: &Parent) -> Value {
        let input = Cascade { pipeline: pipeline.clone(), cascade: parent.clone() };
        serde_json::to_value(input).unwrap_or_else(|_| unreachable!("it has string keys only"))
    }

    /// Parses the input of a manual execution: `{"pipeline": …}`, `{"artifact": …}` or both, with options.
    pub fn manual(input: &Value) -> Result<Self> {
        const FIX: &str = "Start with `{\"pipeline\": \"storefront\"}` or `{\"artifact\": \"artifacts/storefront/app.jar\"}`, \
                           and `force`, `promote`, `keep-builder` or `labels` as you like";
        let refuse = |problem: String| Error::bad_input("the execution's input", problem, FIX);
        let manual = Manual::deserialize(input).map_err(|error| refuse(error.to_string()))?;
        let artifact = manual.artifact.as_deref().map(ArtifactKey::parse).transpose()?;
        let named = manual.pipeline.as_deref().map(PipelineName::parse).transpose();
        let pipeline = match (named.map_err(|error| refuse(error.to_string()))?, &artifact) {
            (Some(pipeline), Some(key)) if *key.pipeline() != pipeline => {
                return Err(refuse(format!("artifact `{key}` is not of pipeline `{pipeline}`")));
            }
            (Some(pipeline), _) => pipeline,
            (None, Some(key)) => key.pipeline().clone(),
            (None, None) => return Err(refuse("names neither a pipeline nor an artifact".into())),
        };
        // What another version of the recipe makes is to be looked at: the next bake would put the current one's back.
        let promote = manual.promote && manual.recipe.is_none();
        let options = Options {
            force: manual.force,
            promote,
            keep_builder: manual.keep_builder,
            labels: manual.labels,
        };
        Ok(Self::Manual { pipeline, artifact, recipe: manual.recipe, options })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_artifact_alone_names_its_pipeline() {
        let trigger =
            Trigger::manual(&json!({"artifact": "artifacts/shop/a.jar", "promote": false})).unwrap();
        assert_eq!(trigger.pipeline().as_str(), "shop");
        assert!(!trigger.options().promote);
    }

    #[test]
    fn what_a_promotion_starts_with_is_understood_and_nothing_else_is_taken_for_it() {
        let parent: Parent = serde_json::from_value(json!({
            "pipeline": "jvm-runtime", "channel": "stable", "bake": "b-1", "generation": 7
        }))
        .unwrap();
        let shop = PipelineName::parse("shop").unwrap();
        let mut input = Trigger::cascade_input(&shop, &parent);
        assert_eq!(
            Purpose::parse(&input).unwrap(),
            Purpose::Bake(Trigger::Cascade { pipeline: shop, parent: parent.clone() })
        );
        input["force"] = json!(true);
        assert!(Purpose::parse(&input).is_err());
    }

    fn created(object: &Value) -> Value {
        json!({"version": "0", "id": "1", "detail-type": "Object Created", "source": "aws.s3",
            "account": "123456789012", "time": "2026-01-01T00:00:00Z", "region": "us-east-1", "resources": [],
            "detail": {"object": object}})
    }

    #[test]
    fn the_marker_of_a_folder_asks_for_nothing_and_an_artifact_for_a_bake() {
        let parsed = |object| Purpose::parse(&created(&object));
        assert_eq!(parsed(json!({"key": "artifacts/shop/", "size": 0})).unwrap(), Purpose::Nothing);
        assert_eq!(parsed(json!({"key": "artifacts/shop_$folder$", "size": 0})).unwrap(), Purpose::Nothing);
        // An empty artifact is refused later, by name; what has bytes in it is no marker.
        let empty = parsed(json!({"key": "artifacts/shop/app.jar", "size": 0})).unwrap();
        assert!(matches!(empty, Purpose::Bake(Trigger::Upload { .. })), "{empty:?}");
        assert!(parsed(json!({"key": "artifacts/shop/", "size": 5})).is_err());
    }

    #[test]
    fn an_upload_that_somebody_bakes_by_hand_asks_for_nothing() {
        for folder in ["by-hand", "unpromoted"] {
            let object = json!({"key": format!("artifacts/shop/{folder}/app.jar"), "size": 5});
            assert_eq!(Purpose::parse(&created(&object)).unwrap(), Purpose::Nothing, "{folder}");
        }
    }

    #[test]
    fn a_recipe_that_is_current_since_now_asks_to_be_registered_and_its_files_ask_for_nothing() {
        let parsed = |key: &str| Purpose::parse(&created(&json!({"key": key, "size": 5})));
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        let pipeline = PipelineName::parse("shop").unwrap();
        assert_eq!(
            parsed("recipes/shop/current.json").unwrap(),
            Purpose::Registration(Pushed { pipeline, at })
        );
        for key in
            ["recipes/Shop!/current.json", "recipes/shop/0a/current.json", "recipes/shop/0a/recipe.toml"]
        {
            assert!(parsed(key).is_err(), "{key}");
        }
        let mut untimed = created(&json!({"key": "recipes/shop/current.json", "size": 5}));
        untimed["time"] = json!("yesterday");
        assert!(Purpose::parse(&untimed).is_err());
    }

    #[test]
    fn what_another_version_of_the_recipe_makes_is_never_promoted() {
        let version = crate::domain::digest::sha256(b"");
        let asked = json!({"pipeline": "shop", "recipe": version, "promote": true});
        let trigger = Trigger::manual(&asked).unwrap();
        assert_eq!(trigger.recipe(), Some(&version));
        assert!(!trigger.options().promote);
        assert!(Trigger::manual(&json!({"pipeline": "shop", "recipe": "v1"})).is_err());
    }

    #[test]
    fn an_artifact_is_baked_in_the_version_that_the_event_names() {
        let version = |given: Value| match Purpose::parse(&created(&given)).unwrap() {
            Purpose::Bake(Trigger::Upload { version, .. }) => version,
            other => panic!("{other:?}"),
        };
        let object =
            |version: &str| json!({"key": "artifacts/shop/app.jar", "size": 5, "version-id": version});
        assert_eq!(version(object("v-1")).as_deref(), Some("v-1"));
        // A bucket without versions says so by an empty one, or by none.
        assert_eq!(version(object("")), None);
        assert_eq!(version(json!({"key": "artifacts/shop/app.jar", "size": 5})), None);
    }

    #[test]
    fn a_pipeline_and_an_artifact_of_it_may_both_be_named() {
        let input = json!({"pipeline": "shop", "artifact": "artifacts/shop/a.jar"});
        assert_eq!(Trigger::manual(&input).unwrap().pipeline().as_str(), "shop");
    }

    #[test]
    fn a_contradiction_and_an_unknown_key_are_refused() {
        for input in [
            json!({"pipeline": "blog", "artifact": "artifacts/shop/a.jar"}),
            json!({"pipelin": "blog"}),
            json!({}),
            json!({"pipeline": "../x"}),
            json!("blog"),
        ] {
            assert!(Trigger::manual(&input).is_err(), "{input}");
        }
    }
}
