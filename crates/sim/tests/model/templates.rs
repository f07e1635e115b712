//! Launch templates, as EC2 documents them.

use std::collections::BTreeMap;

use ovenbird_sim::launch_templates::*;

use super::*;

impl Cloud {
    pub(crate) fn data(&self) -> LaunchTemplateData {
        LaunchTemplateData {
            image: Some(self.base.clone()),
            instance_type: Some("m7i.large".into()),
            profile: Some("p".into()),
            ..LaunchTemplateData::default()
        }
    }

    pub(crate) fn template(&mut self, name: &str) -> String {
        let request =
            CreateLaunchTemplate { name: name.into(), data: self.data(), ..CreateLaunchTemplate::default() };
        self.world.create_launch_template(self.now, &request).unwrap().id
    }

    /// A version from the newest one, with something else; its number.
    pub(crate) fn version(&mut self, template: &str, data: LaunchTemplateData) -> u64 {
        let request = CreateLaunchTemplateVersion {
            template: by_id(template),
            source_version: Some("$Latest".into()),
            data,
            ..CreateLaunchTemplateVersion::default()
        };
        self.world.create_launch_template_version(self.now, &request).unwrap().number
    }

    fn by_template(&mut self, change: impl Fn(&mut RunByTemplate)) -> Result<Vec<Instance>> {
        let mut request = RunByTemplate { min_count: 1, max_count: 1, ..RunByTemplate::default() };
        change(&mut request);
        self.world.run_instances_by_template(self.now, &request)
    }

    fn versions(&self, change: impl Fn(&mut DescribeLaunchTemplateVersions)) -> Result<Vec<u64>> {
        let mut request = DescribeLaunchTemplateVersions::default();
        change(&mut request);
        let page = self.world.describe_launch_template_versions(&request)?;
        Ok(page.items.iter().map(|version| version.number).collect())
    }
}

pub(crate) fn by_id(id: &str) -> TemplateSpec {
    TemplateSpec { id: Some(id.into()), ..TemplateSpec::default() }
}

fn image(image: &str) -> LaunchTemplateData {
    LaunchTemplateData { image: Some(image.into()), ..LaunchTemplateData::default() }
}

#[test]
fn a_version_has_its_source_s_data_with_its_own_over_it() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    let first = cloud.data();
    assert_eq!(cloud.version(&id, image("ami-0123456789abcdef0")), 2);
    let page = cloud
        .world
        .describe_launch_template_versions(&DescribeLaunchTemplateVersions {
            template: by_id(&id),
            ..DescribeLaunchTemplateVersions::default()
        })
        .unwrap();
    let [newest, oldest] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!(newest.data, LaunchTemplateData { image: Some("ami-0123456789abcdef0".into()), ..first });
    // The newest is not the default until somebody says so.
    assert_eq!((newest.is_default, oldest.is_default), (false, true));
    // Without a source, a version says only what it says.
    let alone = CreateLaunchTemplateVersion {
        template: by_id(&id),
        data: image("ami-0123456789abcdef1"),
        ..CreateLaunchTemplateVersion::default()
    };
    let alone = cloud.world.create_launch_template_version(cloud.now, &alone).unwrap();
    assert_eq!((alone.number, alone.data), (3, image("ami-0123456789abcdef1")));
}

