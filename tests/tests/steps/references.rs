//! What names an image keeps it: every kind of thing that pruners were seen to forget, each alone, and by the name of the
//! accident where there was one.

use futures::executor::block_on;
use ovenbird_core::{
    domain::{id::AmiId, reference::Kind, retirement::Floors},
    ports::{References as _, Source, Versions},
};
use ovenbird_sim::{
    auto_scaling::{
        Configuration, CreateGroup, MixedInstancesPolicy, Override, refresh::StartInstanceRefresh,
    },
    launch_templates::{CreateLaunchTemplate, CreateLaunchTemplateVersion, LaunchTemplateData, TemplateSpec},
};
use ovenbird_testkit::{Cloud, Fault};
use serde_json::json;

use super::desk::{Desk, TWO};

/// An account whose first image is old, and nothing names it.
fn old() -> (Desk, AmiId) {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let image = desk.image("before-0");
    assert_eq!(desk.verdict(&image)["act"], "deregister");
    (desk, image)
}

pub fn data(image: &str) -> LaunchTemplateData {
    LaunchTemplateData {
        image: Some(image.to_owned()),
        instance_type: Some("m7i.large".to_owned()),
        ..LaunchTemplateData::default()
    }
}

/// Makes a launch template with a version for each image; gives it.
pub fn template(cloud: &Cloud, name: &str, images: &[&str]) -> TemplateSpec {
    let now = cloud.now();
    cloud.with(|world| {
        let first = CreateLaunchTemplate {
            name: name.to_owned(),
            data: data(images[0]),
            ..CreateLaunchTemplate::default()
        };
        let made = world.create_launch_template(now, &first).unwrap();
        let spec = TemplateSpec { id: Some(made.id.clone()), ..TemplateSpec::default() };
        for image in &images[1..] {
            let next = CreateLaunchTemplateVersion {
                template: spec.clone(),
                data: data(image),
                ..CreateLaunchTemplateVersion::default()
            };
            world.create_launch_template_version(now, &next).unwrap();
        }
        spec
    })
}

/// A policy whose template names one image, and whose only override another one.
pub fn policy(template: &TemplateSpec, image: &AmiId) -> MixedInstancesPolicy {
    MixedInstancesPolicy {
        template: TemplateSpec { version: Some("1".into()), ..template.clone() },
        overrides: vec![Override {
            instance_type: Some("m7i.large".into()),
            image: Some(image.to_string()),
            ..Override::default()
        }],
        distribution: ovenbird_sim::auto_scaling::Distribution::default(),
    }
}

/// The subnets of the account.
pub fn subnets(cloud: &Cloud) -> Vec<String> {
    let all = cloud.with(|world| world.describe_subnets(&[], &[])).unwrap();
    all.into_iter().map(|subnet| subnet.id).take(1).collect()
}

#[track_caller]
fn assert_kept(desk: &Desk, image: &AmiId, kind: &str, by: &str) {
    let verdict = desk.verdict(image);
    assert_eq!((&verdict["act"], &verdict["reason"]), (&json!("keep"), &json!(kind)), "{verdict}");
    assert!(verdict["by"].as_str().unwrap_or_default().contains(by), "{verdict}");
}

/// cloud-custodian looks only at the templates of groups; bonclay7's amicleaner at none.
#[test]
fn a_launch_template_that_no_group_uses_keeps_its_image() {
    let (desk, image) = old();
    template(&desk.cloud, "spare", &[image.as_str()]);
    assert_kept(&desk, &image, "launch-template", "spare version 1");
}

/// EC2's own check looks at the ten newest versions, and widdix's at the newest and the default one: a group may be pinned
/// to any.
#[test]
fn a_version_in_the_middle_that_neither_is_newest_nor_default_keeps_its_image() {
    let (desk, image) = old();
    let current = desk.current().unwrap().to_string();
    let mut images = vec![current.as_str(); 14];
    images[1] = image.as_str();
    template(&desk.cloud, "web", &images);
    assert_kept(&desk, &image, "launch-template", "web version 2");
}

/// No pruner that was read resolves `resolve:ssm:`; one deleted the images of all such templates.
#[test]
fn a_template_that_reads_its_image_from_a_parameter_keeps_what_the_parameter_holds() {
    let (desk, image) = old();
    let name = "/elsewhere/blue".parse().unwrap();
    desk.cloud.put_parameter(&name, image.as_str());
    desk.cloud.with(|world| world.set_image_parameter("/elsewhere/blue", Some(image.as_str())));
    template(&desk.cloud, "by-parameter", &["resolve:ssm:/elsewhere/blue"]);
    let looked = block_on(desk.cloud.named_by_launch_templates(Versions::Every)).unwrap();
    assert!(looked.named.iter().any(|(of, by)| *of == image && by.id.contains("by-parameter")), "{looked:?}");
    assert_eq!(desk.verdict(&image)["act"], "keep");
}

