//! `package`: by the base's own package manager, all names in one transaction, and nobody is asked anything.

use std::{
    fs, thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::report::Exit;

use super::Try;

/// A package manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    Apt,
    Dnf,
    Yum,
    Zypper,
    Apk,
}

/// In this order: where `dnf` is, `yum` is another name for it.
const MANAGERS: [(Manager, &str); 5] = [
    (Manager::Apt, "apt-get"),
    (Manager::Dnf, "dnf"),
    (Manager::Yum, "yum"),
    (Manager::Zypper, "zypper"),
    (Manager::Apk, "apk"),
];

/// Lists of packages older than this are fetched again.
const LISTS_AGE: Duration = Duration::from_secs(24 * 3600);

/// What `apt-get` says when its lists are too old to know or find a package.
const UNKNOWN: [&str; 4] =
    ["Unable to locate package", "no installation candidate", "was not found", "404  Not Found"];

/// What `apt-get` says when somebody else is at work. It can wait for the database by itself, not for the lists.
const LOCKED: &str = "Could not get lock";
const LOCK_PAUSE: Duration = Duration::from_secs(2);

pub fn act(this: &mut Try<'_>, names: &[String]) -> Result<Exit> {
    let manager = Manager::of(this).with_context(|| {
        let known = MANAGERS.map(|(_, program)| program).join(", ");
        format!("the base has no package manager that is known here ({known}); use a `shell` step")
    })?;
    install(this, manager, &names.iter().map(String::as_str).collect::<Vec<_>>(), Extras::AsUsual)
}

impl Manager {
    /// The machine's.
    pub fn of(this: &Try<'_>) -> Option<Self> {
        let there = |(_, program): &&(Self, &str)| this.machine.program(program, &[]).is_some();
        MANAGERS.iter().find(there).map(|(manager, _)| *manager)
    }
}

impl Manager {
    /// Refuses what this manager would misunderstand: it would take a path for a name, or say nothing of a group.
    fn takes(self, this: &Try<'_>, name: &str) -> Result<()> {
        let (program, file) = match self {
            Self::Apt => ("apt-get", ".deb"),
            Self::Dnf => ("dnf", ".rpm"),
            Self::Yum => ("yum", ".rpm"),
            Self::Zypper => ("zypper", ".rpm"),
            Self::Apk => ("apk", ".apk"),
        };
        let groups = matches!(self, Self::Dnf | Self::Yum);
        ensure!(
            groups || !name.starts_with('@'),
            "`{name}` is a group, and {program} has none: name the packages themselves, or use a `shell` step"
        );
        if name.starts_with('/') {
            ensure!(
                name.ends_with(file),
                "`{name}` is no package that {program} installs: it takes `{file}` files"
            );
            ensure!(
                this.machine.path(name).is_file(),
                "there is no file `{name}` on the machine: put it there by `[artifact]`, or by a `file` step before"
            );
        }
        Ok(())
    }
}

/// What comes with a package beside what it can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extras {
    /// Whatever the base's own settings say.
    AsUsual,
    /// Nothing.
    None,
}

/// Installs packages.
pub fn install(this: &mut Try<'_>, manager: Manager, names: &[&str], extras: Extras) -> Result<Exit> {
    for name in names {
        // No manager's word for "here the options end" is every manager's.
        ensure!(!name.starts_with('-') && !name.is_empty(), "`{name}` is no name of a package");
        manager.takes(this, name)?;
    }
    let wait = this.left().as_secs().max(1).to_string();
    match manager {
        Manager::Apt => apt(this, names, extras),
        Manager::Dnf => {
            let words = match extras {
                Extras::AsUsual => &["install", "--assumeyes"][..],
                Extras::None => &["install", "--assumeyes", "--setopt=install_weak_deps=False"],
            };
            one(this, "dnf", words, names, &[])
        }
        Manager::Yum => {
            // Without it, one known name among unknown ones is success.
            let strict = "--setopt=skip_missing_names_on_install=False";
            one(this, "yum", &["install", "--assumeyes", strict], names, &[])
        }
        Manager::Zypper => {
            let words = ["--non-interactive", "install", "--auto-agree-with-licenses"];
            let exit = one(this, "zypper", &words, names, &[("ZYPP_LOCK_TIMEOUT", wait.as_str())])?;
            // All is installed, and something wants a reboot or a restart: the image's first boot is one.
            Ok(if matches!(exit, Exit::Status(102 | 103)) { Exit::Status(0) } else { exit })
        }
        Manager::Apk => one(this, "apk", &["add", "--update-cache", "--wait", &wait], names, &[]),
    }
}

fn one(
    this: &mut Try<'_>,
    program: &str,
    words: &[&str],
    names: &[&str],
    variables: &[(&str, &str)],
) -> Result<Exit> {
    let mut command = this.command_with(program, variables)?;
    command.args(words).args(names);
    this.run(command)
}

