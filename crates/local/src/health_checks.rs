//! The health checks of target groups: one HTTP request to a machine's port, from the network that machines are in.

use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::body::Body;
use http::{Request, StatusCode, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use ovenbird_sim::load_balancing::{DueProbe, Seen};

use crate::{hardware::Hardware, state::CloudState};

/// The checks that are under way: the target group, the instance and the target's port of each.
#[derive(Debug, Default)]
pub(crate) struct HealthChecks {
    under_way: Arc<Mutex<BTreeSet<(String, String, u16)>>>,
}

impl HealthChecks {
    /// Begins every check that is due and not yet under way. Each tells the model what it saw.
    pub(crate) fn begin_due(&self, state: &Arc<CloudState>) {
        for due in state.read(|world| world.due_probes(Timestamp::now())) {
            let key = (due.group.clone(), due.instance.to_string(), due.port);
            // A check is due until the model knows its result, and that may take longer than a tick.
            if !self.under_way.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone()) {
                continue;
            }
            let (state, under_way) = (Arc::clone(state), Arc::clone(&self.under_way));
            tokio::spawn(async move {
                let seen = check(state.hardware(), &due).await;
                let (group, instance, port) = &key;
                let told = state.call(|world, now| world.probed(now, group, instance, *port, seen));
                if let Err(error) = told {
                    tracing::debug!("health check of {instance}:{port}: nobody asks any more: {error}");
                }
                under_way.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            });
        }
    }
}

/// Makes one check. The time limit is for all of it: to connect, too.
async fn check(hardware: &dyn Hardware, due: &DueProbe) -> Seen {
    let limit = Duration::from_secs(due.timeout.into());
    match tokio::time::timeout(limit, ask(hardware, due)).await {
        Ok(Ok(status)) => Seen::Status(status.as_u16()),
        Ok(Err(error)) => {
            tracing::debug!("health check of {}:{}: {error}", due.instance, due.check_port);
            Seen::Failed
        }
        Err(_) => Seen::Timeout,
    }
}

/// Asks as Elastic Load Balancing's health checker does; gives the status and leaves the body unread.
async fn ask(hardware: &dyn Hardware, due: &DueProbe) -> io::Result<StatusCode> {
    let stream = hardware.reach(due.instance.clone(), due.check_port).await?;
    let request = Request::get(&due.path)
        .header(header::HOST, stream.peer_addr()?.to_string())
        .header(header::USER_AGENT, "ELB-HealthChecker/2.0")
        .header(header::CONNECTION, "close")
        .body(Body::empty())
        .map_err(io::Error::other)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    let mut answer = std::pin::pin!(sender.send_request(request));
    let answer = tokio::select! {
        answer = &mut answer => answer,
        end = connection => match end {
            // The connection may end right with the answer, which is there then.
            Ok(()) => answer.await,
            Err(error) => Err(error),
        },
    };
    Ok(answer.map_err(io::Error::other)?.status())
}
