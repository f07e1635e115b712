//! What each page tells.

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
};

use ovenbird_core::store::keys;
use ovenbird_ui::PruneRun;
use serde_json::json;
use tokio::sync::Semaphore;

use crate::{
    account::{Desk, empty, large, usual},
    client::Served,
    hostile::every_page,
};

/// Pages of a large account, one of each kind that reads much.
pub const LARGE_PAGES: [&str; 9] = [
    "/",
    "/bakes",
    "/pipelines/service-042",
    "/bakes/service-042/service-042-010",
    "/lineage",
    "/fleet",
    "/rollouts",
    "/prune",
    "/prune/service-042",
];

pub fn page_of(desk: fn() -> Desk, path: &str) -> String {
    let served = Served::new(desk, false);
    let answer = served.get(&served.cookie(), path);
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    answer.body
}

#[track_caller]
pub fn has(page: &str, texts: &[&str]) {
    for text in texts {
        assert!(page.contains(text), "no {text:?} in {page}");
    }
}

#[test]
fn the_overview_says_what_is_wrong_with_the_command_that_fixes_it() {
    let page = page_of(usual, "/");
    has(&page, &["the last bake failed (TestsFailed in stage validation)", "ovenbird --local show broken"]);
    has(&page, &["parameter /images/storefront/production says", "aws ssm put-parameter --name"]);
    has(&page, &["Rollout of", ": paused", ">rolling<", "1 on older", "v2.jar"]);
}

#[test]
fn what_could_not_be_read_is_said_and_all_else_is_shown() {
    let denied = || {
        let mut desk = usual();
        desk.no_fleet = Some(|| {
            let (operation, subject) = ("ec2:DescribeInstances".to_owned(), "all instances".to_owned());
            ovenbird_core::Error::Denied { operation, subject, source: None }
        });
        desk
    };
    let page = page_of(denied, "/");
    has(&page, &["Could not be read", "<strong>the machines</strong>", "ec2:DescribeInstances"]);
    has(&page, &["storefront/production", "v2.jar"]);
}

/// No network, or a local cloud that is down: nobody asked to slow down, and waiting doesn't help.
#[test]
fn an_account_that_does_not_answer_is_said_once_with_what_helps() {
    use ovenbird_core::{Error, domain::error::NO_ANSWER};
    let silent = || {
        let mut desk = usual();
        desk.no_fleet = Some(|| {
            let operation = "ec2:DescribeInstances".to_owned();
            let lost = Error::Aws {
                operation: operation.clone(),
                subject: "all instances".to_owned(),
                code: NO_ANSWER.to_owned(),
                message: "Connection refused".to_owned(),
                request_id: String::new(),
            };
            Error::Throttled { operation, source: Some(Box::new(lost)) }
        });
        desk
    };
    let page = page_of(silent, "/");
    has(&page, &["<strong>a test</strong> does not answer: Connection refused"]);
    has(&page, &["Missing for it: the machines", "ovenbird --local local up"]);
    assert!(!page.contains("throttled"), "{page}");
}

/// What could not be read may be there all the same.
#[test]
fn no_page_says_that_there_is_nothing_when_it_could_not_look() {
    let silent = || {
        let mut desk = empty();
        desk.no_fleet = Some(|| ovenbird_core::Error::Denied {
            operation: "ec2:DescribeInstances".to_owned(),
            subject: "all instances".to_owned(),
            source: None,
        });
        desk
    };
    let page = page_of(silent, "/fleet");
    has(&page, &["Could not be read", "Nothing can be shown"]);
    assert!(!page.contains("No machine runs"), "{page}");
}

#[test]
fn a_bake_that_left_no_record_is_told() {
    let desk = || {
        let mut desk = usual();
        let now = desk.cloud.now();
        desk.failed = vec![("early-1".parse().unwrap(), now), ("broken".parse().unwrap(), now)];
        desk
    };
    let page = page_of(desk, "/");
    has(&page, &["bake early-1", "before it had a record", "ovenbird --local show early-1"]);
    assert!(!page.contains("bake broken"), "one that has a record is told as such");
}

#[test]
fn a_pipeline_has_its_channels_histories_and_bakes() {
    let page = page_of(usual, "/pipelines/storefront");
    has(
        &page,
        &["What it pointed at", ">current<", "Outdated", "says something else", "broken", "TestsFailed"],
    );
    has(&page, &["<svg class=\"bar\"", "builder 3.0 s, validation"]);
}

