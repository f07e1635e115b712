//! Two that meet: the other runs whole, from its beginning to its end, between any two calls of the one.

use super::{
    scenarios::{Follows, MORE_TESTS, PLAIN, Run, STAGED, Scenario, Steer, Thing},
    street::GROUP,
};

/// Two runs that can meet.
#[derive(Debug, Clone, Copy)]
pub struct Meeting {
    /// The account, and both runs: the one and the other, in this order.
    pub scenario: Scenario,
    /// How each of the two may end: statuses, or names of errors.
    pub ends: [&'static [&'static str]; 2],
    /// The last call before the removal of an image that can see what the other does; what is done after it comes too
    /// late, and is not walked.
    pub seen_by: Option<&'static str>,
}

const fn meeting(
    name: &'static str,
    runs: &'static [(u64, Run); 2],
    ends: [&'static [&'static str]; 2],
) -> Meeting {
    let scenario = Scenario { name, before: &["v1.jar", "v2.jar", "v3.jar"], runs, ..PLAIN };
    Meeting { scenario, ends, seen_by: None }
}

const BAKED: &[&str] = &["promoted"];
const PRUNED: &[&str] = &["succeeded"];
const DONE: &[&str] = &["done"];
/// A bake that hands its image over to a rollout, or that something newer was faster than.
const HANDED: &[&str] = &["validated", "superseded"];
/// What a person asks for can be too early or too late.
const ASKED: &[&str] = &["done", "BadInput"];

