//! `RunInstances`.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ovenbird_sim::{ApiError, Filter, Instance, NewVolume, ROOT_DEVICE, RunInstances};

use super::{
    Call,
    instances::instance,
    shared::{new_volume, tag_specifications},
    templates,
};
use crate::endpoint::{query_form::Params, ssm::parameters};

/// Launches instances.
pub(super) async fn run_instances(call: &Call<'_>) -> Result<String, ApiError> {
    // The stack's security group and instance profile are known to MiniStack alone.
    call.endpoint.sync_security_groups().await?;
    if templates::names_template(call) {
        let launched = templates::run_by_template(call).await?;
        return launched_answer(call, &launched);
    }
    let mut request = read(call)?;
    call.finish()?;
    // As EC2 takes an image by its parameter: the newest value, when the launch is asked for.
    if let Some(name) = request.image.strip_prefix("resolve:ssm:") {
        request.image = parameters::image(call.endpoint, name).await?;
    }
    if let Some(profile) = &request.profile {
        call.endpoint.check_instance_profile(profile).await?;
    }
    let launched = call.world(|world, now| world.run_instances(now, &request))?;
    launched_answer(call, &launched)
}

fn launched_answer(call: &Call<'_>, launched: &[Instance]) -> Result<String, ApiError> {
    let account = call.look(|world| world.account().to_owned());
    call.answer("RunInstances", |xml| {
        xml.optional("reservationId", launched.first().map(|instance| &instance.reservation));
        xml.text("ownerId", &account);
        xml.list("groupSet", [(); 0], |_, ()| {});
        call.look(|world| xml.list("instancesSet", launched, |xml, one| instance(xml, one, world)));
    })
}

fn read(call: &Call<'_>) -> Result<RunInstances, ApiError> {
    let params = &call.params;
    let user_data = params.text("UserData").map(|text| STANDARD.decode(text)).transpose();
    let user_data = user_data
        .map_err(|_| ApiError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))?;
    let metadata = params.part("MetadataOptions");
    overlook(params)?;
    let (volume, devices) = volumes(params)?;
    let mut security_groups = params.texts("SecurityGroupId");
    security_groups.extend(groups_by_name(call, &params.texts("SecurityGroup"))?);
    Ok(RunInstances {
        image: params.required("ImageId")?.to_owned(),
        instance_type: params.text("InstanceType").map(str::to_owned),
        min_count: params.parsed("MinCount")?.ok_or_else(|| missing("MinCount"))?,
        max_count: params.parsed("MaxCount")?.ok_or_else(|| missing("MaxCount"))?,
        user_data,
        client_token: params.text("ClientToken").map(str::to_owned),
        tags: tag_specifications(params)?,
        profile: profile(params)?,
        key_name: params.text("KeyName").map(str::to_owned),
        no_termination: params.flag("DisableApiTermination")?,
        no_stop: params.flag("DisableApiStop")?,
        security_groups,
        subnet: subnet(call)?,
        http_tokens: metadata.text("HttpTokens").map(str::to_owned),
        shutdown_behavior: params.text("InstanceInitiatedShutdownBehavior").map(str::to_owned),
        volume,
        devices,
        spot: market(params)?,
        dry_run: params.flag("DryRun")?,
    })
}

/// Reads what makes no difference to a machine here.
pub(super) fn overlook(params: &Params<'_>) -> Result<(), ApiError> {
    let metadata = params.part("MetadataOptions");
    // A machine here has one hop to its metadata, over IPv4, and its tags aren't told there.
    let _ = metadata.parsed::<u8>("HttpPutResponseHopLimit")?;
    let _ = metadata.choice("HttpEndpoint", &["enabled"])?;
    let _ = metadata.choice("InstanceMetadataTags", &["disabled"])?;
    let _ = metadata.choice("HttpProtocolIpv6", &["disabled"])?;
    // Machines here have one kind of disk and no detailed monitoring.
    let _ = (params.flag("EbsOptimized")?, params.flag("Monitoring.Enabled")?);
    Ok(())
}

fn missing(parameter: &str) -> ApiError {
    ApiError::new("MissingParameter", format!("The request must contain the parameter {parameter}"))
}

