//! What `HAProxy` is configured with: the part of the routes that needs a new process when it changes.
//!
//! Targets and weights are not in it: they change in a running process.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io,
    net::{Ipv4Addr, SocketAddrV4},
    os::fd::RawFd,
    path::Path,
};

use ovenbird_sim::load_balancing::{Condition, Pool, Route, RouteAction};

use super::{servers::Servers, sockets::Sockets};

/// What a draw between target groups goes up to.
pub(super) const SCALE: u64 = 1_000_000;

/// Listeners with their rules, and the target groups that these send to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Layout {
    /// By the listener's name in the configuration.
    pub listeners: BTreeMap<String, Listener>,
    /// By the target group's name in the configuration.
    groups: BTreeMap<String, Group>,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// In the order in which they are tried.
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    conditions: Vec<Condition>,
    action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Forward { groups: Vec<String>, stickiness: Option<u32> },
    Fixed { status: u16, content_type: String, body: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    balance: &'static str,
    /// In seconds.
    stickiness: Option<i64>,
}

/// Up to which draw each target group of each rule is chosen.
pub(super) type Weights = BTreeMap<String, u64>;

impl Layout {
    /// The layout of routes. Those whose load balancer was given no address are left out.
    pub(super) fn of(routes: &[Route]) -> Self {
        let mut layout = Self::default();
        for route in routes {
            let Ok(address) = route.dns_name.parse::<Ipv4Addr>() else { continue };
            let listener = layout.listeners.entry(listener_name(&route.listener)).or_insert_with(|| {
                Listener { address: SocketAddrV4::new(address, route.port), rules: Vec::new() }
            });
            let action = match &route.action {
                RouteAction::Fixed { status, content_type, body } => Action::Fixed {
                    status: *status,
                    content_type: content_type.clone().unwrap_or_else(|| "text/plain".into()),
                    body: body.clone().unwrap_or_default(),
                },
                RouteAction::Forward { pools, stickiness } => {
                    layout.groups.extend(pools.iter().map(|pool| (group_name(&pool.group), Group::of(pool))));
                    let groups = pools.iter().map(|pool| group_name(&pool.group)).collect();
                    Action::Forward { groups, stickiness: *stickiness }
                }
            };
            listener.rules.push(Rule { conditions: route.conditions.clone(), action });
        }
        layout
    }

    /// The names of the target groups.
    pub(super) fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.keys().map(String::as_str)
    }

    /// Whether it has this target group.
    pub(super) fn has(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Writes the configuration and the files that it names into a folder.
    pub(super) fn write(
        &self,
        folder: &Path,
        sockets: &Sockets,
        admin: RawFd,
        servers: &Servers,
        weights: &Weights,
    ) -> io::Result<()> {
        let map = folder.join(WEIGHTS);
        let lines: String = weights.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
        std::fs::write(&map, lines)?;
        let mut text = HEAD.replace("ADMIN", &admin.to_string());
        for (name, listener) in &self.listeners {
            listener.write(&mut text, name, &sockets.of(listener.address), folder)?;
        }
        for (name, group) in &self.groups {
            group.write(&mut text, name, servers);
        }
        std::fs::write(folder.join(CONFIGURATION), text)
    }
}

/// The configuration's file.
pub(super) const CONFIGURATION: &str = "haproxy.cfg";

/// The file with the weights.
pub(super) const WEIGHTS: &str = "weights.map";

/// What an Application Load Balancer does by itself. It waits 10 s for a connection and 60 s for what comes next, and
/// never sends a request twice.
const HEAD: &str = "global
  maxconn 2000
  nbthread 1
  stats socket fd@ADMIN level admin
  stats timeout 60s
defaults
  mode http
  retries 0
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  timeout http-request 60s
  timeout http-keep-alive 60s
  option idle-close-on-response
  option forwardfor
";

