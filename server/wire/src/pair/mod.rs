//! A cable between two ports of one process.

mod cables;
mod signals;
#[cfg(test)]
mod tests;

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    time::Duration,
};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, Offload, RxFrame, TxFrame, WireBusy},
};

pub use cables::Cables;
use signals::Signals;

use crate::{Backend, Counters, host::MIN_FRAME, queue::copy_tx};

/// Frames under way in one direction. With the largest frames that a port sends, that is 8 MiB.
const FRAMES: usize = 512;
/// When a frame that found no room is offered again.
const RETRY: Duration = Duration::from_micros(50);
/// How long the sender waits for a receiver that takes nothing.
const PATIENCE: Duration = Duration::from_millis(100);

/// One end of a cable between two ports, each of which may live in a thread of its own.
///
/// There is room for 512 frames in each direction. A sender that finds none waits: a receiver that is slower than the
/// sender loses nothing on the cable. A receiver that takes nothing for 100 ms, since its client has stopped, no longer
/// holds the sender up: frames are lost and counted (`tx_dropped`) until there is room again.
///
/// An end has a carrier while the other end sends light: its port's module is on, and its cable is in.
///
/// Each byte is copied twice: from the sender's client into a buffer of the cable by the sender's thread, and from there
/// to the receiver's client by the receiver's. For a single copy the sender's thread would have to write into the pages
/// that the receiver's driver has posted; that would be another implementation of the two ends, behind the same
/// [`Backend`]. There is no offload: the frames are those that the port's own segmentation and checksums make.
///
/// Two queues of the standard library lead from end to end, one for frames and one for buffers that are empty again.
/// They have one sender and one receiver each, are never waited on, and so take no lock; nothing is allocated once the
/// buffers are there.
#[derive(Debug)]
pub struct Pair {
    name: String,
    signals: Arc<[Signals; 2]>,
    /// Which of the two this is.
    end: usize,
    outgoing: Outgoing,
    incoming: Incoming,
    now: Time,
    /// When a frame that found no room is offered again.
    again: Option<Time>,
    /// Since when none found room: until when it is waited for.
    patience: Option<Time>,
    counters: Counters,
}

/// A frame of `len` bytes at the start of a buffer that may be longer.
#[derive(Debug, Default)]
struct Buffer {
    storage: Vec<u8>,
    len: usize,
}

/// The direction that leads away.
#[derive(Debug)]
struct Outgoing {
    frames: SyncSender<Buffer>,
    empty: Receiver<Buffer>,
    /// A buffer at hand.
    spare: Option<Buffer>,
    /// How many buffers there are in this direction.
    buffers: usize,
}

/// The direction that leads here.
#[derive(Debug)]
struct Incoming {
    frames: Receiver<Buffer>,
    empty: SyncSender<Buffer>,
    /// The next frame, already out of the queue.
    next: Option<Buffer>,
}

/// A direction, from its two ends.
fn direction() -> (Outgoing, Incoming) {
    let (frames, frames_out) = sync_channel(FRAMES);
    let (empty, empty_out) = sync_channel(FRAMES);
    let outgoing = Outgoing {
        frames,
        empty: empty_out,
        spare: None,
        buffers: 0,
    };
    let incoming = Incoming {
        frames: frames_out,
        empty,
        next: None,
    };
    (outgoing, incoming)
}

impl Outgoing {
    /// A buffer for a frame, unless all are under way.
    fn buffer(&mut self) -> Option<Buffer> {
        if let Some(buffer) = self.spare.take() {
            return Some(buffer);
        }
        if let Ok(buffer) = self.empty.try_recv() {
            return Some(buffer);
        }
        (self.buffers < FRAMES).then(|| {
            self.buffers += 1;
            Buffer::default()
        })
    }
}

