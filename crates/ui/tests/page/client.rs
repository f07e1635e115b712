//! A page that is served, and a client that sends what it is told, byte by byte: no library makes a request right.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use ovenbird_ui::{Options, Server};
use tokio::sync::oneshot;

use crate::account::Desk;

/// A page that is served until it is dropped.
pub struct Served {
    pub address: SocketAddr,
    pub token: String,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Served {
    pub fn new(desk: impl FnOnce() -> Desk + Send + 'static, changes: bool) -> Self {
        let (told, hear) = mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            // As the command has it: the account answers on one thread, and requests are taken on others.
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let desk = desk();
            runtime.block_on(async {
                let (command, place) = ("ovenbird --local".into(), "a test".into());
                let options = Options { changes, command, place, reach: "ovenbird local up".into() };
                let server = Server::bind("127.0.0.1:0".parse().unwrap(), options).await.unwrap();
                told.send(server.address().await).unwrap();
                let end = async {
                    let _ = stopped.await;
                };
                server.serve(desk, end).await.unwrap();
            });
        });
        let address = hear.recv().unwrap();
        let (address, token) = address.strip_prefix("http://").unwrap().split_once("/#").unwrap();
        Self {
            address: address.parse().unwrap(),
            token: token.to_owned(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Sends a request with these headers and no others but those that a body needs.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut text = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        if method == "POST" {
            text += "Content-Type: application/x-www-form-urlencoded\r\n";
        }
        text += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        let body = if is_chunked { joined(body) } else { body.to_owned() };
        Answer { status, head: head.to_owned(), body }
    }

    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sends the token as our own page does.
    pub fn enter(&self, token: &str) -> Answer {
        let headers = [("Host", self.host()), ("Origin", self.origin())];
        self.send(
            "POST",
            "/session",
            &headers.each_ref().map(|(a, b)| (*a, b.as_str())),
            &format!("token={token}"),
        )
    }

    /// The cookie, for the token.
    pub fn cookie(&self) -> String {
        let answer = self.enter(&self.token);
        assert_eq!(answer.status, 303, "{answer:?}");
        answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
    }

    /// A page, as the operator sees it.
    pub fn get(&self, cookie: &str, path: &str) -> Answer {
        self.send("GET", path, &[("Host", &self.host()), ("Cookie", cookie)], "")
    }

    /// A form that the operator sends from our own page.
    pub fn post(&self, cookie: &str, path: &str, body: &str) -> Answer {
        let headers = [("Host", &*self.host()), ("Cookie", cookie), ("Origin", &self.origin())];
        self.send("POST", path, &headers, body)
    }
}

/// The chunks of an answer that came in parts.
fn joined(mut rest: &str) -> String {
    let mut whole = String::new();
    while let Some((size, after)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole += &after[..size];
        rest = after[size..].trim_start_matches("\r\n");
        if size == 0 {
            break;
        }
    }
    whole
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
