//! A recipe with the files that it names, as it is pushed: the same bytes for the same content and modes.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::fs::{FileTypeExt as _, PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use flate2::{Compression, GzBuilder};
use ovenbird_core::{
    Error, Result,
    domain::{
        digest,
        recipe::{Beside, Filling, HEAD, Head, Recipe, RecipeErrors},
    },
    store::recipes::{FileFacts, Files, RecipePointer, files_digest},
};

use super::notes::notes;

/// A checked recipe with all that is pushed.
pub struct Bundle {
    pub recipe: Recipe,
    pub text: String,
    /// The files in the archive.
    pub files: Files,
    /// The files as `tar.gz`; none when the recipe names no file.
    pub archive: Option<Vec<u8>>,
    /// What is no mistake, and may still surprise.
    pub notes: Vec<String>,
    /// The folder that its files are in: that of its template, if it has one.
    pub folder: PathBuf,
}

impl Bundle {
    /// Reads and checks a recipe and what lies beside it.
    pub fn read(path: &Path) -> Result<Self> {
        Self::checked(path)?.map_err(|(name, mistakes)| refused(&name, &mistakes))
    }

    /// The same; the mistakes in the recipe's text come one by one, with its name.
    pub fn checked(path: &Path) -> Result<std::result::Result<Self, (String, RecipeErrors)>> {
        let path = if path.is_dir() { path.join("recipe.toml") } else { path.to_owned() };
        let text = fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
        let folder = folder_of(&path);
        let name = path.display().to_string();
        let (name, text, folder) = match whole(&name, text, folder) {
            Ok(whole) => whole,
            Err(mistakes) => return Ok(Err((name, mistakes))),
        };
        let folder = folder.as_path();
        let wrong = |problem: String, fix: &str| Error::bad_input(format!("recipe `{name}`"), problem, fix);
        let recipe = match Recipe::parse(&name, &text, &|path| look(folder, path)) {
            Ok(recipe) => recipe,
            Err(mistakes) => return Ok(Err((name, mistakes))),
        };
        let mut found = Found::default();
        for source in recipe.sources() {
            let source = Path::new(&source);
            found.collect(&folder.join(source), source).map_err(|error| unreadable(source, &error))?;
        }
        if !found.refused.is_empty() {
            let problem = format!("names what can't be pushed:\n{}", found.refused.join("\n"));
            return Err(wrong(problem, "Put plain files and folders there: nothing else is pushed"));
        }
        let archive = if found.files.is_empty() {
            None
        } else {
            Some(archive(&found.files).map_err(|error| unreadable(&path, &error))?)
        };
        let files = facts(&found.files).map_err(|error| unreadable(&path, &error))?;
        let notes = notes(&recipe, folder, &files);
        Ok(Ok(Self { recipe, text, files, archive, notes, folder: folder.to_owned() }))
    }

    /// What the pipeline's pointer says when this is pushed: the version is made of all content.
    pub fn pointer(&self) -> RecipePointer {
        let files =
            self.archive.as_deref().map(|archive| (digest::sha256(archive), files_digest(&self.files)));
        RecipePointer::new(&self.text, files)
    }
}

/// The folder that a file is in.
fn folder_of(path: &Path) -> PathBuf {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// A recipe with its name and the folder of its files; one that consists of a template and values as the template with the
/// values in it, in the template's place.
fn whole(
    name: &str,
    text: String,
    folder: PathBuf,
) -> std::result::Result<(String, String, PathBuf), RecipeErrors> {
    let Some(filling) = Filling::read(name, &text)? else { return Ok((name.to_owned(), text, folder)) };
    let path = plainly(&folder.join(&filling.template));
    let template = fs::read_to_string(&path).map_err(|error| filling.unreadable(&error.to_string()))?;
    let name = path.display().to_string();
    let filled = filling.fill(&name, &template)?;
    Ok((name, filled, folder_of(&path)))
}

/// A path without the folders that `..` leaves again, so that people and code review know the file by its name.
fn plainly(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match (part, plain.components().next_back()) {
            (Component::CurDir, _) => {}
            (Component::ParentDir, Some(Component::Normal(_))) => {
                plain.pop();
            }
            _ => plain.push(part),
        }
    }
    plain
}

