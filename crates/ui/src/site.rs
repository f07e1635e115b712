//! The pages and where each is: under a path of the server, or in a file of a folder.

use ovenbird_core::domain::id::{AmiId, BakeId, ChannelName, PipelineName, RolloutId};

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Page {
    /// What is wrong, and all channels.
    Overview,
    /// One pipeline with its channels' histories and its bakes.
    Pipeline(PipelineName),
    /// The newest bakes of all pipelines.
    Bakes,
    /// One bake.
    Bake(PipelineName, BakeId),
    /// What stands on what.
    Lineage,
    /// Which machines run from which image.
    Fleet,
    /// The rollouts of all channels.
    Rollouts,
    /// One rollout.
    Rollout(PipelineName, RolloutId),
    /// The newest plan of a prune run.
    Prune,
    /// What that says of every image of one pipeline.
    PruneOf(PipelineName),
    /// What of the account and the stack would make a bake fail.
    Doctor,
    /// Asks before something is changed.
    Act(Act),
    /// Asks before a prune run is started.
    PruneAct(PruneAct),
}

/// A prune run that a person may start from the page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PruneAct {
    /// It only plans.
    Plan,
    /// It does what the plan of this run says.
    Run(BakeId),
    /// It takes an image back.
    Undo(AmiId),
}

impl PruneAct {
    /// The word on the button.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Plan => "plan",
            Self::Run(_) => "prune",
            Self::Undo(_) => "take back",
        }
    }

    /// What a person types to agree.
    pub fn agreement(&self) -> String {
        match self {
            Self::Plan => "plan".to_owned(),
            Self::Run(plan) => plan.to_string(),
            Self::Undo(image) => image.to_string(),
        }
    }

    /// The command that does the same.
    pub fn command(&self) -> String {
        match self {
            Self::Plan => "ovenbird prune --dry-run".to_owned(),
            // It makes a plan anew, and acts on that.
            Self::Run(_) => "ovenbird prune --yes".to_owned(),
            Self::Undo(image) => format!("ovenbird prune undo {image}"),
        }
    }

    fn parse(parts: &[&str]) -> Option<Self> {
        match parts {
            ["plan"] => Some(Self::Plan),
            ["prune", plan] => Some(Self::Run(BakeId::parse(plan).ok()?)),
            ["undo", image] => Some(Self::Undo(AmiId::parse(image).ok()?)),
            _ => None,
        }
    }
}

/// Something that a person may change from the page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Act {
    /// What.
    pub verb: Verb,
    /// Of which pipeline.
    pub pipeline: PipelineName,
    /// Of which channel.
    pub channel: ChannelName,
}

/// What is done to a channel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    /// Automation promotes nothing to it.
    Hold,
    /// That ends.
    Release,
    /// It goes back to its image before.
    RollBack,
    /// It goes to this image.
    Promote(AmiId),
    /// Its rollout pauses before the next stage.
    Pause,
    /// Its rollout goes on.
    Resume,
    /// The same, where it waits for a person's word.
    Approve,
    /// Its rollout leaves out what is left of its stages.
    Skip,
    /// Its rollout goes back.
    Abort,
    /// The same, where it waits for a person's word.
    Reject,
    /// Its rollout ends as it stands, where it can't go back.
    Leave,
}

impl Verb {
    /// The word in the path and for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Release => "release",
            Self::RollBack => "rollback",
            Self::Promote(_) => "promote",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Skip => "skip",
            Self::Abort => "abort",
            Self::Reject => "reject",
            Self::Leave => "leave",
        }
    }

    /// Whether the channel's history has room for a reason.
    pub fn takes_why(&self) -> bool {
        match self {
            Self::Hold | Self::RollBack | Self::Promote(_) => true,
            Self::Release | Self::Pause | Self::Resume | Self::Approve => false,
            Self::Skip | Self::Abort | Self::Reject | Self::Leave => false,
        }
    }
}

impl Act {
    /// What a person types to agree: the channel, and so no wrong one by habit.
    pub fn agreement(&self) -> String {
        format!("{}/{}", self.pipeline, self.channel)
    }

