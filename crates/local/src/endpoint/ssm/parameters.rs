//! Parameters: public ones are ours, those that hold an image are checked; `MiniStack` keeps them.

use std::collections::BTreeMap;

use axum::{
    body::{Body, Bytes},
    extract::Request,
    response::Response,
};
use http::{StatusCode, header, request::Parts};
use http_body_util::BodyExt as _;
use ovenbird_sim::{ApiError, DescribeImages, Filter, ImageParameters, Validation};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{again, refuse, reply};
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

/// The image that `resolve:ssm:` and a parameter's name stand for; the name may have a version or a label behind a colon.
///
/// # Errors
/// EC2's refusal when there is none, or when the parameter is of another data type.
pub(in crate::endpoint) async fn image(endpoint: &Endpoint, name: &str) -> Result<String, ApiError> {
    let refuse = |why: &str| {
        let message = format!("Value ({name}) for parameter ImageId is invalid. {why}");
        ApiError::new("InvalidParameterValue", message)
    };
    match find(endpoint, name).await {
        Some(Some(found)) if found.is_image => Ok(found.value),
        Some(Some(_)) => Err(refuse("The parameter is not of data type aws:ec2:image")),
        Some(None) | None => Err(refuse("No such parameter")),
    }
}

/// The image of a parameter, if there is one; nothing at all when nobody can tell.
pub(in crate::endpoint) async fn look_up(endpoint: &Endpoint, name: &str) -> Option<Option<String>> {
    let found = find(endpoint, name).await?;
    Some(found.filter(|one| one.is_image).map(|one| one.value))
}

/// A parameter as `MiniStack` has it.
struct Found {
    value: String,
    is_image: bool,
    version: u64,
}

/// A parameter, if there is one; nothing at all when nobody can tell.
async fn find(endpoint: &Endpoint, name: &str) -> Option<Option<Found>> {
    if let Some(value) = endpoint.parameters.get(name) {
        return Some(Some(Found { value: value.clone(), is_image: true, version: 1 }));
    }
    settle(endpoint).await;
    kept(endpoint, name).await
}

/// The same of what `MiniStack` keeps.
async fn kept(endpoint: &Endpoint, name: &str) -> Option<Option<Found>> {
    let answer = endpoint.pass_on(request("GetParameter", &json!({"Name": name}))?).await;
    let body = answer.into_body().collect().await.ok()?;
    let answer: Value = serde_json::from_slice(&body.to_bytes()).ok()?;
    let parameter = &answer["Parameter"];
    match parameter["Value"].as_str() {
        Some(value) => Some(Some(Found {
            value: value.to_owned(),
            is_image: parameter["DataType"] == IMAGE,
            version: parameter["Version"].as_u64().unwrap_or(1),
        })),
        None => {
            let code = answer["__type"].as_str().unwrap_or_default();
            ["ParameterNotFound", "ParameterVersionNotFound"]
                .iter()
                .any(|absent| code.ends_with(absent))
                .then_some(None)
        }
    }
}

fn request(operation: &str, body: &Value) -> Option<Request> {
    let request = Request::post("/")
        .header("x-amz-target", format!("AmazonSSM.{operation}"))
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.1");
    request.body(Body::from(body.to_string())).ok()
}

/// Every parameter of the account with its value; none when they can't be read.
pub(in crate::endpoint) async fn all(endpoint: &Endpoint) -> Option<Vec<(String, String)>> {
    settle(endpoint).await;
    let (mut found, mut token) = (Vec::new(), None);
    loop {
        let mut asked = json!({"Path": "/", "Recursive": true});
        if let Some(token) = token {
            asked["NextToken"] = token;
        }
        let answer = endpoint.pass_on(request("GetParametersByPath", &asked)?).await;
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

/// What AWS calls parameters that hold an image.
const IMAGE: &str = "aws:ec2:image";

/// Writes of parameters that hold an image, until they are validated and `MiniStack` has them. A supervisor that ends in
/// between forgets them: nobody is told of that, as of any value that is found wrong.
#[derive(Debug)]
pub struct Writes(Mutex<Validating>);

#[derive(Debug)]
struct Validating {
    parameters: ImageParameters,
    /// The requests, by the parameter's name.
    requests: BTreeMap<String, Value>,
}

impl Writes {
    /// None yet.
    pub fn new(validation: Validation) -> Self {
        Self(Mutex::new(Validating {
            parameters: ImageParameters::new(validation),
            requests: BTreeMap::new(),
        }))
    }
}

/// Gives `MiniStack` the writes that are valid by now.
pub(super) async fn settle(endpoint: &Endpoint) {
    let mut writes = endpoint.writes.0.lock().await;
    let Validating { parameters, requests } = &mut *writes;
    for (name, _) in parameters.take_valid(endpoint.gate.clock.now(), |image| is_available(endpoint, image)) {
        let Some(request) = requests.remove(&name).and_then(|asked| request("PutParameter", &asked)) else {
            continue;
        };
        // Under the lock: what is asked after this finds it there, and no other write comes between.
        let answer = endpoint.pass_on(request).await;
        if !answer.status().is_success() {
            tracing::warn!("parameter {name} keeps its value: MiniStack refused the new one");
        }
    }
    let dropped: Vec<String> =
        requests.keys().filter(|name| !parameters.is_validating(name)).cloned().collect();
    for name in dropped {
        requests.remove(&name);
        tracing::warn!("parameter {name} keeps its value: what was written is no available image");
    }
}

/// AWS answers 200 before it looks whether the image is there, refuses another write meanwhile, and forgets the value if the
/// image isn't. So do we: whoever doesn't read back what was written doesn't know.
async fn put_parameter(endpoint: &Endpoint, asked: &Value, parts: Parts, body: Bytes) -> Response {
    let (name, value) = (asked["Name"].as_str().unwrap_or_default(), &asked["Value"]);
    let there = kept(endpoint, name).await.flatten();
    let asks_for_image = asked["DataType"] == IMAGE;
    let changes_type = there.as_ref().is_some_and(|one| one.is_image != asks_for_image);
    // Who says nothing of the data type of a parameter that is there leaves it as it is.
    if changes_type && asked.get("DataType").is_some() && asked["Overwrite"] == true {
        return refuse(&ApiError::new(
            "ValidationException",
            format!("The data type of parameter {name} can't be changed to or from {IMAGE}"),
        ));
    }
    let keeps_type = asked.get("DataType").is_none() && there.as_ref().is_some_and(|one| one.is_image);
    let is_refused = there.is_some() && asked["Overwrite"] != true;
    if !(asks_for_image || keeps_type) || is_refused {
        return endpoint.pass_on(again(parts, body)).await;
    }
    let version = there.map_or(1, |one| one.version + 1);
    {
        let mut writes = endpoint.writes.0.lock().await;
        let now = endpoint.gate.clock.now();
        if let Err(refusal) = writes.parameters.put(now, name, value.as_str().unwrap_or_default()) {
            return refuse(&refusal);
        }
        let mut request = asked.clone();
        request["DataType"] = json!(IMAGE);
        writes.requests.insert(name.to_owned(), request);
    }
    settle(endpoint).await;
    reply(StatusCode::OK, &json!({"Version": version, "Tier": "Standard"}))
}

fn is_available(endpoint: &Endpoint, image: &str) -> bool {
    let available = Filter { name: "state".into(), values: vec!["available".into()] };
    let request =
        DescribeImages { ids: vec![image.to_owned()], filters: vec![available], ..DescribeImages::default() };
    endpoint.state.read(|world| world.describe_images(&request)).is_ok_and(|page| !page.items.is_empty())
}
