//! What changes on a live page, sent as it changes: server-sent events, one for each new content.
//!
//! The server looks again while somebody watches, and sends nothing while nothing changed. Without JavaScript, the page
//! reloads itself instead.

use std::{convert::Infallible, future::Future, time::Duration};

use futures::{Stream, stream};
use tokio::sync::watch;

use crate::pages::layout::main_of;

/// Between two looks, while somebody watches.
pub const LOOK: Duration = Duration::from_secs(2);

/// So many looks without a change, and a comment is sent: without one, nobody would notice that the watcher has gone.
const QUIET: u32 = 5;

/// A page that was made.
#[derive(Debug)]
pub struct Made {
    /// The whole document.
    pub html: String,
    /// Whether it may still change.
    pub live: bool,
}

/// The events of a page: its content now, and again whenever that has changed. It ends when the page is live no more, when
/// the page can't be made, or with the server.
pub fn events<M, F>(
    make: M,
    look: Duration,
    stopped: watch::Receiver<bool>,
) -> impl Stream<Item = Result<String, Infallible>>
where
    M: Fn() -> F,
    F: Future<Output = Option<Made>>,
{
    let start = Watch { make, look, stopped, shown: String::new(), looks: 0, over: false };
    stream::unfold(start, |mut watch| async move {
        if watch.over {
            return None;
        }
        loop {
            if watch.looks > 0 && !watch.wait().await {
                return None;
            }
            watch.looks += 1;
            let made = (watch.make)().await?;
            let (main, all) = main_of(&made.html);
            if !made.live {
                watch.over = true;
                return Some((Ok(event("end", all)), watch));
            }
            if main != watch.shown {
                watch.shown = main.to_owned();
                watch.looks = 1;
                return Some((Ok(event("page", all)), watch));
            }
            if watch.looks.is_multiple_of(QUIET) {
                return Some((Ok(": still here\n\n".to_owned()), watch));
            }
        }
    })
}

/// Who watches what.
struct Watch<M> {
    make: M,
    look: Duration,
    stopped: watch::Receiver<bool>,
    /// What was sent last.
    shown: String,
    /// How often it was looked since.
    looks: u32,
    over: bool,
}

impl<M> Watch<M> {
    /// Waits until it is time to look again. False when the server stops, which would else wait for the watcher to go.
    async fn wait(&mut self) -> bool {
        tokio::select! {
            () = tokio::time::sleep(self.look) => true,
            _ = self.stopped.wait_for(|stopped| *stopped) => false,
        }
    }
}

/// An event: each line of its data stands alone.
fn event(name: &str, data: &str) -> String {
    let mut text = format!("event: {name}\n");
    for line in data.split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use futures::StreamExt as _;

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    fn page(main: &str, live: bool) -> Made {
        Made { html: format!("<html><main id=\"main\">{main}</main><footer>now</footer></html>"), live }
    }

    #[test]
    fn each_content_is_sent_once_and_the_last_one_ends_it() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let pages =
            RefCell::new(vec![page("c", false), page("b", true), page("a\nd", true), page("a\nd", true)]);
        let (_stop, stopped) = watch::channel(false);
        let make = || async { pages.borrow_mut().pop() };
        let sent: Vec<_> = runtime.block_on(async { events(make, SHORT, stopped).collect().await });
        let sent: Vec<String> = sent.into_iter().map(|Ok(text)| text).collect();
        assert_eq!(
            sent,
            [
                "event: page\ndata: <main id=\"main\">a\ndata: d</main><footer>now</footer>\n\n",
                "event: page\ndata: <main id=\"main\">b</main><footer>now</footer>\n\n",
                "event: end\ndata: <main id=\"main\">c</main><footer>now</footer>\n\n",
            ]
        );
    }

    #[test]
    fn it_says_that_it_is_there_and_ends_with_the_server() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let (stop, stopped) = watch::channel(false);
        let make = || async { Some(page("a", true)) };
        runtime.block_on(async {
            let mut events = Box::pin(events(make, SHORT, stopped));
            assert!(events.next().await.unwrap().unwrap().starts_with("event: page"));
            assert_eq!(events.next().await.unwrap().unwrap(), ": still here\n\n");
            stop.send(true).unwrap();
            assert!(events.next().await.is_none());
        });
    }
}
