//! How the parameter follows its channel, and what is undone of a promotion that failed.

use std::collections::{BTreeMap, BTreeSet};

use futures::executor::block_on;
use jiff::SignedDuration;
use ovenbird_core::{
    Error, Result,
    domain::{
        bake::{Bake, Document, Stage, Status, To},
        id::{AmiId, ParameterName, PipelineName},
    },
    functions,
    ports::{Key, ParameterKind, Parameters as _, Put, Row, Table, Write},
    steps::{followers::followers, promote},
    store::{ImageSet, Ledger, Promotion},
};
use ovenbird_testkit::walk::scenarios::Scenario;
use serde_json::json;

use super::{
    desk::{Desk, TWO, channel_key},
    promotion::{COMER, Comer, arrive, channel, image, promote},
};

/// The step that moves the channel, by the document of a bake whose image was made and tested.
async fn step(cloud: &ovenbird_testkit::Cloud, bake: &Bake) -> Result<Document> {
    promote::run(bake.clone().go(To::Promote), cloud, cloud.now()).await
}

#[test]
fn the_parameter_is_written_when_it_differs_and_only_then() {
    let desk = Desk::new(&TWO);
    let bake = desk.reuse(|_| ());
    let writes = || desk.times("ssm:PutParameter");
    let before = writes();
    assert_eq!(block_on(step(&desk.cloud, &bake)).unwrap().ends, Some(Status::Promoted));
    assert_eq!(
        (desk.current(), desk.parameter()),
        (bake.progress.image.clone(), bake.progress.image.as_ref().map(ToString::to_string))
    );
    assert_eq!(writes(), before + 1);
    assert_eq!(block_on(step(&desk.cloud, &bake)).unwrap().ends, Some(Status::Promoted));
    assert_eq!(writes(), before + 1, "each write would be a version of the parameter");
}

#[test]
fn a_promotion_waits_until_its_parameter_is_read_back_as_its_channel_says() {
    let desk = Desk::new(&Scenario { deadlines: "", ..TWO });
    let promoted = block_on(step(&desk.cloud, &desk.reuse(|_| ()))).unwrap();
    let look = || {
        let input = json!({"action": "look", "document": promoted});
        let bake = block_on(functions::poll_readiness(&desk.cloud, input, desk.now())).unwrap();
        bake["next"]["to"].as_str().unwrap().to_owned()
    };
    let name = "/images/storefront/production".parse().unwrap();
    assert_eq!(look(), "go");
    assert_eq!(block_on(desk.cloud.put_image(&name, &desk.image("before-1"))).unwrap(), Put::Taken);
    assert_eq!(look(), "promote", "it names another image, and is to be written again");
    block_on(desk.cloud.remove(&name)).unwrap();
    assert_eq!(look(), "promote", "it isn't there");
    desk.edit_channel(|doc| doc["current"] = json!(null));
    assert_eq!(look(), "promote", "neither is what it should name");
}

#[test]
fn a_channel_that_moves_while_the_parameter_is_written_is_followed() {
    let desk = Desk::new(&TWO);
    desk.cloud.take_every_image();
    let bake = desk.reuse(|_| ());
    let new = arrive(&desk, &Comer { newer: 99_999, later: 99_999, ..COMER });
    // Between what it read of the channel and what it writes, something newer is promoted, and written first.
    let newer = || {
        assert_eq!(promote(&desk, &new), Promotion::Moved);
        let name = "/images/storefront/production".parse().unwrap();
        assert_eq!(
            block_on(desk.cloud.put_image(&name, new.progress.image.as_ref().unwrap())).unwrap(),
            Put::Taken
        );
    };
    let ended = desk.interrupt(async |cloud| step(cloud, &bake).await, "ssm:PutParameter", 0, newer);
    assert_eq!(ended.unwrap().ends, Some(Status::Promoted));
    assert_eq!(desk.current(), new.progress.image);
    assert_eq!(desk.parameter(), new.progress.image.map(|image| image.to_string()));
}

