//! What the functions of the local cloud logged, as `CloudWatch` Logs has it: `MiniStack` answers for that.

use bytes::Bytes;
use http::Request;
use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    auth::{Credentials, signed},
    error::{LocalError, Result},
    http_client::ask,
    options::Options,
};

/// What a function's log group begins with.
const GROUPS: &str = "/aws/lambda/";

/// One line of a function's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogLine {
    /// When it was written.
    pub at: Timestamp,
    /// The line.
    pub line: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Groups {
    log_groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    log_group_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Events {
    events: Vec<Event>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
struct Event {
    timestamp: i64,
    message: String,
}

/// What a function logged since a moment, the oldest first. It is named as the stack names it, or without the stack's name.
pub async fn function_logs(options: &Options, function: &str, since: Timestamp) -> Result<Vec<LogLine>> {
    let groups: Groups = call(options, "DescribeLogGroups", &json!({ "logGroupNamePrefix": GROUPS })).await?;
    let names: Vec<&str> =
        groups.log_groups.iter().filter_map(|group| group.log_group_name.strip_prefix(GROUPS)).collect();
    let whole = format!("{}-{function}", options.stack);
    let Some(name) = names.iter().find(|name| **name == function || **name == whole) else {
        let known = if names.is_empty() { "none has".to_owned() } else { names.join(", ") };
        return Err(LocalError::NoMachine {
            instance: function.to_owned(),
            problem: format!("is no instance, and no function that logged anything; these have: {known}"),
        });
    };
    let mut lines = Vec::new();
    let mut token: Option<String> = None;
    loop {
        let mut body =
            json!({ "logGroupName": format!("{GROUPS}{name}"), "startTime": since.as_millisecond() });
        if let Some(token) = &token {
            body["nextToken"] = json!(token);
        }
        let page: Events = call(options, "FilterLogEvents", &body).await?;
        lines.extend(page.events.into_iter().map(|event| LogLine {
            at: Timestamp::from_millisecond(event.timestamp).unwrap_or_default(),
            line: event.message.trim_end().to_owned(),
        }));
        // The same token again would be asked for ever.
        match page.next_token {
            Some(next) if Some(&next) != token.as_ref() => token = Some(next),
            _ => break,
        }
    }
    lines.sort_by_key(|line| line.at);
    Ok(lines)
}

async fn call<T: DeserializeOwned>(options: &Options, operation: &str, body: &Value) -> Result<T> {
    let request = Request::post(options.endpoint())
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", format!("Logs_20140328.{operation}"))
        .body(Bytes::from(body.to_string()));
    let name = || format!("logs:{operation}");
    let request =
        request.map_err(|source| LocalError::Request { request: name(), source: Box::new(source) })?;
    let bytes = ask(signed(request, "logs", &Credentials::of(&options.home)?)?).await?;
    serde_json::from_slice(&bytes)
        .map_err(|source| LocalError::Corrupt { path: name().into(), source: source.into() })
}
