//! Versions of launch templates that Ovenbird made keep their images, until nothing launches by them any more: then they
//! are deleted, and after them their images go.

use std::collections::BTreeMap;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::{id::AmiId, rollout::Template, tags::TAG_STACK, template::Pin},
    ports::{Source, Stack as _, Templates as _},
    store::Ledger,
};
use ovenbird_sim::{
    auto_scaling::{
        Configuration, CreateGroup, Distribution, MixedInstancesPolicy, Override,
        refresh::StartInstanceRefresh,
    },
    launch_templates::{
        CreateLaunchTemplate, CreateLaunchTemplateVersion, LaunchTemplateData, RunByTemplate, TemplateSpec,
    },
};
use ovenbird_testkit::{
    Cloud, Fault,
    walk::scenarios::{Follows, PLAIN, Scenario},
};
use serde_json::{Value, json};

use super::desk::{Desk, TWO, pipeline};

/// An account whose first image is old. A launch template of this stack named it, and then the channel's image: version
/// 1 is of a person's, 2 is of the old image, 3 is of the channel's and the default one. Gives the old image, and the
/// template.
fn rolled() -> (Desk, AmiId, TemplateSpec) {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let (old, current) = (desk.image("before-0"), desk.current().unwrap());
    let stack = desk.cloud.stack().to_string();
    let now = desk.now();
    let template = desk.cloud.with(|world| {
        let own = BTreeMap::from([(TAG_STACK.to_owned(), stack)]);
        let first = CreateLaunchTemplate {
            name: "web".into(),
            data: LaunchTemplateData {
                image: Some(current.to_string()),
                instance_type: Some("m7i.large".into()),
                ..LaunchTemplateData::default()
            },
            tags: [("launch-template".to_owned(), own)].into(),
            ..CreateLaunchTemplate::default()
        };
        let made = world.create_launch_template(now, &first).unwrap();
        TemplateSpec { id: Some(made.id), ..TemplateSpec::default() }
    });
    for image in [&old, &current] {
        let default = block_on(desk.cloud.default_version(&"web".parse().unwrap())).unwrap().unwrap().0;
        let next = block_on(desk.cloud.with_image(&default, image, image.as_str())).unwrap();
        block_on(desk.cloud.make_default(&next)).unwrap();
        desk.cloud.pass(SignedDuration::from_secs(60));
    }
    (desk, old, template)
}

/// The numbers of the versions that are there.
fn versions(desk: &Desk) -> Vec<u64> {
    versions_of(desk, "web")
}

fn versions_of(desk: &Desk, template: &str) -> Vec<u64> {
    desk.cloud.with(|world| {
        let template = world.launch_templates().find(|one| one.name == template).unwrap();
        template.versions().map(|version| version.number).collect()
    })
}

/// The verdict on the old image says that a version is to be deleted.
#[track_caller]
fn due(desk: &Desk, old: &AmiId) -> Value {
    let verdict = desk.verdict(old);
    assert_eq!((&verdict["act"], &verdict["reason"]), (&json!("delete-versions"), &json!("superseded")));
    assert_eq!(verdict["by"], json!("web version 2"), "{verdict}");
    verdict
}

/// It stays, and why.
#[track_caller]
fn assert_stays(desk: &Desk, old: &AmiId, why: &str) {
    let verdict = desk.verdict(old);
    assert_eq!(
        (&verdict["act"], &verdict["reason"]),
        (&json!("keep"), &json!("launch-template")),
        "{verdict}"
    );
    assert_eq!(verdict["by"], json!(format!("web version 2: {why}")));
}

/// The act is refused, and no version goes.
#[track_caller]
fn assert_refused(desk: &Desk, verdict: &Value, reason: &str, by: &str) {
    assert_refused_of(desk, "web", verdict, reason, by);
}

#[track_caller]
fn assert_refused_of(desk: &Desk, template: &str, verdict: &Value, reason: &str, by: &str) {
    let before = versions_of(desk, template);
    let done = desk.act("retire", verdict).unwrap();
    assert_eq!((&done["act"], &done["reason"]), (&json!("keep"), &json!(reason)));
    assert_eq!(done["by"].as_str().unwrap_or_default(), by);
    assert_eq!(versions_of(desk, template), before);
}

fn make_default(desk: &Desk, template: &TemplateSpec, version: u64) {
    desk.cloud.with(|world| world.modify_launch_template(template, &version.to_string(), false)).unwrap();
}

fn pinned(template: &TemplateSpec) -> TemplateSpec {
    TemplateSpec { version: Some("2".into()), ..template.clone() }
}

