//! Recipes that differ in a few values alone: a template with `${var.NAME}` in its texts, and recipes that consist of the
//! template's path and the values.
//!
//! Values are put in where a recipe is read from a disk. What is pushed is a whole recipe, and bakes, digests and diffs know
//! nothing of templates. No value has a quote, a backslash or a line break: so it stays within the text that it is put into,
//! however that is quoted, and every line keeps its number.

use std::{collections::BTreeMap, ops::Range};

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::{
    RecipeErrors,
    mistake::{Source, quoted},
    reader::{Entries, entries, nearest},
};

/// How a variable begins in a text of the template; `}` ends it.
const OPEN: &str = "${var.";

/// A recipe that consists of a template's path and values.
#[derive(Debug)]
pub struct Filling<'t> {
    name: &'t str,
    text: &'t str,
    /// The template's path, from the folder of the recipe.
    pub template: String,
    /// The place of that path in the recipe.
    at: Range<usize>,
    values: BTreeMap<String, Value>,
}

/// The value of a variable.
#[derive(Debug)]
struct Value {
    text: String,
    /// Whether it is a text. A number or a flag is one in the template, too, where it stands alone.
    is_text: bool,
    /// Where the variable is named in the recipe.
    at: Range<usize>,
}

/// A text of a template.
struct Text {
    at: Range<usize>,
    /// Whether it is a value, and not a key.
    is_value: bool,
}

impl<'t> Filling<'t> {
    /// Reads such a recipe; none when the text is a whole recipe, or no TOML: what is wrong with it then is told as of one.
    pub fn read(name: &'t str, text: &'t str) -> Result<Option<Self>, RecipeErrors> {
        let (toml, errors) = DeTable::parse_recoverable(text);
        let mut keys = entries(toml.into_inner());
        let Some((key, template)) = keys.remove("template").filter(|_| errors.is_empty()) else {
            return Ok(None);
        };
        let mut source = Source::new(name, text);
        let at = template.span();
        let path = template.get_ref().as_str().filter(|path| !path.is_empty());
        if path.is_none() {
            source.wrong(&key, "`template` is no path", "Write `template = \"../service.toml\"`");
        }
        let template = path.unwrap_or_default().to_owned();
        let values = match keys.remove("variables") {
            Some((_, given)) => values(&mut source, given),
            None => BTreeMap::new(),
        };
        for (key, (at, _)) in keys {
            let hint = "Write it into the template: a recipe with `template` has `[variables]` beside it, and no more";
            source.wrong(&at, format!("unknown key {} beside `template`", quoted(&key)), hint);
        }
        let errors = source.into_errors();
        if errors.0.is_empty() { Ok(Some(Self { name, text, template, at, values })) } else { Err(errors) }
    }

    /// The mistake that the template can't be read.
    pub fn unreadable(&self, problem: &str) -> RecipeErrors {
        let mut source = Source::new(self.name, self.text);
        let problem = format!("template {} can't be read: {problem}", quoted(&self.template));
        source.wrong(&self.at, problem, "Name a file by its path from this recipe's folder");
        source.into_errors()
    }

    /// The template's text with all values in it. A variable without a value is a mistake, and so is a value that the
    /// template has no use for.
    pub fn fill(&self, name: &str, template: &str) -> Result<String, RecipeErrors> {
        let (toml, errors) = DeTable::parse_recoverable(template);
        if !errors.is_empty() {
            // Told where it is read as a recipe.
            return Ok(template.to_owned());
        }
        let mut texts = Vec::new();
        collect(entries(toml.into_inner()), &mut texts);
        texts.sort_by_key(|text| text.at.start);
        let mut of_template = Source::new(name, template);
        let (mut filled, mut end) = (String::new(), 0);
        let mut unused: BTreeMap<&str, &Value> =
            self.values.iter().map(|(name, value)| (name.as_str(), value)).collect();
        for Text { at, is_value } in texts {
            filled.push_str(&template[end..at.start]);
            end = at.end;
            let written = &template[at.clone()];
            let (mut text, mut rest, mut alone) = (String::new(), written, None);
            while let Some((before, after)) = rest.split_once(OPEN) {
                let Some((variable, after)) = after.split_once('}') else {
                    of_template.wrong(&at, format!("`{OPEN}` has no end"), "Write `${var.NAME}`");
                    break;
                };
                unused.remove(variable);
                text.push_str(before);
                match self.values.get(variable) {
                    Some(value) => {
                        text.push_str(&value.text);
                        alone = is_quote(before).then_some(value).filter(|_| is_quote(after));
                    }
                    None => self.lacks(&mut of_template, &at, variable),
                }
                rest = after;
            }
            text.push_str(rest);
            match alone.filter(|value| is_value && !value.is_text) {
                Some(value) => filled.push_str(&value.text),
                None => filled.push_str(&text),
            }
        }
        filled.push_str(&template[end..]);
        let mut errors = of_template.into_errors();
        let mut source = Source::new(self.name, self.text);
        for (variable, value) in unused {
            let problem = format!("the template has no variable {}", quoted(variable));
            source.wrong(
                &value.at,
                problem,
                format!("Leave it out, or write `${{var.{variable}}}` into the template"),
            );
        }
        errors.0.extend(source.into_errors().0);
        if errors.0.is_empty() { Ok(filled) } else { Err(errors) }
    }

    fn lacks(&self, source: &mut Source<'_>, at: &Range<usize>, variable: &str) {
        let hint = match nearest(variable, self.values.keys().map(String::as_str)) {
            Some(word) => format!("Did you mean `{word}`?"),
            None => format!("Give it a value under `[variables]` in {}", self.name),
        };
        source.wrong(at, format!("variable {} has no value", quoted(variable)), hint);
    }
}

