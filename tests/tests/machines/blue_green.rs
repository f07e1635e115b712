//! Blue/green on real machines, under load: over, back while the earlier machines are kept, a bad version, and over for good.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ovenbird_core::domain::bake::Status;
use ovenbird_tests::{clients::within, fleet::Fleet, load::Load, mailbox::Mailbox};

use crate::{
    Cloud, PATIENCE,
    shop::{RATE, RECIPE, bake, check, push},
};

const PORT: u16 = 14_730;

const ALONE: &str = r#"
[promote]
channel = "production"
parameter = "/images/shop/production"
"#;

const FOLLOWS: &str = r#"
groups = ["shop-blue", "shop-green"]
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
    push(&cloud, &format!("{RECIPE}{ALONE}"))?;
    let first = bake(&cloud, "v1", &[], Status::Promoted)?;
    let fleet = Fleet::make(&cloud.local, "shop-blue", 2, &first, 8080)?;
    let other = fleet.beside("shop-green")?;
    push(&cloud, &format!("{RECIPE}{ALONE}{FOLLOWS}"))?;
    let shop = Shop { cloud: &cloud, fleet, other, mailbox: Mailbox::subscribe(&cloud.local)? };

    let second = shop.aborts(&first)?;

    let load = Load::start(&shop.fleet.address, RATE)?;
    let bad = bake(&cloud, "wrong", &[], Status::Validated)?;
    shop.approve(&bad, 1)?;
    shop.watched(1)?;
    let counts = load.stop()?;
    eprintln!("a version that answers 500: {counts}");
    check(&counts, &["v1"])?;
    shop.serves(&first, &shop.fleet, &shop.other)?;
    ensure!(bad != first, "the bad image is v1's");
    let (_, said) = cloud.local.ovenbird_says(&["rollout", "shop"])?;
    ensure!(said.contains("console of i-"), "{said}");

    let promote = ["promote", "shop", "--image", &second, "--channel", "production"];
    let (status, plan) = cloud.local.ovenbird_says(&[&promote[..], &["--dry-run"]].concat())?;
    let lines = ["  group shop-green\n", "% of the requests\n", "  group shop-blue\n-   2 instances"];
    ensure!(status == Some(0) && lines.iter().all(|line| plan.contains(line)), "{plan}");

    let load = Load::start(&shop.fleet.address, RATE)?;
    cloud.local.ovenbird(&[&promote[..], &["--yes"]].concat())?;
    shop.approve(&second, 4)?;
    shop.ended(&second)?;
    let counts = load.stop()?;
    eprintln!("v1 to v2 for good: {counts}");
    check(&counts, &["v1", "v2"])?;
    shop.serves(&second, &shop.other, &shop.fleet)
}

impl Shop<'_> {
    /// A person goes back from each stage, and once more while the earlier machines are kept. Gives the version's image.
    fn aborts(&self, first: &str) -> Result<String> {
        let moments =
            ["20 % of the requests to go", "100 % of the requests to go", "the channel has the image"];
        let mut image: Option<String> = None;
        for (time, moment) in moments.into_iter().enumerate() {
            let load = Load::start(&self.fleet.address, RATE)?;
            let second = match image {
                None => bake(self.cloud, "v2", &[], Status::Validated)?,
                Some(image) => {
                    let promote = ["promote", "shop", "--image", &image, "--channel", "production", "--yes"];
                    self.cloud.local.ovenbird(&promote)?;
                    image
                }
            };
            self.approve(&second, time + 1)?;
            within(moment, PATIENCE, || {
                let now = self.cloud.local.ovenbird_json(&["rollout", "shop"], false)?;
                ensure!(now["timeline"].to_string().contains(moment), "{now}");
                Ok(())
            })?;
            let begun = Instant::now();
            self.cloud.local.ovenbird(&["rollout", "shop", "abort"])?;
            self.ended(first)?;
            let seconds = begun.elapsed().as_secs_f64();
            let counts = load.stop()?;
            eprintln!("aborted at `{moment}`, back after {seconds:.1} s: {counts}");
            check(&counts, &["v1", "v2"])?;
            self.serves(first, &self.fleet, &self.other)?;
            image = Some(second);
        }
        image.context("no image")
    }

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
