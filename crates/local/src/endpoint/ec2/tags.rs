//! Tags: set, remove, look.

use ovenbird_sim::{ApiError, Tags};

use super::{
    Call,
    shared::{filters, next_token, paging},
};

pub(super) fn create_tags(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (resources, dry_run) = (resources(call)?, params.flag("DryRun")?);
    let mut tags = Tags::new();
    for tag in params.list("Tag") {
        tags.insert(tag.required("Key")?.to_owned(), tag.text("Value").unwrap_or_default().to_owned());
    }
    if tags.is_empty() {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter Tag"));
    }
    call.finish()?;
    call.world(|world, _| world.create_tags(&resources, &tags, dry_run))?;
    call.done("CreateTags")
}

pub(super) fn delete_tags(call: &Call<'_>) -> Result<String, ApiError> {
    let params = &call.params;
    let (resources, dry_run) = (resources(call)?, params.flag("DryRun")?);
    let mut tags = Vec::new();
    for tag in params.list("Tag") {
        tags.push((tag.required("Key")?.to_owned(), tag.possibly_empty("Value").map(str::to_owned)));
    }
    call.finish()?;
    call.world(|world, _| world.delete_tags(&resources, &tags, dry_run))?;
    call.done("DeleteTags")
}

fn resources(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let resources = call.params.texts("ResourceId");
    if resources.is_empty() {
        return Err(ApiError::new("MissingParameter", "The request must contain the parameter ResourceId"));
    }
    Ok(resources)
}

pub(super) fn describe_tags(call: &Call<'_>) -> Result<String, ApiError> {
    let (filters, paging) = (filters(&call.params)?, paging(&call.params)?);
    call.finish_look()?;
    let page = call.look(|world| world.describe_tags(&filters, &paging))?;
    call.answer("DescribeTags", |xml| {
        xml.list("tagSet", &page.items, |xml, tag| {
            xml.text("resourceId", &tag.resource);
            xml.text("resourceType", tag.kind);
            xml.text("key", &tag.key);
            xml.text("value", &tag.value);
        });
        next_token(xml, page.next_token.as_ref());
    })
}