/// Makes a group, and gives its name.
fn group(cloud: &Cloud, configuration: Configuration) -> &'static str {
    let subnets = cloud.with(|world| world.describe_subnets(&[], &[])).unwrap();
    let subnets: Vec<String> = subnets.into_iter().map(|subnet| subnet.id).take(1).collect();
    let now = cloud.now();
    let group = CreateGroup::new("blue", configuration, (0, 0, 2), &subnets);
    cloud.with(|world| world.create_auto_scaling_group(now, &group)).unwrap();
    "blue"
}

/// EC2 Fleets and spot fleet requests name a template and a version; the image is the version's.
#[test]
fn a_version_by_which_a_fleet_launches_stays_and_so_does_its_image() {
    for (source, by) in
        [(Source::Fleets, "EC2 Fleet fleet-1"), (Source::SpotFleets, "spot fleet request sfr-1")]
    {
        let (desk, old, template) = rolled();
        let verdict = due(&desk, &old);
        for named in [template.id.clone().unwrap(), "web".to_owned()] {
            let desk = desk.clone();
            desk.cloud.pin(source, Pin { template: named, version: 2, by: by.to_owned() });
            // Also one that came after the plan was made.
            assert_refused(
                &desk,
                &verdict,
                "launch-template",
                &format!("web version 2: {by} launches by it"),
            );
            assert_stays(&desk, &old, &format!("{by} launches by it"));
        }
        // By another version's number it is nothing to this one.
        desk.cloud.pin(source, Pin { template: "web".to_owned(), version: 1, by: by.to_owned() });
        due(&desk, &old);
    }
}

/// Nobody can launch by it, and it keeps no image; but somebody may want to know which image it was.
#[test]
fn a_version_whose_image_is_gone_already_stays() {
    let (desk, old, _) = rolled();
    due(&desk, &old);
    desk.cloud.deregister(&old);
    let (answer, _) = desk.plan();
    assert_eq!((&answer["retire"], &answer["problems"]), (&json!([]), &json!([])));
    assert_eq!(versions(&desk), [1, 2, 3]);
}

#[test]
fn a_superseded_version_is_deleted_and_the_next_run_retires_its_image() {
    let (desk, old, _) = rolled();
    let verdict = due(&desk, &old);
    assert_eq!(verdict["versions"][0]["version"], json!(2));
    let done = desk.act("retire", &verdict).unwrap();
    assert_eq!((&done["act"], versions(&desk)), (&json!("delete-versions"), vec![1, 3]));
    // The answer was lost, and the function runs once more.
    assert_eq!(desk.act("retire", &verdict).unwrap()["act"], json!("delete-versions"));
    assert!(desk.exists(&old));
    let verdict = desk.verdict(&old);
    assert_eq!(verdict["act"], json!("deregister"));
    desk.act("retire", &verdict).unwrap();
    assert!(!desk.exists(&old));
}

#[test]
fn what_a_person_made_stays_and_so_does_the_template_of_another_stack() {
    let (desk, old, template) = rolled();
    // One of a person's, and a newest one over it.
    for image in [old.to_string(), desk.current().unwrap().to_string()] {
        let request = CreateLaunchTemplateVersion {
            template: template.clone(),
            source_version: Some("3".into()),
            data: LaunchTemplateData { image: Some(image), ..LaunchTemplateData::default() },
            ..CreateLaunchTemplateVersion::default()
        };
        let now = desk.now();
        desk.cloud.with(|world| world.create_launch_template_version(now, &request)).unwrap();
    }
    let verdict = desk.verdict(&old);
    assert_eq!(verdict["act"], json!("keep"));
    let told = verdict.to_string();
    assert!(told.contains("web version 4: Ovenbird didn't make it"), "{told}");

    let (desk, old, template) = rolled();
    desk.tag(template.id.as_deref().unwrap(), TAG_STACK, "another");
    assert_stays(&desk, &old, "the template isn't this stack's");
}

#[test]
fn a_version_that_is_the_default_or_the_newest_one_stays() {
    let (desk, old, template) = rolled();
    make_default(&desk, &template, 2);
    assert_stays(&desk, &old, "it is the default one");
    make_default(&desk, &template, 1);
    due(&desk, &old);
    desk.cloud.with(|world| world.delete_launch_template_versions(&template, &["3".into()], false)).unwrap();
    assert_stays(&desk, &old, "it is the newest one");
}

