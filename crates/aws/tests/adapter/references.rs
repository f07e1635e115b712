//! What names images, out of EC2's own answers. The local cloud has no fleets: these answers are as the API reference has them.

use ovenbird_core::{
    domain::{
        reference::{Kind, Reference},
        template::Pin,
    },
    ports::{Look, References as _},
};

use crate::{artifact::cloud, refusals::ec2};

/// An element.
fn of(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

/// A list, as EC2 writes one.
fn list(name: &str, items: impl IntoIterator<Item = String>) -> String {
    let items: String = items.into_iter().map(|item| of("item", &item)).collect();
    of(name, &items)
}

/// A launch template, by a field of it and its version.
fn template(field: &str, value: &str, version: &str) -> String {
    of("launchTemplateSpecification", &(of(field, value) + &of("version", version)))
}

/// An image's id by its number.
fn ami(number: u8) -> String {
    format!("ami-0000000{number}")
}

/// A fleet in a state, with the images of its overrides; it launches by version 3 of a template.
fn fleet(id: &str, state: &str, overrides: &[&str]) -> String {
    let overrides = overrides.iter().map(|image| of("imageId", image) + &of("instanceType", "c7i.large"));
    let config = template("launchTemplateId", "lt-1", "3") + &list("overrides", overrides);
    of("fleetId", id) + &of("fleetState", state) + &list("launchTemplateConfigs", [config])
}

/// A spot fleet request in a state, with the images of its specifications, or with a template.
fn request(id: &str, state: &str, images: &[&str], templates: &[String]) -> String {
    let specifications = images.iter().map(|image| of("imageId", image));
    let config = list("launchSpecifications", specifications)
        + &list("launchTemplateConfigs", templates.iter().cloned());
    of("spotFleetRequestId", id)
        + &of("spotFleetRequestState", state)
        + &of("spotFleetRequestConfig", &config)
}

/// What was looked at, in the order of ids; how many things that were, and what launches by a version.
fn seen(mut look: Look) -> (usize, Vec<(String, Reference)>, Vec<Pin>) {
    look.named.sort();
    (look.seen, look.named.into_iter().map(|(image, by)| (image.to_string(), by)).collect(), look.pins)
}

fn pin(template: &str, version: u64, by: &str) -> Pin {
    Pin { template: template.to_owned(), version, by: by.to_owned() }
}

/// A parameter's value, as SSM answers; of one that isn't there, nothing.
fn parameters(form: &str) -> (u16, String) {
    let parameter = r#"{"Name": "/blue", "Value": "ami-00000008", "Type": "String"}"#;
    let found = if form.contains("/blue") { parameter } else { "" };
    (200, format!(r#"{{"Parameters": [{found}], "InvalidParameters": []}}"#))
}

#[tokio::test]
async fn a_fleet_names_the_images_of_its_overrides_until_it_is_deleted() {
    let (endpoint, asked) = ec2(|form| {
        let page = |fleets: &[String], more: &str| {
            let fleets = list("fleetSet", fleets.iter().cloned());
            (200, of("DescribeFleetsResponse", &(fleets + more)))
        };
        if !form.contains("Action=DescribeFleets") {
            return parameters(form);
        }
        match form.contains("NextToken=more") {
            false => page(
                &[
                    fleet("fleet-1", "active", &[&ami(1), &ami(2)]),
                    fleet("fleet-2", "deleted", &[&ami(3)]),
                    fleet("fleet-3", "deleted_running", &[&ami(4)]),
                    fleet("fleet-4", "deleted_terminating", &[&ami(5)]),
                ],
                "<nextToken>more</nextToken>",
            ),
            true => page(
                &[
                    fleet("fleet-5", "modifying", &[&ami(6)]),
                    fleet("fleet-6", "submitted", &["resolve:ssm:/blue", "resolve:ssm:/gone"]),
                    fleet("fleet-7", "failed", &[]),
                ],
                "",
            ),
        }
    });
    let (seen, named, pins) = seen(cloud(&endpoint).await.named_by_fleets().await.unwrap());
    assert_eq!(seen, 4, "what is deleted launches nothing");
    let by = |image, id: &str| (ami(image), Reference::new(Kind::Fleet, id));
    let alias = by(8, "fleet-6, by parameter /blue");
    assert_eq!(named, [by(1, "fleet-1"), by(2, "fleet-1"), by(6, "fleet-5"), alias]);
    let pinned: Vec<_> =
        [1, 5, 6, 7].map(|number| pin("lt-1", 3, &format!("EC2 Fleet fleet-{number}"))).into();
    assert_eq!(pins, pinned);
    assert_eq!(asked.lock().unwrap().len(), 3, "two pages, and the parameters at once");
}

#[tokio::test]
async fn a_spot_fleet_request_names_the_images_of_its_specifications_until_it_is_cancelled() {
    let (endpoint, asked) = ec2(|form| {
        let page = |requests: &[String], more: &str| {
            let requests = list("spotFleetRequestConfigSet", requests.iter().cloned());
            (200, of("DescribeSpotFleetRequestsResponse", &(requests + more)))
        };
        if !form.contains("Action=DescribeSpotFleetRequests") {
            return parameters(form);
        }
        let by_name = template("launchTemplateName", "web", "7");
        let newest = template("launchTemplateId", "lt-1", "$Latest");
        match form.contains("NextToken=more") {
            false => page(
                &[
                    request("sfr-1", "active", &[&ami(1), &ami(2)], &[]),
                    request("sfr-2", "cancelled", &[&ami(3)], &[]),
                    request("sfr-3", "cancelled_running", &[&ami(4)], &[]),
                    request("sfr-4", "cancelled_terminating", &[&ami(5)], std::slice::from_ref(&by_name)),
                ],
                "<nextToken>more</nextToken>",
            ),
            true => page(
                &[
                    request("sfr-5", "modifying", &[], &[by_name, newest]),
                    request("sfr-6", "submitted", &["resolve:ssm:/blue"], &[]),
                ],
                "",
            ),
        }
    });
    let (seen, named, pins) = seen(cloud(&endpoint).await.named_by_spot_fleets().await.unwrap());
    assert_eq!(seen, 3, "what is cancelled launches nothing");
    let by = |image, id: &str| (ami(image), Reference::new(Kind::SpotFleet, id));
    assert_eq!(named, [by(1, "sfr-1"), by(2, "sfr-1"), by(8, "sfr-6, by parameter /blue")]);
    // The newest version is nobody's to delete, so nothing needs to be known of who launches by it.
    assert_eq!(pins, [pin("web", 7, "spot fleet request sfr-5")]);
    assert_eq!(asked.lock().unwrap().len(), 3);
}

/// Half a list would say of an image in use that nothing names it.
#[tokio::test]
async fn a_page_that_is_refused_is_an_error_and_no_shorter_list() {
    let (endpoint, _) = ec2(|form| {
        if form.contains("NextToken=more") {
            let error = "<Error><Code>UnauthorizedOperation</Code><Message>no</Message></Error>";
            return (403, format!("<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"));
        }
        let more = "<nextToken>more</nextToken>";
        if form.contains("Action=DescribeFleets") {
            let fleets = list("fleetSet", [fleet("fleet-1", "active", &[&ami(1)])]);
            return (200, of("DescribeFleetsResponse", &(fleets + more)));
        }
        let requests = list("spotFleetRequestConfigSet", [request("sfr-1", "active", &[&ami(1)], &[])]);
        (200, of("DescribeSpotFleetRequestsResponse", &(requests + more)))
    });
    let cloud = cloud(&endpoint).await;
    assert_eq!(cloud.named_by_fleets().await.unwrap_err().name(), "Denied");
    assert_eq!(cloud.named_by_spot_fleets().await.unwrap_err().name(), "Denied");
}
