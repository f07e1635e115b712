//! Patterns of file names.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Which names of files are artifacts, as `*.jar`: `*` stands for any characters, `?` for one, all others for themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Names(String);

impl Names {
    /// Reads a pattern; none when it is empty, has a `/`, which no file's name has, or a control character.
    pub fn parse(pattern: &str) -> Option<Self> {
        let fits = !pattern.is_empty() && !pattern.contains('/') && !pattern.chars().any(char::is_control);
        fits.then(|| Self(pattern.to_owned()))
    }

    /// Whether a file of this name is one.
    pub fn has(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.chars().collect(), name.chars().collect());
        let (mut at, mut from) = (0, 0);
        // Where the last `*` stands, and up to where of the name it reaches: it takes one more when the rest doesn't fit.
        let mut star: Option<(usize, usize)> = None;
        while from < name.len() {
            match (pattern.get(at), star) {
                (Some('*'), _) => {
                    star = Some((at, from));
                    at += 1;
                }
                (Some(one), _) if *one == '?' || *one == name[from] => (at, from) = (at + 1, from + 1),
                (_, Some((place, reach))) => {
                    star = Some((place, reach + 1));
                    (at, from) = (place + 1, reach + 1);
                }
                (_, None) => return false,
            }
        }
        pattern[at..].iter().all(|one| *one == '*')
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn a_pattern_has_the_names_that_it_says_and_no_other() {
        for (pattern, has, hasn_t) in [
            (
                "*.jar",
                &["app.jar", ".jar", "a.jar.jar"][..],
                &["app.war", "app.jar.sha256", "app.JAR", ""][..],
            ),
            ("app-?.?.zip", &["app-1.2.zip"], &["app-10.2.zip", "app-1.2.zipx", "app-1..zip"]),
            ("*", &["x", ""], &[]),
            ("a*b*c", &["abc", "aXbXbXc", "abbcc"], &["ab", "abcd", "cba"]),
            ("ä?", &["äö"], &["ä"]),
            ("app", &["app"], &["apps", "ap", "*"]),
            ("[a]*", &["[a]x"], &["ax"]),
        ] {
            let names = Names::parse(pattern).unwrap();
            for name in has {
                assert!(names.has(name), "{pattern} {name}");
            }
            for name in hasn_t {
                assert!(!names.has(name), "{pattern} {name}");
            }
        }
        for pattern in ["", "1.2/*.jar", "a\nb"] {
            assert_eq!(Names::parse(pattern), None, "{pattern:?}");
        }
    }
}