fn apt(this: &mut Try<'_>, names: &[&str], extras: Extras) -> Result<Exit> {
    let mut updated = false;
    if !lists_are_recent(this) {
        let exit = apt_get(this, &["update"], &[])?;
        if !exit.is_success() {
            return Ok(exit);
        }
        updated = true;
    }
    // A package may ask which of two configuration files to keep: the one that is there.
    let keep = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"];
    let extras = match extras {
        Extras::AsUsual => &[][..],
        Extras::None => &["--no-install-recommends"],
    };
    // Who asks for an exact version wants it, though a newer one may be there.
    let exact: &[&str] =
        if names.iter().any(|name| name.contains('=')) { &["--allow-downgrades"] } else { &[] };
    let words = [&["install", "--yes"][..], &keep, extras, exact].concat();
    let mark = this.kept.seen();
    let exit = apt_get(this, &words, names)?;
    let said = this.kept.since(mark);
    if exit.is_success() || updated || !UNKNOWN.iter().any(|words| said.contains(words)) {
        return Ok(exit);
    }
    let exit = apt_get(this, &["update"], &[])?;
    if !exit.is_success() {
        return Ok(exit);
    }
    apt_get(this, &words, names)
}

fn apt_get(this: &mut Try<'_>, words: &[&str], names: &[&str]) -> Result<Exit> {
    loop {
        let mut command = this.command("apt-get")?;
        let lock = format!("DPkg::Lock::Timeout={}", this.left().as_secs().max(1));
        command.args(["--quiet", "-o", &lock, "-o", "Acquire::Retries=3"]).args(words).args(names);
        let mark = this.kept.seen();
        let exit = this.run(command)?;
        let locked = !exit.is_success() && this.kept.since(mark).contains(LOCKED);
        if !locked || this.left() <= LOCK_PAUSE {
            return Ok(exit);
        }
        thread::sleep(LOCK_PAUSE);
    }
}

/// The lists' own files carry the mirror's times; the folders' say when they were last fetched.
fn lists_are_recent(this: &Try<'_>) -> bool {
    let lists = this.machine.path("/var/lib/apt/lists");
    let Ok(entries) = fs::read_dir(&lists) else { return false };
    if !entries.flatten().any(|entry| entry.file_name().to_string_lossy().contains("_Packages")) {
        return false;
    }
    let fetched = [lists.join("partial"), lists]
        .iter()
        .filter_map(|folder| fs::metadata(folder).and_then(|folder| folder.modified()).ok())
        .max();
    let recent = |time| SystemTime::now().duration_since(time).is_ok_and(|age| age < LISTS_AGE);
    fetched.is_some_and(recent)
}

#[cfg(test)]
mod tests {
    use ovenbird_core::domain::recipe::Action;

    use super::super::testing::Stage;
    use super::*;

    fn package(names: &[&str]) -> Action {
        Action::Package { names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    /// A stand-in that notes its arguments; `shop` is found only after an update.
    const APT: &str = r#"
echo "$DEBIAN_FRONTEND" "$@" >> $ROOT/calls
case " $* " in
  *' update '*) mkdir -p $ROOT/var/lib/apt/lists; touch $ROOT/var/lib/apt/lists/x_Packages $ROOT/updated ;;
  *' shop '*) test -e $ROOT/updated || { echo 'E: Unable to locate package shop' >&2; exit 100; } ;;
  *' broken '*) echo 'E: broken' >&2; exit 100 ;;
  *' locked '*) test -e $ROOT/free || { touch $ROOT/free; echo 'E: Could not get lock /x' >&2; exit 100; } ;;
