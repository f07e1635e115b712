//! Bases that are not the local cloud's own: other releases of Debian, and one with `OpenRC` in place of systemd.
//!
//! Each is made by `mmdebstrap`, imported, and baked: steps, a package, a service, a boot in between, tests, the seal, and
//! the tests once more on a machine of the image.

use std::{fs, process::Command, thread, time::Instant};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::{Bake, Status};

use crate::Cloud;

const PORT: u16 = 14_588;

/// A base: its name, its release, what is in it, and what is done to it.
struct Base {
    name: &'static str,
    suite: &'static str,
    packages: &'static str,
    hook: Option<&'static str>,
    init: &'static str,
    body: &'static str,
}

const WITH_SYSTEMD: &str =
    "systemd-sysv,dbus,cloud-init,ca-certificates,curl,iproute2,mount,netbase,procps,python3";

const BY_SYSTEMD: &str = r#"
[[step]]
shell = "cloud-init status --wait || test $? -eq 2; useradd --system shop; echo one > /opt/steps"
[[step]]
package = ["nginx-light"]
[[step]]
service = { name = "nginx" }
[[step]]
service = { name = "own", unit = { exec = "/bin/sleep infinity" } }
[[step]]
shell = "echo two >> /opt/steps"
reboot = true
[[test]]
http = { url = "http://127.0.0.1/" }
[[test]]
service = { name = "own", enabled = true }
[[test]]
package = "nginx-light"
[[test]]
file = { path = "/opt/steps", contains = "two" }
"#;

/// What images of Alpine for AWS have in place of cloud-init: a script that has user data run once.
const USER_DATA: &str = r#"cat > "$1/etc/rc.local" <<'END'
#!/bin/sh
md=http://169.254.169.254/latest
token=$(curl -sf -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $md/api/token)
get() { curl -sf -H "X-aws-ec2-metadata-token: $token" $md/$1; }
mkdir -p /var/lib/cloud && cd /var/lib/cloud
id=$(get meta-data/instance-id)
[ "$(cat done)" = "$id" ] && exit 0
get user-data > user-data && chmod 700 user-data && ./user-data
echo "$id" > done
END
chmod 755 "$1/etc/rc.local""#;

const BY_OPENRC: &str = r#"
[[step]]
shell = "test ! -e /run/systemd/system; useradd --system shop"
[[step]]
package = ["busybox"]
[[step]]
file = { to = "/etc/init.d/own", mode = "0755", content = """
#!/sbin/openrc-run
command=/bin/sleep
command_args=infinity
command_background=true
pidfile=/run/own.pid
""" }
[[step]]
shell = "rc-update add own default; rc-service own start"
[[step]]
shell = "echo two >> /opt/steps"
reboot = true
[[step]]
shell = "rc-service own status"
[[test]]
command = "rc-service own status"
[[test]]
process = "sleep"
[[test]]
package = "busybox"
[[test]]
user = "shop"
"#;

const BASES: [Base; 3] = [
    Base {
        name: "debian-11",
        suite: "bullseye",
        packages: WITH_SYSTEMD,
        hook: None,
        init: "systemd",
        body: BY_SYSTEMD,
    },
    // Its cloud-init is one process, and its systemd six years younger than that of the first.
    Base {
        name: "debian-13",
        suite: "trixie",
        packages: WITH_SYSTEMD,
        hook: None,
        init: "systemd",
        body: BY_SYSTEMD,
    },
    Base {
        name: "openrc",
        suite: "bookworm",
        packages: "sysvinit-core,openrc,initscripts,ca-certificates,curl,iproute2,mount,netbase,procps",
        hook: Some(USER_DATA),
        init: "init",
        body: BY_OPENRC,
    },
];

#[test]
#[ignore = "it makes root file systems of other releases, which takes minutes: `make test-all` runs it"]
fn other_bases_are_imported_and_baked() -> Result<()> {
    let Some(cloud) = &Cloud::up("other-bases", PORT)? else { return Ok(()) };
    thread::scope(|scope| {
        let bakes = BASES.map(|base| scope.spawn(move || baked(cloud, &base).context(base.name)));
        bakes
            .map(|bake| bake.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .into_iter()
            .collect()
    })
}

fn baked(cloud: &Cloud, base: &Base) -> Result<()> {
    let archive = cloud.home.join(format!("{}.tar", base.name));
    let archive = archive.to_str().context("path")?;
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=apt", &format!("--include={}", base.packages)]);
    if let Some(hook) = base.hook {
        make.arg(format!("--customize-hook={hook}"));
    }
    let made = make.args([base.suite, archive, "http://deb.debian.org/debian"]).output()?;
    ensure!(made.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&made.stderr));
    let start = Instant::now();
    let imported = cloud.local.ovenbird_json(&["local", "import", archive, "--name", base.name], false)?;
    let init = imported["init"].as_str().context("no init")?;
    ensure!(init.ends_with(&format!("/{}", base.init)), "it begins with {init}");
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_file(archive)?;

    let folder = cloud.home.join("recipes").join(base.name);
    fs::create_dir_all(&folder)?;
    let recipe = format!(
        "pipeline = \"{0}\"\n[base]\nnewest = {{ owner = \"self\", name = \"{0}\" }}\n[promote]\nchannel = \"live\"\n\
         [validate]\nboot = true\n{1}",
        base.name, base.body
    );
    fs::write(folder.join("recipe.toml"), recipe)?;
    cloud.local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])?;
    let start = Instant::now();
    let bake: Bake = serde_json::from_value(cloud.local.ovenbird_json(&["bake", base.name], true)?)?;
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    eprintln!("{}: imported in {seconds:.1} s, baked in {:.1} s", base.name, start.elapsed().as_secs_f64());
    Ok(())
}
