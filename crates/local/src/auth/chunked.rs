//! Chunks of S3's own (`aws-chunked`), each signed with the signature of the one before it.
//!
//! `SIZE;chunk-signature=SIGNATURE` stands before each, in hexadecimal; the last is empty, and what may follow it are
//! trailers with a signature of theirs.

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use sha2::{Digest as _, Sha256};

use super::{Credentials, claim::Claim, verify::same};

/// The longest line that isn't data: a size with its signature, or a trailer.
const LONGEST: usize = 1024;

/// What comes next.
#[derive(Debug)]
enum Next {
    /// The line before a chunk.
    Size,
    /// A chunk's data, of which so much is to come.
    Data { left: u64, hasher: Sha256, signature: String },
    /// The line end behind a chunk's data.
    LineEnd,
    /// A trailer, or the empty line behind them; with those that came.
    Trailer { seen: String, signed: bool },
    /// The line end behind the last chunk, where there are no trailers.
    LastLineEnd,
    /// Nothing.
    End,
}

/// The chunks of one body.
#[derive(Debug)]
pub(super) struct Chunks {
    key: Vec<u8>,
    scope: String,
    time: String,
    previous: String,
    trailers: bool,
    line: Vec<u8>,
    next: Next,
}

impl Chunks {
    /// Chunks of a request with this signature, which is verified.
    pub fn new(claim: &Claim, credentials: &Credentials, trailers: bool) -> Self {
        let key = generate_signing_key(&credentials.secret, claim.system_time, &claim.region, &claim.service);
        let date = claim.time.strftime("%Y%m%d");
        Self {
            key: key.as_ref().to_vec(),
            scope: format!("{date}/{}/{}/aws4_request", claim.region, claim.service),
            time: claim.time.strftime("%Y%m%dT%H%M%SZ").to_string(),
            previous: claim.signature.clone(),
            trailers,
            line: Vec::new(),
            next: Next::Size,
        }
    }

