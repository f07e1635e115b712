//! The making of the base, with a stand-in for `mmdebstrap` that tells what it does and takes its time.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::{Duration, Instant},
};

use ovenbird_local::{Options, down};

use crate::{
    cloud::{Cloud, home, nothing_runs},
    lab::{Lab, until},
};

/// Makes a base in halves, as a program that knows nothing of any other would. It says when it begins and ends.
const STAND_IN: &str = r#"#!/bin/sh
for root; do :; done
case "$root" in *.sources|*.list|--keyring=*) for word; do case "$word" in *.unfinished) root=$word;; esac; done;; esac
echo "begun $$" >> "$MADE"
mkdir "$root" || exit
mkdir -p "$root/etc/cloud/cloud.cfg.d" "$root/etc/systemd/system"
sleep 3
# Whoever else is at work in the folder is seen here.
[ "$(ls "$root/etc")" = "$(printf 'cloud\nsystemd')" ] || { echo "spoilt $$" >> "$MADE"; exit 1; }
mkdir -p "$root/etc/ssh" "$root/var/log" && touch "$root/etc/ssh/ssh_host_ed25519_key" "$root/whole" || exit
echo "ended $$" >> "$MADE"
"#;

/// The homes of two clouds that share a folder of bases without one.
fn two_homes(lab: &Lab, name: &str) -> Option<[Options; 2]> {
    let homes = [home(lab, &format!("{name}-one"))?, home(lab, &format!("{name}-other"))?];
    let shared = lab.home().join(name);
    fs::create_dir_all(shared.join("base")).expect("a folder");
    for options in &homes {
        fs::remove_file(options.home.bases()).expect("the link to the usual ones");
        symlink(shared.join("base"), options.home.bases()).expect("a link");
    }
    let stand_in = shared.join("mmdebstrap");
    fs::write(&stand_in, STAND_IN).expect("written");
    fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).expect("a program");
    Some(homes)
}

fn start(lab: &Lab, name: &str, options: &Options) -> Cloud {
    let shared = lab.home().join(name);
    let path = format!("{}:{}", shared.display(), std::env::var("PATH").expect("a path"));
    Cloud::start_with(options, |command| {
        command.env("PATH", path).env("MADE", shared.join("made"));
    })
}

fn made(lab: &Lab, name: &str) -> String {
    let text = fs::read_to_string(lab.home().join(name).join("made")).unwrap_or_default();
    text.lines().filter_map(|line| line.split(' ').next()).collect::<Vec<_>>().join(" ")
}

/// The bases under their finished names.
fn finished(bases: &Path) -> Vec<std::path::PathBuf> {
    let all = fs::read_dir(bases).expect("a folder").flatten().map(|entry| entry.path());
    all.filter(|path| path.is_dir() && path.extension().is_none()).collect()
}

pub fn two_clouds_that_come_up_at_once_make_the_base_once(lab: &Lab) {
    let name = "at-once";
    let Some(homes) = two_homes(lab, name) else { return };
    let mut clouds = homes.each_ref().map(|options| start(lab, name, options));
    let bases = homes[0].home.bases();
    // As long as it isn't whole, nobody sees it.
    until("a base is begun", || made(lab, name) == "begun");
    assert_eq!(finished(&bases), Vec::<std::path::PathBuf>::new());
    for cloud in &mut clouds {
        cloud.ready(lab, 1);
    }
    assert_eq!(made(lab, name), "begun ended");
    let [base] = finished(&bases).try_into().expect("one base");
    assert!(base.join("whole").exists() && base.join("etc/machine-id").exists(), "half of one");
    for cloud in &mut clouds {
        assert!(lab.runtime.block_on(down(&cloud.options)).expect("it ends"), "none ran");
        cloud.supervisor.wait().expect("it is dead");
        nothing_runs(&cloud.options, 1, Duration::ZERO);
    }
}

/// `mmdebstrap` goes on for a while when its cloud was killed: another one's would write into the same folder.
pub fn a_base_whose_maker_was_killed_is_not_made_twice_at_once(lab: &Lab) {
    let name = "killed-maker";
    let Some([one, other]) = two_homes(lab, name) else { return };
    let mut killed = start(lab, name, &one);
    until("a base is begun", || made(lab, name) == "begun");
    killed.kill();
    let start_of_other = Instant::now();
    let mut cloud = start(lab, name, &other);
    cloud.ready(lab, 1);
    assert_eq!(made(lab, name), "begun ended begun ended", "the second began when the first had ended");
    assert!(start_of_other.elapsed() > Duration::from_secs(3), "it has not waited");
    let [base] = finished(&other.home.bases()).try_into().expect("one base");
    assert!(base.join("whole").exists(), "half of one");
    for options in [&one, &other] {
        lab.runtime.block_on(down(options)).expect("it ends");
        nothing_runs(options, 1, Duration::ZERO);
    }
    cloud.supervisor.wait().expect("it is dead");
}
