//! Parameters: public ones are ours, those that hold an image are checked; `MiniStack` keeps them.

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use ovenbird_sim::{DescribeImages, Filter};
use serde_json::{Value, json};

use super::{again, reply};
use crate::{deploy::REGION, endpoint::Endpoint};

/// Answers `GetParameter`, `GetParameters` or `PutParameter`.
pub(super) async fn answer(endpoint: &Endpoint, operation: &str, parts: Parts, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap_or_default();
    match operation {
        "GetParameter" => match asked["Name"].as_str().and_then(|name| public(endpoint, name)) {
            Some(parameter) => reply(StatusCode::OK, &json!({"Parameter": parameter})),
            None => endpoint.pass_on(again(parts, body)).await,
        },
        "GetParameters" => get_parameters(endpoint, &asked, parts).await,
        _ => put_parameter(endpoint, &asked, parts, body).await,
    }
}

/// A parameter that AWS gives to everyone.
fn public(endpoint: &Endpoint, name: &str) -> Option<Value> {
    let value = endpoint.parameters.get(name)?;
    Some(json!({
        "Name": name, "Type": "String", "Value": value, "Version": 1, "DataType": "aws:ec2:image",
        "LastModifiedDate": 0, "ARN": format!("arn:aws:ssm:{REGION}::parameter{name}"),
    }))
}

async fn get_parameters(endpoint: &Endpoint, asked: &Value, parts: Parts) -> Response {
    let names: Vec<&str> =
        asked["Names"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let ours: Vec<Value> = names.iter().filter_map(|name| public(endpoint, name)).collect();
    let theirs: Vec<&str> =
        names.into_iter().filter(|name| !endpoint.parameters.contains_key(*name)).collect();
    if theirs.is_empty() && !ours.is_empty() {
        return reply(StatusCode::OK, &json!({"Parameters": ours, "InvalidParameters": []}));
    }
    let mut rest = asked.clone();
    rest["Names"] = json!(theirs);
    let answer = endpoint.pass_on(rewritten(parts, &rest)).await;
    if ours.is_empty() || !answer.status().is_success() {
        return answer;
    }
    let Ok(body) = answer.into_body().collect().await else {
        return reply(StatusCode::SERVICE_UNAVAILABLE, &json!({"__type": "InternalServerError"}));
    };
    let mut merged: Value = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
    if let Some(parameters) = merged["Parameters"].as_array_mut() {
        parameters.extend(ours);
    }
    reply(StatusCode::OK, &merged)
}

/// The value of a parameter, or none.
pub(in crate::endpoint) async fn value(endpoint: &Endpoint, name: &str) -> Option<String> {
    look_up(endpoint, name).await.flatten()
}

/// The value of a parameter, if there is one; nothing at all when nobody can tell.
pub(in crate::endpoint) async fn look_up(endpoint: &Endpoint, name: &str) -> Option<Option<String>> {
    if let Some(value) = endpoint.parameters.get(name) {
        return Some(Some(value.clone()));
    }
    let asked = Request::post("/")
        .header("x-amz-target", "AmazonSSM.GetParameter")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
    let asked = asked.body(Body::from(json!({"Name": name}).to_string())).ok()?;
    let body = endpoint.pass_on(asked).await.into_body().collect().await.ok()?;
    let answer: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
    match answer["Parameter"]["Value"].as_str() {
        Some(value) => Some(Some(value.to_owned())),
        None => {
            let code = answer["__type"].as_str().unwrap_or_default();
            ["ParameterNotFound", "ParameterVersionNotFound"]
                .iter()
                .any(|absent| code.ends_with(absent))
                .then_some(None)
        }
    }
}

/// Every parameter of the account with its value; none when they can't be read.
pub(in crate::endpoint) async fn all(endpoint: &Endpoint) -> Option<Vec<(String, String)>> {
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let mut asked = json!({"Path": "/", "Recursive": true});
        if let Some(token) = token {
            asked["NextToken"] = token;
        }
        let request = Request::post("/")
            .header("x-amz-target", "AmazonSSM.GetParametersByPath")
            .header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
        let answer = endpoint.pass_on(request.body(Body::from(asked.to_string())).ok()?).await;
        if !answer.status().is_success() {
            return None;
        }
        let answer: Value =
            serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()?;
        let text = |one: &Value, field: &str| one[field].as_str().map(str::to_owned);
        found.extend(
            answer["Parameters"]
                .as_array()?
                .iter()
                .filter_map(|one| Some((text(one, "Name")?, text(one, "Value")?))),
        );
        match answer.get("NextToken").filter(|token| !token.is_null()) {
            Some(next) => token = Some(next.clone()),
            None => return Some(found),
        }
    }
}

fn rewritten(mut parts: Parts, body: &Value) -> Request {
    let text = body.to_string();
    parts.headers.insert(header::CONTENT_LENGTH, text.len().into());
    Request::from_parts(parts, Body::from(text))
}

/// AWS answers 200 before it looks whether the image is there, and forgets the value if it isn't. So do we: whoever
/// doesn't read back what was written doesn't know.
async fn put_parameter(endpoint: &Endpoint, asked: &Value, parts: Parts, body: Bytes) -> Response {
    let image = asked["Value"].as_str().unwrap_or_default();
    if asked["DataType"] != "aws:ec2:image" || is_available(endpoint, image) {
        return endpoint.pass_on(again(parts, body)).await;
    }
    tracing::warn!("parameter {} keeps its value: {image} is no available image", asked["Name"]);
    reply(StatusCode::OK, &json!({"Version": 1, "Tier": "Standard"}))
}

fn is_available(endpoint: &Endpoint, image: &str) -> bool {
    let available = Filter { name: "state".into(), values: vec!["available".into()] };
    let request =
        DescribeImages { ids: vec![image.to_owned()], filters: vec![available], ..DescribeImages::default() };
    endpoint.state.read(|world| world.describe_images(&request)).is_ok_and(|page| !page.items.is_empty())
}
