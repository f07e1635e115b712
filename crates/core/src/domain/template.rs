//! Launch templates with all their versions, and which of these are of no use to anybody any more.
//!
//! Each version that names an image keeps it. A rollout makes a version for each image that it brings, so without this no
//! image that was ever rolled out could go.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    id::{AmiId, TemplateName},
    rollout::Template,
};

/// What the description of a version begins with that Ovenbird made; the image's id follows.
const MADE: &str = "Ovenbird: ";

/// The description of a version that Ovenbird makes for an image.
pub fn description(image: &AmiId) -> String {
    format!("{MADE}{image}")
}

/// A launch template with every version that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTemplate {
    /// Its id: `lt-…`.
    pub id: String,
    /// Its name.
    pub name: TemplateName,
    /// Whether it has this stack's tag: only then may Ovenbird change it.
    pub ours: bool,
    /// The version that a launch without one uses.
    pub default: u64,
    /// Its versions, in any order.
    pub versions: Vec<Version>,
}

/// A version of a launch template; it never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// Its number, from 1; a number is never given twice.
    pub number: u64,
    /// The image that it names by its id; none for `resolve:ssm:…` and for one without an image.
    pub image: Option<AmiId>,
    /// What whoever made it wrote to it.
    pub description: String,
    /// When it was made.
    pub created: Timestamp,
}

/// Something that launches by the number of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// The template, by its id or by its name.
    pub template: String,
    /// The version.
    pub version: u64,
    /// What launches by it, in words: `group storefront`.
    pub by: String,
}

/// Everything that launches by the number of a version: by the template's id or name, and the number.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<(String, u64), BTreeSet<String>>);

impl Pins {
    /// Adds one.
    pub fn add(&mut self, Pin { template, version, by }: Pin) {
        self.0.entry((template, version)).or_default().insert(by);
    }

    /// What launches by a version of this template, if something does.
    fn of(&self, template: &LaunchTemplate, version: u64) -> Option<&str> {
        [template.id.as_str(), template.name.as_str()]
            .into_iter()
            .filter_map(|name| self.0.get(&(name.to_owned(), version)))
            .flatten()
            .map(String::as_str)
            .next()
    }
}

impl Extend<Pin> for Pins {
    fn extend<T: IntoIterator<Item = Pin>>(&mut self, pins: T) {
        pins.into_iter().for_each(|pin| self.add(pin));
    }
}

/// How a version stands that names an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Ovenbird made it, and newer ones took its place long enough ago.
    Superseded(Template),
    /// It stays, and why.
    Stays(String),
}

impl Standing {
    /// How each version of a template stands that isn't this stack's.
    pub fn foreign() -> Self {
        Self::Stays("the template isn't this stack's".to_owned())
    }
}

