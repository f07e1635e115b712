//! Parameters of which SSM validates each write for minutes, refuses the next one meanwhile, and may drop one without a word.

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    domain::bake::{Bake, Stage, Status},
    ports::ParameterKind,
    steps::promote,
};
use ovenbird_sim::Validation;
use ovenbird_testkit::walk::{
    account,
    machine::{Diary, End},
    scenarios::{Run, Scenario},
};

use super::desk::{Desk, TWO};

/// Each write takes so many seconds.
fn of(seconds: u32) -> Validation {
    Validation { shortest: seconds, longest: seconds, dropped: 0, seed: 0 }
}

/// Two images, and a third upload while SSM validates so.
fn third(validation: Validation, deadline: &'static str) -> (Desk, End, Vec<String>) {
    let desk = Desk::new(&Scenario { deadlines: deadline, ..TWO });
    desk.cloud.validate_parameters(validation);
    let diary = Diary::default();
    let run = [("third".to_owned(), (0, Run::Upload("v3.jar")))];
    let ended = account::walk(&desk.cloud, &run, &diary).remove("third").unwrap();
    let states = diary.states.take();
    (desk, ended, states)
}

fn visits(states: &[String], name: &str) -> usize {
    states.iter().filter(|state| state.contains(&format!("/{name}#"))).count()
}

#[test]
fn a_write_that_ssm_drops_without_a_word_is_made_again() {
    // Of this seed the third bake's first write is dropped, and its second one is not: two bakes wrote before it.
    let seed = (0..).find(|seed| dropped(*seed, 3) && !dropped(*seed, 4)).unwrap();
    let (desk, ended, states) = third(Validation { dropped: 500, seed, ..of(20) }, "");
    assert!(matches!(ended, End::Succeeded(_)), "{ended:?}");
    assert_eq!(desk.parameter(), Some(desk.image("third").to_string()));
    assert_eq!(desk.times("ssm:PutParameter"), 2 + 2, "one of each bake, and one more of the third");
    assert_eq!(visits(&states, "Promote"), 2);
}

/// Whether the model drops the write of this number.
fn dropped(seed: u64, number: usize) -> bool {
    let (mut parameters, now) = (
        ovenbird_sim::ImageParameters::new(Validation { dropped: 500, seed, ..of(20) }),
        "2026-01-01T00:00:00Z".parse::<jiff::Timestamp>().unwrap(),
    );
    let mut valid = Vec::new();
    for turn in 0..number {
        let at = now + SignedDuration::from_mins(i64::try_from(turn).unwrap());
        parameters.put(at, "/images/storefront/production", "ami-1").unwrap();
        valid = parameters.take_valid(at + SignedDuration::from_secs(20), |_| true);
    }
    valid.is_empty()
}

#[test]
fn a_promotion_in_the_window_of_the_one_before_waits_for_it_and_is_not_taken_back() {
    let desk = Desk::new(&Scenario { deadlines: "", ..TWO });
    desk.cloud.validate_parameters(of(240));
    let runs = [("third", "v3.jar", 0), ("fourth", "v4.jar", 30)];
    let runs = runs.map(|(name, artifact, at)| (name.to_owned(), (at, Run::Upload(artifact))));
    let ends = account::walk(&desk.cloud, &runs, &Diary::default());
    for (name, end) in ends {
        assert!(matches!(end, End::Succeeded(_)), "{name}: {end:?}");
        assert_eq!(desk.bake(&name).progress.status, Status::Promoted, "{name}");
    }
    let newest = desk.image("fourth");
    assert_eq!((desk.current(), desk.parameter()), (Some(newest.clone()), Some(newest.to_string())));
}

#[test]
fn a_parameter_that_lags_beyond_the_deadline_takes_no_promotion_back_and_somebody_is_told() {
    let (desk, ended, _) = third(Validation { dropped: 1000, ..of(50) }, "[deadlines]\npromotion = \"4m\"\n");
    let bake = desk.bake("third");
    let image = desk.image("third");
    let End::Failed { error, cause } = ended else { panic!("{ended:?}") };
    assert_eq!(error, "NotFollowed");
    let old = desk.image("before-1");
    assert!(cause.contains(&format!("parameter `/images/storefront/production` is {old}")), "{cause}");
    assert!(cause.contains("still in process"), "what SSM said last: {cause}");
    assert_eq!(bake.progress.status, Status::Promoted);
    assert!(bake.progress.behind.is_some() && bake.progress.failure.is_none());
    assert_eq!(desk.current(), Some(image.clone()), "the channel stays at the image");
    assert!(desk.exists(&image) && desk.exists(&old), "what the parameter names is still there");
    let waited = bake.progress.timeline.iter().find(|span| span.stage == Stage::Promotion).unwrap();
    let waited = waited.end.unwrap().duration_since(waited.start).as_secs();
    assert!((240..=300).contains(&waited), "{waited} s");
}

