//! Files go to S3 in one request, or in parts, of which a failure leaves none.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use ovenbird_aws::upload::{Parts, Sent};

use crate::artifact::cloud;

/// A tenth of a megabyte at a time, so that a small file has several.
const SMALL: Parts = Parts { in_one: 150_000, part: 100_000, most: 4 };

/// What S3 was asked for, in order: method and query.
type Asked = Arc<Mutex<Vec<String>>>;

/// What each part is answered with, by its number, before it is taken.
type Refusals = Arc<Mutex<BTreeMap<usize, &'static str>>>;

fn s3(refusals: Refusals) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Asked::default();
    let told = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (told, refusals) = (Arc::clone(&told), Arc::clone(&refusals));
            thread::spawn(move || answer(stream.unwrap(), &told, &refusals));
        }
    });
    (format!("http://{address}"), asked)
}

fn answer(mut stream: TcpStream, asked: &Asked, refusals: &Refusals) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ');
    let (method, path) = (words.next().unwrap().to_owned(), words.next().unwrap().to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':') {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().unwrap(),
                "expect" => stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap(),
                _ => {}
            }
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let query = path.split_once('?').map_or("", |(_, query)| query).to_owned();
    asked.lock().unwrap().push(format!("{method} {query}"));
    let pairs: BTreeMap<&str, &str> = query.split('&').filter_map(|pair| pair.split_once('=')).collect();
    let number = pairs.get("partNumber").and_then(|number| number.parse().ok());
    let refusal = number.and_then(|number: usize| refusals.lock().unwrap().remove(&number));
    let (status, answer) = match (method.as_str(), number) {
        (_, Some(_)) if refusal.is_some() => (refusal.unwrap(), String::new()),
        ("POST", None) if query.contains("uploads") => (
            "200 OK",
            "<InitiateMultipartUploadResult><UploadId>up</UploadId></InitiateMultipartUploadResult>".into(),
        ),
        ("POST", None) => {
            // In their order, however they came.
            let body = String::from_utf8(body).unwrap();
            let numbers: Vec<usize> = body
                .split("<PartNumber>")
                .skip(1)
                .map(|rest| rest.split('<').next().unwrap().parse().unwrap())
                .collect();
            assert!(numbers.iter().copied().eq(1..=numbers.len()), "{body}");
            assert_eq!(body.matches("<ChecksumSHA256>c3Vt</ChecksumSHA256>").count(), numbers.len());
            (
                "200 OK",
                "<CompleteMultipartUploadResult><ETag>whole</ETag></CompleteMultipartUploadResult>".into(),
            )
        }
        ("DELETE", None) => ("204 No Content", String::new()),
        _ => ("200 OK", String::new()),
    };
    let bytes = answer.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {bytes}\r\nETag: \"part\"\r\nx-amz-checksum-sha256: c3Vt\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), answer.as_bytes()].concat()).unwrap();
}

/// Uploads a file of so many bytes; gives what came of it, what S3 was asked for, and what was counted.
async fn put(bytes: usize, refusals: &[(usize, &'static str)]) -> (Result<(), String>, Vec<String>, u64) {
    let refusals = Arc::new(Mutex::new(refusals.iter().copied().collect()));
    let (endpoint, asked) = s3(refusals);
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), vec![7; bytes]).unwrap();
    let sent = Sent::default();
    let done = cloud(&endpoint).await.put_file("artifacts/shop/app", file.path(), SMALL, &sent).await;
    let mut asked = asked.lock().unwrap().clone();
    // Side by side, so in any order.
    asked.sort();
    (done.map_err(|error| error.chain()), asked, sent.bytes())
}

/// All of a file is counted once; what frames it on the wire is little.
#[track_caller]
fn assert_counted(bytes: usize, sent: u64) {
    let bytes = bytes as u64;
    assert!((bytes..bytes + bytes / 50).contains(&sent), "{sent} of {bytes}");
}

#[tokio::test]
async fn a_file_goes_in_one_request_as_long_as_s3_takes_it() {
    let (done, asked, sent) = put(150_000, &[]).await;
    done.unwrap();
    assert_eq!(asked, ["PUT x-id=PutObject"]);
    assert_counted(150_000, sent);
}

#[tokio::test]
async fn a_larger_file_goes_in_parts() {
    let (done, asked, sent) = put(250_001, &[]).await;
    done.unwrap();
    let part = |number| format!("PUT x-id=UploadPart&partNumber={number}&uploadId=up");
    assert_eq!(asked, ["POST uploadId=up", "POST uploads", &part(1), &part(2), &part(3)]);
    assert_counted(250_001, sent);
    // No more parts than S3 takes, however large a file is.
    let (done, asked, _) = put(1_000_001, &[]).await;
    done.unwrap();
    assert_eq!(asked.len(), 2 + 4, "{asked:?}");
}

#[tokio::test]
async fn a_part_that_s3_could_not_take_is_sent_again_and_counted_once() {
    let (done, asked, sent) = put(250_001, &[(2, "503 Slow Down")]).await;
    done.unwrap();
    assert_eq!(asked.iter().filter(|one| one.contains("partNumber=2")).count(), 2);
    assert_counted(250_001, sent);
}

#[tokio::test]
async fn an_upload_that_fails_leaves_no_parts() {
    let (done, asked, _) = put(250_001, &[(3, "400 Bad Request")]).await;
    let error = done.unwrap_err();
    assert!(error.contains("s3:PutObject") && error.contains("artifacts/shop/app"), "{error}");
    assert!(asked.iter().any(|one| one.starts_with("DELETE ") && one.contains("uploadId=up")), "{asked:?}");
    assert!(!asked.iter().any(|one| one == "POST uploadId=up"), "it is no object: {asked:?}");
}
