//! Blue/green: two groups behind one load balancer, of which one serves. The other one gets the new image, then the
//! requests.
//!
//! What is to be done next is decided by what AWS says of both groups and of the weights, and not by what was done
//! before. So a step that was cut short, or ran twice, changes nothing.

use serde::{Deserialize, Serialize};

use super::{Group, GroupState, Refusal, Seen, Template};
use crate::domain::id::GroupName;

/// How many instances a group may have, and shall have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// The fewest.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// What it shall have now.
    pub desired: u32,
}

impl Sizes {
    /// A group's sizes.
    pub fn of(group: &Group) -> Self {
        Self { min: group.min, max: group.max, desired: group.desired }
    }

    /// No instances.
    fn none(self) -> Self {
        Self { min: 0, desired: 0, ..self }
    }
}

/// A target group's share of the requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weight {
    /// The target group's ARN.
    pub target_group: String,
    /// 0 to 999, of the sum of all.
    pub weight: u32,
}

/// A rule of a load balancer that shares requests out among target groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The rule's ARN.
    pub rule: String,
    /// The ARN of its listener.
    pub listener: String,
    /// Whether it is the listener's default rule, which is changed with the listener.
    pub is_default: bool,
    /// Who gets how much.
    pub weights: Vec<Weight>,
    /// For how long a client stays with its target group, in seconds; none means not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sticky: Option<u32>,
}

impl Route {
    /// How much of its requests goes to these target groups: a sum of weights.
    fn to(&self, target_groups: &[String]) -> u32 {
        let theirs = self.weights.iter().filter(|one| target_groups.contains(&one.target_group));
        theirs.map(|one| one.weight).sum()
    }

    fn knows(&self, target_groups: &[String]) -> bool {
        self.weights.iter().any(|one| target_groups.contains(&one.target_group))
    }
}

/// Two groups of which one serves, as a rollout finds them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The group that serves.
    pub live: GroupName,
    /// Its sizes.
    pub live_sizes: Sizes,
    /// The version that it launches, of which the new one is made.
    pub source: Template,
    /// Its target groups.
    pub from: Vec<String>,
    /// The sizes of the group that gets the image.
    pub sizes: Sizes,
    /// Its target groups.
    pub to: Vec<String>,
    /// The rules that share the requests out between both.
    pub routes: Vec<Route>,
    /// Whether the machines that served before are on their way out.
    #[serde(default)]
    pub leaving: bool,
}

impl Pair {
    /// The rules, so that this much of the requests, in per cent, goes to the group that gets the image.
    pub fn shared(&self, percent: u32) -> Vec<Route> {
        let mut routes = self.routes.clone();
        for one in routes.iter_mut().flat_map(|route| &mut route.weights) {
            one.weight = if self.to.contains(&one.target_group) { percent } else { 100 - percent };
        }
        routes
    }

    /// The same pair with those of its rules alone that are still there: what somebody deleted can't be changed.
    pub fn with_rules(self, there: &[Route]) -> Self {
        let routes = self.routes.into_iter().filter(|route| there.iter().any(|one| one.rule == route.rule));
        Self { routes: routes.collect(), ..self }
    }

    /// Whether the rules share the requests out like that.
    pub fn is_at(&self, routes: &[Route], percent: u32) -> bool {
        self.routes.iter().all(|route| {
            routes.iter().find(|one| one.rule == route.rule).is_some_and(|now| {
                let (to, all) = (now.to(&self.to), now.to(&self.to) + now.to(&self.from));
                all > 0 && to * 100 == all * percent
            })
        })
    }
}

/// What is to be done next with a pair.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Nothing: all is as it shall be.
    Nothing,
    /// AWS is at it. What is awaited.
    Await(String),
    /// A group gets this size, and this version where one is named.
    Resize {
        /// The group.
        group: GroupName,
        /// The version of the launch template; none leaves it.
        template: Option<Template>,
        /// Its size.
        sizes: Sizes,
    },
    /// This much of the requests, in per cent, goes to the group that gets the image.
    Share(u32),
}

