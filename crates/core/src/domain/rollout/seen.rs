//! What AWS says of a group, its machines and their targets, in our words.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::domain::id::{AmiId, GroupName, InstanceId};

/// A version of a launch template, by number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Template {
    /// The template's id: `lt-…`.
    pub id: String,
    /// Its name, or its id where AWS doesn't say the name.
    pub name: String,
    /// The version.
    pub version: u64,
}

/// What a version of a launch template launches, as far as a rollout must know it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Launched {
    /// The image that it names by its id; none for `resolve:ssm:…` and for a version without an image.
    pub image: Option<AmiId>,
    /// Whether it chooses instance types by their attributes (`InstanceRequirements`).
    pub by_attributes: bool,
}

/// What a group launches its instances by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Launches {
    /// A version of a launch template, named by its number.
    Template(Template),
    /// Something that a rollout can't bring back: `$Latest`, `$Default`, a launch configuration, types chosen by attributes.
    Unpinned {
        /// What it is, as in `the version $Latest of launch template web`.
        what: String,
        /// The command that makes it a numbered version, as far as one can tell.
        fix: String,
    },
}

/// What an override in a policy of mixed instances says beside an instance type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Override {
    /// It has a launch template of its own.
    pub template: bool,
    /// It has an image of its own.
    pub image: bool,
    /// It chooses types by their attributes (`InstanceRequirements`).
    pub attributes: bool,
}

impl Launches {
    /// What a group launches whose policy of mixed instances has this base and these overrides: the base, if no override
    /// launches something else.
    pub fn mixed(base: Self, overrides: &[Override]) -> Self {
        let any = |has: fn(&Override) -> bool| overrides.iter().any(has);
        let what = if any(|one| one.attributes) {
            "instance types that are chosen by attributes (`InstanceRequirements`)"
        } else if any(|one| one.image) {
            "an image that an override of its policy of mixed instances names"
        } else if any(|one| one.template) {
            "a launch template that an override of its policy of mixed instances names"
        } else {
            return base;
        };
        let fix = "Let the overrides name instance types alone; image and template come from the policy's own \
                   `LaunchTemplateSpecification`";
        Self::Unpinned { what: what.into(), fix: fix.into() }
    }
}

/// An Auto Scaling group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: GroupName,
    /// What it launches by.
    pub launches: Launches,
    /// The fewest instances that may be wanted of it.
    pub min: u32,
    /// The most instances that may be wanted of it.
    pub max: u32,
    /// How many instances it shall have.
    pub desired: u32,
    /// Its instances.
    pub members: Vec<Member>,
    /// The ARNs of its target groups.
    pub target_groups: Vec<String>,
    /// The processes that somebody suspended.
    pub suspended: Vec<String>,
    /// The subnets in which it launches.
    pub subnets: Vec<String>,
    /// Whether it has a warm pool.
    pub warm_pool: bool,
    /// Whether its instances count as several: an override has a `WeightedCapacity`.
    pub weighted: bool,
    /// Whether it is of this stack: it carries the tag `ovenbird:stack` with the stack's id.
    pub ours: bool,
}

impl Group {
    /// The version that it launches, if that is a number.
    pub fn template(&self) -> Option<&Template> {
        match &self.launches {
            Launches::Template(template) => Some(template),
            Launches::Unpinned { .. } => None,
        }
    }
}

/// An instance of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub instance: InstanceId,
    /// The version that it was launched by; none when Auto Scaling doesn't say.
    pub version: Option<(String, u64)>,
    /// Auto Scaling's word for where it is: `InService`, `Pending:Wait`.
    pub lifecycle: String,
    /// Whether Auto Scaling finds it healthy.
    pub healthy: bool,
}

impl Member {
    /// Whether it was launched by this version.
    pub fn is_of(&self, template: &Template) -> bool {
        self.version.as_ref().is_some_and(|(id, version)| *id == template.id && *version == template.version)
    }

    /// Whether it takes part in what the group does.
    pub fn in_service(&self) -> bool {
        self.lifecycle == "InService"
    }

    /// Whether it is on its way out.
    pub fn is_ending(&self) -> bool {
        self.lifecycle.starts_with("Terminat") || self.lifecycle.starts_with("Detach")
    }
}

