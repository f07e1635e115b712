//! The load balancers that carry requests: one `HAProxy` for all of them, kept at what the model's routes say.
//!
//! Targets and weights are changed in the running process. When listeners or rules change, a new process is started
//! beside the old one with the same sockets. The old one takes no more connections, goes on with those that it has, is
//! told of targets meanwhile, and is ended when it has none.

mod counters;
mod layout;
mod process;
mod servers;
mod sockets;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs, io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use jiff::Timestamp;
use ovenbird_sim::{World, load_balancing::Route};

use self::{
    counters::Tally,
    layout::Layout,
    process::{Process, Start},
    servers::Servers,
};
pub(crate) use self::{
    counters::{Counts, Datum},
    sockets::Sockets,
};
use crate::state::CloudState;

/// How long until what could not be done is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// The processes of a local cloud's load balancers, for who wants to know what they take.
pub(crate) type Pids = Arc<Mutex<Vec<u32>>>;

/// What carries the requests.
#[derive(Debug)]
pub(crate) struct Balancer {
    home: PathBuf,
    network: Option<u32>,
    sockets: Arc<Sockets>,
    started: u64,
    /// The one that takes connections.
    current: Option<Process>,
    /// Those that only end what they have.
    retired: Vec<Process>,
    pids: Pids,
    tally: Tally,
}

impl Balancer {
    /// Nothing is started before there is a route. What an earlier process left in the folder is removed.
    pub(crate) fn new(
        home: PathBuf,
        network: Option<u32>,
        sockets: Arc<Sockets>,
        pids: Pids,
        counts: Counts,
    ) -> io::Result<Self> {
        if home.exists() {
            fs::remove_dir_all(&home)?;
        }
        let tally = Tally::new(counts, Timestamp::now());
        Ok(Self { home, network, sockets, started: 0, current: None, retired: Vec::new(), pids, tally })
    }

    /// Keeps to the routes of a cloud until that ends.
    pub(crate) async fn follow(mut self, state: Weak<CloudState>) {
        let Some(mut changes) = state.upgrade().map(|state| state.changes()) else { return };
        let mut applied: Option<Vec<Route>> = None;
        loop {
            let Some(routes) = state.upgrade().map(|state| state.read(World::routes)) else {
                return;
            };
            if applied.as_ref() != Some(&routes) {
                match self.bring(&routes).await {
                    Ok(true) => applied = Some(routes),
                    Ok(false) => applied = None,
                    Err(error) => {
                        tracing::warn!("load balancers: {error}");
                        applied = None;
                    }
                }
            }
            let waits = applied.is_none() || !self.retired.is_empty();
            tokio::select! {
                change = changes.changed() => if change.is_err() { return },
                // Only what could not be done before is looked at again.
                () = tokio::time::sleep(AGAIN), if waits => {}
                () = tokio::time::sleep(self.tally.left(Timestamp::now())) => self.close_minute().await,
                exit = ended(&mut self.current) => {
                    tracing::warn!("the load balancers' HAProxy ended with {exit}; it is started again");
                    self.current = None;
                    applied = None;
                    // One that can't run would be started without end.
                    tokio::time::sleep(AGAIN / 4).await;
                }
            }
            self.clear().await;
        }
    }

    /// Brings the processes to what routes say. Says whether all is done.
    pub(crate) async fn bring(&mut self, routes: &[Route]) -> io::Result<bool> {
        let (servers, weights) = (Servers::of(routes), layout::weights(routes));
        self.tally.learn(routes);
        let mut layout = Layout::of(routes);
        let mut done = true;
        let mut wanted = BTreeSet::new();
        layout.listeners.retain(|name, listener| match self.sockets.open(listener.address) {
            Ok(()) => wanted.insert(listener.address),
            Err(error) => {
                tracing::warn!("{name} can't listen at {}: {error}", listener.address);
                done = false;
                false
            }
        });
        let fits = self.current.as_ref().is_some_and(|process| *process.layout() == layout);
        if layout.listeners.is_empty() {
            // Before the sockets are closed: a port that is closed answers nobody.
            for mut process in self.current.take().into_iter().chain(self.retired.drain(..)) {
                self.tally.take(&mut process).await;
                process.end().await?;
            }
        } else if !fits {
            self.started += 1;
            let start = Start {
                home: &self.home,
                number: self.started,
                network: self.network,
                layout: &layout,
                servers: &servers,
                weights: &weights,
                sockets: &self.sockets,
            };
            let new = Process::start(start).await?;
            if let Some(mut old) = self.current.replace(new) {
                old.retire().await?;
                self.retired.push(old);
            }
        }
        self.sockets.keep(&wanted);
        self.note_pids();
        if let Some(current) = &mut self.current {
            current.weigh(&weights).await?;
        }
        for process in self.current.iter_mut().chain(&mut self.retired) {
            done &= process.bring(&servers).await?;
        }
        Ok(done)
    }

    /// Ends those that have no connection any more.
    async fn clear(&mut self) {
        let mut kept = Vec::new();
        for mut process in std::mem::take(&mut self.retired) {
            if process.is_done().await {
                self.tally.take(&mut process).await;
            } else {
                kept.push(process);
            }
        }
        self.retired = kept;
        self.note_pids();
    }

    /// Gives out what was counted in the minute that is over.
    async fn close_minute(&mut self) {
        for process in self.current.iter_mut().chain(&mut self.retired) {
            self.tally.take(process).await;
        }
        self.tally.close(Timestamp::now());
    }

    fn note_pids(&self) {
        let pids = self.current.iter().chain(&self.retired).filter_map(Process::pid).collect();
        *self.pids.lock().unwrap_or_else(PoisonError::into_inner) = pids;
    }
}

/// Waits for the end of a process; for ever, if there is none.
async fn ended(process: &mut Option<Process>) -> String {
    match process {
        Some(process) => {
            process.ended().await.map_or_else(|error| error.to_string(), |status| status.to_string())
        }
        None => std::future::pending().await,
    }
}
