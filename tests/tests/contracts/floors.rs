//! The floors of `crates/core`: each uses only those below it, and no two modules use each other.
//!
//! A circle of imports is how a heart of twenty modules becomes one that nobody can read in parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use ovenbird_tests::clients::repository;
use quote::ToTokens as _;
use regex::Regex;
use syn::{Item, UseTree};

use super::sources;

/// From the bottom.
const FLOORS: [&str; 7] = ["domain", "ports", "store", "steps", "ops", "views", "functions"];

/// Which module uses which. A module is a floor's file or folder (`store::leases`), or the floor itself, where its
/// `mod.rs` says something.
type Uses = BTreeMap<String, BTreeSet<String>>;

fn core() -> PathBuf {
    repository().join("crates/core/src")
}

/// The path of a file's module, from the crate's root.
fn module(file: &Path) -> Vec<String> {
    let file = file.strip_prefix(core()).expect("a file of core").with_extension("");
    let mut path: Vec<String> = file.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if path.last().is_some_and(|last| last == "mod" || last == "lib") {
        path.pop();
    }
    path
}

fn leaves(tree: &UseTree, before: &[String], found: &mut Vec<Vec<String>>) {
    let with = |name: &dyn ToString| [before, &[name.to_string()]].concat();
    match tree {
        UseTree::Path(path) => leaves(&path.tree, &with(&path.ident), found),
        UseTree::Name(name) if name.ident == "self" => found.push(before.to_vec()),
        UseTree::Name(name) => found.push(with(&name.ident)),
        UseTree::Rename(rename) => found.push(with(&rename.ident)),
        UseTree::Glob(_) => found.push(before.to_vec()),
        UseTree::Group(group) => group.items.iter().for_each(|tree| leaves(tree, before, found)),
    }
}

/// Every path into the crate that a module names, as it is written.
fn named(items: &[Item], module: &[String], found: &mut Vec<Vec<String>>) {
    let inline = Regex::new(r"\bcrate :: ((?:\w+ :: )*\w+)").expect("a pattern");
    for item in items {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            _ => &Vec::new(),
        };
        if attributes.iter().any(|attribute| attribute.to_token_stream().to_string() == "# [cfg (test)]") {
            continue;
        }
        if let Item::Use(item) = item {
            let mut paths = Vec::new();
            leaves(&item.tree, &[], &mut paths);
            for path in paths {
                let mut path = path.into_iter().peekable();
                let mut from = match path.peek().map(String::as_str) {
                    Some("crate") => Vec::new(),
                    Some("self") => module.to_vec(),
                    Some("super") => module.split_last().map(|(_, above)| above.to_vec()).unwrap_or_default(),
                    _ => continue,
                };
                path.next();
                while path.next_if(|part| part == "super").is_some() {
                    from.pop();
                }
                found.push(from.into_iter().chain(path).collect());
            }
        } else {
            let text = item.to_token_stream().to_string();
            let paths = inline.captures_iter(&text);
            found.extend(paths.map(|path| path[1].split(" :: ").map(str::to_owned).collect()));
        }
    }
}

fn uses() -> Uses {
    let files = sources(core());
    let modules: BTreeSet<Vec<String>> = files.iter().map(|file| module(file)).collect();
    let unit = |path: &[String]| match path {
        // They are re-exported at the root.
        [one] if ["Error", "Result"].contains(&one.as_str()) => "domain::error".to_owned(),
        [floor, name, ..] if modules.contains(&vec![floor.clone(), name.clone()]) => {
            format!("{floor}::{name}")
        }
        [floor, ..] => floor.clone(),
        [] => String::new(),
    };
    let mut uses = Uses::new();
    for file in &files {
        let here = module(file);
        if here.is_empty() || here.iter().any(|part| part == "tests") {
            continue;
        }
        let parsed = syn::parse_file(&fs::read_to_string(file).expect("its text")).expect("Rust");
        let mut found = Vec::new();
        named(&parsed.items, &here, &mut found);
        let this = unit(&here);
        let others = found.iter().map(|path| unit(path)).filter(|other| *other != this);
        uses.entry(this.clone()).or_default().extend(others);
    }
    uses
}

fn floor(module: &str) -> usize {
    let name = module.split("::").next().unwrap_or_default();
    FLOORS.iter().position(|floor| *floor == name).unwrap_or_else(|| panic!("{module} is on no floor"))
}

/// The modules that come back to themselves, by the uses.
fn circles(uses: &Uses) -> Vec<String> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            next.extend(uses.get(module).into_iter().flatten().filter(|other| seen.insert((*other).clone())));
        }
        seen
    };
    uses.keys().filter(|module| reached(module).contains(*module)).cloned().collect()
}

#[test]
fn a_floor_of_the_core_uses_only_those_below_it() {
    let uses = uses();
    assert!(uses.len() > 30 && uses.values().map(BTreeSet::len).sum::<usize>() > 100, "{uses:?}");
    let up = uses.iter().flat_map(|(from, others)| others.iter().map(move |to| (from, to)));
    let up: Vec<_> = up.filter(|(from, to)| floor(to) > floor(from)).collect();
    assert!(up.is_empty(), "these use a floor above their own: {up:?}");
}

#[test]
fn no_module_of_the_core_comes_back_to_itself() {
    let circles = circles(&uses());
    assert!(circles.is_empty(), "these modules use each other: {circles:?}");
}

#[test]
fn a_circle_and_an_arrow_upwards_are_seen() {
    let one = |from: &str, to: &str| (from.to_owned(), BTreeSet::from([to.to_owned()]));
    let uses = Uses::from([one("store::leases", "store::images"), one("store::images", "store::leases")]);
    assert_eq!(circles(&uses), ["store::images", "store::leases"]);
    assert!(floor("steps::prune") > floor("domain::bake"));
    let file = syn::parse_file(
        "use super::{guard::Guard, prune::{self, Plan}};\n#[cfg(test)]\nmod tests { use crate::views::lineage; }\nfn f() { crate::store::keys::recipe() }",
    );
    let mut found = Vec::new();
    named(&file.expect("Rust").items, &["steps".into(), "clean_up".into()], &mut found);
    let found: Vec<_> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(found, ["steps::guard::Guard", "steps::prune", "steps::prune::Plan", "store::keys::recipe"]);
}
