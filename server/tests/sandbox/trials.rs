//! The tests.

use std::{
    env, fs,
    net::TcpListener,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use libtest_mimic::{Failed, Trial};
use tempfile::TempDir;

use crate::{
    acts::{self, ACT, FLAGS, INSIDE, OUTSIDE, PORT},
    support::Server,
};

/// What a server does in any sandbox.
const ALLOWED: [&str; 3] = [
    "remove a file of its own folder",
    "start a thread",
    "read an open file",
];

/// What is not tried outside of a sandbox: it takes root, or would disturb the test.
const ONLY_INSIDE: [&str; 8] = [
    "make a device",
    "open a packet socket",
    "trace its parent",
    "be traced",
    "mount",
    "enter a namespace of its own",
    "become another user",
    "change its root",
];

/// Two folders and a listener, and acts among them.
struct Stage {
    outside: TempDir,
    inside: TempDir,
    listener: TcpListener,
    _socket: UnixListener,
}

impl Stage {
    fn new() -> Self {
        let (outside, inside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("file"), "text").unwrap();
        fs::write(inside.path().join("file"), "text").unwrap();
        Self {
            _socket: UnixListener::bind(outside.path().join("socket")).unwrap(),
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            outside,
            inside,
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    fn socket(&self) -> PathBuf {
        self.outside.path().join("socket")
    }

    fn nvm(&self) -> PathBuf {
        self.inside.path().join("nvm")
    }

    /// What comes of an act in the sandbox of a server with these flags.
    fn inside(&self, act: &str, flags: &[&str]) -> String {
        let socket = self.inside.path().join("nic.sock");
        let flags = [&["--socket", socket.to_str().unwrap()], flags].concat();
        self.run(act, &flags.join("\n"))
    }

    fn run(&self, act: &str, flags: &str) -> String {
        let output = Command::new(env::current_exe().unwrap())
            .env(ACT, act)
            .env(FLAGS, flags)
            .env(OUTSIDE, self.outside.path())
            .env(INSIDE, self.inside.path())
            .env(PORT, self.port().to_string())
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

/// One test for each act, and those of single configurations.
pub fn all() -> Vec<Trial> {
    let acts = acts::names().map(|act| {
        let name = if ALLOWED.contains(&act) {
            format!("a_server_can_still_{}", act.replace(' ', "_"))
        } else {
            format!("a_server_cannot_{}", act.replace(' ', "_"))
        };
        Trial::test(name, move || try_act(act))
    });
    let tests: [(&str, fn()); 8] = [
        (
            "a_wire_that_connects_by_tcp_reaches_its_peers_port_alone",
            a_wire_that_connects_by_tcp_reaches_its_peers_port_alone,
        ),
        (
            "a_wire_that_connects_by_a_unix_socket_opens_none_of_another_family",
            a_wire_that_connects_by_a_unix_socket_opens_none_of_another_family,
        ),
        (
            "a_server_that_keeps_an_nvm_writes_into_its_folder_and_reads_nothing",
            a_server_that_keeps_an_nvm_writes_into_its_folder_and_reads_nothing,
        ),
        (
            "a_packet_socket_is_opened_again_by_its_wire_alone",
            a_packet_socket_is_opened_again_by_its_wire_alone,
        ),
        (
            "a_tap_keeps_the_say_over_its_carrier",
            a_tap_keeps_the_say_over_its_carrier,
        ),
        (
            "no_thread_of_a_server_has_a_capability_or_is_without_the_filter",
            no_thread_of_a_server_has_a_capability_or_is_without_the_filter,
        ),
        (
            "a_server_without_the_sandbox_keeps_what_it_had",
            a_server_without_the_sandbox_keeps_what_it_had,
        ),
        (
            "no_page_of_a_server_can_be_written_and_run",
            no_page_of_a_server_can_be_written_and_run,
        ),
    ];
    let tests = tests.map(|(name, test)| {
        Trial::test(name, move || {
            test();
            Ok(())
        })
    });
    acts.chain(tests).collect()
}

fn try_act(act: &str) -> Result<(), Failed> {
    let stage = Stage::new();

    let inside = stage.inside(act, &[]);

    if inside == "done without landlock" {
        println!("this kernel has no landlock, which alone refuses this");
        return Ok(());
    }
    let expected = if ALLOWED.contains(&act) {
        "done"
    } else {
        "PermissionDenied"
    };
    if inside != expected {
        return Err(format!("{inside} instead of {expected}").into());
    }
    // The act is a real one: without the sandbox it is not refused.
    if !ONLY_INSIDE.contains(&act) {
        let outside = Stage::new().run(act, "");
        assert_ne!(outside, "PermissionDenied");
    }
    Ok(())
}

fn a_wire_that_connects_by_tcp_reaches_its_peers_port_alone() {
    let stage = Stage::new();
    let wire = format!("stream:tcp:127.0.0.1:{}", stage.port());
    let flags = ["--wire", &wire];

    assert_eq!(stage.inside("connect by TCP", &flags), "done");
    let other = stage.inside("connect by TCP to another port", &flags);
    // A kernel whose landlock knows no ports lets it through to nobody.
    assert!(
        ["PermissionDenied", "ConnectionRefused"].contains(&&*other),
        "{other}"
    );
    let unix = stage.inside("connect to a UNIX socket", &flags);
    assert_eq!(unix, "PermissionDenied");
    let datagrams = stage.inside("open a UDP socket", &flags);
    assert_eq!(datagrams, "PermissionDenied");
}

fn a_wire_that_connects_by_a_unix_socket_opens_none_of_another_family() {
    let stage = Stage::new();
    let wire = format!("stream:unix:{}", stage.socket().display());
    let flags = ["--wire", &wire];

    assert_eq!(stage.inside("connect to a UNIX socket", &flags), "done");
    let tcp = stage.inside("connect by TCP", &flags);
    assert_eq!(tcp, "PermissionDenied");
    let packet = stage.inside("open a packet socket", &flags);
    assert_eq!(packet, "PermissionDenied");
}

fn a_server_that_keeps_an_nvm_writes_into_its_folder_and_reads_nothing() {
    let stage = Stage::new();
    let nvm = stage.nvm();
    let flags = ["--nvm", nvm.to_str().unwrap()];

    let new = stage.inside("make a file in its own folder", &flags);
    assert!(new.starts_with("done"), "{new}");
    if new == "done" {
        let read = stage.inside("read a file of its own folder", &flags);
        assert_eq!(read, "PermissionDenied");
        let elsewhere = stage.inside("make a file", &flags);
        assert_eq!(elsewhere, "PermissionDenied");
    }
}

fn a_packet_socket_is_opened_again_by_its_wire_alone() {
    let stage = Stage::new();
    if stage.run("open a packet socket", "") != "done" {
        println!("this takes CAP_NET_RAW");
        return;
    }

    let packet = stage.inside("open a packet socket", &["--wire", "af_packet:eth0"]);
    let tap = stage.inside("open a packet socket", &["--wire", "tap:tap0"]);

    assert_eq!(packet, "done");
    assert_eq!(tap, "PermissionDenied");
}

fn a_tap_keeps_the_say_over_its_carrier() {
    let stage = Stage::new();

    let tap = stage.inside("set the carrier of a tap", &["--wire", "tap:tap0"]);

    let outside = stage.run("set the carrier of a tap", "");
    assert_eq!(tap, outside);
    assert_ne!(tap, "PermissionDenied");
}

/// The lines of a file in /proc of each of the server's threads.
fn of_threads(server: &Server, file: &str) -> Vec<String> {
    let tasks = Path::new("/proc")
        .join(server.id().to_string())
        .join("task");
    let threads = fs::read_dir(tasks).unwrap();
    let files = threads.map(|thread| thread.unwrap().path().join(file));
    files
        .map(|file| fs::read_to_string(file).unwrap())
        .collect()
}

/// The value of a line of /proc/PID/status.
fn value<'a>(status: &'a str, name: &str) -> &'a str {
    let mut values = status.lines().filter_map(|line| line.split_once(":\t"));
    let (_, value) = values.find(|(key, _)| *key == name).unwrap();
    value
}

fn no_thread_of_a_server_has_a_capability_or_is_without_the_filter() {
    let folder = tempfile::tempdir().unwrap();
    let capture = folder.path().join("capture.pcapng");
    let nvm = folder.path().join("nvm");
    let wire = format!("generate:1pps,60+capture={}", capture.display());
    let server = Server::start_with(&["--wire", &wire, "--nvm", nvm.to_str().unwrap()]);

    let threads = of_threads(&server, "status");

    // The main thread, the port's, the control socket's and the NVM's.
    assert!(threads.len() >= 4, "{}", threads.len());
    for status in threads {
        assert_eq!(value(&status, "NoNewPrivs"), "1");
        assert_eq!(value(&status, "Seccomp"), "2");
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(value(&status, set), "0000000000000000", "{set}");
        }
    }
}

fn a_server_without_the_sandbox_keeps_what_it_had() {
    let server = Server::start_with(&["--wire", "null", "--sandbox", "off"]);

    let ours = fs::read_to_string("/proc/self/status").unwrap();
    let threads = of_threads(&server, "status");

    for status in threads {
        for key in ["NoNewPrivs", "Seccomp", "CapEff"] {
            assert_eq!(value(&status, key), value(&ours, key), "{key}");
        }
    }
}

fn no_page_of_a_server_can_be_written_and_run() {
    let server = Server::start();
    let _client = server.client();

    let maps = of_threads(&server, "maps").concat();

    assert!(maps.contains("r-xp"));
    let both: Vec<&str> = maps
        .lines()
        .filter(|line| {
            line.split_whitespace()
                .nth(1)
                .is_some_and(|rights| rights.contains("wx"))
        })
        .collect();
    assert!(both.is_empty(), "{both:#?}");
}
