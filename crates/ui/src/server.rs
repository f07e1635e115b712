//! The server on loopback. One thread makes all pages; what axum answers on others asks it.

use std::{convert::Infallible, net::SocketAddr, rc::Rc, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    response::Response,
};
use futures::{StreamExt as _, stream};
use http::{HeaderValue, Method, StatusCode, header};
use jiff::{Timestamp, tz::TimeZone};
use tokio::{
    net::TcpListener,
    sync::{Mutex, mpsc, oneshot, watch},
    task::LocalSet,
};

use crate::{
    Account, Reader,
    guard::{Guard, Pass, same},
    live::{self, Made},
    pages::{
        self, act,
        layout::{View, late},
        prune_act, question,
    },
    site::{Form, Page},
};

/// The stylesheet.
pub const STYLE: &str = include_str!("../assets/style.css");

/// All of our script.
const SCRIPT: &str = include_str!("../assets/page.js");

/// What a stranger sees. There is nothing of the account in it, and no secret.
const ENTRANCE: &str = include_str!("../assets/entrance.html");

/// A form is a few hundred bytes.
const MOST_BYTES: usize = 16 * 1024;

/// A page that takes longer is sent in two parts, so that the reader sees soon that something comes.
const PATIENCE: Duration = Duration::from_millis(150);

/// Where the events of a page are: before its own path.
const LIVE: &str = "/live";

/// What is said when a page panicked.
const BROKEN: &str = "The page could not be made. This is a bug in Ovenbird: see the terminal.";

/// The page runs our script and nothing else, and shows nothing from elsewhere; nobody shows it in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// How the page is served.
#[derive(Debug, Clone)]
pub struct Options {
    /// Whether it may change anything.
    pub changes: bool,
    /// How the command is called for this account.
    pub command: String,
    /// Which account that is, in words.
    pub place: String,
    /// The command that helps where it doesn't answer.
    pub reach: String,
}

/// A page that is ready to be served.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    shared: Arc<Shared>,
    jobs: mpsc::Receiver<Job>,
    stop: watch::Sender<bool>,
}

/// What every request needs.
#[derive(Debug)]
struct Shared {
    guard: Guard,
    /// The token of the address that was printed; none when it was used.
    token: Mutex<Option<String>>,
    jobs: mpsc::Sender<Job>,
    /// Whether the server stops: what is sent without an end must end then.
    stopped: watch::Receiver<bool>,
    options: Options,
}

/// A page that is wanted.
#[derive(Debug)]
struct Job {
    page: Page,
    /// What a form said; none where the page is only looked at.
    answer: Option<question::Answer>,
    reply: oneshot::Sender<(StatusCode, Made)>,
}

impl Server {
    /// Listens at an address of loopback; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is none of 127.0.0.1 and `[::1]`, or is taken.
    pub async fn bind(address: SocketAddr, options: Options) -> std::io::Result<Self> {
        if !address.ip().is_loopback() {
            let text = format!("{} is not loopback: anybody in the network could ask the page", address.ip());
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, text));
        }
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (sender, jobs) = mpsc::channel(64);
        let (stop, stopped) = watch::channel(false);
        let shared = Shared {
            guard: Guard::new(address.port(), &secret()),
            token: Mutex::new(Some(secret())),
            jobs: sender,
            stopped,
            options,
        };
        Ok(Self { listener, address, shared: Arc::new(shared), jobs, stop })
    }

    /// The address to open. Its token works once. It stands behind a `#`: no browser sends that part, and no log has it.
    pub async fn address(&self) -> String {
        let token = self.shared.token.lock().await;
        format!("http://{}/#{}", self.address, token.as_deref().unwrap_or_default())
    }

    /// Serves until `stop` ends.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn serve<A: Account + 'static>(
        self,
        account: A,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let Self { listener, shared, mut jobs, stop: tell, address: _ } = self;
        let stop = async move {
            stop.await;
            // Nobody may be watching.
            let _ = tell.send(true);
        };
        let options = shared.options.clone();
        let reader = Rc::new(Reader::new(account));
        let pages = LocalSet::new();
        pages
            .run_until(async move {
                // The adapters' futures need not be Send, so all pages are made on this thread, side by side.
                tokio::task::spawn_local(async move {
                    while let Some(job) = jobs.recv().await {
                        let (reader, options) = (reader.clone(), options.clone());
                        tokio::task::spawn_local(async move {
                            let page = make(&reader, &options, &job.page, job.answer).await;
                            // Whoever asked may have gone.
                            let _ = job.reply.send(page);
                        });
                    }
                });
                let router = Router::new().fallback(answer).with_state(shared);
                // On another thread: while a page is made here, a browser asks for the stylesheet on a new connection, and
                // paints nothing before it has that.
                let served = axum::serve(listener, router).with_graceful_shutdown(stop);
                tokio::spawn(served.into_future()).await.map_err(std::io::Error::other)?
            })
            .await
    }
}