#[test]
fn a_bake_has_its_steps_output_and_tests() {
    let page = page_of(usual, "/bakes/storefront/broken");
    has(&page, &["TestsFailed in stage validation", "ovenbird --local tests broken"]);
    has(
        &page,
        &[
            "Setting up nginx (1.22.1-9)",
            "exit 0, tried 2 times",
            "answered 502 for 30 s",
            "1 passed, 1 failed",
        ],
    );
    has(&page, &["Where the seconds went", "8.7 s", "What it stands on", "jvm-runtime by before-0"]);
    let served = Served::new(usual, false);
    let answer = served.get(&served.cookie(), "/bakes/storefront/no-such-bake");
    assert_eq!(answer.status, 404);
    has(&answer.body, &["is not on record"]);
}

#[test]
fn the_fleet_says_which_machines_are_on_an_old_image_and_what_replaces_them() {
    let page = page_of(usual, "/fleet");
    has(&page, &["1 on an older image", "v1.jar", ">older<", ">coming<", ">current<", "rollout under way"]);
}

#[test]
fn the_lineage_is_a_graph_and_a_table() {
    let page = page_of(usual, "/lineage");
    has(
        &page,
        &["<svg class=\"graph\"", "class=\"edge\"", "All stand on their newest base", "jvm-runtime/stable"],
    );
}

#[test]
fn an_outdated_base_is_marked_with_the_command_that_bakes_on_the_new_one() {
    let page = page_of(moved, "/lineage");
    has(&page, &["class=\"edge outdated\"", "1 stands", "ovenbird --local bake storefront"]);
    has(&page_of(moved, "/"), &["its base moved on", "ovenbird --local bake storefront"]);
}

/// The runtime's channel points at another image than the web application stands on.
fn moved() -> Desk {
    let desk = usual();
    let other = desk.channel("storefront", "production").previous[0].image.to_string();
    desk.edit("PIPELINE#jvm-runtime", "CHANNEL#stable", "CHANNEL#stable", |doc| {
        doc["current"]["image"] = other.into();
    });
    desk
}

#[test]
fn the_plan_of_a_prune_run_has_every_image_with_every_reason() {
    let plan = usual().plan();
    let all: Vec<_> = ["retire", "keep"].iter().flat_map(|list| plan[*list].as_array().unwrap()).collect();
    assert!(all.len() >= 4, "{plan:#}");
    let page = page_of(usual, "/prune/storefront");
    for one in all.iter().filter(|one| one["pipeline"] == "storefront") {
        has(&page, &[one["image"].as_str().unwrap()]);
    }
    has(&page, &["Every reason", "ovenbird --local prune explain"]);
    has(&page_of(usual, "/prune"), &["prune-1", "Images of each pipeline", "href=\"/prune/storefront\""]);
}

/// A run that somebody started is seen until its end, with what it did; the page is live as long.
#[test]
fn the_newest_prune_runs_are_told_with_what_they_did() {
    let desk = || {
        let mut desk = usual();
        let verdict = desk.plan()["keep"][0].clone();
        let started = desk.cloud.now();
        for (name, succeeded) in [("acted", Some(true)), ("broke", Some(false)), ("runs", None)] {
            desk.runs.insert(0, PruneRun { name: name.parse().unwrap(), started, succeeded });
        }
        let mut gone = verdict;
        gone["act"] = json!("deregister");
        gone["image"] = json!("ami-0123456789abcdef0");
        let failed = ["a snapshot is still there"];
        let outcome = json!({"ended": started, "cleaned": [], "retired": [gone], "failures": failed});
        desk.cloud.put(&keys::prune_result(&"acted".parse().unwrap()), outcome.to_string());
        desk
    };
    let page = page_of(desk, "/prune");
    has(&page, &["Newest runs", ">running<", "looks at everything", ">failed<", "only planned"]);
    has(&page, &["deregister</span> <code>ami-0123456789abcdef0</code>", "a snapshot is still there"]);
    has(&page, &["data-live=\"/live/prune\""]);
    assert!(!page_of(usual, "/prune").contains("data-live"), "nothing is under way");
}