#[test]
fn a_parameter_that_can_t_keep_up_with_its_channel_is_tried_again_and_not_called_done() {
    let desk = Desk::new(&TWO);
    let spec = desk.reuse(|_| ()).spec.destination();
    let cloud = Restless { desk: &desk, moves: std::cell::Cell::new(0) };
    let error = block_on(followers(&spec)[0].apply(&spec, &cloud)).unwrap_err();
    assert_eq!(error.name(), "TryAgain");
    assert_eq!(cloud.moves.get(), 3);
}

/// Parameters of which every write meets a channel that moves on.
struct Restless<'d> {
    desk: &'d Desk,
    moves: std::cell::Cell<u8>,
}

impl super::passed_on::Inner for Restless<'_> {
    fn inner(&self) -> &ovenbird_testkit::Cloud {
        &self.desk.cloud
    }
}

super::passed_on::pass_on!(Restless);

impl ovenbird_core::ports::Parameters for Restless<'_> {
    async fn parameter(&self, _: &ParameterName) -> Result<Option<String>> {
        Ok(None)
    }

    async fn values(&self, _: &[ParameterName]) -> Result<BTreeMap<ParameterName, String>> {
        Ok(BTreeMap::new())
    }

    async fn kinds(&self, _: &BTreeSet<ParameterName>) -> Result<BTreeMap<ParameterName, ParameterKind>> {
        Ok(BTreeMap::new())
    }

    async fn put_image(&self, _: &ParameterName, _: &AmiId) -> Result<Put> {
        self.moves.set(self.moves.get() + 1);
        let key = channel_key("production");
        let on = self.desk.changed(&key, &key, |doc| {
            doc["generation"] = json!(doc["generation"].as_u64().unwrap() + 1);
        });
        self.desk.cloud.commit(vec![on]).await.map(|()| Put::Taken)
    }

    async fn remove(&self, _: &ParameterName) -> Result<()> {
        Ok(())
    }
}

impl Table for Restless<'_> {
    async fn get(&self, key: &Key) -> Result<Option<Row>> {
        self.desk.cloud.get(key).await
    }

    async fn rows(&self, keys: &[Key]) -> Result<Vec<Row>> {
        Table::rows(&self.desk.cloud, keys).await
    }

    async fn list(&self, pk: &str, prefix: &str) -> Result<Vec<Row>> {
        self.desk.cloud.list(pk, prefix).await
    }

    async fn by_status(&self, status: &str) -> Result<Vec<Row>> {
        self.desk.cloud.by_status(status).await
    }

    async fn by_time(&self, pipeline: &PipelineName, most: usize) -> Result<Vec<Row>> {
        self.desk.cloud.by_time(pipeline, most).await
    }

    async fn by_image(&self, image: &AmiId) -> Result<Vec<Row>> {
        self.desk.cloud.by_image(image).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<()> {
        self.desk.cloud.commit(writes).await
    }
}

/// A bake whose promotion failed after it had moved the channel, and what is undone of it.
fn undone(desk: &Desk, change: impl FnOnce(&mut Bake)) -> Result<()> {
    let mut bake = desk.bake("before-1");
    (bake.progress.status, bake.progress.stage) = (Status::Running, Stage::Promotion);
    change(&mut bake);
    block_on(promote::undo(&bake, &desk.cloud, desk.now()))
}

#[test]
fn an_undone_promotion_leaves_channel_and_parameter_as_they_were() {
    let desk = Desk::new(&TWO);
    let old = desk.image("before-0");
    undone(&desk, |_| ()).unwrap();
    assert_eq!((desk.current(), desk.parameter()), (Some(old.clone()), Some(old.to_string())));
    // The try before this one ended between the two: the parameter follows all the same.
    let name = "/images/storefront/production".parse().unwrap();
    assert_eq!(block_on(desk.cloud.put_image(&name, &desk.image("before-1"))).unwrap(), Put::Taken);
    undone(&desk, |_| ()).unwrap();
    assert_eq!((desk.current(), desk.parameter()), (Some(old.clone()), Some(old.to_string())));
}

