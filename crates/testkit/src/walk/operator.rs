//! What an operator does by hand, with AWS's own tools and nobody's leave.
//!
//! AWS refuses what names an image that is gone, and so nothing happens then.

use crate::Cloud;
use ovenbird_core::{
    domain::{id::AmiId, rollout::Wish},
    ops::{
        promotion::{self, Person, Promotion},
        rollout,
    },
    ports::{Expect, Images, Index, Key, Parameters, Row, Table, Write},
    store::Channel,
};
use ovenbird_sim::{
    BinKind, BinRule, LaunchPermission, RunInstances,
    auto_scaling::{Configuration, UpdateGroup},
    launch_templates::{CreateLaunchTemplateVersion, LaunchTemplateData, TemplateSpec},
};
use serde_json::{Value, json};

use super::{
    machine::End,
    scenarios::{Steer, Thing},
    street::GROUP,
};

const PIPELINE: &str = "PIPELINE#storefront";
const PARAMETER: &str = "/images/storefront/production";

/// `aws ssm put-parameter`: what starts from the parameter starts from an older image again.
pub(super) async fn put_parameter(cloud: &Cloud, artifact: &str) -> End {
    cloud.enter("operator");
    if let Some(image) = usable(cloud, artifact).await {
        let parameter = PARAMETER.parse().unwrap();
        // A refusal is nothing that a person insists on.
        let _ = cloud.put_image(&parameter, &image).await.unwrap();
    }
    done()
}

/// `aws ec2 run-instances` from an older image.
pub(super) async fn launch(cloud: &Cloud, artifact: &str) -> End {
    cloud.enter("operator");
    if let Some(image) = usable(cloud, artifact).await {
        let now = cloud.now();
        let request =
            RunInstances { image: image.to_string(), min_count: 1, max_count: 1, ..RunInstances::default() };
        cloud.with(|world| world.run_instances(now, &request)).unwrap();
    }
    done()
}

/// `aws ec2 modify-image-attribute`: another account may start the image.
pub(super) fn share(cloud: &Cloud, artifact: &str) -> End {
    cloud.enter("operator");
    if let Some(image) = baked(cloud, artifact) {
        let with = [LaunchPermission::User("210987654321".into())];
        // Refused where the image is gone or disabled.
        let _ = cloud.with(|world| world.modify_launch_permissions(image.as_str(), &with, &[], false));
    }
    done()
}

/// `aws ec2 deregister-image`, its protection lifted first; its snapshots stay.
pub(super) fn deregister(cloud: &Cloud, artifact: &str) -> End {
    cloud.enter("operator");
    let there = |image: &AmiId| cloud.with(|world| world.image(image).is_some());
    if let Some(image) = baked(cloud, artifact).filter(there) {
        cloud.deregister(&image);
    }
    done()
}

/// `aws rbin create-rule`: the Recycle Bin keeps what goes for a month.
pub(super) fn keep_what_goes(cloud: &Cloud) {
    for kind in [BinKind::Image, BinKind::Snapshot] {
        let (id, description) = (String::new(), String::new());
        let rule = BinRule { id, kind, days: 30, description, tags: Vec::new(), excluded: Vec::new() };
        cloud.with(|world| world.create_bin_rule(rule)).unwrap();
    }
}

/// `aws ssm put-parameter` of a type that AWS doesn't check: the image may be disabled by then.
pub(super) fn name(cloud: &Cloud, artifact: &str) -> End {
    cloud.enter("operator");
    if let Some(image) =
        baked(cloud, artifact).filter(|image| cloud.with(|world| world.image(image).is_some()))
    {
        let parameter = "/somebody/s".parse().unwrap();
        cloud.put_parameter(&parameter, image.as_str());
    }
    done()
}

/// The channel is moved back to what it pointed at before, and the parameter with it, on the very condition of a
/// promotion: the image's record is as it was seen, and counts one promotion more.
pub(super) async fn point_back(cloud: &Cloud) -> End {
    cloud.enter("operator");
    let key = Key { pk: PIPELINE.into(), sk: "CHANNEL#production".into() };
    let row = Table::get(cloud, &key).await.unwrap().unwrap();
    let mut channel: Channel = read(&row);
    let Some(mut back) = (!channel.previous.is_empty()).then(|| channel.previous.remove(0)) else {
        return done();
    };
    let record = Key { pk: format!("IMAGE#{}", back.image), sk: "SET".into() };
    let Some(seen) = Table::get(cloud, &record).await.unwrap() else { return done() };
    channel.generation += 1;
    back.generation = channel.generation;
    let image = back.image.clone();
    channel.previous.insert(0, channel.current.replace(back).unwrap());
    let index = Index { image: Some(image.clone()), ..Index::default() };
    let doc = serde_json::to_value(&channel).unwrap();
    let put = Write::Put { key, doc, expect: Expect::Version(row.version), index };
    let mut counted = seen.doc.clone();
    counted["uses"] = json!(counted["uses"].as_u64().unwrap_or_default() + 1);
    let index = Index { image: Some(image.clone()), ..Index::default() };
    let count = Write::Put { key: record, doc: counted, expect: Expect::Version(seen.version), index };
    cloud.commit(vec![put, count]).await.unwrap();
    let _ = cloud.put_image(&PARAMETER.parse().unwrap(), &image).await.unwrap();
    done()
}