/// Why a recipe with these mistakes is refused.
///
/// A mistake brings its own text with its line, as a function shows it too: another renderer (`miette`,
/// `annotate-snippets`) for the command alone would be a second one to keep.
pub fn refused(name: &str, mistakes: &RecipeErrors) -> Error {
    let count = mistakes.0.len();
    let problem = format!("{count} {}\n{mistakes}", if count == 1 { "mistake" } else { "mistakes" });
    Error::bad_input(format!("recipe `{name}`"), problem, "Fix it, then `ovenbird recipe check` again")
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::bad_input(
        format!("file `{}`", path.display()),
        error.to_string(),
        "Name a recipe, or the folder that has it; `ovenbird recipe new` writes one",
    )
}

/// What there is at a path beside the recipe. A link on the way leads to what isn't beside it.
fn look(folder: &Path, path: &Path) -> Beside {
    let mut at = folder.to_owned();
    for part in path.components() {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|found| found.is_symlink()) {
            return Beside::Other("a symbolic link");
        }
    }
    match fs::symlink_metadata(&at) {
        Err(_) => Beside::Nothing,
        Ok(found) if found.is_dir() && has_entry(&at) => Beside::Folder,
        Ok(found) if found.is_dir() => Beside::EmptyFolder,
        Ok(found) => strange(found.file_type()).map_or_else(|| Beside::File(head(&at)), Beside::Other),
    }
}

/// How a file begins. One that can't be read is told when it is collected.
fn head(path: &Path) -> Head {
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut bytes));
    read.map(|_| Head::of(&bytes)).unwrap_or_default()
}

/// Whether there is anything but folders in a folder.
fn has_entry(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .into_iter()
        .filter(|entry| !is_of_a_checkout(&entry.file_name()))
        .any(|entry| !entry.file_type().is_ok_and(|kind| kind.is_dir()) || has_entry(&entry.path()))
}

/// What a version control system keeps beside the files of a checkout: a folder, or a file that names one, as a submodule
/// has it. It differs after every clone and every look at the state, and no tool on a builder reads it.
fn is_of_a_checkout(name: &OsStr) -> bool {
    [".git", ".svn", ".hg", ".bzr"].iter().any(|own| name == *own)
}

/// What something is that is neither file nor folder.
fn strange(kind: fs::FileType) -> Option<&'static str> {
    match kind {
        kind if kind.is_symlink() => Some("a symbolic link"),
        kind if kind.is_socket() => Some("a socket"),
        kind if kind.is_fifo() => Some("a named pipe"),
        kind if kind.is_block_device() || kind.is_char_device() => Some("a device"),
        kind if kind.is_file() || kind.is_dir() => None,
        _ => Some("neither file nor folder"),
    }
}

/// Files by their paths relative to the recipe, and what can't be one of them.
#[derive(Default)]
struct Found {
    files: BTreeMap<PathBuf, PathBuf>,
    refused: Vec<String>,
}

impl Found {
    /// Collects a file, or every file of a folder; hidden ones too, because a tool may read them.
    fn collect(&mut self, path: &Path, source: &Path) -> io::Result<()> {
        let kind = fs::symlink_metadata(path)?.file_type();
        if let Some(what) = strange(kind) {
            self.refused.push(format!("`{}` is {what}", source.display()));
        } else if source.to_str().is_none_or(|name| name.chars().any(char::is_control)) {
            self.refused.push(format!("{source:?} has a name that is no plain text"));
        } else if kind.is_file() {
            self.files.insert(source.to_owned(), path.to_owned());
        } else {
            let entries: Vec<_> = fs::read_dir(path)?.collect::<io::Result<_>>()?;
            for entry in entries.into_iter().filter(|entry| !is_of_a_checkout(&entry.file_name())) {
                self.collect(&entry.path(), &source.join(entry.file_name()))?;
            }
        }
        Ok(())
    }
}