#[test]
fn versions_are_found_by_number_word_and_range() {
    let mut cloud = Cloud::new();
    let (id, other) = (cloud.template("web"), cloud.template("other"));
    for _ in 0..4 {
        cloud.version(&id, cloud.data());
    }
    cloud.world.modify_launch_template(&by_id(&id), "3", false).unwrap();
    let of = |r: &mut DescribeLaunchTemplateVersions| r.template = by_id(&id);
    assert_eq!(cloud.versions(of), Ok(vec![5, 4, 3, 2, 1]));
    let named = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        cloud.versions(|r| (r.template, r.versions) = (by_id(&id), names.clone()))
    };
    assert_eq!(named(&["$Latest", "$Default", "5"]), Ok(vec![5, 3]));
    assert_eq!(code(named(&["9"])), "InvalidLaunchTemplateId.VersionNotFound");
    assert_eq!(code(named(&["newest"])), "InvalidParameterValue");
    let range = cloud.versions(|r| {
        of(r);
        (r.min, r.max) = (Some("2".into()), Some("4".into()));
    });
    assert_eq!(range, Ok(vec![4, 3, 2]));
    // Of all templates, only by word.
    let words = cloud.versions(|r| r.versions = vec!["$Default".into()]);
    assert_eq!(words.map(|mut found| (found.sort_unstable(), found).1), Ok(vec![1, 3]));
    assert_eq!(code(cloud.versions(|r| r.versions = vec!["1".into()])), "MissingParameter");
    assert_eq!(code(cloud.versions(|_| {})), "MissingParameter");
    // Pages together are all of it.
    let mut request = DescribeLaunchTemplateVersions { template: by_id(&id), ..Default::default() };
    request.paging.max_results = Some(2);
    let mut seen = Vec::new();
    loop {
        let page = cloud.world.describe_launch_template_versions(&request).unwrap();
        seen.extend(page.items.iter().map(|one| one.number));
        request.paging.next_token = page.next_token;
        if request.paging.next_token.is_none() {
            break;
        }
    }
    assert_eq!(seen, [5, 4, 3, 2, 1]);
    request.paging = Paging { max_results: Some(201), next_token: None };
    assert_eq!(code(cloud.world.describe_launch_template_versions(&request)), "InvalidParameterValue");
    let default = Filter { name: "is-default-version".into(), values: vec!["true".into()] };
    let defaults = cloud.versions(|r| (r.template, r.filters) = (by_id(&id), vec![default.clone()]));
    assert_eq!(defaults, Ok(vec![3]));
    let tag = Filter { name: "tag:a".into(), values: vec!["b".into()] };
    assert_eq!(
        code(cloud.versions(|r| (r.template, r.filters) = (by_id(&other), vec![tag.clone()]))),
        "InvalidParameterValue"
    );
}

#[test]
fn a_template_is_refused_as_ec2_refuses_it() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    let data = cloud.data();
    let mut refused = |change: &dyn Fn(&mut CreateLaunchTemplate)| {
        let mut request = CreateLaunchTemplate {
            name: "new".into(),
            data: data.clone(),
            ..CreateLaunchTemplate::default()
        };
        change(&mut request);
        code(cloud.world.create_launch_template(cloud.now, &request))
    };
    assert_eq!(refused(&|r| r.name = "web".into()), "InvalidLaunchTemplateName.AlreadyExistsException");
    for name in ["ab", "with space", &"x".repeat(129)] {
        assert_eq!(refused(&|r| r.name = name.into()), "InvalidLaunchTemplateName.MalformedException");
    }
    assert_eq!(refused(&|r| r.data = LaunchTemplateData::default()), "MissingParameter");
    assert_eq!(refused(&|r| r.data.image = Some("resolve:ssm:".into())), "InvalidAMIID.Malformed");
    assert_eq!(refused(&|r| r.description = Some("x".repeat(256))), "InvalidParameterValue");
    let own = BTreeMap::from([("launch-template".to_owned(), Tags::from([("aws:x".into(), "y".into())]))]);
    assert_eq!(refused(&|r| r.tags = own.clone()), "InvalidParameterValue");
    let instance = BTreeMap::from([("instance".to_owned(), Tags::new())]);
    assert_eq!(refused(&|r| r.tags = instance.clone()), "InvalidParameterValue");
    assert_eq!(refused(&|r| r.dry_run = true), "DryRunOperation");
    let requirements = InstanceRequirements { vcpus_min: 2, memory_mib_min: 1 };
    assert_eq!(refused(&|r| r.data.requirements = Some(requirements.clone())), "InvalidParameterCombination");
    assert_eq!(cloud.world.launch_templates().count(), 1, "nothing refused is there");
    for (spec, expected) in [
        (by_id("lt-0123456789abcdef0"), "InvalidLaunchTemplateId.NotFound"),
        (by_id("nonsense"), "InvalidLaunchTemplateId.Malformed"),
        (TemplateSpec::default(), "MissingParameter"),
        (TemplateSpec { name: Some("web".into()), ..by_id(&id) }, "InvalidParameterCombination"),
        (
            TemplateSpec { name: Some("nobody".into()), ..TemplateSpec::default() },
            "InvalidLaunchTemplateName.NotFoundException",
        ),
    ] {
        assert_eq!(code(cloud.world.delete_launch_template(&spec, false)), expected);
    }
    let missing = cloud.world.modify_launch_template(&by_id(&id), "2", false);
    assert_eq!(code(missing), "InvalidLaunchTemplateId.VersionNotFound");
}

