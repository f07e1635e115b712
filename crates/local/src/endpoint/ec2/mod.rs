//! EC2's query protocol: a form comes, XML goes.

mod fleets;
mod image_stages;
mod images;
mod instances;
mod launch;
mod network;
mod references;
mod shared;
mod snapshots;
mod tags;
mod templates;
mod volumes;

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use jiff::Timestamp;
use ovenbird_sim::{ApiError, World};

use super::{
    Endpoint,
    query_form::{Form, Params},
    request_id,
    xml_writer::Xml,
};

/// Actions on networks that `MiniStack`'s own EC2 answers; the world mirrors what they make.
const NETWORK: &[&str] = &[
    "AuthorizeSecurityGroupEgress",
    "AuthorizeSecurityGroupIngress",
    "CreateSecurityGroup",
    "DeleteSecurityGroup",
    "DescribeSecurityGroupRules",
    "RevokeSecurityGroupEgress",
    "RevokeSecurityGroupIngress",
];

/// Whether an action is `MiniStack`'s.
pub(super) fn is_passed_on(body: &[u8]) -> bool {
    form_urlencoded::parse(body).any(|(name, value)| name == "Action" && NETWORK.contains(&value.as_ref()))
}

/// Answers a request.
pub(super) async fn answer(endpoint: &Endpoint, body: &[u8]) -> Response {
    let form = Form::parse(body);
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

async fn dispatch(call: &Call<'_>, action: &str) -> Result<String, ApiError> {
    match action {
        "RunInstances" => launch::run_instances(call).await,
        "DescribeInstances" => instances::describe_instances(call),
        "DescribeInstanceStatus" => instances::describe_instance_status(call),
        "StopInstances" => instances::stop_instances(call),
        "StartInstances" => instances::start_instances(call),
        "TerminateInstances" => instances::terminate_instances(call),
        "GetConsoleOutput" => instances::get_console_output(call),
        "DescribeVolumes" => volumes::describe_volumes(call),
        "DeleteVolume" => volumes::delete_volume(call),
        "CreateImage" => images::create_image(call),
        "RegisterImage" => images::register_image(call),
        "DescribeImages" => images::describe_images(call),
        "DescribeImageReferences" => references::describe_image_references(call).await,
        "DeregisterImage" => images::deregister_image(call),
        "EnableImageDeprecation" => image_stages::enable_image_deprecation(call),
        "DisableImageDeprecation" => image_stages::disable_image_deprecation(call),
        "DisableImage" => image_stages::disable_image(call),
        "EnableImage" => image_stages::enable_image(call),
        "EnableImageDeregistrationProtection" => image_stages::protect_image(call, true),
        "DisableImageDeregistrationProtection" => image_stages::protect_image(call, false),
        "DescribeImageAttribute" => image_stages::describe_image_attribute(call),
        "ModifyImageAttribute" => image_stages::modify_image_attribute(call),
        "DescribeFleets" => fleets::describe_fleets(call),
        "DescribeSpotFleetRequests" => fleets::describe_spot_fleet_requests(call),
        "DescribeSnapshots" => snapshots::describe_snapshots(call),
        "DeleteSnapshot" => snapshots::delete_snapshot(call),
        "CreateTags" => tags::create_tags(call),
        "DeleteTags" => tags::delete_tags(call),
        "DescribeTags" => tags::describe_tags(call),
        "CreateLaunchTemplate" => templates::create_launch_template(call),
        "CreateLaunchTemplateVersion" => templates::create_launch_template_version(call),
        "ModifyLaunchTemplate" => templates::modify_launch_template(call),
        "DeleteLaunchTemplate" => templates::delete_launch_template(call),
        "DeleteLaunchTemplateVersions" => templates::delete_launch_template_versions(call),
        "DescribeLaunchTemplates" => templates::describe_launch_templates(call),
        "DescribeLaunchTemplateVersions" => templates::describe_launch_template_versions(call).await,
        "DescribeRegions" => network::describe_regions(call),
        "DescribeAvailabilityZones" => network::describe_availability_zones(call),
        "DescribeVpcs" => network::describe_vpcs(call),
        "DescribeSubnets" => network::describe_subnets(call),
        "DescribeSecurityGroups" => network::describe_security_groups(call).await,
        "" => Err(ApiError::new("MissingAction", "The request must contain the parameter Action")),
        _ => Err(ApiError::new(
            "InvalidAction",
            format!("The action {action} is not valid for this web service."),
        )),
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
