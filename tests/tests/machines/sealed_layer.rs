//! What people write into recipes and what an image may not have, in bakes on real machines: steps, services and tests that
//! wait for cloud-init, and a search of the sealed image's whole layer.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::{Bake, Status};

use crate::Cloud;

const PORT: u16 = 14_578;
const SECRET: (&str, &str) = ("/ovenbird/secrets/waiting/key", "correct-horse-battery-staple");

/// Each of these lines hangs, or ends the work, where the steps are a part of cloud-init.
const WAITING: &str = r#"
[[step]]
shell = "cloud-init status --wait || test $? -eq 2"
timeout = "60s"
[[step]]
shell = "until [ -e /var/lib/cloud/instance/boot-finished ]; do sleep 1; done"
timeout = "60s"
[[step]]
service = { name = "agent", enabled = false, unit = { exec = "/bin/sleep infinity", after = ["cloud-final.service"] } }
timeout = "60s"
[[step]]
file = { to = "/etc/systemd/system/late.service", content = """
[Unit]
After=cloud-final.service
[Service]
ExecStart=/bin/sleep infinity
[Install]
WantedBy=cloud-init.target
""" }
[[step]]
shell = "systemctl is-active agent; systemctl daemon-reload; systemctl enable --now --no-block late"
[[step]]
shell = "systemctl restart --no-block cloud-final; sleep 3; useradd --system --create-home shop; echo it > /opt/it"
[[step]]
shell = "runuser -u shop -- sh -c 'cd \"$PWD\" && cat setup.sh > /home/shop/copy'"
[[step]]
script = "setup.sh"
secrets = { KEY = "/ovenbird/secrets/waiting/key" }
[[step]]
shell = "if runuser -u shop -- curl -sS --max-time 3 http://169.254.169.254/latest/meta-data/; then exit 1; fi; curl -sS -o /dev/null http://169.254.169.254/"
[[test]]
service = { name = "late", enabled = true }
[[test]]
file = { path = "/home/shop/copy", contains = "by-script", owner = "shop" }
[validate]
boot = true
"#;

/// From its first step on, the machine has no way out but to the bucket's endpoint.
const SHUT_IN: &str = r#"
[[step]]
shell = "ip route del default; if ip route get 192.0.2.1; then exit 1; fi"
[[step]]
shell = "echo in > /opt/in"
[[test]]
file = { path = "/opt/in", contains = "in" }
"#;

#[test]
fn who_waits_for_cloud_init_is_baked_and_no_secret_is_in_the_image() -> Result<()> {
    let Some(cloud) = Cloud::up("waiting", PORT)? else { return Ok(()) };
    let parameter = ["--name", SECRET.0, "--value", SECRET.1, "--type", "SecureString"];
    cloud.local.aws(&[&["ssm", "put-parameter"], &parameter[..]].concat())?;
    cloud.push_steps("waiting", WAITING)?;
    cloud.upload("artifacts/waiting/app", "the artifact")?;
    let arguments = ["bake", "waiting", "--key", "artifacts/waiting/app"];
    let bake: Bake = serde_json::from_value(cloud.local.ovenbird_json(&arguments, true)?)?;
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    let image = bake.progress.image.context("no image")?;
    let images = cloud.local.aws(&["ec2", "describe-images", "--image-ids", image.as_str()])?;
    let snapshot =
        images["Images"][0]["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"].as_str().context("no disk")?;
    let layer = cloud.home.join("snapshots").join(snapshot);
    let bake = bake.spec.id.to_string();
    let mut files = 0;
    for what in [SECRET.1, "X-Amz-Signature", bake.as_str(), "ovenbird-resume", "ovenbird-runner"] {
        let mut found = Vec::new();
        files = search(&layer, what.as_bytes(), &mut found)?;
        ensure!(found.is_empty(), "`{what}` is in the image: {found:?}");
    }
    // The search finds what is there.
    let mut found = Vec::new();
    search(&layer, b"the artifact", &mut found)?;
    ensure!(files > 20 && found.iter().any(|path| path.ends_with("opt/app")), "{files} files: {found:?}");
    eprintln!("{files} files of the image's layer were searched");
    cloud.push_steps("shut-in", SHUT_IN)?;
    cloud.upload("artifacts/shut-in/app", "another")?;
    let arguments = ["bake", "shut-in", "--key", "artifacts/shut-in/app"];
    let bake: Bake = serde_json::from_value(cloud.local.ovenbird_json(&arguments, true)?)?;
    ensure!(bake.progress.status == Status::Promoted, "{:?}", bake.progress.failure);
    Ok(())
}

/// Looks through names and contents of all files, also of those that only root reads; gives how many there are.
fn search(folder: &Path, what: &[u8], found: &mut Vec<PathBuf>) -> io::Result<usize> {
    let within = |bytes: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    let mut files = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        // A whiteout of overlayfs is a device, and says that a file is not there.
        let is_there = kind.is_dir() || kind.is_file() || kind.is_symlink();
        let linked =
            if kind.is_symlink() { fs::read_link(&path)?.into_os_string() } else { Default::default() };
        let named = within(entry.file_name().as_encoded_bytes()) || within(linked.as_encoded_bytes());
        if (is_there && named) || (kind.is_file() && within(&fs::read(&path)?)) {
            found.push(path.clone());
        }
        files += usize::from(kind.is_file());
        if kind.is_dir() {
            files += search(&path, what, found)?;
        }
    }
    Ok(files)
}
