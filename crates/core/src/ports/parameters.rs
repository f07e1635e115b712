//! SSM parameters.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::domain::{
    error::Result,
    id::{AmiId, ParameterName},
};

/// What SSM answers to a write of an image parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Put {
    /// It was taken, and SSM will look at the image: only the parameter's value tells what came of that.
    Taken,
    /// Not now, in SSM's words: it still looks at the image of an earlier write.
    NotYet(String),
}

impl Put {
    /// A refused write, if it may be made again.
    ///
    /// AWS documents that a write is refused while SSM validates the one before it, and not by which code. So every refusal
    /// of the value or of the moment is one, but for those whose words say that they last.
    pub fn refused(code: &str, message: &str) -> Option<Self> {
        // "You can't downgrade a parameter from the advanced-parameter tier": a write that names no tier asks for a standard
        // parameter.
        let lasts = message.contains("advanced-parameter tier");
        let may_pass = ["TooManyUpdates", "ValidationException", "ParameterAlreadyExists"].contains(&code);
        (may_pass && !lasts).then(|| Self::NotYet(format!("{code}: {message}")))
    }
}

/// A parameter without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterKind {
    /// SSM's word: `String`, `StringList`, `SecureString`.
    pub kind: String,
    /// SSM's word: `text`, `aws:ec2:image`.
    pub data_type: String,
    /// SSM's word: `Standard`, `Advanced`.
    pub tier: String,
    /// Whether it has policies, such as one by which it expires.
    pub has_policies: bool,
    /// How often it was written: 1 at first.
    pub version: i64,
    /// When it was written last.
    pub written: Timestamp,
}

/// The data type of parameters that hold an image.
const IMAGE: &str = "aws:ec2:image";

impl ParameterKind {
    /// Why SSM refuses every image for it; none when it takes images.
    ///
    /// SSM changes no parameter's type, and no data type to or from `aws:ec2:image`:
    /// <https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-data-types.html>
    pub fn refuses_images(&self) -> Option<String> {
        if self.kind != "String" {
            return Some(format!("is a {}, and not a String", self.kind));
        }
        (self.data_type != IMAGE).then(|| format!("is of data type {}, and not {IMAGE}", self.data_type))
    }
}

/// SSM parameters.
pub trait Parameters {
    /// The value.
    async fn parameter(&self, name: &ParameterName) -> Result<Option<String>>;
    /// The values of those of the names that exist.
    async fn values(&self, names: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>>;
    /// Of these parameters, those that are there.
    async fn kinds(&self, names: &BTreeSet<ParameterName>) -> Result<BTreeMap<ParameterName, ParameterKind>>;
    /// Writes an image's id.
    async fn put_image(&self, name: &ParameterName, image: &AmiId) -> Result<Put>;
    /// Removes; one that is gone already is no error.
    async fn remove(&self, name: &ParameterName) -> Result<()>;
}

#[cfg(test)]
mod tests {
    use super::Put;

    #[test]
    fn a_write_is_made_again_after_a_refusal_that_may_pass_and_after_no_other() {
        let validating = "Parameter value validation is still in process";
        for code in ["TooManyUpdates", "ValidationException", "ParameterAlreadyExists"] {
            let refused = Put::refused(code, validating);
            assert_eq!(refused, Some(Put::NotYet(format!("{code}: {validating}"))));
        }
        let tier = "This parameter uses the advanced-parameter tier. You can't downgrade a parameter from the \
                    advanced-parameter tier to the standard-parameter tier.";
        assert_eq!(Put::refused("ValidationException", tier), None);
        for code in ["AccessDeniedException", "HierarchyTypeMismatchException", "ParameterLimitExceeded", ""]
        {
            assert_eq!(Put::refused(code, validating), None, "{code}");
        }
    }
}
