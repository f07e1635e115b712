//! What is no mistake, and may still surprise on the builder: said by `recipe check` and `recipe push`.

use std::{
    fs,
    path::{Component, Path, PathBuf},
};

use ovenbird_core::{
    domain::recipe::{Action, Ansible, Content, HEAD, Head, Puppet, Recipe},
    store::recipes::Files,
};

/// What Ansible looks for beside a playbook.
const NEIGHBOURS: [&str; 13] = [
    "ansible.cfg",
    "collections",
    "files",
    "filter_plugins",
    "group_vars",
    "handlers",
    "host_vars",
    "library",
    "module_utils",
    "roles",
    "tasks",
    "templates",
    "vars",
];

/// What a galaxy's requirements are called, and where.
const REQUIREMENTS: [&str; 4] =
    ["requirements.yml", "requirements.yaml", "roles/requirements.yml", "collections/requirements.yml"];

/// A recipe beside its files.
struct Beside<'a> {
    folder: &'a Path,
    files: &'a Files,
}

/// The notes on a recipe whose files are these, in a folder.
pub fn notes(recipe: &Recipe, folder: &Path, files: &Files) -> Vec<String> {
    let beside = Beside { folder, files };
    let mut notes = Vec::new();
    for step in &recipe.steps {
        let of_step = match &step.action {
            Action::Ansible(ansible) => beside.of_ansible(ansible),
            Action::Puppet(puppet) => beside.of_puppet(puppet),
            Action::File { to, content: Content::Source(source), mode: 0o644, .. } => {
                beside.of_program(to, source)
            }
            Action::Shell { run } => beside.of_script("the step", run, Path::new("")),
            Action::Script { source, .. } => {
                let text = fs::read_to_string(folder.join(source)).unwrap_or_default();
                let own = Path::new(source).parent().unwrap_or(Path::new(""));
                beside.of_script(&format!("`{source}`"), &text, own)
            }
            Action::File { .. } | Action::Service { .. } | Action::Package { .. } | Action::Chef(_) => {
                Vec::new()
            }
        };
        notes.extend(of_step.into_iter().map(|note| format!("step `{}`: {note}", step.name)));
    }
    notes
}

impl Beside<'_> {
    /// Whether a file, or anything of a folder, goes along.
    fn is_pushed(&self, path: &Path) -> bool {
        self.files.keys().any(|file| Path::new(file).starts_with(path))
    }

    fn is_there(&self, path: &Path) -> bool {
        self.folder.join(path).exists()
    }

    fn of_ansible(&self, ansible: &Ansible) -> Vec<String> {
        let playbook = Path::new(&ansible.playbook);
        let own = playbook.parent().unwrap_or(Path::new(""));
        let mut notes = Vec::new();
        for name in NEIGHBOURS.iter().filter(|name| **name != "roles" || ansible.roles.is_none()) {
            let path = own.join(name);
            if self.is_there(&path) && !self.is_pushed(&path) {
                notes.push(format!(
                    "`{}` lies beside the playbook and is not pushed: put both into a folder of their own, \
                     `playbook = \"ansible/site.yml\"`",
                    path.display()
                ));
            }
        }
        let collections = own.join("collections");
        if self.is_pushed(&collections) && !self.is_pushed(&collections.join("ansible_collections")) {
            let path = collections.display();
            notes.push(format!(
                "Ansible looks for collections in `{path}/ansible_collections`, which is not there"
            ));
        }
        let requirements = REQUIREMENTS.iter().map(|name| own.join(name)).filter(|path| self.is_there(path));
        for path in requirements {
            notes.push(format!(
                "nothing installs what `{}` names: bring it along by `ansible-galaxy collection install -r {0} -p {}` \
                 (roles: `ansible-galaxy role install -r {0} -p {}`)",
                path.display(),
                own.join("collections").display(),
                own.join("roles").display()
            ));
        }
        let text = fs::read_to_string(self.folder.join(playbook)).unwrap_or_default();
        for path in references(&text, own) {
            let inside = !path.starts_with("..");
            // A name alone may mean anything; one that is there and does not go along means this.
            let missing = self.folder.join(&path).is_file() && !(inside && self.is_pushed(&path));
            if missing {
                notes.push(format!(
                    "the playbook names `{}`, which is not pushed: only what is in the playbook's folder goes along",
                    path.display()
                ));
            }
        }
        notes
    }

    /// A script runs in the folder of the recipe's files, and many look for others in their own.
    fn of_script(&self, name: &str, text: &str, own: &Path) -> Vec<String> {
        let is_lost = |path: &PathBuf| {
            let inside = !path.starts_with("..");
            let recipe = ["recipe.toml", "recipe.schema.json"].iter().any(|own| path == Path::new(own));
            !recipe && self.folder.join(path).is_file() && !(inside && self.is_pushed(path))
        };
        let mut paths: Vec<PathBuf> = shell_words(text)
            .flat_map(|word| [Some(PathBuf::from(word)), Some(own.join(word))])
            .filter_map(|path| plain(&path?))
            .filter(is_lost)
            .collect();
        paths.sort();
        paths.dedup();
        let told = |path: PathBuf| {
            format!(
                "{name} names `{}`, which is not pushed: only files that the recipe names go along; write it by a `file` \
                 step, or put all into a folder that one names",
                path.display()
            )
        };
        paths.into_iter().map(told).collect()
    }

    fn of_puppet(&self, puppet: &Puppet) -> Vec<String> {
        let Some(hiera) = &puppet.hiera else { return Vec::new() };
        let own = Path::new(hiera).parent().unwrap_or(Path::new(""));
        let text = fs::read_to_string(self.folder.join(hiera)).unwrap_or_default();
        let mut notes = Vec::new();
        for datadir in datadirs(&text) {
            // A folder of the machine's is not ours to judge; and one that a fact names, only down to there.
            let known = datadir.split("%{").next().unwrap_or_default();
            if known.starts_with('/') || known.is_empty() {
                continue;
            }
            let Some(path) = plain(&own.join(known)) else { continue };
            if path.starts_with("..") || !self.is_pushed(&path) {
                notes.push(format!(
                    "`datadir: {datadir}` of `{hiera}` leads to `{}`, which is not pushed: put it into the folder that \
                     `{hiera}` is in",
                    path.display()
                ));
            }
        }
        notes
    }

    fn of_program(&self, to: &str, source: &str) -> Vec<String> {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        let read = fs::File::open(self.folder.join(source))
            .and_then(|file| file.take(HEAD as u64).read_to_end(&mut bytes));
        if read.is_err() || !Head::of(&bytes).is_program() {
            return Vec::new();
        }
        vec![format!(
            "`{source}` is something to run, and `{to}` gets mode 0644: add `mode = \"0755\"` if it shall be run"
        )]
    }
}