/// 244 bits that nobody can guess.
fn secret() -> String {
    format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

async fn make<A: Account>(
    reader: &Reader<A>,
    options: &Options,
    page: &Page,
    answer: Option<question::Answer>,
) -> (StatusCode, Made) {
    let view = view(options, page);
    let body = match (page, answer) {
        (Page::Act(act), Some(answer)) => {
            let body = act::answered(&reader.account, &view, act, answer).await;
            reader.forget();
            body
        }
        (Page::PruneAct(act), Some(answer)) => prune_act::answered(&reader.account, &view, act, answer).await,
        _ => pages::body(reader, &view).await,
    };
    let status = if body.missing { StatusCode::NOT_FOUND } else { StatusCode::OK };
    (status, Made { html: view.document(&body), live: body.live })
}

/// Answers every request, whatever its path: no route is beside the guard.
async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let pass = match shared.guard.pass(&parts.method, &parts.uri, &parts.headers) {
        Ok(pass) => pass,
        Err(refusal) => return respond(refusal.status, "text/plain", refusal.why.to_owned()),
    };
    let writes = parts.method == Method::POST;
    let body = match to_bytes(body, MOST_BYTES).await {
        Ok(body) => body,
        Err(_) => return respond(StatusCode::PAYLOAD_TOO_LARGE, "text/plain", "too long".to_owned()),
    };
    match (parts.uri.path(), pass, writes) {
        ("/style.css", _, false) => respond(StatusCode::OK, "text/css", STYLE.to_owned()),
        ("/page.js", _, false) => respond(StatusCode::OK, "text/javascript", SCRIPT.to_owned()),
        ("/session", _, true) => enter(&shared, &body).await,
        (_, Pass::Stranger, false) => respond(StatusCode::UNAUTHORIZED, "text/html", entrance("")),
        (_, Pass::Stranger, true) => respond(StatusCode::UNAUTHORIZED, "text/plain", "no session".to_owned()),
        (path, Pass::Operator, false) if path.starts_with(LIVE) => watch_page(shared, path),
        (path, Pass::Operator, writes) => page(&shared, path, writes.then_some(&body)).await,
    }
}

/// Takes the token, and gives the cookie for it. The first who has it is the operator, and nobody after that.
async fn enter(shared: &Shared, body: &Bytes) -> Response {
    let given = form_urlencoded::parse(body).find(|(name, _)| name == "token");
    // Who has no script pastes the token, or the whole address with it.
    let given = given.map(|(_, value)| value.into_owned()).unwrap_or_default();
    let given = given.trim().rsplit('#').next().unwrap_or_default();
    let mut token = shared.token.lock().await;
    if !token.as_deref().is_some_and(|token| same(token, given)) {
        let text = "<p role=\"alert\">This token was used already, or is another page's. Start <code>ovenbird ui</code> again.</p>";
        return respond(StatusCode::UNAUTHORIZED, "text/html", entrance(text));
    }
    token.take();
    let mut response = respond(StatusCode::SEE_OTHER, "text/plain", String::new());
    if let Ok(cookie) = HeaderValue::from_str(&shared.guard.set_cookie()) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    response
}

fn entrance(problem: &str) -> String {
    ENTRANCE.replace("<!-- problem -->", problem)
}

async fn page(shared: &Shared, path: &str, form: Option<&Bytes>) -> Response {
    let found = Page::parse(path);
    let answer = match (&found, form) {
        (Some(Page::Act(_) | Page::PruneAct(_)), Some(form)) => Some(question::Answer::parse(form)),
        (_, Some(_)) => return respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET".to_owned()),
        (_, None) => None,
    };
    let Some(page) = found else {
        return respond(StatusCode::NOT_FOUND, "text/plain", "There is no such page.".to_owned());
    };
    let (reply, mut made) = oneshot::channel();
    let early = early(shared, &page);
    if shared.jobs.send(Job { page, answer, reply }).await.is_err() {
        return respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", BROKEN.to_owned());
    }
    match tokio::time::timeout(PATIENCE, &mut made).await {
        Ok(Ok((status, made))) => respond(status, "text/html", made.html),
        Ok(Err(_)) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", BROKEN.to_owned()),
        // The reader sees the frame while AWS is asked. Its status is sent with it, and so it is a good one.
        Err(_) => {
            let rest = async {
                let text = made
                    .await
                    .map_or_else(|_| format!("<main><p>{BROKEN}</p></main>"), |(_, made)| late(&made.html));
                Ok(text)
            };
            let chunks = stream::once(async { Ok::<_, Infallible>(early) }).chain(stream::once(rest));
            respond_with(StatusCode::OK, "text/html", Body::from_stream(chunks))
        }
    }
}

/// Sends what changes on a page while somebody looks at it.
fn watch_page(shared: Arc<Shared>, path: &str) -> Response {
    let page = match Page::parse(path.strip_prefix(LIVE).unwrap_or_default()) {
        // A question stays as it is.
        None | Some(Page::Act(_) | Page::PruneAct(_)) => {
            return respond(StatusCode::NOT_FOUND, "text/plain", "There is no such page.".to_owned());
        }
        Some(page) => page,
    };
    let stopped = shared.stopped.clone();
    let make = move || {
        let (jobs, page) = (shared.jobs.clone(), page.clone());
        async move {
            let (reply, made) = oneshot::channel();
            jobs.send(Job { page, answer: None, reply }).await.ok()?;
            made.await.ok().map(|(_, made)| made)
        }
    };
    respond_with(
        StatusCode::OK,
        "text/event-stream",
        Body::from_stream(live::events(make, live::LOOK, stopped)),
    )
}

/// What of a page is known before anything was asked.
fn early(shared: &Shared, page: &Page) -> String {
    view(&shared.options, page).early()
}

fn view<'a>(options: &'a Options, page: &'a Page) -> View<'a> {
    let zone = TimeZone::system();
    View {
        page,
        form: Form::Live,
        now: Timestamp::now(),
        zone: if zone.is_unknown() { TimeZone::UTC } else { zone },
        changes: options.changes,
        command: &options.command,
        place: &options.place,
        reach: &options.reach,
    }
}

fn respond(status: StatusCode, kind: &str, text: String) -> Response {
    respond_with(status, kind, Body::from(text))
}

fn respond_with(status: StatusCode, kind: &str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&format!("{kind}; charset=utf-8")) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        // Not `no-referrer`: with that, a browser hides the origin of our own forms, too.
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cache-control", "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
