//! Auto Scaling groups, their launch templates, and what watches over their machines.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::domain::{
    error::Result,
    id::{AmiId, GroupName, TemplateName},
    rollout::{AlarmState, FailedLaunch, Group, Launched, Refresh, Route, Sizes, Target, Template},
    template::LaunchTemplate,
};

/// What a new refresh is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshOrder {
    /// The group.
    pub group: GroupName,
    /// The version that its instances shall run from.
    pub to: Template,
    /// It ends when so many per cent of those that it has to replace are replaced; none means all.
    pub percent: Option<u32>,
    /// Alarms at which EC2 goes back by itself.
    pub alarms: Vec<String>,
    /// Whether EC2 goes back by itself when it can't go on.
    pub auto_rollback: bool,
}

/// What became of a request to go back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoesBack {
    /// The refresh goes back.
    Yes,
    /// There is no refresh under way.
    None,
    /// It can't go back; it may be cancelled.
    Never,
}

/// How Auto Scaling's description of a launch begins; the instance's id may follow.
pub const LAUNCHING: &str = "Launching a new EC2 instance";

/// Auto Scaling groups.
pub trait Groups {
    /// A group; none when there is none of this name.
    async fn group(&self, name: &GroupName) -> Result<Option<Group>>;
    /// The newest refresh of a group; none when it never had one, or none for six weeks.
    async fn newest_refresh(&self, group: &GroupName) -> Result<Option<Refresh>>;
    /// What Auto Scaling says of the launches that failed since then and after which none succeeded; none when there is
    /// none such.
    async fn failed_launch(&self, group: &GroupName, since: Timestamp) -> Result<Option<FailedLaunch>>;
    /// How many addresses each of these subnets has free; a subnet that is not there is left out.
    async fn free_addresses(&self, subnets: &[String]) -> Result<BTreeMap<String, u32>>;
    /// Starts a refresh: new instances before old ones, matching ones skipped. It takes no token, so look before it is
    /// asked again. Of a policy of mixed instances nothing changes but the version. Gives its id.
    async fn start_refresh(&self, order: &RefreshOrder) -> Result<String>;
    /// Lets the refresh under way go back.
    async fn roll_back_refresh(&self, group: &GroupName) -> Result<GoesBack>;
    /// Cancels the refresh under way, if there is one; what it replaced stays so.
    async fn cancel_refresh(&self, group: &GroupName) -> Result<()>;
    /// Lets a group launch this version of a launch template, and gives it these sizes; none leaves what is. Its machines
    /// stay what they are. Of a policy of mixed instances nothing changes but the version.
    async fn change(
        &self,
        group: &GroupName,
        template: Option<&Template>,
        sizes: Option<Sizes>,
    ) -> Result<()>;
    /// What a target group says of its targets: of one that is gone, that it has none.
    async fn targets(&self, target_group: &str) -> Result<Vec<Target>>;
    /// The states of alarms, in the order asked for.
    async fn alarms(&self, names: &[String]) -> Result<Vec<(String, AlarmState)>>;
}

/// Rules of load balancers.
pub trait Balancers {
    /// The rules that forward to any of these target groups, and the ARNs of those rules and listeners among them that
    /// are not this stack's to change.
    async fn find_routes(&self, target_groups: &[String]) -> Result<(Vec<Route>, Vec<String>)>;
    /// Rules by their ARNs, as they are now, without those that are gone.
    async fn routes(&self, rules: &[String]) -> Result<Vec<Route>>;
    /// Lets a rule share out requests like this.
    async fn share_out(&self, route: &Route) -> Result<()>;
}

/// Launch templates.
pub trait Templates {
    /// The default version of a template, with its image; none when there is no such template.
    async fn default_version(&self, name: &TemplateName) -> Result<Option<(Template, Option<AmiId>)>>;
    /// What a version launches; none when it isn't there.
    async fn launched(&self, template: &Template) -> Result<Option<Launched>>;
    /// A template with every version that is there; none when there is no such template.
    async fn every_version(&self, name: &TemplateName) -> Result<Option<LaunchTemplate>>;
    /// Makes a version that differs from this one in nothing but the image. The same token gives the same version.
    async fn with_image(&self, template: &Template, image: &AmiId, token: &str) -> Result<Template>;
    /// Makes a version the default one.
    async fn make_default(&self, template: &Template) -> Result<()>;
}
