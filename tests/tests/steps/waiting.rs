//! How much a bake's waiting costs, and how late it notices that something is there.

use ovenbird_testkit::walk::cost::{self, USUAL_BAKE};

#[test]
fn a_usual_bake_takes_few_transitions() {
    let walk = cost::measure(&USUAL_BAKE);
    let transitions = walk.diary.transitions.get();
    assert!(transitions <= 60, "{transitions} transitions\n{}", cost::table());
}

#[test]
fn a_usual_bake_ends_soon_after_its_machines_work() {
    let walk = cost::measure(&USUAL_BAKE);
    let times = USUAL_BAKE.times;
    let work = times.boot + times.steps + times.tests + times.seal + times.imaging;
    let late = walk.took.as_secs() - work;
    assert!((0..=10).contains(&late), "{late} s late");
}

#[test]
fn ovenbird_itself_costs_less_than_a_third_of_a_cent() {
    let walk = cost::measure(&USUAL_BAKE);
    let parts = cost::price(&walk);
    let ours: f64 = parts.iter().filter(|(what, _)| *what != "the machine").map(|(_, dollars)| dollars).sum();
    assert!(ours <= 0.003, "$ {ours:.5}\n{}", cost::table());
}
