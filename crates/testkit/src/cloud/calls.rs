//! A call through a port: it is noted, takes its time, and may go wrong.

use std::{future::poll_fn, task::Poll};

use jiff::SignedDuration;
use ovenbird_core::Result;

use super::{
    Call, Cloud, Fault, State,
    faults::{self, Outcome},
};

impl Cloud {
    /// Makes the call; a dead function goes on with nothing any more, and whoever runs it drops it.
    pub(super) async fn call<T>(
        &self,
        actions: &[&'static str],
        work: impl Fn(&mut State) -> Result<T>,
    ) -> Result<T> {
        let number = self.begin(actions);
        let latency = self.draw(|latency| latency.answer(actions[0]));
        if let Some(latency) = latency {
            self.take_time(latency).await;
        }
        if self.state.borrow().faults.get(&number) == Some(&Fault::Slow) {
            self.take_time(faults::SLOW).await;
        }
        if self.state.borrow_mut().pause.take_if(|pause| *pause == number).is_some() {
            self.stand_still(|state| state.paused = true).await;
        }
        let clock = self.state.borrow().stopwatch.map(|(clock, _)| clock);
        let begun = clock.map(|clock| clock());
        let answer = self.attempt(number, work);
        if let (Some(clock), Some(begun)) = (clock, begun) {
            let took = clock().saturating_sub(begun);
            self.state.borrow_mut().stopwatch.iter_mut().for_each(|(_, all)| *all += took);
        }
        match answer {
            Some(result) => result,
            None => std::future::pending().await,
        }
    }

    /// A call under way takes so long; of those that are under way together, the longest counts.
    async fn take_time(&self, time: SignedDuration) {
        self.stand_still(|state| state.delay = state.delay.max(Some(time))).await;
    }

    /// Lets whoever runs the function wait once, and says why; the others have their turn.
    pub(super) async fn stand_still(&self, say: impl Fn(&mut State)) {
        let mut waited = false;
        poll_fn(|_| {
            if waited {
                return Poll::Ready(());
            }
            waited = true;
            say(&mut self.state.borrow_mut());
            Poll::Pending
        })
        .await;
    }

    /// Notes the call, and gives its number.
    fn begin(&self, actions: &[&'static str]) -> usize {
        let state = &mut *self.state.borrow_mut();
        state.calls.push(Call { by: state.caller.clone(), at: state.now, actions: actions.to_vec() });
        state.calls.len() - 1
    }

    /// Notes what the caller's role must allow for a URL that it signs. Signing itself calls nobody.
    pub(super) fn sign(&self, actions: &[&'static str]) {
        let state = &mut *self.state.borrow_mut();
        let by = state.caller.clone();
        state.signed.push(Call { by, at: state.now, actions: actions.to_vec() });
    }

    /// Makes the call; none when the function died of it.
    fn attempt<T>(&self, number: usize, work: impl Fn(&mut State) -> Result<T>) -> Option<Result<T>> {
        let state = &mut *self.state.borrow_mut();
        let action = state.calls[number].actions[0];
        let site = (state.caller.clone(), action);
        let fault = state.faults.remove(&number).or_else(|| state.staying.get(&site).copied());
        let Some(fault) = fault else { return Some(work(state)) };
        if fault.stays() {
            state.staying.insert(site, fault);
        }
        if fault.has_effect() {
            // Whatever the effect is, nobody hears of it.
            let _ = work(state);
        }
        match faults::outcome(fault, action) {
            Outcome::Answered => Some(work(state)),
            Outcome::Failed(error) => Some(Err(error)),
            Outcome::Died(death) => {
                state.death = Some(death);
                None
            }
        }
    }
}
