//! The Recycle Bin's own service: its retention rules, as JSON over REST.

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request},
    response::{IntoResponse as _, Response},
};
use http::{HeaderName, Method, StatusCode, header};
use ovenbird_sim::{ApiError, BinKind, BinRule, BinTag};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{Endpoint, request_id};

/// The operations that there are.
pub(super) const OPERATIONS: &[&str] = &["CreateRule", "DeleteRule", "GetRule", "ListRules"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct CreateRule {
    retention_period: RetentionPeriod,
    resource_type: BinKind,
    #[serde(default)]
    description: String,
    #[serde(default)]
    resource_tags: Vec<BinTag>,
    #[serde(default)]
    exclude_resource_tags: Vec<BinTag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RetentionPeriod {
    retention_period_value: u16,
    retention_period_unit: Unit,
}

#[derive(Debug, Deserialize)]
enum Unit {
    #[serde(rename = "DAYS")]
    Days,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ListRules {
    resource_type: BinKind,
    // All there are fit on a page.
    #[serde(default, rename = "MaxResults")]
    _most: Option<u16>,
}

/// Answers a request by its method and path.
pub(super) async fn answer(endpoint: &Endpoint, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let body = match Bytes::from_request(request, &()).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_response(),
    };
    let (operation, result) = match (&method, path.strip_prefix("/rules/")) {
        (&Method::POST, None) if path == "/rules" => ("CreateRule", create(endpoint, &body)),
        (&Method::POST, None) if path == "/list-rules" => ("ListRules", list(endpoint, &body)),
        (&Method::GET, Some(id)) => ("GetRule", get(endpoint, id)),
        (&Method::DELETE, Some(id)) => {
            ("DeleteRule", endpoint.state.call(|world, _| world.delete_bin_rule(id)).map(|()| json!({})))
        }
        _ => {
            let known = OPERATIONS.join(", ");
            let message = format!("{method} {path} is none of the operations that there are here: {known}");
            ("?", Err(ApiError::new("UnknownOperationException", message)))
        }
    };
    match &result {
        Ok(_) => tracing::info!("rbin:{operation}"),
        Err(error) => tracing::info!("rbin:{operation}: {error}"),
    }
    let (status, code, value) = match result {
        Ok(value) => {
            let status = match operation {
                "CreateRule" => StatusCode::CREATED,
                "DeleteRule" => StatusCode::NO_CONTENT,
                _ => StatusCode::OK,
            };
            (status, "", value)
        }
        Err(error) => {
            let missing = error.code == "ResourceNotFoundException";
            let status = if missing { StatusCode::NOT_FOUND } else { StatusCode::BAD_REQUEST };
            (status, error.code, json!({"Message": error.message}))
        }
    };
    let headers = [
        (header::CONTENT_TYPE, "application/json".to_owned()),
        (HeaderName::from_static("x-amzn-requestid"), request_id()),
        (HeaderName::from_static("x-amzn-errortype"), code.to_owned()),
    ];
    let body = if status == StatusCode::NO_CONTENT { String::new() } else { value.to_string() };
    // Without an error there is none of the third.
    let headers = headers.into_iter().filter(|(_, value)| !value.is_empty());
    let mut response = (status, body).into_response();
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn create(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let CreateRule { retention_period, resource_type, description, resource_tags, exclude_resource_tags } =
        read(body)?;
    let RetentionPeriod { retention_period_value: days, retention_period_unit: Unit::Days } =
        retention_period;
    let rule = BinRule {
        id: String::new(),
        kind: resource_type,
        days,
        description,
        tags: resource_tags,
        excluded: exclude_resource_tags,
    };
    endpoint.state.call(|world, _| world.create_bin_rule(rule)).map(|rule| shown(&rule))
}

fn list(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let ListRules { resource_type, _most } = read(body)?;
    let rules = endpoint.state.read(|world| {
        world.bin_rules().filter(|rule| rule.kind == resource_type).map(shown).collect::<Vec<_>>()
    });
    Ok(json!({"Rules": rules}))
}

fn get(endpoint: &Endpoint, id: &str) -> Result<Value, ApiError> {
    let rule = endpoint.state.read(|world| world.bin_rules().find(|rule| rule.id == id).map(shown));
    rule.ok_or_else(|| ApiError::new("ResourceNotFoundException", format!("There is no rule {id}.")))
}

fn shown(rule: &BinRule) -> Value {
    json!({
        "Identifier": rule.id,
        "RetentionPeriod": {"RetentionPeriodValue": rule.days, "RetentionPeriodUnit": "DAYS"},
        "Description": rule.description,
        "ResourceType": rule.kind,
        "ResourceTags": rule.tags,
        "ExcludeResourceTags": rule.excluded,
        "Status": "available",
    })
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| ApiError::new("ValidationException", error.to_string()))
}
