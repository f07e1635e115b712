//! Requests at a steady rate, half of them on connections that are kept open, and what became of each.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use http::{Request, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{
    body::Bytes,
    client::conn::http1::{SendRequest, handshake},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::MissedTickBehavior};

/// So many clients ask at once: one that waits holds no other up.
const CLIENTS: u32 = 24;

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Counts {
    /// How often each body came with status 200.
    pub answers: BTreeMap<String, u64>,
    /// Those without such an answer.
    pub lost: Vec<Lost>,
    /// How many were sent on a connection that had been used before.
    kept_open: u64,
    time: Duration,
    slowest: Duration,
}

/// A request without an answer of status 200.
#[derive(Debug)]
pub struct Lost {
    /// How long the load had gone on when it was given up.
    pub after: Duration,
    /// What came instead.
    pub why: String,
}

impl Counts {
    /// For how long requests were lost, from the first to the last.
    pub fn harmed(&self) -> Duration {
        let times = || self.lost.iter().map(|lost| lost.after);
        times().max().unwrap_or_default().saturating_sub(times().min().unwrap_or_default())
    }

    fn lose(&mut self, begun: Instant, why: String) {
        self.lost.push(Lost { after: begun.elapsed(), why });
    }

    fn sent(&self) -> u64 {
        self.answers.values().sum::<u64>() + self.lost.len() as u64
    }

    /// Requests a second.
    pub fn rate(&self) -> f64 {
        self.sent() as f64 / self.time.as_secs_f64()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, lost, rate) = (self.sent(), self.lost.len(), self.rate());
        write!(f, "{sent} requests ({rate:.0}/s, {} on open connections), {lost} lost", self.kept_open)?;
        for (body, count) in &self.answers {
            write!(f, ", {count} answered by {body}")?;
        }
        write!(f, ", the slowest took {:.0} ms", self.slowest.as_secs_f64() * 1000.0)
    }
}

/// Requests that go on until they are stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Counts>>,
}

impl Load {
    /// Starts so many requests a second for `/` of an address.
    pub fn start(address: &str, rate: u32) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, address) = (Arc::clone(&stop), address.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::spawn(move || runtime.block_on(all(address, rate, ends)));
        Ok(Self { stop, thread })
    }

    /// Stops; gives what became of the requests.
    pub fn stop(self) -> Result<Counts> {
        self.stop.store(true, Ordering::SeqCst);
        match self.thread.join() {
            Ok(counts) => counts,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Goes on for a time, and stops.
    pub fn stop_after(self, time: Duration) -> Result<Counts> {
        thread::sleep(time);
        self.stop()
    }
}

async fn all(address: String, rate: u32, stop: Arc<AtomicBool>) -> Result<Counts> {
    let begun = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let pause = Duration::from_secs(1) * CLIENTS / rate;
            let client = Client { address: address.clone(), keeps_open: number % 2 == 0, connection: None };
            tokio::spawn(client.ask(pause, pause * number / CLIENTS, Arc::clone(&stop)))
        })
        .collect();
    let mut total = Counts::default();
    for client in clients {
        let counts = client.await.context("a client")?;
        for (body, count) in counts.answers {
            *total.answers.entry(body).or_default() += count;
        }
        total.lost.extend(counts.lost);
        total.kept_open += counts.kept_open;
        total.slowest = total.slowest.max(counts.slowest);
    }
    total.time = begun.elapsed();
    Ok(total)
}

struct Client {
    address: String,
    keeps_open: bool,
    connection: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    async fn ask(mut self, pause: Duration, first: Duration, stop: Arc<AtomicBool>) -> Counts {
        let mut counts = Counts::default();
        let begun = Instant::now();
        let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + first, pause);
        clock.set_missed_tick_behavior(MissedTickBehavior::Burst);
        while !stop.load(Ordering::SeqCst) {
            clock.tick().await;
            let start = Instant::now();
            // What was lost had taken its connection out.
            match tokio::time::timeout(Duration::from_secs(10), self.once(&mut counts)).await {
                Ok(Ok(body)) => *counts.answers.entry(body).or_default() += 1,
                Ok(Err(error)) => counts.lose(begun, format!("{error:#}")),
                Err(_) => counts.lose(begun, "no answer in 10 s".to_owned()),
            }
            counts.slowest = counts.slowest.max(start.elapsed());
        }
        counts
    }

    /// One request, sent once: the body of an answer with status 200.
    async fn once(&mut self, counts: &mut Counts) -> Result<String> {
        let open = match self.connection.take() {
            // One that was closed before anything was sent is no loss: every client opens another.
            Some(mut open) => open.ready().await.is_ok().then_some(open),
            None => None,
        };
        counts.kept_open += u64::from(open.is_some());
        let mut sender = match open {
            Some(open) => open,
            None => {
                let stream = TcpStream::connect(&self.address).await.context("connect")?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                sender
            }
        };
        let mut request = Request::get("/").header(header::HOST, &self.address);
        if !self.keeps_open {
            request = request.header(header::CONNECTION, "close");
        }
        let answer = sender.send_request(request.body(Empty::new())?).await.context("send")?;
        let status = answer.status();
        let body = answer.into_body().collect().await.context("body")?.to_bytes();
        let body = String::from_utf8_lossy(&body).trim().to_owned();
        if status != 200 {
            bail!("{status}: {body}");
        }
        if self.keeps_open {
            self.connection = Some(sender);
        }
        Ok(body)
    }
}
