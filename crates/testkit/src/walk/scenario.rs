//! What can be walked: an account before, executions, and what goes on in their machines.

use ovenbird_sim::{Consistency, Lack, Validation};

use crate::Fitness;

/// What goes on in the machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Machines {
    /// All is well.
    Work,
    /// A provisioning step fails.
    FailAStep,
    /// A test fails.
    FailATest,
    /// Somebody stops them in the middle of the seal, or they die in it.
    StopInTheSeal,
    /// They seal themselves, and can't report it.
    CannotReportTheSeal,
    /// They are never heard of.
    AreSilent,
    /// They are heard of until they are to test, and then no more.
    FallSilent,
    /// EC2 takes their spot capacity back in the middle of their steps.
    AreTakenBack,
    /// They boot again in the middle of their steps, as a step asks for.
    BootInAStep,
    /// Each takes its own time, so that who began later may end first.
    AreUneven,
}

/// How long machines take, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// From the launch to the user data.
    pub boot: i64,
    /// How long the steps take, in seconds.
    pub steps: i64,
    /// How long the tests take, in seconds.
    pub tests: i64,
    /// The seal, up to the stop.
    pub seal: i64,
    /// The image.
    pub imaging: i64,
}

/// What follows the channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Follows {
    /// A parameter.
    Parameter,
    /// A parameter, and a launch template that nothing of Ovenbird's launches from.
    Template,
    /// A parameter, a launch template, and a group of so many machines.
    Group(u32),
    /// The same, and the recipe asks a person before the last stage.
    Asked(u32),
    /// The same, unasked, and the group has a policy of mixed instances: two types, and spot.
    Mixed(u32),
    /// The same with two groups, of which one serves with so many machines.
    Pair(u32),
}

/// Which pairs of faults are walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// Every fault, with every fault in the clean-up after it.
    All,
    /// The same, of the first visit of each state: a rollout looks at its groups a hundred times, each time alike.
    OfEachState,
    /// None: another scenario has them.
    None,
}

/// One thing to walk.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it shows.
    pub name: &'static str,
    /// What goes on in the machines of its own executions; those before them work.
    pub machines: Machines,
    /// How long they take for it.
    pub times: Times,
    /// How SSM validates the parameter, from its own executions on.
    pub parameters: Validation,
    /// How soon answers show what its own executions change.
    pub consistency: Consistency,
    /// What EC2 has too little of.
    pub lack: Option<Lack>,
    /// The recipe's builder.
    pub builder: &'static str,
    /// More of the recipe.
    pub recipe: &'static str,
    /// More of the recipe's `[promote]`.
    pub promote: &'static str,
    /// How long images soak on their way out, of the recipe's `[retain]`.
    pub soak: &'static str,
    /// The recipe's deadlines.
    pub deadlines: &'static str,
    /// Whether it stands on a runtime, another pipeline's channel, and not on Debian itself.
    pub layered: bool,
    /// What follows the channel.
    pub follows: Follows,
    /// How the machines of images made of its own runs answer.
    pub fitness: Fitness,
    /// Artifacts that were uploaded before all others, and not baked.
    pub lying: &'static [&'static str],
    /// Artifacts that were baked and promoted before.
    pub before: &'static [&'static str],
    /// So many prune runs were made after that, eight days apart. The first image was shared with another account, and the
    /// Recycle Bin keeps what goes.
    pub retired: u64,
    /// An artifact whose execution, `lost`, ended for good before the first call of this state, a day ago.
    pub lost: Option<(&'static str, &'static str)>,
    /// More of the recipe, pushed after that.
    pub then: &'static str,
    /// Its executions, with the seconds after which each starts.
    pub runs: &'static [(u64, Run)],
    /// Where faults hit: calls by a state whose path has one of these in it; none means every call.
    pub only: &'static [&'static str],
    /// Which pairs of faults are walked.
    pub pairs: Pairs,
    /// How the last of its executions ends when nothing goes wrong: a status, or the name of an error.
    pub ends: &'static str,
}

/// An execution to start, or something that an operator does by hand.
#[derive(Debug, Clone, Copy)]
pub enum Run {
    /// An artifact was uploaded.
    Upload(&'static str),
    /// A bake was started by hand with this input.
    Manual(&'static str),
    /// The recipe is pushed once more, on another base: the runtime's channel.
    Push,
    /// The scheduled prune.
    Prune,
    /// A person takes back the image of this artifact: a prune run that does this alone.
    Undo(&'static str),
    /// The image of this artifact is written into the parameter: a rollback that Ovenbird hears nothing of.
    PutParameter(&'static str),
    /// A person steers the rollout, with `ovenbird`.
    Steer(Steer),
    /// The channel is moved back to what it pointed at before.
    PointBack,
    /// An instance is started from the image of this artifact.
    Launch(&'static str),
    /// The image of this artifact is shared with another account.
    Share(&'static str),
    /// The image of this artifact is deregistered by hand.
    Deregister(&'static str),
    /// Something else comes to name the image of this artifact: a plain parameter of somebody's.
    Name(&'static str),
}

/// What a person wants of a channel and its rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steer {
    /// Pause before the next stage.
    Pause,
    /// Go on.
    Resume,
    /// Leave out what is left of the stages.
    Skip,
    /// Bring it back.
    Abort,
    /// End it as it stands.
    Leave,
    /// Go back to the image before.
    RollBack,
    /// Promote the image of this artifact.
    Promote(&'static str),
    /// Let the group launch a version of its own, with nothing of Ovenbird.
    ChangeGroup,
    /// Delete something that the rollout works with.
    Delete(Thing),
}

/// What a person may delete under a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Thing {
    /// The Auto Scaling group of this name, with its machines.
    Group(&'static str),
    /// The launch template that follows the channel, though groups launch by it.
    Template,
    /// The rule beside the listener's default one.
    Rule,
}

impl Run {
    /// Whether it changes by hand what a channel or its parameter says.
    pub fn overrules(self) -> bool {
        match self {
            Self::PutParameter(_) | Self::PointBack | Self::Steer(Steer::ChangeGroup | Steer::Delete(_)) => {
                true
            }
            Self::Steer(_) => false,
            Self::Upload(_)
            | Self::Manual(_)
            | Self::Push
            | Self::Prune
            | Self::Undo(_)
            | Self::Launch(_)
            | Self::Share(_)
            | Self::Deregister(_)
            | Self::Name(_) => false,
        }
    }
}

impl Scenario {
    /// The scenario's executions, by name.
    pub fn runs(&self) -> Vec<(String, (u64, Run))> {
        let names = self.own_bakes();
        names.into_iter().zip(self.runs.iter().copied()).collect()
    }

    pub(super) fn own_bakes(&self) -> Vec<String> {
        (0..self.runs.len()).map(|number| format!("run-{number}")).collect()
    }
}
