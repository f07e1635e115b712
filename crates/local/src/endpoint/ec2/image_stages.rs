//! Images after they were made: deprecated, disabled, protected, shared, described.

use jiff::Timestamp;
use ovenbird_sim::{ApiError, DescribeImages, LaunchPermission};

use super::{Call, images};
use crate::endpoint::{query_form::Params, xml_writer::Xml};

pub(super) fn enable_image_deprecation(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    let at = call.params.parsed::<Timestamp>("DeprecateAt")?;
    let at = at.ok_or_else(|| ApiError::new("MissingParameter", "DeprecateAt is needed."))?;
    call.finish()?;
    call.world(|world, now| world.enable_image_deprecation(now, &id, at, dry_run))?;
    call.done("EnableImageDeprecation")
}

pub(super) fn disable_image_deprecation(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    call.finish()?;
    call.world(|world, _| world.disable_image_deprecation(&id, dry_run))?;
    call.done("DisableImageDeprecation")
}

pub(super) fn disable_image(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    call.finish()?;
    call.world(|world, _| world.disable_image(&id, dry_run))?;
    call.done("DisableImage")
}

pub(super) fn enable_image(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    call.finish()?;
    call.world(|world, _| world.enable_image(&id, dry_run))?;
    call.done("EnableImage")
}

pub(super) fn protect_image(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    let cooldown = call.params.flag("WithCooldown")?;
    call.finish()?;
    let word = call.world(|world, _| world.protect_image(&id, cooldown, dry_run))?;
    call.answer("EnableImageDeregistrationProtection", |xml| xml.text("return", word))
}

pub(super) fn unprotect_image(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    call.finish()?;
    let word = call.world(|world, now| world.unprotect_image(now, &id, dry_run))?;
    call.answer("DisableImageDeregistrationProtection", |xml| xml.text("return", word))
}

const ATTRIBUTES: &[&str] = &[
    "description",
    "kernel",
    "ramdisk",
    "launchPermission",
    "productCodes",
    "blockDeviceMapping",
    "sriovNetSupport",
    "bootMode",
    "tpmSupport",
    "uefiData",
    "lastLaunchedTime",
    "imdsSupport",
    "deregistrationProtection",
];

pub(super) fn describe_image_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let id = call.params.required("ImageId")?.to_owned();
    call.params.required("Attribute")?;
    let attribute = call.params.choice("Attribute", ATTRIBUTES)?.unwrap_or_default();
    call.finish_look()?;
    let permissions = call.world(|world, _| world.launch_permissions(&id))?;
    let request =
        DescribeImages { ids: vec![id.clone()], include_disabled: true, ..DescribeImages::default() };
    let found = call.look(|world| world.describe_images(&request))?.items;
    call.answer("DescribeImageAttribute", |xml| {
        xml.text("imageId", &id);
        match attribute {
            "launchPermission" => xml.list("launchPermission", &permissions, permission),
            "productCodes" => xml.list("productCodes", [(); 0], |_, ()| {}),
            "blockDeviceMapping" => found.iter().for_each(|image| images::mappings(xml, image)),
            other => xml.part(other, |xml| {
                let value = found.first().and_then(|image| match other {
                    "description" => Some(image.description.clone()),
                    "deregistrationProtection" => Some(image.standing.protection().to_owned()),
                    "imdsSupport" => image.standing.imds_support().map(str::to_owned),
                    // An image here has none of the others.
                    _ => None,
                });
                xml.optional("value", value);
            }),
        }
    })
}

