//! Each way in that is not the operator's.

use crate::{
    account::usual,
    client::Served,
    rollouts::{edit, link},
};

const PATHS: [&str; 14] = [
    "/",
    "/style.css",
    "/page.js",
    "/bakes",
    "/lineage",
    "/fleet",
    "/rollouts",
    "/prune",
    "/prune/storefront",
    "/pipelines/storefront",
    "/bakes/storefront/before-2",
    "/do/hold/storefront/production",
    "/session",
    "/no-such-page",
];

#[test]
fn a_name_that_somebody_points_at_loopback_is_answered_on_no_path() {
    let served = Served::new(usual, true);
    let cookie = served.cookie();
    for path in PATHS {
        for host in ["evil.example", "evil.example:4600", "127.0.0.1", "127.0.0.1:1"] {
            let answer = served.send("GET", path, &[("Host", host), ("Cookie", &cookie)], "");
            assert_eq!(answer.status, 421, "{path} as {host}");
            assert!(!answer.body.contains("storefront"), "{path} as {host}: {}", answer.body);
        }
    }
}

#[test]
fn without_the_cookie_nothing_of_the_account_is_shown_or_changed() {
    let served = Served::new(usual, true);
    let host = served.host();
    for path in PATHS {
        let answer = served.send("GET", path, &[("Host", &host), ("Cookie", "ovenbird=x")], "");
        assert!(!answer.body.contains("storefront") && !answer.body.contains(&served.token), "{path}");
        if !["/style.css", "/page.js"].contains(&path) {
            assert_eq!(answer.status, 401, "{path}");
        }
    }
    let headers = [("Host", &*host), ("Origin", &served.origin())];
    let path = "/do/hold/storefront/production";
    let answer = served.send("POST", path, &headers, "typed=storefront%2Fproduction&request=r");
    assert_eq!(answer.status, 401);
    let cookie = served.cookie();
    assert!(!served.get(&cookie, "/").body.contains("held by"));
}

