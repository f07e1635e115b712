//! The local cloud's own affairs, under `/_ovenbird/`.

use std::{
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    body::Bytes,
    extract::{FromRequest as _, Request},
    response::{IntoResponse, Response},
};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use ovenbird_core::domain::{
    id::InstanceId,
    tags::{TAG_BAKE, TAG_PIPELINE, TAG_ROLE},
};
use ovenbird_sim::{ApiError, DescribeImages, ImportDisk, InstanceState, Paging};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::json;
use tokio::sync::Notify;

use super::Endpoint;
use crate::{
    balancer::{Counts, Pids},
    deploy::architecture,
    import::{self, Imported},
    machine::Interruption,
    memory,
    operator::{Forward, InstanceStatus, Interrupted, Memory, Status},
    options::Options,
};

/// What the supervisor tells the endpoint of itself, and hears from it.
#[derive(Debug)]
pub struct Control {
    /// How this cloud is to be.
    pub options: Options,
    /// The version of `MiniStack`.
    pub ministack_version: String,
    /// The process of `MiniStack`.
    pub ministack_pid: Option<u32>,
    /// The processes that carry the requests of load balancers.
    pub(crate) balancer_pids: Pids,
    /// What these counted, until `CloudWatch` has it.
    pub(crate) balancer_counts: Counts,
    /// The id of the base image; none while it is being made.
    pub base_image: Option<String>,
    /// Whether everything started. `ovenbird local up` returns when it is set.
    pub ready: AtomicBool,
    /// Told when an operator wants an end.
    pub shutdown: Notify,
}

