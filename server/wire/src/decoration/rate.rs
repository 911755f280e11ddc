//! A line of a given speed.

use std::{os::fd::BorrowedFd, time::Duration};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use super::gate::Gate;
use crate::{
    Backend, Counters,
    line::{Lane, LineRate, bits, sent_bits},
};

/// The wire is not listened to if its next frame may not come for longer than this. Less is not worth two system calls.
const WORTH_CLOSING: Duration = Duration::from_micros(20);

/// A wire behind a line that carries so many bits a second in each direction.
///
/// Each frame takes its time: its bytes, 8 of preamble, 4 of FCS and 12 of gap; a large TCP frame that the wire cuts
/// takes the time of its segments. A frame that the port sends while the line is busy waits in the port
/// ([`WireBusy`]), one that comes waits in the wire behind; nothing is lost here. A frame is handed over when the line
/// begins to carry it.
///
/// Whoever is served late catches up with at most a millisecond of frames.
#[derive(Debug)]
pub(super) struct RateLimited<B> {
    inner: B,
    rate: LineRate,
    sent: Lane,
    received: Lane,
    gate: Gate,
    now: Time,
}

impl<B: Backend> RateLimited<B> {
    pub(super) fn new(inner: B, rate: LineRate) -> Self {
        Self {
            gate: Gate::new(&inner),
            inner,
            rate,
            sent: Lane::new(rate),
            received: Lane::new(rate),
            now: Time::ZERO,
        }
    }
}

impl<B: Backend> Wire for RateLimited<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if !self.sent.is_free(self.now) {
            return Err(WireBusy);
        }
        if let Err(busy) = self.inner.transmit(frame) {
            self.sent.wait();
            return Err(busy);
        }
        self.sent.begin(sent_bits(frame), self.now);
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let mut count = 0;
        while count < budget && self.received.is_free(self.now) {
            let mut next = Flow::Stop;
            let mut len = 0;
            let received = self.inner.receive(1, &mut |frame| {
                len = frame.len();
                next = sink(frame);
                next
            });
            if received == 0 {
                break;
            }
            self.received.begin(bits(len), self.now);
            count += received;
            if next == Flow::Stop {
                break;
            }
        }
        let due = self.received.deadline(self.now);
        if due.is_some_and(|due| due.since(self.now) > WORTH_CLOSING) {
            self.gate.close(&self.inner);
        }
        count
    }

    fn carrier(&self) -> bool {
        self.inner.carrier()
    }
}

impl<B: Backend> Backend for RateLimited<B> {
    fn describe(&self) -> String {
        format!("{} +rate={}", self.inner.describe(), self.rate)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.gate.poll_fd(&self.inner)
    }

    fn has_frames(&self) -> bool {
        self.received.is_due(self.now)
            || (self.inner.has_frames() && self.received.busy_until(self.now).is_none())
    }

    fn deadline(&self) -> Option<Time> {
        let received = if self.inner.has_frames() {
            self.received.busy_until(self.now)
        } else {
            self.received.deadline(self.now)
        };
        let lanes = [self.sent.deadline(self.now), received];
        let own = lanes.into_iter().flatten();
        own.chain(self.inner.deadline()).min()
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        self.inner.advance(now);
        if self.received.busy_until(now).is_none() {
            self.gate.open(&self.inner);
        }
    }

    fn set_far_link(&mut self, up: bool) {
        self.inner.set_far_link(up);
    }

    fn set_listening(&mut self, on: bool) {
        self.inner.set_listening(on);
    }

    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}
