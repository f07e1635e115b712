//! One parameter of the Parameter Store, decrypted.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::Timestamp;
use ovenbird_core::domain::id::ParameterName;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Tried, imds::Identity, patiently, sigv4};
use crate::curl::{self, Request, Response};

const LIMIT: Duration = Duration::from_secs(20);

/// Reads a parameter.
pub fn parameter(identity: &Identity, endpoint: Option<&str>, name: &ParameterName) -> Result<SecretString> {
    let region = &identity.region;
    let url = endpoint.map_or_else(
        || format!("https://ssm.{region}.{}", identity.domain),
        |endpoint| endpoint.trim_end_matches('/').to_owned(),
    );
    let host = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
    let body = json!({"Name": name, "WithDecryption": true}).to_string();
    let target = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", "AmazonSSM.GetParameter")];
    patiently(|| {
        let post = sigv4::Post {
            host,
            headers: &target,
            body: &body,
            region,
            service: "ssm",
            time: Timestamp::now(),
        };
        let signed = sigv4::sign(&post, &identity.credentials);
        let request = Request {
            url: &format!("{url}/"),
            method: Some("POST"),
            headers: signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            body: Some(&body),
            by_proxy: endpoint.is_none(),
        };
        match curl::ask(&request, LIMIT) {
            Ok(response) => judge(identity, name, &response),
            Err(error) => Ok(Tried::Busy(error.context(format!("ask {url}")))),
        }
    })
}

fn judge(identity: &Identity, name: &ParameterName, response: &Response) -> Result<Tried<SecretString>> {
    let Identity { region, role, .. } = identity;
    // What can't be read is never shown: it may be the secret.
    let answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
    if response.status == 200 {
        let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
        return Ok(Tried::Done(value.context("the Parameter Store's answer has no value")?.into()));
    }
    let code = answer.get("__type").and_then(Value::as_str).unwrap_or_default();
    let code = code.rsplit('#').next().unwrap_or_default();
    let said = answer.get("message").or_else(|| answer.get("Message")).and_then(Value::as_str);
    let problem = format!("{} {code}: {}", response.status, said.unwrap_or("no message"));
    match code {
        "ParameterNotFound" => bail!(
            "there is no such parameter in {region}; make it with \
             `aws ssm put-parameter --type SecureString --name {name} --value …`"
        ),
        "AccessDeniedException" => bail!(
            "the builder's role `{role}` may not read it: allow it `ssm:GetParameter` on this parameter, \
             and `kms:Decrypt` where the parameter has a key of your own ({problem})"
        ),
        "ThrottlingException" => Ok(Tried::Busy(anyhow!(problem))),
        _ if response.status >= 500 || response.status == 429 => Ok(Tried::Busy(anyhow!(problem))),
        _ => bail!(problem),
    }
}