/// Whether a text is what a TOML text begins or ends with, and no more.
fn is_quote(text: &str) -> bool {
    matches!(text, "\"" | "'" | "\"\"\"" | "'''")
}

fn values(source: &mut Source<'_>, given: Spanned<DeValue<'_>>) -> BTreeMap<String, Value> {
    let at = given.span();
    let DeValue::Table(table) = given.into_inner() else {
        source.wrong(&at, "`variables` is no table", "Write `[variables]`, and below it `NAME = \"VALUE\"`");
        return BTreeMap::new();
    };
    let mut values = BTreeMap::new();
    for (name, (at, value)) in entries(table) {
        let value_at = value.span();
        let (text, is_text) = match value.into_inner() {
            DeValue::String(text) => (text.into_owned(), true),
            DeValue::Integer(number) if number.radix() == 10 => (number.as_str().to_owned(), false),
            DeValue::Boolean(flag) => (flag.to_string(), false),
            DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                let problem = format!("variable {} is no text, whole number or flag", quoted(&name));
                source.wrong(&value_at, problem, "Write it as a text in quotes");
                continue;
            }
        };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            let hint = "Use letters, digits, `-` and `_`";
            source.wrong(&at, format!("{} is no name of a variable", quoted(&name)), hint);
        }
        if text.contains(['"', '\'', '\\']) || text.contains(char::is_control) {
            let problem = format!("variable {} has a quote, a backslash or a line break", quoted(&name));
            source.wrong(
                &value_at,
                problem,
                "Put what needs them into the template, or into a file beside it",
            );
        }
        values.insert(name, Value { text, is_text, at });
    }
    values
}

/// All texts of a table, keys among them, in no order.
fn collect(table: Entries<'_>, texts: &mut Vec<Text>) {
    for (at, value) in table.into_values() {
        texts.push(Text { at, is_value: false });
        of_value(value, texts);
    }
}

fn of_value(value: Spanned<DeValue<'_>>, texts: &mut Vec<Text>) {
    let at = value.span();
    match value.into_inner() {
        DeValue::String(_) => texts.push(Text { at, is_value: true }),
        DeValue::Array(items) => items.into_iter().for_each(|item| of_value(item, texts)),
        DeValue::Table(table) => collect(entries(table), texts),
        DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"pipeline = "${var.name}" # of ${var.nobody}
base.channel = 'jvm-${var.java}/stable'
[[step]]
shell = """
install -d /opt/${var.name}
echo ${var.java} ${HOME}
"""
environment = { "PORT_${var.name}" = "${var.port}0" }
[[test]]
port = "${var.port}"
"#;

    const VALUES: &str =
        "template = \"../t.toml\"\n[variables]\nname = \"cart\"\njava = \"21\"\nport = 808\n";

    fn filled(values: &str, template: &str) -> Result<String, String> {
        let filling = Filling::read("cart/recipe.toml", values).map_err(|errors| errors.to_string())?;
        let filling = filling.expect("a filling");
        filling.fill("t.toml", template).map_err(|errors| errors.to_string())
    }

    #[test]
    fn values_stand_where_the_template_names_them_and_lines_keep_their_number() {
        let expected = r#"pipeline = "cart" # of ${var.nobody}
base.channel = 'jvm-21/stable'
[[step]]
shell = """
install -d /opt/cart
echo 21 ${HOME}
"""
environment = { "PORT_cart" = "8080" }
[[test]]
port = 808
"#;
        assert_eq!(filled(VALUES, TEMPLATE).unwrap(), expected);
        // A number in quotes is a text, also where it stands alone.
        let quoted = filled(&VALUES.replace("808", "\"808\""), TEMPLATE).unwrap();
        assert!(quoted.ends_with("port = \"808\"\n"), "{quoted}");
    }

    #[test]
    fn what_has_no_value_or_no_use_is_told_with_its_place() {
        let told = filled(&VALUES.replace("java", "jave"), TEMPLATE).unwrap_err();
        for words in [
            "t.toml:2:16: variable `java` has no value",
            "Did you mean `jave`?",
            "cart/recipe.toml:4:1: the template has no variable `jave`",
        ] {
            assert!(told.contains(words), "no {words:?} in {told}");
        }
        let told = filled(VALUES, &TEMPLATE.replace("${var.port}0", "${var.port")).unwrap_err();
        assert!(told.contains("t.toml:8:") && told.contains("has no end"), "{told}");
    }

    #[test]
    fn a_value_stays_within_its_text() {
        for wrong in ["\"a\\\"b\"", "\"a'b\"", "\"a\\\\\"", "\"a\\nb\"", "1.5", "[1]", "0x10"] {
            let told = filled(&VALUES.replace("\"cart\"", wrong), TEMPLATE).unwrap_err();
            assert!(told.contains("cart/recipe.toml:3:8: variable `name`"), "{wrong}: {told}");
        }
        for (wrong, words) in [
            ("template = 1\n", "`template` is no path"),
            ("template = \"t\"\nvariables = 1\n", "`variables` is no table"),
            ("template = \"t\"\n[promote]\nchannel = \"a\"\n", "unknown key `promote` beside `template`"),
        ] {
            let told = filled(wrong, "").unwrap_err();
            assert!(told.contains(words), "{wrong}: {told}");
        }
    }

    #[test]
    fn a_whole_recipe_and_broken_toml_are_read_as_recipes() {
        for text in ["pipeline = \"a\"\n", "template = ", "variables.a = 1\n"] {
            assert!(Filling::read("recipe.toml", text).unwrap().is_none(), "{text}");
        }
        assert_eq!(filled(VALUES, "pipeline = \"${var.name}").unwrap(), "pipeline = \"${var.name}");
    }
}
