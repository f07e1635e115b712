//! EC2's query protocol: a form comes, XML goes.

mod copies;
mod fleets;
mod groups;
mod image_stages;
mod images;
mod instance_attributes;
mod instance_types;
mod instances;
mod key_pairs;
mod launch;
mod network;
mod recycle_bin;
mod references;
mod shared;
mod snapshot_locks;
mod snapshots;
mod tags;
mod templates;
mod volumes;

use axum::response::{IntoResponse as _, Response};
use futures::future::BoxFuture;
use http::{StatusCode, header};
use jiff::Timestamp;
use ovenbird_sim::{ApiError, World, security_groups::Direction};

use super::{
    Endpoint,
    query::unknown,
    query_form::{Form, Params},
    request_id,
    xml_writer::Xml,
};

/// Whether a call is `MiniStack`'s to answer.
pub(super) async fn is_passed_on(endpoint: &Endpoint, body: &[u8]) -> bool {
    groups::is_elsewhere(endpoint, body).await
}

/// Answers a request.
pub(super) async fn answer(endpoint: &Endpoint, body: &[u8]) -> Response {
    let form = Form::ec2(body);
    let call = Call { endpoint, form: &form, params: form.root(), request_id: request_id() };
    let action = call.params.text("Action").unwrap_or_default();
    // Every version of the API since is read the same.
    let _ = call.params.text("Version");
    tracing::info!("ec2:{action}");
    match dispatch(&call, action).await {
        Ok(text) => xml(StatusCode::OK, text),
        Err(error) => {
            tracing::info!("ec2:{action}: {error}");
            let status = StatusCode::from_u16(error.http).unwrap_or(StatusCode::BAD_REQUEST);
            xml(status, Xml::error(error.code, &error.message, &call.request_id))
        }
    }
}

fn xml(status: StatusCode, text: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/xml;charset=UTF-8")], text).into_response()
}

