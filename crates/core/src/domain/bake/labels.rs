//! What people say of a bake in words of their own: `git=3f2a91c`, `build=https://…`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Labels of a bake, by their keys. They are in its record, and tags of all that it makes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
pub struct Labels(BTreeMap<String, String>);

/// How many tags of people's a resource has room for: EC2 takes 50, and eight are ours (`domain/tags`, the role, and what
/// is in the image).
pub const ROOM: usize = 42;

impl Labels {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each key with its value.
    pub fn iter(&self) -> impl Iterator<Item = (&String, &String)> {
        self.0.iter()
    }
}

impl TryFrom<BTreeMap<String, String>> for Labels {
    type Error = String;

    /// Refuses what EC2 refuses of a tag, so that a bake doesn't fail at its first call for it.
    fn try_from(labels: BTreeMap<String, String>) -> Result<Self, String> {
        for (key, value) in &labels {
            let lower = key.to_lowercase();
            if key.is_empty() || key.chars().count() > 128 || key.chars().any(char::is_control) {
                return Err(format!("label `{}` must have a key of 1 to 128 characters", key.escape_debug()));
            }
            if ["aws:", "ovenbird:"].iter().any(|prefix| lower.starts_with(prefix)) {
                return Err(format!(
                    "label `{key}` begins with `aws:` or `ovenbird:`, which isn't for people"
                ));
            }
            if value.chars().count() > 256 || value.chars().any(char::is_control) {
                return Err(format!("label `{key}` must have a value of at most 256 characters on one line"));
            }
        }
        Ok(Self(labels))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_what_ec2_takes_for_a_tag_of_peoples() {
        let of =
            |key: &str, value: &str| Labels::try_from(BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert!(of("git", "3f2a91c+").is_ok() && of("ü", "").is_ok() && of(&"k".repeat(128), "").is_ok());
        for (key, value) in [
            ("", "x"),
            ("AWS:x", "x"),
            ("ovenbird:bake", "other"),
            ("a\nb", "x"),
            ("git", "a\nb"),
            ("git", &"v".repeat(257)),
            (&"k".repeat(129), ""),
        ] {
            assert!(of(key, value).is_err(), "{key:?} = {value:?}");
        }
        // As they come from outside.
        assert!(serde_json::from_str::<Labels>(r#"{"ovenbird:stack": "other"}"#).is_err());
    }
}
