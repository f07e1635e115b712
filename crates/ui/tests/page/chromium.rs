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

const MISPLACED: &str = r"(() => {
  const wide = document.documentElement.clientWidth, out = [], lines = [];
  const said = (one) => one.textContent.trim().slice(0, 60);
  if (document.documentElement.scrollWidth > wide) out.push('the page is ' + document.documentElement.scrollWidth);
  for (const one of document.body.querySelectorAll('*')) {
    const box = one.getBoundingClientRect();
    if (box.width == 0 || !one.checkVisibility()) continue;
    if (box.right > wide + 1 && !one.closest('.scroll, pre')) out.push(one.tagName + ' ' + said(one) + ' ends at ' + box.right);
    if (!one.closest('svg') && ['hidden', 'clip'].includes(getComputedStyle(one).overflowX) && one.scrollWidth > one.clientWidth + 1)
      out.push(one.tagName + ' ' + said(one) + ' is cut off');
  }
  for (const text of document.querySelectorAll('svg.graph text')) {
    const node = text.parentElement.querySelector('.node').getBBox(), box = text.getBBox();
    if (box.x + box.width > node.x + node.width) out.push('the label ' + said(text) + ' is longer than its box');
  }
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walk.nextNode(); node; node = walk.nextNode()) {
    if (!node.data.trim() || !node.parentElement.checkVisibility()) continue;
    const range = document.createRange(), frame = node.parentElement.closest('.scroll, pre')?.getBoundingClientRect();
    range.selectNodeContents(node);
    for (const box of range.getClientRects()) {
      // What is scrolled away is not seen, and so is what only readers of the page's text get.
      const seen = box.right > 0 && (!frame || box.bottom <= frame.bottom + 1 && box.right <= frame.right + 1);
      if (seen && box.width > 1) lines.push([box, node]);
    }
  }
  lines.sort((a, b) => a[0].top - b[0].top);
  for (const [index, [a, one]] of lines.entries()) {
    for (let next = index + 1; next < lines.length && lines[next][0].top < a.bottom - 4; next++) {
      const [b, other] = lines[next];
      if (one != other && a.left < b.right - 2 && b.left < a.right - 2)
        out.push(one.data.trim().slice(0, 40) + ' lies upon ' + other.data.trim().slice(0, 40));
    }
  }
  return out;
})()";

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

    /// The cookie that the browser has for an address, as `name=value`.
    pub fn session_of(&mut self, address: &str) -> String {
        let all = self.call("Network.getCookies", json!({"urls": [address]}));
        let one = &all["cookies"][0];
        format!("{}={}", one["name"].as_str().unwrap(), one["value"].as_str().unwrap())
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

    /// Presses a key: `Tab` or `Enter`.
    pub fn press(&mut self, key: &str) {
        let (code, text) = if key == "Enter" { (13, "\r") } else { (9, "") };
        let down =
            json!({"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
        self.call("Input.dispatchKeyEvent", down);
        let up = json!({"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": code});
        self.call("Input.dispatchKeyEvent", up);
    }

    /// Runs no script of a page from now on.
    pub fn without_script(&mut self) {
        self.call("Emulation.setScriptExecutionDisabled", json!({"value": true}));
    }

    /// Shows the page as somebody prints it who likes it dark on the screen.
    pub fn on_paper(&mut self) {
        let dark = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": "print", "features": dark}));
    }

    /// The picture of an element as it is on the screen, as a PNG.
    pub fn shot(&mut self, selector: &str) -> Vec<u8> {
        let place = format!(
            "(() => {{ const box = document.querySelector({}).getBoundingClientRect(); return {{x: box.x + scrollX, \
             y: box.y + scrollY, width: box.width, height: box.height, scale: 1}}; }})()",
            json!(selector)
        );
        let clip = self.eval(&place);
        self.captured(&clip)
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

    /// What is cut off, stands beyond the window's edge, or lies upon something else, in words. What scrolls by itself may
    /// be wider.
    pub fn misplaced(&mut self) -> Vec<String> {
        let found = self.eval(MISPLACED);
        found.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    }

    /// Where every element is, and how large.
    pub fn layout(&mut self) -> Value {
        self.eval(
            "[...document.body.querySelectorAll('*')].map(one => { const box = one.getBoundingClientRect(); \
             return [one.tagName, ...[box.x, box.y, box.width, box.height].map(Math.round)].join(' '); })",
        )
    }

    /// Writes the whole page as a picture into the folder that `OVENBIRD_PICTURES` names, for people to look at.
    pub fn picture(&mut self, name: &str) {
        let Some(folder) = std::env::var_os("OVENBIRD_PICTURES") else { return };
        let size = self.call("Page.getLayoutMetrics", json!({}))["cssContentSize"].take();
        let clip = json!({"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1});
        let bytes = self.captured(&clip);
        fs::create_dir_all(&folder).unwrap();
        fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
    }

    fn captured(&mut self, clip: &Value) -> Vec<u8> {
        use base64::Engine as _;
        let whole = json!({"format": "png", "captureBeyondViewport": true, "clip": clip});
        let shot = self.call("Page.captureScreenshot", whole);
        base64::engine::general_purpose::STANDARD.decode(shot["data"].as_str().unwrap()).unwrap()
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
