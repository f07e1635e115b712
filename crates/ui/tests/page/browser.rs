//! The page in a browser, on accounts in memory: the way in works under the page's own policy, nothing that others wrote
//! runs, everybody can read every page, and what changes is seen.

use crate::{
    account::{Desk, large, usual},
    chromium::{Chromium, is_there},
    client::Served,
    hostile::{every_page, hostile},
    rollouts::steady,
};

/// A page that is served, the cookie of somebody who got in, and their browser; none where there is no Chromium.
pub fn signed_in(
    desk: impl FnOnce() -> Desk + Send + 'static,
    changes: bool,
) -> Option<(Served, String, Chromium)> {
    if !is_there() {
        return None;
    }
    let served = Served::new(desk, changes);
    let cookie = served.cookie();
    let browser = with_cookie(&served, &cookie);
    Some((served, cookie, browser))
}

/// A browser of somebody who got in.
pub fn with_cookie(served: &Served, cookie: &str) -> Chromium {
    let mut browser = Chromium::start();
    browser.cookie(&served.origin(), cookie);
    browser
}

/// Opens the address that was printed.
fn enter(served: &Served) -> Chromium {
    let mut browser = Chromium::start();
    browser.open(&format!("{}/#{}", served.origin(), served.token));
    browser
}

#[test]
fn a_browser_gets_in_by_the_address_and_nothing_is_refused() {
    if !is_there() {
        return;
    }
    let served = Served::new(usual, true);
    let mut browser = enter(&served);
    browser.until("document.title.startsWith('Overview')");
    browser.reads("storefront/production");
    // The script ran: it made these. And the token is nowhere any more.
    browser.until("document.querySelectorAll('button.copy').length > 0");
    assert_eq!(
        browser
            .eval("location.href + document.documentElement.outerHTML")
            .as_str()
            .unwrap()
            .find(&served.token),
        None
    );
    assert_eq!(browser.eval("document.cookie"), "", "no script can read the cookie");
    assert_eq!(browser.complaints, Vec::<String>::new());
    // A second browser with the same address stays outside.
    let mut second = enter(&served);
    second.reads("was used already");
    assert_eq!(second.eval("document.body.innerText.includes('storefront')"), false);
}

#[test]
fn nothing_that_others_wrote_runs() {
    if !is_there() {
        return;
    }
    let served = Served::new(hostile, true);
    let mut browser = enter(&served);
    browser.reads("<script>alert(1)");
    for path in ["/bakes/storefront/broken", "/pipelines/storefront", "/prune/storefront", "/lineage"] {
        browser.open(&format!("{}{path}", served.origin()));
        browser.reads("<script>alert(1)");
        assert_eq!(browser.eval("document.querySelectorAll('main img, main script').length"), 0, "{path}");
        for width in [360, 1280] {
            browser.look(width, false);
            assert_eq!(browser.misplaced(), Vec::<String>::new(), "{path} at {width}");
        }
    }
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// One page of each kind.
pub fn kinds(served: &Served, cookie: &str) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let paths = every_page(served, cookie).into_iter().map(|(path, _)| path);
    let kind = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        if parts[1] == "do" { parts[..3].join("/") } else { format!("{}{}", parts[1], parts.len()) }
    };
    paths.filter(|path| seen.insert(kind(path))).collect()
}

/// No font is the same on two machines, and so no picture is: one that is kept would fail with the fonts. What must hold of
/// each picture is asked of the browser instead, and pictures are compared with those of the same browser.
#[test]
fn everybody_can_read_every_page_on_a_phone_and_a_desk_in_light_and_dark() {
    let Some((served, cookie, mut browser)) = signed_in(steady, true) else { return };
    let paths = kinds(&served, &cookie);
    assert!(paths.len() >= 15, "{paths:?}");
    let mut wrong = Vec::new();
    let stranger = Served::new(usual, false);
    let mut all = vec![("entrance".to_owned(), format!("{}/", stranger.origin()))];
    for path in paths {
        let name = if path == "/" { "overview".to_owned() } else { path[1..].replace('/', "_") };
        all.push((name, format!("{}{path}", served.origin())));
    }
    for (name, address) in all {
        let mut light = serde_json::Value::Null;
        for (width, dark) in [(360, false), (360, true), (1280, false), (1280, true)] {
            browser.look(width, dark);
            if (width, dark) == (360, false) {
                browser.open(&address);
            }
            let mut told = |what: String| wrong.push(format!("{address} at {width}, dark {dark}: {what}"));
            browser.violations().into_iter().for_each(&mut told);
            browser.misplaced().into_iter().for_each(&mut told);
            let layout = browser.layout();
            if dark && layout != light {
                told("nothing but colours may be another in the dark".to_owned());
            }
            light = layout;
            let ground = browser.eval("getComputedStyle(document.body).backgroundColor");
            browser.picture(&format!("{name}-{width}{}", if dark { "-dark" } else { "" }));
            assert_eq!(ground, if dark { "rgb(20, 23, 28)" } else { "rgb(255, 255, 255)" });
        }
        browser.on_paper();
        let mut told = |what: &str| wrong.push(format!("{address} on paper: {what}"));
        let paper = browser.eval(
            "(() => { const style = getComputedStyle(document.body); return style.backgroundColor + ' ' + style.color; })()",
        );
        if paper != "rgb(255, 255, 255) rgb(27, 31, 38)" {
            told(&format!("the colours are {paper}"));
        }
        if browser
            .eval("[...document.querySelectorAll('nav, button, a.act')].some(one => one.checkVisibility())")
            == true
        {
            told("something is there to be clicked");
        }
        let closed =
            "[...document.querySelectorAll('details > :not(summary)')].filter(one => !one.checkVisibility())";
        if browser.eval(&format!("{closed}.length > 0")) == true {
            told("what is folded is not there");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(browser.complaints, Vec::<String>::new());
}

/// The frame is painted while the rest is still read: the browser gets the stylesheet meanwhile, on a connection of its own.
#[test]
fn a_large_account_is_painted_soon_with_few_bytes_and_requests() {
    if !is_there() {
        return;
    }
    let paint = || {
        // Nothing is read yet.
        let served = Served::new(|| large(100), false);
        let mut browser = with_cookie(&served, &served.cookie());
        browser.open(&format!("{}/", served.origin()));
        browser.until("performance.getEntriesByName('first-contentful-paint').length == 1");
        let paint = browser.eval("performance.getEntriesByName('first-contentful-paint')[0].startTime");
        let all = browser.eval("performance.getEntriesByType('navigation')[0].responseEnd");
        let bytes: u64 = browser.answers.values().map(|(_, bytes)| bytes).sum();
        println!(
            "100 pipelines, 1,000 images, 10,000 bakes: painted after {paint} ms, all there after {all} ms, {bytes} bytes"
        );
        assert!(bytes < 100_000, "{:?}", browser.answers);
        // The page, its style and its script; and what changes from then on.
        assert!(browser.answers.len() <= 4, "{:?}", browser.answers);
        paint.as_f64() < all.as_f64()
    };
    // The machine may be busy with other tests.
    assert!((0..3).any(|_| paint()), "three times nothing was painted before all was there");
}