/// A person says what is wanted of the rollout. What is refused, because the rollout is somewhere else, is not done.
pub(super) async fn steer(cloud: &Cloud, steer: Steer) -> End {
    cloud.enter("operator");
    let (pipeline, channel) = ("storefront".parse().unwrap(), "production".parse().unwrap());
    let now = cloud.now();
    let person = Person {
        by: "user/alice".into(),
        why: Some("by hand".into()),
        request: format!("by-hand-{}", now.as_second()).parse().unwrap(),
    };
    let said = match steer {
        Steer::Pause => rollout::wish(&pipeline, &channel, Wish::Pause, cloud, now).await.map(drop),
        Steer::Skip => rollout::wish(&pipeline, &channel, Wish::Skip, cloud, now).await.map(drop),
        Steer::Abort => rollout::wish(&pipeline, &channel, Wish::Abort, cloud, now).await.map(drop),
        Steer::Leave => rollout::wish(&pipeline, &channel, Wish::Leave, cloud, now).await.map(drop),
        Steer::Resume => rollout::resume(&pipeline, &channel, cloud, now).await.map(drop),
        Steer::RollBack => {
            promotion::roll_back(&pipeline, &channel, None, &person, cloud, now).await.map(drop)
        }
        Steer::Promote(artifact) => {
            let image = baked(cloud, artifact).unwrap();
            let what = Promotion { pipeline, channel, image, force: false };
            promotion::promote(&what, &person, cloud, now).await.map(drop)
        }
        Steer::ChangeGroup => {
            change_group(cloud);
            Ok(())
        }
        Steer::Delete(thing) => {
            delete(cloud, thing);
            Ok(())
        }
    };
    match said {
        Ok(()) => done(),
        Err(error) => End::Failed { error: error.name().to_owned(), cause: error.to_string() },
    }
}

/// A new version of the template, and the group launches by it: refused while a refresh is under way.
fn change_group(cloud: &Cloud) {
    let now = cloud.now();
    cloud.with(|world| {
        let Some(template) = world.launch_templates().next().cloned() else { return };
        let by_id = TemplateSpec { id: Some(template.id.clone()), name: None, version: None };
        let request = CreateLaunchTemplateVersion {
            template: by_id,
            source_version: Some("$Default".into()),
            data: LaunchTemplateData {
                instance_type: Some("c7i.large".into()),
                ..LaunchTemplateData::default()
            },
            ..CreateLaunchTemplateVersion::default()
        };
        let version = world.create_launch_template_version(now, &request).unwrap().number;
        let configuration = Configuration::Template(TemplateSpec::of(&template.id, version));
        let change = UpdateGroup { configuration: Some(configuration), ..UpdateGroup::default() };
        let _ = world.update_auto_scaling_group(GROUP, &change);
    });
}

/// Deletes it, if it is there.
fn delete(cloud: &Cloud, thing: Thing) {
    let now = cloud.now();
    cloud.with(|world| match thing {
        Thing::Group(name) => {
            let _ = world.delete_auto_scaling_group(now, name, true);
        }
        Thing::Template => {
            let Some(template) = world.launch_templates().next().cloned() else { return };
            let by_id = TemplateSpec { id: Some(template.id), name: None, version: None };
            world.delete_launch_template(&by_id, false).unwrap();
        }
        Thing::Rule => {
            let rules: Vec<_> = world.listeners().flat_map(|one| one.rules.clone()).collect();
            for rule in rules.iter().filter(|rule| rule.priority.is_some()) {
                world.delete_rule(&rule.arn).unwrap();
            }
        }
    });
}

/// The image that was baked of an artifact, if it is still there, whatever EC2 shows.
async fn usable(cloud: &Cloud, artifact: &str) -> Option<AmiId> {
    let shown = Images::image(cloud, &baked(cloud, artifact)?).await.unwrap()?.id;
    cloud.with(|world| world.image(&shown).is_some()).then_some(shown)
}

/// The image that was baked of an artifact, there or not.
pub(super) fn baked(cloud: &Cloud, artifact: &str) -> Option<AmiId> {
    let key = format!("artifacts/storefront/{artifact}");
    let rows = cloud.rows().into_iter().filter(|row| row.key.sk.starts_with("BAKE#"));
    let mut baked = rows.filter(|row| row.doc["artifact"]["key"] == key && row.doc["image"].is_string());
    serde_json::from_value(baked.next()?.doc["image"].clone()).unwrap()
}

fn read(row: &Row) -> Channel {
    serde_json::from_value(row.doc.clone()).unwrap()
}

fn done() -> End {
    End::Succeeded(json!({"status": Value::from("done")}))
}
