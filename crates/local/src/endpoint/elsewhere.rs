//! What the model must know of other services, which MiniStack has: the parameters that launch templates take images
//! from, and the alarms that instance refreshes look at.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use http::header;
use http_body_util::BodyExt as _;
use ovenbird_sim::alarms::AlarmState;
use serde_json::{Value, json};

use super::{Endpoint, ssm::parameters};

/// How often groups and refreshes see what changed elsewhere.
const PAUSE: Duration = Duration::from_secs(1);

/// `CloudWatch`'s limit of names in one question.
const MOST_NAMES: usize = 100;

/// From now on the model knows of parameters and alarms that something of it looks at, until the endpoint ends.
pub(crate) fn keep_learning(endpoint: &Arc<Endpoint>) {
    let endpoint: Weak<Endpoint> = Arc::downgrade(endpoint);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let Some(endpoint) = endpoint.upgrade() else { return };
            learn(&endpoint, &[]).await;
        }
    });
}

/// Learns what is so now. What can't be found out stays as it was known.
pub(super) async fn learn(endpoint: &Endpoint, alarms: &[String]) {
    let (parameters, mut names) = endpoint.state.read(|world| {
        let groups = world.auto_scaling_groups().next().is_some();
        let parameters = if groups { world.parameters_in_templates() } else { BTreeSet::new() };
        (parameters, world.watched_alarms())
    });
    names.extend(alarms.iter().cloned());
    for name in &parameters {
        if let Some(value) = parameters::look_up(endpoint, name).await {
            let known = endpoint.state.read(|world| world.image_parameter(name).map(str::to_owned));
            if known != value {
                tell(endpoint, |world| world.set_image_parameter(name, value.as_deref()));
            }
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    for names in names.chunks(MOST_NAMES) {
        let Some(said) = describe(endpoint, names).await else { continue };
        let said: Vec<_> = names.iter().map(|name| (name, one(&said, name))).collect();
        let learned = endpoint.state.call(|world, now| {
            said.iter().try_for_each(|(name, said)| {
                let said =
                    said.as_ref().map(|(composite, state, reason)| (*composite, *state, reason.as_str()));
                world.learn_alarm(now, name, said)
            })
        });
        if let Err(error) = learned {
            tracing::warn!("alarms {names:?}: {error}");
        }
    }
}

fn tell(endpoint: &Endpoint, change: impl FnOnce(&mut ovenbird_sim::World)) {
    let told = endpoint.state.call(|world, _| {
        change(world);
        Ok(())
    });
    // Nothing of it can fail.
    debug_assert!(told.is_ok());
}

/// What `CloudWatch` says of alarms.
async fn describe(endpoint: &Endpoint, names: &[String]) -> Option<Value> {
    let asked = Request::post("/")
        .header("x-amz-target", "GraniteServiceVersion20100801.DescribeAlarms")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.0");
    let body = json!({"AlarmNames": names, "AlarmTypes": ["MetricAlarm", "CompositeAlarm"]});
    let answer = endpoint.pass_on(asked.body(Body::from(body.to_string())).ok()?).await;
    if !answer.status().is_success() {
        return None;
    }
    serde_json::from_slice(&answer.into_body().collect().await.ok()?.to_bytes()).ok()
}

/// An alarm in what `CloudWatch` said: whether it is composite, its state, and why.
fn one(said: &Value, name: &str) -> Option<(bool, AlarmState, String)> {
    [("MetricAlarms", false), ("CompositeAlarms", true)].into_iter().find_map(|(list, composite)| {
        let alarm = said[list].as_array()?.iter().find(|alarm| alarm["AlarmName"] == name)?;
        let state = AlarmState::parse(alarm["StateValue"].as_str()?).ok()?;
        Some((composite, state, alarm["StateReason"].as_str().unwrap_or_default().to_owned()))
    })
}
