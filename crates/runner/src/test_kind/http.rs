//! `http`: what a URL answers.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use ovenbird_core::domain::recipe::Http;
use regex_lite::Regex;
use serde_json::Value;

use super::{contains, shown};
use crate::{
    curl::{self, Request},
    mask::Mask,
};

/// A service that takes longer for one answer is not there yet.
const LONGEST: Duration = Duration::from_secs(30);

pub fn look(http: &Http, limit: Duration, mask: &Mask) -> Result<String> {
    let request = Request {
        url: &http.url,
        method: Some(&http.method),
        headers: http.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        body: http.body.as_deref(),
        by_proxy: false,
    };
    let response = curl::ask(&request, limit.min(LONGEST))?;
    let body = String::from_utf8_lossy(&response.body);
    let (url, wanted, seen) = (&http.url, http.status, response.status);
    ensure!(seen == wanted, "{url} answered {seen}, not {wanted}: {}", shown(&body, mask));
    let judged = http.body_contains.is_some() || http.body_matches.is_some() || !http.json.is_empty();
    ensure!(!judged || response.left_out == 0, "the body is too long to be judged");
    contains("the body", &body, http.body_contains.as_deref(), mask)?;
    if let Some(pattern) = &http.body_matches {
        let regex = Regex::new(pattern).with_context(|| format!("`{pattern}` is no regular expression"))?;
        ensure!(regex.is_match(&body), "the body does not match `{pattern}`: {}", shown(&body, mask));
    }
    if !http.json.is_empty() {
        let document: Value = serde_json::from_slice(&response.body)
            .with_context(|| format!("the body is no JSON: {}", shown(&body, mask)))?;
        for (pointer, wanted) in &http.json {
            holds(&document, pointer, wanted, mask)?;
        }
    }
    Ok(format!("{url} answered {seen}"))
}

fn holds(document: &Value, pointer: &str, wanted: &Value, mask: &Mask) -> Result<()> {
    match document.pointer(pointer) {
        None => bail!("the body has nothing at `{pointer}`: {}", shown(&document.to_string(), mask)),
        Some(seen) if same(seen, wanted) => Ok(()),
        Some(seen) => bail!("the body has {} at `{pointer}`, not {wanted}", shown(&seen.to_string(), mask)),
    }
}

/// Whether two values are the same; JSON has one kind of number, and 1 is 1.0.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::{BufRead as _, BufReader, Read as _, Write as _},
        net::TcpListener,
        os::fd::AsRawFd as _,
        thread,
    };

    use nix::sys::socket::{Shutdown, shutdown};
    use serde_json::json;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// Answers one request with this, and gives what was asked.
    fn server(answer: &'static str) -> (String, thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/a?b[]=c", listener.local_addr().unwrap());
        let task = thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let (mut asked, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                asked.push_str(&line);
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            asked.push_str(&String::from_utf8(body).unwrap());
            write!(reader.get_mut(), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{answer}").unwrap();
            asked
        });
        (url, task)
    }

    fn get(url: String) -> Http {
        Http {
            url,
            method: "GET".into(),
            headers: BTreeMap::new(),
            body: None,
            status: 200,
            body_contains: None,
            body_matches: None,
            json: BTreeMap::new(),
        }
    }

    #[test]
    fn the_request_is_what_the_recipe_says() {
        let (url, asked) = server("ok");
        let body = "@\"quoted\" \\ and\nmore\t€";
        let headers = [("X-One".to_owned(), "a \"b\"".to_owned()), ("X-Empty".to_owned(), String::new())];
        let http =
            Http { method: "PATCH".into(), headers: headers.into(), body: Some(body.into()), ..get(url) };
        look(&http, LONG, &Mask::default()).unwrap();
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("PATCH /a?b[]=c HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains("\r\nX-One: a \"b\"\r\n") && asked.contains("\r\nX-Empty:\r\n"), "{asked}");
        assert!(asked.ends_with(&format!("\r\n\r\n{body}")), "{asked}");
    }

    #[test]
    fn a_head_has_no_body_to_wait_for() {
        let (url, asked) = server("");
        look(&Http { method: "HEAD".into(), ..get(url) }, LONG, &Mask::default()).unwrap();
        assert!(asked.join().unwrap().starts_with("HEAD /a"));
    }

    fn judge(answer: &'static str, change: impl Fn(&mut Http)) -> Result<String> {
        let (url, asked) = server(answer);
        let mut http = get(url);
        change(&mut http);
        let seen = look(&http, LONG, &Mask::default());
        asked.join().unwrap();
        seen
    }

    #[test]
    fn status_and_body_are_judged() {
        assert!(judge("storefront v2", |_| ()).is_ok());
        assert!(judge("storefront v2", |http| http.body_contains = Some("v2".into())).is_ok());
        assert!(judge("storefront v2", |http| http.body_matches = Some("^store.*v[0-9]$".into())).is_ok());
        let error = judge("oops", |http| http.status = 204).unwrap_err().to_string();
        assert!(error.ends_with("answered 200, not 204: oops"), "{error}");
        let error = judge("oops", |http| http.body_contains = Some("v2".into())).unwrap_err().to_string();
        assert_eq!(error, "the body has no \"v2\": oops");
        let error = judge("oops", |http| http.body_matches = Some("^o$".into())).unwrap_err().to_string();
        assert_eq!(error, "the body does not match `^o$`: oops");
    }

    #[test]
    fn json_is_judged_by_pointer() {
        let answer = r#"{"a/b": [1, {"c": "d"}], "n": 1.0}"#;
        let json = |pointer: &str, value: Value| {
            judge(answer, |http| http.json = [(pointer.into(), value.clone())].into())
        };
        assert!(json("/a~1b/1/c", json!("d")).is_ok());
        assert!(json("/a~1b", json!([1.0, {"c": "d"}])).is_ok());
        assert!(json("/n", json!(1)).is_ok());
        assert_eq!(json("/n", json!(2)).unwrap_err().to_string(), "the body has 1.0 at `/n`, not 2");
        assert!(json("/x", json!(2)).unwrap_err().to_string().contains("nothing at `/x`"));
        assert!(judge("<html>", |http| http.json = [("".into(), json!(1))].into()).is_err());
    }

    #[test]
    fn nobody_there_is_told() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        // Not by closing it: a child that another test is just starting has it, too, for a moment.
        shutdown(listener.as_raw_fd(), Shutdown::Both).unwrap();
        let error = look(&get(url), LONG, &Mask::default()).unwrap_err().to_string();
        assert!(error.to_lowercase().contains("connect"), "{error}");
    }

    #[test]
    fn a_file_of_the_machine_is_no_answer() {
        assert!(look(&get("file:///etc/passwd".into()), LONG, &Mask::default()).is_err());
    }
}
