//! Access to a running cable: capture what passes, inject frames, pull the plug, let frames have faults.

mod faulty;
#[cfg(test)]
mod tests;

use std::{fmt, os::fd::BorrowedFd};

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Fcs, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::{
    Backend, Counters,
    fault::WireFaults,
    host::MIN_FRAME,
    passing::{Passing, Sight},
    queue::FrameQueue,
};

/// Injected frames that wait for the port.
const MAX_INJECTED: usize = 4096;
/// Their bytes.
const MAX_INJECTED_BYTES: usize = 4 << 20;
/// Shortest and longest frame that can be injected: an Ethernet header, and more than the largest that the card can be
/// set to take (MAXFRS, 8.2.3.22.13), so that its rejection can be seen.
pub const INJECTED_LEN: std::ops::RangeInclusive<usize> = 14..=16_383;
/// Captures at a time.
const MAX_CAPTURES: usize = 16;

/// Whether a [`CaptureSink`] wants more frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// It does.
    Continue,
    /// Nobody listens any more; the sink can be dropped.
    Ended,
}

/// Who looks at the frames that pass. Called on the data path: it must be quick and never block.
pub trait CaptureSink: Send {
    /// Looks at a frame.
    fn frame(&mut self, frame: &Passing<'_>) -> Capture;

    /// Whether nobody listens any more, so that the sink can be dropped. On a silent cable no frame tells.
    fn has_ended(&self) -> bool;
}

/// Why a frame was not injected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InjectError {
    /// As many frames wait for the port as may; later there is room again.
    #[error("the queue for injected frames is full; try again")]
    Full,
    /// The cable is pulled.
    #[error("the link is down; frames cannot arrive before `ixgbectl link up`")]
    Unplugged,
    /// The frame is too short or too long for any cable.
    #[error("a frame has {} to {} bytes, not {len}", INJECTED_LEN.start(), INJECTED_LEN.end())]
    Length {
        /// Its length.
        len: usize,
    },
}

/// What is wrong with an injected frame, as of one that came over a bad cable or from a bad sender.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Its FCS.
    pub fcs: Fcs,
    /// What becomes of it if it is too short.
    pub short: Short,
}

/// What becomes of an injected frame of less than the 60 bytes (without FCS) that a frame has at least.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Short {
    /// It is padded, as every sender does.
    #[default]
    Padded,
    /// It arrives as short as it is.
    Runt,
}

/// Whether the cable is in the port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plug {
    /// It is.
    #[default]
    In,
    /// It is pulled: no carrier, and whatever is sent is lost.
    Out,
}

/// What was done to a cable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TappedCounters {
    /// Frames that were accepted for injection.
    pub injected: u64,
    /// Frames that were to be injected and found no room.
    pub inject_refused: u64,
    /// Frames lost in either direction because the cable was pulled.
    pub unplugged_dropped: u64,
    /// Frames of either direction that a fault of the cable took ([`FaultKind::Drop`](nic_model::fault::FaultKind::Drop)).
    pub fault_dropped: u64,
}

/// A wire with a person at it.
///
/// Captures see frames as they lie on the cable: a large TCP frame that the wire cuts itself is captured as the
/// segments that it becomes, and checksums that the wire completes are complete. Injected frames count as received
/// and are captured, too; they are padded to the 60 bytes that every Ethernet sender pads to, unless they are to be
/// damaged ([`Damage`]).
pub struct Tapped<B> {
    inner: B,
    injected: FrameQueue,
    captures: Vec<Box<dyn CaptureSink>>,
    plug: Plug,
    /// The port's module sends.
    lit: bool,
    counters: TappedCounters,
    sight: Sight,
    faults: Option<Box<WireFaults>>,
}

impl TappedCounters {
    /// Name and value of each counter, in a fixed order.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 4] {
        let Self {
            injected,
            inject_refused,
            unplugged_dropped,
            fault_dropped,
        } = *self;
        [
            ("injected", injected),
            ("inject_refused", inject_refused),
            ("unplugged_dropped", unplugged_dropped),
            ("fault_dropped", fault_dropped),
        ]
    }
}

impl<B: fmt::Debug> fmt::Debug for Tapped<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tapped")
            .field("inner", &self.inner)
            .field("captures", &self.captures.len())
            .field("plug", &self.plug)
            .finish_non_exhaustive()
    }
}

impl<B: Backend> Tapped<B> {
    /// A cable that nobody has touched.
    #[must_use]
    pub fn new(inner: B) -> Self {
        Self {
            inner,
            injected: FrameQueue::new(MAX_INJECTED, MAX_INJECTED_BYTES),
            captures: Vec::new(),
            plug: Plug::In,
            lit: true,
            counters: TappedCounters::default(),
            sight: Sight::default(),
            faults: None,
        }
    }

    /// Lets `frame` (without FCS) arrive at the port as if from the cable.
    ///
    /// # Errors
    /// [`InjectError`]; the frame will not arrive.
    pub fn inject(&mut self, frame: &[u8], damage: Damage) -> Result<(), InjectError> {
        if !INJECTED_LEN.contains(&frame.len()) {
            return Err(InjectError::Length { len: frame.len() });
        }
        if !self.is_through() {
            return Err(InjectError::Unplugged);
        }
        let len = match damage.short {
            Short::Padded => frame.len().max(MIN_FRAME),
            Short::Runt => frame.len(),
        };
        if !self.injected.has_room(len) {
            self.counters.inject_refused = self.counters.inject_refused.wrapping_add(1);
            return Err(InjectError::Full);
        }
        self.injected.push_with(len, |to| {
            let (bytes, padding) = to.split_at_mut(frame.len());
            bytes.copy_from_slice(frame);
            padding.fill(0);
        });
        self.injected.mark_last(damage.fcs);
        self.counters.injected = self.counters.injected.wrapping_add(1);
        Ok(())
    }

