//! `/metrics` of a running server, in its sandbox.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod openmetrics;
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
    os::unix::{fs::PermissionsExt, net::UnixStream},
};

use control::Group;
use nix::sys::signal::Signal;
use openmetrics::{Family, Labels, parse};
use support::{Server, only_line, run};

const ANY_PORT: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// A server with these flags, and the address of its metrics.
fn start(arguments: &[&str]) -> (Server, String) {
    let server = Server::start_logging(&[&ANY_PORT, arguments].concat());
    let line = server.wait_for_log("metrics: http://");
    server.wait_for_log("waiting for a client");
    let address = line.split_once("http://").unwrap().1;
    let address = address.strip_suffix("/metrics").unwrap().to_owned();
    (server, address)
}

/// All that comes back for `request`.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> String {
    stream.write_all(request).unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    response
}

fn scrape(address: &str) -> (String, String) {
    let stream = TcpStream::connect(address).unwrap();
    let response = exchange(stream, b"GET /metrics HTTP/1.1\r\nHost: nic\r\n\r\n");
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}

fn metrics(address: &str) -> BTreeMap<String, Family> {
    parse(&scrape(address).1).unwrap()
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn the_text_is_openmetrics_to_the_letter() {
    let folder = tempfile::tempdir().unwrap();
    let second = format!("socket={}", folder.path().join("b").display());
    let (_server, address) = start(&["--wire", "loopback", "--port", &second]);

    let (head, body) = scrape(&address);

    let families = parse(&body).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains(
        "\r\nContent-Type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n"
    ));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())));
    assert!(families.values().all(|family| family.has_help));
    assert_eq!(families["ixgbe_wire_bytes"].unit, "bytes");
    let up = &families["ixgbe_port_up"].samples;
    assert_eq!(up[&labels(&[("port", "0")])], 1);
    assert_eq!(up[&labels(&[("port", "1")])], 1);
}

#[test]
fn the_reader_of_openmetrics_refuses_what_is_none() {
    let sound = "# HELP a b\n# TYPE a counter\na_total{p=\"0\"} 1\n# EOF\n";
    let broken = [
        sound.replace("# EOF\n", ""),
        sound.replace("_total", ""),
        sound.replace(" 1\n", " x\n"),
        sound.replace("\"0\"", "\"0"),
        sound.replace("p=", "0p="),
        sound.replace("counter", "conter"),
        sound.replace("# EOF", "a_total{p=\"0\"} 1\n# EOF"),
        sound.replace("# EOF", "# UNIT a b\n# EOF"),
        sound.replace("# EOF", "\n# EOF"),
    ];

    assert!(parse(sound).is_ok());
    assert!(broken.iter().all(|text| parse(text).is_err()));
}

#[test]
fn each_counter_of_ixgbectl_stats_is_a_sample_with_the_same_value() {
    // What the thread counts of itself goes on meanwhile.
    const MOVING: [&str; 2] = ["model.turns", "model.sleeps"];
    let (server, address) = start(&["--wire", "null"]);
    let mut controller = control::Client::connect(&server.control()).unwrap();
    controller.inject(&vec![vec![0xFF; 60]; 7]).unwrap();
    server.client().region_info(0).unwrap();

    let families = metrics(&address);
    let stats = controller.stats().unwrap().counters;

    let mut told: Vec<u64> = families
        .iter()
        .filter(|(name, family)| {
            family.kind == "counter" && !name.starts_with("ixgbe_worker_")
                || name.as_str() == "ixgbe_dma_ranges"
        })
        .flat_map(|(_, family)| family.samples.values().copied())
        .collect();
    let mut counted: Vec<u64> = stats
        .iter()
        .filter(|counter| !MOVING.contains(&&*counter.name))
        .map(|counter| counter.value)
        .collect();
    told.sort_unstable();
    counted.sort_unstable();
    assert_eq!(told, counted);
    let injected = stats
        .iter()
        .find(|counter| counter.group == Group::Wire && counter.name == "injected");
    let sample = labels(&[("port", "0"), ("group", "wire"), ("counter", "injected")]);
    assert_eq!(injected.unwrap().value, 7);
    assert_eq!(families["ixgbe_events"].samples[&sample], 7);
    let clients = &families["ixgbe_clients"].samples;
    assert_eq!(clients[&labels(&[("port", "0")])], 1);
}

#[test]
fn what_is_asked_wrongly_is_answered_with_the_reason() {
    let (_server, address) = start(&["--wire", "null"]);
    let status = |request: &str| {
        let stream = TcpStream::connect(&address).unwrap();
        let response = exchange(stream, request.as_bytes());
        response.split("\r\n").next().unwrap_or("").to_owned()
    };
    let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(20_000));

    assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), "HTTP/1.1 200 OK");
    assert_eq!(status("GET /x HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    let post = "POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    assert_eq!(status(post), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(
        status("\u{16}\u{3}\u{1}\r\n\r\n"),
        "HTTP/1.1 400 Bad Request"
    );
    assert_eq!(
        status(&long),
        "HTTP/1.1 431 Request Header Fields Too Large"
    );
}

#[test]
fn a_request_that_comes_letter_by_letter_is_answered_once_it_is_whole() {
    let (_server, address) = start(&["--wire", "null"]);
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_nodelay(true).unwrap();

    for letter in b"GET /metrics HTTP/1.1\r\n\r" {
        stream.write_all(&[*letter]).unwrap();
    }
    let response = exchange(stream, b"\n");

    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(response.ends_with("# EOF\n"));
}

#[test]
fn clients_that_say_nothing_keep_no_scraper_out() {
    let (_server, address) = start(&["--wire", "null"]);
    let mut silent: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(&address).unwrap())
        .collect();

    let families = metrics(&address);
    // The oldest was closed for a younger one.
    let end = silent[0].read(&mut [0]);

    assert!(families.contains_key("ixgbe_port_up"));
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[test]
fn a_client_that_never_reads_its_answer_holds_nobody_up() {
    let (server, address) = start(&["--wire", "null"]);
    let deaf: Vec<_> = (0..10)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
            stream
        })
        .collect();

    let families = metrics(&address);
    let info = control::Client::connect(&server.control())
        .unwrap()
        .info()
        .unwrap();

    assert!(families.contains_key("ixgbe_port_up"));
    assert_eq!(info.pid, server.id());
    drop(deaf);
}

#[test]
fn a_unix_socket_is_for_its_owner_and_goes_with_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics");
    let flag = format!("unix:{}", path.display());
    let mut server = Server::start_with(&["--wire", "null", "--metrics", &flag]);

    let mode = path.metadata().unwrap().permissions().mode();
    let stream = UnixStream::connect(&path).unwrap();
    let response = exchange(stream, b"GET /metrics HTTP/1.1\r\n\r\n");
    server.signal(Signal::SIGTERM);
    server.wait();

    assert_eq!(mode & 0o777, 0o600);
    assert!(parse(response.split_once("\r\n\r\n").unwrap().1).is_ok());
    assert!(!path.exists());
}

#[test]
fn an_address_that_is_taken_ends_the_start_with_one_line() {
    let (_server, address) = start(&["--wire", "null"]);
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nic.sock");

    let output = run(&["--socket", socket.to_str().unwrap(), "--metrics", &address]);

    let line = only_line(&output);
    assert!(
        line.contains(&address) && line.contains("--metrics"),
        "{line}"
    );
}
