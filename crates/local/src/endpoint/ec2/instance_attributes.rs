//! Instances after their launch: their attributes, and reboots.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ovenbird_sim::{ApiError, Instance, ModifyInstance, ROOT_DEVICE, World};

use super::{Call, instances};
use crate::endpoint::{query_form::Params, xml_writer::Xml};

const ATTRIBUTES: &[&str] = &[
    "instanceType",
    "kernel",
    "ramdisk",
    "userData",
    "disableApiTermination",
    "instanceInitiatedShutdownBehavior",
    "rootDeviceName",
    "blockDeviceMapping",
    "productCodes",
    "sourceDestCheck",
    "groupSet",
    "ebsOptimized",
    "sriovNetSupport",
    "enaSupport",
    "enclaveOptions",
    "disableApiStop",
];

pub(super) fn reboot_instances(call: &Call<'_>) -> Result<String, ApiError> {
    let (ids, dry_run) = (call.params.texts("InstanceId"), call.params.flag("DryRun")?);
    call.finish()?;
    call.world(|world, _| world.reboot_instances(&ids, dry_run))?;
    call.done("RebootInstances")
}

pub(super) fn describe_instance_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let id = call.params.required("InstanceId")?;
    call.params.required("Attribute")?;
    let attribute = call.params.choice("Attribute", ATTRIBUTES)?.unwrap_or_default();
    call.finish_look()?;
    let instance = call.look(|world| world.instance(id).cloned())?;
    call.answer("DescribeInstanceAttribute", |xml| {
        xml.text("instanceId", &instance.id);
        call.look(|world| write(xml, attribute, &instance, world));
    })
}

fn write(xml: &mut Xml, attribute: &str, instance: &Instance, world: &World) {
    let value = |xml: &mut Xml, text: &dyn std::fmt::Display| {
        xml.part(attribute, |xml| xml.text("value", text));
    };
    match attribute {
        "instanceType" => value(xml, &instance.instance_type),
        "userData" => xml.part("userData", |xml| {
            xml.optional("value", instance.user_data.as_ref().map(|data| STANDARD.encode(data)));
        }),
        "disableApiTermination" => value(xml, &instance.no_termination),
        "disableApiStop" => value(xml, &instance.no_stop),
        "instanceInitiatedShutdownBehavior" => {
            value(xml, &if instance.terminate_on_shutdown { "terminate" } else { "stop" });
        }
        "rootDeviceName" => value(xml, &ROOT_DEVICE),
        "blockDeviceMapping" => instances::mappings(xml, instance, world),
        "sourceDestCheck" | "enaSupport" => value(xml, &true),
        "ebsOptimized" => value(xml, &false),
        "enclaveOptions" => xml.part("enclaveOptions", |xml| xml.text("enabled", false)),
        "groupSet" => instances::groups(xml, &instance.security_groups, world),
        "productCodes" => xml.list("productCodes", [(); 0], |_, ()| {}),
        // An instance here has none of the others.
        other => xml.part(other, |_| {}),
    }
}

