//! The key of an artifact: an outside string, parsed once.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::{
    error::{Error, Result},
    id::PipelineName,
    names::Names,
};

/// The prefix of the bucket under which an upload starts a bake.
pub const PREFIX: &str = "artifacts/";

/// Where a pipeline's artifacts lie.
pub fn prefix(pipeline: &PipelineName) -> String {
    format!("{PREFIX}{pipeline}/")
}

/// Whether an object is no artifact but the marker of a folder.
///
/// S3's console makes one whose key ends in `/`, Hadoop's tools one whose key ends in `_$folder$`, both without a byte in
/// them. Any other empty object is an artifact that somebody's build got wrong, and they want to hear of it.
pub fn is_marker(key: &str, bytes: u64) -> bool {
    bytes == 0 && key.starts_with(PREFIX) && (key.ends_with('/') || key.ends_with("_$folder$"))
}

/// The folder of a pipeline's artifacts whose upload starts no bake: somebody starts it, with options.
pub const BY_HAND: &str = "by-hand";

/// Likewise, for an artifact that is not to be promoted: nothing takes it for the newest one either.
pub const UNPROMOTED: &str = "unpromoted";

/// How the names of files end that build tools put beside an artifact: checksums and signatures of it.
const COMPANIONS: [&str; 9] =
    [".md5", ".sha1", ".sha256", ".sha384", ".sha512", ".asc", ".sig", ".minisig", ".sigstore"];

/// Whether an object says something of an artifact, and is none: a checksum or a signature.
pub fn is_companion(key: &str) -> bool {
    let name = file_name(key).to_ascii_lowercase();
    COMPANIONS.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| !rest.is_empty()))
}

/// Whether the upload of an object starts no bake, whatever the recipe says.
pub fn is_quiet(key: &str, bytes: u64) -> bool {
    is_marker(key, bytes) || is_companion(key) || is_in(key, BY_HAND) || is_in(key, UNPROMOTED)
}

/// Whether whoever looks for the newest artifact goes past an object. The recipe may say which names are artifacts.
pub fn is_passed_over(key: &str, bytes: u64, names: Option<&Names>) -> bool {
    is_marker(key, bytes)
        || is_companion(key)
        || is_in(key, UNPROMOTED)
        || names.is_some_and(|names| !names.has(file_name(key)))
}

fn file_name(key: &str) -> &str {
    key.rsplit('/').next().unwrap_or(key)
}

/// Whether a key is in this folder of its pipeline's.
fn is_in(key: &str, folder: &str) -> bool {
    let within = key.strip_prefix(PREFIX).and_then(|rest| rest.split_once('/'));
    within.and_then(|(_, name)| name.split_once('/')).is_some_and(|(first, _)| first == folder)
}

/// A key `artifacts/<pipeline>/<name>` that can't climb, hide or break a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ArtifactKey {
    key: String,
    pipeline: PipelineName,
}

impl ArtifactKey {
    /// Parses a key of the bucket.
    pub fn parse(key: &str) -> Result<Self> {
        let refuse = |problem: &str| {
            Error::bad_input(
                format!("artifact key `{}`", key.escape_debug()),
                problem,
                "Upload to `artifacts/<pipeline>/<name>`, with a plain name",
            )
        };
        if key.len() > 1024 {
            return Err(refuse("is longer than S3's 1024 bytes"));
        }
        if key.chars().any(char::is_control) {
            return Err(refuse("has a control character"));
        }
        let rest = key.strip_prefix(PREFIX).ok_or_else(|| refuse("is outside `artifacts/`"))?;
        let (pipeline, name) = rest.split_once('/').ok_or_else(|| refuse("names no pipeline"))?;
        let pipeline = PipelineName::parse(pipeline).map_err(|error| refuse(&error.to_string()))?;
        if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(refuse("has an empty or climbing part"));
        }
        Ok(Self { key: key.to_owned(), pipeline })
    }

    /// The key as it is in the bucket.
    pub fn as_str(&self) -> &str {
        &self.key
    }

    /// The key without what all keys of its pipeline begin with: what people call the artifact.
    pub fn name(&self) -> &str {
        self.key.strip_prefix(&prefix(&self.pipeline)).unwrap_or(&self.key)
    }

    /// The file's name, without its folders.
    pub fn file_name(&self) -> &str {
        file_name(&self.key)
    }

    /// The pipeline that the artifact belongs to.
    pub fn pipeline(&self) -> &PipelineName {
        &self.pipeline
    }
}