/// The name of the instance profile, given itself or at the end of an ARN.
pub(super) fn profile(params: &Params<'_>) -> Result<Option<String>, ApiError> {
    let profile = params.part("IamInstanceProfile");
    match (profile.text("Name"), profile.text("Arn")) {
        (Some(_), Some(_)) => {
            let message = "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'";
            Err(ApiError::new("InvalidParameterCombination", message))
        }
        (Some(name), None) => Ok(Some(name.to_owned())),
        (None, Some(arn)) => Ok(arn.rsplit('/').next().map(str::to_owned)),
        (None, None) => Ok(None),
    }
}

/// What is asked of the root volume, and of the others by device. A machine uses the root alone: the others are on
/// record, as leftovers and costs are.
pub(super) fn volumes(params: &Params<'_>) -> Result<(NewVolume, BTreeMap<String, NewVolume>), ApiError> {
    let (mut root, mut others) = (NewVolume::default(), BTreeMap::new());
    for device in params.list("BlockDeviceMapping") {
        let name = device.required("DeviceName")?;
        let volume = new_volume(&device.part("Ebs"))?;
        if name == ROOT_DEVICE {
            root = volume;
        } else if others.insert(name.to_owned(), volume).is_some() {
            let message = format!("The device '{name}' is used in more than one block-device mapping");
            return Err(ApiError::new("InvalidBlockDeviceMapping", message));
        }
    }
    Ok((root, others))
}

/// Whether a spot instance is asked for: one that is asked for once, as all spot instances here are.
pub(super) fn market(params: &Params<'_>) -> Result<bool, ApiError> {
    let options = params.part("InstanceMarketOptions");
    let spot = options.part("SpotOptions");
    let price: Option<f64> = spot.parsed("MaxPrice")?;
    // Capacity costs nothing here; a price must make sense all the same.
    if price.is_some_and(|price| !price.is_finite() || price <= 0.0) {
        let message = format!("Invalid spot price: {}", spot.text("MaxPrice").unwrap_or_default());
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    let asked = (spot.text("SpotInstanceType"), spot.text("InstanceInterruptionBehavior"));
    match options.text("MarketType") {
        None if price.is_none() && asked == (None, None) => Ok(false),
        None => {
            let message = "SpotOptions are for MarketType spot.";
            Err(ApiError::new("InvalidParameterCombination", message))
        }
        Some("spot") => match asked {
            (None | Some("one-time"), None | Some("terminate")) => Ok(true),
            (None | Some("one-time"), Some(behavior)) => {
                let message = format!(
                    "The request with type 'one-time' is not supported when instanceInterruptionBehavior is set to '{behavior}'."
                );
                Err(ApiError::new("InvalidParameterCombination", message))
            }
            (Some(kind), _) => {
                let message = format!("A local spot instance is asked for once; '{kind}' can't be had.");
                Err(ApiError::new("InvalidParameterValue", message))
            }
        },
        Some(other) => Err(ApiError::new("InvalidParameterValue", format!("Invalid market type '{other}'"))),
    }
}

/// The subnet asked for, or the default one of the zone asked for.
pub(super) fn subnet(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let _ = call.params.text("Placement.Tenancy");
    let zone = call.params.text("Placement.AvailabilityZone");
    if let Some(subnet) = call.params.text("SubnetId") {
        return Ok(Some(subnet.to_owned()));
    }
    let Some(zone) = zone else { return Ok(None) };
    let filter = Filter { name: "availability-zone".into(), values: vec![zone.to_owned()] };
    let subnet = call.look(|world| world.describe_subnets(&[], &[filter]))?.into_iter().next();
    let unknown = || ApiError::new("InvalidParameterValue", format!("Invalid availability zone: [{zone}]"));
    Ok(Some(subnet.ok_or_else(unknown)?.id))
}

pub(super) fn groups_by_name(call: &Call<'_>, names: &[String]) -> Result<Vec<String>, ApiError> {
    let mut ids = Vec::new();
    for name in names {
        let filter = Filter { name: "group-name".into(), values: vec![name.clone()] };
        let group = call.look(|world| world.describe_security_groups(&[], &[filter]))?.into_iter().next();
        let unknown =
            || ApiError::new("InvalidGroup.NotFound", format!("The security group '{name}' does not exist"));
        ids.push(group.ok_or_else(unknown)?.id);
    }
    Ok(ids)
}
