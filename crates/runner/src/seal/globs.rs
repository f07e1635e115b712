//! Patterns of paths: `*` and `?` stay within a name, `**` stands for any folders.

use std::path::Path;

use anyhow::{Context as _, Result};
use regex_lite::Regex;

/// Whole paths, by pattern: what a recipe keeps.
#[derive(Debug, Default)]
pub struct Globs(Vec<Regex>);

impl Globs {
    pub fn new(patterns: &[String]) -> Result<Self> {
        let regexes = patterns.iter().map(|pattern| {
            regex(&of_path(pattern)).with_context(|| format!("`{pattern}` is not a pattern of paths"))
        });
        Ok(Self(regexes.collect::<Result<_>>()?))
    }

    /// Whether a pattern names this very path.
    pub fn name(&self, path: &Path) -> bool {
        !self.0.is_empty() && {
            let text = path.to_string_lossy();
            self.0.iter().any(|regex| regex.is_match(&text))
        }
    }

    /// Whether a pattern names this path or a folder that it is in.
    pub fn hold(&self, path: &Path) -> bool {
        path.ancestors().any(|path| self.name(path))
    }
}

/// One name of a path.
pub fn of_name(pattern: &str) -> Result<Regex> {
    regex(&part(pattern))
}

fn regex(pattern: &str) -> Result<Regex> {
    Ok(Regex::new(&format!("(?s)^{pattern}$"))?)
}

fn of_path(pattern: &str) -> String {
    let mut parts = pattern.split('/').filter(|part| !part.is_empty()).peekable();
    let mut text = String::new();
    while let Some(name) = parts.next() {
        text.push_str(&match (name, parts.peek()) {
            ("**", None) => "/.*".to_owned(),
            ("**", Some(_)) => "(?:/.*)?".to_owned(),
            (name, _) => format!("/{}", part(name)),
        });
    }
    text
}

fn part(pattern: &str) -> String {
    let letter = |letter: char| match letter {
        '*' => "[^/]*".to_owned(),
        '?' => "[^/]".to_owned(),
        other => regex_lite::escape(&other.to_string()),
    };
    pattern.chars().map(letter).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn globs(pattern: &str) -> Globs {
        Globs::new(&[pattern.to_owned()]).unwrap()
    }

    #[test]
    fn a_star_stays_within_a_name_and_two_stand_for_folders() {
        for (pattern, path, named) in [
            ("/var/log/*.log", "/var/log/a.log", true),
            ("/var/log/*.log", "/var/log/a/b.log", false),
            ("/var/log/*.log", "/var/log/a.log.1", false),
            ("/var/log/a.l?g", "/var/log/axlog", false),
            ("/var/log/a.l?g", "/var/log/a.lög", true),
            ("/var/log/**/b.log", "/var/log/b.log", true),
            ("/var/log/**/b.log", "/var/log/a/c/b.log", true),
            ("/var/log/**", "/var/log/a/c/b.log", true),
            ("/var/log/**", "/var/log", false),
            ("/srv/[a]+(b)", "/srv/[a]+(b)", true),
            ("/srv/a/", "/srv/a", true),
            ("/srv/*", "/srv/a\nb", true),
        ] {
            assert_eq!(globs(pattern).name(Path::new(path)), named, "{pattern} {path}");
        }
    }

    #[test]
    fn what_is_in_a_kept_folder_is_kept() {
        let globs = globs("/var/lib/shop");
        assert!(globs.hold(Path::new("/var/lib/shop/data/a")));
        assert!(!globs.hold(Path::new("/var/lib/shopper")));
    }
}
