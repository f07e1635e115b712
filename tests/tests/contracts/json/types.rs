//! Rust's types, read from the sources, and what serde makes of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use quote::ToTokens as _;
use regex::Regex;
use syn::{Attribute, Expr, Fields, GenericArgument, Item, Lit, Meta, PathArguments, Type, UseTree};

use super::{
    super::sources,
    model::{Field, Json, Model, Shape},
};

/// A type's name with the file that it is in.
type Place = (PathBuf, Item);

/// Every type of some crates.
pub struct Types {
    known: BTreeMap<String, Vec<Place>>,
    /// Those that serde writes as a text, however they look inside.
    texts: BTreeSet<String>,
    /// What each file brings in: a name, with the path it comes by.
    uses: BTreeMap<PathBuf, Vec<(String, Vec<String>)>>,
}

impl Types {
    pub fn read(folders: &[&str]) -> Self {
        let id = Regex::new(r"id!\(\s*(?:///[^\n]*\s*)*(\w+),").expect("a pattern");
        let own = Regex::new(r"impl(?:<[^>]*>)? Serialize for (\w+)").expect("a pattern");
        let mut types = Self { known: BTreeMap::new(), texts: BTreeSet::new(), uses: BTreeMap::new() };
        for path in folders.iter().flat_map(sources) {
            let text = fs::read_to_string(&path).expect("its text");
            for found in id.captures_iter(&text).chain(own.captures_iter(&text)) {
                types.texts.insert(found[1].to_owned());
            }
            for item in syn::parse_file(&text).expect("Rust").items {
                let name = match &item {
                    Item::Struct(item) if is_printed(&item.attrs) => item.ident.to_string(),
                    Item::Enum(item) if is_printed(&item.attrs) => item.ident.to_string(),
                    Item::Type(item) => item.ident.to_string(),
                    Item::Use(item) => {
                        leaves(&item.tree, &[], types.uses.entry(path.clone()).or_default());
                        continue;
                    }
                    _ => continue,
                };
                types.known.entry(name).or_default().push((path.clone(), item));
            }
        }
        types
    }

    /// The words of a command's variants.
    pub fn variants(&self, of: &str) -> Vec<String> {
        let Some((_, Item::Enum(item))) = self.known[of].first() else { panic!("no enum `{of}`") };
        item.variants.iter().map(|variant| kebab(&variant.ident.to_string(), '-')).collect()
    }

    /// What serde makes of a type that is named in a file.
    pub fn json(&self, of: &Type, file: Option<&Path>, model: &mut Model) -> Json {
        match of {
            Type::Reference(reference) => self.json(&reference.elem, file, model),
            Type::Slice(slice) => Json::List(Box::new(self.json(&slice.elem, file, model))),
            Type::Array(array) => Json::List(Box::new(self.json(&array.elem, file, model))),
            Type::Path(path) => {
                let last = path.path.segments.last().expect("a name");
                let arguments: Vec<&Type> = match &last.arguments {
                    PathArguments::AngleBracketed(all) => all
                        .args
                        .iter()
                        .filter_map(|one| match one {
                            GenericArgument::Type(of) => Some(of),
                            _ => None,
                        })
                        .collect(),
                    _ => Vec::new(),
                };
                let mut inner = |at: usize| Box::new(self.json(arguments[at], file, model));
                match last.ident.to_string().as_str() {
                    "String" | "str" | "PathBuf" | "SocketAddr" => Json::Text,
                    "Timestamp" => Json::Time,
                    "bool" => Json::Truth,
                    "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" | "f64" => Json::Number,
                    "Value" => Json::Anything,
                    "Option" => Json::OrNull(inner(0)),
                    "Vec" | "BTreeSet" => Json::List(inner(0)),
                    "Box" => *inner(0),
                    "BTreeMap" => Json::Map(inner(1)),
                    name => self.named(name, file, model),
                }
            }
            other => panic!("{} is no type that is printed", other.to_token_stream()),
        }
    }

