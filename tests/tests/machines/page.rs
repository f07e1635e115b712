//! The page of `ovenbird ui` on a real cloud, in a real browser: what happens on machines is seen as it happens.

use std::{
    fs,
    io::{BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use ovenbird_tests::{clients::within, fleet::Fleet, load::Load};
use serde_json::{Value, json};

use crate::{
    Cloud, PATIENCE,
    chromium::{Chromium, is_there},
};

const PORT: u16 = 14_820;

const RUNTIME: &str = r#"
pipeline = "runtime"
base.parameter = "/aws/service/debian/release/12/latest/amd64"
promote.channel = "stable"
step = [{ shell = "echo 17 > /opt/runtime" }]
test = [{ file = { path = "/opt/runtime", contains = "17" } }]
"#;

/// Its first step takes longer than the overview needs to tell of the bake, and its images go as soon as nothing needs them.
const SHOP: &str = r#"
pipeline = "shop"
base.channel = "runtime/stable"
artifact.to = "/opt/version"
retain = { newest = 1, days = 0, soak = 0 }
[[step]]
name = "counts"
shell = "for i in $(seq 14); do echo line $i; sleep 0.7; done"
[[step]]
name = "serves"
shell = """
cat >/etc/systemd/system/shop.service <<'END'
[Service]
WorkingDirectory=/opt
ExecStart=/usr/bin/python3 -m http.server 8080
[Install]
WantedBy=multi-user.target
END
systemctl enable shop
"""
[[test]]
name = "has a version"
command = "test -s /opt/version"
"#;

const ALONE: &str = "[promote]\nchannel = \"production\"\n";

const FOLLOWED: &str = r#"
[promote]
channel = "production"
groups = ["shop"]
[rollout]
stages = ["100%"]
watch = "3s"
soak = "1s"
pause-before = 1
healthy-within = "90s"
"#;

const BROKEN: &str = r#"
pipeline = "broken"
base.parameter = "/aws/service/debian/release/12/latest/amd64"
promote.channel = "stable"
step = [{ name = "breaks", shell = "echo it broke here; exit 7" }]
test = [{ command = "true" }]
"#;

/// The page, and a browser in front of it.
struct Page<'a> {
    cloud: &'a Cloud,
    server: Child,
    browser: Chromium,
    origin: String,
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

#[test]
fn what_happens_on_machines_is_seen_on_the_page_as_it_happens() -> Result<()> {
    if !is_there() {
        return Ok(());
    }
    let Some(cloud) = Cloud::up("page", PORT)? else { return Ok(()) };
    let begun = Instant::now();
    let told = |what: &str| eprintln!("page: {what} after {:.1} s", begun.elapsed().as_secs_f64());
    let mut page = Page::open(&cloud)?;
    page.browser.reads("No pipeline has a recipe yet.");
    push(&cloud, "broken", BROKEN)?;
    push(&cloud, "runtime", RUNTIME)?;
    push(&cloud, "shop", &format!("{SHOP}{ALONE}"))?;
    // Nobody has loaded the page again, here or below.
    page.stays();
    page.browser.reads("shop");
    let broken = start(&cloud, &["bake", "broken"])?;
    ends(start(&cloud, &["bake", "runtime"])?, 0)?;
    page.fails(broken)?;
    told("a bake that failed");

    let first = page.bakes_live()?;
    // From here on nobody counts.
    let quick = SHOP.replace("sleep 0.7", "true");
    push(&cloud, "shop", &format!("{quick}{ALONE}"))?;
    let second = baked(&cloud, "v2")?;
    told("two bakes");
    let group = Fleet::make(&cloud.local, "shop", 2, &second, 8080)?;
    told("a group");
    page.shows_what_stands(&second)?;
    push(&cloud, "shop", &format!("{quick}{FOLLOWED}"))?;
    let third = page.rolls_live(&group.address)?;
    ensure!(group.images()? == [third.as_str(); 2], "the group is not of {third}");
    told("a rollout");
    page.prunes(&first)?;
    told("a prune run");
    page.loses_the_cloud()?;
    told("all");
    Ok(())
}

impl<'a> Page<'a> {
    /// Starts `ovenbird ui`, and opens the address that it prints.
    fn open(cloud: &'a Cloud) -> Result<Self> {
        let mut command = cloud.local.command(&["ui", "--allow-changes", "--json"]);
        let mut server = command.stdout(Stdio::piped()).spawn()?;
        let output = BufReader::new(server.stdout.take().context("no output")?);
        let mut values = serde_json::Deserializer::from_reader(output).into_iter::<Value>();
        let printed = values.next().context("it printed nothing")??;
        let address = printed["address"].as_str().context("no address")?;
        let origin = address.split_once("/#").context("no token")?.0.to_owned();
        let mut browser = Chromium::start();
        browser.open(address);
        browser.until("document.title.startsWith('Overview')");
        Ok(Self { cloud, server, browser, origin })
    }

    /// Marks the document: whoever loads it again loses the mark.
    fn stays(&mut self) {
        self.browser.eval("window.still = true");
    }

    fn still(&mut self) -> Result<()> {
        ensure!(self.browser.eval("window.still") == true, "the page was loaded again");
        Ok(())
    }

    fn goes_to(&mut self, band: &str) {
        self.browser.click("nav a", band);
        self.browser.until(&format!("document.querySelector('h1')?.textContent == {}", json!(band)));
    }

    /// Everybody can read it, on a desk and on a phone.
    fn judged(&mut self, name: &str) -> Result<()> {
        for width in [360, 1280] {
            self.browser.look(width, false);
            self.browser.picture(&format!("real-{name}-{width}"));
            let wrong = [self.browser.violations(), self.browser.misplaced()].concat();
            ensure!(wrong.is_empty(), "{name} at {width}: {wrong:#?}");
        }
        ensure!(self.browser.complaints.is_empty(), "{:#?}", self.browser.complaints);
        Ok(())
    }

    /// The overview says that it failed, its page says why, and the command on it says more.
    fn fails(&mut self, bake: Child) -> Result<()> {
        ends(bake, 1)?;
        self.browser.reads("the last bake failed (StepFailed in stage builder)");
        self.still()?;
        self.browser.click("main td a", "failed");
        self.browser.reads("StepFailed in stage builder");
        self.browser.reads("exit 7");
        self.judged("failed")?;
        let command = self.browser.eval("document.querySelector('.alert code.cmd').textContent");
        let command = command.as_str().context("no command")?;
        let prefix = format!("ovenbird --local --port {PORT} ");
        let rest = command.strip_prefix(&prefix).with_context(|| command.to_owned())?;
        let said = self.cloud.local.ovenbird_says(&rest.split(' ').collect::<Vec<_>>())?;
        ensure!(said.0 == Some(0) && said.1.contains("it broke here"), "{command}: {said:?}");
        Ok(())
    }

    /// A bake is found on the overview while it runs; what its steps print is seen while they print it.
    fn bakes_live(&mut self) -> Result<String> {
        self.goes_to("Overview");
        self.stays();
        let bake = start(self.cloud, &["bake", "shop", "--artifact", &artifact(self.cloud, "v1")?])?;
        self.browser.reads("of shop: in stage builder");
        self.still()?;
        self.browser.click(".running a[href^='/bakes/shop/']", "");
        self.browser.reads("of 2: counts");
        self.stays();
        self.browser.until("document.querySelector('pre.tail')?.textContent.includes('line 3')");
        self.judged("bake-live")?;
        let running = "document.querySelector('dl .pill').textContent";
        ensure!(self.browser.eval(running) == "running", "the step was seen after its end");
        // Who has opened or copied something still sees what comes.
        self.browser.eval("document.querySelector('pre').focus()");
        self.browser.until(&format!("{running} == 'promoted'"));
        self.browser.reads("Tests on the builder: 1 passed, 0 failed");
        self.still()?;
        // It says when it was read, and that is not before what it shows.
        let times = "[...document.querySelectorAll('dd time, footer time')].map(one => one.dateTime)";
        ensure!(
            self.browser.eval(&format!("{times}.at(-1) >= {times}.at(-2)")) == true,
            "the page says that it is old"
        );
        ensure!(
            self.browser.eval("document.activeElement.closest('main') != null") == true,
            "the focus is lost"
        );
        self.browser.click("summary", "counts");
        self.browser.reads("line 14");
        self.judged("bake")?;
        ends(bake, 0)?;
        let image = self.browser.eval(
            "[...document.querySelectorAll('dt')].find(one => one.textContent == 'Image').nextElementSibling.querySelector('code').textContent",
        );
        Ok(image.as_str().context("no image")?.to_owned())
    }

    /// The bands of what stands: channels, bakes, lineage, fleet.
    fn shows_what_stands(&mut self, image: &str) -> Result<()> {
        self.goes_to("Overview");
        self.browser.reads("runtime/stable");
        let row = "[...document.querySelectorAll('tbody tr')].find(one => one.textContent.startsWith('shop/production'))?.innerText";
        for words in [image, "v2", "newest", "2"] {
            self.browser.until(&format!("{row}?.includes({})", json!(words)));
        }
        self.judged("overview")?;
        self.goes_to("Bakes");
        self.browser.until("document.querySelectorAll('svg.bar').length == 4");
        self.judged("bakes")?;
        self.goes_to("Lineage");
        self.browser.until("document.querySelectorAll('svg.graph .edge').length == 2");
        self.browser.reads("All stand on their newest base");
        self.judged("lineage")?;
        self.goes_to("Fleet");
        self.browser.click("summary", "2 machines");
        let machines = self.cloud.local.aws(&[
            "ec2",
            "describe-instances",
            "--filters",
            &format!("Name=image-id,Values={image}"),
        ])?;
        for one in machines["Reservations"].as_array().context("no machines")? {
            self.browser.reads(one["Instances"][0]["InstanceId"].as_str().context("no id")?);
        }
        self.judged("fleet")
    }

    /// A rollout is found in its band when it begins. It waits for a person, who sees how many requests there are and
    /// approves it; then old and new machines are seen beside each other, and its end.
    fn rolls_live(&mut self, address: &str) -> Result<String> {
        let load = Load::start(address, 10)?;
        let bake =
            start(self.cloud, &["bake", "shop", "--artifact", &artifact(self.cloud, "v3")?, "--json"])?;
        within("the rollout is listed", PATIENCE, || {
            post(address)?;
            self.browser.open(&format!("{}/rollouts", self.origin));
            let listed = self.browser.eval("document.querySelector('main th a') != null");
            ensure!(listed == true, "there is none yet");
            Ok(())
        })?;
        self.browser.click("main th a", "production-");
        self.browser.until("document.title.startsWith('Rollout ')");
        let path = self.browser.eval("location.pathname");
        let path = path.as_str().context("no path")?;
        self.stays();
        self.browser.reads("waits for a person's approval");
        self.counts_requests(address)?;
        self.still()?;
        self.judged("rollout-asks")?;
        self.browser.click("a.act", "approve");
        self.browser.click("#typed", "");
        self.browser.write("shop/production");
        self.browser.click("form button", "approve");
        self.browser.reads("is approved, and goes on.");
        self.browser.open(&format!("{}{path}", self.origin));
        self.stays();
        let count = |word: &str| {
            format!(
                "[...document.querySelectorAll('tbody tr td:nth-child(2)')].filter(one => one.innerText.includes('{word}')).length"
            )
        };
        self.browser.until(&format!("{} > 0 && {} > 0", count("old"), count("new")));
        self.judged("rollout-live")?;
        self.browser.until(&format!("{} == 2 && document.body.innerText.includes('2 new')", count("new")));
        self.browser.until("document.querySelector('dl .pill').textContent == 'settled'");
        self.still()?;
        self.judged("rollout")?;
        let bake = ends(bake, 0)?;
        let bake: Value = serde_json::from_str(&bake).context(bake)?;
        let image = bake["image"].as_str().context("no image")?.to_owned();
        let requests = load.stop()?;
        eprintln!("page: while it rolled: {requests}");
        ensure!(requests.lost.is_empty(), "{:#?}", requests.lost);
        self.goes_to("Fleet");
        let row = "[...document.querySelectorAll('tbody tr')].find(one => one.innerText.includes('current'))?.innerText";
        for words in [&image, "v3", "2 machines"] {
            self.browser.until(&format!("{row}?.includes({})", json!(words)));
        }
        Ok(image)
    }

    /// Of the requests that come, some are answered 501: the page says so of a minute that is over, as `CloudWatch` has it.
    fn counts_requests(&mut self, address: &str) -> Result<()> {
        let row = "document.querySelector('#requests ~ div tbody tr')?.innerText ?? ''";
        within("the requests are told", PATIENCE, || {
            post(address)?;
            let told = self.browser.eval(row);
            let told = told.as_str().context("no text")?;
            let number = |before: &str| -> Option<u64> {
                told.split_once(before)?.0.rsplit(|one: char| !one.is_ascii_digit()).next()?.parse().ok()
            };
            let (all, failed) = (number(" requests"), number(" answered 5xx by targets"));
            let (all, failed) = all.zip(failed).with_context(|| told.to_owned())?;
            ensure!(0 < failed && failed < all && all <= 660 + failed, "{told}");
            Ok(())
        })?;
        let name = self.browser.eval("document.querySelector('#requests ~ div tbody th').innerText");
        ensure!(name == "target group shop", "{name}");
        let words = self.browser.eval("document.querySelector('svg.minutes').ariaLabel");
        ensure!(
            words.as_str().is_some_and(|words| words.starts_with("Requests, by the minute: ")),
            "{words}"
        );
        Ok(())
    }

    /// A plan is made, and carried out, from the page alone; then the image is gone.
    fn prunes(&mut self, image: &str) -> Result<()> {
        self.goes_to("Prune");
        self.browser.click("a.act", "Make a plan");
        self.agrees("plan", "plan")?;
        self.browser.reads(image);
        self.browser.reads("1 image goes a step in this run.");
        self.judged("plan")?;
        self.browser.click("a.act", "Do what it says");
        self.browser.reads("to agree");
        let plan = self.browser.eval("document.querySelector('label strong').textContent");
        self.agrees(plan.as_str().context("no plan")?, "prune")?;
        self.browser.reads("carried out");
        let done =
            format!("document.querySelector('#runs ~ div tbody tr').innerText.includes({})", json!(image));
        self.browser.until(&done);
        self.still()?;
        self.judged("pruned")?;
        let left = self.cloud.local.aws(&["ec2", "describe-images", "--owners", "self"])?;
        ensure!(!left.to_string().contains(image), "{image} is still there: {left}");
        Ok(())
    }

    /// Types what the question asks for, and goes on to the newest runs.
    fn agrees(&mut self, word: &str, button: &str) -> Result<()> {
        self.browser.click("#typed", "");
        self.browser.write(word);
        self.browser.click("form button", button);
        self.browser.reads("begins.");
        self.browser.click("main a", "the newest runs");
        self.browser.until("document.title.startsWith('Prune')");
        self.stays();
        self.browser.until("document.querySelector('#runs ~ div tbody tr .pill').textContent == 'done'");
        self.still()
    }

    /// The cloud goes, and then the page: each is said.
    fn loses_the_cloud(&mut self) -> Result<()> {
        self.goes_to("Overview");
        self.stays();
        self.cloud.local.ovenbird(&["local", "down", "--yes"])?;
        self.browser.reads("Could not be read");
        self.browser.reads("ovenbird --local --port 14820 local up");
        let said = self.browser.eval("document.querySelector('main').innerText");
        ensure!(
            !said.to_string().contains("No pipeline has a recipe"),
            "it says what it doesn't know: {said}"
        );
        self.still()?;
        self.judged("no-cloud")?;
        let pid = i32::try_from(self.server.id())?;
        kill(Pid::from_raw(pid), Signal::SIGINT)?;
        ensure!(self.server.wait()?.success(), "`ovenbird ui` did not end well");
        self.browser.until(
            "getComputedStyle(document.querySelector('header'), '::after').content.includes('still running')",
        );
        ensure!(TcpStream::connect(self.origin.trim_start_matches("http://")).is_err());
        Ok(())
    }
}

fn push(cloud: &Cloud, name: &str, recipe: &str) -> Result<()> {
    let folder = cloud.home.join(name);
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("recipe.toml"), recipe)?;
    cloud.local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])
}

