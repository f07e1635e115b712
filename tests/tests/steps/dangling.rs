//! What would launch an image of this stack that is gone is told by each run, with what fixes it.

use jiff::SignedDuration;
use ovenbird_core::{
    domain::{id::AmiId, reference::Kind},
    ports::Source,
};
use ovenbird_sim::{
    auto_scaling::{Configuration, CreateGroup},
    launch_templates::{CreateLaunchTemplateVersion, TemplateSpec},
};

use ovenbird_testkit::walk::{account, machine::Diary, scenarios::Run};

use super::{
    desk::{Desk, TWO},
    references::{data, policy, subnets, template},
};

/// An account in which something named an image that a person has deregistered since.
fn gone(name: &str, named: impl FnOnce(&Desk, &AmiId)) -> (Desk, AmiId) {
    let desk = Desk::new(&TWO);
    let image = desk.image(name);
    named(&desk, &image);
    assert_eq!(problems(&desk), Vec::<String>::new());
    desk.cloud.deregister(&image);
    // It might be too new for EC2 to show it.
    desk.cloud.pass(SignedDuration::from_secs(150));
    (desk, image)
}

fn problems(desk: &Desk) -> Vec<String> {
    serde_json::from_value(desk.plan().1["problems"].clone()).unwrap()
}

#[track_caller]
fn assert_told(desk: &Desk, image: &AmiId, by: &str) {
    let problems = problems(desk);
    let [problem] = &problems[..] else { panic!("{problems:?}") };
    assert!(problem.starts_with(&format!("image {image} of pipeline storefront is gone")), "{problem}");
    let fix = format!("; fix: `ovenbird prune undo {image}` if the Recycle Bin has it");
    assert!(problem.contains(by) && problem.contains(&fix), "{problem}");
}

#[test]
fn a_channel_and_its_parameter_that_name_an_image_which_is_gone_are_told() {
    let (desk, image) = gone("before-1", |_, _| {});
    assert_told(&desk, &image, "a channel points at it (storefront/production)");
    assert_told(&desk, &image, "a parameter names it (/images/storefront/production)");
}

/// A channel may go back to it: that it is gone is said when somebody wants to.
#[test]
fn an_image_that_only_was_a_channel_s_may_be_gone() {
    let (desk, _) = gone("before-0", |_, _| {});
    assert_eq!(problems(&desk), Vec::<String>::new());
}

#[test]
fn an_instance_runs_on_without_its_image() {
    let (desk, _) = gone("before-0", |desk, image| drop(desk.start(image)));
    assert_eq!(problems(&desk), Vec::<String>::new());
}

#[test]
fn a_version_by_which_something_launches_is_told_and_an_old_one_is_not() {
    let (desk, image) = gone("before-0", |desk, image| {
        template(&desk.cloud, "web", &[image.as_str()]);
    });
    assert_told(&desk, &image, "a launch template names it (web version 1)");
    let web = TemplateSpec { name: Some("web".to_owned()), ..TemplateSpec::default() };
    let next = CreateLaunchTemplateVersion {
        template: web.clone(),
        data: data("ami-0000000000000bad1"),
        ..CreateLaunchTemplateVersion::default()
    };
    let now = desk.now();
    desk.cloud.with(|world| world.create_launch_template_version(now, &next)).unwrap();
    // It is the default one.
    assert_told(&desk, &image, "web version 1");
    desk.cloud.with(|world| world.modify_launch_template(&web, "2", false)).unwrap();
    assert_eq!(problems(&desk), Vec::<String>::new());
    // A group launches by its number.
    let pinned = TemplateSpec { version: Some("1".to_owned()), ..web.clone() };
    let group = CreateGroup::new("idle", Configuration::Template(pinned), (0, 0, 0), &subnets(&desk.cloud));
    let now = desk.now();
    desk.cloud.with(|world| world.create_auto_scaling_group(now, &group)).unwrap();
    assert_told(&desk, &image, "web version 1");
}

#[test]
fn an_override_of_a_group_is_told() {
    let (desk, image) = gone("before-0", |desk, image| {
        let current = desk.current().unwrap();
        let spec = template(&desk.cloud, "web", &[current.as_str()]);
        let idle = Configuration::Mixed(policy(&spec, image));
        let group = CreateGroup::new("idle", idle, (0, 0, 0), &subnets(&desk.cloud));
        let now = desk.now();
        desk.cloud.with(|world| world.create_auto_scaling_group(now, &group)).unwrap();
    });
    assert_told(&desk, &image, "an Auto Scaling group names it (idle");
}

#[test]
fn whatever_else_may_launch_is_told() {
    for (source, kind) in [
        (Source::LaunchConfigurations, Kind::LaunchConfiguration),
        (Source::Fleets, Kind::Fleet),
        (Source::SpotFleets, Kind::SpotFleet),
    ] {
        let (desk, image) =
            gone("before-0", |desk, image| desk.cloud.name(source, image, kind, "one-of-them"));
        assert_told(&desk, &image, "one-of-them");
    }
    let (desk, image) = gone("before-0", |desk, image| {
        let base =
            desk.recipe().lines().find(|line| line.starts_with("parameter = \"/aws")).unwrap().to_owned();
        desk.push(&desk.recipe().replace(&base, &format!("image = \"{image}\"")));
    });
    assert_told(&desk, &image, "a recipe's base is this very image (storefront)");
}

/// Whose images are gone that this stack never made is not ours to say: accounts have many old templates.
#[test]
fn what_names_other_people_s_images_is_not_told() {
    let desk = Desk::new(&TWO);
    template(&desk.cloud, "theirs", &["ami-0000000000000bad1"]);
    assert_eq!(problems(&desk), Vec::<String>::new());
}

/// EC2 may show a new image only after a while, and a channel points at it before that.
#[test]
fn an_image_that_was_made_just_now_is_not_called_gone() {
    let desk = Desk::new(&TWO);
    desk.cloud.pass(SignedDuration::from_secs(150));
    let again = desk.current().unwrap();
    let run = [("newest".to_owned(), (0, Run::Upload("v3.jar")))];
    account::walk(&desk.cloud, &run, &Diary::default());
    let image = desk.current().unwrap();
    assert_ne!(image, again);
    let made = desk.now();
    desk.cloud.deregister(&image);
    assert_eq!(problems(&desk), Vec::<String>::new(), "at {made}");
    desk.cloud.pass(SignedDuration::from_secs(150));
    assert_told(&desk, &image, "a channel points at it");
}
