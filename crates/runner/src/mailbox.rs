//! The runner's side of the mailbox: orders, fresh URLs and heartbeats.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use ovenbird_core::domain::{
    mailbox::{BEAT, FETCH_AFTER, Heartbeat, Orders, Urls, Work},
    plan::Plan,
};

use crate::{
    fetch,
    machine::Machine,
    secrets::imds::{Interruption, Notices},
};

/// How often a heartbeat goes that says something new.
const NEWS: Duration = Duration::from_secs(2);

/// How often a spot instance looks for EC2's notice; AWS recommends this.
const NOTICE: Duration = Duration::from_secs(5);

/// The mailbox, by the URLs that were fetched last.
pub struct Mailbox {
    /// The URLs.
    pub urls: Urls,
    fetched: Instant,
    said: Option<(Heartbeat, Instant)>,
    notices: Notices,
    looked: Instant,
    interruption: Option<String>,
}

impl Mailbox {
    pub fn open(machine: &Machine) -> Result<Self> {
        let now = Instant::now();
        let (notices, interruption) = (Notices::default(), None);
        Ok(Self { urls: machine.urls()?, fetched: now, said: None, notices, looked: now, interruption })
    }

    /// What is ordered; none when that can't be told now.
    pub fn orders(&self) -> Option<Orders> {
        let text = fetch::get(&self.urls.orders, Duration::ZERO).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Fetches fresh URLs, from time to time.
    pub fn refresh(&mut self, machine: &Machine, plan: &Plan) {
        if self.fetched.elapsed() < Duration::try_from(FETCH_AFTER).unwrap_or(NEWS) {
            return;
        }
        self.fetched = Instant::now();
        let fresh = fetch::get(&self.urls.urls, Duration::ZERO).and_then(|text| {
            let urls: Urls = serde_json::from_str(&text)?;
            secure(plan, &urls)?;
            // On the disk, too: the seal reads them there.
            machine.write_own("urls.json", text.as_bytes())?;
            Ok(urls)
        });
        match fresh {
            Ok(urls) => self.urls = urls,
            Err(error) => println!("ovenbird: fresh URLs: {error:#}"),
        }
    }

    /// Says that the machine lives: soon when there is something new to say, else from time to time.
    pub fn beat(&mut self, generation: u32, work: Option<&dyn Fn() -> Work>) {
        if self.looked.elapsed() > NOTICE {
            self.look();
        }
        let elapsed = self.said.as_ref().map(|(_, at)| at.elapsed());
        if elapsed.is_some_and(|elapsed| elapsed < NEWS) {
            return;
        }
        let work = work.map(|work| work());
        let heartbeat =
            Heartbeat { generation, work, interruption: self.interruption.clone(), ..Heartbeat::default() };
        let old = self.said.as_ref().is_some_and(|(said, _)| *said == heartbeat);
        let rest = elapsed.is_some_and(|elapsed| elapsed < Duration::try_from(BEAT).unwrap_or(NEWS));
        if !(old && rest) {
            self.put(heartbeat, Duration::ZERO);
        }
    }

    /// Looks whether EC2 takes the machine back.
    fn look(&mut self) {
        self.looked = Instant::now();
        if self.interruption.is_none()
            && let Some(Interruption { action, time }) = self.notices.look()
        {
            let words = format!("EC2 takes the spot capacity back: it will {action} the instance at {time}");
            println!("ovenbird: {words}");
            self.interruption = Some(words);
        }
    }

    pub fn say_failure(&mut self, generation: u32, failure: String, tries: Duration) {
        self.put(Heartbeat { generation, failure: Some(failure), ..Heartbeat::default() }, tries);
    }

    pub fn put(&mut self, heartbeat: Heartbeat, tries: Duration) {
        let text = serde_json::to_string(&heartbeat).unwrap_or_default();
        if let Err(error) = fetch::put(&self.urls.progress, &text, tries) {
            println!("ovenbird: heartbeat: {error:#}");
        }
        self.said = Some((heartbeat, Instant::now()));
    }
}

/// Refuses URLs without TLS, unless the cloud is a local one.
pub fn secure(plan: &Plan, urls: &Urls) -> Result<()> {
    match plan.insecure(urls.all()) {
        None => Ok(()),
        Some(host) => bail!("a URL of {host} is not encrypted, and only a local cloud's may be so"),
    }
}