/// Where a refresh is, as far as a rollout has to tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefreshState {
    /// Replacing.
    Running,
    /// Going back.
    RollingBack,
    /// Being cancelled.
    Cancelling,
    /// It did what it was to do.
    Successful,
    /// It went back, and all is as before it.
    RolledBack,
    /// It gave up: failed, cancelled, or could not go back.
    Failed,
}

impl RefreshState {
    /// Whether it is under way.
    pub fn is_active(self) -> bool {
        match self {
            Self::Running | Self::RollingBack | Self::Cancelling => true,
            Self::Successful | Self::RolledBack | Self::Failed => false,
        }
    }
}

/// An instance refresh of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refresh {
    /// Its id.
    pub id: String,
    /// Where it is.
    pub state: RefreshState,
    /// Auto Scaling's own word.
    pub status: String,
    /// What Auto Scaling says about it; empty when it says nothing.
    pub reason: String,
    /// How far it is, in per cent.
    pub percent: u32,
    /// The id and number of the version that it launches; none when it was not told.
    pub desired: Option<(String, u64)>,
}

impl Refresh {
    /// Whether it brings the group to this version.
    pub fn brings(&self, template: &Template) -> bool {
        self.desired.as_ref().is_some_and(|(id, version)| *id == template.id && *version == template.version)
    }
}

/// What a target group says of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TargetState {
    /// Not judged yet.
    Initial,
    /// Well.
    Healthy,
    /// Sick.
    Unhealthy,
    /// On its way out.
    Draining,
    /// Nothing sends to it, or nobody can tell.
    Unused,
}

/// An instance as one target group sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Which.
    pub instance: InstanceId,
    /// How it is.
    pub state: TargetState,
    /// Elastic Load Balancing's reason, as a code with its words; empty for a healthy one.
    pub reason: String,
    /// Whether an unhealthy one gives no answer at all (`Target.Timeout`, `Target.FailedHealthChecks`): it may not be up yet.
    pub silent: bool,
    /// Whether anomaly detection finds that it answers worse than the others.
    pub anomalous: bool,
}

/// The state of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmState {
    /// Quiet.
    Ok,
    /// Raised.
    Alarm,
    /// It has too little data to tell.
    InsufficientData,
    /// There is none of this name.
    Missing,
}

/// Everything that a verdict rests on, of one group at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: Timestamp,
    /// The group.
    pub group: Group,
    /// Its newest refresh.
    pub refresh: Option<Refresh>,
    /// What its target groups say.
    pub targets: Vec<Target>,
    /// The alarms of the rollout, by name.
    pub alarms: Vec<(String, AlarmState)>,
    /// The launches that failed and after which none succeeded; none when there is none such, or nobody asked.
    pub failed_launch: Option<FailedLaunch>,
}

/// Launches of a group that failed one after the other, up to now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedLaunch {
    /// When the first of them began.
    pub since: Timestamp,
    /// What Auto Scaling says of the newest.
    pub why: String,
}

impl FailedLaunch {
    /// What scaling activities that launch say, newest first: when each began, whether it succeeded, and why not. Those
    /// under way say nothing.
    pub fn of(launches: impl Iterator<Item = (Timestamp, bool, String)>) -> Option<Self> {
        let mut failed = launches.take_while(|(_, succeeded, _)| !succeeded);
        let (begun, _, why) = failed.next()?;
        Some(Self { since: failed.last().map_or(begun, |(begun, ..)| begun), why })
    }
}

impl Seen {
    /// Why the group launches no instance, to be added to what a rollout says; empty when it does.
    pub fn cannot_launch(&self) -> String {
        let failed = self.failed_launch.as_ref();
        failed.map(|one| format!("; Auto Scaling can't launch an instance: {}", one.why)).unwrap_or_default()
    }

    /// What the target groups say of an instance.
    pub fn targets_of<'a>(&'a self, instance: &'a InstanceId) -> impl Iterator<Item = &'a Target> {
        self.targets.iter().filter(move |target| target.instance == *instance)
    }

    /// Whether an instance serves: Auto Scaling and every target group find it well.
    pub fn serves(&self, member: &Member) -> bool {
        let mut targets = self.targets_of(&member.instance).peekable();
        let judged = self.group.target_groups.is_empty() || targets.peek().is_some();
        member.in_service()
            && member.healthy
            && judged
            && targets.all(|target| target.state == TargetState::Healthy && !target.anomalous)
    }
}
