//! What is counted of requests that a real `HAProxy` carried.

use std::{net::SocketAddr, sync::PoisonError};

use super::*;

impl Lab {
    /// What the minute that ends now had: the metric, the target group, and how many.
    async fn counts(&mut self) -> Vec<(&'static str, String, u64)> {
        self.balancer.close_minute().await;
        let data =
            std::mem::take(&mut *self.balancer.tally.counts().lock().unwrap_or_else(PoisonError::into_inner));
        assert!(data.iter().all(|one| one.balancer == "lb"), "{data:?}");
        let told = data.into_iter().map(|one| (one.metric, one.target_group.unwrap_or_default(), one.count));
        told.collect()
    }

    /// What comes within half a minute: `HAProxy` counts an answer a moment after the client has it.
    async fn comes_to(&mut self, expected: &[(&'static str, &str, u64)]) {
        let expected: Vec<_> =
            expected.iter().map(|(metric, group, count)| (*metric, (*group).to_owned(), *count)).collect();
        let mut all: Vec<(&'static str, String, u64)> = Vec::new();
        let start = std::time::Instant::now();
        while all != expected {
            assert!(start.elapsed() < Duration::from_secs(30), "{all:?}");
            for (metric, group, count) in self.counts().await {
                match all.iter_mut().find(|one| (one.0, &one.1) == (metric, &group)) {
                    Some(one) => one.2 += count,
                    None => all.push((metric, group, count)),
                }
            }
            all.sort_unstable();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(self.counts().await, [], "nothing is counted twice");
    }
}

const REQUESTS: &str = "RequestCount";
const FAILED: &str = "HTTPCode_Target_5XX_Count";
const REFUSED: &str = "HTTPCode_ELB_5XX_Count";
const WEB: &str = "targetgroup/web/web";

#[tokio::test]
async fn requests_are_counted_by_their_target_group_and_errors_by_who_made_them() {
    let Some(mut lab) = Lab::new() else { return };
    let (one, two) = (target("one", Arc::default()).await, target("two", Arc::default()).await);
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
    let shares = |blue: u16, green: u16| {
        [pool("blue", blue, &[("1", one)], &[]), pool("green", green, &[("2", two)], &[])]
    };
    lab.bring(&[lab.forward(&shares(1, 0))]).await;
    for path in ["/", "/", "/error"] {
        lab.get(path).await;
    }
    lab.bring(&[lab.forward(&shares(0, 1))]).await;
    lab.get("/").await;
    let (blue, green) = ("targetgroup/blue/blue", "targetgroup/green/green");
    lab.comes_to(&[
        (FAILED, "", 1),
        (FAILED, blue, 1),
        (REQUESTS, "", 4),
        (REQUESTS, blue, 3),
        (REQUESTS, green, 1),
    ])
    .await;

    // A target that doesn't answer was chosen. Where there is none, no request is counted, but its error.
    lab.bring(&[lab.forward(&[pool("web", 1, &[("1", closed)], &[])])]).await;
    assert_eq!(lab.get("/").await.0, 502);
    lab.comes_to(&[(REFUSED, "", 1), (REQUESTS, "", 1), (REQUESTS, WEB, 1)]).await;
    lab.bring(&[lab.forward(&[pool("web", 1, &[], &[])])]).await;
    assert_eq!(lab.get("/").await.0, 503);
    lab.comes_to(&[(REFUSED, "", 1)]).await;
}

#[tokio::test]
async fn a_target_or_a_process_that_goes_takes_no_count_with_it() {
    let Some(mut lab) = Lab::new() else { return };
    let (one, two) = (target("one", Arc::default()).await, target("two", Arc::default()).await);
    lab.bring(&[lab.forward(&[pool("web", 1, &[("1", one)], &[])])]).await;
    for path in ["/", "/error"] {
        lab.get(path).await;
    }
    // The target goes.
    lab.bring(&[lab.forward(&[pool("web", 1, &[("2", two)], &[])])]).await;
    lab.get("/error").await;
    assert_eq!(lab.balancer.started, 1);
    // The process goes: another one has a rule more.
    let fixed = RouteAction::Fixed { status: 503, content_type: None, body: None };
    let closed = lab.route(Some(1), vec![Condition::PathPattern(vec!["/closed".into()])], fixed);
    lab.bring(&[closed, lab.forward(&[pool("web", 1, &[("2", two)], &[])])]).await;
    assert_eq!(lab.balancer.started, 2);
    until("the old process ends", async || {
        lab.balancer.clear().await;
        lab.balancer.retired.is_empty()
    })
    .await;
    assert_eq!((lab.get("/closed").await.0, lab.get("/").await.0), (503, 200));
    lab.comes_to(&[
        (REFUSED, "", 1),
        (FAILED, "", 2),
        (FAILED, WEB, 2),
        (REQUESTS, "", 4),
        (REQUESTS, WEB, 4),
    ])
    .await;
}
