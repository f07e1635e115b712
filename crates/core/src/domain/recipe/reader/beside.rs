//! Paths beside the recipe.

use std::{
    ops::Range,
    path::{Component, Path},
};

use super::Reader;
use crate::domain::recipe::{Beside, mistake::quoted};

impl Reader<'_> {
    /// A path beside the recipe: relative, not climbing, and there. Equal paths are given in equal letters.
    pub(super) fn path_beside(&mut self, at: &Range<usize>, text: &str, folder: bool) -> Option<String> {
        let parts = Path::new(text).components().map(|part| match part {
            Component::Normal(name) => name.to_str(),
            Component::Prefix(_) | Component::RootDir | Component::CurDir | Component::ParentDir => None,
        });
        let path = parts.collect::<Option<Vec<_>>>().map(|parts| parts.join("/"));
        let Some(path) = path.filter(|path| !path.is_empty()) else {
            let problem = format!("{} is no path beside the recipe", quoted(text));
            let hint = "Name it from the recipe's folder on, without `/` or `./` before it and without `..`";
            self.wrong(at, problem, hint);
            return None;
        };
        let shown = quoted(&path);
        let (problem, hint) = match (self.beside(&path), folder) {
            (None, _) | (Some(Beside::File(_)), false) | (Some(Beside::Folder), true) => return Some(path),
            (Some(Beside::Nothing), _) => {
                let what = if folder { "folder" } else { "file" };
                (format!("there is no {what} {shown} beside the recipe"), "Create it, or fix the path")
            }
            (Some(Beside::Folder | Beside::EmptyFolder), false) => {
                (format!("{shown} is a folder and should be a file"), "Name a file in it")
            }
            (Some(Beside::File(_)), true) => {
                (format!("{shown} is a file and should be a folder"), "Name the folder that it is in")
            }
            (Some(Beside::EmptyFolder), true) => {
                (format!("folder {shown} has no file in it"), "Fill it, or leave the key out")
            }
            (Some(Beside::Other(what)), _) => (
                format!("{shown} is {what}, which can't be pushed"),
                "Put a plain file or folder in its place",
            ),
        };
        self.wrong(at, problem, hint);
        None
    }
}