    fn named(&self, name: &str, file: Option<&Path>, model: &mut Model) -> Json {
        if self.texts.contains(name) {
            return Json::Text;
        }
        let (path, item) = self.find(name, file);
        let (attributes, own) = match item {
            Item::Type(item) => return self.json(&item.ty, Some(path), model),
            Item::Struct(item) => (&item.attrs, &item.ident),
            Item::Enum(item) => (&item.attrs, &item.ident),
            _ => panic!("`{name}` is no type"),
        };
        let serde = Serde::of(attributes);
        if serde.into_text {
            return Json::Text;
        }
        if let Item::Struct(item) = item
            && let Fields::Unnamed(fields) = &item.fields
        {
            return self.json(&fields.unnamed[0].ty, Some(path), model);
        }
        if let Item::Enum(item) = item
            && serde.untagged
        {
            let inner = item.variants.iter().map(|variant| {
                let Fields::Unnamed(fields) = &variant.fields else { panic!("`{name}` is untagged") };
                self.json(&fields.unnamed[0].ty, Some(path), model)
            });
            return Json::Either(inner.collect());
        }
        let shown = shown(name, path);
        // One of the local cloud is named with `Local` before it where it would be another one without.
        let whose = format!("{}:{own}", path.display());
        if let Some(known) = model.whose.get(&shown) {
            assert_eq!(*known, whose, "two types would be one in the docs");
            return Json::Shape(shown);
        }
        model.whose.insert(shown.clone(), whose);
        model.docs.insert(shown.clone(), doc(attributes, true));
        let shape = match item {
            Item::Struct(item) => Shape::Object(self.fields(&item.fields, path, model)),
            Item::Enum(item) => Shape::OneOf(self.all_of(item, &serde, path, model)),
            _ => panic!("`{name}` is no type"),
        };
        model.shapes.insert(shown.clone(), shape);
        Json::Shape(shown)
    }

    fn fields(&self, fields: &Fields, path: &Path, model: &mut Model) -> Vec<Field> {
        let mut found = Vec::new();
        for field in fields {
            let serde = Serde::of(&field.attrs);
            if serde.left_out {
                continue;
            }
            let json = self.json(&field.ty, Some(path), model);
            if serde.flatten {
                let Json::Shape(inner) = &json else { panic!("only an object is flattened") };
                let Shape::Object(inner) = &model.shapes[inner] else {
                    panic!("only an object is flattened")
                };
                found.extend(inner.clone());
                continue;
            }
            let name = field.ident.as_ref().expect("a name").to_string();
            found.push(Field {
                name: serde.rename.unwrap_or(name),
                json,
                may_be_missing: serde.skipped,
                doc: doc(&field.attrs, false),
            });
        }
        found
    }

    fn all_of(
        &self,
        item: &syn::ItemEnum,
        serde: &Serde,
        path: &Path,
        model: &mut Model,
    ) -> Vec<(Json, String)> {
        let variants = item.variants.iter().map(|variant| {
            let own = Serde::of(&variant.attrs);
            let word = variant.ident.to_string();
            let word = own.rename.unwrap_or_else(|| if serde.kebab { kebab(&word, '-') } else { word });
            let json = match &variant.fields {
                Fields::Unit => Json::Word(word),
                Fields::Unnamed(fields) => {
                    let inner = self.json(&fields.unnamed[0].ty, Some(path), model);
                    if own.untagged { inner } else { Json::Tagged(word, Box::new(inner)) }
                }
                Fields::Named(_) => panic!("`{}` has a variant with fields: give them a type", item.ident),
            };
            (json, doc(&variant.attrs, false))
        });
        variants.collect()
    }

    /// Which of the types of a name is meant: the file's own, or the one that it brings in.
    fn find(&self, name: &str, file: Option<&Path>) -> (&Path, &Item) {
        let local = |place: &&Place| place.0.starts_with(super::repository().join("crates/local"));
        let (name, only_local) = match name.strip_prefix("Local") {
            Some(rest) if !self.known.contains_key(name) => (rest, true),
            _ => (name, false),
        };
        let all = self.known.get(name).unwrap_or_else(|| panic!("no type `{name}`"));
        let mut found: Vec<&Place> = all.iter().filter(|place| !only_local || local(place)).collect();
        if let (Some(file), true) = (file, found.len() > 1) {
            let import = self.uses.get(file).into_iter().flatten().find(|(leaf, _)| leaf == name);
            let folder = file.iter().take_while(|part| *part != "src").collect::<PathBuf>();
            found.retain(|(path, _)| match import {
                None => path == file,
                Some((_, by)) => match by.first().map(String::as_str) {
                    Some("self") => path.starts_with(file.with_extension("")),
                    Some("ovenbird_core") => path.starts_with(super::repository().join("crates/core")),
                    Some("ovenbird_local") => path.starts_with(super::repository().join("crates/local")),
                    _ => path.starts_with(&folder),
                },
            });
            // Of one crate, the module that it is brought in from: the nearest that tells them apart.
            for part in import.into_iter().flat_map(|(_, by)| by.iter().rev()) {
                let is_in =
                    |place: &&&Place| place.0.with_extension("").iter().any(|one| one == part.as_str());
                let narrowed: Vec<&Place> = found.iter().filter(is_in).copied().collect();
                if !narrowed.is_empty() {
                    found = narrowed;
                }
            }
        }
        match found.as_slice() {
            [(path, item)] => (path, item),
            _ => panic!(
                "which `{name}` in {file:?}? {:?}",
                found.iter().map(|(path, _)| path).collect::<Vec<_>>()
            ),
        }
    }
}