#[test]
fn a_version_that_was_superseded_lately_stays_for_as_long_as_the_recipe_retains_images_or_they_soak() {
    for (days, soak) in [(30, 7), (0, 30)] {
        let (desk, old, _) = rolled();
        let recipe = desk.recipe().replace("days = 0", &format!("days = {days}"));
        desk.push(&recipe.replace("soak = 0", &format!("soak = {soak}")));
        // The image itself was made a little before its version was superseded.
        desk.cloud.pass(SignedDuration::from_hours(30 * 24) - SignedDuration::from_secs(90));
        let told = desk.verdict(&old).to_string();
        assert!(told.contains("web version 2: it was superseded lately"), "{told}");
        desk.cloud.pass(SignedDuration::from_secs(90));
        due(&desk, &old);
    }
}

#[test]
fn a_version_that_a_group_launches_by_stays_whatever_the_group_s_size() {
    let (desk, old, template) = rolled();
    group(&desk.cloud, Configuration::Template(pinned(&template)));
    assert_stays(&desk, &old, "group blue launches by it");
}

/// Of a policy of mixed instances both the template and the template of an override count.
#[test]
fn a_version_that_a_policy_of_mixed_instances_names_stays() {
    for own in [true, false] {
        let (desk, old, template) = rolled();
        let other = TemplateSpec { version: Some("3".into()), ..template.clone() };
        let (of_policy, of_override) =
            if own { (pinned(&template), other) } else { (other, pinned(&template)) };
        let overrides = vec![Override {
            instance_type: Some("m7i.large".into()),
            template: Some(of_override),
            ..Override::default()
        }];
        let policy =
            MixedInstancesPolicy { template: of_policy, overrides, distribution: Distribution::default() };
        group(&desk.cloud, Configuration::Mixed(policy));
        assert_stays(&desk, &old, "group blue launches by it");
    }
}

#[test]
fn a_version_that_an_instance_refresh_brings_stays() {
    let (desk, old, template) = rolled();
    let group =
        group(&desk.cloud, Configuration::Template(TemplateSpec::of(template.id.as_deref().unwrap(), 3)));
    let now = desk.now();
    let request = StartInstanceRefresh {
        group: group.into(),
        desired: Some(Configuration::Template(pinned(&template))),
        ..StartInstanceRefresh::default()
    };
    desk.cloud.with(|world| world.start_instance_refresh(now, &request)).unwrap();
    assert_stays(&desk, &old, "group blue launches by it");
}

/// Its image is another one, so that its version is all there is of the old one.
#[test]
fn a_version_that_an_instance_was_launched_by_stays() {
    let (desk, old, template) = rolled();
    let now = desk.now();
    let request = RunByTemplate {
        template: pinned(&template),
        over: LaunchTemplateData {
            image: Some(desk.current().unwrap().to_string()),
            ..LaunchTemplateData::default()
        },
        min_count: 1,
        max_count: 1,
        ..RunByTemplate::default()
    };
    let started = desk.cloud.with(|world| world.run_instances_by_template(now, &request)).unwrap();
    assert_stays(&desk, &old, &format!("instance {} launches by it", started[0].id));
}

#[test]
fn what_came_to_launch_by_it_between_plan_and_act_keeps_the_version() {
    let (desk, old, template) = rolled();
    let verdict = due(&desk, &old);
    make_default(&desk, &template, 2);
    assert_refused(&desk, &verdict, "launch-template", "web version 2: it is the default one");

    let (desk, old, template) = rolled();
    let verdict = due(&desk, &old);
    group(&desk.cloud, Configuration::Template(pinned(&template)));
    assert_refused(&desk, &verdict, "launch-template", "web version 2: group blue launches by it");

    let (desk, old, template) = rolled();
    let verdict = due(&desk, &old);
    desk.tag(template.id.as_deref().unwrap(), TAG_STACK, "another");
    assert_refused(&desk, &verdict, "launch-template", "web version 2: the template isn't this stack's");
}

/// EC2's own look can't tell one version of a template from another.
#[test]
fn another_version_of_the_template_that_came_to_name_the_image_keeps_all() {
    let (desk, old, _) = rolled();
    let verdict = due(&desk, &old);
    let name = "web".parse().unwrap();
    let default = block_on(desk.cloud.default_version(&name)).unwrap().unwrap().0;
    block_on(desk.cloud.with_image(&default, &old, "again")).unwrap();
    assert_refused(&desk, &verdict, "launch-template", "web version 4: it is the newest one");
    block_on(desk.cloud.with_image(&default, &desk.current().unwrap(), "over")).unwrap();
    assert_refused(&desk, &verdict, "launch-template", "web version 4: it is new");
}