const OLDEST: Run = Run::Manual(r#"{"artifact": "artifacts/storefront/v0.jar"}"#);
const FORCED: Run = Run::Manual(r#"{"pipeline": "storefront", "force": true}"#);
const RUNTIME: Run = Run::Manual(r#"{"pipeline": "jvm-runtime", "force": true}"#);
const UNDO: Run = Run::Undo("v1.jar");
const V1: Run = Run::Upload("v1.jar");
const V3: Run = Run::Upload("v3.jar");
const V4: Run = Run::Upload("v4.jar");
const V5: Run = Run::Upload("v5.jar");

/// All that is walked.
pub const MEETINGS: &[Meeting] = &[
    meeting(
        "a promotion, and a newer one meanwhile",
        &[(0, V4), (0, V5)],
        [&["promoted", "superseded"], BAKED],
    ),
    with_oldest(meeting(
        "a promotion, and an older one meanwhile",
        &[(0, V4), (0, OLDEST)],
        [BAKED, &["superseded"]],
    )),
    // The forced one's image takes the place of the image that the other was about to promote.
    meeting(
        "a promotion, and a forced one of the same artifact meanwhile",
        &[(0, V3), (0, FORCED)],
        [&["promoted", "NotPromotable"], BAKED],
    ),
    meeting("a rollback by upload, and the same again meanwhile", &[(0, V1), (0, V1)], [BAKED, BAKED]),
    meeting("a rollback by upload, and a new version meanwhile", &[(0, V1), (0, V4)], [BAKED, BAKED]),
    meeting("prune, and a bake meanwhile", &[(0, Run::Prune), (0, V4)], [PRUNED, BAKED]),
    meeting("a bake, and prune meanwhile", &[(0, V4), (0, Run::Prune)], [BAKED, PRUNED]),
    meeting("prune, and a rollback by upload meanwhile", &[(0, Run::Prune), (0, V1)], [PRUNED, BAKED]),
    meeting("a rollback by upload, and prune meanwhile", &[(0, V1), (0, Run::Prune)], [BAKED, PRUNED]),
    meeting(
        "prune, and the channel moved back by hand meanwhile",
        &[(0, Run::Prune), (0, Run::PointBack)],
        [PRUNED, DONE],
    ),
    Meeting {
        seen_by: Some("ec2:DescribeImageReferences"),
        ..meeting(
            "prune, and an instance of the old image meanwhile",
            &[(0, Run::Prune), (0, Run::Launch("v1.jar"))],
            [PRUNED, DONE],
        )
    },
    Meeting {
        seen_by: Some("ec2:DescribeImageReferences"),
        ..meeting(
            "prune, and a rollback by put-parameter meanwhile",
            &[(0, Run::Prune), (0, Run::PutParameter("v1.jar"))],
            [PRUNED, DONE],
        )
    },
    staged(Meeting {
        seen_by: Some("ec2:DescribeImageReferences"),
        ..meeting(
            "prune at the first stage, and something that names the old image meanwhile",
            &[(0, Run::Prune), (0, Run::Name("v1.jar"))],
            [PRUNED, DONE],
        )
    }),
    staged(meeting(
        "prune at the first stage, and prune again meanwhile",
        &[(0, Run::Prune), (0, Run::Prune)],
        [PRUNED, PRUNED],
    )),
    staged(meeting(
        "prune at the first stage, and a rollback by upload meanwhile",
        &[(0, Run::Prune), (0, V1)],
        [PRUNED, BAKED],
    )),
    meeting(
        "prune, and the old image deregistered by hand meanwhile",
        &[(0, Run::Prune), (0, Run::Deregister("v1.jar"))],
        [PRUNED, DONE],
    ),
    retired(
        2,
        meeting(
            "prune at the last stage, and the image deregistered by hand meanwhile",
            &[(0, Run::Prune), (0, Run::Deregister("v1.jar"))],
            [PRUNED, DONE],
        ),
    ),
    staged(meeting(
        "prune at the first stage, and a person takes the image back meanwhile",
        &[(0, Run::Prune), (0, UNDO)],
        [PRUNED, &["succeeded", "BadInput"]],
    )),
    retired(
        1,
        meeting(
            "prune at the second stage, and a person takes the image back meanwhile",
            &[(0, Run::Prune), (0, UNDO)],
            [PRUNED, PRUNED],
        ),
    ),
    retired(
        2,
        meeting(
            "prune at the last stage, and a person takes the image back meanwhile",
            &[(0, Run::Prune), (0, UNDO)],
            // While it is deregistered, a person is told to ask again.
            [PRUNED, &["succeeded", "PruneIncomplete"]],
        ),
    ),
    retired(
        2,
        meeting(
            "a person takes an image back that is due to go, and prune meanwhile",
            &[(0, UNDO), (0, Run::Prune)],
            [PRUNED, PRUNED],
        ),
    ),
    retired(
        3,
        meeting(
            "a person takes an image out of the Recycle Bin, and prune meanwhile",
            &[(0, UNDO), (0, Run::Prune)],
            [PRUNED, PRUNED],
        ),
    ),
    retired(
        3,
        meeting(
            "a person takes an image out of the Recycle Bin, and another one meanwhile",
            &[(0, UNDO), (0, UNDO)],
            [PRUNED, PRUNED],
        ),
    ),
    meeting("prune, and prune again meanwhile", &[(0, Run::Prune), (0, Run::Prune)], [PRUNED, PRUNED]),
    meeting("prune, and a forced bake meanwhile", &[(0, Run::Prune), (0, FORCED)], [PRUNED, BAKED]),
    meeting("a forced bake, and prune meanwhile", &[(0, FORCED), (0, Run::Prune)], [BAKED, PRUNED]),
    meeting(
        "a promotion, and the channel moved back by hand meanwhile",
        &[(0, V4), (0, Run::PointBack)],
        [BAKED, DONE],
    ),
    // Put back between the write and the look at it, the parameter never takes the image.
    meeting(
        "a promotion, and its parameter put back by hand meanwhile",
        &[(0, V4), (0, Run::PutParameter("v2.jar"))],
        [&["promoted", "DeadlinePassed"], DONE],
    ),
    lost(
        "Seal",
        meeting(
            "prune reaps a bake that died with a builder, and prune again meanwhile",
            &[(0, Run::Prune), (0, Run::Prune)],
            [PRUNED, PRUNED],
        ),
    ),
    lost(
        "LookAtPromotion",
        meeting(
            "prune finishes a promotion that died, and prune again meanwhile",
            &[(0, Run::Prune), (0, Run::Prune)],
            [PRUNED, PRUNED],
        ),
    ),
    lost(
        "LookAtPromotion",
        meeting(
            "prune finishes a promotion that died, and a newer one meanwhile",
            &[(0, Run::Prune), (0, V5)],
            [PRUNED, BAKED],
        ),
    ),
    lost(
        "LookAtPromotion",
        meeting(
            "a promotion, and prune finishes an older one that died meanwhile",
            &[(0, V5), (0, Run::Prune)],
            [BAKED, PRUNED],
        ),
    ),
    lost(
        "Promote",
        meeting(
            "prune reaps a dead bake, and its artifact is baked again meanwhile",
            &[(0, Run::Prune), (0, V4)],
            [PRUNED, BAKED],
        ),
    ),
    lost(
        "Promote",
        meeting(
            "an artifact is baked again, and prune reaps its dead bake meanwhile",
            &[(0, V4), (0, Run::Prune)],
            [BAKED, PRUNED],
        ),
    ),
    layered(meeting(
        "a promotion with its children, and prune meanwhile",
        &[(0, RUNTIME), (0, Run::Prune)],
        [BAKED, PRUNED],
    )),
    layered(meeting(
        "prune, and a promotion with its children meanwhile",
        &[(0, Run::Prune), (0, RUNTIME)],
        [PRUNED, BAKED],
    )),
    retested(meeting(
        "an old image tested again, and prune meanwhile",
        &[(0, V1), (0, Run::Prune)],
        [BAKED, PRUNED],
    )),
    retested(meeting(
        "prune, and an old image tested again meanwhile",
        &[(0, Run::Prune), (0, V1)],
        [PRUNED, BAKED],
    )),
    rolled(meeting("a rollout, and a newer version meanwhile", &[(0, V3), (0, V4)], [HANDED, HANDED])),
    rolled(meeting(
        "a rollout, and a person promotes an older image meanwhile",
        &[(0, V3), (0, Run::Steer(Steer::Promote("v1.jar")))],
        [HANDED, DONE],
    )),
    rolled(meeting(
        "a rollout, and a rollback by a person meanwhile",
        &[(0, V3), (0, Run::Steer(Steer::RollBack))],
        [HANDED, ASKED],
    )),
    rolled(meeting(
        "a rollout, and a person aborts it meanwhile",
        &[(0, V3), (0, Run::Steer(Steer::Abort))],
        [HANDED, ASKED],
    )),
    rolled(meeting(
        "a rollout, and a person leaves out its stages meanwhile",
        &[(0, V3), (0, Run::Steer(Steer::Skip))],
        [HANDED, ASKED],
    )),
    rolled(meeting(
        "a rollout, and its group changed by hand meanwhile",
        &[(0, V3), (0, Run::Steer(Steer::ChangeGroup))],
        [HANDED, DONE],
    )),
    rolled(meeting(
        "a rollout, and its group deleted by hand meanwhile",
        &[(0, V3), (0, Run::Steer(Steer::Delete(Thing::Group(GROUP))))],
        [HANDED, DONE],
    )),
    rolled(meeting("a rollout, and prune meanwhile", &[(0, V3), (0, Run::Prune)], [HANDED, PRUNED])),
];

/// A group of machines follows the channel.
const fn rolled(meeting: Meeting) -> Meeting {
    let scenario = Scenario { follows: Follows::Group(2), before: &["v1.jar", "v2.jar"], ..meeting.scenario };
    Meeting { scenario, ..meeting }
}

/// Images go by stages.
const fn staged(meeting: Meeting) -> Meeting {
    Meeting { scenario: Scenario { soak: STAGED, ..meeting.scenario }, ..meeting }
}

/// Images go by stages, and the first one has come so far.
const fn retired(runs: u64, meeting: Meeting) -> Meeting {
    let Meeting { scenario, .. } = staged(meeting);
    Meeting { scenario: Scenario { retired: runs, ..scenario }, ..meeting }
}

/// A bake of the fourth version died before the first call of this state, a day ago.
const fn lost(state: &'static str, meeting: Meeting) -> Meeting {
    Meeting { scenario: Scenario { lost: Some(("v4.jar", state)), ..meeting.scenario }, ..meeting }
}

/// An artifact older than all others lies in the bucket, not baked.
const fn with_oldest(meeting: Meeting) -> Meeting {
    Meeting { scenario: Scenario { lying: &["v0.jar"], ..meeting.scenario }, ..meeting }
}

/// The pipeline stands on another one.
const fn layered(meeting: Meeting) -> Meeting {
    Meeting { scenario: Scenario { layered: true, ..meeting.scenario }, ..meeting }
}

/// Only the tests were changed since: an image is reused, and must pass them on a fresh instance.
const fn retested(meeting: Meeting) -> Meeting {
    Meeting { scenario: Scenario { then: MORE_TESTS, ..meeting.scenario }, ..meeting }
}
