//! Commands: send, look, cancel, and who answers.

use std::collections::BTreeMap;

use ovenbird_sim::{ApiError, Command, CommandStatus, Filter, Invocation, Paging, SendCommand};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{read, seconds};
use crate::endpoint::Endpoint;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Send {
    document_name: String,
    #[serde(default)]
    instance_ids: Vec<String>,
    #[serde(default)]
    targets: Vec<Target>,
    #[serde(default)]
    comment: String,
    #[serde(default)]
    parameters: BTreeMap<String, Vec<String>>,
    // What follows makes no difference here: every command is delivered at once, to every instance.
    #[serde(rename = "DocumentVersion", default)]
    _document_version: Option<String>,
    #[serde(rename = "TimeoutSeconds", default)]
    _timeout_seconds: Option<i64>,
    #[serde(rename = "MaxConcurrency", default)]
    _max_concurrency: Option<String>,
    #[serde(rename = "MaxErrors", default)]
    _max_errors: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Target {
    key: String,
    #[serde(default)]
    values: Vec<String>,
}

pub(super) fn send_command(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let Send { document_name, mut instance_ids, targets, comment, mut parameters, .. } = read(body)?;
    for Target { key, values } in targets {
        if !key.eq_ignore_ascii_case("InstanceIds") {
            return Err(ApiError::new(
                "InvalidTarget",
                format!("Targets by {key} are not served: give instance ids."),
            ));
        }
        instance_ids.extend(values);
    }
    let given = parameters.clone();
    let mut one = |name: &str| parameters.remove(name).and_then(|values| values.into_iter().next());
    let (execution_timeout, working_directory) = (one("executionTimeout"), one("workingDirectory"));
    let commands = parameters.remove("commands").unwrap_or_default();
    if let Some(unknown) = parameters.keys().next() {
        return Err(ApiError::new("InvalidParameters", format!("The document has no parameter {unknown}.")));
    }
    let request = SendCommand {
        document: document_name,
        instances: instance_ids,
        comment,
        commands,
        execution_timeout,
        working_directory,
    };
    let sent = endpoint.state.call(|world, now| world.send_command(now, &request))?;
    let mut answer = command(&sent);
    answer.insert("Parameters".into(), json!(given));
    Ok(json!({"Command": answer}))
}

fn command(command: &Command) -> Map<String, Value> {
    let ended = command.invocations.iter().filter(|one| one.ended.is_some());
    let bad = ended.clone().filter(|one| one.status != CommandStatus::Success).count();
    let instances: Vec<_> = command.invocations.iter().map(|one| one.instance.as_str()).collect();
    let status = command.status().as_str();
    let wait = i64::try_from(command.timeout_seconds).unwrap_or(i64::MAX);
    let value = json!({
        "CommandId": command.id, "DocumentName": command.document, "DocumentVersion": "$DEFAULT",
        "Comment": command.comment, "Status": status, "StatusDetails": status,
        "RequestedDateTime": seconds(command.requested),
        "ExpiresAfter": seconds(command.requested + jiff::SignedDuration::from_secs(wait)),
        "InstanceIds": instances, "Targets": [], "TargetCount": instances.len(),
        "CompletedCount": ended.count(), "ErrorCount": bad, "DeliveryTimedOutCount": 0,
        "MaxConcurrency": "50", "MaxErrors": "0",
    });
    match value {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct GetInvocation {
    command_id: String,
    instance_id: String,
    #[serde(default)]
    plugin_name: Option<String>,
}

/// The name of the one step of `AWS-RunShellScript`.
const PLUGIN: &str = "aws:runShellScript";

pub(super) fn get_command_invocation(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let GetInvocation { command_id, instance_id, plugin_name } = read(body)?;
    if let Some(name) = plugin_name.filter(|name| name != PLUGIN) {
        return Err(ApiError::new("InvalidPluginName", format!("The document has no plugin {name}.")));
    }
    let (command, one) =
        endpoint.state.read(|world| world.get_command_invocation(&command_id, &instance_id))?;
    let status = one.status.as_str();
    Ok(json!({
        "CommandId": command.id, "InstanceId": one.instance, "Comment": command.comment,
        "DocumentName": command.document, "DocumentVersion": "$DEFAULT", "PluginName": PLUGIN,
        "ResponseCode": one.exit, "Status": status, "StatusDetails": status,
        "ExecutionStartDateTime": command.requested.to_string(),
        "ExecutionEndDateTime": one.ended.map(|time| time.to_string()).unwrap_or_default(),
        "StandardOutputContent": one.stdout, "StandardOutputUrl": "",
        "StandardErrorContent": one.stderr, "StandardErrorUrl": "",
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    #[serde(default)]
    command_id: Option<String>,
    #[serde(default)]
    instance_id: Option<String>,
    #[serde(default)]
    details: bool,
    #[serde(default)]
    max_results: Option<i64>,
    #[serde(default)]
    next_token: Option<String>,
}

pub(super) fn list_command_invocations(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let List { command_id, instance_id, details, max_results, next_token } = read(body)?;
    let paging = Paging { max_results, next_token };
    let page = endpoint.state.read(|world| {
        world.list_command_invocations(command_id.as_deref(), instance_id.as_deref(), &paging)
    })?;
    let shown: Vec<_> = page.items.iter().map(|(command, one)| invocation(command, one, details)).collect();
    Ok(paged("CommandInvocations", shown, page.next_token))
}

fn invocation(command: &Command, one: &Invocation, details: bool) -> Value {
    let status = one.status.as_str();
    let plugin = json!({
        "Name": PLUGIN, "Status": status, "StatusDetails": status, "ResponseCode": one.exit,
        "Output": format!("{}{}", one.stdout, one.stderr).chars().take(2500).collect::<String>(),
    });
    json!({
        "CommandId": command.id, "InstanceId": one.instance, "InstanceName": "", "Comment": command.comment,
        "DocumentName": command.document, "DocumentVersion": "$DEFAULT",
        "RequestedDateTime": seconds(command.requested), "Status": status, "StatusDetails": status,
        "CommandPlugins": if details { vec![plugin] } else { Vec::new() },
    })
}

pub(super) fn list_commands(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let List { command_id, instance_id, max_results, next_token, .. } = read(body)?;
    let paging = Paging { max_results, next_token };
    let page = endpoint
        .state
        .read(|world| world.list_commands(command_id.as_deref(), instance_id.as_deref(), &paging))?;
    Ok(paged("Commands", page.items.iter().map(|one| Value::Object(command(one))).collect(), page.next_token))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Cancel {
    command_id: String,
    #[serde(default)]
    instance_ids: Vec<String>,
}

pub(super) fn cancel_command(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let Cancel { command_id, instance_ids } = read(body)?;
    endpoint.state.call(|world, _| world.cancel_command(&command_id, &instance_ids))?;
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Information {
    #[serde(default)]
    filters: Vec<Target>,
    #[serde(default)]
    instance_information_filter_list: Vec<OldFilter>,
    #[serde(default)]
    max_results: Option<i64>,
    #[serde(default)]
    next_token: Option<String>,
}

/// The older of SSM's two ways to write a filter.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OldFilter {
    key: String,
    value_set: Vec<String>,
}

pub(super) fn describe_instance_information(endpoint: &Endpoint, body: &[u8]) -> Result<Value, ApiError> {
    let Information { filters, instance_information_filter_list, max_results, next_token } = read(body)?;
    let old = instance_information_filter_list
        .into_iter()
        .map(|one| Filter { name: one.key, values: one.value_set });
    let new = filters.into_iter().map(|one| Filter { name: one.key, values: one.values });
    let filters: Vec<Filter> = new.chain(old).collect();
    let paging = Paging { max_results, next_token };
    let page = endpoint.state.read(|world| world.describe_instance_information(&filters, &paging))?;
    let shown = page.items.iter().map(|one| {
        json!({
            "InstanceId": one.instance, "PingStatus": if one.online { "Online" } else { "ConnectionLost" },
            "LastPingDateTime": seconds(jiff::Timestamp::now()), "RegistrationDate": seconds(one.since),
            "AgentVersion": "3.3.0.0", "IsLatestVersion": true, "PlatformType": "Linux",
            "PlatformName": "Debian GNU/Linux", "PlatformVersion": "12", "ResourceType": "EC2Instance",
            "IPAddress": one.address, "ComputerName": one.instance,
        })
    });
    Ok(paged("InstanceInformationList", shown.collect(), page.next_token))
}

/// A list with the token of its next page, which is absent on the last.
fn paged(name: &str, items: Vec<Value>, next_token: Option<String>) -> Value {
    let mut answer = Map::from_iter([(name.to_owned(), Value::Array(items))]);
    if let Some(token) = next_token {
        answer.insert("NextToken".into(), token.into());
    }
    Value::Object(answer)
}