/// The paths that a playbook names, from the recipe's folder on.
fn references(text: &str, own: &Path) -> Vec<PathBuf> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'[]{},=".contains(c)));
    let named = words.filter(|word| word.contains('.') && !word.starts_with('/') && !word.ends_with(':'));
    let mut paths: Vec<PathBuf> = named.filter_map(|word| plain(&own.join(word))).collect();
    paths.sort();
    paths.dedup();
    paths
}

/// What may be relative paths in a shell script: of `"$here/lib.sh"` and `$(dirname "$0")/lib.sh`, what follows the folder.
fn shell_words(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words =
        lines.flat_map(|line| line.split(|c: char| c.is_whitespace() || "\"'`(){};|&<>=".contains(c)));
    let relative = words.map(|word| match word.split_once('/') {
        Some((before, after)) if before.is_empty() || before.starts_with('$') => (before, after),
        _ => ("", word),
    });
    // What begins with `/` is the machine's, unless a folder was computed before it: then a quote or bracket ended there.
    relative.map(|(_, word)| word).filter(|word| !word.is_empty() && !word.starts_with('/'))
}

/// The values of every `datadir` of a Hiera configuration.
fn datadirs(text: &str) -> Vec<String> {
    let values = text.lines().filter_map(|line| {
        let (_, value) = line.split_once("datadir:").filter(|(before, _)| !before.contains('#'))?;
        let value = value.split(" #").next().unwrap_or_default();
        Some(value.trim_matches(|c: char| c.is_whitespace() || "\"',}".contains(c)).to_owned())
    });
    values.filter(|value| !value.is_empty()).collect()
}