/// Up to which draw each target group is chosen, of every rule that forwards.
pub(super) fn weights(routes: &[Route]) -> Weights {
    let mut weights = Weights::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for route in routes {
        let place = places.entry(&route.listener).or_default();
        let name = listener_name(&route.listener);
        if let RouteAction::Forward { pools, .. } = &route.action {
            let all: u64 = pools.iter().map(|pool| u64::from(pool.weight)).sum();
            let mut below = 0;
            for (number, pool) in pools.iter().enumerate() {
                below += u64::from(pool.weight);
                // Without any weight nobody is chosen.
                let draw = (below * SCALE).checked_div(all).unwrap_or_default();
                weights.insert(weight_key(&name, *place, number), draw);
                weights
                    .insert(format!("{}-on", weight_key(&name, *place, number)), u64::from(pool.weight > 0));
            }
        }
        *place += 1;
    }
    weights
}

fn weight_key(listener: &str, rule: usize, group: usize) -> String {
    format!("{listener}-{rule}-{group}")
}

/// A target group's name: the end of its ARN, which no other has.
pub(super) fn group_name(arn: &str) -> String {
    format!("tg-{}", arn.rsplit('/').next().unwrap_or_default())
}

pub(super) fn listener_name(arn: &str) -> String {
    format!("l-{}", arn.rsplit('/').next().unwrap_or_default())
}

impl Listener {
    fn write(&self, text: &mut String, name: &str, sockets: &[RawFd], folder: &Path) -> io::Result<()> {
        line(text, format_args!("frontend {name}"));
        for socket in sockets {
            line(text, format_args!("  bind fd@{socket}"));
        }
        line(text, format_args!("  http-request set-header X-Forwarded-Proto http"));
        line(text, format_args!("  http-request set-header X-Forwarded-Port {}", self.address.port()));
        let trace = "Root=1-%[date,hex,bytes(8,8)]-%[uuid(),regsub(-,,g),bytes(0,24)]";
        line(
            text,
            format_args!(
                "  http-request set-header X-Amzn-Trace-Id {trace} if !{{ req.hdr(X-Amzn-Trace-Id) -m found }}"
            ),
        );
        // The first rule that fits is the request's, whatever its action is.
        for (number, rule) in self.rules.iter().enumerate() {
            let mut names = String::new();
            for (place, condition) in rule.conditions.iter().enumerate() {
                let acl = format!("c{number}-{place}");
                conditions(text, &acl, condition);
                let _ = write!(names, " {acl}");
            }
            line(
                text,
                format_args!(
                    "  http-request set-var(txn.rule) int({number}) if !{{ var(txn.rule) -m found }}{names}"
                ),
            );
        }
        line(text, format_args!("  http-request set-var(txn.draw) rand({SCALE})"));
        for (number, rule) in self.rules.iter().enumerate() {
            let this = format!("{{ var(txn.rule) -m int {number} }}");
            match &rule.action {
                Action::Fixed { status, content_type, body } => {
                    let file = folder.join(format!("{name}-{number}.body"));
                    std::fs::write(&file, body)?;
                    let said = if body.is_empty() {
                        String::new()
                    } else {
                        format!(" content-type {content_type} file {}", file.display())
                    };
                    line(text, format_args!("  http-request return status {status}{said} if {this}"));
                }
                Action::Forward { groups, stickiness } => {
                    forward(text, name, number, &this, groups, *stickiness, &folder.join(WEIGHTS));
                }
            }
        }
        line(text, format_args!("  use_backend %[var(txn.group)] if {{ var(txn.group) -m found }}"));
        Ok(())
    }
}

