//! A cable between two wires, in place of a port: what comes from one is sent to the other.

use std::{
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use nic_model::{
    Time,
    wire::{Flow, Offload, TxFrame},
};
use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::eventfd::EventFd,
};
use wire::{Backend, Counters, Host, Tap};

pub struct Cable {
    stop: Arc<(AtomicBool, EventFd)>,
    thread: JoinHandle<Counters>,
}

impl Cable {
    pub fn between(tap: Tap, host: Host) -> Self {
        let stop = Arc::new((AtomicBool::new(false), EventFd::new().unwrap()));
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || run(tap, host, &stop)
        });
        Self { stop, thread }
    }

    /// Ends it; what the host counted.
    pub fn pull(self) -> Counters {
        self.stop.0.store(true, Ordering::Relaxed);
        self.stop.1.write(1).unwrap();
        self.thread.join().unwrap()
    }
}

fn run(mut tap: Tap, mut host: Host, stop: &(AtomicBool, EventFd)) -> Counters {
    let start = Instant::now();
    while !stop.0.load(Ordering::Relaxed) {
        let now = Time::ZERO + start.elapsed();
        let moved = pass(&mut tap, &mut host);
        tap.advance(now);
        host.advance(now);
        if moved + pass(&mut host, &mut tap) == 0 {
            wait(&tap, &host, now, &stop.1);
        }
    }
    host.counters()
}

/// Moves some frames; a wire that is busy loses none that matters, since the other end sends it again.
fn pass(from: &mut dyn Backend, to: &mut dyn Backend) -> usize {
    from.receive(64, &mut |frame| {
        let bytes = [frame.head, frame.body].concat();
        let frame = TxFrame {
            head: &bytes,
            payload: &[],
            offload: Offload::None,
        };
        match to.transmit(&frame) {
            Ok(()) => Flow::More,
            Err(_) => Flow::Stop,
        }
    })
}

fn wait(tap: &Tap, host: &Host, now: Time, stop: &EventFd) {
    let due = tap.deadline().into_iter().chain(host.deadline()).min();
    let millis = due.map_or(1000, |due| due.since(now).as_millis().min(1000));
    let mut fds = [
        PollFd::new(tap.poll_fd().unwrap(), PollFlags::POLLIN),
        PollFd::new(stop.as_fd(), PollFlags::POLLIN),
    ];
    poll(&mut fds, PollTimeout::from(u16::try_from(millis).unwrap())).unwrap();
}
