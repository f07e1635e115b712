//! Whoever keeps a world by what changes has all of it, and has little to write.

use std::collections::BTreeMap;

use ovenbird_sim::*;
use serde_json::Value;

use super::Cloud;

/// A world as it is kept: row by row.
#[derive(Debug, Default)]
pub struct Kept {
    rows: BTreeMap<(String, String), Value>,
    passes: u32,
}

impl Kept {
    /// Writes what changed at every twentieth call: writing it at each would be most of a test's time.
    pub fn now_and_then(&mut self, world: &mut World) {
        self.passes += 1;
        if self.passes.is_multiple_of(20) {
            self.follow(world);
        }
    }

    /// Writes what changed; says how many rows those were.
    pub fn follow(&mut self, world: &mut World) -> usize {
        let changes = world.take_changes();
        let count = changes.len();
        for Change { table, key, row } in changes {
            let place = (table.to_owned(), key);
            match row {
                Some(row) => drop(self.rows.insert(place, row)),
                None => drop(self.rows.remove(&place)),
            }
        }
        count
    }

    /// The world as it is read again.
    pub fn read(&self) -> World {
        let rows = self.rows.iter().map(|((table, key), row)| (table.clone(), key.clone(), row.clone()));
        World::of_rows(rows).expect("a world")
    }
}

/// Every test of the model is one of this, too: what was kept along its way is the world that it ends with.
impl Drop for Cloud {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        self.rows.follow(&mut self.world);
        let json = |world: &World| serde_json::to_value(world).expect("JSON");
        assert!(json(&self.rows.read()) == json(&self.world), "a change was not kept");
    }
}

#[test]
fn a_call_changes_as_many_rows_in_a_large_world_as_in_a_small_one() {
    let counts = [10, 1_000].map(|images| {
        let mut cloud = Cloud::new();
        let instance = cloud.launch();
        cloud.pass(60);
        let create = |name: String| CreateImage {
            instance: instance.clone(),
            name,
            no_reboot: true,
            ..CreateImage::default()
        };
        for n in 0..images {
            cloud.world.create_image(cloud.now, &create(format!("filler-{n}"))).unwrap();
        }
        cloud.pass(10);
        cloud.rows.follow(&mut cloud.world);
        let image = cloud.world.create_image(cloud.now, &create("one-more".into())).unwrap().to_string();
        let created = cloud.rows.follow(&mut cloud.world);
        cloud.pass(10);
        cloud.rows.follow(&mut cloud.world);
        let tags = Tags::from([("key".into(), "value".into())]);
        cloud.world.create_tags(std::slice::from_ref(&image), &tags, false).unwrap();
        let tagged = cloud.rows.follow(&mut cloud.world);
        cloud.world.terminate_instances(std::slice::from_ref(&instance), false).unwrap();
        let ended = cloud.rows.follow(&mut cloud.world);
        cloud.world.deregister_image(cloud.now, &image, false, false).unwrap();
        let deregistered = cloud.rows.follow(&mut cloud.world);
        // Nothing has changed by now but the row that has what no table has.
        let none = cloud.rows.follow(&mut cloud.world);
        [created, tagged, ended, deregistered, none]
    });
    assert_eq!(counts[0], counts[1]);
    assert!(counts[0].iter().all(|rows| *rows <= 5), "{:?}", counts[0]);
    assert_eq!(counts[0][4], 1);
}

#[test]
fn a_world_that_was_saved_whole_is_kept_row_by_row() {
    let mut cloud = Cloud::new();
    cloud.launch();
    let whole = serde_json::to_string(&cloud.world).unwrap();
    let mut read: World = serde_json::from_str(&whole).unwrap();
    let mut rows = Kept::default();
    rows.follow(&mut read);
    assert_eq!(serde_json::to_string(&rows.read()).unwrap(), whole);
    let mut again = rows.read();
    assert_eq!(rows.follow(&mut again), 1, "what was kept is not written again");
}

#[test]
fn a_world_whose_rows_are_not_a_world_is_refused() {
    let rest = ("rest".to_owned(), String::new(), serde_json::json!({"account": "123456789012"}));
    assert!(World::of_rows([rest]).is_err());
    let cloud = Cloud::new();
    let mut kept = Kept::default();
    kept.follow(&mut cloud.world.clone());
    let bad = ("images".to_owned(), "ami-0".to_owned(), serde_json::json!("text"));
    let rows = kept.rows.iter().map(|((table, key), row)| (table.clone(), key.clone(), row.clone()));
    assert!(World::of_rows(rows.chain([bad])).is_err());
}