impl fmt::Display for ArtifactKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}

impl TryFrom<String> for ArtifactKey {
    type Error = Error;
    fn try_from(key: String) -> Result<Self> {
        Self::parse(&key)
    }
}

impl From<ArtifactKey> for String {
    fn from(key: ArtifactKey) -> String {
        key.key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_key_names_its_pipeline() {
        let key = ArtifactKey::parse("artifacts/storefront/releases/app 1.2.jar").unwrap();
        assert_eq!(key.pipeline().as_str(), "storefront");
    }

    #[test]
    fn only_an_empty_object_that_a_tool_made_for_a_folder_is_a_marker() {
        for key in ["artifacts/", "artifacts/shop/", "artifacts/shop/1.2/", "artifacts/shop_$folder$"] {
            assert!(is_marker(key, 0), "{key}");
            assert!(!is_marker(key, 1), "{key}");
        }
        for key in ["artifacts/shop/app.jar", "artifacts/shop/_SUCCESS", "recipes/shop/", ""] {
            assert!(!is_marker(key, 0), "{key}");
        }
    }

    #[test]
    fn what_a_person_bakes_by_hand_starts_nothing_and_what_is_not_promoted_is_never_the_newest() {
        for (key, quiet, passed_over) in [
            ("artifacts/shop/app.jar", false, false),
            ("artifacts/shop/by-hand", false, false),
            ("artifacts/by-hand/app.jar", false, false),
            ("artifacts/shop/x/by-hand/app.jar", false, false),
            ("artifacts/shop/by-hand/app.jar", true, false),
            ("artifacts/shop/unpromoted/app.jar", true, true),
        ] {
            assert_eq!((is_quiet(key, 1), is_passed_over(key, 1, None)), (quiet, passed_over), "{key}");
        }
        assert!(is_quiet("artifacts/shop/", 0) && is_passed_over("artifacts/shop/", 0, None));
    }

    #[test]
    fn checksums_and_signatures_are_no_artifacts() {
        for end in COMPANIONS {
            for key in [
                format!("artifacts/shop/app.jar{end}"),
                format!("artifacts/shop/1.2/APP{}", end.to_uppercase()),
            ] {
                assert!(is_quiet(&key, 64) && is_passed_over(&key, 64, None), "{key}");
            }
        }
        for key in [
            "artifacts/shop/sha256",
            "artifacts/shop/.sig",
            "artifacts/shop/a.sha256/app.jar",
            "artifacts/shop/app.asc.jar",
        ] {
            assert!(!is_quiet(key, 64) && !is_passed_over(key, 64, None), "{key}");
        }
    }

    #[test]
    fn what_the_pattern_does_not_have_is_never_the_newest() {
        let jars = Names::parse("*.jar").unwrap();
        assert!(is_passed_over("artifacts/shop/notes.txt", 5, Some(&jars)));
        assert!(!is_passed_over("artifacts/shop/1.2/app.jar", 5, Some(&jars)));
    }

    #[test]
    fn keys_that_climb_or_hide_are_refused() {
        for key in [
            "",
            "artifacts/",
            "artifacts/storefront",
            "artifacts/storefront/",
            "artifacts/storefront/../other/app.jar",
            "artifacts/storefront//app.jar",
            "artifacts/Store/app.jar",
            "artifacts/storefront/a\nb",
            "recipes/storefront/app.jar",
        ] {
            assert!(ArtifactKey::parse(key).is_err(), "{key:?}");
        }
    }
}
