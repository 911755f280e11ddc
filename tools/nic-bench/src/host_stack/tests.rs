//! The driver at a stack that runs beside it, on a card in the same process.

use std::{os::fd::AsFd, os::unix::net::UnixStream, path::Path, thread};

use nic_driver::in_process::InProcess;
use nic_model::{
    PortConfig, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};
use vfio_user::Listener;
use vhost_user_ixgbe::{
    counters::Counters,
    negotiated::{Offer, Switch},
    polling::Polling,
    receive::Mode,
    stack::Settings,
    worker::{self, Worker},
};

use wire::Generate;

use super::*;

/// Frames of a burst: the driver wakes up for half a ring.
const BURST: usize = 200;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

const SHORT: Duration = Duration::from_millis(20);

/// A generator that pauses between bursts: a card in the driver's process works until its cable has nothing.
struct Bursts {
    generator: Generate,
    pause: bool,
}

impl Wire for Bursts {
    fn capabilities(&self) -> Capabilities {
        self.generator.capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.generator.transmit(frame)
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.pause = !self.pause;
        if self.pause {
            return 0;
        }
        self.generator.receive(budget.min(BURST), sink)
    }

    fn carrier(&self) -> bool {
        true
    }
}

/// Runs `driver` at the socket of a stack whose card has a generator at its cable; returns what it returned, and what the
/// stack has counted.
fn at_a_stack<T>(len: u16, rx: Mode, driver: impl FnOnce(&Options) -> T) -> (T, Counters) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("stack");
    let listener = Listener::bind(&socket).unwrap();
    let (end, ended) = UnixStream::pair().unwrap();
    let stack = thread::spawn(move || {
        let options = worker::Options {
            settings: Settings {
                rx,
                packet_split: Switch::Off,
                offer: Offer {
                    mergeable: Switch::On,
                    offloads: Switch::On,
                    large_receive: Switch::Off,
                },
                pairs: 1,
                mtu: 1500,
            },
            polling: Polling::UpTo(Duration::ZERO),
        };
        let card = || {
            let generator = Generate::new(Stream {
                rate: Rate::Max,
                size: len,
            });
            let cable = Bursts {
                generator,
                pause: false,
            };
            Ok(InProcess::new(PortConfig::new(MAC), cable))
        };
        let mut worker = Worker::new(options, &listener, ended.as_fd(), card).unwrap();
        worker.run().unwrap();
        *worker.stack().counters()
    });
    let told = driver(&options(&socket, len));
    drop(end);
    (told, stack.join().unwrap())
}

fn options(socket: &Path, len: u16) -> Options {
    Options {
        socket: socket.to_owned(),
        len,
        ring: 256,
        watch: Vec::new(),
    }
}

#[test]
fn frames_arrive_in_the_guests_pages_without_a_copy() {
    let (told, counters) = at_a_stack(1514, Mode::ZeroCopy, |options| receive(options, SHORT));

    let told = told.unwrap();
    assert!(told.frames > 0 && counters.rx_zero_copy > told.frames);
    assert_eq!(counters.rx_bytes_copied, 0);
    assert_eq!(told.measured.unit, "Gbit/s");
}

#[test]
fn frames_arrive_by_a_copy_in_copy_mode() {
    let (told, counters) = at_a_stack(1514, Mode::Copy, |options| receive(options, SHORT));

    let frames = told.unwrap().frames;
    assert!(frames > 0 && counters.rx_copied > frames);
    assert!(counters.rx_bytes_copied > frames * 1514);
    assert_eq!(counters.rx_zero_copy, 0);
}

#[test]
fn what_counts_as_forwarded_was_sent_by_the_stack() {
    let (told, counters) = at_a_stack(60, Mode::ZeroCopy, |options| forward(options, SHORT));

    let told = told.unwrap();
    assert!(told.frames > 0 && counters.tx_zero_copy >= told.frames);
    assert_eq!(counters.tx_bad_chains, 0);
    assert_eq!(told.measured.unit, "Mpps");
}