/// EC2's own check has no groups at all, and no launch template names such an image.
#[test]
fn an_image_in_an_override_of_a_group_at_zero_stays() {
    let (desk, image) = old();
    let current = desk.current().unwrap();
    let spec = template(&desk.cloud, "web", &[current.as_str()]);
    let policy = policy(&spec, &image);
    let group = CreateGroup::new("idle", Configuration::Mixed(policy), (0, 0, 0), &subnets(&desk.cloud));
    let now = desk.now();
    desk.cloud.with(|world| world.create_auto_scaling_group(now, &group)).unwrap();
    assert_kept(&desk, &image, "auto-scaling-group", "idle");
}

/// What a refresh launches stands in the refresh alone until it has ended.
#[test]
fn an_image_that_an_instance_refresh_is_bringing_in_stays() {
    let (desk, image) = old();
    let current = desk.current().unwrap();
    let spec = template(&desk.cloud, "web", &[current.as_str()]);
    let before = Configuration::Mixed(policy(&spec, &current));
    let group = CreateGroup::new("web", before, (1, 1, 2), &subnets(&desk.cloud));
    let now = desk.now();
    desk.cloud.with(|world| world.create_auto_scaling_group(now, &group)).unwrap();
    let to = Configuration::Mixed(policy(&spec, &image));
    let refresh =
        StartInstanceRefresh { group: "web".into(), desired: Some(to), ..StartInstanceRefresh::default() };
    desk.cloud.with(|world| world.start_instance_refresh(now, &refresh)).unwrap();
    assert_kept(&desk, &image, "auto-scaling-group", "web");
}

/// A launch configuration without a group, an idle fleet, a spot fleet: instances need not be there for an image to be
/// needed.
#[test]
fn whatever_else_may_launch_keeps_its_image() {
    for (source, kind, word) in [
        (Source::LaunchConfigurations, Kind::LaunchConfiguration, "launch-configuration"),
        (Source::Fleets, Kind::Fleet, "fleet"),
        (Source::SpotFleets, Kind::SpotFleet, "spot-fleet"),
    ] {
        let (desk, image) = old();
        desk.cloud.name(source, &image, kind, "one-of-them");
        assert_kept(&desk, &image, word, "one-of-them");
    }
}

/// A list, a line of a file, some JSON: people keep ids in parameters of every shape.
#[test]
fn a_parameter_that_holds_an_image_in_any_shape_keeps_it() {
    for value in ["IMAGE", "ami-0fedcba9876543210,IMAGE", r#"{"us-east-1": "IMAGE"}"#, "export AMI=IMAGE\n"] {
        let (desk, image) = old();
        let name = "/somebody/s".parse().unwrap();
        desk.cloud.put_parameter(&name, &value.replace("IMAGE", image.as_str()));
        assert_kept(&desk, &image, "parameter", "/somebody/s");
    }
}

#[test]
fn a_stopped_instance_keeps_its_image() {
    let (desk, image) = old();
    let instance = desk.start(&image);
    desk.cloud.with(|world| world.stop_instances(std::slice::from_ref(&instance), false)).unwrap();
    desk.cloud.pass(jiff::SignedDuration::from_secs(60));
    assert_kept(&desk, &image, "instance", &instance);
}

/// The account's own view says nothing of what others start: an image that is shared stays unless its recipe says else.
#[test]
fn an_image_that_is_shared_with_another_account_stays() {
    let (desk, image) = old();
    let with = [ovenbird_sim::LaunchPermission::User("210987654321".into())];
    desk.cloud.with(|world| world.modify_launch_permissions(image.as_str(), &with, &[], false)).unwrap();
    assert_kept(&desk, &image, "account", "account 210987654321");
    let recipe = desk.recipe();
    desk.push(&recipe.replace("soak = 0", "soak = 0\nretire-shared = true"));
    assert_eq!(desk.verdict(&image)["act"], "deregister");
}

#[test]
fn an_image_that_a_person_protects_stays_and_no_run_fails_for_it() {
    // Its own bake protected it: that keeps nothing from prune.
    let (desk, image) = old();
    // No bake protects with a cooldown.
    desk.cloud.with(|world| world.protect_image(image.as_str(), true, false)).unwrap();
    let (answer, _) = desk.plan();
    assert_eq!((&answer["retire"], &answer["problems"]), (&json!([]), &json!([])));
    assert_kept(&desk, &image, "protected", "");
    // And what its bake was never to protect, a person protects.
    desk.cloud.with(|world| world.protect_image(image.as_str(), false, false)).unwrap();
    assert_eq!(desk.verdict(&image)["act"], "deregister");
    desk.edit_bake("before-0", |doc| doc["settings"]["protected"] = json!(false));
    assert_kept(&desk, &image, "protected", "");
    // As a bake was recorded before recipes said it.
    desk.edit_bake("before-0", |doc| drop(doc["settings"].as_object_mut().unwrap().remove("protected")));
    assert_kept(&desk, &image, "protected", "");
}