/// A request that Python's server of files answers with 501.
fn post(address: &str) -> Result<()> {
    let mut stream = TcpStream::connect(address)?;
    let head =
        format!("POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.lines().next().is_some_and(|line| line.contains(" 501 ")), "{answer}");
    Ok(())
}

/// A file with a version in it.
fn artifact(cloud: &Cloud, version: &str) -> Result<String> {
    let file = cloud.home.join(version);
    fs::write(&file, version)?;
    Ok(file.to_str().context("path")?.to_owned())
}

/// Starts a command whose output is read at its end.
fn start(cloud: &Cloud, arguments: &[&str]) -> Result<Child> {
    let mut command = cloud.local.command(arguments);
    Ok(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?)
}

/// Waits for a command's end; gives what it printed.
fn ends(mut command: Child, status: i32) -> Result<String> {
    let mut said = String::new();
    BufReader::new(command.stdout.take().context("no output")?).read_to_string(&mut said)?;
    let ended = command.wait()?;
    ensure!(ended.code() == Some(status), "it ended with {ended}: {said}");
    Ok(said)
}

fn baked(cloud: &Cloud, version: &str) -> Result<String> {
    let bake =
        cloud.local.ovenbird_json(&["bake", "shop", "--artifact", &artifact(cloud, version)?], false)?;
    Ok(bake["image"].as_str().context("no image")?.to_owned())
}