/// Prune refuses a plan that is more than an hour old, and one that was carried out is not carried out again.
#[test]
fn a_plan_is_offered_only_while_it_can_be_carried_out() {
    let offered = |age: i64, acted: bool| {
        let desk = move || {
            let desk = usual();
            let mut plan = desk.plan();
            let mut goes = plan["keep"][0].clone();
            goes["act"] = json!("deregister");
            plan["made"] = json!(jiff::Timestamp::now() - jiff::SignedDuration::from_mins(age));
            plan["retire"] = json!([goes]);
            let retired = if acted { plan["retire"].clone() } else { json!([]) };
            let outcome = json!({"ended": plan["made"], "cleaned": [], "retired": retired});
            desk.cloud.put(&keys::prune_plan(&desk.runs[0].name), plan.to_string());
            desk.cloud.put(&keys::prune_result(&desk.runs[0].name), outcome.to_string());
            desk
        };
        let served = Served::new(desk, true);
        served.get(&served.cookie(), "/prune").body
    };
    let offer = "href=\"/do/prune/prune-1\"";
    has(&offered(1, false), &[offer, "<strong>1 image</strong> goes a step"]);
    let old = offered(61, false);
    assert!(!old.contains(offer) && old.contains("too old to be carried out"), "{old}");
    let done = offered(1, true);
    assert!(!done.contains(offer) && done.contains("it was <strong>carried out</strong>"), "{done}");
}

/// A hundred pipelines on one base are behind together: that is one piece of news.
#[test]
fn what_is_wrong_in_many_places_is_one_row_with_a_command_for_each() {
    let page = page_of(|| large(6), "/");
    assert_eq!(page.matches("its recipe has another base by now").count(), 1, "{page}");
    has(
        &page,
        &[
            "<strong>6 times</strong>",
            "ovenbird --local bake service-000",
            "ovenbird --local bake service-005",
        ],
    );
}

#[test]
fn an_empty_account_says_what_to_do_first() {
    let served = Served::new(empty, false);
    let cookie = served.cookie();
    for (path, text) in [
        ("/", "ovenbird --local recipe push"),
        ("/bakes", "ovenbird --local bake PIPELINE"),
        ("/lineage", "Nothing is promoted yet"),
        ("/fleet", "No machine runs"),
        ("/rollouts", "No rollout is on record"),
        ("/prune", "ovenbird --local prune --dry-run"),
    ] {
        let answer = served.get(&cookie, path);
        assert_eq!(answer.status, 200, "{path}");
        has(&answer.body, &[text]);
    }
}

/// Who hears a page jumps from part to part, and must tell them apart; and a part is named by a heading that is there.
#[test]
fn every_part_of_a_page_has_a_name_of_its_own() {
    let served = Served::new(usual, true);
    for (path, page) in every_page(&served, &served.cookie()) {
        let after = |mark: &str| {
            let found = page.split(mark).skip(1).filter_map(|rest| rest.split('"').next());
            found.map(str::to_owned).collect::<Vec<_>>()
        };
        let heading = |id: String| {
            let rest =
                page.split_once(&format!("id=\"{id}\">")).unwrap_or_else(|| panic!("{path}: no {id}")).1;
            rest.split('<').next().unwrap().to_owned()
        };
        let mut names = after("<section aria-label=\"");
        names.extend(after("role=\"region\" aria-label=\""));
        names.extend(after("<section aria-labelledby=\"").into_iter().map(heading));
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{path}: {names:?}");
        assert_eq!(page.matches("<h1>").count(), 1, "{path}");
    }
}

/// Who asks a slow account sees at once that something comes.
#[test]
fn the_frame_is_there_while_aws_is_asked() {
    let gate = Arc::new(Semaphore::new(0));
    let (of_page, of_test) = (gate.clone(), gate);
    let slow = || {
        let mut desk = usual();
        desk.gate = Some(of_page);
        desk
    };
    let served = Served::new(slow, false);
    let cookie = served.cookie();
    let headers = format!("Host: {}\r\nCookie: {cookie}\r\nConnection: close", served.host());
    let mut stream = TcpStream::connect(served.address).unwrap();
    write!(stream, "GET / HTTP/1.1\r\n{headers}\r\n\r\n").unwrap();
    let (mut early, mut bytes) = (String::new(), [0; 4096]);
    while !early.contains("</header>") {
        let count = stream.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "{early}");
        early += &String::from_utf8_lossy(&bytes[..count]);
    }
    assert!(early.contains("<title>Overview") && !early.contains("<main"), "{early}");
    of_test.add_permits(1);
    let mut late = String::new();
    stream.read_to_string(&mut late).unwrap();
    assert!(
        late.contains("<main") && late.contains("storefront/production") && late.contains("</html>"),
        "{late}"
    );
    assert!(!late.contains("<header>"), "{late}");
}

