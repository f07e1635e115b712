//! A machine's network: its metadata, the endpoint, its ports, other machines.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Command,
    time::Duration,
};

use ovenbird_local::machine::{GATEWAY, Layer, forward, reach};

use crate::{
    cloud::{Cloud, home},
    lab::{Lab, PATIENCE, until},
};

const STATUS: &str = "curl -s -o /dev/null -w '%{http_code}' --max-time 30";
const METADATA: &str = "http://169.254.169.254/latest";

pub fn imds_wants_a_token_when_told_so(lab: &Lab) {
    let guest = lab.strict();
    let status = |arguments: &str| guest.sh(&format!("{STATUS} {arguments}"));
    let token = format!("-X PUT {METADATA}/api/token");
    let lasting = |seconds: &str| format!("-H 'X-aws-ec2-metadata-token-ttl-seconds: {seconds}'");
    for (arguments, code) in [
        (format!("{METADATA}/meta-data/instance-id"), "401"),
        ("http://169.254.169.254/".to_owned(), "401"),
        (format!("-H 'X-aws-ec2-metadata-token: wrong' {METADATA}/meta-data/"), "401"),
        (token.clone(), "400"),
        (format!("{} {token}", lasting("0")), "400"),
        (format!("{} {token}", lasting("21601")), "400"),
        (format!("{} {token}", lasting("soon")), "400"),
        (format!("-H 'X-Forwarded-For: 10.0.0.1' {} {token}", lasting("60")), "403"),
        (format!("{} -X PUT http://169.254.169.254/2021-03-23/api/token", lasting("60")), "403"),
    ] {
        assert_eq!(status(&arguments), code, "{arguments}");
    }

    guest.sh(&format!("curl -sf {} {token} > /run/token", lasting("21600")));
    let with = |file: &str| format!("-H \"X-aws-ec2-metadata-token: $(cat {file})\" {METADATA}");
    let get = |path: &str| guest.sh(&format!("curl -sf {}/{path}", with("/run/token")));
    assert_eq!(get("meta-data/instance-id"), guest.instance.id.as_str());
    assert_eq!(get("meta-data/local-ipv4"), guest.instance.address.to_string());
    assert_eq!(get("meta-data/mac"), guest.sh("cat /sys/class/net/eth0/address"));
    assert!(get("meta-data/iam/info").contains(":instance-profile/builder"));
    let document: serde_json::Value =
        serde_json::from_str(&get("dynamic/instance-identity/document")).expect("a document");
    assert_eq!(document["instanceId"], guest.instance.id.as_str());
    for path in ["user-data", "meta-data/spot/instance-action", "meta-data/nothing"] {
        assert_eq!(status(&format!("{}/{path}", with("/run/token"))), "404", "{path}");
    }

    guest.sh(&format!("curl -sf {} {token} > /run/short", lasting("1")));
    until("the token's end", || status(&format!("{}/meta-data/", with("/run/short"))) == "401");
}

pub fn imds_answers_without_a_token_when_it_may(lab: &Lab) {
    let guest = lab.lenient();
    assert_eq!(guest.sh(&format!("curl -sf {METADATA}/meta-data/instance-id")), guest.instance.id.as_str());
    let wrong = format!("{STATUS} -H 'X-aws-ec2-metadata-token: wrong' {METADATA}/meta-data/");
    assert_eq!(guest.sh(&wrong), "401", "a wrong token is worse than none");
}

pub fn port_80_is_free_for_a_web_server(lab: &Lab) {
    let guest = lab.strict();
    let bind = "import socket; s = socket.socket(); s.bind((\"0.0.0.0\", 80)); s.listen(); print(\"bound\")";
    assert_eq!(guest.sh(&format!("python3 -c '{bind}'")), "bound");
}

/// A bridge that has no address of its own takes one of its ports', and changes it as machines come and go.
pub fn the_gateway_keeps_its_hardware_address(lab: &Lab) {
    let guest = lab.strict();
    let gateway = "curl -s --max-time 5 http://169.254.169.254/ >/dev/null; ip neighbour show 10.99.0.1";
    let seen = guest.sh(gateway);
    assert!(seen.contains("02:00:0a:63:00:01"), "{seen}");
}

