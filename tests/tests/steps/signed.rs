//! A stack that names signers bakes what these signed, whoever wrote it into the bucket.

use ovenbird_core::{
    domain::{
        bake::To,
        digest::sha256,
        id::Digest,
        signature::{NAMESPACE, Signers, signed},
    },
    store::{keys, recipes::RecipePointer},
};
use ssh_key::{HashAlg, LineEnding, PrivateKey, private::Ed25519Keypair};

use super::bench::{Bench, RECIPE, pipeline};

/// Always the same key for the same number.
fn key(number: u8) -> PrivateKey {
    Ed25519Keypair::from_seed(&[number; 32]).into()
}

/// A bench whose stack takes recipes of the first key.
fn bench() -> Bench {
    let bench = Bench::new();
    let public = key(1).public_key().to_openssh().unwrap();
    bench.cloud.require_signers(Signers::parse(public.split(' ').nth(1).unwrap()).unwrap());
    bench
}

fn sign(bench: &Bench, version: &Digest, of: &Digest, key: &PrivateKey) {
    let text = signed(&pipeline(), of);
    let signature = key.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes()).unwrap();
    bench.cloud.put(&keys::signature(&pipeline(), version), signature.to_pem(LineEnding::LF).unwrap());
}

#[test]
fn a_recipe_that_nobody_of_the_stack_s_signed_starts_nothing() {
    let version = RecipePointer::new(RECIPE, None).version;
    for (forge, words) in [
        ((|_, _| {}) as fn(&Bench, &Digest), "is not there"),
        (|bench, version| sign(bench, version, version, &key(2)), "which is none of the stack's"),
        (|bench, version| sign(bench, version, &sha256(b"another"), &key(1)), "is of something else"),
        (
            |bench, version| bench.cloud.put(&keys::signature(&pipeline(), version), "-----BEGIN"),
            "can't be read",
        ),
    ] {
        let bench = bench();
        forge(&bench, &version);
        let error = bench.start("one", &bench.upload("v1.jar")).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().contains("--sign KEY"), "{}", error.hint());
        assert_eq!(bench.instances(), 0);
    }
}

#[test]
fn a_signed_recipe_is_baked_and_the_record_says_by_which_key() {
    let bench = bench();
    let version = RecipePointer::new(RECIPE, None).version;
    sign(&bench, &version, &version, &key(1));
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    assert_eq!(bake.next.to, To::Await);
    let fingerprint = key(1).fingerprint(HashAlg::Sha256).to_string();
    assert_eq!(bake.bake.spec.signer, Some(fingerprint));
}

#[test]
fn without_signers_nothing_needs_a_signature() {
    let bench = Bench::new();
    let bake = bench.start("one", &bench.upload("v1.jar")).unwrap();
    assert_eq!((bake.next.to, &bake.bake.spec.signer), (To::Await, &None));
}
