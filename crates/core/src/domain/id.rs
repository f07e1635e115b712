//! Newtyped identifiers: an instance id can never be passed where an image id is meant.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind}: {rule}")]
pub struct IdError {
    /// What the text was meant to be, with its article.
    pub kind: &'static str,
    /// The text, shortened and with control characters escaped.
    pub text: String,
    /// What an identifier of this kind looks like.
    pub rule: &'static str,
}

impl IdError {
    fn new(kind: &'static str, text: &str, rule: &'static str) -> Self {
        let text = text.escape_debug().take(120).collect();
        Self { kind, text, rule }
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $valid:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the text, which must follow this kind's rule.
            pub fn parse(text: &str) -> Result<Self, IdError> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.to_owned())) } else { Err(IdError::new($kind, text, $rule)) }
            }

            /// The identifier as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }
    };
}

id!(
    /// The name of a pipeline: `storefront`, `jvm-runtime`.
    PipelineName, "a pipeline name", "lower-case letters, digits and `-`, beginning with a letter, at most 40",
    |text| dashed(text, 40)
);
id!(
    /// The name of a channel within its pipeline: `production`.
    ChannelName, "a channel name", "lower-case letters, digits and `-`, beginning with a letter, at most 40",
    |text| dashed(text, 40)
);
id!(
    /// A bake's id: the name of its Step Functions execution (at most 80 characters there).
    BakeId, "a bake id", "letters, digits, `-` and `_`, at most 80",
    |text| (1..=80).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);
id!(
    /// One deployment of the template: its stack's id at CloudFormation.
    ///
    /// It is the value of the tag `ovenbird:stack`. Two stacks of one account and Region differ in it, and a stack that
    /// is deleted and deployed again has another one: what the first stack made is not the second one's to destroy.
    /// It holds the account's number, so it belongs in no log.
    StackId, "a stack id", "letters, digits, `-`, `:` and `/`, at most 256",
    |text| (1..=256).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:/".contains(&b))
);
impl StackId {
    /// The account that the stack is in; empty of an id that isn't CloudFormation's.
    pub fn account(&self) -> &str {
        self.as_str().split(':').nth(4).unwrap_or_default()
    }
}

id!(
    /// An image's id at EC2.
    AmiId, "an image id", "`ami-` and 8 to 17 hexadecimal digits",
    |text| aws_id(text, "ami-")
);
id!(
    /// An instance's id at EC2.
    InstanceId, "an instance id", "`i-` and 8 to 17 hexadecimal digits",
    |text| aws_id(text, "i-")
);
id!(
    /// A snapshot's id at EC2.
    SnapshotId, "a snapshot id", "`snap-` and 8 to 17 hexadecimal digits",
    |text| aws_id(text, "snap-")
);
id!(
    /// A volume's id at EC2.
    VolumeId, "a volume id", "`vol-` and 8 to 17 hexadecimal digits",
    |text| aws_id(text, "vol-")
);
id!(
    /// The id of a command sent through SSM.
    CommandId, "a command id", "36 hexadecimal digits and `-`",
    |text| text.len() == 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
);
id!(
    /// The name of an image, unique per account and Region: EC2's only key for `CreateImage`.
    ImageName, "an image name", "3 to 128 letters, digits, spaces and `()[]./-'@_`",
    |text| (3..=128).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" ()[]./-'@_".contains(&b))
);
id!(
    /// SHA-256 over every input of an image, in lower-case hexadecimal.
    Digest, "a digest", "64 lower-case hexadecimal digits",
    |text| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
);
id!(
    /// The name of an SSM parameter.
    ParameterName, "a parameter name", "letters, digits and `_.-/`, at most 1011",
    |text| (1..=1011).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-/".contains(&b))
);
id!(
    /// The name of an Auto Scaling group.
    GroupName, "the name of an Auto Scaling group", "1 to 255 printable characters, without `:`",
    |text| (1..=255).contains(&text.chars().count()) && !text.contains(|c: char| c.is_control() || c == ':')
);
id!(
    /// The name of a launch template.
    TemplateName, "the name of a launch template", "3 to 128 letters, digits and `()./_-`",
    |text| (3..=128).contains(&text.len())
        && !text.starts_with("lt-")
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"()./_-".contains(&b))
);
id!(
    /// A rollout's id. Its executions at Step Functions are named after it, with `-` and a number: that leaves it 76
    /// of their 80 characters.
    RolloutId, "a rollout's id", "letters, digits, `-` and `_`, at most 76",
    |text| (1..=76).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
);

impl Digest {
    /// The digest of these 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        Self::parse(&hex::encode(bytes))
    }
}

fn dashed(text: &str, most: usize) -> bool {
    text.len() <= most
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn aws_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix)
        .is_some_and(|rest| (8..=17).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_one_kind_is_not_one_of_another() {
        assert!(InstanceId::parse("i-0123456789abcdef0").is_ok());
        assert!(AmiId::parse("i-0123456789abcdef0").is_err());
        assert!(serde_json::from_str::<AmiId>("\"ami-0123456789abcdef0\"").is_ok());
        assert!(serde_json::from_str::<AmiId>("\"ami-\"").is_err());
    }

    #[test]
    fn an_error_names_the_text_the_kind_and_the_rule() {
        let error = PipelineName::parse("Store\nfront").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`Store\\nfront` is not a pipeline name: lower-case letters, digits and `-`, beginning with a letter, at most 40"
        );
    }
}