pub fn a_machine_that_ended_answers_for_its_address_no_more(lab: &Lab) {
    let instance = lab.instance(vec![Layer::Base]);
    let mut guest = lab.start(&instance);
    guest.online();
    let cable = format!("v{}-", &instance.id.as_str()[11..]);
    let cables = || {
        let network = lab.network.pid().expect("the network");
        let mut command = Command::new("nsenter");
        command.args([
            &format!("--net=/proc/{network}/ns/net"),
            "ip",
            "-brief",
            "link",
            "show",
            "master",
            "br0",
        ]);
        String::from_utf8(command.output().expect("its links").stdout).expect("names")
    };
    assert!(cables().contains(&cable), "{cable}: {}", cables());
    guest.stop();
    // The machine is not dropped yet: its endpoint listens in its network, which keeps that alive.
    assert!(!cables().contains(&cable), "{cable}: {}", cables());
}

pub fn one_url_reaches_the_endpoint_and_nothing_else(lab: &Lab) {
    let port = lab.endpoint.local_addr().expect("an address").port();
    let guest = lab.strict();
    assert_eq!(guest.sh(&format!("curl -sf --max-time 30 http://127.0.0.1:{port}/it")), "hello");
    lab.endpoint.set_nonblocking(true).expect("the listener");
    assert!(lab.endpoint.accept().is_err(), "the host's own endpoint was reached from a machine");
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let other = other.local_addr().expect("an address").port();
    for host in ["127.0.0.1", "10.0.2.2", "10.99.0.1"] {
        let outcome = guest.exec(&format!("curl -s --max-time 2 http://{host}:{other}/"), PATIENCE);
        assert_ne!(outcome.exit, 0, "{host} answers");
    }
}

