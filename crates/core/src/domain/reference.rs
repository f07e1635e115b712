//! References: what names an image, and so may start an instance of it. They are data, whoever found them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::id::{AmiId, TemplateName};

/// What kind of thing names an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A channel points at it, or is on its way to it.
    Channel,
    /// A channel pointed at it before its current image, and may go back to it.
    Previous,
    /// An SSM parameter holds its id.
    Parameter,
    /// An instance was started from it, and isn't terminated.
    Instance,
    /// A version of a launch template.
    LaunchTemplate,
    /// An Auto Scaling group, or an instance refresh of one.
    AutoScalingGroup,
    /// A launch configuration.
    LaunchConfiguration,
    /// An EC2 Fleet.
    Fleet,
    /// A spot fleet request.
    SpotFleet,
    /// A bake on its way makes or reuses it.
    Baking,
    /// A bake on its way starts from it.
    Base,
    /// A recipe has this very image as its base.
    Recipe,
    /// It is shared with another account, an organization or everybody, and nobody here sees what they start.
    Account,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Channel => "a channel points at it",
            Self::Previous => "a channel may go back to it",
            Self::Parameter => "a parameter names it",
            Self::Instance => "an instance uses it",
            Self::LaunchTemplate => "a launch template names it",
            Self::AutoScalingGroup => "an Auto Scaling group names it",
            Self::LaunchConfiguration => "a launch configuration names it",
            Self::Fleet => "an EC2 Fleet names it",
            Self::SpotFleet => "a spot fleet request names it",
            Self::Baking => "a bake on its way makes or reuses it",
            Self::Base => "a bake on its way starts from it",
            Self::Recipe => "a recipe's base is this very image",
            Self::Account => "it is shared outside of this account",
        })
    }
}

/// What stands between a template's name and a version's number.
const VERSION: &str = " version ";

/// One thing that names an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Reference {
    /// What kind of thing.
    pub kind: Kind,
    /// Which one: `web version 3`, `storefront/production`, `i-0123…`.
    pub id: String,
}

impl Reference {
    /// A reference by something of this name.
    pub fn new(kind: Kind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }

    /// A reference by a version of a launch template.
    pub fn version(template: &str, number: u64) -> Self {
        Self::new(Kind::LaunchTemplate, format!("{template}{VERSION}{number}"))
    }

    /// The template's name and the number, if it is a version that names the image by its id.
    pub fn as_version(&self) -> Option<(TemplateName, u64)> {
        // No template's name has a space.
        let (template, number) = self.id.split_once(VERSION).filter(|_| self.kind == Kind::LaunchTemplate)?;
        Some((template.parse().ok()?, number.parse().ok()?))
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind, self.id)
    }
}

/// Every image id in a text: the text itself, an item of a list, a field of some JSON.
///
/// People keep ids in parameters of every shape. One that is missed here is an image destroyed in use, so this looks at
/// each word and not at the shape.
pub fn images_in(text: &str) -> impl Iterator<Item = AmiId> {
    let words = text.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '-'));
    words.filter_map(|word| AmiId::parse(word).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_found_in_a_text_of_any_shape() {
        let found = |text: &str| images_in(text).map(|image| image.to_string()).collect::<Vec<_>>();
        let (one, two) = ("ami-0123456789abcdef0", "ami-0fedcba9876543210");
        assert_eq!(found(one), [one]);
        assert_eq!(found(&format!("{one},{two}")), [one, two]);
        assert_eq!(found(&format!(r#"{{"east": "{one}", "west": ["{two}"]}}"#)), [one, two]);
        assert_eq!(found(&format!("AMI={one}\nOLD={two}\n")), [one, two]);
        assert_eq!(found("my-ami-0123456789abcdef0"), Vec::<String>::new());
        assert_eq!(found("none"), Vec::<String>::new());
    }

    #[test]
    fn a_version_that_names_an_image_by_its_id_is_found_again_by_its_reference() {
        let version = Reference::version("web", 12);
        assert_eq!(version.to_string(), "a launch template names it (web version 12)");
        assert_eq!(version.as_version(), Some(("web".parse().unwrap(), 12)));
        let by_parameter = Reference::new(Kind::LaunchTemplate, "web version 12, by parameter /blue");
        assert_eq!(by_parameter.as_version(), None);
        assert_eq!(Reference::new(Kind::Parameter, "web version 12").as_version(), None);
    }
}
