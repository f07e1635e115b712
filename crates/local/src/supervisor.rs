//! The process behind `ovenbird local serve`: everything else is started by it, and ends with it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Write as _},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use jiff::Timestamp;
use ovenbird_sim::{MachineEvent, World};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use crate::{
    auth::{Clock, Gate, Keys},
    balancer::{Balancer, Sockets},
    base_image,
    deploy::deploy,
    endpoint::{Control, Endpoint, Writes, keep_learning, keep_publishing, router},
    error::{LocalError, Result, chain},
    groups::{self, Services},
    hardware::{Hardware, RealHardware, Simulated},
    machine::{probe, serve_inside},
    ministack::MiniStack,
    network::Network,
    options::{Machines, Options},
    progress::{Event, Span, Stage},
    state::CloudState,
    store::Store,
};

/// The public parameter whose value is the local base image; the name is Debian's own on AWS.
const BASE_PARAMETER: &str = if cfg!(target_arch = "aarch64") {
    "/aws/service/debian/release/12/latest/arm64"
} else {
    "/aws/service/debian/release/12/latest/amd64"
};

/// Runs a local cloud until it is told to end, or fails.
pub async fn serve(options: Options) -> Result<()> {
    let log = tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .try_init();
    if let Err(error) = log {
        tracing::debug!("this process logs already: {error}");
    }
    let start = Instant::now();
    let mut stage = Stage::Endpoint;
    let result = run(options, start, &mut stage).await;
    if let Err(error) = &result {
        let reason = chain(error);
        tracing::error!("{stage}: {reason}");
        Event::Failed { stage, reason, hint: error.hint() }.emit();
    }
    result
}

async fn run(options: Options, start: Instant, stage: &mut Stage) -> Result<()> {
    options.home.prepare()?;
    // Held until the end of the process, whatever end that is.
    let _lock = lock(&options)?;
    let mut ends = Ends::listen()?;
    // One that was killed may have left private keys, which are nobody's.
    // The same of roots that nobody made an image of.
    for left in [options.home.new_keys(), options.home.imports()] {
        match fs::remove_dir_all(&left) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(LocalError::io(format!("remove {}", left.display()))(error));
            }
            _ => {}
        }
    }
    let _services = match options.machines {
        Machines::Simulated => None,
        Machines::Real => {
            groups::end_left(&options.home).await?;
            Some(Services::join(&options.home).map_err(LocalError::io("make a control group"))?)
        }
    };

    let span = Span::begin(Stage::Endpoint, None);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await;
    let listener = listener.map_err(|source| LocalError::PortTaken { port: options.port, source })?;
    let keys = Keys::open(&options.home, &options.endpoint())?;
    span.done(Some(options.endpoint()));

    // Before MiniStack, which lives in it.
    let network = match options.machines {
        Machines::Simulated => None,
        Machines::Real => {
            *stage = Stage::Network;
            let span = Span::begin(*stage, None);
            let network = Network::start().await.map_err(LocalError::io("start the machines' network"))?;
            span.done(None);
            Some(network)
        }
    };
    let inside =
        network.as_ref().map(Network::pid).transpose().map_err(LocalError::io("find the network"))?;
    *stage = Stage::Ministack;
    let span = Span::begin(*stage, None);
    let ministack = MiniStack::start(&options, inside).await?;
    span.done(Some(format!("version {}", ministack.version)));

    let running = start_world(&options, keys, network, &ministack, stage);
    let endpoint = tokio::select! {
        endpoint = running => endpoint,
        end = ends.next() => { tracing::info!("{end} while starting"); ministack.stop().await; return Ok(()) }
    };
    let endpoint = match endpoint {
        Ok(endpoint) => endpoint,
        Err(error) => {
            ministack.stop().await;
            return Err(error);
        }
    };

    let server = tokio::spawn(serve_endpoint(listener, Arc::clone(&endpoint)));
    // Functions are in the network where the host's loopback isn't: the endpoint is there, too, under the same name.
    let within = inside.map(|pid| serve_inside(pid, options.port, router(Arc::clone(&endpoint)))).transpose();
    let within = match within {
        Ok(within) => within,
        Err(source) => {
            ministack.stop().await;
            return Err(LocalError::io("serve the endpoint to functions")(source));
        }
    };
    let result = tokio::select! {
        result = work(&endpoint, &ministack, start, stage) => result,
        end = ends.next() => { tracing::info!("{end}"); Ok(()) }
        () = endpoint.control.shutdown.notified() => Ok(()),
    };
    // Machines first: nothing shall call an endpoint that is going.
    endpoint.state.hardware().shut_down().await;
    ministack.stop().await;
    server.abort();
    if let Some(within) = within {
        within.abort();
    }
    result
}

/// Deploys, tells that everything is ready, and watches what must not end.
async fn work(
    endpoint: &Arc<Endpoint>,
    ministack: &MiniStack,
    start: Instant,
    stage: &mut Stage,
) -> Result<()> {
    let options = &endpoint.control.options;
    if let Some(repository) = &options.repository {
        *stage = Stage::Deploy;
        let span = Span::begin(*stage, None);
        let note = deploy(options, repository, &ministack.link).await?;
        span.done(Some(note));
    }
    endpoint.control.ready.store(true, Ordering::Release);
    Event::Ready { seconds: start.elapsed().as_secs_f64() }.emit();
    *stage = Stage::Ministack;
    let problem = format!("ended by itself: {}", ministack.ended().await);
    Err(LocalError::MiniStack { problem, log: options.home.ministack_log() })
}

