//! Refusals of EC2 that mean one thing or another.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

use ovenbird_core::{
    domain::id::{AmiId, InstanceId},
    ports::{Builders as _, Retirement as _},
};

use crate::artifact::cloud;

/// What EC2 was asked for, in order.
pub type Asked = Arc<Mutex<Vec<String>>>;

/// An EC2 that answers each request by its form: a status and a body.
pub fn ec2(answer: impl Fn(&str) -> (u16, String) + Send + Sync + 'static) -> (String, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Asked::default());
    let told = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap(), &answer, &told);
        }
    });
    (format!("http://{address}"), asked)
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> (u16, String), asked: &Asked) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let form = String::from_utf8(body).unwrap();
    let (status, text) = answer(&form);
    asked.lock().unwrap().push(form);
    let bytes = text.len();
    let head = format!("HTTP/1.1 {status} OK\r\nContent-Length: {bytes}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[head.as_bytes(), text.as_bytes()].concat()).unwrap();
}

fn refused(code: &str) -> (u16, String) {
    let error = format!("<Error><Code>{code}</Code><Message>it says</Message></Error>");
    (400, format!("<Response><Errors>{error}</Errors><RequestID>1</RequestID></Response>"))
}

#[tokio::test]
async fn an_unavailable_image_is_gone_only_if_ec2_shows_it_no_more() {
    for (shown, gone) in [(true, false), (false, true)] {
        let (endpoint, _) = ec2(move |form| match shown {
            _ if form.contains("Action=DeregisterImage") => refused("InvalidAMIID.Unavailable"),
            true => {
                let image = "<imageId>ami-00000001</imageId><imageState>pending</imageState>\
                    <architecture>x86_64</architecture><creationDate>2026-01-01T00:00:00.000Z</creationDate>";
                let images = format!("<imagesSet><item>{image}</item></imagesSet>");
                (200, format!("<DescribeImagesResponse>{images}</DescribeImagesResponse>"))
            }
            false => refused("InvalidAMIID.NotFound"),
        });
        let image = AmiId::parse("ami-00000001").unwrap();
        match cloud(&endpoint).await.deregister(&image).await {
            Ok(true) => assert!(gone),
            other => assert!(!gone && other.is_err_and(|error| error.name() == "TryAgain")),
        }
    }
}

#[tokio::test]
async fn the_console_is_the_latest_where_the_instance_type_has_that() {
    for (has, asked_for) in [(true, 1), (false, 2)] {
        let (endpoint, asked) = ec2(move |form| match form.contains("Latest=true") && !has {
            true => refused("UnsupportedOperation"),
            false => {
                let output = "<output>bG9naW46</output>";
                (200, format!("<GetConsoleOutputResponse>{output}</GetConsoleOutputResponse>"))
            }
        });
        let instance = InstanceId::parse("i-00000001").unwrap();
        assert_eq!(cloud(&endpoint).await.console(&instance).await.unwrap(), "login:");
        let asked = asked.lock().unwrap();
        assert!(asked.len() == asked_for && asked[0].contains("Latest=true"), "{asked:?}");
    }
}
