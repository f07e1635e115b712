//! What an operator allows a pipeline: whoever pushes a recipe that asks for more gets no builder.

use futures::executor::block_on;
use ovenbird_core::{
    domain::{bake::To, builder_limits::BuilderLimits},
    store::{Ledger, Limited, Said},
};

use super::bench::{Bench, RECIPE, pipeline};

fn limit(bench: &Bench, limits: Option<&str>) {
    let said = Said { by: "user/alice".into(), why: None, at: bench.cloud.now() };
    let limited = limits.map(|text| Limited { limits: BuilderLimits::parse(text).unwrap(), said });
    block_on(Ledger(&bench.cloud).limit_builders(&pipeline(), limited.as_ref())).unwrap();
}

#[test]
fn a_recipe_that_asks_for_more_than_its_pipeline_may_have_starts_nothing() {
    // The base is Debian's, in an account of its own, with 8 GiB.
    for (limits, words) in [
        ("instance-types = ['c7i.*']", "instance type `m7i.large` (allowed: c7i.*)"),
        ("volume-gib = 7", "a volume of 8 GiB (at most 7)"),
        ("base-owners = ['self']", "a base of account 136693071363 (allowed: self)"),
        ("instance-profiles = []", "instance profile `own` (none is allowed)"),
        ("security-groups = []", "security group `sg-01234567` (none is allowed)"),
        ("subnets = []", "subnet `subnet-01234567` (none is allowed)"),
        ("kms-keys = []", "KMS key `alias/own` (none is allowed)"),
    ] {
        let bench = Bench::new();
        let own = "[builder]\ninstance-profile = 'own'\nsecurity-groups = ['sg-01234567']\n\
                   subnets = ['subnet-01234567']\nvolume.kms-key = 'alias/own'";
        bench.push(&RECIPE.replace("[builder]", own));
        limit(&bench, Some(limits));
        let error = bench.start("one", &bench.upload("v1.jar")).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert!(error.hint().contains("ovenbird pipeline limits storefront"), "{}", error.hint());
        assert_eq!(bench.instances(), 0);
    }
}

#[test]
fn what_is_within_the_limits_is_baked_and_so_is_all_when_they_are_taken_away() {
    let bench = Bench::new();
    limit(
        &bench,
        Some("instance-types = ['c7i.*', 'm7i.*']\nvolume-gib = 8\nbase-owners = ['136693071363']"),
    );
    assert_eq!(bench.start("one", &bench.upload("v1.jar")).unwrap().next.to, To::Await);
    limit(&bench, Some("instance-types = []"));
    assert!(bench.start("two", &bench.upload("v2.jar")).is_err());
    limit(&bench, None);
    assert_eq!(bench.start("three", &bench.upload("v3.jar")).unwrap().next.to, To::Await);
}

#[test]
fn a_pipeline_has_no_more_builders_at_a_time_than_it_may_have() {
    let bench = Bench::new();
    bench.push(&RECIPE.replace("[builder]", "[builder]\nconcurrency = 5"));
    limit(&bench, Some("concurrency = 1"));
    assert_eq!(bench.start("one", &bench.upload("v1.jar")).unwrap().next.to, To::Await);
    assert_eq!(bench.start("two", &bench.upload("v2.jar")).unwrap().next.to, To::Twin);
    assert_eq!(bench.instances(), 1);
}