/// The world as it was, on new hardware.
async fn start_world(
    options: &Options,
    keys: Keys,
    network: Option<Network>,
    ministack: &MiniStack,
    stage: &mut Stage,
) -> Result<Arc<Endpoint>> {
    let (store, mut world) = Store::open(&options.home)?;
    let (sender, events) = mpsc::unbounded_channel();
    let inside =
        network.as_ref().map(Network::pid).transpose().map_err(LocalError::io("find the network"))?;
    *stage = Stage::Base;
    let (hardware, base): (Box<dyn Hardware>, PathBuf) = match network {
        None => (Box::new(Simulated::new(sender)), "simulated".into()),
        Some(network) => {
            let base = make_base(options, &world).await?;
            let user_namespaces = can_isolate(options).await?;
            let hardware =
                RealHardware::new(&options.home, &base, options.port, network, user_namespaces, sender);
            let hardware = hardware.map_err(LocalError::io("make room for machines"))?;
            hardware.forget_unused(&world).map_err(LocalError::io("look for layers that nobody uses"))?;
            (Box::new(hardware), base)
        }
    };
    let image = world.register_base(Timestamp::now(), &base_image::image(&base)).to_string();
    let mut control = Control::new(options.clone());
    control.ministack_version.clone_from(&ministack.version);
    control.ministack_pid = u32::try_from(ministack.pid.as_raw()).ok();
    control.base_image = Some(image.clone());
    let state = CloudState::start(world, hardware, events, Some(store));
    // No machine outlives a supervisor: those that the world remembers are gone.
    state.apply([MachineEvent::HostLost]);
    if inside.is_some() {
        let sockets = Arc::new(Sockets::new(options.port, inside));
        let pids = Arc::clone(&control.balancer_pids);
        let counts = Arc::clone(&control.balancer_counts);
        let balancer = Balancer::new(options.home.balancer(), inside, Arc::clone(&sockets), pids, counts);
        state.balance(sockets, balancer.map_err(LocalError::io("make room for load balancers"))?);
    }
    let parameters = BTreeMap::from([(BASE_PARAMETER.to_owned(), image)]);
    let gate = Gate { keys, port: options.port, clock: Clock::system() };
    let writes = Writes::new(options.parameters);
    let ministack = Some(ministack.link.clone());
    let endpoint = Arc::new(Endpoint { gate, state, ministack, parameters, writes, control });
    endpoint.state.hardware().connect(Arc::downgrade(&endpoint));
    endpoint.state.keep_time();
    keep_learning(&endpoint);
    keep_publishing(&endpoint);
    Ok(endpoint)
}

/// Whether machines get user namespaces of their own; if they can't, that is said.
async fn can_isolate(options: &Options) -> Result<bool> {
    let missing =
        probe::missing(options.home.root()).await.map_err(LocalError::io("try a user namespace"))?;
    if let Some(why) = &missing {
        let text = probe::weaker(why);
        tracing::warn!("{text}");
        Event::Weaker { stage: Stage::Network, text }.emit();
    }
    Ok(missing.is_none())
}

/// The base of this home's images; today's, made if it isn't there, for a home that has none.
async fn make_base(options: &Options, world: &World) -> Result<PathBuf> {
    let cache = options.home.bases();
    let today = base_image::path(&cache);
    let under = base_image::under(world, &cache);
    let under = under.map_err(|error| {
        LocalError::io("look for the base of this home's images")(io::Error::other(error))
    })?;
    if let Some(base) = under.filter(|base| *base != today) {
        let note = "the one that this home's images were made of; `ovenbird local reset` forgets them, and gets today's";
        Span::begin(Stage::Base, None).done(Some(note.to_owned()));
        return Ok(base);
    }
    let note = "a Debian is made by mmdebstrap; this takes a minute or two, once";
    let span = Span::begin(Stage::Base, (!today.is_dir()).then_some(note));
    let base = base_image::make(&cache).await.map_err(LocalError::io("make the base image"))?;
    span.done(None);
    Ok(base)
}

async fn serve_endpoint(listener: TcpListener, endpoint: Arc<Endpoint>) {
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        // Small answers must not wait for more to come.
        let _ = stream.set_nodelay(true);
    });
    if let Err(error) = axum::serve(listener, router(endpoint)).await {
        tracing::error!("the endpoint ended: {error}");
    }
}

/// The pid file, written and locked: the lock goes with the process, so a stale file locks nothing.
fn lock(options: &Options) -> Result<File> {
    let path = options.home.pid_file();
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let mut file = file.map_err(LocalError::io(format!("open {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            return Err(LocalError::HomeTaken { home: options.home.root().to_owned(), at: String::new() });
        }
        Err(fs::TryLockError::Error(error)) => {
            return Err(LocalError::io(format!("lock {}", path.display()))(error));
        }
    }
    let written = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    written.map_err(LocalError::io(format!("write {}", path.display())))?;
    Ok(file)
}

/// The signals that ask for an end.
struct Ends {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Ends {
    fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(LocalError::io("listen for signals"));
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