#[test]
fn what_came_to_use_the_image_itself_keeps_the_version() {
    let (desk, old, _) = rolled();
    let verdict = due(&desk, &old);
    let instance = desk.start(&old);
    assert_refused(&desk, &verdict, "instance", &instance);

    // EC2 knows of something that we don't.
    let (desk, old, _) = rolled();
    let verdict = due(&desk, &old);
    desk.cloud.refer(&old, "ImageRecipe", "somebody's");
    assert_refused(&desk, &verdict, "referenced", "ImageRecipe somebody's");
    assert_eq!(desk.verdict(&old)["reason"], json!("referenced"));
}

#[test]
fn a_template_that_was_made_anew_under_its_name_is_another_one() {
    let (desk, old, template) = rolled();
    let verdict = due(&desk, &old);
    let now = desk.now();
    desk.cloud.with(|world| {
        world.delete_launch_template(&template, false).unwrap();
        let data = LaunchTemplateData { image: Some(old.to_string()), ..LaunchTemplateData::default() };
        let anew = CreateLaunchTemplate { name: "web".into(), data, ..CreateLaunchTemplate::default() };
        world.create_launch_template(now, &anew).unwrap();
    });
    assert_refused(&desk, &verdict, "changed", "web");
}

/// EC2 deletes each version for itself: one that went with an earlier call whose answer was lost is no failure.
#[test]
fn a_call_that_comes_twice_is_no_harm_and_one_that_is_refused_is_told() {
    for (fault, left) in [(Fault::Twice, vec![1, 3]), (Fault::Refused, vec![1, 2, 3])] {
        let (desk, old, _) = rolled();
        let verdict = due(&desk, &old);
        let rehearsal = Desk { cloud: desk.cloud.clone() };
        rehearsal.act("retire", &verdict).unwrap();
        let calls = rehearsal.cloud.calls();
        let deletes = |actions: &[&str]| actions[0] == "ec2:DeleteLaunchTemplateVersions";
        let call = calls.iter().position(|call| deletes(&call.actions)).unwrap();
        desk.cloud.inject(call, fault);
        match desk.act("retire", &verdict) {
            Ok(done) => assert_eq!((&done["act"], fault), (&json!("delete-versions"), Fault::Twice)),
            Err(error) => {
                assert!(error.chain().contains("DeleteLaunchTemplateVersions"), "{}", error.chain());
            }
        }
        assert_eq!(versions(&desk), left);
    }
}

/// Between its last stage and its end, nothing but the rollout's record names the version that it goes back to.
#[test]
fn a_version_that_a_rollout_under_way_made_or_goes_back_to_stays() {
    const GROUP: Scenario =
        Scenario { follows: Follows::Group(2), before: &["v1.jar", "v2.jar", "v3.jar"], ..PLAIN };
    let desk = Desk::new(&GROUP);
    let old = desk.image("before-0");
    let rollouts = block_on(Ledger(&desk.cloud).rollouts(&pipeline())).unwrap();
    let verdict = desk.verdict(&old);
    assert_eq!(verdict["act"], json!("delete-versions"), "{verdict}");
    let version = verdict["versions"][0]["version"].as_u64().unwrap();
    let is = |template: &Template| template.version == version;
    let goes_back = rollouts.iter().find(|one| is(&one.progress.groups[0].before)).unwrap();
    let made = rollouts.iter().find(|one| one.progress.groups[0].after.as_ref().is_some_and(is)).unwrap();
    for rollout in [goes_back, made] {
        let desk = Desk { cloud: desk.cloud.clone() };
        desk.edit_channel(|doc| {
            // Of the image alone, the channel would say nothing.
            let mut rolling = doc["current"].clone();
            rolling["rollout"] = json!(rollout.spec.id);
            doc["rolling"] = rolling;
        });
        let why = format!("storefront version {version}: rollout {} launches by it", rollout.spec.id);
        let now = desk.verdict(&old);
        assert_eq!((&now["act"], &now["by"]), (&json!("keep"), &json!(why)), "{now}");
        assert_refused_of(&desk, "storefront", &verdict, "launch-template", &why);
    }
}

/// A stage's act finds the image as the plan did, or leaves it alone.
#[test]
fn an_image_whose_retirement_moved_on_since_the_plan_keeps_its_versions() {
    let (desk, old, _) = rolled();
    let mut verdict = due(&desk, &old);
    verdict["was"] = json!({"stage": "deprecated", "since": desk.now()});
    assert_refused(&desk, &verdict, "changed", "");
}

#[test]
fn a_protected_image_keeps_its_versions_at_the_act_too() {
    let (desk, old, _) = rolled();
    let verdict = due(&desk, &old);
    desk.cloud.with(|world| world.protect_image(old.as_str(), true, false)).unwrap();
    assert_refused(&desk, &verdict, "protected", "");
}