/// What of each file makes an image another one.
fn facts(files: &BTreeMap<PathBuf, PathBuf>) -> io::Result<Files> {
    let facts = files.iter().map(|(name, path)| {
        let facts = FileFacts { sha256: digest::sha256(&fs::read(path)?), mode: mode(path)? };
        Ok((name.display().to_string(), facts))
    });
    facts.collect()
}

/// Like git: who may read a file on somebody's machine is no part of the recipe.
fn mode(path: &Path) -> io::Result<u32> {
    let executable = fs::metadata(path)?.permissions().mode() & 0o111 != 0;
    Ok(if executable { 0o755 } else { 0o644 })
}

/// A `tar.gz` that is the same bytes for the same files: sorted, without times and owners.
fn archive(files: &BTreeMap<PathBuf, PathBuf>) -> io::Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    let mut tar = tar::Builder::new(gzip);
    for (name, path) in files {
        let content = fs::read(path)?;
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode(path)?);
        header.set_mtime(0);
        header.set_cksum();
        tar.append_data(&mut header, name, content.as_slice())?;
    }
    let mut bytes = tar.into_inner()?.finish()?;
    bytes.flush()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::{fs::symlink, net::UnixListener};

    use super::*;

    const RECIPE: &str = "pipeline = 'shop'\n[base]\nimage = 'ami-0123456789abcdef0'\n[promote]\nchannel = 'c'\n\
        [[test]]\nport = 80\n[[step]]\npuppet = { manifest = 'site.pp', modules = 'modules' }\n";

    /// A recipe with a manifest and a folder of modules.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("modules/a/manifests")).unwrap();
        for (name, content) in [
            ("recipe.toml", RECIPE),
            ("site.pp", "include a"),
            ("modules/a/manifests/init.pp", "class a {}"),
            ("modules/a/.fixtures.yml", ""),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    fn version(folder: &tempfile::TempDir) -> String {
        Bundle::read(folder.path()).unwrap().pointer().version.to_string()
    }

    fn refusal(folder: &tempfile::TempDir) -> String {
        let error = Bundle::read(folder.path()).err().expect("it is refused");
        format!("{error}")
    }

    /// The examples, and the recipes that the tests bake.
    #[test]
    fn every_recipe_of_the_repository_can_be_pushed() {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        for (folder, least) in [("examples", 2), ("tests/provisioners", 3)] {
            let entries = fs::read_dir(repository.join(folder)).unwrap().map(|entry| entry.unwrap().path());
            let recipes: Vec<_> = entries.filter(|path| path.join("recipe.toml").exists()).collect();
            assert!(recipes.len() >= least, "{folder} has only {recipes:?}");
            for recipe in recipes {
                assert!(Bundle::read(&recipe).is_ok(), "{}: see `ovenbird recipe check`", recipe.display());
            }
        }
    }

    #[test]
    fn a_recipe_of_a_template_and_values_is_pushed_whole() {
        let folder = folder();
        let template = RECIPE.replace("'shop'", "'${var.name}'").replace("80", "'${var.port}'");
        fs::write(folder.path().join("service.toml"), template).unwrap();
        let recipe = folder.path().join("cart");
        fs::create_dir(&recipe).unwrap();
        let values = "template = '../service.toml'\n[variables]\nname = 'shop'\nport = 80\n";
        fs::write(recipe.join("recipe.toml"), values).unwrap();
        let bundle = Bundle::read(&recipe).unwrap();
        // It is the same recipe, with the same files, as one that was written by hand.
        assert_eq!((bundle.text.as_str(), bundle.files.len()), (RECIPE, 3));
        assert_eq!(bundle.pointer().version.to_string(), version(&folder));
        // What is wrong is told of the file that it is in.
        let refused = |text: &str| {
            fs::write(recipe.join("recipe.toml"), text).unwrap();
            Bundle::read(&recipe).err().expect("it is refused").to_string()
        };
        let told = refused(&values.replace("80", "70000"));
        assert!(
            told.contains(&format!("{}/service.toml:7:8: `port` is out", folder.path().display())),
            "{told}"
        );
        let told = refused(&values.replace("service", "nothere"));
        assert!(told.contains("cart/recipe.toml:1:12: template `../nothere.toml` can't be read"), "{told}");
    }

    #[test]
    fn a_path_has_no_folder_that_it_leaves_again() {
        for (path, plain) in [
            ("./cart/../service.toml", "service.toml"),
            ("../../a/./b.toml", "../../a/b.toml"),
            ("/x/../../b.toml", "/../b.toml"),
        ] {
            assert_eq!(plainly(Path::new(path)), Path::new(plain));
        }
    }

    #[test]
    fn the_version_is_made_of_content_and_mode_and_nothing_else() {
        let folder = folder();
        let module = folder.path().join("modules/a/manifests/init.pp");
        let before = version(&folder);
        assert_eq!(Bundle::read(folder.path()).unwrap().files.len(), 3);
        fs::write(&module, "class a {}").unwrap();
        fs::set_permissions(&module, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.path().join("README"), "not named by the recipe").unwrap();
        assert_eq!(version(&folder), before);
        fs::set_permissions(&module, fs::Permissions::from_mode(0o755)).unwrap();
        let executable = version(&folder);
        assert_ne!(executable, before);
        fs::write(&module, "class a {};").unwrap();
        assert_ne!(version(&folder), executable);
    }

    #[test]
    fn what_a_checkout_keeps_for_itself_is_no_part_of_a_recipe() {
        let folder = folder();
        let before = version(&folder);
        for own in [".git", ".svn", ".hg", ".bzr"] {
            fs::create_dir_all(folder.path().join("modules/a").join(own)).unwrap();
            fs::write(folder.path().join("modules/a").join(own).join("index"), own).unwrap();
        }
        symlink("/nowhere", folder.path().join("modules/a/.git/link")).unwrap();
        // As a submodule has it.
        fs::write(folder.path().join("modules/.git"), "gitdir: ../../.git/modules/a").unwrap();
        assert_eq!(version(&folder), before);
        assert_eq!(Bundle::read(folder.path()).unwrap().files.len(), 3);
        fs::write(folder.path().join("modules/a/.gitattributes"), "").unwrap();
        assert_ne!(version(&folder), before);
        // A folder with nothing else in it is empty.
        fs::remove_dir_all(folder.path().join("modules/a/manifests")).unwrap();
        for file in [".fixtures.yml", ".gitattributes"] {
            fs::remove_file(folder.path().join("modules/a").join(file)).unwrap();
        }
        assert!(refusal(&folder).contains("folder `modules` has no file in it"));
    }

    #[test]
    fn what_is_no_plain_file_is_refused_by_name() {
        let folder = folder();
        symlink("/etc/passwd", folder.path().join("modules/a/passwd")).unwrap();
        let socket = UnixListener::bind(folder.path().join("modules/socket")).unwrap();
        fs::write(folder.path().join("modules/a\nb"), "").unwrap();
        let error = refusal(&folder);
        for part in ["`modules/a/passwd` is a symbolic link", "`modules/socket` is a socket", "a\\nb"] {
            assert!(error.contains(part), "{error}");
        }
        drop(socket);
    }

    #[test]
    fn a_link_in_the_place_of_a_named_file_or_folder_is_refused_with_its_line() {
        let folder = folder();
        fs::remove_file(folder.path().join("site.pp")).unwrap();
        symlink("modules/a/manifests/init.pp", folder.path().join("site.pp")).unwrap();
        fs::rename(folder.path().join("modules"), folder.path().join("elsewhere")).unwrap();
        symlink("elsewhere", folder.path().join("modules")).unwrap();
        let error = refusal(&folder);
        assert!(error.contains("recipe.toml:9:"), "{error}");
        assert!(error.contains("`site.pp` is a symbolic link, which can't be pushed"), "{error}");
        assert!(error.contains("`modules` is a symbolic link, which can't be pushed"), "{error}");
    }

    #[test]
    fn a_folder_of_empty_folders_is_empty() {
        let folder = folder();
        fs::remove_dir_all(folder.path().join("modules")).unwrap();
        fs::create_dir_all(folder.path().join("modules/a/manifests")).unwrap();
        assert!(refusal(&folder).contains("folder `modules` has no file in it"));
    }
}