/// How an operation is answered.
#[derive(Clone, Copy)]
enum Answer {
    /// From the world alone.
    Now(fn(&Call<'_>) -> Result<String, ApiError>),
    /// After something else was asked.
    Later(for<'a> fn(&'a Call<'_>) -> BoxFuture<'a, Result<String, ApiError>>),
}

use Answer::{Later, Now};

/// Every operation.
const OPERATIONS: &[(&str, Answer)] = &[
    ("AttachVolume", Now(volumes::attach_volume)),
    ("AuthorizeSecurityGroupEgress", Now(|call| groups::authorize(call, Direction::Out))),
    ("AuthorizeSecurityGroupIngress", Now(|call| groups::authorize(call, Direction::In))),
    ("CopyImage", Now(copies::copy_image)),
    ("CopySnapshot", Now(copies::copy_snapshot)),
    ("CreateImage", Now(images::create_image)),
    ("CreateKeyPair", Later(|call| Box::pin(key_pairs::create_key_pair(call)))),
    ("CreateLaunchTemplate", Now(templates::create_launch_template)),
    ("CreateLaunchTemplateVersion", Now(templates::create_launch_template_version)),
    ("CreateSecurityGroup", Later(|call| Box::pin(groups::create_security_group(call)))),
    ("CreateSnapshot", Now(copies::create_snapshot)),
    ("CreateSnapshots", Now(copies::create_snapshots)),
    ("CreateTags", Now(tags::create_tags)),
    ("CreateVolume", Now(volumes::create_volume)),
    ("DeleteKeyPair", Now(key_pairs::delete_key_pair)),
    ("DeleteLaunchTemplate", Now(templates::delete_launch_template)),
    ("DeleteLaunchTemplateVersions", Now(templates::delete_launch_template_versions)),
    ("DeleteSecurityGroup", Now(groups::delete_security_group)),
    ("DeleteSnapshot", Now(snapshots::delete_snapshot)),
    ("DeleteTags", Now(tags::delete_tags)),
    ("DeleteVolume", Now(volumes::delete_volume)),
    ("DeregisterImage", Now(images::deregister_image)),
    ("DescribeAvailabilityZones", Now(network::describe_availability_zones)),
    ("DescribeFleets", Now(fleets::describe_fleets)),
    ("DescribeImageAttribute", Now(image_stages::describe_image_attribute)),
    ("DescribeImageReferences", Later(|call| Box::pin(references::describe_image_references(call)))),
    ("DescribeImages", Now(images::describe_images)),
    ("DescribeInstanceAttribute", Now(instance_attributes::describe_instance_attribute)),
    ("DescribeInstanceStatus", Now(instances::describe_instance_status)),
    ("DescribeInstanceTypeOfferings", Now(instance_types::describe_instance_type_offerings)),
    ("DescribeInstanceTypes", Now(instance_types::describe_instance_types)),
    ("DescribeInstances", Now(instances::describe_instances)),
    ("DescribeKeyPairs", Now(key_pairs::describe_key_pairs)),
    (
        "DescribeLaunchTemplateVersions",
        Later(|call| Box::pin(templates::describe_launch_template_versions(call))),
    ),
    ("DescribeLaunchTemplates", Now(templates::describe_launch_templates)),
    ("DescribeLockedSnapshots", Now(snapshot_locks::describe_locked_snapshots)),
    ("DescribeNetworkInterfaces", Now(instances::describe_network_interfaces)),
    ("DescribeRegions", Now(network::describe_regions)),
    ("DescribeSecurityGroupRules", Later(|call| Box::pin(groups::describe_security_group_rules(call)))),
    ("DescribeSecurityGroups", Later(|call| Box::pin(groups::describe_security_groups(call)))),
    ("DescribeSnapshotAttribute", Now(snapshots::describe_snapshot_attribute)),
    ("DescribeSnapshots", Now(snapshots::describe_snapshots)),
    ("DescribeSpotFleetRequests", Now(fleets::describe_spot_fleet_requests)),
    ("DescribeSubnets", Now(network::describe_subnets)),
    ("DescribeTags", Now(tags::describe_tags)),
    ("DescribeVolumes", Now(volumes::describe_volumes)),
    ("DescribeVpcs", Now(network::describe_vpcs)),
    ("DetachVolume", Now(volumes::detach_volume)),
    ("DisableImage", Now(image_stages::disable_image)),
    ("DisableImageDeprecation", Now(image_stages::disable_image_deprecation)),
    ("DisableImageDeregistrationProtection", Now(image_stages::unprotect_image)),
    ("EnableImage", Now(image_stages::enable_image)),
    ("EnableImageDeprecation", Now(image_stages::enable_image_deprecation)),
    ("EnableImageDeregistrationProtection", Now(image_stages::protect_image)),
    ("GetConsoleOutput", Now(instances::get_console_output)),
    ("ImportKeyPair", Now(key_pairs::import_key_pair)),
    ("ListImagesInRecycleBin", Now(recycle_bin::list_images_in_recycle_bin)),
    ("ListSnapshotsInRecycleBin", Now(recycle_bin::list_snapshots_in_recycle_bin)),
    ("LockSnapshot", Now(snapshot_locks::lock_snapshot)),
    ("ModifyImageAttribute", Now(image_stages::modify_image_attribute)),
    ("ModifyInstanceAttribute", Now(instance_attributes::modify_instance_attribute)),
    ("ModifyLaunchTemplate", Now(templates::modify_launch_template)),
    ("ModifySnapshotAttribute", Now(snapshots::modify_snapshot_attribute)),
    ("RebootInstances", Now(instance_attributes::reboot_instances)),
    ("RegisterImage", Now(images::register_image)),
    ("ResetImageAttribute", Now(image_stages::reset_image_attribute)),
    ("ResetInstanceAttribute", Now(instance_attributes::reset_instance_attribute)),
    ("ResetSnapshotAttribute", Now(snapshots::reset_snapshot_attribute)),
    ("RestoreImageFromRecycleBin", Now(recycle_bin::restore_image_from_recycle_bin)),
    ("RestoreSnapshotFromRecycleBin", Now(recycle_bin::restore_snapshot_from_recycle_bin)),
    ("RevokeSecurityGroupEgress", Now(|call| groups::revoke(call, Direction::Out))),
    ("RevokeSecurityGroupIngress", Now(|call| groups::revoke(call, Direction::In))),
    ("RunInstances", Later(|call| Box::pin(launch::run_instances(call)))),
    ("StartInstances", Now(instances::start_instances)),
    ("StopInstances", Now(instances::stop_instances)),
    ("TerminateInstances", Now(instances::terminate_instances)),
    ("UnlockSnapshot", Now(snapshot_locks::unlock_snapshot)),
];

/// The names of all operations, in order.
pub(super) fn operations() -> Vec<&'static str> {
    OPERATIONS.iter().map(|(name, _)| *name).collect()
}

async fn dispatch(call: &Call<'_>, action: &str) -> Result<String, ApiError> {
    match OPERATIONS.iter().find(|(name, _)| *name == action) {
        Some((_, Now(answer))) => answer(call),
        Some((_, Later(answer))) => answer(call).await,
        None => Err(unknown(action)),
    }
}

/// A request being answered.
struct Call<'a> {
    endpoint: &'a Endpoint,
    form: &'a Form,
    params: Params<'a>,
    request_id: String,
}

impl Call<'_> {
    /// Everything was read that this operation knows: whatever else the form has is refused, before any effect.
    fn finish(&self) -> Result<(), ApiError> {
        self.form.finish()
    }

    /// Like `finish`, for an operation that changes nothing.
    fn finish_look(&self) -> Result<(), ApiError> {
        let dry_run = self.params.flag("DryRun")?;
        self.finish()?;
        if dry_run {
            let message = "Request would have succeeded, but DryRun flag is set.".to_owned();
            return Err(ApiError { code: "DryRunOperation", message, http: 412 });
        }
        Ok(())
    }

    fn look<T>(&self, look: impl FnOnce(&World) -> T) -> T {
        self.endpoint.state.read(look)
    }

    fn world<T>(
        &self,
        operation: impl FnOnce(&mut World, Timestamp) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        self.endpoint.state.call(operation)
    }

    fn answer(&self, action: &str, content: impl FnOnce(&mut Xml)) -> Result<String, ApiError> {
        Ok(Xml::answer(action, &self.request_id, content))
    }

    /// The answer of operations that have nothing to say.
    fn done(&self, action: &str) -> Result<String, ApiError> {
        self.answer(action, |xml| xml.text("return", true))
    }
}