impl Control {
    /// For a cloud of which nothing has started yet.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            ministack_version: String::new(),
            ministack_pid: None,
            balancer_pids: Pids::default(),
            balancer_counts: Counts::default(),
            base_image: None,
            ready: AtomicBool::new(false),
            shutdown: Notify::new(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForwardRequest {
    instance: InstanceId,
    port: u16,
    /// The port on loopback; none takes a free one.
    #[serde(default)]
    here: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloseRequest {
    instance: InstanceId,
    /// The port in the machine; none closes all of that machine.
    #[serde(default)]
    port: Option<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InterruptRequest {
    instance: InstanceId,
    /// How long after the notice the instance is terminated.
    seconds: u32,
}

/// Answers a request for `/_ovenbird/PATH`.
pub(super) async fn answer(endpoint: &Endpoint, path: &str, request: Request) -> Response {
    let method = request.method().clone();
    match (&method, path) {
        (&Method::GET, "status") => json_answer(&status(endpoint)),
        (&Method::POST, "shutdown") => {
            endpoint.control.shutdown.notify_one();
            json_answer(&json!({}))
        }
        (&Method::POST, "forward") => forward(endpoint, request).await,
        (&Method::POST, "close") => close(endpoint, request).await,
        (&Method::POST, "interrupt") => interrupt(endpoint, request).await,
        (&Method::POST, "import") => adopt(endpoint, request).await,
        _ => (
            StatusCode::NOT_FOUND,
            "no such path: there are status, forward, close, import, interrupt and shutdown\n",
        )
            .into_response(),
    }
}

fn json_answer(value: &impl Serialize) -> Response {
    match serde_json::to_string(value) {
        Ok(text) => ([(http::header::CONTENT_TYPE, "application/json")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// What the body of a request asks for; the answer to one that can't be read.
async fn asked<T: DeserializeOwned>(request: Request) -> Result<T, Response> {
    let body = Bytes::from_request(request, &()).await.map_err(IntoResponse::into_response)?;
    serde_json::from_slice(&body)
        .map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()).into_response())
}

async fn forward(endpoint: &Endpoint, request: Request) -> Response {
    let ForwardRequest { instance, port, here } = match asked(request).await {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    match endpoint.state.hardware().forward(instance.clone(), port, here).await {
        Ok(address) => json_answer(&Forward { instance: instance.to_string(), port, address }),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

async fn close(endpoint: &Endpoint, request: Request) -> Response {
    match asked(request).await {
        Ok(CloseRequest { instance, port }) => json_answer(&endpoint.state.hardware().close(&instance, port)),
        Err(refusal) => refusal,
    }
}

/// A spot instance gets EC2's notice now, and is terminated at the time that the notice names.
///
/// A cloud that goes down meanwhile ends its machines anyway.
async fn interrupt(endpoint: &Endpoint, request: Request) -> Response {
    let InterruptRequest { instance, seconds } = match asked(request).await {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let refused = |why: &str| (StatusCode::CONFLICT, why.to_owned()).into_response();
    let known = endpoint
        .state
        .read(|world| world.instances().find(|one| one.id == instance).map(|one| (one.spot, one.state)));
    match known {
        None => return refused("isn't here"),
        Some((false, _)) => return refused("is no spot instance: EC2 takes back only those"),
        Some((true, InstanceState::Running)) => {}
        Some((true, state)) => return refused(&format!("is {}: it must run", state.as_str())),
    }
    let at = Timestamp::now() + SignedDuration::from_secs(seconds.into());
    if !endpoint.state.hardware().announce(&instance, Interruption { at }) {
        return refused("has such a notice already");
    }
    let (state, taken) = (Arc::clone(&endpoint.state), instance.clone());
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(seconds.into())).await;
        // Who heeded the notice has ended it by now.
        if let Err(error) = state.call(|world, _| world.interrupt_spot(taken.as_str())) {
            tracing::info!("{taken} is not taken back: {error}");
        }
    });
    json_answer(&Interrupted { instance: instance.to_string(), at })
}

/// A root that the operator's command unpacked becomes an image of the account's own.
async fn adopt(endpoint: &Endpoint, request: Request) -> Response {
    let import::Request { name, folder, init } = match asked(request).await {
        Ok(asked) => asked,
        Err(refusal) => return refusal,
    };
    let Some(folder) = import::folder(&endpoint.control.options.home.imports(), &folder) else {
        return (StatusCode::BAD_REQUEST, "a folder of imports has a number for its name").into_response();
    };
    let disk = ImportDisk {
        name: name.clone(),
        description: "A root file system that was imported".to_owned(),
        architecture: architecture().to_owned(),
        bytes: 0,
    };
    // One change: nobody sees an image whose layer is not there.
    let done = endpoint.state.call(|world, now| {
        let (image, snapshot) = world.import_disk(now, &disk)?;
        if let Err(error) = endpoint.state.hardware().adopt(&snapshot, &folder) {
            world.deregister_image(now, image.as_str(), true, false)?;
            return Err(ApiError::new("InternalError", error.to_string()));
        }
        Ok((image.to_string(), snapshot.to_string()))
    });
    match done {
        Ok((image, snapshot)) => json_answer(&Imported { image, name, snapshot, init }),
        Err(error) => (StatusCode::CONFLICT, error.to_string()).into_response(),
    }
}

fn status(endpoint: &Endpoint) -> Status {
    let control = &endpoint.control;
    let everything = endpoint.state.read(|world| {
        let instances = world.describe_instances(Timestamp::now(), &[], &[], &Paging::default())?;
        let own = DescribeImages { owners: vec!["self".into()], ..DescribeImages::default() };
        Ok::<_, ApiError>((instances.items, world.describe_images(&own)?.items.len()))
    });
    let (instances, images) = everything.unwrap_or_default();
    let alive = instances.iter().filter(|instance| instance.state != InstanceState::Terminated);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ministack: control.ministack_version.clone(),
        endpoint: control.options.endpoint(),
        home: control.options.home.root().to_owned(),
        pid: std::process::id(),
        ready: control.ready.load(Ordering::Acquire),
        base_image: control.base_image.clone(),
        instances: alive
            .map(|instance| InstanceStatus {
                instance: instance.id.to_string(),
                state: instance.state.as_str().to_owned(),
                image: instance.image.to_string(),
                address: endpoint.state.hardware().address(&instance.id).map(|address| address.to_string()),
                process: endpoint.state.hardware().process(&instance.id),
                pipeline: instance.tags.get(TAG_PIPELINE).cloned(),
                bake: instance.tags.get(TAG_BAKE).cloned(),
                role: instance.tags.get(TAG_ROLE).or_else(|| instance.tags.get("Name")).cloned(),
            })
            .collect(),
        images,
        forwards: endpoint.state.hardware().forwards(),
        memory: Memory {
            supervisor: memory::mib(&[std::process::id()]),
            ministack: memory::mib(control.ministack_pid.as_slice()),
            functions: memory::mib(&control.ministack_pid.map(memory::below).unwrap_or_default()),
            network: memory::mib(&endpoint.state.hardware().network()),
            balancer: memory::mib(&control.balancer_pids.lock().unwrap_or_else(PoisonError::into_inner)),
        },
    }
}