/// A page's calls and bytes must not grow with what an account has gathered over the years.
#[test]
fn a_large_account_s_pages_stay_small() {
    let served = Served::new(|| large(100), false);
    let cookie = served.cookie();
    for path in LARGE_PAGES {
        let began = std::time::Instant::now();
        let answer = served.get(&cookie, path);
        assert_eq!(answer.status, 200, "{path}");
        println!("{path}: {} bytes, {:?}", answer.body.len(), began.elapsed());
        assert!(answer.body.len() < 100_000, "{path}: {} bytes", answer.body.len());
    }
}

/// Reads from a stream until a text came.
fn until(stream: &mut TcpStream, wanted: &str) -> String {
    let (mut text, mut bytes) = (String::new(), [0; 4096]);
    while !text.contains(wanted) {
        let count = stream.read(&mut bytes).unwrap();
        assert_ne!(count, 0, "no `{wanted}` in {text}");
        text += &String::from_utf8_lossy(&bytes[..count]);
    }
    text
}

/// Asks for a path as the operator's browser does, and leaves the answer in the stream.
fn ask(served: &Served, cookie: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(served.address).unwrap();
    stream.set_read_timeout(Some(std::time::Duration::from_secs(30))).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nCookie: {cookie}\r\n\r\n", served.host()).unwrap();
    stream
}

/// Who looks at a live page sees what somebody else does, without asking again; and the server can still stop.
#[test]
fn what_changes_is_sent_to_who_looks() {
    let served = Served::new(usual, true);
    let cookie = served.cookie();
    assert!(served.get(&cookie, "/").body.contains("data-live=\"/live/\""));
    let mut stream = ask(&served, &cookie, "/live/");
    let first = until(&mut stream, "</main>");
    assert!(
        first.to_lowercase().contains("content-type: text/event-stream") && first.contains("event: page"),
        "{first}"
    );
    assert!(!first.contains("alice holds"), "{first}");
    let held = served.post(
        &cookie,
        "/do/hold/jvm-runtime/stable",
        "typed=jvm-runtime%2Fstable&why=a+freeze&request=r1",
    );
    assert!(held.body.contains("is held"), "{}", held.body);
    let next = until(&mut stream, "</main>");
    assert!(next.contains("a freeze"), "{next}");
    // A stranger is sent nothing, and what is no page has no events.
    assert_eq!(served.send("GET", "/live/", &[("Host", &served.host())], "").status, 401);
    assert_eq!(served.get(&cookie, "/live/nowhere").status, 404);
    drop(served);
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
}

/// The reader sees the frame within 300 ms, however long AWS takes for the rest.
#[test]
fn the_first_paint_of_a_large_account_is_soon() {
    let paint = || {
        // Nothing is read yet.
        let served = Served::new(|| large(100), false);
        let cookie = served.cookie();
        let began = std::time::Instant::now();
        let mut stream = ask(&served, &cookie, "/");
        until(&mut stream, "</header>");
        let frame = began.elapsed();
        until(&mut stream, "</main>");
        println!(
            "100 pipelines, 1,000 images, 10,000 bakes: the frame after {frame:?}, all after {:?}",
            began.elapsed()
        );
        frame
    };
    // The machine may be busy with other tests.
    let soon = (0..3).map(|_| paint()).any(|frame| frame < std::time::Duration::from_millis(300));
    assert!(soon, "three times the frame took longer than 300 ms");
}

/// What doctor finds is the same on the page, each with its fix.
#[test]
fn doctor_s_findings_are_on_the_page() {
    let served = Served::new(usual, false);
    let cookie = served.cookie();
    let page = served.get(&cookie, "/doctor").body;
    has(
        &page,
        &[
            "<h1>Doctor</h1>",
            "<th scope=\"row\">network</th>",
            "the stack is too old to say its version",
            "Fix: make deploy",
        ],
    );
    assert!(!page.contains("data-live"), "it would ask the account again and again");
}