#[test]
fn a_bake_that_didn_t_come_to_its_promotion_undoes_none() {
    let stages = [
        Stage::Launch,
        Stage::AwaitTwin,
        Stage::Builder,
        Stage::Validation,
        Stage::Seal,
        Stage::Image,
        Stage::Boot,
    ];
    for stage in stages.into_iter().map(Some).chain([None]) {
        let desk = Desk::new(&TWO);
        let before = (channel(&desk), desk.parameter());
        undone(&desk, |bake| match stage {
            Some(stage) => bake.progress.stage = stage,
            None => bake.spec.options.promote = false,
        })
        .unwrap();
        assert_eq!((channel(&desk), desk.parameter()), before, "{stage:?}");
    }
}

#[test]
fn the_first_promotion_undone_removes_the_parameter_if_it_is_its_own() {
    for (value, left) in [(None, None), (Some("another"), Some("another"))] {
        let desk = Desk::new(&TWO);
        desk.edit_channel(|doc| doc["previous"] = json!([]));
        let name = "/images/storefront/production".parse().unwrap();
        if let Some(value) = value {
            desk.cloud.put_parameter(&name, image(value).as_str());
            desk.cloud.pass(SignedDuration::from_mins(5));
        }
        undone(&desk, |_| ()).unwrap();
        assert_eq!(desk.current(), None);
        assert_eq!(desk.parameter(), left.map(|left| image(left).to_string()));
    }
    // Without a parameter there is none to remove.
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let before = desk.parameter();
    undone(&desk, |bake| bake.spec.settings.parameter = None).unwrap();
    assert_eq!((desk.current(), desk.parameter()), (None, before));
}

#[test]
fn a_parameter_that_goes_while_another_bake_is_promoted_comes_back_with_that_bake_s_image() {
    let desk = Desk::new(&TWO);
    desk.edit_channel(|doc| doc["previous"] = json!([]));
    let mut bake = desk.bake("before-1");
    (bake.progress.status, bake.progress.stage) = (Status::Running, Stage::Promotion);
    desk.cloud.take_every_image();
    let new = arrive(&desk, &COMER);
    let newer = || {
        assert_eq!(promote(&desk, &new), Promotion::Moved);
        let name = "/images/storefront/production".parse().unwrap();
        assert_eq!(
            block_on(desk.cloud.put_image(&name, new.progress.image.as_ref().unwrap())).unwrap(),
            Put::Taken
        );
    };
    let work = async |cloud: &ovenbird_testkit::Cloud| promote::undo(&bake, cloud, cloud.now()).await;
    desk.interrupt(work, "ssm:DeleteParameter", 0, newer).unwrap();
    assert_eq!(
        (desk.current(), desk.parameter()),
        (new.progress.image.clone(), new.progress.image.map(|image| image.to_string()))
    );
}

#[test]
fn an_image_that_nothing_can_start_from_is_not_promoted() {
    let desk = Desk::new(&TWO);
    let bake = desk.reuse(|_| ());
    let image = bake.progress.image.clone().unwrap();
    desk.cloud.deregister(&image);
    let before = channel(&desk);
    match block_on(step(&desk.cloud, &bake)) {
        Err(Error::NotPromotable { image: found, problem }) => {
            assert_eq!((found, problem.as_str()), (image, "it no longer exists"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(channel(&desk), before);
}

#[test]
fn an_image_remembers_sixteen_sets_of_tests_the_last_ones() {
    let desk = Desk::new(&TWO);
    let bake = desk.bake("before-1");
    let mut record: ImageSet = block_on(Ledger(&desk.cloud).image(&bake.spec.digest)).unwrap().unwrap();
    let tests = |number: usize| ovenbird_core::domain::digest::sha256(number.to_string().as_bytes());
    for number in 0..20 {
        let passed =
            ovenbird_core::store::Passed { tests: tests(number), count: number, bake: bake.spec.id.clone() };
        record.pass(passed);
    }
    let known = |record: &ImageSet| (0..20).filter(|number| record.passed(&tests(*number)).is_some()).count();
    assert_eq!((known(&record), record.passed(&tests(4)), record.passed(&tests(3))), (16, Some(4), None));
    // The same set again is the last one, and no second entry.
    let passed = ovenbird_core::store::Passed { tests: tests(4), count: 44, bake: bake.spec.id };
    record.pass(passed);
    assert_eq!((known(&record), record.passed(&tests(4))), (16, Some(44)));
}