    /// Whether injected frames wait for the port.
    #[must_use]
    pub fn has_injected(&self) -> bool {
        !self.injected.is_empty()
    }

    /// Lets `sink` see every frame from now on, until it has ended. `false`: there are as many as may be (16).
    pub fn capture(&mut self, sink: Box<dyn CaptureSink>) -> bool {
        // Those that have ended make room.
        self.captures.retain(|capture| !capture.has_ended());
        let room = self.captures.len() < MAX_CAPTURES;
        if room {
            self.captures.push(sink);
        }
        room
    }

    /// Pulls the cable or puts it back. What is on the cable when it is pulled is lost, and so are injected frames that
    /// still wait.
    pub fn set_plug(&mut self, plug: Plug) {
        self.plug = plug;
        self.tell_far_end();
    }

    /// Lets both ends see whether the cable is through. If it is not, nothing is on it.
    fn tell_far_end(&mut self) {
        if !self.is_through()
            && let Some(faults) = &mut self.faults
        {
            let lost = faults.lose_all();
            self.count_unplugged(lost);
        }
        self.inner.set_far_link(self.lit && self.is_through());
    }

    /// Whether frames get through: the cable is in, and no fault has taken the carrier.
    fn is_through(&self) -> bool {
        self.plug == Plug::In && !self.faults.as_ref().is_some_and(|faults| faults.is_down())
    }

    /// Whether the cable is in.
    #[must_use]
    pub const fn plug(&self) -> Plug {
        self.plug
    }

    /// What was done to this cable.
    #[must_use]
    pub fn tapped_counters(&self) -> TappedCounters {
        let faults = self.faults.as_ref();
        let dropped = faults.map_or(0, |faults| faults.dropped());
        TappedCounters {
            fault_dropped: self.counters.fault_dropped.wrapping_add(dropped),
            ..self.counters
        }
    }

    /// The wire behind.
    #[must_use]
    pub const fn inner(&self) -> &B {
        &self.inner
    }

    fn count_unplugged(&mut self, frames: usize) {
        self.counters.unplugged_dropped =
            self.counters.unplugged_dropped.wrapping_add(frames as u64);
    }

    /// Shows a frame that the wire took to the captures.
    fn show_sent(&mut self, frame: &TxFrame<'_>) {
        let captures = &mut self.captures;
        self.sight.sent(frame, &mut |frame| show(captures, frame));
    }
}

fn show(captures: &mut Vec<Box<dyn CaptureSink>>, frame: &Passing<'_>) {
    captures.retain_mut(|sink| sink.frame(frame) == Capture::Continue);
}

impl<B: Backend> Wire for Tapped<B> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        if !self.is_through() {
            self.count_unplugged(1);
            return Ok(());
        }
        if let Some(faults) = &mut self.faults {
            let captures = &mut self.captures;
            return faults.transmit(frame, &mut self.inner, &mut |frame| show(captures, frame));
        }
        self.inner.transmit(frame)?;
        if !self.captures.is_empty() {
            self.show_sent(frame);
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        if !self.is_through() {
            let mut lost = 0;
            while lost < budget && self.injected.front().is_some() {
                self.injected.pop();
                lost += 1;
            }
            lost += self.inner.receive(budget - lost, &mut |_| Flow::More);
            self.count_unplugged(lost);
            return 0;
        }
        if self.faults.is_some() {
            return self.receive_with_faults(budget, sink);
        }
        let captures = &mut self.captures;
        let mut watched = |frame: &RxFrame<'_>| {
            if !captures.is_empty() {
                show(captures, &Passing::received(frame));
            }
            sink(frame)
        };
        let mut received = 0;
        while received < budget {
            let Some(frame) = self.injected.arriving() else {
                return received + self.inner.receive(budget - received, &mut watched);
            };
            let flow = watched(&frame);
            self.injected.pop();
            received += 1;
            if flow == Flow::Stop {
                break;
            }
        }
        received
    }

    fn carrier(&self) -> bool {
        self.is_through() && self.inner.carrier()
    }
}

impl<B: Backend> Backend for Tapped<B> {
    fn describe(&self) -> String {
        self.inner.describe()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        self.inner.poll_fd()
    }

    fn has_frames(&self) -> bool {
        !self.injected.is_empty()
            || self.inner.has_frames()
            || self
                .faults
                .as_ref()
                .is_some_and(|faults| faults.has_frames())
    }

    fn deadline(&self) -> Option<Time> {
        let faults = self.faults.as_ref().and_then(|faults| faults.deadline());
        self.inner.deadline().into_iter().chain(faults).min()
    }

    fn advance(&mut self, now: Time) {
        self.inner.advance(now);
        if self.faults.is_some() {
            self.advance_faults(now);
        }
    }

    fn set_far_link(&mut self, up: bool) {
        self.lit = up;
        self.tell_far_end();
    }

    fn set_listening(&mut self, on: bool) {
        self.inner.set_listening(on);
    }

    /// Of the wire behind; see [`Tapped::tapped_counters`] for the rest.
    fn counters(&self) -> Counters {
        self.inner.counters()
    }
}