impl LaunchTemplate {
    /// A version by its number.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.iter().find(|version| version.number == number)
    }

    /// The newest version.
    pub fn latest(&self) -> Option<u64> {
        self.versions.iter().map(|version| version.number).max()
    }

    /// When a version was superseded at the earliest: when the next one was made.
    fn superseded(&self, number: u64) -> Option<Timestamp> {
        let newer = self.versions.iter().filter(|version| version.number > number);
        newer.min_by_key(|version| version.number).map(|version| version.created)
    }

    /// Why something may launch by a version; none when nothing does.
    pub fn use_of(&self, number: u64, pins: &Pins) -> Option<String> {
        if number == self.default {
            Some("it is the default one".to_owned())
        } else if self.latest() == Some(number) {
            Some("it is the newest one".to_owned())
        } else {
            pins.of(self, number).map(|by| format!("{by} launches by it"))
        }
    }

    /// How a version stands, for which `age` must have passed since a newer one was made.
    ///
    /// EC2 deletes no default version. The newest one is what `$Latest` means, which many launch by.
    pub fn standing(&self, version: &Version, pins: &Pins, age: SignedDuration, now: Timestamp) -> Standing {
        let number = version.number;
        let made_by_us =
            version.image.as_ref().is_some_and(|image| description(image) == version.description);
        let stays = if !self.ours {
            return Standing::foreign();
        } else if !made_by_us {
            "Ovenbird didn't make it".to_owned()
        } else if let Some(used) = self.use_of(number, pins) {
            used
        } else if self.superseded(number).is_none_or(|since| now.duration_since(since) < age) {
            "it was superseded lately".to_owned()
        } else {
            let template = Template { id: self.id.clone(), name: self.name.to_string(), version: number };
            return Standing::Superseded(template);
        };
        Standing::Stays(stays)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: SignedDuration = SignedDuration::from_hours(24);

    fn now() -> Timestamp {
        "2026-06-01T00:00:00Z".parse().unwrap()
    }

    fn image(number: u64) -> AmiId {
        AmiId::parse(&format!("ami-{number:017x}")).unwrap()
    }

    /// Four versions that Ovenbird made, 40, 30, 20 and 10 days ago; the third is the default.
    fn web() -> LaunchTemplate {
        let version = |number: u64| Version {
            number,
            image: Some(image(number)),
            description: description(&image(number)),
            created: now() - DAY * (50 - 10 * i32::try_from(number).unwrap()),
        };
        LaunchTemplate {
            id: "lt-0123456789abcdef0".into(),
            name: "web".parse().unwrap(),
            ours: true,
            default: 3,
            versions: vec![version(4), version(1), version(3), version(2)],
        }
    }

    fn pinned(template: &str, version: u64) -> Pins {
        let mut pins = Pins::default();
        pins.add(Pin { template: template.into(), version, by: "group blue".into() });
        pins
    }

    /// Why a version stays for thirty days after it was superseded; nothing of one that doesn't.
    fn why(web: &LaunchTemplate, number: u64, pins: &Pins) -> String {
        match web.standing(web.version(number).unwrap(), pins, DAY * 30, now()) {
            Standing::Stays(why) => why,
            Standing::Superseded(template) => {
                assert_eq!((template.id, template.version), (web.id.clone(), number));
                String::new()
            }
        }
    }

    #[test]
    fn only_a_version_that_is_neither_newest_nor_default_is_superseded() {
        let (web, none) = (web(), Pins::default());
        let all: Vec<String> = (1..=4).map(|number| why(&web, number, &none)).collect();
        let expected = ["", "it was superseded lately", "it is the default one", "it is the newest one"];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_somebody_else_made_or_changed_stays() {
        let none = Pins::default();
        assert_eq!(
            why(&LaunchTemplate { ours: false, ..web() }, 1, &none),
            "the template isn't this stack's"
        );
        let mut other = web();
        other.versions[1].description = "by hand".into();
        assert_eq!(why(&other, 1, &none), "Ovenbird didn't make it");
        // A person copied one with its description, and gave it another image.
        let mut copied = web();
        copied.versions[1].image = Some(image(9));
        assert_eq!(why(&copied, 1, &none), "Ovenbird didn't make it");
        copied.versions[1].image = None;
        assert_eq!(why(&copied, 1, &none), "Ovenbird didn't make it");
    }

    #[test]
    fn a_version_that_is_launched_by_its_number_stays() {
        for template in ["lt-0123456789abcdef0", "web"] {
            assert_eq!(why(&web(), 1, &pinned(template, 1)), "group blue launches by it");
            assert_eq!(why(&web(), 1, &pinned(template, 2)), "");
        }
        assert_eq!(why(&web(), 1, &pinned("webs", 1)), "");
    }

    #[test]
    fn a_version_is_superseded_when_the_next_one_was_made_and_not_when_it_was_made_itself() {
        let (mut web, none) = (web(), Pins::default());
        let second = SignedDuration::from_secs(1);
        // The second one, which took the first one's place.
        web.versions[3].created = now() - DAY * 30 + second;
        assert_eq!(why(&web, 1, &none), "it was superseded lately");
        web.versions[3].created = now() - DAY * 30;
        assert_eq!(why(&web, 1, &none), "");
    }
}