/// Finds which of two groups serves, and the rules that share the requests out. Gives the pair, and the place of the
/// group that gets the image.
///
/// # Errors
/// Everything for which requests could get lost, or could not come back.
pub fn find_pair(groups: [&Seen; 2], routes: &[Route]) -> Result<(Pair, usize), Vec<Refusal>> {
    let [one, other] = groups.map(|seen| &seen.group);
    let refuse = |problem: String, fix: &str| vec![Refusal { problem, fix: fix.to_owned() }];
    for group in [one, other] {
        if group.target_groups.is_empty() {
            let problem =
                format!("group `{}` has no target group: there are no requests to move", group.name);
            return Err(refuse(problem, "Attach a target group, or use `strategy = \"rolling\"`"));
        }
    }
    if let Some(both) = one.target_groups.iter().find(|arn| other.target_groups.contains(arn)) {
        let name = target_group_name(both);
        let problem =
            format!("groups `{}` and `{}` are both behind target group `{name}`", one.name, other.name);
        return Err(refuse(problem, "Give each group a target group of its own"));
    }
    let is_ours = |route: &&Route| route.knows(&one.target_groups) || route.knows(&other.target_groups);
    let routes: Vec<Route> = routes.iter().filter(is_ours).cloned().collect();
    if routes.is_empty() {
        let problem =
            format!("no rule of a load balancer forwards to groups `{}` and `{}`", one.name, other.name);
        return Err(refuse(
            problem,
            "Let a listener forward to the target groups of both, with weights 100 and 0",
        ));
    }
    for route in &routes {
        let known = |arn: &String| one.target_groups.contains(arn) || other.target_groups.contains(arn);
        let only = route.weights.iter().all(|one| known(&one.target_group));
        if !only || !route.knows(&one.target_groups) || !route.knows(&other.target_groups) {
            let problem = format!(
                "rule {} does not forward to the target groups of `{}` and `{}` and to no others",
                arn_name(&route.rule),
                one.name,
                other.name
            );
            let fix = "Let it forward to both, so that no request is left with machines that go";
            return Err(refuse(problem, fix));
        }
    }
    let serves = |group: &Group| routes.iter().all(|route| route.to(&group.target_groups) > 0);
    let rests = |group: &Group| routes.iter().all(|route| route.to(&group.target_groups) == 0);
    let (live, idle, place) = match () {
        () if serves(one) && rests(other) => (one, other, 1),
        () if serves(other) && rests(one) => (other, one, 0),
        () => {
            let problem = format!(
                "not all requests go to one of the groups `{}` and `{}`: nobody can tell which one serves",
                one.name, other.name
            );
            let fix = "Give the target groups of one of them the weight 100 in every rule, and the others 0";
            return Err(refuse(problem, fix));
        }
    };
    // Without a number there is nothing to make a version of, and nothing to go back to: that is refused on its own.
    let Some(source) = live.template().cloned() else { return Err(Vec::new()) };
    let pair = Pair {
        live: live.name.clone(),
        live_sizes: Sizes::of(live),
        source,
        from: live.target_groups.clone(),
        sizes: Sizes::of(idle),
        to: idle.target_groups.clone(),
        routes,
        leaving: false,
    };
    Ok((pair, place))
}