    /// What a person is asked.
    fn question(&self) -> String {
        let of = self.agreement();
        let of_rollout = || format!("{} the rollout of {of}?", capital(self.verb.word()));
        match &self.verb {
            Verb::RollBack => format!("Roll back {of}?"),
            Verb::Promote(image) => format!("Promote {image} to {of}?"),
            Verb::Hold | Verb::Release => format!("{} {of}?", capital(self.verb.word())),
            Verb::Pause | Verb::Resume | Verb::Approve | Verb::Skip => of_rollout(),
            Verb::Abort | Verb::Reject | Verb::Leave => of_rollout(),
        }
    }

    /// The command that does the same.
    pub fn command(&self) -> String {
        let Self { verb, pipeline, channel } = self;
        let of_rollout = || format!("ovenbird rollout {pipeline} {} --channel {channel}", verb.word());
        match verb {
            Verb::Hold | Verb::Release | Verb::RollBack => {
                format!("ovenbird {} {pipeline} --channel {channel}", verb.word())
            }
            Verb::Promote(image) => {
                format!("ovenbird promote {pipeline} --channel {channel} --image {image}")
            }
            Verb::Pause | Verb::Resume | Verb::Approve | Verb::Skip => of_rollout(),
            Verb::Abort | Verb::Reject | Verb::Leave => of_rollout(),
        }
    }

    fn parse(parts: &[&str]) -> Option<Self> {
        let (verb, pipeline, channel, rest) = match parts {
            [verb, pipeline, channel, rest @ ..] => (*verb, *pipeline, *channel, rest),
            _ => return None,
        };
        let verb = match (verb, rest) {
            ("promote", [image]) => Verb::Promote(AmiId::parse(image).ok()?),
            (word, []) => {
                let plain = [
                    Verb::Hold,
                    Verb::Release,
                    Verb::RollBack,
                    Verb::Pause,
                    Verb::Resume,
                    Verb::Approve,
                    Verb::Skip,
                    Verb::Abort,
                    Verb::Reject,
                    Verb::Leave,
                ];
                plain.into_iter().find(|verb| verb.word() == word)?
            }
            _ => return None,
        };
        let (pipeline, channel) = (PipelineName::parse(pipeline).ok()?, ChannelName::parse(channel).ok()?);
        Some(Self { verb, pipeline, channel })
    }
}

