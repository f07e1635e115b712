//! The sample application, built on a machine of the local cloud: nothing but the base is needed for it.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};

use crate::clients::{Local, repository, within};

/// Builds the jar of each version on one machine of the base image, and fetches them.
pub fn build(local: &Local, versions: &[&str]) -> Result<Vec<PathBuf>> {
    let source = fs::read_to_string(repository().join("tests/storefront/Storefront.java"))?;
    let bucket = local.operator("bucket")?;
    let endpoint = local.endpoint();
    let mut script = format!(
        "#!/bin/sh\nset -eu\nmkdir -p /build\ncd /build\ncat > Storefront.java <<'JAVA'\n{source}JAVA\n"
    );
    script.push_str("javac -d . Storefront.java\n");
    for version in versions {
        script.push_str(&format!(
            "printf {version} > VERSION\njar --create --file {version}.jar --main-class Storefront VERSION *.class\n\
             curl -fsS -T {version}.jar {endpoint}/{bucket}/build/storefront-{version}.jar\n"
        ));
    }
    let file = std::env::temp_dir().join(format!("ovenbird-build-{}.sh", std::process::id()));
    fs::write(&file, script)?;
    let image = base(local)?;
    let user_data = format!("file://{}", file.display());
    let launched = local.aws(&[
        "ec2",
        "run-instances",
        "--image-id",
        &image,
        "--instance-type",
        "m7i.large",
        "--user-data",
        &user_data,
    ])?;
    fs::remove_file(&file)?;
    let instance = launched
        .pointer("/Instances/0/InstanceId")
        .and_then(|id| id.as_str())
        .context("no instance")?
        .to_owned();
    let mut jars = Vec::new();
    for version in versions {
        let key = format!("build/storefront-{version}.jar");
        let jar =
            std::env::temp_dir().join(format!("ovenbird-storefront-{}-{version}.jar", std::process::id()));
        let path = jar.to_str().context("temporary folder")?;
        within("the jar", Duration::from_secs(60), || {
            local.aws(&["s3api", "get-object", "--bucket", &bucket, "--key", &key, path])
        })?;
        jars.push(jar);
    }
    local.aws(&["ec2", "terminate-instances", "--instance-ids", &instance])?;
    Ok(jars)
}

/// The local base image.
pub fn base(local: &Local) -> Result<String> {
    let name = "/aws/service/debian/release/12/latest/amd64";
    let answer = local.aws(&["ssm", "get-parameter", "--name", name])?;
    Ok(answer
        .pointer("/Parameter/Value")
        .and_then(|value| value.as_str())
        .context("no base image")?
        .to_owned())
}
