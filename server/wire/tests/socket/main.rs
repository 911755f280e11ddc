//! Stream and datagram wires against each other, and against sockets of the standard library that behave and misbehave.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod datagram;
mod hostile;
mod stream;

use std::{
    net::TcpListener,
    path::PathBuf,
    time::{Duration, Instant},
};

use nic_model::{
    Time, Wire,
    wire::{Flow, Offload, TxFrame, WireBusy},
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;
use wire::{Backend, Cables, Kind};

/// How long a test waits for something before it fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A wire and the loop that it runs in. Time is the test's, so that pauses are over at once.
struct Ran {
    wire: Box<dyn Backend>,
    now: Time,
}

impl Ran {
    fn open(kind: &str) -> Self {
        let kind: Kind = kind.parse().unwrap();
        Self {
            wire: kind.open(&mut Cables::new()).unwrap(),
            now: Time::ZERO,
        }
    }

    /// A turn of the loop, at the time of the wire's deadline if it has one.
    fn turn(&mut self) {
        self.now = self.now.max(self.wire.deadline().unwrap_or(Time::ZERO));
        self.wire.advance(self.now);
    }

    /// Turns until `done`.
    fn until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        let start = Instant::now();
        loop {
            self.turn();
            if done(self) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{:?} waits in vain", self.wire);
            let mut fds = [PollFd::new(self.wire.poll_fd().unwrap(), PollFlags::POLLIN)];
            poll(&mut fds, PollTimeout::from(1_u16)).unwrap();
        }
    }

    fn connected(mut self) -> Self {
        self.until(|ran| ran.wire.carrier());
        self
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), WireBusy> {
        self.wire.transmit(&TxFrame {
            head: bytes,
            payload: &[],
            offload: Offload::None,
        })
    }

    /// Sends a frame and sees to it that it is written.
    fn send_now(&mut self, bytes: &[u8]) {
        self.send(bytes).unwrap();
        self.turn();
    }

    fn take(&mut self, budget: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.wire.receive(budget, &mut |frame| {
            frames.push([frame.head, frame.body].concat());
            Flow::More
        });
        frames
    }

    /// The next frames, so many.
    fn receive(&mut self, count: usize) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        self.until(|ran| {
            let missing = count - frames.len();
            frames.extend(ran.take(missing));
            frames.len() == count
        });
        frames
    }

    /// Reads until the peer has been noticed to be gone.
    fn lost(&mut self) {
        self.until(|ran| {
            ran.take(64);
            !ran.wire.carrier()
        });
    }
}

/// Two wires that find each other.
fn joined(first: &str, second: &str) -> [Ran; 2] {
    let (mut first, mut second) = (Ran::open(first), Ran::open(second));
    first.until(|first| {
        second.turn();
        first.wire.carrier() && second.wire.carrier()
    });
    [first, second]
}

/// A folder, and a path in it for a socket.
fn folder() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wire");
    (folder, path)
}

/// A TCP port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A frame as it lies in a stream.
fn framed(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}
