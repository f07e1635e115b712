//! Who may ask: every request passes here, whatever it asks for.
//!
//! Any web page that the operator has open can send requests to loopback, and a name that its owner points at 127.0.0.1
//! makes the browser take us for that page's own server ("DNS rebinding"). So the name in `Host` must be one of ours on
//! every route. What changes something must come from our own page. And nothing but the way in is answered without the
//! cookie, which only the person who saw the terminal can have.

use http::{HeaderMap, Method, StatusCode, Uri, header};
use subtle::ConstantTimeEq as _;

/// What a request is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It carries the session's cookie.
    Operator,
    /// It may see the way in, and nothing of the account.
    Stranger,
}

/// What is served under which names, to whom.
#[derive(Debug, Clone)]
pub struct Guard {
    hosts: Vec<String>,
    cookie: String,
    secret: String,
}

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The status.
    pub status: StatusCode,
    /// Why, in a line.
    pub why: &'static str,
}

const NOT_OURS: Refusal = Refusal {
    status: StatusCode::MISDIRECTED_REQUEST,
    why: "this name is not the page's: use the address that was printed",
};
const FOREIGN: Refusal = Refusal { status: StatusCode::FORBIDDEN, why: "only the page itself may send this" };

impl Guard {
    /// The guard of a page at this port. The secret is what the cookie holds.
    pub fn new(port: u16, secret: &str) -> Self {
        let hosts = ["127.0.0.1", "[::1]", "localhost"].map(|name| format!("{name}:{port}"));
        // Cookies know no port: two pages at two ports must not write over each other's.
        Self { hosts: hosts.into(), cookie: format!("ovenbird-{port}"), secret: secret.to_owned() }
    }

    /// Whether a request may pass, and as whom.
    ///
    /// # Errors
    /// When its name, or the page that sent it, is not ours.
    pub fn pass(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Pass, Refusal> {
        let mut names = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (names.next(), names.next()) else { return Err(NOT_OURS) };
        // A request line may name a host, too.
        let authority = uri.authority().is_none_or(|name| self.is_ours(name.as_str()));
        if !authority || !host.to_str().is_ok_and(|host| self.is_ours(host)) {
            return Err(NOT_OURS);
        }
        match *method {
            Method::GET | Method::HEAD => {}
            Method::POST => self.sent_by_us(headers)?,
            _ => return Err(Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why: "only GET and POST" }),
        }
        let operator = self.cookies(headers).any(|value| same(value, &self.secret));
        Ok(if operator { Pass::Operator } else { Pass::Stranger })
    }

    /// The header that gives a browser the cookie. No script can read it, and no other page's request carries it.
    pub fn set_cookie(&self) -> String {
        format!("{}={}; Path=/; HttpOnly; SameSite=Strict", self.cookie, self.secret)
    }

    fn is_ours(&self, host: &str) -> bool {
        self.hosts.iter().any(|ours| ours.eq_ignore_ascii_case(host))
    }

    /// Browsers name the page that sends a form in `Origin`, and no script of another page can change that.
    fn sent_by_us(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let origin = text(header::ORIGIN).and_then(|origin| origin.strip_prefix("http://"));
        let host = text(header::HOST);
        let same_origin = origin.is_some_and(|origin| self.is_ours(origin) && Some(origin) == host);
        let site = headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin");
        if same_origin && site { Ok(()) } else { Err(FOREIGN) }
    }

    fn cookies<'a>(&'a self, headers: &'a HeaderMap) -> impl Iterator<Item = &'a str> {
        let all = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pairs = all.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.filter(|(name, _)| *name == self.cookie).map(|(_, value)| value)
    }
}

/// Compares in a time that tells nothing of where two secrets differ.
pub fn same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, uri: &str, headers: &[(&'static str, &str)]) -> Result<Pass, StatusCode> {
        let guard = Guard::new(4600, "secret");
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        guard.pass(&method, &uri.parse().unwrap(), &map).map_err(|refusal| refusal.status)
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4600");
    const COOKIE: (&str, &str) = ("cookie", "other=1; ovenbird-4600=secret");

    #[test]
    fn only_the_page_s_own_names_are_answered() {
        for host in ["127.0.0.1:4600", "localhost:4600", "LOCALHOST:4600", "[::1]:4600"] {
            assert_eq!(ask(Method::GET, "/", &[("host", host), COOKIE]), Ok(Pass::Operator), "{host}");
        }
        for host in [
            "evil.example:4600",
            "127.0.0.1",
            "127.0.0.1:80",
            "127.0.0.1:4600.evil.example",
            "localhost.:4600",
            "",
        ] {
            let refused = ask(Method::GET, "/style.css", &[("host", host), COOKIE]);
            assert_eq!(refused, Err(StatusCode::MISDIRECTED_REQUEST), "{host}");
        }
        let two = [HOST, ("host", "evil.example")];
        assert_eq!(ask(Method::GET, "/", &two), Err(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(ask(Method::GET, "/", &[COOKIE]), Err(StatusCode::MISDIRECTED_REQUEST));
        let line = ask(Method::GET, "http://evil.example/", &[HOST, COOKIE]);
        assert_eq!(line, Err(StatusCode::MISDIRECTED_REQUEST));
    }

    #[test]
    fn who_has_no_cookie_or_another_one_is_a_stranger() {
        assert_eq!(ask(Method::GET, "/", &[HOST]), Ok(Pass::Stranger));
        for cookie in
            ["ovenbird-4600=secre", "ovenbird-4600=secrets", "ovenbird-4601=secret", "ovenbird-4600="]
        {
            assert_eq!(ask(Method::GET, "/", &[HOST, ("cookie", cookie)]), Ok(Pass::Stranger), "{cookie}");
        }
    }

    #[test]
    fn only_our_own_page_may_write() {
        let ours = ("origin", "http://127.0.0.1:4600");
        assert_eq!(ask(Method::POST, "/", &[HOST, COOKIE, ours]), Ok(Pass::Operator));
        let site =
            |site: &'static str| ask(Method::POST, "/", &[HOST, COOKIE, ours, ("sec-fetch-site", site)]);
        assert_eq!(site("same-origin"), Ok(Pass::Operator));
        for other in ["cross-site", "same-site", "none"] {
            assert_eq!(site(other), Err(StatusCode::FORBIDDEN), "{other}");
        }
        for origin in [
            "http://evil.example",
            "null",
            "https://127.0.0.1:4600",
            "http://127.0.0.1:4601",
            "http://localhost:4600",
            "127.0.0.1:4600",
        ] {
            let refused = ask(Method::POST, "/", &[HOST, COOKIE, ("origin", origin)]);
            assert_eq!(refused, Err(StatusCode::FORBIDDEN), "{origin}");
        }
        assert_eq!(ask(Method::POST, "/", &[HOST, COOKIE]), Err(StatusCode::FORBIDDEN));
        assert_eq!(ask(Method::PUT, "/", &[HOST, COOKIE, ours]), Err(StatusCode::METHOD_NOT_ALLOWED));
    }
}