/// A bake that failed right after its image was written into the parameter.
fn failed(desk: &Desk, seconds: i64) -> Bake {
    let mut bake = desk.bake("before-1");
    (bake.progress.status, bake.progress.stage) = (Status::Running, Stage::Promotion);
    bake.progress.written = Some(desk.now() - SignedDuration::from_secs(seconds));
    bake
}

#[test]
fn nothing_is_undone_while_ssm_may_still_take_the_image() {
    let desk = Desk::new(&TWO);
    let (old, new) = (desk.image("before-0"), desk.image("before-1"));
    let name = "/images/storefront/production".parse().unwrap();
    desk.cloud.put_parameter(&name, old.as_str());
    // A write of the new image is under way, and no answer of SSM says so.
    desk.cloud.validate_parameters(of(200));
    let put = ovenbird_core::ports::Parameters::put_image(&desk.cloud, &name, &new);
    assert_eq!(block_on(put).unwrap(), ovenbird_core::ports::Put::Taken);
    let bake = failed(&desk, 0);
    let undo = || block_on(promote::undo(&bake, &desk.cloud, desk.now()));
    let error = undo().unwrap_err();
    assert_eq!(error.name(), "ParameterBusy", "{error}");
    assert!(error.to_string().contains(&format!("may still take {new}")), "{error}");
    desk.cloud.pass(SignedDuration::from_secs(200));
    assert_eq!(desk.parameter(), Some(new.to_string()), "it came");
    // Now it can go back, and that is seen before the image may go.
    let error = undo().unwrap_err();
    assert!(error.to_string().contains("does not follow channel"), "{error}");
    desk.cloud.pass(SignedDuration::from_secs(150));
    assert!(undo().unwrap_err().to_string().contains("still in process"));
    desk.cloud.pass(SignedDuration::from_secs(150));
    undo().unwrap();
    assert_eq!((desk.current(), desk.parameter()), (Some(old.clone()), Some(old.to_string())));
}

#[test]
fn after_five_minutes_an_image_that_never_came_does_not_come_any_more() {
    let desk = Desk::new(&TWO);
    let old = desk.image("before-0");
    desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), old.as_str());
    for (seconds, done) in [(299, false), (300, true)] {
        let undone = block_on(promote::undo(&failed(&desk, seconds), &desk.cloud, desk.now()));
        assert_eq!(undone.is_ok(), done, "{seconds} s: {undone:?}");
    }
    assert_eq!(desk.parameter(), Some(old.to_string()));
}

#[test]
fn a_parameter_that_never_takes_an_image_is_said_before_anything_is_launched() {
    let kind = |kind: &str, data_type: &str| ParameterKind {
        kind: kind.to_owned(),
        data_type: data_type.to_owned(),
        tier: "Standard".to_owned(),
        has_policies: false,
        version: 1,
        written: "2026-01-01T00:00:00Z".parse().unwrap(),
    };
    for (kind, words) in [
        (kind("String", "text"), "is of data type text, and not aws:ec2:image"),
        (kind("SecureString", "text"), "is a SecureString, and not a String"),
    ] {
        let desk = Desk::new(&TWO);
        desk.cloud.around(|around| {
            around.kinds.insert("/images/storefront/production".parse().unwrap(), kind);
        });
        let launches = desk.times("ec2:RunInstances");
        let run = [("third".to_owned(), (0, Run::Upload("v3.jar")))];
        let End::Failed { error, cause } =
            account::walk(&desk.cloud, &run, &Diary::default()).remove("third").unwrap()
        else {
            panic!("it can't be promoted")
        };
        assert_eq!(error, "BadInput");
        assert!(cause.contains(words), "{cause}");
        assert!(cause.contains("aws ssm delete-parameter --name /images/storefront/production"), "{cause}");
        assert_eq!(desk.times("ec2:RunInstances"), launches);
        // A bake that promotes nothing has nothing to do with it.
        let run =
            [("unpromoted".to_owned(), (0, Run::Manual(r#"{"pipeline": "storefront", "promote": false}"#)))];
        let ended = account::walk(&desk.cloud, &run, &Diary::default()).remove("unpromoted").unwrap();
        assert!(matches!(ended, End::Succeeded(_)), "{ended:?}");
    }
}