pub(super) fn modify_image_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    let params = &call.params;
    let attribute = params.choice("Attribute", &["description", "imdsSupport", "launchPermission"])?;
    let (add, remove) = changed_permissions(params, "LaunchPermission")?;
    let imds = params.part("ImdsSupport").choice("Value", &["v2.0"])?;
    let imds = match attribute {
        Some("imdsSupport") => imds.or(params.choice("Value", &["v2.0"])?),
        _ => imds,
    };
    // An empty description takes it away.
    let description = params.part("Description").possibly_empty("Value");
    let description = match attribute {
        Some("description") => description.or_else(|| params.possibly_empty("Value")),
        _ => description,
    };
    call.finish()?;
    match (description, imds, add.is_empty() && remove.is_empty()) {
        (Some(text), None, true) => call.world(|world, _| world.describe_image_as(&id, text, dry_run))?,
        (None, Some(_), true) => call.world(|world, _| world.require_imdsv2(&id, dry_run))?,
        (None, None, false) => {
            call.world(|world, _| world.modify_launch_permissions(&id, &add, &remove, dry_run))?;
        }
        (None, None, true) => {
            let message = "A call modifies the description, the IMDS support or the launch permissions.";
            return Err(ApiError::new("MissingParameter", message));
        }
        _ => {
            let message = "A call modifies one attribute.";
            return Err(ApiError::new("InvalidParameterCombination", message));
        }
    }
    call.done("ModifyImageAttribute")
}

pub(super) fn reset_image_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    call.params.required("Attribute")?;
    call.params.choice("Attribute", &["launchPermission"])?;
    call.finish()?;
    call.world(|world, _| world.reset_launch_permissions(&id, dry_run))?;
    call.done("ResetImageAttribute")
}

/// Who gets and who loses a permission: in parts, or by `OperationType`, `UserId` and `UserGroup`.
pub(super) fn changed_permissions(
    params: &Params<'_>,
    part: &str,
) -> Result<(Vec<LaunchPermission>, Vec<LaunchPermission>), ApiError> {
    let own = params.part(part);
    let read = |list: &str| own.list(list).iter().map(given).collect::<Result<Vec<_>, ApiError>>();
    let (mut add, mut remove) = (read("Add")?, read("Remove")?);
    let mut old: Vec<_> = params.texts("UserId").into_iter().map(LaunchPermission::User).collect();
    old.extend(params.texts("OrganizationArn").into_iter().map(LaunchPermission::Organization));
    old.extend(params.texts("OrganizationalUnitArn").into_iter().map(LaunchPermission::OrganizationalUnit));
    for group in params.texts("UserGroup") {
        old.push(everybody(&group)?);
    }
    match params.choice("OperationType", &["add", "remove"])? {
        Some("add") => add.extend(old),
        Some(_) => remove.extend(old),
        None if old.is_empty() => {}
        None => return Err(ApiError::new("MissingParameter", "OperationType is needed.")),
    }
    Ok((add, remove))
}

fn everybody(group: &str) -> Result<LaunchPermission, ApiError> {
    match group {
        "all" => Ok(LaunchPermission::All),
        other => Err(ApiError::value(other, "Group", "The only group is all.")),
    }
}

fn target(call: &Call<'_>) -> Result<(String, bool), ApiError> {
    Ok((call.params.required("ImageId")?.to_owned(), call.params.flag("DryRun")?))
}

fn given(params: &Params<'_>) -> Result<LaunchPermission, ApiError> {
    let text = |name: &str| params.text(name).map(str::to_owned);
    if let Some(group) = text("Group") {
        return everybody(&group);
    }
    let named = text("UserId").map(LaunchPermission::User);
    let named = named.or_else(|| text("OrganizationArn").map(LaunchPermission::Organization));
    named
        .or_else(|| text("OrganizationalUnitArn").map(LaunchPermission::OrganizationalUnit))
        .ok_or_else(|| ApiError::new("MissingParameter", "A launch permission names somebody."))
}

pub(super) fn permission(xml: &mut Xml, one: &LaunchPermission) {
    match one {
        LaunchPermission::All => xml.text("group", "all"),
        LaunchPermission::User(id) => xml.text("userId", id),
        LaunchPermission::Organization(arn) => xml.text("organizationArn", arn),
        LaunchPermission::OrganizationalUnit(arn) => xml.text("organizationalUnitArn", arn),
    }
}
