//! What others wrote is text, on every page: names, reasons, outputs and tags that want to be more than that.

use std::collections::BTreeSet;

use ovenbird_core::store::keys;
use serde_json::{Value, json};

use crate::{
    account::{Desk, usual},
    client::Served,
};

/// A script, an image that runs one, an attribute that ends, an entity, and a character that turns the line around.
const EVIL: &str = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'><b>&lt;\u{202e}</title></pre>";

/// Sets every text under one of these keys.
fn poison(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            for (name, inner) in fields.iter_mut() {
                if names.contains(&name.as_str()) && (inner.is_string() || inner.is_null()) {
                    *inner = json!(EVIL);
                } else {
                    poison(inner, names);
                }
            }
        }
        Value::Array(all) => all.iter_mut().for_each(|inner| poison(inner, names)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The usual account, with every text that somebody can write.
pub fn hostile() -> Desk {
    let desk = usual();
    for row in desk.cloud.rows() {
        let (pk, sk) = (row.key.pk.as_str(), row.key.sk.as_str());
        if !pk.starts_with("PIPELINE#") {
            continue;
        }
        desk.edit(pk, sk, sk, |doc| {
            poison(doc, &["why", "what", "awaits", "written", "cause", "error", "not_promoted"]);
            for place in ["/written", "/progress/written"] {
                // A time, which has the name of what a person wrote elsewhere.
                if let Some(written) = doc.pointer_mut(place) {
                    *written = Value::Null;
                }
            }
            if doc["base"].is_object() {
                doc["base"]["name"] = json!(EVIL);
            }
            if doc["artifact"].is_object() {
                doc["artifact"]["key"] = json!(format!("artifacts/storefront/{}", EVIL.replace('/', "|")));
            }
            if sk.starts_with("CHANNEL#") {
                doc["hold"] = json!({"by": EVIL, "why": EVIL, "since": "2026-01-01T00:00:00Z"});
                doc["current"]["by"] = json!(EVIL);
                doc["current"]["why"] = json!(EVIL);
                let image = &doc["current"]["image"];
                doc["rejected"] = json!([{"image": image, "why": EVIL, "at": "2026-01-01T00:00:00Z"}]);
            }
            if sk.starts_with("ROLLOUT#") {
                doc["spec"]["by"] = json!(EVIL);
                doc["spec"]["why"] = json!(EVIL);
                doc["progress"]["reason"] = json!(EVIL);
                doc["progress"]["awaits"] = json!(EVIL);
            }
        });
    }
    let key = |file: &str| {
        let (pipeline, bake) = ("storefront".parse().unwrap(), "broken".parse().unwrap());
        keys::of_instance(&pipeline, &bake, ovenbird_core::ports::Role::Builder, file)
    };
    let times = json!({"started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z"});
    let (mut steps, mut tests) = (times.clone(), times);
    steps["steps"] =
        json!([{"name": EVIL, "exit": {"failed": EVIL}, "milliseconds": 1, "output_tail": EVIL}]);
    tests["tests"] = json!([{"name": EVIL, "passed": false, "milliseconds": 1, "detail": EVIL}]);
    tests["units"] = json!([EVIL]);
    desk.cloud.put(&key(keys::PROVISION_REPORT), steps.to_string());
    desk.cloud.put(&key(keys::TEST_REPORT), tests.to_string());
    let mut plan = desk.plan();
    poison(&mut plan, &["name", "by"]);
    plan["problems"] = json!([EVIL]);
    plan["halted"] = json!(EVIL);
    plan["dead_bakes"] = json!([{"pipeline": "storefront", "bake": "broken", "leaves": [EVIL]}]);
    desk.cloud.put(&keys::prune_plan(&desk.runs[0].name), plan.to_string());
    desk.cloud.put_parameter(&"/images/storefront/production".parse().unwrap(), EVIL);
    desk
}

/// Every page that another one leads to.
pub fn every_page(served: &Served, cookie: &str) -> Vec<(String, String)> {
    let (mut waiting, mut seen, mut pages) = (vec!["/".to_owned()], BTreeSet::new(), Vec::new());
    while let Some(path) = waiting.pop() {
        if !seen.insert(path.clone()) {
            continue;
        }
        let answer = served.get(cookie, &path);
        assert_eq!(answer.status, 200, "{path}");
        let links = answer.body.split("href=\"/").skip(1).filter_map(|rest| rest.split('"').next());
        waiting.extend(links.filter(|link| !link.contains('.')).map(|link| format!("/{link}")));
        pages.push((path, answer.body));
    }
    pages
}

#[test]
fn what_others_wrote_is_text_on_every_page() {
    let served = Served::new(hostile, true);
    let cookie = served.cookie();
    let pages = every_page(&served, &cookie);
    let mut poisoned = BTreeSet::new();
    for (path, page) in &pages {
        for evil in ["<script>", "<img", "onerror=alert(2)>", "<b>", "\u{202e}", "</title></pre>"] {
            assert!(!page.contains(evil), "{path} has {evil:?} as it was written: {page}");
        }
        if page.contains("&lt;script&gt;alert(1)") {
            poisoned.insert(path.split('/').nth(1).unwrap_or_default());
        }
    }
    // The test is worth nothing where none of it is shown.
    let bands = ["", "bakes", "fleet", "lineage", "pipelines", "prune", "rollouts"];
    assert_eq!(poisoned, BTreeSet::from(bands));
    let paths: Vec<_> = pages.iter().map(|(path, _)| path.as_str()).collect();
    assert!(paths.contains(&"/bakes/storefront/broken") && paths.len() > 15, "{paths:?}");
}

#[test]
fn what_a_person_types_comes_back_as_text() {
    let served = Served::new(usual, true);
    let cookie = served.cookie();
    let form = form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("typed", EVIL), ("why", EVIL), ("request", EVIL)])
        .finish();
    for path in ["/do/hold/jvm-runtime/stable", "/do/rollback/storefront/production"] {
        let answer = served.post(&cookie, path, &form);
        assert!(!answer.body.contains("<img") && !answer.body.contains("<script>"), "{}", answer.body);
    }
}
