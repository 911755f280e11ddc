//! A wire that swallows everything and never sends.

use std::os::fd::BorrowedFd;

use nic_model::{
    Time, Wire,
    wire::{Capabilities, Flow, RxFrame, TxFrame, WireBusy},
};

use crate::{Backend, Counters};

/// Link up, nobody there. It takes every offload, since what is swallowed needs no checksum.
#[derive(Debug, Default)]
pub struct Null {
    counters: Counters,
}

impl Null {
    /// A null wire.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Wire for Null {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            checksum: true,
            tso4: true,
            tso6: true,
        }
    }

    fn transmit(&mut self, frame: &TxFrame<'_>) -> Result<(), WireBusy> {
        self.counters.count_tx(frame.len());
        Ok(())
    }

    fn receive(&mut self, _budget: usize, _sink: &mut dyn FnMut(&RxFrame<'_>) -> Flow) -> usize {
        0
    }

    fn carrier(&self) -> bool {
        true
    }
}

impl Backend for Null {
    fn describe(&self) -> String {
        "null".to_owned()
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn has_frames(&self) -> bool {
        false
    }

    fn deadline(&self) -> Option<Time> {
        None
    }

    fn advance(&mut self, _now: Time) {}

    /// Nobody there would notice.
    fn set_far_link(&mut self, _up: bool) {}

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use nic_model::wire::Offload;

    use super::*;

    #[test]
    fn frames_are_counted_and_nothing_comes_back() {
        let mut wire = Null::new();

        let sent = wire.transmit(&TxFrame {
            head: &[0; 60],
            payload: &[],
            offload: Offload::None,
        });
        let received = wire.receive(10, &mut |_| Flow::More);

        assert_eq!((sent, received), (Ok(()), 0));
        assert_eq!(wire.counters().tx_bytes, 60);
    }
}
