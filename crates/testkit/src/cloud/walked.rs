//! What who walks does with the account: lets calls go wrong and functions sleep, runs what was started, and puts events as a
//! state machine does.

use jiff::SignedDuration;
use ovenbird_core::{Result, domain::id::BakeId};

use super::{
    Cloud, Latency,
    faults::{Death, Fault},
};

impl Cloud {
    /// Says who makes the calls from now on; a fault that stays, stays for one caller.
    pub fn enter(&self, caller: &str) {
        caller.clone_into(&mut self.state.borrow_mut().caller);
    }

    /// Lets the call with this number, counted from 0, go wrong.
    pub fn inject(&self, call: usize, fault: Fault) {
        self.state.borrow_mut().faults.insert(call, fault);
    }

    /// From now on whoever calls now may not do this.
    pub fn deny(&self, action: &'static str) {
        let state = &mut *self.state.borrow_mut();
        state.staying.insert((state.caller.clone(), action), Fault::Denied);
    }

    /// What a fault ended, said once. A function whose call never returned is dead.
    pub fn take_death(&self) -> Option<Death> {
        self.state.borrow_mut().death.take()
    }

    /// How long the call that was just made takes, said once: then the function may go on.
    pub fn take_delay(&self) -> Option<SignedDuration> {
        self.state.borrow_mut().delay.take()
    }

    /// From now on AWS's answers take time, functions start cold, and states follow each other after a while.
    pub fn answer_after(&self, latency: Latency) {
        self.state.borrow_mut().latency = Some(latency);
    }

    /// A time of the latency; none where nothing takes time.
    pub(crate) fn draw<T>(&self, draw: impl FnOnce(&mut Latency) -> T) -> Option<T> {
        self.state.borrow_mut().latency.as_mut().map(draw)
    }

    /// Polls a function once. While it sleeps, whoever walks lets time go on; without a walk, sleeping itself does.
    pub(crate) fn walk<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.state.borrow_mut().walked = true;
        let polled = poll();
        self.state.borrow_mut().walked = false;
        polled
    }

    /// How long the function that was just polled sleeps, said once.
    pub(crate) fn take_nap(&self) -> Option<SignedDuration> {
        self.state.borrow_mut().nap.take()
    }

    /// Lets the function that makes the call with this number, counted from 0, stand still just before it.
    pub fn pause_before(&self, call: usize) {
        self.state.borrow_mut().pause = Some(call);
    }

    /// Whether a function stands still before its call, said once: asked again, it goes on.
    pub fn take_pause(&self) -> bool {
        std::mem::take(&mut self.state.borrow_mut().paused)
    }

    /// The executions that were started since this was asked last, with their input: whoever walks runs them.
    pub fn take_executions(&self) -> Vec<(BakeId, serde_json::Value)> {
        let state = &mut *self.state.borrow_mut();
        let names = std::mem::take(&mut state.unclaimed);
        names.into_iter().map(|name| (name.clone(), state.executions[&name].clone())).collect()
    }

    /// Puts events, as a state machine does.
    ///
    /// # Errors
    /// When a fault says so.
    pub async fn put_events(&self, entries: &[serde_json::Value]) -> Result<()> {
        assert!(
            (1..=10).contains(&entries.len()),
            "PutEvents takes one to ten entries, not {}",
            entries.len()
        );
        self.state.borrow_mut().tellings.extend(entries.iter().cloned());
        self.call(&["events:PutEvents"], |state| {
            state.told.extend(entries.iter().cloned());
            Ok(())
        })
        .await
    }

    /// What EventBridge was told, in order.
    pub fn told(&self) -> Vec<serde_json::Value> {
        self.state.borrow().told.clone()
    }

    /// What EventBridge was to be told, whether it took it or not.
    pub fn tellings(&self) -> Vec<serde_json::Value> {
        self.state.borrow().tellings.clone()
    }
}
