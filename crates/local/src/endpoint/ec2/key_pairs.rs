//! Key pairs: the private half is made here, told once, and kept nowhere.

use std::{path::Path, process::Stdio};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::Md5;
use ovenbird_sim::{ApiError, KeyPair, NewKeyPair};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tokio::{io::AsyncWriteExt as _, process::Command};

use super::{
    Call,
    shared::{filters, tag_specifications, time},
};
use crate::endpoint::xml_writer::Xml;

pub(super) async fn create_key_pair(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (name, tags) = (params.required("KeyName")?.to_owned(), tag_specifications(params)?);
    let kind = params.choice("KeyType", &["rsa", "ed25519"])?.unwrap_or("rsa").to_owned();
    if params.choice("KeyFormat", &["pem", "ppk"])? == Some("ppk") {
        let problem = "The local cloud makes keys in the format pem alone.";
        return Err(ApiError::value("ppk", "KeyFormat", problem));
    }
    let dry_run = params.flag("DryRun")?;
    call.finish()?;
    call.look(|world| world.check_key_pair(&name, &tags, dry_run))?;
    let folders = call.endpoint.control.options.home.new_keys();
    let made = make(&folders, &kind).await.map_err(|problem| {
        tracing::warn!("no key pair could be made: {problem}");
        let message = format!("ssh-keygen of this machine could not make a key pair: {problem}");
        ApiError { code: "InternalError", message, http: 500 }
    })?;
    let new = NewKeyPair { name, kind, fingerprint: made.fingerprint, public_key: made.public_key, tags };
    let pair = call.world(|world, now| world.add_key_pair(now, &new))?;
    call.answer("CreateKeyPair", |xml| {
        names(xml, &pair);
        xml.text("keyMaterial", &made.private_key);
        xml.tags(&pair.tags);
    })
}

pub(super) fn import_key_pair(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (name, tags) = (params.required("KeyName")?.to_owned(), tag_specifications(params)?);
    let material = params.required("PublicKeyMaterial")?;
    let dry_run = params.flag("DryRun")?;
    call.finish()?;
    let key =
        STANDARD.decode(material).ok().and_then(|line| PublicKey::parse(&String::from_utf8(line).ok()?));
    let key = key
        .ok_or_else(|| ApiError::new("InvalidKey.Format", "Key is not in valid OpenSSH public key format"))?;
    call.look(|world| world.check_key_pair(&name, &tags, dry_run))?;
    let (kind, fingerprint) = (key.kind.to_owned(), key.imported_fingerprint());
    let new = NewKeyPair { name, kind, fingerprint, public_key: key.line, tags };
    let pair = call.world(|world, now| world.add_key_pair(now, &new))?;
    call.answer("ImportKeyPair", |xml| {
        names(xml, &pair);
        xml.tags(&pair.tags);
    })
}

pub(super) fn describe_key_pairs(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (names_asked, ids) = (params.texts("KeyName"), params.texts("KeyPairId"));
    let (filters, with_key) = (filters(params)?, params.flag("IncludePublicKey")?);
    call.finish_look()?;
    let found = call.look(|world| world.describe_key_pairs(&names_asked, &ids, &filters))?;
    call.answer("DescribeKeyPairs", |xml| {
        xml.list("keySet", &found, |xml, pair| {
            names(xml, pair);
            xml.text("keyType", &pair.kind);
            if with_key {
                xml.text("publicKey", format!("{} {}", pair.public_key, pair.name));
            }
            xml.text("createTime", time(pair.created));
            xml.tags(&pair.tags);
        });
    })
}

pub(super) fn delete_key_pair(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (name, id) = (params.text("KeyName"), params.text("KeyPairId"));
    let dry_run = params.flag("DryRun")?;
    call.finish()?;
    let gone = call.world(|world, _| world.delete_key_pair(name, id, dry_run))?;
    call.answer("DeleteKeyPair", |xml| {
        xml.text("return", true);
        xml.optional("keyPairId", gone.as_ref());
    })
}

fn names(xml: &mut Xml, pair: &KeyPair) {
    xml.text("keyPairId", &pair.id);
    xml.text("keyName", &pair.name);
    xml.text("keyFingerprint", &pair.fingerprint);
}

/// A key pair that was just made.
struct Made {
    private_key: String,
    public_key: String,
    fingerprint: String,
}

/// Has `ssh-keygen` make a pair, in a folder that nobody else can read and that is gone at the end.
async fn make(folders: &Path, kind: &str) -> Result<Made, String> {
    let folder = PrivateFolder::new(folders).map_err(|error| error.to_string())?;
    let file = folder.0.join("key");
    let mut command = Command::new("ssh-keygen");
    command.args(["-q", "-t", kind, "-N", "", "-C", "", "-f"]).arg(&file);
    if kind == "rsa" {
        command.args(["-b", "2048", "-m", "PEM"]);
    }
    run(command, b"").await?;
    let read =
        |name: &str| std::fs::read_to_string(folder.0.join(name)).map_err(|error| format!("{name}: {error}"));
    let (private_key, line) = (read("key")?.trim_end().to_owned(), read("key.pub")?);
    let key = PublicKey::parse(&line).ok_or_else(|| format!("this is no public key: {line}"))?;
    let fingerprint = match kind {
        "rsa" => {
            // The fingerprint of a key that AWS made is that of its private half, as PKCS #8.
            let body: String = private_key.lines().filter(|line| !line.starts_with("-----")).collect();
            let pkcs1 = STANDARD.decode(body).map_err(|error| error.to_string())?;
            colons(&Sha1::digest(pkcs8(&pkcs1)))
        }
        _ => key.imported_fingerprint(),
    };
    Ok(Made { private_key, public_key: key.line, fingerprint })
}