impl Page {
    /// The page at a path; none where there is none. Ids consist of letters, digits and dashes alone, so no path needs an
    /// escape, and none leads out of a folder.
    pub fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        match parts.as_slice() {
            [""] => Some(Self::Overview),
            ["bakes"] => Some(Self::Bakes),
            ["lineage"] => Some(Self::Lineage),
            ["fleet"] => Some(Self::Fleet),
            ["rollouts"] => Some(Self::Rollouts),
            ["prune"] => Some(Self::Prune),
            ["doctor"] => Some(Self::Doctor),
            ["pipelines", pipeline] => Some(Self::Pipeline(PipelineName::parse(pipeline).ok()?)),
            ["bakes", pipeline, bake] => {
                Some(Self::Bake(PipelineName::parse(pipeline).ok()?, BakeId::parse(bake).ok()?))
            }
            ["rollouts", pipeline, rollout] => {
                Some(Self::Rollout(PipelineName::parse(pipeline).ok()?, RolloutId::parse(rollout).ok()?))
            }
            ["prune", pipeline] => Some(Self::PruneOf(PipelineName::parse(pipeline).ok()?)),
            ["do", act @ ..] => {
                let of_prune = PruneAct::parse(act).map(Self::PruneAct);
                of_prune.or_else(|| Act::parse(act).map(Self::Act))
            }
            _ => None,
        }
    }

    /// Its path without the slash at the beginning.
    pub fn path(&self) -> String {
        match self {
            Self::Overview => String::new(),
            Self::Pipeline(pipeline) => format!("pipelines/{pipeline}"),
            Self::Bakes => "bakes".to_owned(),
            Self::Bake(pipeline, bake) => format!("bakes/{pipeline}/{bake}"),
            Self::Lineage => "lineage".to_owned(),
            Self::Fleet => "fleet".to_owned(),
            Self::Rollouts => "rollouts".to_owned(),
            Self::Rollout(pipeline, rollout) => format!("rollouts/{pipeline}/{rollout}"),
            Self::Prune => "prune".to_owned(),
            Self::Doctor => "doctor".to_owned(),
            Self::PruneOf(pipeline) => format!("prune/{pipeline}"),
            Self::Act(Act { verb, pipeline, channel }) => match verb {
                Verb::Promote(image) => format!("do/promote/{pipeline}/{channel}/{image}"),
                verb => format!("do/{}/{pipeline}/{channel}", verb.word()),
            },
            Self::PruneAct(PruneAct::Plan) => "do/plan".to_owned(),
            Self::PruneAct(PruneAct::Run(plan)) => format!("do/prune/{plan}"),
            Self::PruneAct(PruneAct::Undo(image)) => format!("do/undo/{image}"),
        }
    }

    /// Its title.
    pub fn title(&self) -> String {
        match self {
            Self::Overview => "Overview".to_owned(),
            Self::Pipeline(pipeline) => format!("Pipeline {pipeline}"),
            Self::Bakes => "Bakes".to_owned(),
            Self::Bake(_, bake) => format!("Bake {bake}"),
            Self::Lineage => "Lineage".to_owned(),
            Self::Fleet => "Fleet".to_owned(),
            Self::Rollouts => "Rollouts".to_owned(),
            Self::Rollout(_, rollout) => format!("Rollout {rollout}"),
            Self::Prune => "Prune".to_owned(),
            Self::Doctor => "Doctor".to_owned(),
            Self::PruneOf(pipeline) => format!("Images of {pipeline}"),
            Self::Act(act) => act.question(),
            Self::PruneAct(PruneAct::Plan) => "Plan a prune run?".to_owned(),
            Self::PruneAct(PruneAct::Run(plan)) => format!("Do what plan {plan} says?"),
            Self::PruneAct(PruneAct::Undo(image)) => format!("Take {image} back?"),
        }
    }

    /// Whether a reader of this page is on a page of the bar above it, or below that: `aria-current`.
    pub fn stands(&self, bar: &Page) -> Option<&'static str> {
        if self == bar {
            return Some("page");
        }
        let above = match self {
            Self::Pipeline(_) | Self::Act(_) => Self::Overview,
            Self::Bake(..) => Self::Bakes,
            Self::Rollout(..) => Self::Rollouts,
            Self::PruneOf(_) | Self::PruneAct(_) => Self::Prune,
            Self::Overview
            | Self::Bakes
            | Self::Lineage
            | Self::Fleet
            | Self::Rollouts
            | Self::Prune
            | Self::Doctor => return None,
        };
        (above == *bar).then_some("true")
    }

    /// The file that it is in, in a folder.
    pub fn file(&self) -> String {
        match self {
            Self::Overview => "index.html".to_owned(),
            other => format!("{}.html", other.path()),
        }
    }

    /// Where the page leads from another one, in the given form.
    pub fn href(&self, form: Form, from: &Page) -> String {
        match form {
            Form::Live => format!("/{}", self.path()),
            Form::Export => format!("{}{}", up(from), self.file()),
        }
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// The way from a page's file up to the folder of all.
pub fn up(from: &Page) -> String {
    "../".repeat(from.file().matches('/').count())
}

/// Where the pages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// On the server.
    Live,
    /// In a folder.
    Export,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_page_is_found_by_its_path_and_nothing_else_is() {
        for path in [
            "/",
            "/bakes",
            "/lineage",
            "/fleet",
            "/rollouts",
            "/prune",
            "/prune/shop",
            "/pipelines/shop",
            "/bakes/shop/shop-1",
            "/do/hold/shop/production",
            "/do/promote/shop/production/ami-0123456789abcdef0",
            "/do/abort/shop/production",
            "/do/approve/shop/production",
            "/do/reject/shop/production",
            "/do/leave/shop/production",
        ] {
            let page = Page::parse(path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(format!("/{}", page.path()), path);
        }
        for path in [
            "",
            "/nothing",
            "/pipelines/",
            "/pipelines/../shop",
            "/pipelines/%2e%2e",
            "/bakes/shop/a%2fb",
            "/bakes/shop/..",
            "/do/promote/shop/production",
            "/do/hold/shop/production/ami-0123456789abcdef0",
            "/do/hold/shop",
        ] {
            assert_eq!(Page::parse(path), None, "{path}");
        }
    }

    #[test]
    fn in_a_folder_every_link_leads_from_where_it_stands() {
        let bake = Page::parse("/bakes/shop/shop-1").unwrap();
        assert_eq!(bake.href(Form::Export, &Page::Overview), "bakes/shop/shop-1.html");
        assert_eq!(Page::Overview.href(Form::Export, &bake), "../../index.html");
        assert_eq!(Page::Fleet.href(Form::Live, &bake), "/fleet");
    }
}