    /// Takes what came; an error as soon as a signature is wrong.
    pub fn take(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if let Next::Data { left, hasher, .. } = &mut self.next {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                hasher.update(&bytes[..count]);
                *left -= u64::try_from(count).unwrap_or(u64::MAX);
                bytes = &bytes[count..];
                if *left == 0 {
                    self.chunk_ended()?;
                }
                continue;
            }
            let (byte, rest) = bytes.split_at(1);
            bytes = rest;
            self.line.extend_from_slice(byte);
            if byte == b"\n" {
                let line = std::mem::take(&mut self.line);
                let line = line.strip_suffix(b"\r\n").ok_or("a line does not end in CR LF")?;
                let line = std::str::from_utf8(line).map_err(|_| "a line is no text")?;
                self.line_ended(line)?;
            } else if self.line.len() > LONGEST {
                return Err("a line is too long".to_owned());
            }
        }
        Ok(())
    }

    /// Nothing comes any more.
    pub fn end(&mut self) -> Result<(), String> {
        match &self.next {
            Next::End if self.line.is_empty() => Ok(()),
            // Clients differ in whether a line end follows the last line.
            Next::LastLineEnd if self.line.is_empty() => Ok(()),
            Next::Trailer { signed: true, .. } if self.line.is_empty() => Ok(()),
            _ => Err("it ends before its last chunk".to_owned()),
        }
    }

    fn line_ended(&mut self, line: &str) -> Result<(), String> {
        match &mut self.next {
            Next::Size => {
                let (size, signature) =
                    line.split_once(";chunk-signature=").ok_or("a chunk has no signature")?;
                let left = u64::from_str_radix(size, 16).map_err(|_| "a chunk has no size")?;
                self.next = Next::Data { left, hasher: Sha256::new(), signature: signature.to_owned() };
                if left == 0 {
                    self.chunk_ended()?;
                    self.next = if self.trailers {
                        Next::Trailer { seen: String::new(), signed: false }
                    } else {
                        Next::LastLineEnd
                    };
                }
                Ok(())
            }
            Next::LineEnd if line.is_empty() => {
                self.next = Next::Size;
                Ok(())
            }
            Next::LastLineEnd if line.is_empty() => {
                self.next = Next::End;
                Ok(())
            }
            Next::Trailer { signed: true, .. } if line.is_empty() => {
                self.next = Next::End;
                Ok(())
            }
            Next::Trailer { seen, signed: false } => {
                let (name, value) = line.split_once(':').ok_or("a trailer is no header")?;
                if !name.eq_ignore_ascii_case("x-amz-trailer-signature") {
                    seen.push_str(&format!("{}:{}\n", name.to_lowercase(), value.trim()));
                    return Ok(());
                }
                let hash = hex::encode(Sha256::digest(seen.as_bytes()));
                self.check("AWS4-HMAC-SHA256-TRAILER", &hash, value.trim())?;
                self.next = Next::Trailer { seen: String::new(), signed: true };
                Ok(())
            }
            Next::LineEnd | Next::LastLineEnd | Next::Trailer { .. } | Next::End | Next::Data { .. } => {
                Err("something stands where nothing is expected".to_owned())
            }
        }
    }

    /// The signature of the chunk that has come whole.
    fn chunk_ended(&mut self) -> Result<(), String> {
        let Next::Data { hasher, signature, .. } = std::mem::replace(&mut self.next, Next::LineEnd) else {
            return Ok(());
        };
        let nothing = hex::encode(Sha256::digest(b""));
        let hashes = format!("{nothing}\n{}", hex::encode(hasher.finalize()));
        self.check("AWS4-HMAC-SHA256-PAYLOAD", &hashes, &signature)
    }

    fn check(&mut self, algorithm: &str, hashes: &str, signature: &str) -> Result<(), String> {
        let text = format!("{algorithm}\n{}\n{}\n{}\n{hashes}", self.time, self.scope, self.previous);
        same(&calculate_signature(&self.key, text.as_bytes()), signature)
            .map_err(|_| "a chunk's signature is wrong".to_owned())?;
        signature.clone_into(&mut self.previous);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::auth::claim::Place;

    /// AWS's own example: "Example: PUT object" of the documentation of chunked uploads.
    fn example() -> (Chunks, Vec<u8>) {
        of_signature(
            "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            [
                "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
                "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
                "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
            ],
            None,
        )
    }

    /// The same with a checksum behind the chunks: the example of "trailing headers".
    fn with_trailer() -> (Chunks, Vec<u8>) {
        of_signature(
            "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
            [
                "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
                "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
                "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
            ],
            Some(
                "x-amz-checksum-crc32c:sOO8/Q==\r\nx-amz-trailer-signature:\
                 d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
            ),
        )
    }

    fn of_signature(seed: &str, chunks: [&str; 3], trailer: Option<&str>) -> (Chunks, Vec<u8>) {
        let time: jiff::Timestamp = "2013-05-24T00:00:00Z".parse().expect("a time");
        let claim = Claim {
            access_key: "AKIAIOSFODNN7EXAMPLE".into(),
            region: "us-east-1".into(),
            service: "s3".into(),
            time,
            system_time: time.try_into().expect("a time"),
            signed_headers: vec!["host".into()],
            signature: seed.into(),
            token: None,
            place: Place::Query(Duration::from_secs(1)),
        };
        let credentials = Credentials {
            access_key: claim.access_key.clone(),
            secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".into(),
            token: None,
        };
        let mut body = Vec::new();
        for (size, signature) in [65_536, 1024, 0].into_iter().zip(chunks) {
            body.extend(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend(vec![b'a'; size]);
            if size > 0 || trailer.is_none() {
                body.extend(b"\r\n");
            }
        }
        body.extend(trailer.unwrap_or_default().as_bytes());
        (Chunks::new(&claim, &credentials, trailer.is_some()), body)
    }

    #[test]
    fn aws_s_own_example_is_right_however_it_is_cut() {
        for size in [1, 7, 1000, 100_000] {
            let (mut chunks, body) = example();
            for part in body.chunks(size) {
                chunks.take(part).expect("right so far");
            }
            chunks.end().expect("right");
        }
    }

    #[test]
    fn aws_s_own_example_with_a_trailer_is_right_and_no_other_trailer() {
        for size in [1, 1000, 100_000] {
            let (mut chunks, body) = with_trailer();
            for part in body.chunks(size) {
                chunks.take(part).expect("right so far");
            }
            chunks.end().expect("right");
        }
        for (from, to) in
            [("sOO8/Q", "sOO8/R"), ("d81f82", "d81f83"), ("x-amz-trailer-signature", "x-amz-other")]
        {
            let (mut chunks, body) = with_trailer();
            // The data is text, too.
            let changed = String::from_utf8(body).expect("text").replace(from, to);
            assert!(chunks.take(changed.as_bytes()).and_then(|()| chunks.end()).is_err(), "{to}");
        }
    }

    #[test]
    fn a_changed_missing_or_added_chunk_is_found() {
        let (_, body) = example();
        let changed = |change: &dyn Fn(&mut Vec<u8>)| {
            let (mut chunks, mut body) = example();
            change(&mut body);
            chunks.take(&body).and_then(|()| chunks.end())
        };
        assert!(changed(&|body| body[100] = b'b').is_err());
        assert!(changed(&|body| body[40] = b'0').is_err(), "another signature");
        assert!(changed(&|body| body.truncate(body.len() - 87)).is_err(), "no last chunk");
        assert!(changed(&|body| drop(body.drain(..65_536 + 88))).is_err(), "no first chunk");
        assert!(changed(&|body| body.extend(b"5\r\nhello\r\n")).is_err(), "one more");
        assert!(changed(&|_| {}).is_ok(), "{} bytes", body.len());
    }
}
