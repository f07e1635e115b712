//! A function's program: a copy of it in the home, and a zip with a line of shell that becomes that copy.
//!
//! `MiniStack` holds every function's zip in memory for as long as it runs, and unpacks it at each start: six
//! programs that were built for development would be 65 MB. What runs is the program all the same.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Cursor, Write as _},
    path::{Path, PathBuf},
};

use ovenbird_core::domain::plan::quote;
use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

/// The name under which Lambda's custom runtime starts a function.
const BOOTSTRAP: &str = "bootstrap";

/// Copies of the functions' programs: a build changes its own files under a running local cloud.
#[derive(Debug, Clone)]
pub(super) struct Programs {
    folder: PathBuf,
}

impl Programs {
    /// Copies in a folder.
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Whether there is a copy under this name.
    pub fn has(&self, name: &str) -> bool {
        self.folder.join(name).is_file()
    }

    /// Copies a program under a name, which stands for its content; gives the zip that starts the copy.
    pub fn keep(&self, program: &Path, name: &str) -> io::Result<Vec<u8>> {
        let copy = self.folder.join(name);
        if !copy.is_file() {
            fs::create_dir_all(&self.folder)?;
            let unfinished = copy.with_extension("unfinished");
            fs::copy(program, &unfinished)?;
            fs::rename(unfinished, &copy)?;
        }
        let script = format!("#!/bin/sh\nexec {}\n", quote(&copy.display().to_string()));
        // A fixed date: the same program gives the same bytes.
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Stored)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o755);
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        zip.start_file(BOOTSTRAP, options)?;
        zip.write_all(script.as_bytes())?;
        Ok(zip.finish()?.into_inner())
    }

    /// Deletes every copy but these.
    pub fn keep_only(&self, names: &BTreeSet<String>) -> io::Result<()> {
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if !entry.file_name().to_str().is_some_and(|name| names.contains(name)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt as _, process::Command};

    use super::Programs;

    #[test]
    fn what_another_program_unpacks_becomes_the_copy() {
        let folder = tempfile::tempdir().expect("a folder");
        let (program, zip) = (folder.path().join("program"), folder.path().join("function.zip"));
        fs::write(&program, "#!/bin/sh\necho \"$0\" $$\n").expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("executable");
        let programs = Programs::new(folder.path().join("its copies"));
        fs::write(&zip, programs.keep(&program, "one").expect("packed")).expect("written");
        fs::write(&program, "something else").expect("a build");
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None\n\
                      i = z.getinfo('bootstrap'); assert i.external_attr >> 16 & 0o777 == 0o755; z.extract(i, sys.argv[2])";
        let unpack = Command::new("python3").args(["-c", script]).arg(&zip).arg(folder.path()).status();
        assert!(unpack.expect("python3").success());
        let bootstrap = Command::new("sh").arg(folder.path().join("bootstrap")).output().expect("it runs");
        let said = String::from_utf8(bootstrap.stdout).expect("text");
        assert!(said.contains("/its copies/one "), "{said}");
    }

    #[test]
    fn copies_that_no_function_needs_go() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("program");
        fs::write(&program, "").expect("written");
        let programs = Programs::new(folder.path().join("copies"));
        for name in ["old", "new"] {
            programs.keep(&program, name).expect("kept");
        }
        programs.keep_only(&BTreeSet::from(["new".to_owned()])).expect("deleted");
        assert!(programs.has("new") && !programs.has("old"));
    }
}