/// Whether a type is one that is printed, or a command that is typed.
fn is_printed(attributes: &[Attribute]) -> bool {
    let derives = attributes.iter().filter(|attribute| attribute.path().is_ident("derive"));
    let mut derived = derives.map(|attribute| attribute.to_token_stream().to_string());
    derived.any(|derived| derived.contains("Serialize") || derived.contains("Subcommand"))
}

/// A type's name as readers have it: what is of the local cloud, of a rollout or of a prune run says so.
fn shown(name: &str, path: &Path) -> String {
    let short = name.strip_suffix("View").unwrap_or(name);
    let has = |word: &str| path.with_extension("").iter().any(|part| part == word);
    let of = if path.starts_with(super::repository().join("crates/local")) {
        "Local"
    } else if has("rollout") {
        "Rollout"
    } else if has("prune") {
        "Prune"
    } else {
        ""
    };
    if short.starts_with(of) { short.to_owned() } else { format!("{of}{short}") }
}

fn kebab(name: &str, between: char) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push(between);
        }
        text.extend(letter.to_lowercase());
    }
    text
}

/// A doc comment on one line: its first paragraph, or all of it.
fn doc(attributes: &[Attribute], whole: bool) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(lit) => match &lit.lit {
                Lit::Str(text) => Some(text.value().trim().to_owned()),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    });
    let lines: Vec<String> =
        if whole { lines.take_while(|line| !line.is_empty()).collect() } else { lines.collect() };
    // A link of rustdoc's leads nowhere in the docs, and a bar would be a cell's end.
    let text = lines.join(" ").replace('|', "or");
    let link = Regex::new(r"\[`?(?:\w+::)*(\w+)`?\]").expect("a pattern");
    link.replace_all(text.trim(), "$1").into_owned()
}

/// What serde is told of a type or a field.
#[derive(Default)]
struct Serde {
    rename: Option<String>,
    kebab: bool,
    flatten: bool,
    skipped: bool,
    left_out: bool,
    untagged: bool,
    into_text: bool,
}

impl Serde {
    fn of(attributes: &[Attribute]) -> Self {
        let mut serde = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("serde")) {
            let parsed = attribute.parse_nested_meta(|meta| {
                let value = match meta.value() {
                    Ok(value) => Some(value.parse::<syn::LitStr>()?.value()),
                    Err(_) => None,
                };
                match (meta.path.require_ident()?.to_string().as_str(), value.as_deref()) {
                    ("rename", Some(name)) => serde.rename = Some(name.to_owned()),
                    ("rename_all", Some("kebab-case")) => serde.kebab = true,
                    ("flatten", _) => serde.flatten = true,
                    ("skip_serializing_if", _) => serde.skipped = true,
                    ("skip", None) => serde.left_out = true,
                    ("untagged", _) => serde.untagged = true,
                    ("into", Some("String")) => serde.into_text = true,
                    ("default" | "try_from" | "alias" | "deny_unknown_fields" | "transparent", _) => {}
                    (other, value) => panic!("serde's `{other}` ({value:?}) means nothing here yet"),
                }
                Ok(())
            });
            parsed.expect("serde's attributes");
        }
        serde
    }
}

fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<(String, Vec<String>)>) {
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &[before, &[path.ident.to_string()]].concat(), found),
        UseTree::Name(name) => found.push((name.ident.to_string(), before.to_vec())),
        UseTree::Rename(rename) => found.push((rename.rename.to_string(), before.to_vec())),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
        UseTree::Glob(_) => {}
    }
}
