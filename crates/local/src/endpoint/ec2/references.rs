//! `DescribeImageReferences`: what of the account names an image, as far as EC2's own operation looks.
//!
//! It has the blind spots of EC2's own: no Auto Scaling groups, no fleets, and of each launch template the newest ten
//! versions unless more are asked for. Image Builder's recipes aren't there locally.

use std::collections::BTreeSet;

use ovenbird_sim::{
    ApiError, Filter, Paging,
    launch_templates::{DescribeLaunchTemplateVersions, TemplateSpec},
};

use super::{Call, shared::paging};
use crate::{deploy::REGION, endpoint::ssm};

/// The kinds of things that EC2 looks at.
const KINDS: [&str; 5] = [
    "ec2:Instance",
    "ec2:LaunchTemplate",
    "ssm:Parameter",
    "imagebuilder:ImageRecipe",
    "imagebuilder:ContainerRecipe",
];

/// EC2's limit of images for one request.
const MOST_IMAGES: usize = 10;

/// One thing that names an image.
struct Reference {
    image: String,
    kind: &'static str,
    arn: String,
}

pub(super) async fn describe_image_references(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let images = params.texts("ImageId");
    let all = params.flag("IncludeAllResourceTypes")?;
    let (mut kinds, mut states, mut versions) = (Vec::new(), Vec::new(), DEPTH);
    for kind in params.list("ResourceType") {
        kinds.push(kind.required("ResourceType")?.to_owned());
        for option in kind.list("ResourceTypeOption") {
            let (name, values) = (option.required("OptionName")?, option.texts("OptionValue"));
            match name {
                "state-name" => states = values,
                "version-depth" => versions = depth(&values)?,
                other => {
                    return Err(ApiError::value(other, "OptionName", "Not an option of a resource type."));
                }
            }
        }
    }
    let _ = paging(params)?;
    call.finish_look()?;
    if images.is_empty() {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter ImageId"));
    }
    if images.len() > MOST_IMAGES {
        let message = format!("Between 1 and {MOST_IMAGES} images are checked at once.");
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    if let Some(unknown) = kinds.iter().find(|kind| !KINDS.contains(&kind.as_str())) {
        return Err(ApiError::value(unknown, "ResourceType", "Not a supported resource type."));
    }
    if !all && kinds.is_empty() {
        let message = "Either IncludeAllResourceTypes or ResourceTypes must be specified.";
        return Err(ApiError::new("MissingParameter", message));
    }
    let asked = |kind: &str| all || kinds.iter().any(|one| one == kind);
    let mut found = Vec::new();
    if asked("ec2:Instance") {
        found.extend(instances(call, &images, states)?);
    }
    if asked("ec2:LaunchTemplate") {
        found.extend(templates(call, &images, versions)?);
    }
    if asked("ssm:Parameter") {
        found.extend(parameters(call, &images).await?);
    }
    call.answer("DescribeImageReferences", |xml| {
        xml.list("imageReferenceSet", &found, |xml, one| {
            xml.text("imageId", &one.image);
            xml.text("resourceType", one.kind);
            xml.text("arn", &one.arn);
        });
    })
}

/// So many versions of a launch template are looked at, the newest ones.
const DEPTH: usize = 10;

/// How many versions of a launch template are looked at.
fn depth(values: &[String]) -> Result<usize, ApiError> {
    match values {
        [one] if one.parse::<usize>().is_ok_and(|depth| (1..=10_000).contains(&depth)) => {
            Ok(one.parse().unwrap_or(DEPTH))
        }
        _ => Err(ApiError::value(&values.join(","), "OptionValue", "A depth is between 1 and 10000.")),
    }
}

/// Templates that name an image by its id, each once.
fn templates(call: &Call<'_>, images: &[String], depth: usize) -> Result<Vec<Reference>, ApiError> {
    let ids: Vec<String> = call.look(|world| world.launch_templates().map(|one| one.id.clone()).collect());
    let account = call.look(|world| world.account().to_owned());
    let mut found = Vec::new();
    for id in ids {
        let request = DescribeLaunchTemplateVersions {
            template: TemplateSpec { id: Some(id.clone()), ..TemplateSpec::default() },
            ..DescribeLaunchTemplateVersions::default()
        };
        let mut page = call.look(|world| world.describe_launch_template_versions(&request))?;
        page.items.sort_by_key(|version| std::cmp::Reverse(version.number));
        let newest = page.items.iter().take(depth).filter_map(|version| version.data.image.as_ref());
        let named: BTreeSet<&String> = newest.filter(|image| images.contains(image)).collect();
        found.extend(named.into_iter().map(|image| Reference {
            image: image.clone(),
            kind: "ec2:LaunchTemplate",
            arn: format!("arn:aws:ec2:{REGION}:{account}:launch-template/{id}"),
        }));
    }
    Ok(found)
}

fn instances(call: &Call<'_>, images: &[String], states: Vec<String>) -> Result<Vec<Reference>, ApiError> {
    let mut filters = vec![Filter { name: "image-id".into(), values: images.to_vec() }];
    if !states.is_empty() {
        filters.push(Filter { name: "instance-state-name".into(), values: states });
    }
    let page = call.world(|world, now| world.describe_instances(now, &[], &filters, &Paging::default()))?;
    let account = call.look(|world| world.account().to_owned());
    let found = page.items.into_iter().map(|one| Reference {
        image: one.image.to_string(),
        kind: "ec2:Instance",
        arn: format!("arn:aws:ec2:{REGION}:{account}:instance/{}", one.id),
    });
    Ok(found.collect())
}

async fn parameters(call: &Call<'_>, images: &[String]) -> Result<Vec<Reference>, ApiError> {
    let unknown = || ApiError::new("InternalError", "The parameters can't be read.");
    let all = ssm::parameters::all(call.endpoint).await.ok_or_else(unknown)?;
    let account = call.look(|world| world.account().to_owned());
    let found = all.into_iter().filter(|(_, value)| images.contains(value));
    Ok(found
        .map(|(name, image)| Reference {
            image,
            kind: "ssm:Parameter",
            arn: format!("arn:aws:ssm:{REGION}:{account}:parameter{name}"),
        })
        .collect())
}
