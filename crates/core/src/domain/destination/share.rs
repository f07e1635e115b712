//! How much of a group a stage replaces.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much of a group has the new image at the end of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Share {
    /// So many instances, at least one.
    Instances(u32),
    /// So many per cent of them, 1 to 100.
    Percent(u32),
}

impl Share {
    /// All of it.
    pub const ALL: Self = Self::Percent(100);

    /// Reads `1 instance`, `3 instances` or `25%`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(percent) = text.strip_suffix('%') {
            return percent
                .trim()
                .parse()
                .ok()
                .filter(|percent| (1..=100).contains(percent))
                .map(Self::Percent);
        }
        let (count, word) = text.split_once(' ')?;
        let count: u32 = count.parse().ok().filter(|count| (1..=10_000).contains(count))?;
        ["instance", "instances"].contains(&word.trim()).then_some(Self::Instances(count))
    }

    /// How many instances of a group of this size that is. A share is never none, and never more than there are.
    pub fn of(self, size: u32) -> u32 {
        let count = match self {
            Self::Instances(count) => count,
            Self::Percent(percent) => (size * percent).div_ceil(100),
        };
        count.clamp(1, size.max(1))
    }

    /// What of that is left to replace when so many instances have the image already, in per cent as a refresh is told;
    /// none means all that is left.
    ///
    /// A refresh that skips matching instances counts those that it has to replace. What it is told must not be rounded
    /// up: one instance more than asked for would be one user more who meets a bad image.
    pub fn percent_left(self, size: u32, new: u32) -> Option<u32> {
        if self.is_all() || size == 0 {
            return None;
        }
        let (wanted, left) = (self.of(size).saturating_sub(new), size.saturating_sub(new));
        if left == 0 || wanted >= left {
            return None;
        }
        Some((wanted * 100 / left).clamp(1, 99))
    }

    /// How many new instances the largest of these stages starts in a group of this size: all of them come before the old
    /// ones go.
    pub fn largest_step(stages: &[Self], size: u32) -> u32 {
        let sizes = stages.iter().map(|stage| stage.of(size).min(size)).chain([size]);
        let steps = sizes.scan(0, |before, now| {
            let step = now.saturating_sub(*before);
            *before = u32::max(*before, now);
            Some(step)
        });
        steps.max().unwrap_or_default()
    }

    /// Whether that is the whole group, whatever its size.
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instances(1) => f.write_str("1 instance"),
            Self::Instances(count) => write!(f, "{count} instances"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_step_is_what_comes_at_once() {
        let step = |stages: &[&str], size| {
            let stages: Vec<Share> = stages.iter().map(|text| Share::parse(text).unwrap()).collect();
            Share::largest_step(&stages, size)
        };
        assert_eq!(step(&["1 instance", "100%"], 3), 2);
        assert_eq!(step(&["1 instance", "25%", "100%"], 12), 9);
        assert_eq!(step(&["75%", "100%"], 12), 9);
        assert_eq!(step(&["100%"], 1), 1);
        assert_eq!(step(&["1 instance", "100%"], 0), 0);
        assert_eq!(step(&["50%", "25%", "100%"], 4), 2);
    }

    #[test]
    fn a_share_is_read_and_written_the_same() {
        for text in ["1 instance", "3 instances", "25%", "100%"] {
            assert_eq!(Share::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "0%", "101%", "0 instances", "2", "two instances", "1 machine"] {
            assert_eq!(Share::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_is_at_least_one_instance_and_at_most_all() {
        assert_eq!(Share::Percent(25).of(3), 1);
        assert_eq!(Share::Percent(34).of(3), 2);
        assert_eq!(Share::Instances(5).of(3), 3);
        assert_eq!(Share::Percent(1).of(0), 1);
        assert_eq!(Share::ALL.of(7), 7);
    }

    #[test]
    fn what_is_left_is_a_part_of_what_has_no_image_yet_and_never_rounded_up() {
        assert_eq!(Share::Instances(1).percent_left(3, 0), Some(33));
        assert_eq!(Share::Percent(25).percent_left(8, 1), Some(14), "one of the seven that are left");
        assert_eq!(Share::Percent(50).percent_left(400, 199), Some(1), "one of 201 is at least one per cent");
        assert_eq!(Share::Instances(1).percent_left(1, 0), None, "that is all");
        assert_eq!(Share::ALL.percent_left(9, 3), None);
        assert_eq!(Share::Percent(25).percent_left(0, 0), None);
    }
}
