//! A pipeline whose machines serve their version, and behave as it says: a bad version is told by its artifact alone.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::{Bake, Status};
use ovenbird_tests::load::Counts;

use crate::Cloud;

/// Requests a second: more than the 200 that every count is held to.
pub const RATE: u32 = 240;

/// The recipe, up to what follows its channel. Each version passes its test, which does not ask how it serves.
///
/// | version | how its machines behave |
/// |---|---|
/// | `wrong` | they answer 500 |
/// | `slow` | they answer after longer than their target group waits |
/// | `stuck` | their boot never ends |
/// | `dies` | each ends some seconds after its first answer |
/// | `leaks` | each takes more and more memory, until it has no more |
/// | any other | well |
pub const RECIPE: &str = r#"
pipeline = "shop"
[base]
newest = { owner = "136693071363", name = "debian-12-amd64-*" }
[builder]
concurrency = 6
[artifact]
to = "/opt/shop/version"
[[step]]
name = "server"
shell = """
cat >/opt/shop/app.py <<'END'
import asyncio, os, sys
version = open("/opt/shop/version").read()
status = "500 Internal Server Error" if version == "wrong" else "200 OK"
head = f"HTTP/1.1 {status}\\r\\nContent-Length: {len(version)}\\r\\n\\r\\n"
answer, kept, dying = (head + version).encode(), [], []

def end(why):
    print(why, file=sys.stderr, flush=True)
    os._exit(1)

def leak():
    try:
        kept.append(bytearray(2 << 20))
    except MemoryError:
        end("out of memory")
    asyncio.get_running_loop().call_later(0.5, leak)

class Client(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.text = transport, b""
    def data_received(self, data):
        *requests, self.text = (self.text + data).split(b"\\r\\n\\r\\n")
        for request in requests:
            closes = b"connection: close" in request.lower()
            asyncio.get_running_loop().call_later(5, self.say, closes) if version == "slow" else self.say(closes)
    def say(self, closes):
        self.transport.write(answer)
        if closes:
            self.transport.close()
        if version == "dies" and not dying:
            dying.append(asyncio.get_running_loop().call_later(4, end, "the disk is full"))

async def serve():
    if version == "leaks":
        leak()
    server = await asyncio.get_running_loop().create_server(Client, "", 8080, backlog=512)
    await server.serve_forever()

asyncio.run(serve())
END
cat >/etc/systemd/system/shop.service <<'END'
[Unit]
After=shop-boot.service
[Service]
ExecStart=/usr/bin/python3 /opt/shop/app.py
StandardError=journal+console
LimitAS=180M
[Install]
WantedBy=multi-user.target
END
cat >/etc/systemd/system/shop-boot.service <<'END'
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c '! grep -q stuck /opt/shop/version || sleep infinity'
[Install]
WantedBy=multi-user.target
END
systemctl enable shop shop-boot
"""
[[test]]
command = "test -s /opt/shop/version"
"#;

/// Pushes a recipe.
pub fn push(cloud: &Cloud, recipe: &str) -> Result<()> {
    let folder = cloud.home.join("shop");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("recipe.toml"), recipe)?;
    cloud.local.ovenbird(&["recipe", "push", folder.to_str().context("path")?])
}

/// Bakes a version, and gives its image.
pub fn bake(cloud: &Cloud, version: &str, options: &[&str], status: Status) -> Result<String> {
    let file: PathBuf = cloud.home.join(version);
    fs::write(&file, version)?;
    let arguments = ["bake", "shop", "--artifact", file.to_str().context("path")?];
    let bake: Bake =
        serde_json::from_value(cloud.local.ovenbird_json(&[&arguments[..], options].concat(), true)?)?;
    ensure!(
        bake.progress.status == status,
        "{version} is {:?}: {:?}",
        bake.progress.status,
        bake.progress.failure
    );
    Ok(bake.progress.image.context("no image")?.to_string())
}

/// Nothing was lost, at the rate that was asked for, and each of these versions answered and no other.
pub fn check(counts: &Counts, versions: &[&str]) -> Result<()> {
    ensure!(counts.lost.is_empty(), "{counts}; the first lost: {:?}", counts.lost.first());
    ensure!(counts.rate() >= 200.0, "too little was asked: {counts}");
    answered(counts, versions)
}

/// Each of these versions answered, and no other.
pub fn answered(counts: &Counts, versions: &[&str]) -> Result<()> {
    let seen: Vec<&str> = counts.answers.keys().map(String::as_str).collect();
    ensure!(seen == versions, "{counts}, not of {versions:?}");
    Ok(())
}