async fn run(mut command: Command, input: &[u8]) -> Result<(), String> {
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(|error| format!("it can't be started: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input).await.map_err(|error| error.to_string())?;
    }
    let output = child.wait_with_output().await.map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}

/// A folder of one key.
struct PrivateFolder(std::path::PathBuf);

impl PrivateFolder {
    /// Below a folder of the home's, where the next supervisor deletes what a killed one left.
    fn new(folders: &Path) -> std::io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::create_dir_all(folders)?;
        let path = folders.join(uuid::Uuid::new_v4().to_string());
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!("{} could not be deleted: {error}", self.0.display());
        }
    }
}

/// A public key as `authorized_keys` has it.
struct PublicKey {
    /// Its type and the key itself, without a comment.
    line: String,
    /// EC2's word for its type.
    kind: &'static str,
    blob: Vec<u8>,
}

impl PublicKey {
    /// Reads a line; none for what EC2 doesn't import.
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (word, text) = (words.next()?, words.next()?);
        let kind = match word {
            "ssh-rsa" => "rsa",
            "ssh-ed25519" => "ed25519",
            _ => return None,
        };
        let blob = STANDARD.decode(text).ok()?;
        let parts = parts(&blob)?;
        let whole = match kind {
            "rsa" => parts.len() == 3,
            _ => parts.len() == 2 && parts[1].len() == 32,
        };
        (whole && parts[0] == word.as_bytes()).then(|| Self { line: format!("{word} {text}"), kind, blob })
    }

    /// As the user guide's page "Verify the fingerprint of your key pair" has it for imported keys, and for every
    /// Ed25519 key.
    fn imported_fingerprint(&self) -> String {
        match (self.kind, parts(&self.blob).as_deref()) {
            ("rsa", Some([_, exponent, modulus])) => colons(&Md5::digest(public_key_info(modulus, exponent))),
            _ => {
                let hash = STANDARD.encode(Sha256::digest(&self.blob));
                format!("SHA256:{}", hash.trim_end_matches('='))
            }
        }
    }
}

/// The parts of a key on the wire of SSH: each behind its length.
fn parts(mut blob: &[u8]) -> Option<Vec<&[u8]>> {
    let mut parts = Vec::new();
    while !blob.is_empty() {
        let (length, rest) = blob.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
        parts.push(part);
        blob = rest;
    }
    Some(parts)
}

fn colons(hash: &[u8]) -> String {
    let bytes: Vec<_> = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(":")
}

/// DER: a tag, a length, a content.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let length: Vec<u8> = bytes.iter().copied().skip_while(|byte| *byte == 0).collect();
    let mut all = vec![tag];
    if content.len() < 128 {
        all.extend(content.len().to_be_bytes().last());
    } else {
        all.extend(length.len().to_be_bytes().last().map(|count| 0x80 | count));
        all.extend(length);
    }
    all.extend(content);
    all
}

/// `rsaEncryption` with its parameters, which are none (RFC 8017, A.1).
fn rsa_encryption() -> Vec<u8> {
    let id = der(0x06, &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01]);
    der(0x30, &[id, der(0x05, &[])].concat())
}

/// A private key of PKCS #1 as PKCS #8 (RFC 5208, 5).
fn pkcs8(pkcs1: &[u8]) -> Vec<u8> {
    der(0x30, &[der(0x02, &[0]), rsa_encryption(), der(0x04, pkcs1)].concat())
}

/// A public key as X.509's `SubjectPublicKeyInfo`. SSH's numbers have the sign bit where DER's have it.
fn public_key_info(modulus: &[u8], exponent: &[u8]) -> Vec<u8> {
    let key = der(0x30, &[der(0x02, modulus), der(0x02, exponent)].concat());
    der(0x30, &[rsa_encryption(), der(0x03, &[vec![0], key].concat())].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_keys_of_the_kinds_that_ec2_takes_are_read() {
        let ed25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxTXQoZYVwPzU0ohXsDVaGyXQEsUe6Yh4Xr4QRJ8VYt me";
        let key = PublicKey::parse(ed25519).expect("a key");
        assert_eq!((key.kind, key.line.as_str()), ("ed25519", ed25519.trim_end_matches(" me")));
        assert!(key.imported_fingerprint().starts_with("SHA256:"));
        for wrong in [
            "",
            "ssh-ed25519",
            "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIJxTXQoZYVwPzU0ohXsDVaGyXQEsUe6Yh4Xr4QRJ8VYt",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJxTXQoZYVwPzU0ohXsDVaGyXQEsUe6Yh4Xr4QRJ8V",
            "ssh-dss AAAAB3NzaC1kc3MAAAAA",
        ] {
            assert!(PublicKey::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn der_s_lengths_are_short_or_long() {
        assert_eq!(der(4, &[7])[..], [4, 1, 7]);
        assert_eq!(der(4, &[0; 200])[..3], [4, 0x81, 200]);
        assert_eq!(der(4, &[0; 300])[..4], [4, 0x82, 1, 44]);
    }
}
