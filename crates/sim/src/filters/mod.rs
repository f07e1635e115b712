//! Filters: a name, and values with wildcards of which one must match.
//!
//! Every filter that AWS documents for a kind of resource is known here, also where no resource can have what it asks
//! for: what the API reference of `Describe…` lists is the measure.

mod images;
mod instances;
mod interfaces;
mod network;
mod places;
mod storage;

pub(crate) use self::{
    instances::InstanceStatus,
    interfaces::NetworkInterface,
    places::{Fleet, Region, Zone},
};
use jiff::Timestamp;

use crate::{ApiError, Result, Tags, World};

/// One filter of a `Describe…` call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Its name: `instance-state-name`, `tag:KEY`, `tag-key`.
    pub name: String,
    /// Its values, with `*` and `?`.
    pub values: Vec<String>,
}

/// What a resource has under a filter's name.
type Field<T> = fn(&T, &World) -> Vec<String>;

/// The filters that a kind of resource knows, each with what a resource has under its name.
pub(crate) type Fields<T> = &'static [(&'static str, Field<T>)];

/// A kind of resource that filters choose from.
pub(crate) trait Filtered: 'static {
    const FIELDS: Fields<Self>;

    /// Its tags; none for a kind that has no tags, whose filters know none.
    fn tags(&self) -> Option<&Tags>;

    /// Whether resources of this kind have tags at all.
    const TAGGED: bool = true;
}

/// The one value that a resource has.
pub(crate) fn one(value: impl ToString) -> Vec<String> {
    vec![value.to_string()]
}

/// The value that a resource may have: nothing passes a filter for what it lacks.
pub(crate) fn any(value: Option<&impl ToString>) -> Vec<String> {
    value.map(ToString::to_string).into_iter().collect()
}

/// What no resource here has: nothing passes.
pub(crate) fn none<T: ?Sized>(_: &T, _: &World) -> Vec<String> {
    Vec::new()
}

/// What is false for every resource here.
pub(crate) fn no<T: ?Sized>(_: &T, _: &World) -> Vec<String> {
    one(false)
}

/// What is true for every resource here.
pub(crate) fn yes<T: ?Sized>(_: &T, _: &World) -> Vec<String> {
    one(true)
}

/// A time as EC2 writes it, and as its filters compare it.
pub fn time_text(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

pub(crate) fn at(time: Timestamp) -> Vec<String> {
    one(time_text(time))
}

/// What a filter looks at.
enum Part<'a, T> {
    Tag(&'a str),
    TagKeys,
    Field(Field<T>),
}

/// Filters that the kind of resource knows. They are read before the first resource is looked at: a mistake is one
/// where there is nothing, too.
pub(crate) struct Filters<'a, T>(Vec<(Part<'a, T>, &'a [String])>);

impl<'a, T: Filtered> Filters<'a, T> {
    /// Reads filters; a name that the resource doesn't know is an error.
    pub fn read(filters: &'a [Filter]) -> Result<Self> {
        let read = |filter: &'a Filter| {
            let name = filter.name.as_str();
            let known = T::FIELDS.iter().find(|(known, _)| *known == name);
            let part = match (name.strip_prefix("tag:"), known) {
                (Some(key), _) if T::TAGGED => Part::Tag(key),
                (_, Some((_, field))) => Part::Field(*field),
                (None, None) if name == "tag-key" && T::TAGGED => Part::TagKeys,
                (_, None) => {
                    let message = format!("The filter '{name}' is invalid");
                    return Err(ApiError::new("InvalidParameterValue", message));
                }
            };
            if filter.values.is_empty() {
                return Err(ApiError::missing("Filter.Value"));
            }
            Ok((part, filter.values.as_slice()))
        };
        filters.iter().map(read).collect::<Result<_>>().map(Self)
    }

    /// Whether a resource passes every one.
    pub fn pass(&self, world: &World, resource: &T) -> bool {
        self.0.iter().all(|(part, values)| {
            let fields = match part {
                Part::Tag(key) => {
                    resource.tags().and_then(|tags| tags.get(*key)).cloned().into_iter().collect()
                }
                Part::TagKeys => resource.tags().into_iter().flat_map(Tags::keys).cloned().collect(),
                Part::Field(field) => field(resource, world),
            };
            fields.iter().any(|field| values.iter().any(|value| wildcard(value, field)))
        })
    }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_matches_itself_and_a_star(text in "[a-z*?]{0,12}") {
            let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(wildcard(&escaped, &text));
            prop_assert!(wildcard("*", &text));
            let prefix = format!("{escaped}*");
            let longer = format!("{text}zz");
            prop_assert!(wildcard(&prefix, &longer));
        }
    }
}