impl Incoming {
    /// Looks for the next frame; whether there is one.
    fn look(&mut self) -> bool {
        if self.next.is_none() {
            // Nobody sends any more, or not yet.
            self.next = self.frames.try_recv().ok();
        }
        self.next.is_some()
    }
}

impl Pair {
    /// The two ends of a cable; `name` is for people.
    ///
    /// # Errors
    /// The system has no descriptor left.
    pub fn new(name: &str) -> io::Result<[Self; 2]> {
        let signals = Arc::new([Signals::new()?, Signals::new()?]);
        let (there, from_there) = direction();
        let (back, from_back) = direction();
        let directions = [(0, there, from_back), (1, back, from_there)];
        Ok(directions.map(|(end, outgoing, incoming)| Self {
            name: name.to_owned(),
            signals: Arc::clone(&signals),
            end,
            outgoing,
            incoming,
            now: Time::ZERO,
            again: None,
            patience: None,
            counters: Counters::default(),
        }))
    }

    fn own(&self) -> &Signals {
        &self.signals[self.end]
    }

    fn other(&self) -> &Signals {
        &self.signals[1 - self.end]
    }

    /// There is no room for a frame: waits, or loses it.
    fn full(&mut self) -> Result<(), WireBusy> {
        let limit = *self.patience.get_or_insert(self.now + PATIENCE);
        if self.now < limit && self.other().is_lit() {
            self.again = Some(self.now + RETRY);
            return Err(WireBusy);
        }
        self.counters.count_tx_dropped();
        Ok(())
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if self.own().set_lit(false) {
            self.other().ring();
        }
    }
}

impl Wire for Pair {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        let len = frame.len();
        let Some(mut buffer) = self.outgoing.buffer() else {
            self.full()?;
            self.counters.count_tx(len);
            return Ok(());
        };
        self.counters.count_tx(len);
        self.patience = None;
        buffer.len = len.max(MIN_FRAME);
        if buffer.storage.len() < buffer.len {
            buffer.storage.resize(buffer.len, 0);
        }
        let (bytes, rest) = buffer.storage.split_at_mut(len);
        copy_tx(frame, bytes);
        if let Some(padding) = rest.get_mut(..buffer.len - len) {
            padding.fill(0);
        }
        if frame.offload != Offload::None {
            self.counters.count_tx_dropped();
            self.outgoing.spare = Some(buffer);
            return Ok(());
        }
        match self.outgoing.frames.try_send(buffer) {
            Ok(()) => self.other().wake(),
            // The other end has gone: there are as many buffers as there is room for.
            Err(_) => {
                self.outgoing.buffers -= 1;
                self.counters.count_tx_dropped();
            }
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        let mut received = 0;
        while received < budget && self.incoming.look() {
            let Some(buffer) = self.incoming.next.take() else {
                break;
            };
            self.counters.count_rx(buffer.len);
            let flow = sink(&RxFrame::new(&buffer.storage[..buffer.len]));
            // Nobody wants it if the other end has gone.
            let _ = self.incoming.empty.try_send(buffer);
            received += 1;
            if flow == Flow::Stop {
                break;
            }
        }
        if !self.incoming.look() {
            let own = &self.signals[self.end];
            // In this order: what rings after it is heard. Who is rung for without a frame must silence, too.
            if own.was_woken() || received == 0 {
                own.silence();
            }
            own.fall_asleep();
            self.incoming.look();
        }
        received
    }

    fn carrier(&self) -> bool {
        self.other().is_lit()
    }
}

impl Backend for Pair {
    fn describe(&self) -> String {
        format!("pair {}", self.name)
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.own().bell())
    }

    fn has_frames(&self) -> bool {
        self.incoming.next.is_some()
    }

    fn deadline(&self) -> Option<Time> {
        self.again
    }

    fn advance(&mut self, now: Time) {
        self.now = now;
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
        }
    }

    fn set_far_link(&mut self, up: bool) {
        if self.own().set_lit(up) {
            self.other().ring();
        }
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
