//! A long cable.

use std::{fmt, os::fd::BorrowedFd, str::FromStr, time::Duration};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Fcs, Flow, L4Checksum, Offload, RxFrame, TxFrame, WireBusy},
};

use crate::{
    Backend, Counters, ParseError,
    batch::BatchQueue,
    line::{number_and_unit, scaled},
    queue::copy_tx,
};

/// Frames that are handed to the wire behind in one turn.
const PER_TURN: usize = 256;
/// Least and most bytes under way in one direction.
const BYTES: [usize; 2] = [4 << 20, 256 << 20];

/// How much later frames arrive: 0 to 10 s, written as a number, also with decimals, with `ns`, `us`, `ms` or `s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency(u64);

impl Latency {
    const LONGEST: u64 = 10_000_000_000;

    /// As a length of time.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_nanos(self.0)
    }

    /// Bytes that may be under way in one direction: what 20 Gbit/s bring in this time, within limits.
    fn room(self) -> usize {
        let bytes = usize::try_from(self.0.saturating_mul(5) / 2).unwrap_or(usize::MAX);
        bytes.clamp(BYTES[0], BYTES[1])
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
        let fits = |(unit, _): &(u64, &str)| self.0.is_multiple_of(*unit);
        match units.into_iter().find(fits) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}ns", self.0),
        }
    }
}

impl FromStr for Latency {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError::Latency(text.to_owned());
        let (number, unit) = number_and_unit(text).ok_or_else(error)?;
        let scale = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            _ => return Err(error()),
        };
        let nanos = scaled(number, scale).filter(|nanos| *nanos <= Self::LONGEST);
        nanos.map(Self).ok_or_else(error)
    }
}

/// What is known of a frame that comes, besides its bytes, and when it is there.
#[derive(Clone, Copy, Debug)]
struct Coming {
    due: Time,
    fcs: Fcs,
    l4_checksum: L4Checksum,
}

/// What is left to do with a frame that goes, and when it is there.
#[derive(Clone, Copy, Debug)]
struct Going {
    due: Time,
    offload: Offload,
}

/// A wire whose frames are under way for some time, in each direction: a round trip takes twice as long.
///
/// Frames stay in order. In each direction as many bytes may be under way as 20 Gbit/s bring in that time (64 bytes more
/// are counted for each frame; at least 4 MiB, at most 256 MiB); a frame beyond that is lost and counted. While the wire
/// behind is busy with frames that have arrived, the port is told to wait, and nothing is lost.
#[derive(Debug)]
pub(super) struct Delayed<B> {
    inner: B,
    latency: Latency,
    going: BatchQueue<Going>,
    coming: BatchQueue<Coming>,
    /// The wire behind has refused a frame since the last [`Backend::advance`].
    blocked: bool,
    now: Time,
    /// Frames that left the port and found no room, and their bytes.
    lost_going: (u64, u64),
    /// Frames that came, bytes of those that came, and frames that found no room.
    received: Counters,
}

impl<B: Backend> Delayed<B> {
    pub(super) fn new(inner: B, latency: Latency) -> Self {
        Self {
            inner,
            latency,
            going: BatchQueue::new(latency.room()),
            coming: BatchQueue::new(latency.room()),
            blocked: false,
            now: Time::ZERO,
            lost_going: (0, 0),
            received: Counters::default(),
        }
    }

    /// Hands to the wire what has arrived there.
    fn arrive(&mut self) {
        self.blocked = false;
        for _ in 0..PER_TURN {
            let Some((going, bytes)) = self.going.front() else {
                return;
            };
            if going.due > self.now {
                return;
            }
            let frame = TxFrame {
                head: bytes,
                payload: &[],
                offload: going.offload,
            };
            if self.inner.transmit(&frame) == Err(WireBusy) {
                self.blocked = true;
                return;
            }
            self.going.pop();
        }
    }

    /// Takes what the wire has.
    fn depart(&mut self, budget: usize) {
        let Self {
            inner,
            coming,
            received,
            ..
        } = self;
        let due = self.now + self.latency.duration();
        inner.receive(budget, &mut |frame| {
            let label = Coming {
                due,
                fcs: frame.fcs,
                l4_checksum: frame.l4_checksum,
            };
            let taken = coming.push_with(label, frame.len(), |to| {
                let (head, body) = to.split_at_mut(frame.head.len());
                head.copy_from_slice(frame.head);
                body.copy_from_slice(frame.body);
            });
            if !taken {
                received.rx_dropped = received.rx_dropped.wrapping_add(1);
            }
            Flow::More
        });
    }
}

impl<B: Backend> Wire for Delayed<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if self.blocked {
            return Err(WireBusy);
        }
        let label = Going {
            due: self.now + self.latency.duration(),
            offload: frame.offload,
        };
        let len = frame.len();
        if !self.going.push_with(label, len, |to| copy_tx(frame, to)) {
            let (frames, bytes) = &mut self.lost_going;
            *frames = frames.wrapping_add(1);
            *bytes = bytes.wrapping_add(len as u64);
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.depart(budget);
        let mut count = 0;
        while count < budget
            && let Some((coming, bytes)) = self.coming.front()
            && coming.due <= self.now
        {
            self.received.count_rx(bytes.len());
            let flow = sink(&RxFrame {
                head: bytes,
                body: &[],
                fcs: coming.fcs,
                l4_checksum: coming.l4_checksum,
            });
            self.coming.pop();
            count += 1;
            if flow == Flow::Stop {
                break;
            }
        }
        count
    }

    fn carrier(&self) -> bool {
        self.inner.carrier()
    }
}

impl<B: Backend> Backend for Delayed<B> {
    fn describe(&self) -> String {
        format!("{} +latency={}", self.inner.describe(), self.latency)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    fn has_frames(&self) -> bool {
        let arrived = |(coming, _): (&Coming, _)| coming.due <= self.now;
        self.coming.front().is_some_and(arrived) || self.inner.has_frames()
    }

    fn deadline(&self) -> Option<Time> {
        let coming = self.coming.front().map(|(coming, _)| coming.due);
        let going = self.going.front().map(|(going, _)| going.due);
        // What has come waits for the port, and what the wire refuses for the wire.
        let own = coming
            .filter(|due| *due > self.now)
            .into_iter()
            .chain(going.filter(|_| !self.blocked));
        own.chain(self.inner.deadline()).min()
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        self.inner.advance(now);
        self.arrive();
    }

    fn set_far_link(&mut self, up: bool) {
        self.inner.set_far_link(up);
    }

    fn set_listening(&mut self, on: bool) {
        self.inner.set_listening(on);
    }

    /// Frames that go count when they have arrived, frames that come when the port has them.
    fn counters(&self) -> Counters {
        let inner = self.inner.counters();
        let (frames, bytes) = self.lost_going;
        Counters {
            tx_frames: inner.tx_frames.wrapping_add(frames),
            tx_bytes: inner.tx_bytes.wrapping_add(bytes),
            tx_dropped: inner.tx_dropped.wrapping_add(frames),
            rx_frames: self.received.rx_frames,
            rx_bytes: self.received.rx_bytes,
            rx_dropped: inner.rx_dropped.wrapping_add(self.received.rx_dropped),
            ..inner
        }
    }
}
