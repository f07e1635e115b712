//! AWS's signature of a request, version 4: HMAC-SHA256 over what the request says.
//!
//! Of it, only what one POST to `/` needs. AWS's own crate for it would bring sixty others into a program that
//! must stay small; AWS's published vectors say that this one agrees.

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use ovenbird_core::domain::digest::sha256;
use secrecy::ExposeSecret as _;
use sha2::Sha256;

use super::imds::Credentials;

/// What is signed, and for whom.
#[derive(Debug)]
pub struct Post<'a> {
    /// The service's host, with its port when that isn't the scheme's own.
    pub host: &'a str,
    /// Headers beside those of the signature, by names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    pub body: &'a str,
    pub region: &'a str,
    pub service: &'a str,
    pub time: Timestamp,
}

/// The headers to send: those given, and the signature's.
pub fn sign(post: &Post<'_>, credentials: &Credentials) -> Vec<(String, String)> {
    let time = post.time.strftime("%Y%m%dT%H%M%SZ").to_string();
    let date = &time[..8];
    let mut headers: Vec<(String, String)> = post
        .headers
        .iter()
        .copied()
        .chain([("host", post.host), ("x-amz-date", time.as_str())])
        .chain(credentials.token.as_ref().map(|token| ("x-amz-security-token", token.expose_secret())))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    headers.sort();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}:{}\n", value.trim())).collect();
    let names = headers.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(";");
    let request = format!("POST\n/\n\n{lines}\n{names}\n{}", sha256(post.body.as_bytes()));
    let scope = format!("{date}/{}/{}/aws4_request", post.region, post.service);
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{}", sha256(request.as_bytes()));

    let key = format!("AWS4{}", credentials.secret_key.expose_secret()).into_bytes();
    let key = [date, post.region, post.service, "aws4_request"]
        .iter()
        .fold(key, |key, part: &&str| hmac(&key, part.as_bytes()));
    let signature = hex::encode(hmac(&key, text.as_bytes()));
    let value = format!(
        "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
        credentials.access_key
    );
    headers.push(("authorization".to_owned(), value));
    headers
}

fn hmac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).unwrap_or_else(|_| unreachable!("a key of any length will do"));
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(headers: &[(&str, &str)], body: &str, token: Option<&str>) -> String {
        let post = Post {
            host: "example.amazonaws.com",
            headers,
            body,
            region: "us-east-1",
            service: "service",
            time: "2015-08-30T12:36:00Z".parse().unwrap(),
        };
        let credentials = Credentials {
            access_key: "AKIDEXAMPLE".into(),
            secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
            token: token.map(Into::into),
        };
        let (name, value) = sign(&post, &credentials).pop().unwrap();
        assert_eq!(name, "authorization");
        value.rsplit_once('=').unwrap().1.to_owned()
    }

    /// `post-vanilla`, `post-sts-header-before` and `post-x-www-form-urlencoded` of AWS's signing test suite.
    #[test]
    fn aws_s_published_vectors_agree() {
        assert_eq!(
            signature(&[], "", None),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"
        );
        let token = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFqwAeMicRXmxfpSPfIeo\
                     IYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0KPkyQDYwT7WZ0wq5V\
                     SXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scqKmlzm8FDrypNC9Yj\
                     c8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";
        assert_eq!(
            signature(&[], "", Some(token)),
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead"
        );
        let headers = [
            ("content-length", "13"),
            ("content-type", "application/x-www-form-urlencoded"),
            ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"),
        ];
        assert_eq!(
            signature(&headers, "Param1=value1", None),
            "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"
        );
    }
}
