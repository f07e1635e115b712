//! What other pruners would delete that is in use, on the very account that ours judges: the table in docs/prune.md.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::Path};

use jiff::{SignedDuration, Timestamp};
use ovenbird_core::{
    domain::{id::AmiId, retirement::Act, tags::TAG_PIPELINE},
    ports::{Images as _, References as _, Versions},
    steps::prune::{Basis, Retention, Terms, judge},
};
use ovenbird_sim::{
    RunInstances,
    auto_scaling::{Configuration, CreateGroup, Distribution, MixedInstancesPolicy, Override},
    launch_templates::TemplateSpec,
};
use serde_json::{Value, json};

use crate::{adapter::Bench, programs::succeeds, retirement::template};
use ovenbird_local::Home;

const PAGE: &str = "docs/prune.md";
const BEGIN: &str = "<!-- what each pruner does -->\n";
const END: &str = "<!-- end -->";

/// What names the image, one after the other; nothing else does.
const CASES: [&str; 8] = [
    "nothing",
    "a running instance",
    "a stopped instance",
    "the newest version of a template that no group uses",
    "version 2 of 13 of a template that no group uses",
    "version 2 of 13 of a template, by which a group launches",
    "the image in an override of a group",
    "the launch template of an override of a group",
];

/// An account with an image for each case, in their order.
fn account() -> (Bench, Vec<AmiId>) {
    let bench = Bench::new(|_| {});
    // Their snapshot.
    bench.image();
    let images: Vec<AmiId> =
        CASES.iter().map(|case| bench.registered(&case.replace(' ', "-").replace(',', ""))).collect();
    let now = Timestamp::now();
    let other = images[1].clone();
    let (state, entered) = (&bench.state, bench.runtime.enter());
    let instances = state
        .call(|world, _| {
            let mut all = Vec::new();
            for image in &images[1..3] {
                let request = RunInstances {
                    image: image.to_string(),
                    min_count: 1,
                    max_count: 1,
                    ..RunInstances::default()
                };
                all.push(world.run_instances(now, &request)?[0].id.to_string());
            }
            template(world, "newest", &[other.clone(), images[3].clone()]);
            let thirteen = |image: &AmiId| {
                let mut all = vec![other.clone(); 13];
                all[1] = image.clone();
                all
            };
            template(world, "old", &thirteen(&images[4]));
            let pinned = template(world, "pinned", &thirteen(&images[5]));
            let subnets = [world.describe_subnets(&[], &[])?.remove(0).id];
            let second = TemplateSpec { version: Some("2".into()), ..pinned };
            let group = CreateGroup::new("pinned", Configuration::Template(second), (0, 0, 1), &subnets);
            world.create_auto_scaling_group(now, &group)?;
            let base = template(world, "base", std::slice::from_ref(&other));
            let of_override = template(world, "override", std::slice::from_ref(&images[7]));
            for (name, image, template) in
                [("image", Some(images[6].to_string()), None), ("template", None, Some(of_override))]
            {
                let over = Override {
                    instance_type: Some("t3.micro".into()),
                    image,
                    template: template.map(|one| TemplateSpec { version: Some("1".into()), ..one }),
                    ..Override::default()
                };
                let policy = Configuration::Mixed(MixedInstancesPolicy {
                    template: TemplateSpec { version: Some("1".into()), ..base.clone() },
                    overrides: vec![over],
                    distribution: Distribution::default(),
                });
                world.create_auto_scaling_group(now, &CreateGroup::new(name, policy, (0, 0, 1), &subnets))?;
            }
            Ok(all)
        })
        .unwrap();
    let stands = |id: &String, state: &str| {
        bench
            .state
            .read(|world| world.instances().any(|one| one.id.as_str() == id && one.state.as_str() == state))
    };
    bench.until("the machines", || instances.iter().all(|id| stands(id, "running")));
    bench.state.call(|world, _| world.stop_instances(&instances[1..], false)).unwrap();
    bench.until("the stop", || stands(&instances[1], "stopped"));
    drop(entered);
    (bench, images)
}

/// Which images our planner keeps, by its own look at the account, when the recipe retains none.
fn ours(bench: &Bench, images: &[AmiId]) -> Vec<bool> {
    let (cloud, runtime) = (&bench.cloud, &bench.runtime);
    let mut basis = Basis::default();
    for image in images {
        let mut found = runtime.block_on(cloud.image(image)).unwrap().unwrap();
        found.tags = BTreeMap::from([(TAG_PIPELINE.to_owned(), "shop".to_owned())]);
        basis.images.push(found);
    }
    let looks = [
        runtime.block_on(cloud.named_by_instances()),
        runtime.block_on(cloud.named_by_launch_templates(Versions::Every)),
        runtime.block_on(cloud.named_by_groups()),
    ];
    for (image, by) in looks.into_iter().flat_map(|look| look.unwrap().named) {
        basis.named.entry(image).or_default().insert(by);
    }
    let retention = Retention {
        newest: 0,
        age: SignedDuration::ZERO,
        soak: SignedDuration::ZERO,
        terms: Terms { history: 0, shared: false },
    };
    basis.retention.insert("shop".parse().unwrap(), retention);
    let verdicts = judge(&basis, Timestamp::now());
    let kept = |image: &AmiId| verdicts.iter().find(|one| one.image == *image).unwrap().act == Act::Keep;
    images.iter().map(kept).collect()
}

