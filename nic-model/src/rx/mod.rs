//! Receive: from the wire's frame to the ring's descriptors (7.1).

use ixgbe_spec::register::Reg;

use crate::{hw::Hw, wire::RxFrame};

/// What became of a frame that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Written to a ring.
    Delivered {
        /// Receive queue.
        queue: u8,
    },
    /// Waits in the packet buffer for descriptors.
    Buffered,
    /// Dropped.
    Dropped(DropReason),
}

/// Why a frame was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DropReason {
    /// Receive is disabled (RXCTRL.RXEN).
    Disabled,
    /// FCS error, length outside the limits (7.1.1).
    Mac,
    /// No L2 filter accepts the address (7.1.1.1).
    Address,
    /// The VLAN filter does not accept the tag (7.1.1.2).
    Vlan,
    /// The queue is disabled, has no descriptors and drops, or the frame is longer than it takes (QPRDC).
    Queue,
    /// A Flow Director filter says so.
    FlowDirector,
    /// The packet buffer is full (MPC).
    PacketBuffer,
    /// The client's memory refused the write.
    Dma,
}

/// Receive side of a port.
#[derive(Debug, Default)]
pub struct Receive {}

impl Receive {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self {} = self;
    }

    /// Software has written a register of the chapters `Receive` or `Filter`; `old` and `new` are its values before and
    /// after.
    pub(crate) fn written(
        &mut self,
        _reg: Reg,
        _index: usize,
        _old: u32,
        _new: u32,
        _hw: &mut Hw<'_>,
    ) {
    }

    /// Takes a frame from the wire (or from transmit, in loopback).
    pub(crate) fn receive(&mut self, _frame: &RxFrame<'_>, _hw: &mut Hw<'_>) -> Verdict {
        Verdict::Dropped(DropReason::Disabled)
    }

    /// Moves frames that wait in the packet buffer to rings that have got descriptors; at most `budget`. Returns
    /// whether more can be done at once.
    pub(crate) fn step(&mut self, _budget: usize, _hw: &mut Hw<'_>) -> bool {
        false
    }

    /// Whether the packet buffer has room, so that the wire may hand in more; if not, frames that come all the same
    /// may be dropped and counted (MPC).
    pub(crate) fn has_room(&self) -> bool {
        true
    }
}