/// The lines that choose a target group: the one that the client stays with, or else the one that is drawn.
fn forward(
    text: &mut String,
    name: &str,
    number: usize,
    this: &str,
    groups: &[String],
    stickiness: Option<u32>,
    map: &Path,
) {
    let map = map.display();
    for (place, group) in groups.iter().enumerate() {
        let key = weight_key(name, number, place);
        if stickiness.is_some() {
            // A group whose weight became 0 keeps nobody.
            line(
                text,
                format_args!(
                    "  http-request set-var(txn.group) str({group}) if {this} {{ req.cook(AWSALBTG) -m str {group} }} \
                     {{ str({key}-on),map_str_int({map},0) gt 0 }}"
                ),
            );
        }
    }
    for (place, group) in groups.iter().enumerate() {
        let key = weight_key(name, number, place);
        line(
            text,
            format_args!("  http-request set-var(txn.below) str({key}),map_str_int({map},0) if {this}"),
        );
        line(
            text,
            format_args!(
                "  http-request set-var(txn.group) str({group}) if {this} !{{ var(txn.group) -m found }} \
                 {{ var(txn.draw),sub(txn.below) lt 0 }}"
            ),
        );
    }
    if let Some(seconds) = stickiness {
        line(
            text,
            format_args!(
                "  http-response add-header Set-Cookie \"AWSALBTG=%[var(txn.group)]; Max-Age={seconds}; Path=/\" if {this}"
            ),
        );
    }
}

/// An access list that is met by one of the values.
fn conditions(text: &mut String, acl: &str, condition: &Condition) {
    // Paths are told apart by case; hosts and the values of headers aren't.
    let (sample, values) = match condition {
        Condition::PathPattern(values) => ("path -m reg".to_owned(), values),
        Condition::HostHeader(values) => ("req.hdr(host),field(1,:) -m reg -i".to_owned(), values),
        Condition::HttpHeader { name, values } => (format!("req.hdr({name}) -m reg -i"), values),
    };
    for value in values {
        line(text, format_args!("  acl {acl} {sample} {}", pattern(value)));
    }
}

/// A value with `*` and `?` as a regular expression. Whatever could mean something to anybody is written as a number.
fn pattern(value: &str) -> String {
    let mut text = "^".to_owned();
    for byte in value.bytes() {
        match byte {
            b'*' => text.push_str(".*"),
            b'?' => text.push('.'),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' => text.push(char::from(byte)),
            other => {
                // The configuration takes one backslash for itself.
                let _ = write!(text, "\\\\x{other:02x}");
            }
        }
    }
    text.push('$');
    text
}

impl Group {
    fn of(pool: &Pool) -> Self {
        let balance = match pool.algorithm.as_str() {
            "least_outstanding_requests" => "leastconn",
            "weighted_random" => "random(1)",
            _ => "roundrobin",
        };
        Self { balance, stickiness: pool.stickiness }
    }

    fn write(&self, text: &mut String, name: &str, servers: &Servers) {
        line(text, format_args!("backend {name}"));
        line(text, format_args!("  balance {}", self.balance));
        if let Some(seconds) = self.stickiness {
            // The cookie is made of the target's address, so that it is the same after a restart.
            line(text, format_args!("  dynamic-cookie-key {name}"));
            line(text, format_args!("  cookie AWSALB insert indirect nocache dynamic maxlife {seconds}s"));
        }
        // HAProxy says 503 of a target that could not be reached; a load balancer says 502 then, and 503 when there
        // is no target.
        line(text, format_args!("  http-response set-var(txn.answered) bool(1)"));
        // Counted here and not by server: the counters of a server go with it.
        line(text, format_args!("  stick-table type integer size 1 store gpc0,gpc1"));
        line(text, format_args!("  http-request track-sc0 int(1)"));
        line(text, format_args!("  http-request sc-inc-gpc0(0) if {{ nbsrv gt 0 }}"));
        line(text, format_args!("  http-response sc-inc-gpc1(0) if {{ status 500:599 }}"));
        line(
            text,
            format_args!(
                "  http-after-response set-status 502 if {{ status 503 }} !{{ var(txn.answered) -m bool }} {{ nbsrv gt 0 }}"
            ),
        );
        for (server, address) in servers.up_in(name) {
            line(text, format_args!("  server {server} {address}"));
        }
    }
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    // A String takes everything.
    let _ = writeln!(text, "{content}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_has_only_what_means_nothing_else() {
        assert_eq!(pattern("/a*/b?.html"), "^/a.*/b.\\\\x2ehtml$");
        assert_eq!(pattern("x y'\"$\n"), "^x\\\\x20y\\\\x27\\\\x22\\\\x24\\\\x0a$");
    }
}
