//! Launch templates, and `RunInstances` by them.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ovenbird_sim::{
    ApiError, Instance, NewVolume, ROOT_DEVICE,
    launch_templates::{
        CreateLaunchTemplate, CreateLaunchTemplateVersion, DescribeLaunchTemplateVersions,
        DescribeLaunchTemplates, InstanceRequirements, LaunchTemplate, LaunchTemplateData,
        LaunchTemplateVersion, RunByTemplate, TemplateSpec,
    },
};

use super::{
    Call, launch,
    shared::{filters, next_token, paging, tag_specifications, time},
};
use crate::endpoint::{query_form::Params, ssm::parameters, xml_writer::Xml};

pub(super) fn create_launch_template(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = CreateLaunchTemplate {
        name: params.required("LaunchTemplateName")?.to_owned(),
        description: params.text("VersionDescription").map(str::to_owned),
        data: data(call, &params.part("LaunchTemplateData"))?,
        tags: tag_specifications(params)?,
        client_token: params.text("ClientToken").map(str::to_owned),
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let made = call.world(|world, now| world.create_launch_template(now, &request))?;
    call.answer("CreateLaunchTemplate", |xml| xml.part("launchTemplate", |xml| template(xml, &made)))
}

pub(super) fn create_launch_template_version(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = CreateLaunchTemplateVersion {
        template: spec(params),
        source_version: params.text("SourceVersion").map(str::to_owned),
        description: params.text("VersionDescription").map(str::to_owned),
        data: data(call, &params.part("LaunchTemplateData"))?,
        client_token: params.text("ClientToken").map(str::to_owned),
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let made = call.world(|world, now| world.create_launch_template_version(now, &request))?;
    call.answer("CreateLaunchTemplateVersion", |xml| {
        xml.part("launchTemplateVersion", |xml| version(xml, &made));
    })
}

pub(super) fn modify_launch_template(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (spec, dry_run) = (spec(params), params.flag("DryRun")?);
    // To set the same default twice is to set it once: the token has nothing to guard.
    let _ = params.text("ClientToken");
    let default = params.required("SetDefaultVersion")?.to_owned();
    call.finish()?;
    let changed = call.world(|world, _| world.modify_launch_template(&spec, &default, dry_run))?;
    call.answer("ModifyLaunchTemplate", |xml| xml.part("launchTemplate", |xml| template(xml, &changed)))
}

pub(super) fn delete_launch_template(call: &Call<'_>) -> Result<String, ApiError> {
    let (spec, dry_run) = (spec(&call.params), call.params.flag("DryRun")?);
    call.finish()?;
    let gone = call.world(|world, _| world.delete_launch_template(&spec, dry_run))?;
    call.answer("DeleteLaunchTemplate", |xml| xml.part("launchTemplate", |xml| template(xml, &gone)))
}

pub(super) fn delete_launch_template_versions(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (spec, dry_run) = (spec(params), params.flag("DryRun")?);
    let versions = params.texts("LaunchTemplateVersion");
    call.finish()?;
    let (deleted, left) =
        call.world(|world, _| world.delete_launch_template_versions(&spec, &versions, dry_run))?;
    let name = |xml: &mut Xml| {
        xml.optional("launchTemplateId", spec.id.as_ref());
        xml.optional("launchTemplateName", spec.name.as_ref());
    };
    call.answer("DeleteLaunchTemplateVersions", |xml| {
        xml.list("successfullyDeletedLaunchTemplateVersionSet", deleted, |xml, number| {
            name(xml);
            xml.text("versionNumber", number);
        });
        xml.list("unsuccessfullyDeletedLaunchTemplateVersionSet", left, |xml, one| {
            name(xml);
            // What is no number has none.
            xml.optional("versionNumber", one.version.parse::<u64>().ok());
            xml.part("responseError", |xml| {
                xml.text("code", one.code);
                xml.text("message", &one.message);
            });
        });
    })
}

pub(super) fn describe_launch_templates(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let request = DescribeLaunchTemplates {
        ids: params.texts("LaunchTemplateId"),
        names: params.texts("LaunchTemplateName"),
        filters: filters(params)?,
        paging: paging(params)?,
    };
    call.finish_look()?;
    let page = call.look(|world| world.describe_launch_templates(&request))?;
    call.answer("DescribeLaunchTemplates", |xml| {
        xml.list("launchTemplates", &page.items, template);
        next_token(xml, page.next_token.as_ref());
    })
}

pub(super) async fn describe_launch_template_versions(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let text = |name: &str| params.text(name).map(str::to_owned);
    let request = DescribeLaunchTemplateVersions {
        template: spec(params),
        versions: params.texts("LaunchTemplateVersion"),
        min: text("MinVersion"),
        max: text("MaxVersion"),
        filters: filters(params)?,
        resolve_alias: params.flag("ResolveAlias")?,
        paging: paging(params)?,
    };
    call.finish_look()?;
    if request.resolve_alias {
        let plain = DescribeLaunchTemplateVersions { resolve_alias: false, ..request.clone() };
        let page = call.look(|world| world.describe_launch_template_versions(&plain))?;
        for version in &page.items {
            learn_parameter(call, version.data.image.as_deref()).await?;
        }
    }
    let page = call.look(|world| world.describe_launch_template_versions(&request))?;
    call.answer("DescribeLaunchTemplateVersions", |xml| {
        xml.list("launchTemplateVersionSet", &page.items, version);
        next_token(xml, page.next_token.as_ref());
    })
}

/// Whether `RunInstances` names a template.
pub(super) fn names_template(call: &Call<'_>) -> bool {
    let template = call.params.part("LaunchTemplate");
    template.text("LaunchTemplateId").is_some() || template.text("LaunchTemplateName").is_some()
}

/// Launches by a template; gives the instances.
pub(super) async fn run_by_template(call: &Call<'_>) -> Result<Vec<Instance>, ApiError> {
    let params = &call.params;
    let part = params.part("LaunchTemplate");
    let template = TemplateSpec { version: part.text("Version").map(str::to_owned), ..spec(&part) };
    let over = data(call, params)?;
    let count = |name: &str| {
        let missing = || {
            let message = format!("The request must contain the parameter {name}");
            ApiError::new("MissingParameter", message)
        };
        params.parsed(name)?.ok_or_else(missing)
    };
    let request = RunByTemplate {
        template,
        over,
        subnet: launch::subnet(call)?,
        min_count: count("MinCount")?,
        max_count: count("MaxCount")?,
        client_token: params.text("ClientToken").map(str::to_owned),
        dry_run: params.flag("DryRun")?,
    };
    call.finish()?;
    let version = DescribeLaunchTemplateVersions {
        template: TemplateSpec { version: None, ..request.template.clone() },
        versions: vec![request.template.version.clone().unwrap_or_else(|| "$Default".into())],
        ..DescribeLaunchTemplateVersions::default()
    };
    let page = call.look(|world| world.describe_launch_template_versions(&version))?;
    if let Some(version) = page.items.first() {
        let made = version.data.with(&request.over);
        learn_parameter(call, made.image.as_deref()).await?;
        if let Some(profile) = &made.profile {
            call.endpoint.check_instance_profile(profile).await?;
        }
    }
    call.world(|world, now| world.run_instances_by_template(now, &request))
}

/// Tells the world what an image's parameter stands for now.
async fn learn_parameter(call: &Call<'_>, image: Option<&str>) -> Result<(), ApiError> {
    let Some(name) = image.and_then(|image| image.strip_prefix("resolve:ssm:")) else { return Ok(()) };
    let value = parameters::image(call.endpoint, name).await.ok();
    call.world(|world, _| {
        world.set_image_parameter(name, value.as_deref());
        Ok(())
    })
}

fn spec(params: &Params<'_>) -> TemplateSpec {
    TemplateSpec {
        id: params.text("LaunchTemplateId").map(str::to_owned),
        name: params.text("LaunchTemplateName").map(str::to_owned),
        version: None,
    }
}

/// The parameters of a launch, as a template and `RunInstances` write them alike.
fn data(call: &Call<'_>, params: &Params<'_>) -> Result<LaunchTemplateData, ApiError> {
    let user_data = params.text("UserData").map(|text| STANDARD.decode(text)).transpose();
    let user_data = user_data
        .map_err(|_| ApiError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    let metadata = params.part("MetadataOptions");
    launch::overlook(params)?;
    let (root, mut mappings) = launch::volumes(params)?;
    if root != NewVolume::default() {
        mappings.insert(ROOT_DEVICE.to_owned(), root);
    }
    let mut security_groups = params.texts("SecurityGroupId");
    security_groups.extend(launch::groups_by_name(call, &params.texts("SecurityGroup"))?);
    // Who says nothing of the market leaves it to the template.
    let market = params.part("InstanceMarketOptions").text("MarketType").is_some();
    let spot = launch::market(params)?;
    Ok(LaunchTemplateData {
        image: params.text("ImageId").map(str::to_owned),
        instance_type: params.text("InstanceType").map(str::to_owned),
        user_data,
        profile: launch::profile(params)?,
        key_name: params.text("KeyName").map(str::to_owned),
        no_termination: params.parsed("DisableApiTermination")?,
        no_stop: params.parsed("DisableApiStop")?,
        security_groups,
        http_tokens: metadata.text("HttpTokens").map(str::to_owned),
        shutdown_behavior: params.text("InstanceInitiatedShutdownBehavior").map(str::to_owned),
        mappings,
        spot: market.then_some(spot),
        tags: tag_specifications(params)?,
        requirements: requirements(&params.part("InstanceRequirements"))?,
    })
}

fn requirements(params: &Params<'_>) -> Result<Option<InstanceRequirements>, ApiError> {
    let vcpus = params.part("VCpuCount").parsed("Min")?;
    let memory = params.part("MemoryMiB").parsed("Min")?;
    match (vcpus, memory) {
        (None, None) => Ok(None),
        (Some(vcpus_min), Some(memory_mib_min)) => {
            Ok(Some(InstanceRequirements { vcpus_min, memory_mib_min }))
        }
        (Some(_), None) | (None, Some(_)) => {
            let message = "InstanceRequirements needs VCpuCount.Min and MemoryMiB.Min";
            Err(ApiError::new("MissingParameter", message))
        }
    }
}

fn template(xml: &mut Xml, template: &LaunchTemplate) {
    xml.text("launchTemplateId", &template.id);
    xml.text("launchTemplateName", &template.name);
    xml.text("createTime", time(template.created));
    xml.text("createdBy", &template.created_by);
    xml.text("defaultVersionNumber", template.default_version);
    xml.text("latestVersionNumber", template.latest_version());
    xml.tags(&template.tags);
}

fn version(xml: &mut Xml, version: &LaunchTemplateVersion) {
    xml.text("launchTemplateId", &version.template);
    xml.text("launchTemplateName", &version.name);
    xml.text("versionNumber", version.number);
    xml.optional("versionDescription", version.description.as_ref());
    xml.text("createTime", time(version.created));
    xml.text("createdBy", &version.created_by);
    xml.text("defaultVersion", version.is_default);
    xml.part("launchTemplateData", |xml| written(xml, &version.data));
}

fn written(xml: &mut Xml, data: &LaunchTemplateData) {
    xml.optional("imageId", data.image.as_ref());
    xml.optional("instanceType", data.instance_type.as_ref());
    xml.optional("userData", data.user_data.as_ref().map(|bytes| STANDARD.encode(bytes)));
    if let Some(profile) = &data.profile {
        xml.part("iamInstanceProfile", |xml| xml.text("name", profile));
    }
    xml.optional("keyName", data.key_name.as_ref());
    xml.optional("disableApiTermination", data.no_termination);
    xml.optional("disableApiStop", data.no_stop);
    if !data.security_groups.is_empty() {
        xml.part("securityGroupIdSet", |xml| {
            for group in &data.security_groups {
                xml.text("item", group);
            }
        });
    }
    if let Some(tokens) = &data.http_tokens {
        xml.part("metadataOptions", |xml| xml.text("httpTokens", tokens));
    }
    xml.optional("instanceInitiatedShutdownBehavior", data.shutdown_behavior.as_ref());
    mappings(xml, &data.mappings);
    if data.spot == Some(true) {
        xml.part("instanceMarketOptions", |xml| xml.text("marketType", "spot"));
    }
    if let Some(requirements) = &data.requirements {
        xml.part("instanceRequirements", |xml| {
            xml.part("vCpuCount", |xml| xml.text("min", requirements.vcpus_min));
            xml.part("memoryMiB", |xml| xml.text("min", requirements.memory_mib_min));
        });
    }
    if !data.tags.is_empty() {
        xml.list("tagSpecificationSet", &data.tags, |xml, (kind, tags)| {
            xml.text("resourceType", kind);
            xml.tags(tags);
        });
    }
}

fn mappings(xml: &mut Xml, mappings: &BTreeMap<String, NewVolume>) {
    if mappings.is_empty() {
        return;
    }
    xml.list("blockDeviceMappingSet", mappings, |xml, (device, volume)| {
        xml.text("deviceName", device);
        xml.part("ebs", |xml| {
            xml.optional("volumeSize", volume.size);
            xml.optional("volumeType", volume.kind.as_ref());
            xml.optional("iops", volume.iops);
            xml.optional("encrypted", volume.encrypted);
            xml.optional("kmsKeyId", volume.kms_key.as_ref());
            xml.optional("deleteOnTermination", volume.delete_on_termination);
        });
    });
}
