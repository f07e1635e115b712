//! What EC2 holds by of a promoted image. That prune retires it all the same is seen at the end.

use anyhow::{Result, ensure};

use crate::Cloud;

/// It takes IMDSv2 alone, and nobody deregisters it by a slip.
pub fn attributes(cloud: &Cloud, image: &str) -> Result<()> {
    let shown = cloud.local.aws(&["ec2", "describe-images", "--image-ids", image])?;
    let shown = &shown["Images"][0];
    ensure!(shown["ImdsSupport"] == "v2.0", "{shown}");
    ensure!(shown["DeregistrationProtection"] == "enabled-without-cooldown", "{shown}");
    let slip = cloud.local.aws_refuses(&["ec2", "deregister-image", "--image-id", image])?;
    ensure!(slip.contains("OperationNotPermitted"), "{slip}");
    Ok(())
}
