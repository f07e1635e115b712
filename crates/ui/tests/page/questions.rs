//! What an operator does who is new to the page: asks it, watches it, and changes something by it.

use std::time::Instant;

use serde_json::json;

use crate::{
    account::{Desk, usual},
    browser::{signed_in, with_cookie},
};

/// The usual account, and more: the web application's newest version is in `staging`, an old image soaks, and a person
/// promoted what production has.
fn asked() -> Desk {
    let desk = usual();
    let newest = desk.cloud.rows();
    let newest = newest.iter().find(|row| row.key.sk == "BAKE#on-its-way").unwrap().doc.clone();
    desk.edit("PIPELINE#storefront", "CHANNEL#production", "CHANNEL#staging", |doc| {
        doc["name"] = json!("staging");
        doc["rolling"] = json!(null);
        doc["previous"] = json!([]);
        doc["current"]["image"] = newest["image"].clone();
        doc["current"]["bake"] = json!("on-its-way");
    });
    desk.edit("PIPELINE#storefront", "CHANNEL#production", "CHANNEL#production", |doc| {
        doc["current"]["by"] = json!("user/alice");
        doc["current"]["why"] = json!("CHG-1042");
    });
    let mut plan = desk.plan();
    let old =
        plan["keep"].as_array_mut().unwrap().iter_mut().find(|one| one["pipeline"] == "storefront").unwrap();
    old["act"] = json!("wait");
    old["until"] = json!("2026-01-08T00:00:00Z");
    let key = ovenbird_core::store::keys::prune_plan(&desk.runs[0].name);
    desk.cloud.put(&key, plan.to_string());
    desk
}

/// Each is asked on the overview; what leads to its answer is clicked, and the answer is read where one looks for it.
#[test]
fn ten_questions_of_somebody_new_are_answered_within_two_clicks() {
    let Some((served, _, mut browser)) = signed_in(asked, false) else { return };
    let (nav, main) = ("nav a", "main a");
    for (question, clicks, answer) in [
        ("why is this image kept?", &[(nav, "Prune"), (main, "jvm-runtime")][..], "a channel points at it"),
        ("which machines still run v1?", &[(nav, "Fleet"), ("tr.bad summary", "1 machine")], "v1.jar"),
        (
            "what does the runtime's update touch?",
            &[(main, "jvm-runtime/stable")],
            "storefront/production (2 machines)",
        ),
        ("who promoted this?", &[("main th a", "storefront/production")], "user/alice"),
        ("why did this bake fail?", &[(main, "failed")], "answered 502 for 30 s"),
        ("what was in the artifact?", &[(main, "failed")], "v3.jar, 6 bytes, SHA-256"),
        ("what will prune remove next and when?", &[(nav, "Prune")], "at 2026-01-08"),
        ("is production behind staging?", &[], "older than staging"),
        ("what does it cost?", &[(nav, "Prune")], "a month"),
        ("what does the rollout wait for?", &[], "waits for a person's approval"),
    ] {
        assert!(clicks.len() <= 2);
        let begun = Instant::now();
        browser.open(&format!("{}/", served.origin()));
        for (selector, text) in clicks {
            browser.click(selector, text);
        }
        browser.reads(answer);
        println!("{question} {} clicks, {:.1} s", clicks.len(), begun.elapsed().as_secs_f64());
    }
}

/// One browser watches while another one changes something. What is seen without a reload came with the server's events.
#[test]
fn what_one_person_changes_another_one_sees_without_asking_again() {
    let Some((served, cookie, mut watches)) = signed_in(usual, true) else { return };
    let mut acts = with_cookie(&served, &cookie);
    watches.open(&format!("{}/", served.origin()));
    watches.eval("window.still = true");
    acts.open(&format!("{}/pipelines/jvm-runtime", served.origin()));
    acts.click("a.act", "hold");
    acts.reads("ovenbird --local hold jvm-runtime --channel stable");
    // The wrong word does nothing, and says so.
    acts.click("#typed", "");
    acts.write("jvm-runtime");
    acts.click("form button", "hold");
    acts.reads("That is not the channel's name: nothing was changed.");
    acts.click("#why", "");
    acts.write("a freeze <b>until</b> Monday");
    acts.click("#typed", "");
    acts.write("jvm-runtime/stable");
    acts.click("form button", "hold");
    acts.reads("Channel jvm-runtime/stable is held.");
    watches.reads("What changes is shown as it happens.");
    watches.reads("held by user/alice");
    assert_eq!(watches.eval("window.still"), true, "it was loaded again");
    // A rollout that waits for a person goes back at their word, from the page too.
    acts.open(&format!("{}/rollouts", served.origin()));
    acts.click("main th a", "production-");
    acts.click("a.act", "reject");
    acts.click("#typed", "");
    acts.write("storefront/production");
    acts.click("form button", "reject");
    acts.reads("is rejected, and goes back");
    for browser in [&watches, &acts] {
        assert_eq!(browser.complaints, Vec::<String>::new());
    }
}
