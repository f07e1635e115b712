//! The page in Debian's headless Chromium: the way in works under the page's own policy, nothing that others wrote runs, and
//! on a phone nothing stands beyond the edge.

use std::{fs::File, io::BufReader, path::Path, process::Command};

use ovenbird_ui::{Options, export};

use crate::{account::usual, client::Served, hostile::hostile};

const CHROMIUM: &str = "/usr/bin/chromium-headless-shell";

/// Whether the browser is there; in CI it must be.
fn is_there() -> bool {
    let there = Path::new(CHROMIUM).exists();
    assert!(there || std::env::var_os("CI").is_none(), "{CHROMIUM} is missing: run `tools/setup`");
    if !there {
        println!("SKIPPED: no {CHROMIUM}");
    }
    there
}

/// Opens an address; gives what the browser says on standard output, and what it logs.
fn browse(arguments: &[&str], address: &str) -> (String, String) {
    let home = tempfile::tempdir().unwrap();
    let output = Command::new(CHROMIUM)
        // Root, as which the tests run, has no use for a sandbox: the pages are ours.
        .args(["--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr"])
        .arg(format!("--user-data-dir={}", home.path().display()))
        .args(arguments)
        .arg(address)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// What the page's script or the browser's policy complained about.
fn complaints(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("CONSOLE") || line.contains("Refused to")).collect()
}

fn enter(served: &Served) -> (String, String) {
    let address = format!("{}/#{}", served.origin(), served.token);
    browse(&["--timeout=5000", "--dump-dom"], &address)
}

#[test]
fn a_browser_gets_in_by_the_address_and_nothing_is_refused() {
    if !is_there() {
        return;
    }
    let served = Served::new(usual, true);
    let (page, log) = enter(&served);
    assert!(page.contains("<title>Overview") && page.contains("storefront/production"), "{page}");
    // The script ran: it made these.
    assert!(page.contains("class=\"copy\""), "{page}");
    assert!(!page.contains(&served.token));
    assert_eq!(complaints(&log), Vec::<&str>::new());
    // A second browser with the same address stays outside.
    let (page, _) = enter(&served);
    assert!(page.contains("was used already") && !page.contains("storefront"), "{page}");
}

#[test]
fn nothing_that_others_wrote_runs() {
    if !is_there() {
        return;
    }
    let (page, log) = enter(&Served::new(hostile, true));
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<img"), "{page}");
    assert_eq!(complaints(&log), Vec::<&str>::new());
}

/// The colours of a picture's points, row by row.
fn picture(path: &Path) -> Vec<Vec<[u8; 3]>> {
    let mut reader = png::Decoder::new(BufReader::new(File::open(path).unwrap())).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut bytes).unwrap();
    let step = frame.color_type.samples();
    let rows = bytes[..frame.buffer_size()].chunks(frame.line_size);
    rows.map(|row| row.chunks(step).map(|point| [point[0], point[1], point[2]]).collect()).collect()
}

#[test]
fn no_page_stands_beyond_the_edge_in_light_or_dark() {
    if !is_there() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let desk = usual();
        let now = desk.cloud.now();
        let options = Options { changes: false, command: "ovenbird".into(), place: "a test".into() };
        export(desk, folder.path(), &options, now).await.unwrap();
    });
    let shot = folder.path().join("shot.png");
    let (to, dark, light) = (format!("--screenshot={}", shot.display()), [0x14, 0x17, 0x1c], [0xff; 3]);
    for page in [
        "index",
        "bakes",
        "lineage",
        "fleet",
        "rollouts",
        "prune",
        "doctor",
        "pipelines/storefront",
        "bakes/storefront/broken",
    ] {
        let address = format!("file://{}/{page}.html", folder.path().display());
        for (width, scheme, ground, margin) in
            [(400, 1, light, 12), (400, 0, dark, 12), (1000, 1, light, 24), (1600, 0, dark, 24)]
        {
            let size = format!("--window-size={width},1200");
            let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
            browse(&[&size, &scheme, &to], &address);
            let rows = picture(&shot);
            assert_eq!((rows[0].len(), rows.len()), (width, 1200), "{page}");
            // Below the head, which reaches from edge to edge.
            let below = &rows[130..];
            let beyond =
                below.iter().filter(|row| row[width - margin + 1..].iter().any(|point| *point != ground));
            assert_eq!(beyond.count(), 0, "{page} at {width}: something stands beyond the edge");
            let written = below.iter().filter(|row| row.iter().any(|point| *point != ground)).count();
            assert!(written > 60, "{page} at {width}: {written} rows have something on them");
        }
    }
}
