//! The page without a mouse, and without a script.

use std::time::{Duration, Instant};

use crate::{
    account::usual,
    browser::{kinds, signed_in},
    chromium::{Chromium, is_there},
    client::Served,
};

/// Goes on to the next thing that takes the focus; gives what it says, and what is wrong with it.
fn next(browser: &mut Chromium) -> (String, Option<&'static str>) {
    browser.press("Tab");
    let seen = browser.eval(
        "(() => { const one = document.activeElement, box = one.getBoundingClientRect(); one.dataset.reached = ''; \
         const node = one.querySelector(':scope > .node'), style = getComputedStyle(node ?? one); \
         const ring = node ? parseFloat(style.strokeWidth) >= 3 : style.outlineStyle != 'none' && parseFloat(style.outlineWidth) >= 2; \
         const inside = box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth; \
         return [(one.getAttribute('aria-label') ?? one.innerText ?? one.textContent).trim() || one.id, ring, inside, one == document.body]; })()",
    );
    let wrong = match (&seen[1], &seen[2], &seen[3]) {
        (_, _, body) if *body == true => Some("it is nowhere"),
        (ring, ..) if *ring == false => Some("nobody sees that it has the focus"),
        (_, inside, _) if *inside == false => Some("it is out of sight"),
        _ => None,
    };
    (seen[0].as_str().unwrap_or_default().to_owned(), wrong)
}

/// Goes on until the focus is on what says this.
#[track_caller]
fn reaches(browser: &mut Chromium, text: &str) {
    let mut passed = Vec::new();
    while passed.len() < 60 {
        let (said, _) = next(browser);
        if said.contains(text) {
            return;
        }
        passed.push(said);
    }
    panic!("{text} is not among {passed:?}");
}

#[test]
fn everything_is_reached_by_the_tab_key_and_is_seen_there() {
    let Some((served, cookie, mut browser)) = signed_in(usual, true) else { return };
    let (mut wrong, mut steps) = (Vec::new(), 0);
    for path in kinds(&served, &cookie) {
        browser.open(&format!("{}{path}", served.origin()));
        // A live page would lose the marks with its next update.
        browser.eval("leave()");
        let wanted = "[...document.querySelectorAll('a[href], button, input:not([type=hidden]), summary, [tabindex=\"0\"]')]\
                      .filter(one => one.checkVisibility({contentVisibilityAuto: true}))";
        let count = browser.eval(&format!("{wanted}.length")).as_u64().unwrap();
        assert!(count > 8, "{path} has {count}");
        for _ in 0..count {
            let (said, problem) = next(&mut browser);
            wrong.extend(problem.map(|problem| format!("{path}: {said}: {problem}")));
            steps += 1;
        }
        let left = browser.eval(&format!(
            "{wanted}.filter(one => !('reached' in one.dataset)).map(one => one.outerHTML.slice(0, 90))"
        ));
        if left.as_array().is_some_and(|left| !left.is_empty()) {
            wrong.push(format!("{path}: not reached: {left}"));
        }
    }
    println!("{steps} steps of the tab key");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_channel_is_held_without_a_mouse() {
    let Some((served, _, mut browser)) = signed_in(usual, true) else { return };
    browser.open(&format!("{}/", served.origin()));
    // Past the bar above, as somebody with a screen reader does.
    assert_eq!(next(&mut browser), ("Skip to the content".to_owned(), None));
    browser.press("Enter");
    browser.until("document.activeElement.id == 'main'");
    reaches(&mut browser, "jvm-runtime/stable");
    browser.press("Enter");
    browser.until("document.title.startsWith('Pipeline jvm-runtime')");
    reaches(&mut browser, "hold jvm-runtime/stable");
    browser.press("Enter");
    browser.reads("to agree");
    reaches(&mut browser, "why");
    browser.write("a freeze");
    reaches(&mut browser, "typed");
    browser.write("jvm-runtime/stable");
    reaches(&mut browser, "hold");
    browser.press("Enter");
    browser.reads("Channel jvm-runtime/stable is held.");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// Who goes through a live page by the keyboard stays where they are when it changes, and sees the change.
#[test]
fn what_has_the_focus_keeps_it_while_the_page_changes() {
    let Some((served, cookie, mut browser)) = signed_in(usual, true) else { return };
    browser.open(&format!("{}/", served.origin()));
    reaches(&mut browser, "storefront/production");
    reaches(&mut browser, "ami-");
    let on = browser.eval("document.activeElement.textContent");
    let held = served.post(&cookie, "/do/hold/jvm-runtime/stable", "typed=jvm-runtime%2Fstable&request=r1");
    assert!(held.body.contains("is held"));
    browser.reads("held by user/alice");
    assert_eq!(browser.eval("document.activeElement.textContent"), on);
    assert_eq!(next(&mut browser).1, None);
    // It looks as it would, had it been loaded now.
    browser.eval("document.activeElement.blur()");
    let taken = browser.shot("main");
    browser.open(&format!("{}/", served.origin()));
    browser.until("document.querySelectorAll('button.copy').length > 0");
    assert!(taken.len() > 10_000);
    assert!(browser.shot("main") == taken, "what was taken over looks other than what is loaded");
}

/// The token is pasted, live pages load themselves again, and forms are forms: no script is needed for any of it.
#[test]
fn everything_works_without_a_script() {
    if !is_there() {
        return;
    }
    let served = Served::new(usual, true);
    let mut browser = Chromium::start();
    browser.without_script();
    let address = format!("{}/#{}", served.origin(), served.token);
    browser.open(&address);
    // Nobody but a script reads what is behind the `#`: it is pasted, as it was printed.
    browser.click("#token", "");
    browser.write(&address);
    browser.press("Enter");
    browser.until("document.title.startsWith('Overview')");
    assert_eq!(browser.eval("document.querySelectorAll('button.copy').length"), 0, "a script ran");
    let cookie = browser.session_of(&served.origin());
    for path in kinds(&served, &cookie) {
        browser.open(&format!("{}{path}", served.origin()));
        let empty = browser.eval(
            "[...document.querySelectorAll('main section, main table, main form, main svg')].filter(one => one.checkVisibility() && one.getBoundingClientRect().height < 10).map(one => one.outerHTML.slice(0, 90))",
        );
        assert_eq!(empty, serde_json::json!([]), "{path}");
        assert!(
            browser.eval("document.querySelector('main').innerText.length").as_u64().unwrap() > 40,
            "{path}"
        );
        assert_eq!(browser.misplaced(), Vec::<String>::new(), "{path}");
    }
    browser.open(&format!("{}/pipelines/jvm-runtime", served.origin()));
    browser.click("a.act", "hold");
    browser.click("#typed", "");
    browser.write("jvm-runtime/stable");
    browser.press("Enter");
    browser.reads("Channel jvm-runtime/stable is held.");
    browser.open(&format!("{}/", served.origin()));
    browser.reads("held by user/alice");
    browser.reads("it reloads itself every ten seconds");
    // Nobody is at the browser now.
    let released =
        served.post(&cookie, "/do/release/jvm-runtime/stable", "typed=jvm-runtime%2Fstable&request=r2");
    assert!(released.body.contains("is open"));
    let begun = Instant::now();
    browser.until("!document.body.innerText.includes('held by')");
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!(browser.complaints, Vec::<String>::new());
}
