//! The server under a supervisor that passes sockets and waits for it to be ready, as systemd does; these tests play it.
//!
//! `sh` gives the process its own number in `LISTEN_PID`, and puts what it gets as standard input and output at the
//! descriptors from 3 on.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::{
    fs::{self, File},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream},
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Output},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use support::{PATIENCE, Server, only_line};
use tempfile::TempDir;
use vfio_user::client::{Client, Options};

const PROGRAM: &str = env!("CARGO_BIN_EXE_vfio-user-ixgbe");

/// The part of the supervisor: its sockets outlive the servers.
struct Supervisor {
    folder: TempDir,
    port: UnixListener,
    control: UnixListener,
    notify: UnixDatagram,
}

/// A server that ends with the test.
struct Started(Child);

impl Supervisor {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let notify = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            port: UnixListener::bind(folder.path().join("nic.sock")).unwrap(),
            control: UnixListener::bind(folder.path().join("nic.sock.control")).unwrap(),
            notify,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a server that is passed both sockets.
    fn start(&self) -> Started {
        let (port, control) = (self.port.try_clone(), self.control.try_clone());
        let child = passing(2, "exec 3<&0 4<&1 </dev/null >&2")
            .args(["--wire", "loopback"])
            .env("NOTIFY_SOCKET", self.path("notify"))
            .stdin(OwnedFd::from(port.unwrap()))
            .stdout(OwnedFd::from(control.unwrap()))
            .spawn();
        Started(child.unwrap())
    }

    /// What a server says next of its state.
    fn told(&self) -> String {
        let mut buffer = [0; 256];
        let length = self.notify.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }
}

impl Started {
    fn end(&mut self) -> ExitStatus {
        let pid = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
        self.0.wait().unwrap()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server's program, behind a shell that moves descriptors first and says that so many are passed.
fn passing(sockets: u32, moves: &str) -> Command {
    let mut command = Command::new("sh");
    command
        .arg("-c")
        .arg(format!(
            "{moves}; LISTEN_PID=$$ LISTEN_FDS={sockets} exec \"$0\" \"$@\""
        ))
        .arg(PROGRAM);
    command
}

/// Runs a server that is passed `socket` alone to its end, which is to come by itself.
fn run(socket: OwnedFd, arguments: &[&str]) -> Output {
    let mut command = passing(1, "exec 3<&0 </dev/null");
    command.args(arguments).stdin(socket);
    command.output().unwrap()
}

#[test]
fn a_server_takes_over_the_sockets_that_it_is_passed_and_leaves_them_to_the_next_one() {
    let supervisor = Supervisor::new();
    let mut first = supervisor.start();
    let client = Client::connect(supervisor.path("nic.sock"), Options::default()).unwrap();
    let mut controller = control::Client::connect(&supervisor.path("nic.sock.control")).unwrap();
    let ports = controller.info().unwrap();
    drop((client, controller));

    let ended = first.end();
    // Nobody serves them now; the clients wait for the next server.
    let waits = UnixStream::connect(supervisor.path("nic.sock")).unwrap();
    let waits_too = UnixStream::connect(supervisor.path("nic.sock.control")).unwrap();
    drop((waits, waits_too));
    let mut second = supervisor.start();
    let client = Client::connect(supervisor.path("nic.sock"), Options::default());
    let controller = control::Client::connect(&supervisor.path("nic.sock.control"));

    assert_eq!(ended.code(), Some(0));
    assert_eq!(ports.wire, "loopback");
    assert_eq!(client.unwrap().device_info().unwrap().regions, 9);
    assert_eq!(controller.unwrap().info().unwrap().wire, "loopback");
    assert_eq!(second.end().code(), Some(0));
}

#[test]
fn a_supervisor_is_told_that_the_server_is_ready_in_its_sandbox_and_that_it_stops() {
    let supervisor = Supervisor::new();
    let mut server = supervisor.start();

    let ready = supervisor.told();
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id())).unwrap();
    let ended = server.end();
    let stopping = supervisor.told();

    assert!(ready.lines().any(|line| line == "READY=1"), "{ready}");
    assert!(ready.contains("STATUS="), "{ready}");
    assert!(
        status.lines().any(|line| line == "Seccomp:\t2"),
        "the sandbox is not entered:\n{status}"
    );
    assert_eq!(stopping, "STOPPING=1\n");
    assert_eq!(ended.code(), Some(0));
}

#[test]
fn a_supervisor_may_listen_at_an_abstract_address() {
    let folder = tempfile::tempdir().unwrap();
    let name = format!("vfio-user-ixgbe-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let notify = UnixDatagram::bind_addr(&address).unwrap();
    notify.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut buffer = [0; 256];

    let child = Command::new(PROGRAM)
        .args(["--wire", "null", "--socket"])
        .arg(folder.path().join("nic.sock"))
        .env("NOTIFY_SOCKET", format!("@{name}"))
        .spawn();
    let _server = Started(child.unwrap());
    let length = notify.recv(&mut buffer).unwrap();

    assert!(buffer[..length].starts_with(b"READY=1\n"));
}

#[test]
fn a_supervisor_that_cannot_be_reached_is_told_of_and_stops_nothing() {
    let nobody = tempfile::tempdir().unwrap();
    let nobody = nobody.path().join("nobody");

    let server = Server::start_with_environment("NOTIFY_SOCKET", &nobody);
    let line = server.wait_for_log("NOTIFY_SOCKET");
    server.wait_for_log("waiting for a client");

    assert!(line.contains(nobody.to_str().unwrap()), "{line}");
    assert_eq!(server.client().device_info().unwrap().regions, 9);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let supervisor = Supervisor::new();
    let own = supervisor.path("own.sock");

    let child = Command::new(PROGRAM)
        .args(["--wire", "null", "--socket"])
        .arg(&own)
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "1")
        .env("NOTIFY_SOCKET", supervisor.path("notify"))
        .spawn();
    let _server = Started(child.unwrap());

    assert!(supervisor.told().starts_with("READY=1\n"));
    assert!(own.exists());
}

#[test]
fn a_socket_for_nobody_fails_with_one_line_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let passed = UnixListener::bind(folder.path().join("other.sock")).unwrap();
    let socket = folder.path().join("nic.sock");

    let output = run(passed.into(), &["--socket", socket.to_str().unwrap()]);

    let line = only_line(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(line.contains("other.sock"), "{line}");
    assert!(!socket.exists());
}

#[test]
fn what_is_no_listening_socket_fails_with_one_line() {
    let (stream, _peer) = UnixStream::pair().unwrap();
    let file = File::open("/dev/null").unwrap();

    let not_listening = run(stream.into(), &[]);
    let no_socket = run(file.into(), &[]);

    assert_eq!(not_listening.status.code(), Some(1));
    assert!(only_line(&not_listening).contains("does not listen"));
    assert_eq!(no_socket.status.code(), Some(1));
    assert!(only_line(&no_socket).contains("is of no use"));
}
