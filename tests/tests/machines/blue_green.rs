//! Blue/green on real machines, under load: over, back while the earlier machines are kept, a bad version, and over for good.

use std::{fs, time::Instant};

use crate::{Cloud, PATIENCE};
use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::{Bake, Status};
use ovenbird_tests::{
    clients::within,
    fleet::Fleet,
    load::{Counts, Load},
    mailbox::Mailbox,
};

const PORT: u16 = 14_730;

/// Requests a second.
const RATE: u32 = 240;

const RECIPE: &str = r#"
pipeline = "shop"
[base]
newest = { owner = "136693071363", name = "debian-12-amd64-*" }
[artifact]
to = "/opt/shop/version"
[[step]]
name = "server"
shell = """
cat >/opt/shop/app.py <<'END'
import http.server
version = open("/opt/shop/version").read()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = version.encode()
        self.send_response(500 if version == "v3" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *arguments):
        pass
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
END
cat >/etc/systemd/system/shop.service <<'END'
[Service]
ExecStart=/usr/bin/python3 /opt/shop/app.py
[Install]
WantedBy=multi-user.target
END
systemctl enable shop
"""
[[test]]
command = "test -s /opt/shop/version"
[promote]
channel = "production"
parameter = "/images/shop/production"
"#;

const FOLLOWS: &str = r#"groups = ["shop-blue", "shop-green"]
[rollout]
strategy = "blue-green"
stages = ["20%", "100%"]
pause-before = 1
watch = "5s"
soak = "10s"
keep-for = "20s"
healthy-within = "90s"
"#;

struct Shop<'a> {
    cloud: &'a Cloud,
    fleet: Fleet<'a>,
    other: Fleet<'a>,
    mailbox: Mailbox<'a>,
}

#[test]
fn no_request_is_lost_while_one_group_takes_over_from_the_other() -> Result<()> {
    let Some(cloud) = Cloud::up("blue-green", PORT)? else { return Ok(()) };
    push(&cloud, RECIPE)?;
    let first = bake(&cloud, "v1", Status::Promoted)?;
    let fleet = Fleet::make(&cloud.local, "shop-blue", 2, &first, 8080)?;
    let other = fleet.beside("shop-green")?;
    push(&cloud, &format!("{RECIPE}{FOLLOWS}"))?;
    let shop = Shop { cloud: &cloud, fleet, other, mailbox: Mailbox::subscribe(&cloud.local)? };

    let load = Load::start(&shop.fleet.address, RATE)?;
    let second = bake(&cloud, "v2", Status::Validated)?;
    shop.approve(&second, 1)?;
    shop.watched(0)?;
    ensure!(shop.other.images()? == [second.as_str(); 2], "green is not of v2");
    let begun = Instant::now();
    cloud.local.ovenbird(&["rollout", "shop", "abort"])?;
    shop.ended(&first)?;
    let seconds = begun.elapsed().as_secs_f64();
    let counts = load.stop()?;
    eprintln!("v1 to v2, and back while v1's machines were kept, which took {seconds:.1} s: {counts}");
    check(&counts, &["v1", "v2"])?;
    shop.serves(&first, &shop.fleet, &shop.other)?;

    let load = Load::start(&shop.fleet.address, RATE)?;
    let bad = bake(&cloud, "v3", Status::Validated)?;
    shop.approve(&bad, 1)?;
    shop.watched(1)?;
    let counts = load.stop()?;
    eprintln!("v3, which answers 500: {counts}");
    check(&counts, &["v1"])?;
    shop.serves(&first, &shop.fleet, &shop.other)?;
    ensure!(bad != first, "v3 is v1's image");
    let (_, said) = cloud.local.ovenbird_says(&["rollout", "shop"])?;
    ensure!(said.contains("console of i-"), "{said}");

    let promote = ["promote", "shop", "--image", &second, "--channel", "production"];
    let (status, plan) = cloud.local.ovenbird_says(&[&promote[..], &["--dry-run"]].concat())?;
    let lines = ["  group shop-green\n", "% of the requests\n", "  group shop-blue\n-   2 instances"];
    ensure!(status == Some(0) && lines.iter().all(|line| plan.contains(line)), "{plan}");

    let load = Load::start(&shop.fleet.address, RATE)?;
    cloud.local.ovenbird(&[&promote[..], &["--yes"]].concat())?;
    shop.approve(&second, 2)?;
    shop.ended(&second)?;
    let counts = load.stop()?;
    eprintln!("v1 to v2 for good: {counts}");
    check(&counts, &["v1", "v2"])?;
    shop.serves(&second, &shop.other, &shop.fleet)
}

impl Shop<'_> {
    /// Approves an image with the command of the mail that asks for it, for the first time or the second.
    fn approve(&self, image: &str, time: usize) -> Result<()> {
        let command = "rollout shop --channel production approve";
        let asks = "waits for approval in channel production";
        let mail = format!("Ovenbird: pipeline shop: {image} {asks}: ovenbird {command}");
        self.mailbox.hear_times(&mail, time)?;
        self.cloud.local.ovenbird(&command.split(' ').collect::<Vec<_>>())
    }

    /// Watches the rollout until the channel has the image, or it is back.
    fn watched(&self, exit: i32) -> Result<()> {
        let status = self.cloud.local.ovenbird_shows(&["rollout", "shop", "--watch"])?;
        ensure!(status == Some(exit), "the rollout ended with status {status:?}");
        Ok(())
    }

    /// Waits until no rollout is under way and the channel has this image.
    fn ended(&self, image: &str) -> Result<()> {
        within("the end of the rollout", PATIENCE, || {
            let channels = self.cloud.local.ovenbird_json(&["history", "shop"], false)?;
            let channel = channels.get(0).context("no channel")?;
            ensure!(channel["rolling"].is_null() && channel["current"]["image"] == image, "{channel}");
            Ok(())
        })
    }

    /// All machines are of this image, in this group, and the other one has none.
    fn serves(&self, image: &str, group: &Fleet<'_>, rests: &Fleet<'_>) -> Result<()> {
        group.healthy(2)?;
        rests.healthy(0)?;
        ensure!(group.images()? == [image; 2], "{} is not of {image}", group.name);
        Ok(())
    }
}

fn push(cloud: &Cloud, recipe: &str) -> Result<()> {
    let folder = cloud.home.join("shop");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("recipe.toml"), recipe)?;
    cloud.local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])
}

/// Bakes a version, and gives its image.
fn bake(cloud: &Cloud, version: &str, status: Status) -> Result<String> {
    let file = cloud.home.join(version);
    fs::write(&file, version)?;
    let arguments = ["bake", "shop", "--artifact", file.to_str().context("path")?];
    let bake: Bake = serde_json::from_value(cloud.local.ovenbird_json(&arguments, true)?)?;
    ensure!(
        bake.progress.status == status,
        "{version} is {:?}: {:?}",
        bake.progress.status,
        bake.progress.failure
    );
    Ok(bake.progress.image.context("no image")?.to_string())
}

/// Nothing was lost, at the rate that was asked for, and each of these versions answered and no other.
fn check(counts: &Counts, versions: &[&str]) -> Result<()> {
    ensure!(counts.lost.is_empty(), "{counts}; the first lost: {:?}", counts.lost.first());
    ensure!(counts.rate() >= 200.0, "too little was asked: {counts}");
    let seen: Vec<&str> = counts.answers.keys().map(String::as_str).collect();
    ensure!(seen == versions, "{counts}, not of {versions:?}");
    Ok(())
}