pub(super) fn modify_instance_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let id = params.required("InstanceId")?.to_owned();
    let mut change = ModifyInstance { dry_run: params.flag("DryRun")?, ..ModifyInstance::default() };
    let mut changes = 0;
    let text = |name: &str| params.part(name).text("Value");
    if let Some(kind) = text("InstanceType") {
        (change.instance_type, changes) = (Some(kind.to_owned()), changes + 1);
    }
    // An empty value takes the user data away.
    if let Some(data) = params.part("UserData").possibly_empty("Value") {
        (change.user_data, changes) = (Some(decoded(data)?), changes + 1);
    }
    if let Some(behavior) = text("InstanceInitiatedShutdownBehavior") {
        (change.shutdown_behavior, changes) = (Some(behavior.to_owned()), changes + 1);
    }
    if let Some(no) = params.part("DisableApiTermination").parsed("Value")? {
        (change.no_termination, changes) = (Some(no), changes + 1);
    }
    if let Some(no) = params.part("DisableApiStop").parsed("Value")? {
        (change.no_stop, changes) = (Some(no), changes + 1);
    }
    let groups = params.texts("GroupId");
    if !groups.is_empty() {
        (change.security_groups, changes) = (Some(groups), changes + 1);
    }
    let devices = params.list("BlockDeviceMapping");
    if !devices.is_empty() {
        for device in devices {
            let goes = device.part("Ebs").parsed("DeleteOnTermination")?;
            let missing = || ApiError::new("MissingParameter", "Ebs.DeleteOnTermination is needed.");
            change
                .delete_on_termination
                .insert(device.required("DeviceName")?.to_owned(), goes.ok_or_else(missing)?);
        }
        changes += 1;
    }
    if let Some(attribute) = params.text("Attribute") {
        old_form(&mut change, attribute, params)?;
        changes += 1;
    }
    changes += fixed(params)?;
    call.finish()?;
    if changes != 1 {
        let message = "Exactly one attribute is modified by a call.";
        let code = if changes == 0 { "MissingParameter" } else { "InvalidParameterCombination" };
        return Err(ApiError::new(code, message));
    }
    call.world(|world, _| world.modify_instance(&id, &change))?;
    call.done("ModifyInstanceAttribute")
}

/// `Attribute` and `Value`, as older clients write them.
fn old_form(change: &mut ModifyInstance, attribute: &str, params: &Params<'_>) -> Result<(), ApiError> {
    let value = params.possibly_empty("Value");
    let missing = || ApiError::new("MissingParameter", "The request must contain the parameter Value");
    let value = value.ok_or_else(missing)?;
    let flag = || value.parse::<bool>().map_err(|_| ApiError::value(value, "Value", "Use true or false."));
    match attribute {
        "instanceType" => change.instance_type = Some(value.to_owned()),
        "userData" => change.user_data = Some(decoded(value)?),
        "instanceInitiatedShutdownBehavior" => change.shutdown_behavior = Some(value.to_owned()),
        "disableApiTermination" => change.no_termination = Some(flag()?),
        "disableApiStop" => change.no_stop = Some(flag()?),
        other => return Err(ApiError::value(other, "Attribute", "It can't be modified here.")),
    }
    Ok(())
}

/// Attributes that have one value here: to set that one is to change nothing.
fn fixed(params: &Params<'_>) -> Result<usize, ApiError> {
    let mut changes = 0;
    for (attribute, only) in [("SourceDestCheck", true), ("EnaSupport", true), ("EbsOptimized", false)] {
        match params.part(attribute).parsed::<bool>("Value")? {
            None => {}
            Some(value) if value == only => changes += 1,
            Some(value) => {
                let problem = format!("Here it is always {only}.");
                return Err(ApiError::value(&value.to_string(), attribute, &problem));
            }
        }
    }
    Ok(changes)
}

fn decoded(text: &str) -> Result<Vec<u8>, ApiError> {
    let malformed = |_| ApiError::new("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data.");
    STANDARD.decode(text).map_err(malformed)
}

pub(super) fn reset_instance_attribute(call: &Call<'_>) -> Result<String, ApiError> {
    let (id, dry_run) = (call.params.required("InstanceId")?, call.params.flag("DryRun")?);
    call.params.required("Attribute")?;
    let attribute = call.params.choice("Attribute", ATTRIBUTES)?.unwrap_or_default();
    call.finish()?;
    // It is on already, always.
    if attribute != "sourceDestCheck" {
        return Err(ApiError::value(attribute, "Attribute", "Only sourceDestCheck can be reset here."));
    }
    let nothing = ModifyInstance { dry_run, ..ModifyInstance::default() };
    call.world(|world, _| world.modify_instance(id, &nothing))?;
    call.done("ResetInstanceAttribute")
}
