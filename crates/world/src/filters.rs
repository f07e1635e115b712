//! Filters: a name, and values with wildcards of which one must match.

use crate::{ApiError, Result, Tags};

/// One filter of a `Describe…` call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its name: `instance-state-name`, `tag:KEY`, `tag-key`.
    pub name: String,
    /// Its values, with `*` and `?`.
    pub values: Vec<String>,
}

/// What a resource has under a filter's name; none when the resource knows no such filter.
pub(crate) trait Filtered {
    fn field(&self, name: &str) -> Option<Vec<String>>;
    fn tags(&self) -> &Tags;
}

/// Whether a resource passes every filter; a name that it doesn't know is an error.
pub(crate) fn matches(resource: &impl Filtered, filters: &[Filter]) -> Result<bool> {
    let mut all = true;
    for filter in filters {
        let name = filter.name.as_str();
        if filter.values.is_empty() {
            return Err(ApiError::missing("Filter.Value"));
        }
        let fields = if let Some(key) = name.strip_prefix("tag:") {
            resource.tags().get(key).cloned().into_iter().collect()
        } else if name == "tag-key" {
            resource.tags().keys().cloned().collect()
        } else {
            let unknown =
                || ApiError::new("InvalidParameterValue", format!("The filter '{name}' is invalid"));
            resource.field(name).ok_or_else(unknown)?
        };
        // Every name is checked even when the resource is out already: a mistake is one for every resource.
        all &= fields.iter().any(|field| filter.values.iter().any(|value| wildcard(value, field)));
    }
    Ok(all)
}

/// Whether the text matches a pattern with `*` (any text) and `?` (one character); `\` takes their meaning away.
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let mut characters = pattern.chars();
    let mut pattern = Vec::new();
    while let Some(c) = characters.next() {
        match c {
            '\\' => pattern.push((characters.next().unwrap_or('\\'), true)),
            c => pattern.push((c, false)),
        }
    }
    let text: Vec<char> = text.chars().collect();
    // The classic two pointers: after a `*`, a mismatch lets it take one more character.
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some(('*', false)) => {
                star = Some((p, t));
                p += 1;
            }
            Some((c, literal)) if *c == text[t] || (*c == '?' && !literal) => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|part| *part == ('*', false))
}