/// What is to be done next so that this much of the requests, in per cent, goes to machines of the new image.
pub fn act(
    pair: &Pair,
    state: &GroupState,
    seen: &Seen,
    live: &Group,
    routes: &[Route],
    percent: u32,
) -> Act {
    let Some(after) = &state.after else { return Act::Await("a version with the image".into()) };
    let group = &seen.group;
    let resize = |template: Option<&Template>, sizes: Sizes| Act::Resize {
        group: group.name.clone(),
        template: template.cloned(),
        sizes,
    };
    let others = group.members.iter().filter(|one| !one.is_ending() && !one.is_of(after)).count();
    if others > 0 && pair.is_at(routes, 0) {
        if group.desired > 0 || group.min > 0 {
            return resize(None, Sizes::of(group).none());
        }
        return Act::Await(format!("{others} earlier machines of group `{}` to go", group.name));
    }
    // Once all requests go to it, its own scaling says how large it is.
    if !pair.is_at(routes, 100) {
        let desired = live.desired.max(group.desired);
        let sizes = Sizes { desired, ..pair.live_sizes };
        if group.template() != Some(after) || Sizes::of(group) != sizes {
            return resize(Some(after), sizes);
        }
    }
    let serving = group.members.iter().filter(|one| one.is_of(after) && seen.serves(one)).count();
    if serving < group.desired as usize {
        return Act::Await(format!("{serving} of {} new machines serve", group.desired));
    }
    if pair.is_at(routes, percent) { Act::Nothing } else { Act::Share(percent) }
}

/// What is to be done next so that all is as before: first the requests, then the machines. A group that is none was
/// deleted meanwhile; so was the version to go back to.
pub fn act_back(
    pair: &Pair,
    state: &GroupState,
    back: Option<&Template>,
    group: Option<&Group>,
    live: Option<&Seen>,
    routes: &[Route],
) -> Act {
    // Nothing is there to which the requests could go back.
    let Some(live) = live else { return Act::Nothing };
    let wanted = Sizes { desired: live.group.desired.max(pair.live_sizes.min), ..pair.live_sizes };
    if !pair.is_at(routes, 0) {
        if live.group.members.iter().any(|one| live.serves(one)) {
            return Act::Share(0);
        }
        // Its machines had begun to go.
        let serving = group.map_or(pair.live_sizes.desired, |group| group.desired);
        let wanted = Sizes { desired: serving.clamp(wanted.min, wanted.max), ..wanted };
        if live.group.desired < wanted.desired {
            return Act::Resize { group: pair.live.clone(), template: None, sizes: wanted };
        }
        return Act::Await(format!("machines of group `{}` to serve again", pair.live));
    }
    if Sizes::of(&live.group) != wanted {
        return Act::Resize { group: pair.live.clone(), template: None, sizes: wanted };
    }
    let Some(group) = group else { return Act::Nothing };
    let Some(back) = back else { return Act::Nothing };
    let template = (group.template() != Some(back)).then(|| back.clone());
    if template.is_some() || Sizes::of(group) != pair.sizes {
        return Act::Resize { group: group.name.clone(), template, sizes: pair.sizes };
    }
    let is_new =
        |after: &Template| group.members.iter().filter(|one| !one.is_ending() && one.is_of(after)).count();
    match state.after.as_ref().filter(|after| *after != back).map_or(0, is_new) {
        0 => Act::Nothing,
        new => Act::Await(format!("{new} machines of group `{}` to go", group.name)),
    }
}

impl Pair {
    /// What is to be done next so that the machines that served before are gone.
    pub fn act_drop(&self, live: &Group, routes: &[Route]) -> Act {
        if !self.is_at(routes, 100) {
            return Act::Share(100);
        }
        if live.desired > 0 || live.min > 0 {
            let sizes = Sizes::of(live).none();
            return Act::Resize { group: self.live.clone(), template: None, sizes };
        }
        match live.members.iter().filter(|one| !one.is_ending()).count() {
            0 => Act::Nothing,
            old => Act::Await(format!("{old} earlier machines of group `{}` to go", self.live)),
        }
    }
}

/// What people know of an ARN: `targetgroup/blue/0123456789abcdef` is `blue`.
fn target_group_name(arn: &str) -> &str {
    arn.rsplit('/').nth(1).unwrap_or(arn)
}

/// An ARN without the account's number, which no message should have.
pub fn arn_name(arn: &str) -> &str {
    arn.rsplit(':').next().unwrap_or(arn)
}
