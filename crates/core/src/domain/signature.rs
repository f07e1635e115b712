//! Signatures of recipes, as `ssh-keygen -Y sign` makes them: of Ed25519 keys, also of those on tokens.
//!
//! Who may write to the bucket can push a recipe. A stack that names signers bakes only versions that one of these signed,
//! whoever wrote them.

use ssh_key::{Algorithm, HashAlg, PublicKey, SshSig};

use crate::domain::{
    error::{self, Error},
    id::{Digest, PipelineName},
};

/// What a signature is for. One that was made for something else, such as a commit, is none here.
pub const NAMESPACE: &str = "ovenbird-recipe";

/// The kinds of keys, each with what a key begins with: the length of the kind's name and the name, in Base64.
const KINDS: [(&str, &str); 2] = [
    ("ssh-ed25519", "AAAAC3NzaC1lZDI1NTE5"),
    ("sk-ssh-ed25519@openssh.com", "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29t"),
];

/// The text that is signed: the version is the hash of the recipe and its files.
pub fn signed(pipeline: &PipelineName, version: &Digest) -> String {
    format!("{pipeline} {version}\n")
}

/// The keys of which one must have signed a recipe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Signers(Vec<PublicKey>);

impl Signers {
    /// Reads public keys with commas between them, each as the second word of its line in `id_ed25519.pub`: `AAAAC3NzaC1…`.
    ///
    /// # Errors
    /// Which of them can't be read, and why.
    pub fn parse(text: &str) -> Result<Self, String> {
        let keys = text.split(',').map(str::trim).filter(|key| !key.is_empty());
        let read = |text: &str| {
            let kind = KINDS.iter().find(|(_, begins)| text.starts_with(begins));
            let (kind, _) = kind.ok_or_else(|| format!("`{text}` is no Ed25519 public key"))?;
            PublicKey::from_openssh(&format!("{kind} {text}"))
                .map_err(|error| format!("`{text}` is no public key: {error}"))
        };
        keys.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// The fingerprint of the key that made a signature, whoever's that is: `SHA256:…`.
    ///
    /// # Errors
    /// Why it is none, or none of an Ed25519 key, after the words "the signature".
    pub fn key_of(signature: &str) -> Result<String, String> {
        let signature = SshSig::from_pem(signature).map_err(|error| format!("can't be read: {error}"))?;
        let key = signature.public_key();
        let kind = key.algorithm();
        if !matches!(kind, Algorithm::Ed25519 | Algorithm::SkEd25519) {
            return Err(format!("is of a key of kind {}, and only Ed25519 keys are taken", kind.as_str()));
        }
        Ok(key.fingerprint(HashAlg::Sha256).to_string())
    }

    /// Whether recipes need no signature.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The fingerprint of the key that signed a version, as [`Self::signer`] gives it. None where recipes need no signature.
    ///
    /// # Errors
    /// When there is no signature, or one of something or somebody else.
    pub fn check(
        &self,
        pipeline: &PipelineName,
        version: &Digest,
        signature: Option<&str>,
    ) -> error::Result<Option<String>> {
        if self.is_empty() {
            return Ok(None);
        }
        let found = match signature {
            Some(signature) => self.signer(pipeline, version, signature),
            None => Err("is not there, and this stack bakes no recipe without one".to_owned()),
        };
        found.map(Some).map_err(|problem| {
            let short = &version.as_str()[..12];
            Error::bad_input(
                format!("the signature of version {short} of the recipe of pipeline `{pipeline}`"),
                problem,
                "Push the recipe with `--sign KEY`, of a key that the stack's parameter `RecipeSigners` names",
            )
        })
    }

    /// The fingerprint of the key that signed a version: `SHA256:…`.
    ///
    /// # Errors
    /// Why the signature is none, after the words "the signature".
    pub fn signer(
        &self,
        pipeline: &PipelineName,
        version: &Digest,
        signature: &str,
    ) -> Result<String, String> {
        let signature = SshSig::from_pem(signature).map_err(|error| format!("can't be read: {error}"))?;
        let key = self.0.iter().find(|key| key.key_data() == signature.public_key());
        let Some(key) = key else {
            let other = signature.public_key().fingerprint(HashAlg::Sha256);
            return Err(format!("is of key {other}, which is none of the stack's"));
        };
        match key.verify(NAMESPACE, signed(pipeline, version).as_bytes(), &signature) {
            Ok(()) => Ok(key.fingerprint(HashAlg::Sha256).to_string()),
            Err(_) => Err("is of something else, or was changed".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::sha256;

    /// Made by `ssh-keygen -t ed25519`.
    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIIpBq/zspS1dOmmBARcbw4eWc8FgW3RIF/aNtK6Qe53F";

    /// Made by `ssh-keygen -Y sign -n ovenbird-recipe` of "shop " with the hash of nothing.
    const SIGNATURE: &str = "-----BEGIN SSH SIGNATURE-----\n\
        U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgikGr/OylLV06aYEBFxvDh5ZzwW\n\
        BbdEgX9o20rpB7ncUAAAAPb3ZlbmJpcmQtcmVjaXBlAAAAAAAAAAZzaGE1MTIAAABTAAAA\n\
        C3NzaC1lZDI1NTE5AAAAQFg4aqZ/PxgtSBoHHG7MGD0BeIrOy4kKoxs2kqmVM2wl9C3hdg\n\
        yBmeZrDya1BhnsA1mON2F+nrxV7AzytgfJewI=\n\
        -----END SSH SIGNATURE-----";

    /// The same, with `-n git`.
    const OF_A_COMMIT: &str = "-----BEGIN SSH SIGNATURE-----\n\
        U1NIU0lHAAAAAQAAADMAAAALc3NoLWVkMjU1MTkAAAAgikGr/OylLV06aYEBFxvDh5ZzwW\n\
        BbdEgX9o20rpB7ncUAAAADZ2l0AAAAAAAAAAZzaGE1MTIAAABTAAAAC3NzaC1lZDI1NTE5\n\
        AAAAQJ6ZnHJ3/b/efu0qKtZAXrik7inaKV9W3gtSKEH/e1dehbJKAvogDXAddu9yGMsoVL\n\
        uEyI0e3okG3ZBZ3o9J1gI=\n\
        -----END SSH SIGNATURE-----";

    fn pipeline(name: &str) -> PipelineName {
        name.parse().unwrap()
    }

    #[test]
    fn a_signature_of_openssh_s_is_one_of_this_very_version_of_this_very_pipeline() {
        let signers = Signers::parse(KEY).unwrap();
        let signer = |name, version, text| signers.signer(&pipeline(name), version, text);
        let version = sha256(b"");
        assert_eq!(
            signer("shop", &version, SIGNATURE).unwrap(),
            "SHA256:qc+NnPMl3TRtKUBENDjfrMmrIq2XmO/uWruj6ogrZLw"
        );
        for (name, version, text, words) in [
            ("blog", &version, SIGNATURE, "something else"),
            ("shop", &sha256(b"x"), SIGNATURE, "something else"),
            ("shop", &version, OF_A_COMMIT, "something else"),
            ("shop", &version, "nonsense", "can't be read"),
            ("shop", &version, "", "can't be read"),
        ] {
            let error = signer(name, version, text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_signature_of_a_key_that_the_stack_does_not_know_is_none() {
        let other = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let error =
            Signers::parse(other).unwrap().signer(&pipeline("shop"), &sha256(b""), SIGNATURE).unwrap_err();
        assert!(error.contains("which is none of the stack's"), "{error}");
        assert!(error.contains("SHA256:qc+NnPMl3TRtKUBENDjfrMmrIq2XmO/uWruj6ogrZLw"), "{error}");
    }

    #[test]
    fn several_keys_may_be_named_and_none_of_another_kind() {
        assert!(Signers::parse("").unwrap().is_empty());
        assert_eq!(Signers::parse(&format!("{KEY}, {KEY}")).unwrap().0.len(), 2);
        let ecdsa = "AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";
        for wrong in [ecdsa, "ssh-ed25519", "SHA256:abc", &KEY[..60]] {
            assert!(Signers::parse(wrong).is_err(), "{wrong}");
        }
    }
}
