//! Rollouts: stages, verdicts, the way back, and what a channel says meanwhile.

use std::collections::BTreeMap;

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::rollout::{Outcome, Rollout},
    store::{Channel, Ledger},
};
use ovenbird_sim::{auto_scaling::Configuration, launch_templates::TemplateSpec};
use ovenbird_testkit::{
    Cloud, Fitness,
    walk::{
        account::walk,
        machine::{Diary, End},
        scenarios::{PLAIN, Run, Scenario},
        street::GROUP,
    },
};

/// A group of machines of v1 behind a load balancer, and v2 uploaded.
const STREET: Scenario =
    Scenario { name: "", group: 3, before: &["v1.jar"], runs: &[(0, Run::Upload("v2.jar"))], ..PLAIN };

/// What a street looked like before, and after its own runs.
struct Walked {
    cloud: Cloud,
    ends: BTreeMap<String, End>,
    before: View,
    after: View,
}

/// What operators would look at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct View {
    /// The image of the channel.
    channel: Option<String>,
    /// The image of each machine of the group.
    machines: Vec<String>,
    /// The image of the version that the group launches.
    launches: String,
    /// The image of the template's default version.
    default: String,
    /// The value of the parameter.
    parameter: Option<String>,
}

fn channel(cloud: &Cloud) -> Channel {
    block_on(Ledger(cloud).channels(&"storefront".parse().unwrap())).unwrap().remove(0)
}

fn view(cloud: &Cloud) -> View {
    let pipeline = "storefront".parse().unwrap();
    let channel = block_on(Ledger(cloud).channels(&pipeline)).unwrap();
    let image = |channel: &Channel| channel.current.as_ref().map(|target| target.image.to_string());
    let parameters = cloud.parameters();
    cloud.with(|world| {
        let group = world.auto_scaling_group(GROUP).unwrap();
        let template = world.launch_templates().next().unwrap();
        let of = |version: u64| template.version(version).unwrap().data.image.clone().unwrap();
        let Configuration::Template(TemplateSpec { version: Some(version), .. }) = &group.configuration
        else {
            panic!("{:?}", group.configuration)
        };
        View {
            channel: channel.first().and_then(image),
            machines: group.members.iter().map(|member| member.image.to_string()).collect(),
            launches: of(version.parse().unwrap()),
            default: of(template.default_version),
            parameter: parameters.get(&"/images/storefront/production".parse().unwrap()).cloned(),
        }
    })
}

fn walked(scenario: &Scenario) -> Walked {
    walked_with(scenario, |_| ())
}

fn walked_with(scenario: &Scenario, change: impl FnOnce(&Cloud)) -> Walked {
    let (cloud, ends) = scenario.account();
    assert!(ends.values().all(|end| matches!(end, End::Succeeded(_))), "{ends:?}");
    change(&cloud);
    let before = view(&cloud);
    let ends = walk(&cloud, &scenario.runs(), &Diary::default());
    cloud.pass(SignedDuration::from_secs(60));
    let after = view(&cloud);
    Walked { cloud, ends, before, after }
}

fn rollouts(cloud: &Cloud) -> Vec<Rollout> {
    block_on(Ledger(cloud).rollouts(&"storefront".parse().unwrap())).unwrap()
}

#[test]
fn a_good_image_comes_to_all_machines_then_to_the_channel_and_to_all_that_follows_it() {
    for size in [1, 3] {
        let Walked { cloud, ends, before, after } = walked(&Scenario { group: size, ..STREET });
        let rollout = &rollouts(&cloud)[0];
        assert_eq!(rollout.progress.outcome, Some(Outcome::Settled), "{ends:?} {rollout:#?}");
        let image = rollout.spec.image.to_string();
        assert_ne!(before.channel, Some(image.clone()));
        let all = View {
            channel: Some(image.clone()),
            machines: vec![image.clone(); size as usize],
            launches: image.clone(),
            default: image.clone(),
            parameter: Some(image),
        };
        assert_eq!(after, all);
        let channel = channel(&cloud);
        assert_eq!((channel.rolling, channel.waiting, channel.rejected), (None, None, Vec::new()));
    }
}

#[test]
fn a_bad_image_is_gone_and_all_is_as_before() {
    for fitness in [Fitness::Answers(500), Fitness::Silent, Fitness::DiesAfter(10), Fitness::DiesAfter(70)] {
        for size in [1, 3] {
            let Walked { cloud, ends, before, after } = walked(&Scenario { group: size, fitness, ..STREET });
            let rollout = &rollouts(&cloud)[0];
            assert_eq!(
                rollout.progress.outcome,
                Some(Outcome::Reverted),
                "{fitness:?} {ends:?} {rollout:#?}"
            );
            assert_eq!(after, before, "{fitness:?}");
            let reason = rollout.progress.reason.clone().unwrap();
            assert!(reason.contains("i-"), "no instance is named: {reason}");
            let channel = channel(&cloud);
            assert_eq!(channel.rolling, None);
            assert_eq!(channel.rejected[0].image, rollout.spec.image);
            assert!(channel.closed_to(&rollout.spec.image).unwrap().contains(&reason));
        }
    }
}
