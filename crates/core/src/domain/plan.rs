//! The plan: what the runner on the builder is given to do, and the few lines that fetch and start it.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::{
    error::{Error, Result},
    id::{BakeId, Digest},
    recipe::{Artifact, Recipe, Seal, Step, Test},
};

/// EC2's limit for user data, before its base64.
pub const USER_DATA_LIMIT: usize = 16 * 1024;

/// Where the runner lives on a machine, until it is sealed.
pub const FOLDER: &str = "/var/lib/ovenbird";

/// A URL that is a key to one object for some time: it is never shown.
///
/// Our own type, and not `secrecy`'s: that one neither compares nor serializes, and the plan that holds these does both.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PresignedUrl(String);

impl PresignedUrl {
    /// Wraps a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its signature, for the one who fetches.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PresignedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresignedUrl(…)")
    }
}

/// Something to fetch, with the hash it must have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// The URL that it is fetched from; whoever has it may fetch it.
    pub url: PresignedUrl,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
}

/// The files beside the recipe, as they are fetched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bundle {
    /// The files as one `tar.gz`.
    #[serde(flatten)]
    pub archive: Download,
    /// The digest of the files in it, which is an input of the image: the builder computes it again.
    pub files: Digest,
}

/// What the runner does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The bake that it was made for; the tests' JUnit report names it.
    pub bake: BakeId,
    /// The artifact, and where it goes.
    pub artifact: Option<(Download, Artifact)>,
    /// The files beside the recipe.
    pub bundle: Option<Bundle>,
    /// The recipe's steps, in the order in which they run.
    pub steps: Vec<Step>,
    /// The recipe's tests. All of them run, also after one that failed.
    pub tests: Vec<Test>,
    /// What the seal keeps, and what it removes in addition.
    #[serde(default, skip_serializing_if = "Seal::is_usual")]
    pub seal: Seal,
    /// When the bake's time is over, whatever else died: the runner then powers the machine off.
    pub ends: Timestamp,
    /// The cloud's endpoint, when it isn't AWS's own: where secrets are read.
    #[serde(default)]
    pub endpoint: Option<String>,
}

impl Plan {
    /// The plan for a recipe, on AWS.
    pub fn new(
        bake: BakeId,
        recipe: &Recipe,
        artifact: Option<Download>,
        bundle: Option<Bundle>,
        ends: Timestamp,
    ) -> Self {
        let artifact = artifact.zip(recipe.artifact.clone());
        let (steps, tests, seal) = (recipe.steps.clone(), recipe.tests.clone(), recipe.seal.clone());
        Self { bake, artifact, bundle, steps, tests, seal, ends, endpoint: None }
    }
}

impl Plan {
    /// The first URL that goes without TLS although the cloud is AWS itself: its host, for an error.
    pub fn insecure<'u>(&'u self, others: impl IntoIterator<Item = &'u PresignedUrl>) -> Option<String> {
        if self.endpoint.is_some() {
            return None;
        }
        let artifact = self.artifact.as_ref().map(|(download, _)| &download.url);
        let bundle = self.bundle.as_ref().map(|bundle| &bundle.archive.url);
        let mut urls = artifact.into_iter().chain(bundle).chain(others);
        let url = urls.find(|url| !url.reveal().starts_with("https://"))?;
        // Without its path and its signature, which are a key.
        Some(url.reveal().split('/').take(3).collect::<Vec<_>>().join("/"))
    }
}

/// The name of the runner's unit, and of its service.
pub const UNIT: &str = "ovenbird-runner";

/// The file in [`FOLDER`] that holds the SHA-256 of the plan: the runner follows no other.
pub const PLAN_HASH: &str = "plan.sha256";

/// More than any runner has, in bytes: what is longer is none.
const RUNNER_LIMIT: u64 = 256 * 1024 * 1024;

/// The script that cloud-init runs: it fetches the runner and its URLs, checks the runner, starts it and ends.
///
/// The runner is a unit of its own, so that cloud-init ends as on any machine: a step may wait for it, restart it, or start
/// a service that is ordered after it. Where there is no systemd, it is a session of its own. The unit has nothing that
/// systemd 219 doesn't know. A shell starts the program: where `SELinux` is enforced, systemd may start what is in `/bin`
/// alone, and a shell may start the rest. It names the plan by its hash: user data can't be changed after the launch, and
/// what is in the bucket can. Only an endpoint of one's own is spoken to without TLS. A machine without `curl` tries `wget`; one with neither says so on its console.
pub fn user_data(
    runner: &PresignedUrl,
    sha256: &Digest,
    urls: &PresignedUrl,
    plan: &Digest,
    endpoint: Option<&str>,
) -> Result<String> {
    let (runner, urls) = (quote(runner.reveal()), quote(urls.reveal()));
    let protocols = if endpoint.is_some() { "=http,https" } else { "=https" };
    let text = format!(
        r#"#!/bin/sh
set -eu
umask 077
mkdir -p {FOLDER}
cd {FOLDER}
fetch() {{
  if command -v curl >/dev/null; then curl -fsS --proto '{protocols}' --max-filesize {RUNNER_LIMIT} --retry 5 --retry-connrefused --connect-timeout 10 -o "$2" "$1"
  elif command -v wget >/dev/null; then wget -q --max-redirect=0 --tries=5 --timeout=10 -O "$2" "$1"
  else echo 'ovenbird: the base has neither curl nor wget' >&2; exit 1; fi
}}
fetch {runner} ovenbird-runner
echo '{sha256}  ovenbird-runner' | sha256sum -c - >/dev/null
chmod 700 ovenbird-runner
fetch {urls} urls.json
echo '{plan}' > {PLAN_HASH}
if [ -d /run/systemd/system ]; then
  systemd-run --unit={UNIT} --description='Ovenbird works on this machine' /bin/sh -c 'exec {FOLDER}/ovenbird-runner work'
else
  setsid {FOLDER}/ovenbird-runner work </dev/null >/dev/console 2>&1 &
fi
"#
    );
    if text.len() > USER_DATA_LIMIT {
        return Err(Error::bad_input(
            "the builder's user data",
            format!("is {} bytes long, and EC2 takes {USER_DATA_LIMIT}", text.len()),
            "Use a bucket with a shorter name, and credentials with a shorter session token",
        ));
    }
    Ok(text)
}

/// One shell word, whatever is in the text.
///
/// Not `shlex`: that one fails on a NUL, and its way to quote depends on the text.
pub fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn data(url: &str) -> Result<String> {
        let (url, hash) = (PresignedUrl::new(url), crate::domain::digest::sha256(b""));
        user_data(&url, &hash, &url, &hash, None)
    }

    #[test]
    fn user_data_over_the_limit_is_refused() {
        assert!(data("https://example.com/?X-Amz-Signature=0").is_ok());
        assert!(data(&"x".repeat(USER_DATA_LIMIT / 2)).is_err());
    }

    #[test]
    fn a_presigned_url_is_never_shown() {
        assert_eq!(format!("{:?}", PresignedUrl::new("https://secret")), "PresignedUrl(…)");
    }

    proptest! {
        #[test]
        fn a_quoted_text_is_one_shell_word(text in "[^\0]*") {
            let script = format!("printf %s {}", quote(&text));
            let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(output.stdout, text.into_bytes());
        }
    }
}