pub fn a_port_is_forwarded_to_the_host(lab: &Lab) {
    let guest = lab.strict();
    guest.sh("systemd-run --quiet --working-directory=/etc python3 -m http.server 8000");
    let (pid, address) = (guest.machine.network_pid(), guest.instance.address);
    let (here, task) = lab.runtime.block_on(forward(pid, address, 8000, None)).expect("a forward");
    assert!(here.ip().is_loopback());
    // That port is taken now, and whoever wants it hears so.
    let taken =
        lab.runtime.block_on(forward(pid, address, 8000, Some(here.port()))).expect_err("two at one port");
    assert!(taken.to_string().contains("is taken"), "{taken}");
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(here)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(b"GET /hostname HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    // Until the server listens, a connection is closed without an answer.
    until("it answers", || ask().is_ok_and(|answer| answer.contains("200 OK")));
    task.abort();
    until("the forward's end", || TcpStream::connect(here).is_err());
}

pub fn a_port_is_reached_from_the_network_of_all_machines(lab: &Lab) {
    let guest = lab.strict();
    guest.sh("systemd-run --quiet --working-directory=/etc python3 -m http.server 8001");
    let pid = lab.network.pid().expect("the network");
    // Not from inside the machine, whose own loopback no firewall of it would touch.
    let ask = || -> std::io::Result<std::net::IpAddr> {
        let stream = lab.runtime.block_on(async {
            let stream =
                tokio::time::timeout(Duration::from_secs(5), reach(pid, guest.instance.address, 8001));
            stream.await.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
        })?;
        assert_eq!(stream.peer_addr()?.ip(), guest.instance.address);
        Ok(stream.local_addr()?.ip())
    };
    until("it answers", || ask().is_ok());
    assert_eq!(ask().expect("a connection"), GATEWAY);
    // Nobody listens there: it is refused at once, and doesn't wait for a time limit.
    let refused = lab.runtime.block_on(reach(pid, guest.instance.address, 9)).expect_err("no connection");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

pub fn machines_reach_each_other_and_a_resolver(lab: &Lab) {
    let (one, other) = (lab.strict(), lab.lenient());
    other.sh("systemd-run --quiet python3 -m http.server 8000");
    let url = format!("http://{}:8000/etc/hostname", other.instance.address);
    one.sh(&format!("curl -sf --retry 50 --retry-delay 1 --retry-connrefused --max-time 30 {url}"));
    // Whether the name is known or not: an answer, or a failure, comes before long.
    assert!(!one.exec("getent hosts no-such-name.example", PATIENCE).timed_out);
}

/// A listener of the host's on all of its addresses, that counts who comes.
struct Host {
    listener: TcpListener,
    port: u16,
}

impl Host {
    fn listen() -> Self {
        let listener = TcpListener::bind("0.0.0.0:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("the listener");
        Self { listener, port }
    }

    fn came(&self) -> bool {
        self.listener.accept().is_ok()
    }

    /// The host's own addresses, and those that stand for it in the cloud's network.
    fn addresses() -> Vec<String> {
        let own = nix::ifaddrs::getifaddrs().expect("addresses");
        let own = own.filter_map(|one| Some(one.address?.as_sockaddr_in()?.ip().to_string()));
        let own: Vec<String> = own.collect();
        assert!(own.iter().any(|one| !one.starts_with("127.")), "this host has no address but loopback's");
        let standing = ["0.0.0.0", "10.0.2.2", "10.0.2.3"].map(str::to_owned);
        own.into_iter().chain(standing).collect()
    }
}

/// One more address of the host's, of those that are for examples, until it is dropped.
struct Another(&'static str);

impl Another {
    fn add() -> Self {
        let this = Self("198.51.100.77");
        assert!(this.ip("add"), "no address can be added");
        this
    }

    fn ip(&self, what: &str) -> bool {
        let command = ["address", what, &format!("{}/32", self.0), "dev", "lo"];
        Command::new("ip").args(command).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        self.ip("delete");
    }
}

pub fn nothing_of_the_host_is_reached_but_the_endpoint(lab: &Lab) {
    let guest = lab.strict();
    let host = Host::listen();
    let tries = |address: &str| {
        let script = format!("curl -s --max-time 3 -o /dev/null http://{address}:{}/", host.port);
        let outcome = guest.exec(&script, PATIENCE);
        (outcome.exit, host.came())
    };
    for address in Host::addresses() {
        // 7 is a refusal: it doesn't have to be waited for.
        assert_eq!(tries(&address), (7, false), "{address}");
    }
    // Neither by a datagram, nor at an address that the host has got meanwhile.
    let socket = std::net::UdpSocket::bind(("0.0.0.0", host.port)).expect("the same port");
    socket.set_read_timeout(Some(Duration::from_secs(1))).expect("a time limit");
    let another = Another::add();
    until("it is closed", || {
        let (exit, _) = tries(another.0);
        exit == 7
    });
    for address in Host::addresses() {
        assert_eq!(tries(&address), (7, false), "{address}");
        let script = format!(
            "import socket; s = socket.socket(type=socket.SOCK_DGRAM); s.sendto(b'x', ('{address}', {}))",
            host.port
        );
        guest.exec(&format!("python3 -c \"{script}\""), PATIENCE);
    }
    assert!(socket.recv(&mut [0]).is_err(), "a datagram came through");
    let port = lab.endpoint.local_addr().expect("an address").port();
    assert_eq!(guest.sh(&format!("curl -sf --max-time 30 http://127.0.0.1:{port}/it")), "hello");
}

pub fn a_function_reaches_nothing_of_the_host_but_the_endpoint(lab: &Lab) {
    let Some(options) = home(lab, "reach") else { return };
    let mut cloud = Cloud::start(&options);
    let caller = cloud.ready(lab, 1);
    let host = Host::listen();
    let urls: Vec<String> =
        Host::addresses().iter().map(|address| format!("http://{address}:{}/", host.port)).collect();
    let script = format!(
        "#!/bin/sh
next=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
id=$(curl -s -D - -o /dev/null $next/next | tr -d '\\r' | sed -n 's/^lambda-runtime-aws-request-id: //Ip')
for url in $AWS_ENDPOINT_URL/ {}; do curl -s -m 3 -o /dev/null $url && seen=\"$seen $url\"; done
curl -s -d \"\\\"$seen\\\"\" $next/$id/response
",
        urls.join(" ")
    );
    caller.function("looks", &script);
    let seen = caller.invoke("looks").expect("an answer");
    assert!(!host.came(), "{seen}");
    assert_eq!(seen, format!("\" {}/\"", options.endpoint()));
    assert!(lab.runtime.block_on(ovenbird_local::down(&options)).expect("it ends"), "none ran");
    cloud.supervisor.wait().expect("it is dead");
}