#[test]
fn a_token_works_once_and_no_other_one_works() {
    let served = Served::new(usual, false);
    for wrong in ["", "x", &served.token[1..], &served.token.to_uppercase()] {
        let answer = served.enter(wrong);
        assert_eq!((answer.status, answer.header("set-cookie")), (401, None), "{wrong}");
    }
    let first = served.enter(&served.token);
    assert_eq!((first.status, first.header("location")), (303, Some("/")));
    let cookie = first.header("set-cookie").unwrap();
    assert!(cookie.ends_with("; Path=/; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&served.token), "the token is the cookie");
    let second = served.enter(&served.token);
    assert_eq!((second.status, second.header("set-cookie")), (401, None));
    assert_eq!(served.get(cookie.split(';').next().unwrap(), "/").status, 200);
}

#[test]
fn another_page_s_form_changes_nothing() {
    let served = Served::new(usual, true);
    let (cookie, host) = (served.cookie(), served.host());
    let path = "/do/hold/jvm-runtime/stable";
    let form = "typed=jvm-runtime%2Fstable&request=r1";
    let send = |more: &[(&str, &str)]| {
        let headers = [&[("Host", &*host), ("Cookie", &cookie)], more].concat();
        served.send("POST", path, &headers, form).status
    };
    let ours = served.origin();
    assert_eq!(send(&[]), 403);
    assert_eq!(send(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(send(&[("Origin", "null")]), 403);
    assert_eq!(send(&[("Origin", &ours), ("Sec-Fetch-Site", "cross-site")]), 403);
    assert!(!served.get(&cookie, "/pipelines/jvm-runtime").body.contains("held by"));
    assert_eq!(send(&[("Origin", &ours), ("Sec-Fetch-Site", "same-origin")]), 200);
    assert!(served.get(&cookie, "/pipelines/jvm-runtime").body.contains("held by user/alice"));
}

#[test]
fn a_page_that_was_not_allowed_to_changes_nothing() {
    let served = Served::new(usual, false);
    let cookie = served.cookie();
    let question = served.get(&cookie, "/do/hold/jvm-runtime/stable");
    assert!(question.body.contains("read-only") && !question.body.contains("<form"), "{}", question.body);
    assert!(question.body.contains("ovenbird --local hold jvm-runtime --channel stable"));
    let answer = served.post(&cookie, "/do/hold/jvm-runtime/stable", "typed=jvm-runtime%2Fstable&request=r1");
    assert!(answer.body.contains("read-only"));
    let page = served.get(&cookie, "/pipelines/jvm-runtime").body;
    assert!(!page.contains("held by") && !page.contains("class=\"act\""), "{page}");
}

#[test]
fn a_change_is_made_only_when_the_channel_s_name_was_typed() {
    let served = Served::new(usual, true);
    let cookie = served.cookie();
    let path = "/do/hold/jvm-runtime/stable";
    let question = served.get(&cookie, path).body;
    assert!(question.contains("ovenbird --local hold jvm-runtime --channel stable"), "{question}");
    for typed in ["", "yes", "jvm-runtime", "jvm-runtime%2Fproduction"] {
        let answer = served.post(&cookie, path, &format!("typed={typed}&request=r1"));
        assert!(answer.body.contains("nothing was changed"), "{typed}");
    }
    assert!(!served.get(&cookie, "/pipelines/jvm-runtime").body.contains("held by"));
    let done = served.post(&cookie, path, "typed=jvm-runtime%2Fstable&why=a+look&request=r1");
    assert!(done.body.contains("Channel jvm-runtime/stable is held."), "{}", done.body);
    assert!(served.get(&cookie, "/pipelines/jvm-runtime").body.contains("held by user/alice"));
    let released = served.post(&cookie, "/do/release/jvm-runtime/stable", "typed=jvm-runtime%2Fstable");
    assert!(released.body.contains("is open"));
    assert!(!served.get(&cookie, "/pipelines/jvm-runtime").body.contains("held by"));
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let served = Served::new(usual, false);
    let cookie = served.cookie();
    for path in PATHS {
        let answer = served.get(&cookie, path);
        let policy = answer.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "script-src 'self';", "frame-ancestors 'none'", "base-uri 'none'"]
        {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{path}");
        // The policy would stop them, and a page that needs none is better.
        for inline in ["style=", "onclick=", "onload=", "<script>"] {
            assert!(!answer.body.contains(inline) || path == "/page.js", "{path} has {inline}");
        }
    }
}

#[tokio::test]
async fn only_loopback_is_listened_at() {
    let options = || ovenbird_ui::Options {
        changes: false,
        command: String::new(),
        place: String::new(),
        reach: String::new(),
    };
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = ovenbird_ui::Server::bind(address.parse().unwrap(), options()).await.unwrap_err();
        assert!(refused.to_string().contains("is not loopback"), "{address}: {refused}");
    }
}

#[test]
fn a_form_that_is_too_long_is_refused() {
    let served = Served::new(usual, true);
    let cookie = served.cookie();
    let answer = served.post(&cookie, "/do/hold/jvm-runtime/stable", &"x".repeat(20_000));
    assert_eq!(answer.status, 413);
}

/// A prune run from the page is one that a person agreed to by its plan's name, and the page itself removes nothing.
#[test]
fn a_prune_run_is_started_only_when_its_plan_s_name_was_typed() {
    let (told, hear) = std::sync::mpsc::channel();
    let desk = move || {
        let mut desk = usual();
        desk.started = Some(told);
        desk
    };
    let served = Served::new(desk, true);
    let cookie = served.cookie();
    assert!(served.get(&cookie, "/prune").body.contains("href=\"/do/plan\""));
    let question = served.get(&cookie, "/do/prune/prune-1").body;
    assert!(
        question.contains("Type <strong>prune-1</strong>")
            && question.contains("ovenbird --local prune --yes")
    );
    for typed in ["", "yes", "prune-2"] {
        let answer = served.post(&cookie, "/do/prune/prune-1", &format!("typed={typed}&request=r1"));
        assert!(answer.body.contains("nothing was started"), "{typed}");
    }
    assert!(hear.try_recv().is_err());
    let done = served.post(&cookie, "/do/prune/prune-1", "typed=prune-1&request=r1").body;
    assert!(done.contains("Run <code>r1</code> begins"), "{done}");
    assert_eq!(hear.try_recv().unwrap(), ("r1".to_owned(), serde_json::json!({"act": "prune-1"})));
    served.post(&cookie, "/do/plan", "typed=plan&request=r2");
    assert_eq!(hear.try_recv().unwrap().1, serde_json::json!({"dry-run": true}));
    // Another site's form, and a page that is read-only, start none.
    let foreign = [("Host", &*served.host()), ("Cookie", &cookie), ("Origin", "http://evil.example")];
    assert_eq!(served.send("POST", "/do/prune/prune-1", &foreign, "typed=prune-1&request=r3").status, 403);
    assert!(hear.try_recv().is_err());
    drop(served);
    let (told, hear) = std::sync::mpsc::channel();
    let desk = move || {
        let mut desk = usual();
        desk.started = Some(told);
        desk
    };
    let served = Served::new(desk, false);
    let cookie = served.cookie();
    assert!(!served.get(&cookie, "/prune").body.contains("/do/plan"));
    let answer = served.post(&cookie, "/do/prune/prune-1", "typed=prune-1&request=r1").body;
    assert!(answer.contains("read-only") && hear.try_recv().is_err(), "{answer}");
}

/// Where a person is asked, the page takes their word, by what the command does; a page that is read-only takes none.
#[test]
fn a_rollout_that_waits_for_a_person_is_approved_or_rejected() {
    let form = "typed=storefront%2Fproduction&request=r1";
    for (word, done) in [("approve", "is approved, and goes on"), ("reject", "is rejected, and goes back")] {
        let path = format!("/do/{word}/storefront/production");
        let command = format!("ovenbird --local rollout storefront {word} --channel production");
        let served = Served::new(usual, false);
        let cookie = served.cookie();
        assert!(!served.get(&cookie, &link(&served, &cookie)).body.contains("href=\"/do/"));
        let answer = served.post(&cookie, &path, form).body;
        assert!(answer.contains("read-only") && answer.contains(&command), "{answer}");
        assert!(served.get(&cookie, "/").body.contains("storefront approve"));
        drop(served);
        let served = Served::new(usual, true);
        let cookie = served.cookie();
        let page = served.get(&cookie, &link(&served, &cookie)).body;
        assert!(page.contains(&format!("href=\"{path}\"")), "{page}");
        for other in ["resume", "abort", "skip", "leave"] {
            assert!(!page.contains(&format!("/do/{other}/")), "{other}");
        }
        assert!(served.get(&cookie, &path).body.contains(&command));
        let wrong = served.post(&cookie, &path, "typed=storefront&request=r1").body;
        assert!(wrong.contains("nothing was changed"), "{wrong}");
        let answer = served.post(&cookie, &path, form).body;
        assert!(answer.contains(done), "{answer}");
        let page = served.get(&cookie, &link(&served, &cookie)).body;
        assert!(page.contains("a person lets it go on"), "{page}");
    }
}

/// A rollout that can't be brought back is left as it stands, and only such a one.
#[test]
fn a_rollout_that_goes_back_can_be_left_and_another_one_can_not() {
    let form = "typed=storefront%2Fproduction&request=r1";
    let path = "/do/leave/storefront/production";
    let served = Served::new(usual, true);
    let cookie = served.cookie();
    let page = served.get(&cookie, &link(&served, &cookie)).body;
    assert!(page.contains("/do/reject/storefront") && !page.contains("/do/leave/storefront"), "{page}");
    let refused = served.post(&cookie, path, form).body;
    assert!(refused.contains("is aborted, not left"), "{refused}");
    drop(served);
    let reverting = || {
        let desk = usual();
        edit(&desk, |doc| doc["progress"]["phase"] = "reverting".into());
        desk
    };
    let served = Served::new(reverting, true);
    let cookie = served.cookie();
    let page = served.get(&cookie, &link(&served, &cookie)).body;
    assert!(page.contains("/do/leave/storefront") && !page.contains("/do/abort/storefront"), "{page}");
    assert!(
        served
            .get(&cookie, path)
            .body
            .contains("ovenbird --local rollout storefront leave --channel production")
    );
    let wrong = served.post(&cookie, path, "typed=storefront&request=r1").body;
    assert!(wrong.contains("nothing was changed"), "{wrong}");
    let done = served.post(&cookie, path, form).body;
    assert!(done.contains("is told to leave"), "{done}");
}
