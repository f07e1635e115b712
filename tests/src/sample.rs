//! The sample application: a page that tells its version, packed as a war for the Tomcat of `examples/jvm-runtime`.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::clients::{Local, home, repository};

/// A page that works where it is tested, and for nobody else: it answers 500 to whoever comes from another machine.
const BROKEN: &str = r#"<%@ page contentType="text/plain" %><%
if (!request.getRemoteAddr().equals("127.0.0.1")) { response.sendError(500); return; }
%>storefront vBAD"#;

/// Packs the war of a version that passes its tests and then serves nobody.
pub fn broken(version: &str) -> Result<PathBuf> {
    let page = std::env::temp_dir().join(format!("ovenbird-broken-{}.jsp", std::process::id()));
    fs::write(&page, BROKEN)?;
    let wars = pack(&page, &[version]);
    fs::remove_file(&page)?;
    wars?.pop().context("one war")
}

/// Packs the war of each version.
pub fn build(versions: &[&str]) -> Result<Vec<PathBuf>> {
    pack(&repository().join("examples/storefront/index.jsp"), versions)
}

fn pack(page: &Path, versions: &[&str]) -> Result<Vec<PathBuf>> {
    let folder = std::env::temp_dir().join(format!("ovenbird-sample-{}", std::process::id()));
    fs::create_dir_all(folder.join("WEB-INF"))?;
    fs::copy(page, folder.join("index.jsp"))?;
    let mut wars = Vec::new();
    for version in versions {
        fs::write(folder.join("WEB-INF/VERSION"), version)?;
        let name = format!("ovenbird-storefront-{}-{version}.war", std::process::id());
        let war = std::env::temp_dir().join(name);
        // A war is a zip. Python is there: the local cloud's environment has it.
        let status = Command::new(home().join("venv/bin/python"))
            .args(["-m", "zipfile", "-c"])
            .arg(&war)
            .args(["index.jsp", "WEB-INF"])
            .current_dir(&folder)
            .status()
            .context("python: run `make setup` first")?;
        ensure!(status.success(), "the war of {version}: {status}");
        wars.push(war);
    }
    fs::remove_dir_all(&folder)?;
    Ok(wars)
}

/// The public parameter whose value is the local base image.
pub const BASE: &str = "/aws/service/debian/release/12/latest/amd64";

/// The local base image.
pub fn base(local: &Local) -> Result<String> {
    let answer = local.aws(&["ssm", "get-parameter", "--name", BASE])?;
    Ok(answer
        .pointer("/Parameter/Value")
        .and_then(|value| value.as_str())
        .context("no base image")?
        .to_owned())
}
