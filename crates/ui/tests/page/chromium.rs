//! Debian's headless Chromium, driven over a pair of pipes by the protocol of its developer tools, as Playwright does it:
//! no port is open, and no other program or library is needed.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";

/// How long anything on a page may take. It is no measure of speed: machines may boot beside the browser.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one tab and an empty profile.
pub struct Chromium {
    process: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    session: Option<String>,
    calls: u64,
    /// What the pages and the browser complained about: errors of scripts, what a policy refused.
    pub complaints: Vec<String>,
    /// The answers that came over the network, by the browser's number: address and bytes as they were sent.
    pub answers: BTreeMap<String, (String, u64)>,
    _home: tempfile::TempDir,
}

/// Whether what these tests need is there, which CI must have.
pub fn is_there() -> bool {
    let missing = [Path::new(CHROMIUM), &axe()].into_iter().find(|path| !path.exists()).map(Path::to_owned);
    let Some(missing) = missing else { return true };
    let fix = "`CI=true tools/setup` installs it";
    assert!(
        std::env::var_os("CI").is_none(),
        "CI must run this test, and {} is missing: {fix}",
        missing.display()
    );
    eprintln!("SKIPPED: {} is missing: {fix}", missing.display());
    false
}

/// The rules by which a page is judged whether everybody can read it.
fn axe() -> PathBuf {
    let home =
        std::env::var_os("OVENBIRD_HOME").map_or_else(|| PathBuf::from("/var/lib/ovenbird"), PathBuf::from);
    home.join("browser/node_modules/axe-core/axe.min.js")
}

