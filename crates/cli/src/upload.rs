//! The upload of an artifact, and how far it is.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ovenbird_aws::{
    Cloud,
    upload::{Parts, Sent},
};
use ovenbird_core::Result;

/// How often the bar is drawn.
const DRAW: Duration = Duration::from_millis(200);

/// How often a log is told, which shows no bar.
const TELL: Duration = Duration::from_secs(15);

/// Uploads a file, and shows how far it is: a bar on a terminal, else a line now and then.
pub async fn upload(cloud: &Cloud, key: &str, file: &Path) -> Result<()> {
    let bytes = fs::metadata(file).map_or(0, |metadata| metadata.len());
    let (sent, bar, begun) = (Sent::default(), bar(bytes), Instant::now());
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    bar.set_message(ovenbird_core::domain::plain::plain_line(&name));
    let done = cloud.put_file(key, file, Parts::S3, &sent);
    tokio::pin!(done);
    let mut told = begun;
    loop {
        match tokio::time::timeout(DRAW, &mut done).await {
            Ok(done) => {
                bar.finish_and_clear();
                return done;
            }
            Err(_) if bar.is_hidden() && told.elapsed() >= TELL => {
                told = Instant::now();
                crate::tell!("{}", line(&name, sent.bytes(), bytes));
            }
            Err(_) => bar.set_position(sent.bytes().min(bytes)),
        }
    }
}

fn bar(bytes: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(bytes), ProgressDrawTarget::stderr());
    let template = "  uploading    {wide_msg} [{bar:24}] {binary_bytes}/{binary_total_bytes} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        // Without the marks that a terminal with `LANG=C` can't show.
        bar.set_style(style.progress_chars("=> "));
    }
    bar
}

fn line(name: &str, sent: u64, bytes: u64) -> String {
    let mib = |bytes: u64| bytes >> 20;
    let percent = u128::from(sent) * 100 / u128::from(bytes.max(1));
    format!("uploading {name}: {} of {} MiB ({percent} %)", mib(sent), mib(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_told_how_far_it_is() {
        assert_eq!(line("app.jar", 3 << 30, 6 << 30), "uploading app.jar: 3072 of 6144 MiB (50 %)");
        // Its file was emptied meanwhile.
        assert_eq!(line("app.jar", 0, 0), "uploading app.jar: 0 of 0 MiB (0 %)");
    }
}
