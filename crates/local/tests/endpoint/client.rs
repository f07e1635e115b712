//! A client that signs as it is told, and sends what it is told: also what no client would.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials as SdkCredentials;
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
        SigningSettings, UriPathNormalizationMode, sign,
    },
    sign::v4,
};
use jiff::Timestamp;
use ovenbird_local::Credentials;

/// A request, as it goes over the wire.
#[derive(Debug, Clone)]
pub struct Sent {
    pub method: String,
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Sent {
    /// One that nobody signed, for the endpoint of this name.
    pub fn new(method: &str, host: &str, target: &str, body: &str) -> Self {
        Self {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: vec![("host".to_owned(), host.to_owned())],
            body: body.to_owned(),
        }
    }

    /// With one more header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With another value of a header.
    pub fn but(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        let header = self.headers.iter_mut().find(|(known, _)| known == name).expect("a header");
        header.1 = change(&header.1);
        self
    }

    /// For another path or query.
    pub fn to(mut self, change: impl Fn(&str) -> String) -> Self {
        self.target = change(&self.target);
        self
    }

    /// Signed in its headers.
    pub fn signed(mut self, service: &str, key: &Credentials, time: Timestamp) -> Self {
        let (headers, _) = self.instructions(service, key, time, None);
        self.headers.extend(headers);
        self
    }

    /// Signed in its query.
    pub fn presigned(mut self, service: &str, key: &Credentials, time: Timestamp, life: Duration) -> Self {
        let (_, query) = self.instructions(service, key, time, Some(life));
        let separator = if self.target.contains('?') { '&' } else { '?' };
        self.target = format!("{}{separator}{query}", self.target);
        self
    }

    fn instructions(
        &self,
        service: &str,
        key: &Credentials,
        time: Timestamp,
        life: Option<Duration>,
    ) -> (Vec<(String, String)>, String) {
        let mut settings = SigningSettings::default();
        settings.expires_in = life;
        if life.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
        }
        if service == "s3" {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        let token = key.token.clone();
        let identity = SdkCredentials::new(&key.access_key, &key.secret, token, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(SystemTime::try_from(time).expect("a time"))
            .settings(settings)
            .build()
            .expect("parameters")
            .into();
        let body = if life.is_some() && service == "s3" {
            SignableBody::UnsignedPayload
        } else {
            SignableBody::Bytes(self.body.as_bytes())
        };
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let request =
            SignableRequest::new(&self.method, &self.target, headers, body).expect("a request to sign");
        let (instructions, _) = sign(request, &parameters).expect("signed").into_parts();
        let (headers, query) = instructions.into_parts();
        let headers = headers.iter().map(|header| (header.name().to_owned(), header.value().to_owned()));
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(query);
        (headers.collect(), form.finish())
    }

    /// Sends it to a server; gives the status and the body.
    pub fn send(&self, url: &str) -> (u16, String) {
        let address = url.strip_prefix("http://").expect("a plain URL");
        let mut stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\nconnection: close\r\n\r\n", self.body.len()));
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(self.body.as_bytes()))
            .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
        (status.expect("a status"), body)
    }
}
