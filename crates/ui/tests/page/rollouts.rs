//! What the pages of rollouts tell.

use serde_json::json;

use crate::{
    account::{Desk, usual},
    bands::{has, page_of},
    client::Served,
};

/// Where the rollout is that is under way.
pub fn link(served: &Served, cookie: &str) -> String {
    let list = served.get(cookie, "/rollouts").body;
    let (_, rest) = list.split_once("href=\"/rollouts/storefront/").unwrap();
    format!("/rollouts/storefront/{}", rest.split('"').next().unwrap())
}

/// Its page.
fn rollout(desk: fn() -> Desk) -> String {
    let served = Served::new(desk, false);
    let cookie = served.cookie();
    served.get(&cookie, &link(&served, &cookie)).body
}

#[test]
fn a_rollout_has_stages_machines_and_what_happened() {
    has(&page_of(usual, "/rollouts"), &["paused", "settled", "storefront/production"]);
    let page = rollout(usual);
    has(&page, &["aria-current=\"step\"", "1 instance", ">serves<", "Instance refresh", "What happened"]);
    has(&page, &["ovenbird --local rollout storefront approve --channel production", "(or reject)"]);
    // One that a person paused waits for nobody's approval.
    let page = rollout(paused);
    has(&page, &["ovenbird --local rollout storefront resume --channel production", "(or skip, abort)"]);
}

/// The rollout is paused, and its recipe asks nobody.
fn paused() -> Desk {
    let desk = usual();
    desk.edit_rollout(|doc| doc["spec"]["to"]["policy"]["pause_before"] = json!(null));
    desk
}

#[test]
fn a_rollout_that_waits_for_a_person_is_told_first_with_the_command() {
    let page = page_of(usual, "/");
    let (_, worries) = page.split_once("What is wrong").unwrap();
    let first = worries.split("</tr>").nth(1).unwrap();
    has(first, &[">storefront/production</a>", "waits for a person's approval"]);
    has(first, &["ovenbird --local rollout storefront approve --channel production"]);
    assert!(!page_of(paused, "/").contains("storefront approve"));
}
