//! Signs a version of a recipe with `ssh-keygen`, which knows agents, tokens and passphrases.

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use ovenbird_core::{
    Error, Result,
    domain::{
        id::{Digest, PipelineName},
        signature::{self, Signers},
    },
    ports::{Bucket, Stack},
    store::keys,
};

/// The signature that goes with a version; none where it needs none, or has one that lies in the bucket.
///
/// # Errors
/// When the key can't sign, or the stack wants a signature of another key.
pub async fn signature(
    pipeline: &PipelineName,
    version: &Digest,
    key: Option<&Path>,
    cloud: &(impl Bucket + Stack),
) -> Result<Option<String>> {
    let signers = cloud.signers();
    let Some(key) = key else {
        if !signers.is_empty() {
            let before = cloud.text(&keys::signature(pipeline, version)).await?;
            signers.check(pipeline, version, before.as_deref())?;
        }
        return Ok(None);
    };
    let made = sign(&signature::signed(pipeline, version), key)?;
    signers.check(pipeline, version, Some(&made))?;
    let signer = Signers::key_of(&made).map_err(|problem| {
        let fix = "Sign with an Ed25519 key: `ssh-keygen -t ed25519` makes one";
        Error::bad_input(format!("the signature by `{}`", key.display()), problem, fix)
    })?;
    crate::tell!("signed version {} by key {signer}", &version.as_str()[..12]);
    Ok(Some(made))
}

fn sign(text: &str, key: &Path) -> Result<String> {
    let wrong = |problem: String| {
        let fix = "Give the private key, or the public one of a key that your agent has: `--sign ~/.ssh/id_ed25519`";
        Error::bad_input(format!("key `{}`", key.display()), problem, fix)
    };
    let mut child = Command::new("ssh-keygen")
        .args(["-Y", "sign", "-q", "-n", signature::NAMESPACE, "-f"])
        .arg(key)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| wrong(format!("can't sign: `ssh-keygen` of OpenSSH can't be started: {error}")))?;
    if let Some(mut input) = child.stdin.take() {
        // Of a text that it did not read, it says why by itself.
        drop(input.write_all(text.as_bytes()));
    }
    let output = child.wait_with_output().map_err(|error| wrong(format!("can't sign: {error}")))?;
    let made =
        String::from_utf8(output.stdout).map_err(|_| wrong("made a signature that is no text".into()))?;
    if output.status.success() {
        Ok(made)
    } else {
        Err(wrong(format!("can't sign: ssh-keygen ended with {}", output.status)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ovenbird_core::domain::digest::sha256;

    fn keygen(arguments: &[&str], folder: &Path) {
        let status = Command::new("ssh-keygen").args(arguments).current_dir(folder).status().unwrap();
        assert!(status.success());
    }

    #[test]
    fn what_ssh_keygen_signs_launch_builder_takes() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["ours", "another"] {
            keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "shop-ci", "-f", name], folder.path());
        }
        let (pipeline, version): (PipelineName, _) = ("shop".parse().unwrap(), sha256(b"x"));
        let public = std::fs::read_to_string(folder.path().join("ours.pub")).unwrap();
        let signers = Signers::parse(public.split(' ').nth(1).unwrap()).unwrap();
        let made = |name: &str| sign(&signature::signed(&pipeline, &version), &folder.path().join(name));
        signers.check(&pipeline, &version, Some(&made("ours").unwrap())).unwrap();
        let error = signers.check(&pipeline, &version, Some(&made("another").unwrap())).unwrap_err();
        assert!(error.to_string().contains("none of the stack's"), "{error}");
        let error = signers.check(&pipeline, &version, None).unwrap_err();
        assert!(error.to_string().contains("bakes no recipe without one"), "{error}");
        assert!(made("none").unwrap_err().to_string().contains("can't sign"));
        assert_eq!(
            Signers::key_of(&made("ours").unwrap()),
            signers.signer(&pipeline, &version, &made("ours").unwrap())
        );
        keygen(&["-q", "-t", "rsa", "-N", "", "-f", "rsa"], folder.path());
        assert!(Signers::key_of(&made("rsa").unwrap()).unwrap_err().contains("only Ed25519 keys"));
    }
}