impl Chromium {
    /// Starts it.
    pub fn start() -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut process = Command::new("sh")
            // It reads descriptor 3 and writes descriptor 4.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", CHROMIUM])
            // Root, as which the tests run, has no use for a sandbox: the pages are ours.
            .args([
                "--remote-debugging-pipe",
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
            ])
            .args([
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .args(["--hide-scrollbars", "--lang=en-US"])
            .arg(format!("--user-data-dir={}", home.path().display()))
            .arg("about:blank")
            // Its other processes go with it.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let to = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let (told, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output.read_until(0, &mut message).is_ok_and(|read| read > 0) {
                message.pop();
                let parsed = serde_json::from_slice(&message).unwrap();
                if told.send(parsed).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let (complaints, answers) = (Vec::new(), BTreeMap::new());
        let mut browser =
            Self { process, to, from, session: None, calls: 0, complaints, answers, _home: home };
        let targets = browser.call("Target.getTargets", json!({}));
        let page =
            targets["targetInfos"].as_array().unwrap().iter().find(|one| one["type"] == "page").unwrap();
        let attached =
            browser.call("Target.attachToTarget", json!({"targetId": page["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.look(1280, false);
        browser
    }

    /// How wide the window is, and which colours the reader wants.
    pub fn look(&mut self, width: u32, dark: bool) {
        let size = json!({"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600});
        self.call("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!({"name": "prefers-color-scheme", "value": if dark { "dark" } else { "light" }});
        self.call("Emulation.setEmulatedMedia", json!({"features": [scheme]}));
    }

    /// Gives the browser a cookie, as `name=value`.
    pub fn cookie(&mut self, address: &str, cookie: &str) {
        let (name, value) = cookie.split_once('=').unwrap();
        self.call("Network.setCookie", json!({"url": address, "name": name, "value": value}));
    }

    /// Opens an address and waits until all of it is there.
    pub fn open(&mut self, address: &str) {
        // The same document with another fragment is not loaded again.
        self.call("Page.navigate", json!({"url": "about:blank"}));
        let went = self.call("Page.navigate", json!({"url": address}));
        assert_eq!(went["errorText"], Value::Null, "{address}");
        self.until("location.href != 'about:blank' && document.readyState == 'complete'");
    }

    /// What a piece of script gives on the page; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    pub fn eval(&mut self, script: &str) -> Value {
        self.attempt(script).unwrap_or_else(|error| panic!("{script:.200}: {error}"))
    }

    fn attempt(&mut self, script: &str) -> Result<Value, String> {
        let script = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.ask("Runtime.evaluate", script)?;
        match answer.get("exceptionDetails") {
            Some(thrown) => Err(thrown.to_string()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Waits until a condition holds on the page, which may be another page by then.
    #[track_caller]
    pub fn until(&mut self, condition: &str) {
        let start = Instant::now();
        // While one page makes room for the next there is nothing to ask.
        while self.attempt(condition) != Ok(Value::Bool(true)) {
            if start.elapsed() > PATIENCE {
                let page = self.attempt("location.pathname + '\\n' + document.body.innerText");
                let page =
                    page.map_or_else(|error| error, |page| page.as_str().unwrap_or_default().to_owned());
                panic!("not within {PATIENCE:?}: {condition}\nthe page: {page}");
            }
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Waits until the page's text has this.
    #[track_caller]
    pub fn reads(&mut self, text: &str) {
        self.until(&format!("document.body?.innerText.includes({})", json!(text)));
    }

    /// Clicks, as a hand does, on the first visible element that a selector finds and that says this.
    #[track_caller]
    pub fn click(&mut self, selector: &str, text: &str) {
        let (selector, text) = (json!(selector), json!(text));
        let find = format!(
            "[...document.querySelectorAll({selector})].find(one => one.textContent.includes({text}) && one.checkVisibility())"
        );
        // While a page is still loaded, what is on it moves; and what is under another element is not hit.
        let place = format!(
            "(() => {{ const one = {find}; if (!one || document.readyState != 'complete') return null; \
             one.scrollIntoView({{block: 'center'}}); const box = one.getClientRects()[0]; \
             const place = [box.x + box.width / 2, box.y + box.height / 2]; \
             const hit = document.elementFromPoint(...place); \
             return one.contains(hit) || hit?.closest('label, summary') == one ? place : null; }})()"
        );
        // The click before this one may still be on its way to another page, on which the element is not.
        let start = Instant::now();
        let place = loop {
            self.until(&format!("!!({find})"));
            if let Ok(Value::Array(place)) = self.attempt(&place) {
                break place;
            }
            assert!(start.elapsed() < PATIENCE, "{selector} {text} can't be clicked");
            std::thread::sleep(Duration::from_millis(30));
        };
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse =
                json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", mouse);
        }
    }

    /// Types into what has the focus.
    pub fn write(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// What of the page somebody can't read or reach, by axe's rules; empty when all is well.
    pub fn violations(&mut self) -> Vec<String> {
        if self.eval("typeof axe == 'undefined'") == true {
            self.eval(&fs::read_to_string(axe()).unwrap());
        }
        let found = self.eval(
            "axe.run({resultTypes: ['violations']}).then(all => all.violations.map(one => one.id + ': ' + one.nodes.map(node => \
             node.target + ' ' + node.html.slice(0, 150) + ' ' + node.failureSummary).join(' | ')))",
        );
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// What is cut off or stands beyond the window's edge, in words. What scrolls by itself may be wider.
    pub fn beyond_the_edge(&mut self) -> Vec<String> {
        let found = self.eval(
            "(() => { const wide = document.documentElement.clientWidth, out = []; \
             if (document.documentElement.scrollWidth > wide) out.push('the page is ' + document.documentElement.scrollWidth); \
             for (const one of document.body.querySelectorAll('*')) { \
               const box = one.getBoundingClientRect(); \
               if (box.width > 0 && box.right > wide + 1 && !one.closest('.scroll, pre') && one.checkVisibility()) \
                 out.push(one.tagName + ' ' + one.textContent.trim().slice(0, 60) + ' ends at ' + box.right); } \
             return out; })()",
        );
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// Writes the whole page as a picture into the folder that `OVENBIRD_PICTURES` names, for people to look at.
    pub fn picture(&mut self, name: &str) {
        use base64::Engine as _;
        let Some(folder) = std::env::var_os("OVENBIRD_PICTURES") else { return };
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].take();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let whole = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", whole);
        let bytes = base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    fn call(&mut self, method: &str, parameters: Value) -> Value {
        self.ask(method, parameters).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value, String> {
        self.calls += 1;
        let id = self.calls;
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let mut message =
                self.from.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if message["id"] == id {
                return match message.get("error") {
                    Some(error) => Err(error.to_string()),
                    None => Ok(message["result"].take()),
                };
            }
            self.hear(&message);
        }
    }

    /// Takes note of what the browser tells unasked.
    fn hear(&mut self, event: &Value) {
        let of = &event["params"];
        match event["method"].as_str().unwrap_or_default() {
            "Runtime.exceptionThrown" => self.complaints.push(of["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" => self.complaints.push(of["args"].to_string()),
            // Who comes without the cookie is told so.
            "Log.entryAdded" if of["entry"]["text"].as_str().is_some_and(|text| text.contains("401")) => {}
            "Log.entryAdded" => self.complaints.push(of["entry"].to_string()),
            "Network.responseReceived" => {
                self.answer(of).0 = of["response"]["url"].as_str().unwrap_or_default().to_owned();
            }
            "Network.loadingFinished" => self.answer(of).1 = of["encodedDataLength"].as_u64().unwrap_or(0),
            _ => {}
        }
    }

    fn answer(&mut self, event: &Value) -> &mut (String, u64) {
        self.answers.entry(event["requestId"].as_str().unwrap_or_default().to_owned()).or_default()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
