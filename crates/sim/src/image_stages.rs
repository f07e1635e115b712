//! The stages of an image's life after it was made: deprecated, disabled, enabled again; who may start it, and whether it
//! is protected.
//!
//! Sources: the user guide's pages "Deprecate an AMI", "Disable an AMI", "Protect an AMI from deregistration", "Configure
//! instance metadata options for new instances", and the reference of `ModifyImageAttribute`.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ApiError, Image, ImageState, Result, World, refuse_dry_run};

/// A deprecation lies at most ten years ahead.
const FURTHEST: SignedDuration = SignedDuration::from_hours(10 * 365 * 24);

/// How long a protection with a cooldown outlasts itself.
const COOLDOWN: SignedDuration = SignedDuration::from_hours(24);

/// Somebody who may start an image beside its owner.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaunchPermission {
    /// Everybody: EC2's group `all`.
    All,
    /// An account.
    User(String),
    /// An organization, by its ARN.
    Organization(String),
    /// An organizational unit, by its ARN.
    OrganizationalUnit(String),
}

/// What an image has beside what it was made with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// From when on its owner advises against it.
    pub deprecated: Option<Timestamp>,
    /// Who may start it beside its owner.
    pub permissions: BTreeSet<LaunchPermission>,
    /// Whether it can't be deregistered.
    pub protected: bool,
    /// Whether that lasts for a day after it is lifted.
    pub cooldown: bool,
    /// Until when it can't be deregistered although nothing protects it any more.
    pub cools_until: Option<Timestamp>,
    /// Whether its instances accept IMDSv2 alone, unless their launch says otherwise.
    pub imdsv2: bool,
}

impl Standing {
    /// EC2's word for its protection. It is documented nowhere what EC2 shows during a cooldown.
    pub fn protection(&self) -> &'static str {
        match (self.protected, self.cooldown) {
            (true, true) => "enabled-with-cooldown",
            (true, false) => "enabled-without-cooldown",
            (false, _) => "disabled",
        }
    }

    /// EC2's word for the attribute `imdsSupport`; an image that takes IMDSv1, too, has none.
    pub fn imds_support(&self) -> Option<&'static str> {
        self.imdsv2.then_some("v2.0")
    }
}

impl World {
    /// Marks an image as deprecated from a time on, to the minute.
    pub fn enable_image_deprecation(
        &mut self,
        now: Timestamp,
        id: &str,
        at: Timestamp,
        dry_run: bool,
    ) -> Result<()> {
        let image = self.own_image_mut(id)?;
        if at < now || at.duration_since(now) > FURTHEST {
            let message = "DeprecateAt lies in the past, or more than ten years ahead.";
            return Err(ApiError::new("InvalidParameterValue", message));
        }
        refuse_dry_run(dry_run)?;
        image.standing.deprecated = Some(at);
        Ok(())
    }

    /// Takes that back; of an image that has no such mark, nothing.
    pub fn disable_image_deprecation(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?;
        refuse_dry_run(dry_run)?;
        image.standing.deprecated = None;
        Ok(())
    }

    /// Disables an image: nothing starts from it, and nobody else may any more, for good.
    pub fn disable_image(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?;
        match image.state {
            ImageState::Available | ImageState::Disabled => {}
            ImageState::Pending | ImageState::Failed => return Err(state(image)),
        }
        refuse_dry_run(dry_run)?;
        image.state = ImageState::Disabled;
        image.standing.permissions.clear();
        Ok(())
    }

    /// Enables a disabled image. Who else might start it before isn't known any more.
    pub fn enable_image(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?;
        if image.state != ImageState::Disabled {
            return Err(state(image));
        }
        refuse_dry_run(dry_run)?;
        image.state = ImageState::Available;
        Ok(())
    }

    /// Who may start an image beside its owner: the owner alone is told.
    pub fn launch_permissions(&mut self, id: &str) -> Result<BTreeSet<LaunchPermission>> {
        Ok(self.own_image_mut(id)?.standing.permissions.clone())
    }

    /// Lets others start an image, or no more.
    pub fn modify_launch_permissions(
        &mut self,
        id: &str,
        add: &[LaunchPermission],
        remove: &[LaunchPermission],
        dry_run: bool,
    ) -> Result<()> {
        let image = self.own_image_mut(id)?;
        if image.state == ImageState::Disabled {
            return Err(state(image));
        }
        refuse_dry_run(dry_run)?;
        image.standing.permissions.extend(add.iter().cloned());
        image.standing.permissions.retain(|one| !remove.contains(one));
        Ok(())
    }

    /// Protects an image from being deregistered; with a cooldown, for a day after that is lifted, too. Gives EC2's word
    /// for the protection.
    pub fn protect_image(&mut self, id: &str, cooldown: bool, dry_run: bool) -> Result<&'static str> {
        let image = self.own_image_mut(id)?;
        refuse_dry_run(dry_run)?;
        image.standing = Standing { protected: true, cooldown, ..image.standing.clone() };
        Ok(image.standing.protection())
    }

    /// Lifts that; of an image that isn't protected, nothing. A cooldown begins.
    pub fn unprotect_image(&mut self, now: Timestamp, id: &str, dry_run: bool) -> Result<&'static str> {
        let image = self.own_image_mut(id)?;
        refuse_dry_run(dry_run)?;
        if image.standing.protected && image.standing.cooldown {
            image.standing.cools_until = Some(now + COOLDOWN);
        }
        image.standing = Standing { protected: false, cooldown: false, ..image.standing.clone() };
        Ok(image.standing.protection())
    }

    /// Lets an image's instances accept IMDSv2 alone, unless their launch says otherwise. Nothing takes that back.
    pub fn require_imdsv2(&mut self, id: &str, dry_run: bool) -> Result<()> {
        let image = self.own_image_mut(id)?;
        refuse_dry_run(dry_run)?;
        image.standing.imdsv2 = true;
        Ok(())
    }
}

fn state(image: &Image) -> ApiError {
    let message =
        format!("The image {} is {}, which this operation doesn't allow.", image.id, image.state.as_str());
    ApiError::new("IncorrectState", message)
}
