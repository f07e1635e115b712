//! The requests of a rollout's load balancers: how many there are, and how many were answered with an error.

use jiff::Timestamp;
use maud::{Markup, html};
use ovenbird_core::domain::{
    plain::plain_line,
    traffic::{BalancerTraffic, MINUTES, PerMinute, count, minutes},
};

use super::layout::{self, View};
use crate::traffic::Answer;

pub fn section(view: &View<'_>, answer: &Answer) -> Markup {
    html! {
        section aria-labelledby="requests" {
            h2 #requests { "Requests" }
            @match answer {
                Err(_) => { p { "It is not known how many there are: see above." } }
                Ok(all) if all.is_empty() => {
                    p { "Nothing counts them: no Application Load Balancer sends to the groups' machines." }
                }
                Ok(all) => {
                    p { "As CloudWatch counts them, by the minute. It knows of them a minute or two later." }
                    @for one in all { (balancer(view, one)) }
                }
            }
        }
    }
}

fn balancer(view: &View<'_>, one: &BalancerTraffic) -> Markup {
    let name = name(&one.balancer);
    let Some(latest) = one.latest() else {
        return html! { p { "Load balancer " (name) ": no request is known of the last " (MINUTES) " minutes." } };
    };
    // Bars of one load balancer are of one scale.
    let highest =
        one.groups.iter().flat_map(|group| group.requests.values()).chain(one.refused.values()).max();
    let highest = highest.copied().unwrap_or_default();
    let (last, none) = (minutes(view.now), PerMinute::new());
    let errors = |errors: u64, whose: &str| {
        html! { @if errors > 0 { (layout::pill("bad", &format!("{errors} answered 5xx by {whose}"))) }
        @else { "none answered 5xx by " (whose) } }
    };
    let rows = html! {
        @for group in &one.groups {
            tr {
                th scope="row" { "target group " (self::name(&group.target_group)) }
                td { (requests(count(&group.requests, latest))) ", " (errors(count(&group.failed, latest), "targets")) }
                td.bars { (bars(&last, latest, highest, &group.requests, &group.failed)) }
            }
        }
        tr {
            th scope="row" { "the load balancer itself" }
            td { (errors(count(&one.refused, latest), "it")) }
            td.bars { (bars(&last, latest, highest, &none, &one.refused)) }
        }
    };
    html! {
        p { "Load balancer " (name) ", in the minute from " (view.moment(latest)) ":" }
        (layout::table(&format!("Requests of load balancer {name}"), &["Of", "In that minute", "The last minutes"], &rows))
    }
}

/// What people know: `app/shop/50dc6c495c0c9188` is `shop`.
fn name(of: &str) -> String {
    plain_line(of.split('/').nth(1).unwrap_or(of))
}

fn requests(count: u64) -> String {
    if count == 1 { "1 request".to_owned() } else { format!("{count} requests") }
}

/// How wide and high the bars are drawn.
const WIDTH: u64 = 10;
const HEIGHT: u64 = 20;

/// A bar for each minute, the part of the errors in it; who can't see them hears the numbers. What comes after the newest
/// minute that is known has no bar.
fn bars(
    last: &[Timestamp; MINUTES],
    latest: Timestamp,
    highest: u64,
    requests: &PerMinute,
    failed: &PerMinute,
) -> Markup {
    let known: Vec<(u64, u64)> = last
        .iter()
        .filter(|minute| **minute <= latest)
        .map(|minute| (count(requests, *minute), count(failed, *minute)))
        .collect();
    let list = |numbers: &mut dyn Iterator<Item = u64>| {
        numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
    };
    let mut words = format!("Answered 5xx, by the minute: {}", list(&mut known.iter().map(|one| one.1)));
    if !requests.is_empty() {
        words = format!("Requests, by the minute: {}. {words}", list(&mut known.iter().map(|one| one.0)));
    }
    // What there is at all is seen.
    let high = |count: u64| (count * HEIGHT).div_ceil(highest.max(1)).min(HEIGHT);
    let bar = |class: &str, number: usize, high: u64| {
        html! { rect class=(class) x=(number as u64 * WIDTH + 1) y=(HEIGHT - high) width=(WIDTH - 2) height=(high) {} }
    };
    html! {
        svg.minutes viewBox=(format!("0 0 {} {HEIGHT}", MINUTES as u64 * WIDTH)) preserveAspectRatio="none" role="img" aria-label=(words) {
            @for (number, (requests, failed)) in known.iter().enumerate() {
                (bar("ok", number, high(*requests)))
                (bar("failed", number, high(*failed)))
            }
        }
    }
}
