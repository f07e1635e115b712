//! An artifact is hashed in a function's memory, however large it is; S3's own checksum spares even the reading.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Instant,
};

use ovenbird_aws::{Access, Cloud, LocalCloud, settings::Settings};
use ovenbird_core::{domain::digest::Hash, ports::Bucket as _};

/// Eight times what the Lambda may take.
const BYTES: usize = 512 << 20;

/// The most that hashing may take of a process's memory, in KiB, with what the tests beside it take.
const MOST_KIB: u64 = 96 << 10;

static PIECE: [u8; 1 << 16] = [7; 1 << 16];

/// An S3 with one object; HEAD tells this checksum of it.
fn s3(checksum: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            thread::spawn(move || answer(stream.unwrap(), checksum));
        }
    });
    format!("http://{address}")
}

fn answer(mut stream: TcpStream, checksum: &str) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(Result::unwrap);
    let request = lines.next().unwrap_or_default();
    let _ = lines.take_while(|line| !line.is_empty()).count();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {BYTES}\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\nConnection: close\r\n{checksum}\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    if request.starts_with("GET ") {
        for _ in 0..BYTES / PIECE.len() {
            stream.write_all(&PIECE).unwrap();
        }
    }
}

pub async fn cloud(endpoint: &str) -> Cloud {
    let settings = Settings {
        table: "table".into(),
        bucket: "bucket".into(),
        stack: "ovenbird/one".parse().unwrap(),
        builder_profile: None,
        most_builders: None,
        runners: Vec::new(),
        signers: ovenbird_core::domain::signature::Signers::default(),
        floors: None,
        builder_security_group: None,
        subnets: Vec::new(),
        bake_machine: None,
        rollout_machine: None,
    };
    let local =
        LocalCloud { endpoint: endpoint.to_owned(), access_key: "key".into(), secret: "secret".into() };
    Cloud::with(settings, Access::Local(&local)).await
}

#[tokio::test]
async fn a_large_artifact_is_hashed_in_little_memory() {
    let cloud = cloud(&s3("")).await;
    assert_eq!(cloud.head("app", None).await.unwrap().unwrap().sha256, None);
    let start = Instant::now();
    let seen = cloud.sha256("app", None).await.unwrap();
    let (megabytes, seconds) = (BYTES / 1_000_000, start.elapsed().as_secs_f64());
    let mut hash = Hash::default();
    for _ in 0..BYTES / PIECE.len() {
        hash.update(&PIECE);
    }
    assert_eq!(seen, hash.finish());
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let most: u64 = most.trim().trim_end_matches(" kB").parse().unwrap();
    println!(
        "{megabytes} MB in {seconds:.1} s, {:.0} MB/s; at most {} MiB of memory",
        megabytes as f64 / seconds,
        most >> 10
    );
    assert!(most < MOST_KIB, "{most} KiB");
}

#[tokio::test]
async fn only_a_checksum_of_the_whole_object_is_taken_for_its_hash() {
    const SUM: &str = "x-amz-checksum-sha256: LCa0a2j/xo/5m0U8HTBBNBNCLXBkg7+g+YpeiGJm564=";
    const FOO: &str = "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
    let told = async |headers: &'static str| {
        let object = cloud(&s3(headers)).await.head("app", None).await.unwrap().unwrap();
        object.sha256.map(|sha256| sha256.to_string())
    };
    let whole: &'static str = format!("{SUM}\r\nx-amz-checksum-type: FULL_OBJECT\r\n").leak();
    assert_eq!(told(whole).await.as_deref(), Some(FOO));
    let of_parts: &'static str = format!("{SUM}-3\r\nx-amz-checksum-type: COMPOSITE\r\n").leak();
    assert_eq!(told(of_parts).await, None);
    let one_part: &'static str = format!("{SUM}\r\nx-amz-checksum-type: COMPOSITE\r\n").leak();
    assert_eq!(told(one_part).await, None);
    let silent: &'static str = format!("{SUM}\r\n").leak();
    assert_eq!(told(silent).await, None);
}
