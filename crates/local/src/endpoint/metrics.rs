//! What load balancers counted, given to `MiniStack`'s `CloudWatch` as Elastic Load Balancing gives it.

use std::{
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use axum::{body::Body, extract::Request};
use http::header;
use serde_json::{Value, json};

use super::Endpoint;
use crate::balancer::Datum;

/// How often it is looked for something new.
const PAUSE: Duration = Duration::from_secs(1);

/// `CloudWatch`'s limit of counts in one call.
const MOST: usize = 1000;

/// From now on `CloudWatch` is given what was counted, until the endpoint ends.
pub(crate) fn keep_publishing(endpoint: &Arc<Endpoint>) {
    let endpoint: Weak<Endpoint> = Arc::downgrade(endpoint);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(PAUSE).await;
            let Some(endpoint) = endpoint.upgrade() else { return };
            publish(&endpoint).await;
        }
    });
}

/// Gives what there is; what is not taken is given again.
async fn publish(endpoint: &Endpoint) {
    let waiting = || endpoint.control.balancer_counts.lock().unwrap_or_else(PoisonError::into_inner);
    let data: Vec<Datum> = {
        let mut waiting = waiting();
        let count = waiting.len().min(MOST);
        waiting.drain(..count).collect()
    };
    if data.is_empty() {
        return;
    }
    let body =
        json!({"Namespace": "AWS/ApplicationELB", "MetricData": data.iter().map(datum).collect::<Vec<_>>()});
    let asked = Request::post("/")
        .header("x-amz-target", "GraniteServiceVersion20100801.PutMetricData")
        .header(header::CONTENT_TYPE, "application/x-amz-json-1.0")
        .body(Body::from(body.to_string()));
    let Ok(asked) = asked else { return };
    let status = endpoint.pass_on(asked).await.status();
    if !status.is_success() {
        tracing::warn!("CloudWatch did not take what load balancers counted: {status}");
        waiting().splice(..0, data);
    }
}

fn datum(datum: &Datum) -> Value {
    let dimension = |name: &str, value: &str| json!({"Name": name, "Value": value});
    let of_group = datum.target_group.as_deref().map(|group| dimension("TargetGroup", group));
    let dimensions: Vec<Value> =
        of_group.into_iter().chain([dimension("LoadBalancer", &datum.balancer)]).collect();
    json!({
        "MetricName": datum.metric,
        "Dimensions": dimensions,
        "Timestamp": datum.at.as_second(),
        "Value": datum.count,
        "Unit": "Count",
    })
}
