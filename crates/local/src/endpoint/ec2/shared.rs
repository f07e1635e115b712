//! What many operations have in common: filters, pages, tags, times.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ovenbird_sim::{ApiError, Disk, Filter, NewVolume, Paging, Tags, time_text};

use crate::endpoint::{query_form::Params, xml_writer::Xml};

/// `Filter.1.Name`, `Filter.1.Value.1`, …
pub(super) fn filters(params: &Params<'_>) -> Result<Vec<Filter>, ApiError> {
    let read = |filter: Params<'_>| {
        Ok(Filter { name: filter.required("Name")?.to_owned(), values: filter.texts("Value") })
    };
    params.list("Filter").into_iter().map(read).collect()
}

/// `MaxResults`, `NextToken`.
pub(super) fn paging(params: &Params<'_>) -> Result<Paging, ApiError> {
    let next_token = params.text("NextToken").map(str::to_owned);
    Ok(Paging { max_results: params.parsed("MaxResults")?, next_token })
}

/// `TagSpecification.1.ResourceType`, `TagSpecification.1.Tag.1.Key`, …
pub(super) fn tag_specifications(params: &Params<'_>) -> Result<BTreeMap<String, Tags>, ApiError> {
    let mut all: BTreeMap<String, Tags> = BTreeMap::new();
    for specification in params.list("TagSpecification") {
        let kind = specification.required("ResourceType")?.to_owned();
        let tags = all.entry(kind).or_default();
        for tag in specification.list("Tag") {
            let key = tag.required("Key")?.to_owned();
            if tags.insert(key.clone(), tag.text("Value").unwrap_or_default().to_owned()).is_some() {
                return Err(ApiError::new(
                    "InvalidParameterValue",
                    format!("Duplicate tag key '{key}' specified."),
                ));
            }
        }
    }
    Ok(all)
}

/// What is asked of a device's volume: the part `Ebs` of a mapping.
pub(super) fn new_volume(ebs: &Params<'_>) -> Result<NewVolume, ApiError> {
    // A local disk is as fast as its host's.
    let _ = ebs.parsed::<u32>("Throughput")?;
    Ok(NewVolume {
        size: ebs.parsed("VolumeSize")?,
        kind: ebs.text("VolumeType").map(str::to_owned),
        iops: ebs.parsed("Iops")?,
        encrypted: ebs.parsed("Encrypted")?,
        kms_key: ebs.text("KmsKeyId").map(str::to_owned),
        delete_on_termination: ebs.parsed("DeleteOnTermination")?,
    })
}

/// The token of the next page, if there is one.
pub(super) fn next_token(xml: &mut Xml, token: Option<&String>) {
    xml.optional("nextToken", token);
}

/// A time as EC2 writes it.
pub(super) fn time(time: Timestamp) -> String {
    time_text(time)
}

/// What a volume is, as volumes and the devices of images show it.
pub(super) fn disk(xml: &mut Xml, disk: &Disk) {
    xml.text("volumeType", &disk.kind);
    xml.optional("iops", disk.iops);
    encryption(xml, disk.kms_key.as_ref());
}

/// Whether a volume or snapshot is encrypted, and with which key.
pub(super) fn encryption(xml: &mut Xml, key: Option<&String>) {
    xml.text("encrypted", key.is_some());
    xml.optional("kmsKeyId", key);
}
