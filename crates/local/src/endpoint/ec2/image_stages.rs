//! Images after they were made: deprecated, disabled, protected, shared.

use jiff::Timestamp;
use ovenbird_sim::{ApiError, LaunchPermission};

use super::Call;
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

pub(super) fn protect_image(call: &Call<'_>, protected: bool) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    if call.params.flag("WithCooldown")? {
        let message = "A cooldown isn't there locally: leave WithCooldown out.";
        return Err(ApiError::new("InvalidParameterValue", message));
    }
    call.finish()?;
    call.world(|world, _| world.protect_image(&id, protected, dry_run))?;
    call.done(if protected {
        "EnableImageDeregistrationProtection"
    } else {
        "DisableImageDeregistrationProtection"
    })
}

pub(super) fn describe_image_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let id = call.params.required("ImageId")?.to_owned();
    let attribute = call.params.required("Attribute")?.to_owned();
    call.finish_look()?;
    if attribute != "launchPermission" {
        return Err(ApiError::value(&attribute, "Attribute", "Only launchPermission is here locally."));
    }
    let permissions = call.world(|world, _| world.launch_permissions(&id))?;
    call.answer("DescribeImageAttribute", |xml| {
        xml.text("imageId", &id);
        xml.list("launchPermission", &permissions, permission);
    })
}

pub(super) fn modify_image_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = target(call)?;
    let _ = call.params.text("Attribute");
    let part = call.params.part("LaunchPermission");
    let read = |list: &str| part.list(list).iter().map(given).collect::<Result<Vec<_>, ApiError>>();
    let (add, remove) = (read("Add")?, read("Remove")?);
    call.finish()?;
    call.world(|world, _| world.modify_launch_permissions(&id, &add, &remove, dry_run))?;
    call.done("ModifyImageAttribute")
}

fn target(call: &Call<'_>) -> Result<(String, bool), ApiError> {
    Ok((call.params.required("ImageId")?.to_owned(), call.params.flag("DryRun")?))
}

fn given(params: &Params<'_>) -> Result<LaunchPermission, ApiError> {
    let text = |name: &str| params.text(name).map(str::to_owned);
    if let Some(group) = text("Group") {
        return match group.as_str() {
            "all" => Ok(LaunchPermission::All),
            other => Err(ApiError::value(other, "Group", "The only group is all.")),
        };
    }
    let named = text("UserId").map(LaunchPermission::User);
    let named = named.or_else(|| text("OrganizationArn").map(LaunchPermission::Organization));
    named
        .or_else(|| text("OrganizationalUnitArn").map(LaunchPermission::OrganizationalUnit))
        .ok_or_else(|| ApiError::new("MissingParameter", "A launch permission names somebody."))
}

fn permission(xml: &mut Xml, one: &LaunchPermission) {
    match one {
        LaunchPermission::All => xml.text("group", "all"),
        LaunchPermission::User(id) => xml.text("userId", id),
        LaunchPermission::Organization(arn) => xml.text("organizationArn", arn),
        LaunchPermission::OrganizationalUnit(arn) => xml.text("organizationalUnitArn", arn),
    }
}
