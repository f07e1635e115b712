//! The query protocol's form: `Filter.1.Value.2=x` read as a tree, with nothing in it overlooked.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use ovenbird_sim::ApiError;

/// A form as it came.
#[derive(Debug)]
pub(super) struct Form {
    values: BTreeMap<String, String>,
    read: Mutex<BTreeSet<String>>,
    /// Whether a parameter without a value is as one that isn't there.
    empty_is_absent: bool,
}

impl Form {
    /// Reads an encoded body.
    pub fn parse(body: &[u8]) -> Self {
        let values =
            form_urlencoded::parse(body).map(|(name, value)| (name.into_owned(), value.into_owned()));
        Self { values: values.collect(), read: Mutex::default(), empty_is_absent: false }
    }

    /// Reads an encoded body as EC2 does: a parameter without a value, as `IamInstanceProfile.Name=`, says nothing.
    pub fn ec2(body: &[u8]) -> Self {
        Self { empty_is_absent: true, ..Self::parse(body) }
    }

    /// All of it.
    pub fn root(&self) -> Params<'_> {
        Params { form: self, prefix: String::new() }
    }

    /// Fails if something was never asked for: it would be silently without effect.
    pub fn finish(&self) -> Result<(), ApiError> {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let unread = self.values.keys().find(|name| !read.contains(*name));
        match unread {
            None => Ok(()),
            Some(name) => {
                Err(ApiError::new("UnknownParameter", format!("The parameter {name} is not recognized")))
            }
        }
    }
}

/// A part of a form.
#[derive(Debug, Clone)]
pub(super) struct Params<'a> {
    form: &'a Form,
    prefix: String,
}

impl<'a> Params<'a> {
    /// The parameter's whole name.
    pub fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A parameter's value.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.possibly_empty(name).filter(|value| !(self.form.empty_is_absent && value.is_empty()))
    }

    /// Reads a list that is empty: SDKs send its name alone.
    pub fn empty_list(&self, name: &str) {
        if self.form.values.get(&self.name(name)).is_some_and(String::is_empty) {
            self.possibly_empty(name);
        }
    }

    /// A parameter as it stands: for the few that mean something when they are empty.
    pub fn possibly_empty(&self, name: &str) -> Option<&'a str> {
        let name = self.name(name);
        let value = self.form.values.get(&name)?;
        self.form.read.lock().unwrap_or_else(PoisonError::into_inner).insert(name);
        Some(value)
    }

    /// A parameter that must be there.
    pub fn required(&self, name: &str) -> Result<&'a str, ApiError> {
        self.text(name).filter(|value| !value.is_empty()).ok_or_else(|| {
            ApiError::new(
                "MissingParameter",
                format!("The request must contain the parameter {}", self.name(name)),
            )
        })
    }

    /// A parameter of any type that is written as text.
    pub fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, ApiError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            let message = format!("Invalid value '{text}' for {}", self.name(name));
            ApiError::new("InvalidParameterValue", message)
        })
    }

    /// A parameter that has one of these values, if it is there.
    pub fn choice(&self, name: &str, allowed: &[&str]) -> Result<Option<&'a str>, ApiError> {
        match self.text(name) {
            Some(other) if !allowed.contains(&other) => {
                let problem = format!("Use {}.", allowed.join(", "));
                Err(ApiError::value(other, &self.name(name), &problem))
            }
            value => Ok(value),
        }
    }

    /// A truth value; false when it isn't there.
    pub fn flag(&self, name: &str) -> Result<bool, ApiError> {
        Ok(self.parsed(name)?.unwrap_or(false))
    }

    /// A part with its own names: `MetadataOptions`.
    pub fn part(&self, name: &str) -> Self {
        Self { form: self.form, prefix: format!("{}{name}.", self.prefix) }
    }

    /// A list of parts: `Filter.1.…`, `Filter.2.…`, by their numbers.
    pub fn list(&self, name: &str) -> Vec<Self> {
        let numbers = self.numbers(name);
        numbers.into_iter().map(|number| self.part(&format!("{name}.{number}"))).collect()
    }

    /// A list of texts: `InstanceId.1`, `InstanceId.2`.
    pub fn texts(&self, name: &str) -> Vec<String> {
        let numbers = self.numbers(name);
        numbers
            .iter()
            .filter_map(|number| self.possibly_empty(&format!("{name}.{number}")))
            .map(str::to_owned)
            .collect()
    }

    fn numbers(&self, name: &str) -> BTreeSet<u32> {
        let prefix = format!("{}{name}.", self.prefix);
        let names = self.form.values.range(prefix.clone()..).map(|(name, _)| name);
        let below = names.map_while(|name| name.strip_prefix(&prefix));
        below.filter_map(|rest| rest.split('.').next()?.parse().ok()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Form;

    #[test]
    fn lists_are_in_the_order_of_their_numbers() {
        let form = Form::parse(b"F.10.Name=b&F.2.Name=a&F.2.Value.1=x&F.2.Value.2=y&Id.1=i");
        let root = form.root();
        let names: Vec<_> = root.list("F").iter().map(|one| one.text("Name")).collect();
        assert_eq!(names, [Some("a"), Some("b")]);
        assert_eq!(root.list("F")[0].texts("Value"), ["x", "y"]);
        assert_eq!(root.texts("Id"), ["i"]);
        assert!(form.finish().is_ok());
    }

    #[test]
    fn to_ec2_a_parameter_without_a_value_says_nothing() {
        let form = Form::ec2(b"Profile.Name=&Tag.1.Value=&F.1.Value.1=");
        let root = form.root();
        assert_eq!(root.part("Profile").text("Name"), None);
        assert_eq!(root.list("Tag")[0].possibly_empty("Value"), Some(""));
        assert_eq!(root.list("F")[0].texts("Value"), [""]);
        assert!(form.finish().is_ok(), "it was read all the same");
        assert_eq!(Form::parse(b"Name=").root().text("Name"), Some(""));
    }

    #[test]
    fn an_empty_list_is_its_name_alone_and_a_value_there_is_an_error() {
        for (form, read) in [(&b"Names="[..], true), (b"Names=web", false)] {
            let form = Form::parse(form);
            form.root().empty_list("Names");
            assert_eq!(form.finish().is_ok(), read);
        }
    }

    #[test]
    fn what_nobody_read_is_an_error() {
        let form = Form::parse(b"Action=X&Surprise=1");
        assert_eq!(form.root().text("Action"), Some("X"));
        let error = form.finish().expect_err("Surprise was not read");
        assert_eq!(error.code, "UnknownParameter");
        assert!(error.message.contains("Surprise"));
    }
}
