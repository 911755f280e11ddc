//! A plug that leads the port's transmitter to its own receiver.

use std::os::fd::BorrowedFd;

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, Offload, RxFrame, TxFrame, WireBusy},
};

use crate::{Backend, Counters, queue::FrameQueue};

/// Frames between transmitter and receiver.
const MAX_FRAMES: usize = 4096;
/// Bytes between transmitter and receiver.
const MAX_BYTES: usize = 8 << 20;

/// What is sent comes back, in order. It has no offload, so the port completes checksums and cuts segments before.
///
/// Between sending and receiving there is room for 4096 frames and 8 MiB; a frame beyond that is lost and counted,
/// so that a port whose receiver is off never stalls its transmitter.
#[derive(Debug)]
pub struct Loopback {
    queue: FrameQueue,
    counters: Counters,
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

impl Loopback {
    /// A loopback plug.
    #[must_use]
    pub fn new() -> Self {
        Self {
            queue: FrameQueue::new(MAX_FRAMES, MAX_BYTES),
            counters: Counters::default(),
        }
    }
}

impl Wire for Loopback {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.counters.count_tx(frame.len());
        if frame.offload != Offload::None || !self.queue.push_tx(frame) {
            self.counters.count_tx_dropped();
        }
        Ok(())
    }

    fn receive(&mut self, budget: usize, sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        self.queue.deliver(&mut self.counters, budget, sink)
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Loopback {
    fn describe(&self) -> String {
        "loopback".to_owned()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn has_frames(&self) -> bool {
        !self.queue.is_empty()
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _now: Time) {}

    /// There is no other end.
    fn set_far_link(&mut self, _up: bool) {}

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(head: &[u8]) -> TxFrame<'_> {
        TxFrame {
            head,
            payload: &[],
            offload: Offload::None,
        }
    }

    #[test]
    fn what_is_sent_comes_back_in_order() {
        let mut wire = Loopback::new();
        wire.transmit(&frame(b"first frame")).unwrap();
        wire.transmit(&frame(b"second")).unwrap();

        let mut seen = Vec::new();
        let count = wire.receive(10, &mut |f| {
            seen.push(f.head.to_vec());
            Flow::More
        });

        assert_eq!(count, 2);
        assert_eq!(seen, [b"first frame".to_vec(), b"second".to_vec()]);
        assert!(!wire.has_frames());
    }

    #[test]
    fn a_sink_that_stops_leaves_the_rest_for_later() {
        let mut wire = Loopback::new();
        wire.transmit(&frame(b"a")).unwrap();
        wire.transmit(&frame(b"b")).unwrap();

        let count = wire.receive(10, &mut |_| Flow::Stop);

        assert_eq!(count, 1);
        assert!(wire.has_frames());
    }

    #[test]
    fn frames_beyond_the_queue_are_lost_and_counted() {
        let mut wire = Loopback::new();

        for _ in 0..=MAX_FRAMES {
            wire.transmit(&frame(b"x")).unwrap();
        }

        assert_eq!(wire.counters().tx_dropped, 1);
        assert_eq!(wire.counters().tx_frames, 4097);
    }
}