esac"#;

    fn calls(stage: &Stage) -> Vec<String> {
        let text = fs::read_to_string(stage.machine.path("/calls")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn fresh_lists(stage: &Stage) {
        fs::create_dir_all(stage.machine.path("/var/lib/apt/lists/partial")).unwrap();
        fs::write(stage.machine.path("/var/lib/apt/lists/x_Packages"), "").unwrap();
    }

    #[test]
    fn all_names_go_in_one_transaction_and_nobody_is_asked() {
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        fresh_lists(&stage);
        assert_eq!(stage.act(package(&["one", "two=1.0"])).0, Exit::Status(0));
        let calls = calls(&stage);
        assert_eq!(calls.len(), 1, "{calls:?}");
        assert!(calls[0].starts_with("noninteractive --quiet -o DPkg::Lock::Timeout="), "{calls:?}");
        assert!(calls[0].contains(" install --yes ") && calls[0].ends_with(" one two=1.0"), "{calls:?}");
    }

    #[test]
    fn lists_that_are_not_there_are_fetched_first() {
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        assert_eq!(stage.act(package(&["shop"])).0, Exit::Status(0));
        assert_eq!(calls(&stage).len(), 2);
    }

    #[test]
    fn lists_of_yesterday_are_fetched_first() {
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        fresh_lists(&stage);
        for folder in ["/var/lib/apt/lists/partial", "/var/lib/apt/lists"] {
            let folder = fs::File::open(stage.machine.path(folder)).unwrap();
            folder.set_modified(SystemTime::now() - LISTS_AGE - Duration::from_secs(60)).unwrap();
        }
        assert_eq!(stage.act(package(&["one"])).0, Exit::Status(0));
        assert_eq!(calls(&stage).len(), 2);
    }

    #[test]
    fn a_package_that_the_lists_don_t_know_is_looked_for_once_more() {
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        fresh_lists(&stage);
        assert_eq!(stage.act(package(&["shop"])).0, Exit::Status(0));
        assert_eq!(calls(&stage).len(), 3);
    }

    #[test]
    fn another_failure_is_not_looked_for_again() {
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        fresh_lists(&stage);
        let (exit, output) = stage.act(package(&["broken"]));
        assert_eq!((exit, output.as_str()), (Exit::Status(100), "E: broken"));
        assert_eq!(calls(&stage).len(), 1);
    }

    #[test]
    fn a_lock_is_waited_for() {
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        fresh_lists(&stage);
        assert_eq!(stage.act(package(&["locked"])).0, Exit::Status(0));
        assert_eq!(calls(&stage).len(), 2);
    }

    #[test]
    fn each_manager_is_asked_in_its_own_words() {
        for (program, words) in [
            ("dnf", "install --assumeyes one two"),
            ("yum", "install --assumeyes --setopt=skip_missing_names_on_install=False one two"),
            ("zypper", "--non-interactive install --auto-agree-with-licenses one two"),
            ("apk", "add --update-cache --wait … one two"),
        ] {
            let stage = Stage::new();
            stage.program(&format!("sbin/{program}"), "echo \"$@\"\n");
            let (exit, output) = stage.act(package(&["one", "two"]));
            // How long it waits for a lock is what is left of the step's time.
            let seconds = |word: &str| word.parse::<u64>().is_ok_and(|seconds| (1..=20).contains(&seconds));
            let seen: Vec<&str> =
                output.split(' ').map(|word| if seconds(word) { "…" } else { word }).collect();
            assert_eq!((exit, seen.join(" ").as_str()), (Exit::Status(0), words));
        }
    }

    #[test]
    fn a_group_a_file_and_a_version_are_given_to_who_knows_them() {
        let stage = Stage::new();
        stage.program("usr/bin/dnf", "printf '[%s]' \"$@\"\n");
        fs::create_dir_all(stage.machine.path("/srv")).unwrap();
        fs::write(stage.machine.path("/srv/agent.rpm"), "").unwrap();
        let (exit, output) = stage.act(package(&["@Development Tools", "/srv/agent.rpm", "nginx-1.24.0"]));
        assert_eq!(exit, Exit::Status(0));
        assert_eq!(output, "[install][--assumeyes][@Development Tools][/srv/agent.rpm][nginx-1.24.0]");
        let stage = Stage::new();
        stage.program("usr/bin/apt-get", APT);
        fresh_lists(&stage);
        for (name, words) in [
            ("@Development Tools", "apt-get has none"),
            ("/srv/agent.rpm", "it takes `.deb` files"),
            ("/srv/none.deb", "there is no file `/srv/none.deb` on the machine"),
        ] {
            let (exit, _) = stage.act(package(&[name]));
            assert!(exit.to_string().contains(words), "{exit}");
        }
        assert!(calls(&stage).is_empty());
        fs::create_dir_all(stage.machine.path("/srv")).unwrap();
        fs::write(stage.machine.path("/srv/shop.deb"), "").unwrap();
        assert_eq!(stage.act(package(&["/srv/shop.deb"])).0, Exit::Status(0));
        assert_eq!(stage.act(package(&["nginx=1.22.1-9"])).0, Exit::Status(0));
        let calls = calls(&stage);
        assert!(calls[0].ends_with(" /srv/shop.deb") && !calls[0].contains("downgrades"), "{calls:?}");
        assert!(
            calls[1].contains(" --allow-downgrades ") && calls[1].ends_with(" nginx=1.22.1-9"),
            "{calls:?}"
        );
    }

    #[test]
    fn a_reboot_that_zypper_asks_for_is_no_failure() {
        let stage = Stage::new();
        stage.program("usr/bin/zypper", "exit 102\n");
        assert_eq!(stage.act(package(&["kernel"])).0, Exit::Status(0));
    }

    #[test]
    fn a_base_without_a_manager_and_a_name_that_is_an_option_are_told() {
        let stage = Stage::new();
        let (exit, _) = stage.act(package(&["one"]));
        assert!(exit.to_string().contains("no package manager"), "{exit}");
        stage.program("usr/bin/apt-get", APT);
        let (exit, _) = stage.act(package(&["--allow-unauthenticated"]));
        assert!(exit.to_string().contains("no name of a package"), "{exit}");
        assert!(calls(&stage).is_empty());
    }
}