/// Which images EC2's own operation says are named, with so many versions of each template.
fn references(bench: &Bench, aws: &Path, images: &[AmiId], depth: Option<&str>) -> Vec<bool> {
    let options = depth.map(|depth| json!([{"OptionName": "version-depth", "OptionValues": [depth]}]));
    let kinds = json!([
        {"ResourceType": "ec2:Instance"},
        {"ResourceType": "ec2:LaunchTemplate", "ResourceTypeOptions": options.unwrap_or_else(|| json!([]))}
    ]);
    let mut command = bench.command(aws);
    command.args([
        "ec2",
        "describe-image-references",
        "--output",
        "json",
        "--resource-types",
        &kinds.to_string(),
    ]);
    command.arg("--image-ids").args(images.iter().map(AmiId::as_str));
    let answer: Value = serde_json::from_str(&succeeds(command)).unwrap();
    let named: Vec<&str> = answer["ImageReferences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["ImageId"].as_str().unwrap())
        .collect();
    images.iter().map(|image| named.contains(&image.as_str())).collect()
}

/// Which images cloud-custodian's filter `unused` leaves alone.
fn custodian(bench: &Bench, custodian: &Path, images: &[AmiId]) -> Vec<bool> {
    let folder = std::env::temp_dir().join(format!("ovenbird-custodian-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let policy = json!({"policies": [
        {"name": "unused", "resource": "aws.ami", "filters": [{"type": "unused", "value": true}]}
    ]});
    fs::write(folder.join("policy.json"), policy.to_string()).unwrap();
    let mut command = bench.command(custodian);
    command.args(["run", "--cache-period", "0", "--region", "us-east-1", "--output-dir"]);
    command.arg(&folder).arg(folder.join("policy.json"));
    succeeds(command);
    let found: Value =
        serde_json::from_str(&fs::read_to_string(folder.join("unused/resources.json")).unwrap()).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    let unused: Vec<&str> =
        found.as_array().unwrap().iter().map(|one| one["ImageId"].as_str().unwrap()).collect();
    images.iter().map(|image| !unused.contains(&image.as_str())).collect()
}

#[test]
fn where_other_pruners_would_delete_an_image_in_use_ours_keeps_it_and_nowhere_is_it_the_other_way_round() {
    let Some(aws) = crate::programs::program("aws") else { return };
    let tool = Home::from_env().root().join("custodian/bin/custodian");
    if !tool.is_file() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing: `CI=1 make setup`", tool.display());
        eprintln!("SKIPPED: there is no {}; `CI=1 make setup` makes it", tool.display());
        return;
    }
    let (bench, images) = account();
    let ours = ours(&bench, &images);
    let others = [
        references(&bench, &aws, &images, None),
        references(&bench, &aws, &images, Some("10000")),
        custodian(&bench, &tool, &images),
    ];
    let mut table = String::from(
        "\n| named only by | Ovenbird | `DescribeImageReferences` | the same, asked for all versions | cloud-custodian `unused` |\n\
         |---|---|---|---|---|\n",
    );
    for (number, case) in CASES.iter().enumerate() {
        let word = |kept: bool| if kept { "keeps" } else { "deletes" };
        let row: Vec<&str> =
            std::iter::once(ours[number]).chain(others.iter().map(|other| other[number])).map(word).collect();
        let _ = writeln!(table, "| {case} | {} |", row.join(" | "));
        // What nothing names goes; and nothing goes here that another one keeps.
        assert_eq!(ours[number], *case != "nothing", "{case}");
        assert!(ours[number] || others.iter().all(|other| !other[number]), "{case}");
    }
    table.push('\n');
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(PAGE);
    let page = fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("a place for the table");
    let (there, tail) = rest.split_once(END).expect("an end of the place");
    if std::env::var_os("OVENBIRD_UPDATE").is_some() {
        fs::write(&path, format!("{head}{BEGIN}{table}{END}{tail}")).unwrap();
    } else {
        assert!(
            there == table,
            "{PAGE} is old: OVENBIRD_UPDATE=1 cargo test -p ovenbird-local --test endpoint pruners\n{table}"
        );
    }
}