#[test]
fn a_token_stands_for_one_template_and_one_version() {
    let mut cloud = Cloud::new();
    let request = CreateLaunchTemplate {
        name: "web".into(),
        data: cloud.data(),
        client_token: Some("t".into()),
        ..CreateLaunchTemplate::default()
    };
    let first = cloud.world.create_launch_template(cloud.now, &request).unwrap();
    assert_eq!(cloud.world.create_launch_template(cloud.now, &request), Ok(first.clone()));
    let other = CreateLaunchTemplate { name: "other".into(), ..request };
    assert_eq!(code(cloud.world.create_launch_template(cloud.now, &other)), "IdempotentParameterMismatch");
    let version = CreateLaunchTemplateVersion {
        template: by_id(&first.id),
        data: cloud.data(),
        client_token: Some("v".into()),
        ..CreateLaunchTemplateVersion::default()
    };
    let made = cloud.world.create_launch_template_version(cloud.now, &version).unwrap();
    assert_eq!(cloud.world.create_launch_template_version(cloud.now, &version), Ok(made));
    assert_eq!(cloud.world.launch_templates().next().unwrap().versions().count(), 2);
}

#[test]
fn the_default_version_stays_and_a_number_is_never_given_twice() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    cloud.version(&id, cloud.data());
    let all = ["1", "2", "7", "$Latest"].map(str::to_owned);
    let (deleted, left) = cloud.world.delete_launch_template_versions(&by_id(&id), &all, false).unwrap();
    assert_eq!(deleted, [2]);
    let left: Vec<_> = left.iter().map(|one| (one.version.as_str(), one.code)).collect();
    let unexpected = "unexpectedError";
    assert_eq!(
        left,
        [("1", unexpected), ("7", "launchTemplateVersionDoesNotExist"), ("$Latest", unexpected)]
    );
    assert_eq!(cloud.version(&id, cloud.data()), 3);
    let gone = cloud.world.delete_launch_template(&by_id(&id), false).unwrap();
    assert_eq!(gone.latest_version(), 3);
    assert_eq!(
        code(cloud.world.delete_launch_template(&by_id(&id), false)),
        "InvalidLaunchTemplateId.NotFound"
    );
}

#[test]
fn ten_thousand_versions_are_all_that_a_template_has() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    for _ in 1..10_000 {
        cloud.version(&id, image("ami-0123456789abcdef0"));
    }
    let request = CreateLaunchTemplateVersion {
        template: by_id(&id),
        data: cloud.data(),
        ..CreateLaunchTemplateVersion::default()
    };
    let full = cloud.world.create_launch_template_version(cloud.now, &request);
    assert_eq!(code(full), "LaunchTemplateVersionLimitExceeded");
    cloud.world.delete_launch_template_versions(&by_id(&id), &["2".into()], false).unwrap();
    assert_eq!(cloud.version(&id, cloud.data()), 10_001);
}