#[test]
fn a_recipe_whose_base_is_this_very_image_keeps_it() {
    let (desk, image) = old();
    let recipe = desk.recipe().replace(r#"pipeline = "storefront""#, r#"pipeline = "child""#);
    let base = r#"parameter = "/aws/service/debian/release/12/latest/amd64""#;
    let recipe = recipe.replace(base, &format!(r#"image = "{image}""#));
    desk.push(&recipe.replace("/images/storefront/production", "/images/child/production"));
    assert_kept(&desk, &image, "recipe", "child");
}

/// A field that channels get in a later version counts, too.
#[test]
fn whatever_a_channel_s_record_names_stays_and_of_its_history_so_much_as_the_recipe_says() {
    let desk = Desk::new(&TWO);
    let image = desk.image("before-0");
    assert_kept(&desk, &image, "previous", "storefront/production");
    let target = desk.channel().unwrap().previous[0].clone();
    desk.edit_channel(|doc| {
        doc["previous"] = json!([]);
        doc["current"] = json!(target);
    });
    assert_kept(&desk, &image, "channel", "storefront/production");
}

/// Whoever may push a recipe could else let all that the account stands on go.
#[test]
fn what_the_account_retains_at_least_stays_whatever_a_recipe_says() {
    for (floors, act, reason) in [
        (Floors { newest: 1, days: 0 }, "deregister", "retired"),
        (Floors { newest: 2, days: 0 }, "keep", "newest"),
        (Floors { newest: 0, days: 1 }, "keep", "young"),
    ] {
        let (desk, image) = old();
        desk.cloud.retain_at_least(floors);
        let verdict = desk.verdict(&image);
        assert_eq!((&verdict["act"], &verdict["reason"]), (&json!(act), &json!(reason)), "{floors:?}");
        // A recipe that retains more is not cut down.
        desk.push(&desk.recipe().replace("newest = 1", "newest = 5"));
        assert_eq!(desk.verdict(&image)["reason"], json!("newest"), "{floors:?}");
    }
}

/// cloud-custodian doesn't look at it: an override has a launch template of its own, and the group's is another one.
#[test]
fn an_override_s_own_launch_template_keeps_its_image() {
    let (desk, image) = old();
    let current = desk.current().unwrap().to_string();
    let (web, arm) =
        (template(&desk.cloud, "web", &[&current]), template(&desk.cloud, "arm", &[image.as_str()]));
    let overrides = vec![Override {
        instance_type: Some("m7g.large".into()),
        template: Some(TemplateSpec { version: Some("1".into()), ..arm }),
        ..Override::default()
    }];
    let template = TemplateSpec { version: Some("1".into()), ..web };
    let mixed = MixedInstancesPolicy { template, overrides, ..policy(&TemplateSpec::default(), &image) };
    let group = CreateGroup::new("blue", Configuration::Mixed(mixed), (0, 0, 2), &subnets(&desk.cloud));
    let now = desk.now();
    desk.cloud.with(|world| world.create_auto_scaling_group(now, &group)).unwrap();
    assert_kept(&desk, &image, "launch-template", "arm version 1");
}

/// A rollout found it bad: the channel remembers it only so that it is not promoted again.
#[test]
fn an_image_that_a_channel_rejected_is_not_kept_for_that() {
    let (desk, image) = old();
    let rejected = json!([{"image": image, "why": "it answers 500", "at": desk.now()}]);
    desk.edit_channel(|doc| doc["rejected"] = rejected);
    assert_eq!(desk.verdict(&image)["act"], json!("deregister"));
}

#[test]
fn all_reasons_are_told_and_not_only_the_first() {
    let (desk, image) = old();
    template(&desk.cloud, "spare", &[image.as_str()]);
    let instance = desk.start(&image);
    let verdict = desk.verdict(&image);
    let also = verdict["also"].as_array().unwrap();
    let all: Vec<_> = std::iter::once(&verdict).chain(also).map(|one| one["by"].as_str().unwrap()).collect();
    assert_eq!(all, [instance.as_str(), "spare version 1"], "{verdict}");
}

/// Where a call of the plan begins that looks at a source.
fn looks_at(desk: &Desk, source: Source) -> usize {
    let rehearsal = desk.clone();
    let first = rehearsal.cloud.calls().len();
    rehearsal.plan();
    let calls = &rehearsal.cloud.calls();
    let of = |source: Source| {
        let mut all = (first..calls.len()).filter(move |number| calls[*number].actions == source.actions());
        all.next().unwrap()
    };
    match source {
        // What this stack runs is asked for first.
        Source::Instances => of(Source::LaunchTemplates) - 1,
        source => of(source),
    }
}

#[test]
fn a_source_that_can_t_be_looked_at_keeps_every_image_and_says_so() {
    for source in Source::ALL {
        let (desk, image) = old();
        desk.add_expired("dead");
        desk.cloud.inject(looks_at(&desk, source), Fault::Refused);
        let (answer, plan) = desk.plan();
        assert_eq!(answer["retire"], json!([]), "{source}");
        let verdict = plan["keep"].as_array().unwrap().iter().find(|one| one["image"] == image.as_str());
        assert_eq!(verdict.unwrap()["reason"], "incomplete", "{source}");
        assert!(answer["problems"].to_string().contains(&source.to_string()), "{answer}");
        // It says nothing of who is dead.
        assert_eq!(answer["dead_bakes"][0]["bake"], "dead", "{source}");
    }
}

#[test]
fn a_list_that_is_suddenly_short_keeps_everything_for_seven_days() {
    for source in Source::ALL {
        let (desk, image) = old();
        desk.cloud.pretend_to_see(source, 40);
        assert_eq!(desk.verdict(&image)["act"], "deregister");
        desk.add_expired("dead");
        desk.cloud.pretend_to_see(source, 19);
        let (answer, plan) = desk.plan();
        assert_eq!((&answer["retire"], &answer["dead_bakes"]), (&json!([]), &json!([])), "{source}");
        let halted = plan["halted"].as_str().unwrap();
        assert!(halted.contains(&format!("19 {source} where there were 40")), "{halted}");
        assert_eq!(desk.verdict(&image)["reason"], "halted");
        desk.cloud.pass(jiff::SignedDuration::from_hours(7 * 24));
        assert_eq!(desk.verdict(&image)["act"], "deregister", "{source}");
    }
}

/// Something that comes to name an image.
type Happens = fn(&Desk, &AmiId);

/// A plan may be minutes old: each kind of thing may come to name the image meanwhile.
#[test]
fn what_comes_to_name_an_image_after_the_plan_keeps_it() {
    let after: [(&str, Happens); 5] = [
        ("launch-template", |desk, image| drop(template(&desk.cloud, "new", &[image.as_str()]))),
        ("launch-configuration", |desk, image| {
            desk.cloud.name(Source::LaunchConfigurations, image, Kind::LaunchConfiguration, "new");
        }),
        ("fleet", |desk, image| desk.cloud.name(Source::Fleets, image, Kind::Fleet, "new")),
        ("parameter", |desk, image| {
            desk.cloud.put_parameter(&"/somebody/s".parse().unwrap(), image.as_str());
        }),
        ("referenced", |desk, image| desk.cloud.refer(image, "imagebuilder:ImageRecipe", "new")),
    ];
    for (reason, happens) in after {
        let (desk, image) = old();
        let verdict = desk.verdict(&image);
        happens(&desk, &image);
        let done = desk.act("retire", &verdict).unwrap();
        assert_eq!((&done["act"], &done["reason"]), (&json!("keep"), &json!(reason)), "{done}");
        assert!(desk.exists(&image));
    }
}

#[test]
fn an_act_that_can_t_look_at_everything_fails_and_takes_nothing() {
    for source in Source::ALL {
        let (desk, image) = old();
        let verdict = desk.verdict(&image);
        let rehearsal = desk.clone();
        let first = rehearsal.cloud.calls().len();
        rehearsal.act("retire", &verdict).unwrap();
        let calls = rehearsal.cloud.calls();
        // Of instances the last look of that kind: before it, the guard asks for those of this image alone.
        let number = (first..calls.len()).rfind(|number| calls[*number].actions == source.actions()).unwrap();
        desk.cloud.inject(number, Fault::Refused);
        assert!(desk.act("retire", &verdict).is_err(), "{source}");
        assert!(desk.exists(&image), "{source}");
    }
}

#[test]
fn a_verdict_that_is_more_than_an_hour_old_is_not_acted_on() {
    for (seconds, reason) in [(3_600, "retired"), (3_601, "stale")] {
        let (desk, image) = old();
        let verdict = desk.verdict(&image);
        desk.cloud.pass(jiff::SignedDuration::from_secs(seconds));
        assert_eq!(desk.act("retire", &verdict).unwrap()["reason"], reason);
        assert_eq!(desk.exists(&image), reason == "stale");
    }
}
