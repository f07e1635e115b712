//! Rules of load balancers, by the model.

use ovenbird_core::{
    Result,
    domain::{
        rollout::{Route, Weight},
        tags::TAG_STACK,
    },
    ports::Balancers,
};
use ovenbird_sim::{
    World,
    load_balancing::{Action, Forward, ModifyListener, Rule, Weighted},
};

use super::{super::Cloud, translate};

/// A rule of the model in core's words; none when it forwards nothing.
fn route_of(world: &World, rule: &Rule) -> Option<Route> {
    let Action::Forward(forward) = &rule.action else { return None };
    let listener = world.listeners().find(|one| one.rules.iter().any(|known| known.arn == rule.arn))?;
    Some(Route {
        rule: rule.arn.clone(),
        listener: listener.arn.clone(),
        is_default: rule.priority.is_none(),
        weights: forward
            .groups
            .iter()
            .map(|one| Weight { target_group: one.group.clone(), weight: u32::from(one.weight) })
            .collect(),
        sticky: forward.stickiness,
    })
}

impl Balancers for Cloud {
    async fn find_routes(&self, target_groups: &[String]) -> Result<(Vec<Route>, Vec<String>)> {
        let stack = self.stack.to_string();
        let actions = [
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTags",
        ];
        self.call(&actions, |state| {
            let (mut routes, mut foreign) = (Vec::new(), Vec::new());
            for listener in state.world.listeners() {
                for rule in &listener.rules {
                    let Some(route) = route_of(&state.world, rule) else { continue };
                    if !route.weights.iter().any(|one| target_groups.contains(&one.target_group)) {
                        continue;
                    }
                    let (arn, tags) = if route.is_default {
                        (&listener.arn, &listener.tags)
                    } else {
                        (&rule.arn, &rule.tags)
                    };
                    if tags.get(TAG_STACK) != Some(&stack) {
                        foreign.push(arn.clone());
                    }
                    routes.push(route);
                }
            }
            Ok((routes, foreign))
        })
        .await
    }

    async fn routes(&self, rules: &[String]) -> Result<Vec<Route>> {
        self.call(&["elasticloadbalancing:DescribeRules"], |state| {
            let mut routes = Vec::new();
            for rule in rules {
                match state.world.describe_rules(None, std::slice::from_ref(rule)) {
                    Ok(found) => routes.extend(found.iter().filter_map(|one| route_of(&state.world, one))),
                    Err(error) if error.code == "RuleNotFound" => {}
                    Err(error) => {
                        return Err(translate("elasticloadbalancing:DescribeRules", "the rules", &error));
                    }
                }
            }
            Ok(routes)
        })
        .await
    }

    async fn share_out(&self, route: &Route) -> Result<()> {
        let action = Action::Forward(Forward {
            groups: route
                .weights
                .iter()
                .map(|one| Weighted {
                    group: one.target_group.clone(),
                    weight: u16::try_from(one.weight).expect("a weight is at most 999"),
                })
                .collect(),
            stickiness: route.sticky,
        });
        if route.is_default {
            return self
                .call(&["elasticloadbalancing:ModifyListener"], |state| {
                    let change =
                        ModifyListener { default_action: Some(action.clone()), ..ModifyListener::default() };
                    let changed = state.world.modify_listener(&route.listener, &change);
                    changed.map(drop).map_err(|error| {
                        translate("elasticloadbalancing:ModifyListener", "the listener", &error)
                    })
                })
                .await;
        }
        self.call(&["elasticloadbalancing:ModifyRule"], |state| {
            let changed = state.world.modify_rule(&route.rule, None, Some(&action));
            changed
                .map(drop)
                .map_err(|error| translate("elasticloadbalancing:ModifyRule", "the rule", &error))
        })
        .await
    }
}
