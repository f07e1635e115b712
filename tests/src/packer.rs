//! Packer's bake beside ours: the same base, machines and step.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::{clients::Local, sample, sign::Key};

/// What both do to the machine.
const STEP: &str = "mkdir -p /opt/beside && date > /opt/beside/baked";

/// How a bake took: what made the image, and seconds from the command's start to its end.
pub type Row = (String, f64);

/// Bakes with Packer in each way, and with Ovenbird. None, said out loud, where there is no Packer.
///
/// # Errors
/// When a bake fails.
pub fn beside_ours(local: &Local) -> Result<Option<Vec<Row>>> {
    let version = Command::new("packer").arg("version").stdin(Stdio::null()).output();
    if !version.is_ok_and(|version| String::from_utf8_lossy(&version.stdout).starts_with("Packer v1.6")) {
        println!("Packer's bake beside ours: skipped, there is no packer 1.6 (`apt-get install packer`)");
        return Ok(None);
    }
    let folder = std::env::temp_dir().join(format!("ovenbird-packer-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let rows = bakes(local, &folder);
    fs::remove_dir_all(&folder)?;
    rows.map(Some)
}

fn bakes(local: &Local, folder: &Path) -> Result<Vec<Row>> {
    let mut rows = vec![(
        "Ovenbird: the step, a test, the seal".to_owned(),
        ours(local, folder).context("Ovenbird's bake")?,
    )];
    for (how, ssh) in [("nothing done in it", false), ("the step, over ssh", true)] {
        for (pace, delay) in [("its own waiters", None), ("asking every 2 s", Some("2"))] {
            let what = format!("Packer: {how}; {pace}");
            let seconds = packers(local, folder, ssh, delay).with_context(|| what.clone())?;
            rows.push((what, seconds));
        }
    }
    Ok(rows)
}

fn ours(local: &Local, folder: &Path) -> Result<f64> {
    let recipe = format!(
        "pipeline = \"beside-packer\"\n\n[base]\nparameter = \"{}\"\n\n[builder]\ninstance-types = [\"m7i.large\"]\n\n\
         [[step]]\nname = \"the same\"\nshell = \"{STEP}\"\n\n[[test]]\nname = \"it is there\"\n\
         command = \"test -s /opt/beside/baked\"\n\n[promote]\nchannel = \"stable\"\n",
        sample::BASE
    );
    fs::write(folder.join("recipe.toml"), recipe)?;
    local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])?;
    let start = Instant::now();
    local.ovenbird_json(&["bake", "beside-packer", "--force"], false)?;
    Ok(start.elapsed().as_secs_f64())
}

fn packers(local: &Local, folder: &Path, ssh: bool, delay: Option<&str>) -> Result<f64> {
    let name = format!("packer-{}-{}", if ssh { "ssh" } else { "none" }, delay.unwrap_or("own"));
    let mut builder = json!({
        "type": "amazon-ebs", "region": "us-east-1", "custom_endpoint_ec2": local.endpoint(),
        "skip_region_validation": true, "skip_metadata_api_check": true, "ami_name": name,
        "source_ami": sample::base(local)?, "instance_type": "m7i.large", "communicator": "none",
        "run_tags": {"Name": name},
    });
    let port = free_port()?;
    if ssh {
        // The machine's own address is in the local cloud's network: its port is opened on this host's loopback.
        let more = json!({
            "communicator": "ssh", "ssh_username": "debian", "ssh_host": "127.0.0.1", "ssh_port": port,
            "ssh_timeout": "2m",
        });
        builder.as_object_mut().context("a builder")?.extend(more.as_object().cloned().unwrap_or_default());
    }
    let step = json!({"type": "shell", "inline": [format!("sudo sh -c '{STEP}'")]});
    let template = json!({"builders": [builder], "provisioners": if ssh { vec![step] } else { vec![] }});
    let path = folder.join("template.json");
    fs::write(&path, template.to_string())?;
    let ended = AtomicBool::new(false);
    thread::scope(|scope| {
        if ssh {
            scope.spawn(|| open(local, &name, port, &ended));
        }
        let built = build(local, &path, delay);
        ended.store(true, Ordering::Release);
        built
    })
}

/// Opens the builder's port as soon as there is a builder, until Packer has ended.
fn open(local: &Local, name: &str, port: u16, ended: &AtomicBool) {
    let filters = format!("Name=tag:Name,Values={name}");
    let filters =
        ["ec2", "describe-instances", "--filters", &filters, "Name=instance-state-name,Values=running"];
    while !ended.load(Ordering::Acquire) {
        let found = local.aws(&filters).ok();
        let found = found.as_ref().and_then(|found| found.pointer("/Reservations/0/Instances/0/InstanceId"));
        if let Some(instance) = found.and_then(Value::as_str)
            && local.ovenbird_json(&["open", instance, &format!("{port}:22")], false).is_ok()
        {
            return;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn build(local: &Local, template: &Path, delay: Option<&str>) -> Result<f64> {
    let key = Key::of(&local.home())?;
    let (access_key, secret) = key.parts();
    let mut command = Command::new("packer");
    command.args(["build", "-color=false"]).arg(template).stdin(Stdio::null()).env_remove("AWS_PROFILE");
    command.env("AWS_ACCESS_KEY_ID", access_key).env("AWS_SECRET_ACCESS_KEY", secret);
    command.env("CHECKPOINT_DISABLE", "1").envs(delay.map(|delay| ("AWS_POLL_DELAY_SECONDS", delay)));
    let start = Instant::now();
    let output = command.output().context("packer")?;
    let seconds = start.elapsed().as_secs_f64();
    let said = [output.stdout, output.stderr].concat();
    ensure!(output.status.success(), "packer: {}\n{}", output.status, String::from_utf8_lossy(&said));
    Ok(seconds)
}

fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