/// A path without `.` and with `..` at its beginning alone; none when nothing is left.
fn plain(path: &Path) -> Option<PathBuf> {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    Some(plain).filter(|path| !path.as_os_str().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::bundle::Bundle;

    /// The notes on a recipe with this step, among these files.
    fn of(step: &str, files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("recipe");
        let text = format!(
            "pipeline = 'shop'\n[base]\nimage = 'ami-0123456789abcdef0'\n[promote]\nchannel = 'c'\n[[test]]\nport = 80\n\
             [[step]]\n{step}\n"
        );
        for (name, content) in files.iter().chain(&[("recipe.toml", text.as_str())]) {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        Bundle::read(&root).unwrap().notes
    }

    #[test]
    fn what_a_script_names_and_does_not_get_is_said() {
        let script = "#!/bin/sh\n. ./lib.sh\nhere=$(dirname \"$0\")\n\"$here/as-shop.sh\" --now\n\
                      sh \"$(dirname \"$0\")\"/more.sh\n# not.sh is a comment\ncat /etc/lib.conf other.sh\n";
        let files = [
            ("bin/setup.sh", script),
            ("lib.sh", ""),
            ("bin/as-shop.sh", ""),
            ("bin/more.sh", ""),
            ("not.sh", ""),
            ("setup", ""),
        ];
        let notes = of("script = 'bin/setup.sh'", &files);
        for words in ["`bin/setup.sh` names `lib.sh`", "names `bin/as-shop.sh`", "names `bin/more.sh`"] {
            assert!(notes.iter().any(|note| note.contains(words)), "{words}: {notes:#?}");
        }
        assert_eq!(notes.len(), 3, "{notes:#?}");
        let notes = of("shell = 'sh lib.sh && sh bin/setup.sh; true setup'", &files);
        assert!(
            notes.iter().any(|note| note.contains("the step names `lib.sh`, which is not pushed")),
            "{notes:#?}"
        );
        let both = "script = 'bin/setup.sh'\n[[step]]\nscript = 'lib.sh'\n[[step]]\nscript = 'bin/as-shop.sh'\n[[step]]\nscript = 'bin/more.sh'";
        assert_eq!(of(both, &files), [] as [String; 0]);
    }

    #[test]
    fn what_a_playbook_needs_and_does_not_get_is_said() {
        let lone = of(
            "ansible = { playbook = 'site.yml' }",
            &[
                (
                    "site.yml",
                    "- hosts: all\n  vars_files: [more.yml]\n  tasks:\n  - import_tasks: ../x.yml\n",
                ),
                ("more.yml", ""),
                ("../x.yml", ""),
                ("ansible.cfg", ""),
                ("collections/ansible_collections/a/b/x", ""),
                ("requirements.yml", ""),
            ],
        );
        for words in [
            "step `1 ansible`: `ansible.cfg` lies beside the playbook",
            "`collections` lies beside",
            "nothing installs what `requirements.yml` names",
            "names `more.yml`, which is not pushed",
            "names `../x.yml`, which is not pushed",
        ] {
            assert!(lone.iter().any(|note| note.contains(words)), "{words}: {lone:#?}");
        }
        assert_eq!(lone.len(), 5, "{lone:#?}");
        let whole = of(
            "ansible = { playbook = 'ansible/site.yml' }",
            &[
                ("ansible/site.yml", "- hosts: all\n  vars_files: [more.yml]\n  # see ../x.yml\n"),
                ("ansible/more.yml", ""),
                ("ansible/ansible.cfg", ""),
                ("ansible/collections/ansible_collections/a/b/x", ""),
                ("x.yml", ""),
            ],
        );
        assert_eq!(whole, [] as [String; 0]);
    }

    #[test]
    fn data_of_hiera_s_that_does_not_go_along_is_said() {
        let puppet = "puppet = { manifest = 'puppet/site.pp', hiera = 'puppet/hiera.yaml' }";
        let files = |datadir: &'static str| {
            [
                ("puppet/site.pp", ""),
                ("puppet/hiera.yaml", datadir),
                ("data/a.yaml", ""),
                ("puppet/data/a.yaml", ""),
            ]
        };
        for (datadir, words) in [
            ("defaults:\n  datadir: ../data\n", Some("leads to `data`, which is not pushed")),
            ("defaults: { datadir: \"../data/%{facts.role}\" }\n", Some("leads to `data`")),
            ("defaults:\n  datadir: nothing # yet\n", Some("leads to `puppet/nothing`")),
            ("defaults:\n  datadir: data\n", None),
            ("defaults:\n  # datadir: ../data\n  datadir: /etc/hiera\n", None),
        ] {
            let notes = of(puppet, &files(datadir));
            assert_eq!(notes.is_empty(), words.is_none(), "{datadir}: {notes:?}");
            assert!(words.is_none_or(|words| notes[0].contains(words)), "{datadir}: {notes:?}");
        }
    }

    #[test]
    fn a_program_that_could_not_be_run_is_said() {
        let files = [("run.sh", "#!/bin/sh\n"), ("a.conf", "")];
        let notes = of("file = { to = '/opt/run', source = 'run.sh' }", &files);
        assert!(notes[0].contains("`/opt/run` gets mode 0644"), "{notes:?}");
        for step in [
            "file = { to = '/x', source = 'run.sh', mode = '0755' }",
            "file = { to = '/x', source = 'a.conf' }",
        ] {
            assert_eq!(of(step, &files), [] as [String; 0], "{step}");
        }
    }
}
