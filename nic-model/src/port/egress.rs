//! Where the frames go that transmit sends: to the wire, or back to receive.

use crate::{
    hw::Hw,
    observe::Event,
    rx::Receive,
    tx::{Egress, Reach},
    wire::{Capabilities, RxFrame, TxFrame, Wire, WireBusy},
};

/// Frames go to the wire.
pub(super) struct Cable<'a> {
    pub(super) wire: &'a mut dyn Wire,
    pub(super) link_up: bool,
}

impl Egress for Cable<'_> {
    fn capabilities(&self) -> Capabilities {
        self.wire.capabilities()
    }

    fn send(
        &mut self,
        frame: &TxFrame<'_>,
        _queue: usize,
        _hw: &mut Hw<'_>,
    ) -> Result<Reach, WireBusy> {
        // Without a link nobody hears it.
        if self.link_up {
            self.wire.transmit(frame)?;
        }
        Ok(Reach::Network)
    }
}

/// Frames go back to receive, in the MAC (3.7.7).
pub(super) struct Loopback<'a> {
    pub(super) rx: &'a mut Receive,
}

impl Egress for Loopback<'_> {
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    fn send(
        &mut self,
        frame: &TxFrame<'_>,
        _queue: usize,
        hw: &mut Hw<'_>,
    ) -> Result<Reach, WireBusy> {
        let copy = frame.to_vec();
        let frame = RxFrame::new(&copy);
        hw.dma.tell(|| Event::Arrived { frame: &frame });
        // What becomes of it, receive counts.
        let verdict = self.rx.receive(&frame, None, hw);
        let frame = &frame;
        hw.dma.tell(move || Event::Received { frame, verdict });
        Ok(Reach::Network)
    }
}
