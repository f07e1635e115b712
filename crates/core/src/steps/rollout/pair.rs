//! Blue/green: of two groups one serves. The other one gets the image, then the requests, and the first one goes after a
//! while.

use jiff::Timestamp;

use super::{
    LATER, RolloutDocument, RolloutPorts, To,
    begin::{Preflight, refusals_of, room},
    find, group,
    look::{conclude, failed_launch},
    revert::{stays, turn_back},
    see, wait,
};
use crate::{
    domain::{
        destination::{Destination, Share},
        error::{Error, Result},
        rollout::{
            Act, GroupState, Outcome, Pair, Refusal, Rollout, Route, Seen, Verdict, Wish, act, act_back,
            arn_name, find_pair, judge_pair,
        },
    },
    ports::Image,
    store::{Ledger, Versioned},
};

const GREEN_IS_GONE: &str = "somebody deleted the group that has the new image";
const LIVE_IS_GONE: &str = "somebody deleted the group that serves the earlier image";
const RULE_IS_GONE: &str = "somebody deleted a rule that shares out the requests";

/// Everything for which the requests can't be moved to the other group, and back. Finds which group that is.
pub(super) async fn preflight(
    to: &Destination,
    image: Option<&Image>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<Preflight> {
    let [one, other] = to.groups.as_slice() else {
        let problem = format!("{} groups follow the channel, and blue-green takes two", to.groups.len());
        let fix = "Name two groups, or use `strategy = \"rolling\"`".into();
        return Ok(Preflight { refused: vec![Refusal { problem, fix }], ..Preflight::default() });
    };
    let seen = [see(one, &to.policy.alarms, cloud, now).await?, see(other, &[], cloud, now).await?];
    let mut found = Preflight::default();
    for seen in &seen {
        found.refused.extend(refusals_of(seen, image, &to.policy, cloud).await?);
    }
    let targets: Vec<String> = seen.iter().flat_map(|seen| seen.group.target_groups.clone()).collect();
    let (routes, foreign) = cloud.find_routes(&targets).await?;
    for arn in foreign {
        found.refused.push(Refusal {
            problem: format!(
                "`{}` does not carry this stack's tag, so that Ovenbird may not change it",
                arn_name(&arn)
            ),
            fix: "aws elbv2 add-tags --resource-arns ARN --tags Key=ovenbird:stack,Value=STACK_ID".into(),
        });
    }
    let [one, other] = &seen;
    match find_pair([one, other], &routes) {
        Ok((pair, place)) => {
            let (idle, serving) = (&seen[place], &seen[1 - place]);
            let needed = serving.group.desired.saturating_sub(idle.group.desired);
            found.refused.extend(room(&idle.group, needed, cloud).await?);
            found.groups.extend(idle.group.template().map(|template| GroupState::new(idle, template)));
            found.pair = Some(pair);
        }
        Err(more) => found.refused.extend(more),
    }
    Ok(found)
}

/// Looks at both groups, and does what comes next.
pub(super) async fn look(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let policy = rollout.spec.to.policy.clone();
    let View { pair, green, live, routes } = View::of(&rollout, &policy.alarms, cloud, now).await?;
    let (mut green, live) = match (green, live, pair.clone().with_rules(&routes) == pair) {
        (Some(green), Some(live), true) => (green, live),
        (None, ..) => return turn_back(document, rollout, GREEN_IS_GONE, cloud, now).await,
        (_, None, _) => return turn_back(document, rollout, LIVE_IS_GONE, cloud, now).await,
        (.., false) => return turn_back(document, rollout, RULE_IS_GONE, cloud, now).await,
    };
    green.failed_launch = failed_launch(&rollout, cloud, now).await?;
    let state = &mut rollout.progress.groups[0];
    state.remember(&green);
    let verdict = judge_pair(&green, state, &policy);
    let percent = percent(rollout.progress.share(&policy));
    let next = act(&pair, &rollout.progress.groups[0], &green, &live.group, &routes, percent);
    let verdict = match (verdict, next) {
        (Verdict::Bad(fault), _) => Verdict::Bad(fault),
        (verdict, Act::Nothing) => verdict,
        // More requests only for what is known to be well.
        (Verdict::Wait(what), Act::Share(_)) => Verdict::Wait(what),
        (Verdict::Well | Verdict::Wait(_), next) => {
            Verdict::Wait(perform(&mut rollout, &pair, next, cloud, now).await?)
        }
    };
    conclude(document, rollout, (verdict, &green), cloud, now).await
}

/// The channel has the image. Keeps the machines that served before for a while, then lets them go.
pub(super) async fn keep(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    let ledger = Ledger(cloud);
    let policy = rollout.spec.to.policy.clone();
    let View { pair, green, live, routes } = View::of(&rollout, &policy.alarms, cloud, now).await?;
    let Some(live) = live else {
        // Somebody deleted what was to be kept.
        return end(document, rollout, cloud, now).await;
    };
    // Nothing of the new image serves any more: the earlier machines must, also where they had begun to go.
    let Some(green) = green else { return turn_back(document, rollout, GREEN_IS_GONE, cloud, now).await };
    let mut pair = pair.with_rules(&routes);
    if !pair.leaving {
        let state = &mut rollout.progress.groups[0];
        state.remember(&green);
        if rollout.progress.wish == Some(Wish::Abort) {
            return turn_back(document, rollout, "a person went back", cloud, now).await;
        }
        if let Verdict::Bad(fault) = judge_pair(&green, &rollout.progress.groups[0], &policy) {
            return turn_back(document, rollout, fault, cloud, now).await;
        }
        let left = policy.keep_for - rollout.progress.waited(now);
        let to = &rollout.spec.to;
        let channel = ledger.channel(&to.pipeline, &to.channel).await?;
        let newer = channel.is_some_and(|channel| channel.waiting.is_some());
        if left > 0 && !newer && rollout.progress.wish != Some(Wish::Skip) {
            rollout.progress.awaits = format!("the machines of group `{}` stay for {left} s more", pair.live);
            return wait(document, rollout, (To::Look, LATER), cloud).await;
        }
        // Before anything of it is done: from here on an error is no reason to go back.
        pair.leaving = true;
        rollout.progress.note(now, format!("the machines of group {} go", pair.live));
        rollout.progress.pair = Some(pair.clone());
        ledger.save_rollout(&mut rollout).await?;
    }
    let next = pair.act_drop(&live.group, &routes);
    if next != Act::Nothing {
        rollout.progress.awaits = perform(&mut rollout, &pair, next, cloud, now).await?;
        return wait(document, rollout, (To::Look, LATER), cloud).await;
    }
    end(document, rollout, cloud, now).await
}

async fn end(
    document: RolloutDocument,
    mut rollout: Versioned<Rollout>,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<RolloutDocument> {
    rollout.progress.end(Outcome::Settled, now);
    Ledger(cloud).save_rollout(&mut rollout).await?;
    Ok(document.go(&rollout, To::Finish, cloud))
}

/// Brings both groups a step further back; gives what is awaited, and none when all is as it was, as far as it is there.
pub(super) async fn bring_back(
    rollout: &mut Rollout,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<Option<String>> {
    if rollout.progress.pair.is_none() {
        return Ok(None);
    }
    let View { pair, green, live, routes } = View::of(rollout, &[], cloud, now).await?;
    if live.is_none() {
        let what = format!("group {} is gone: all other machines and rules stay as they are", pair.live);
        rollout.progress.note_once(now, what);
    }
    let pair = pair.with_rules(&routes);
    let group = green.as_ref().map(|green| &green.group);
    let state = rollout.progress.groups[0].clone();
    let back = cloud.launched(&state.before).await?.map(|_| &state.before);
    if back.is_none() {
        rollout.progress.note_once(now, stays(&state.name, &state.before));
    }
    match act_back(&pair, &state, back, group, live.as_ref(), &routes) {
        Act::Nothing => Ok(None),
        next @ (Act::Await(_) | Act::Resize { .. } | Act::Share(_)) => {
            perform(rollout, &pair, next, cloud, now).await.map(Some)
        }
    }
}

/// What AWS says of a pair now. A person may delete any of it at any time.
struct View {
    pair: Pair,
    green: Option<Seen>,
    live: Option<Seen>,
    routes: Vec<Route>,
}

impl View {
    async fn of(
        rollout: &Rollout,
        alarms: &[String],
        cloud: &impl RolloutPorts,
        now: Timestamp,
    ) -> Result<Self> {
        let state = group(rollout, 0)?;
        let Some(pair) = rollout.progress.pair.clone() else {
            return Err(Error::bad_input(
                format!("rollout `{}`", rollout.spec.id),
                "knows no pair of groups",
                "Deploy functions and state machine of one version",
            ));
        };
        let green = find(&state.name, alarms, cloud, now).await?;
        let live = find(&pair.live, &[], cloud, now).await?;
        let rules: Vec<String> = pair.routes.iter().map(|route| route.rule.clone()).collect();
        let routes = cloud.routes(&rules).await?;
        Ok(Self { pair, green, live, routes })
    }
}

/// Does it, and says what is awaited then.
async fn perform(
    rollout: &mut Rollout,
    pair: &Pair,
    act: Act,
    cloud: &impl RolloutPorts,
    now: Timestamp,
) -> Result<String> {
    match act {
        Act::Nothing => Ok(String::new()),
        Act::Await(what) => Ok(what),
        Act::Resize { group, template, sizes } => {
            cloud.change(&group, template.as_ref(), Some(sizes)).await?;
            let what = format!("group `{group}` to have {} machines", sizes.desired);
            rollout.progress.note(now, what.clone());
            Ok(what)
        }
        Act::Share(percent) => {
            for route in pair.shared(percent) {
                cloud.share_out(&route).await?;
            }
            let name = &rollout.progress.groups[0].name;
            let what = format!("{percent} % of the requests to go to group `{name}`");
            rollout.progress.note(now, what.clone());
            Ok(what)
        }
    }
}

/// How much of the requests a stage gives to the new image.
fn percent(share: Share) -> u32 {
    match share {
        Share::Percent(percent) => percent,
        // A recipe of a pair has none.
        Share::Instances(_) => 100,
    }
}