#[test]
fn a_launch_by_template_is_as_the_version_says_and_as_the_call_says_over_it() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    let large = LaunchTemplateData { instance_type: Some("m7i.2xlarge".into()), ..Default::default() };
    cloud.version(&id, large.clone());
    let launched = cloud.by_template(|r| r.template = by_id(&id)).unwrap().remove(0);
    // No word means the default version, which the newest is not.
    assert_eq!(
        (launched.instance_type.as_str(), launched.image.as_str()),
        ("m7i.large", cloud.base.as_str())
    );
    assert_eq!(launched.tags.get("aws:ec2launchtemplate:version").map(String::as_str), Some("1"));
    let latest = cloud.by_template(|r| r.template = TemplateSpec::of(&id, "$Latest")).unwrap().remove(0);
    assert_eq!(latest.instance_type, "m7i.2xlarge");
    let over = cloud
        .by_template(|r| {
            r.template = TemplateSpec::of(&id, 1);
            r.over = LaunchTemplateData { instance_type: Some("c7i.large".into()), ..Default::default() };
        })
        .unwrap();
    assert_eq!(over[0].instance_type, "c7i.large");
    let request = RunByTemplate { template: by_id(&id), ..RunByTemplate::default() };
    assert_eq!(code(cloud.world.run_instances_by_template(cloud.now, &request)), "InvalidParameterValue");
    let unknown = cloud.by_template(|r| r.template = TemplateSpec::of(&id, 9));
    assert_eq!(code(unknown), "InvalidLaunchTemplateId.VersionNotFound");
    // Tags that AWS gave are nobody else's to take, and in nobody's way.
    let id = launched.id.to_string();
    let tag = Tags::from([("Name".to_owned(), "web".to_owned())]);
    cloud.world.create_tags(std::slice::from_ref(&id), &tag, false).unwrap();
    let own = [("aws:ec2launchtemplate:id".to_owned(), None)];
    assert_eq!(
        code(cloud.world.delete_tags(std::slice::from_ref(&id), &own, false)),
        "InvalidParameterValue"
    );
    cloud.world.delete_tags(std::slice::from_ref(&id), &[], false).unwrap();
    let tags = &cloud.world.instances().find(|one| one.id.as_str() == id).unwrap().tags;
    assert_eq!(
        tags.keys().collect::<Vec<_>>(),
        ["aws:ec2launchtemplate:id", "aws:ec2launchtemplate:version"]
    );
}

#[test]
fn an_image_by_parameter_is_read_at_each_launch() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    cloud.version(&id, image("resolve:ssm:/images/web"));
    let latest = TemplateSpec::of(&id, "$Latest");
    assert_eq!(code(cloud.by_template(|r| r.template = latest.clone())), "InvalidParameterValue");
    let base = cloud.base.clone();
    cloud.world.set_image_parameter("/images/web", Some(&base));
    let launched = cloud.by_template(|r| r.template = latest.clone()).unwrap();
    assert_eq!(launched[0].image.as_str(), base);
    let request = DescribeLaunchTemplateVersions {
        template: by_id(&id),
        versions: vec!["2".into()],
        resolve_alias: true,
        ..DescribeLaunchTemplateVersions::default()
    };
    let page = cloud.world.describe_launch_template_versions(&request).unwrap();
    assert_eq!(page.items[0].data.image.as_deref(), Some(base.as_str()));
}

#[test]
fn a_template_is_tagged_and_found() {
    let mut cloud = Cloud::new();
    let id = cloud.template("web");
    cloud.template("other");
    let tag = Tags::from([("ovenbird:stack".to_owned(), "s".to_owned())]);
    cloud.world.create_tags(std::slice::from_ref(&id), &tag, false).unwrap();
    let found = |name: &str, value: &str| {
        let filter = Filter { name: name.into(), values: vec![value.into()] };
        let request = DescribeLaunchTemplates { filters: vec![filter], ..Default::default() };
        cloud
            .world
            .describe_launch_templates(&request)
            .map(|page| page.items.iter().map(|one| one.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(found("tag:ovenbird:stack", "s"), Ok(vec!["web".to_owned()]));
    assert_eq!(found("launch-template-name", "o*"), Ok(vec!["other".to_owned()]));
    assert_eq!(code(found("colour", "red")), "InvalidParameterValue");
    let kind = Filter { name: "resource-type".into(), values: vec!["launch-template".into()] };
    assert_eq!(cloud.world.describe_tags(&[kind], &Paging::default()).unwrap().items.len(), 1);
}

#[test]
fn a_world_of_before_has_no_templates_and_a_world_of_now_keeps_them() {
    let mut cloud = Cloud::new();
    cloud.template("web");
    let mut saved = serde_json::to_value(&cloud.world).unwrap();
    let read: World = serde_json::from_value(saved.clone()).unwrap();
    assert_eq!(read.launch_templates().count(), 1);
    saved.as_object_mut().unwrap().remove("templates");
    saved.as_object_mut().unwrap().remove("image_parameters");
    let before: World = serde_json::from_value(saved).unwrap();
    assert_eq!(before.launch_templates().count(), 0);
}
