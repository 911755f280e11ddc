//! Transmit: from descriptors to frames (7.2).

use ixgbe_spec::register::Reg;

use crate::{
    hw::Hw,
    wire::{Capabilities, TxFrame, WireBusy},
};

/// Where frames go: the wire, or in loopback the receive side.
pub(crate) trait Egress {
    /// What need not be done before [`Egress::send`].
    fn capabilities(&self) -> Capabilities;

    /// Sends a frame.
    fn send(&mut self, frame: &TxFrame<'_>, hw: &mut Hw<'_>) -> Result<(), WireBusy>;
}

/// Transmit side of a port.
#[derive(Debug, Default)]
pub struct Transmit {}

impl Transmit {
    /// Puts everything back to the state after a reset of the function.
    pub(crate) fn reset(&mut self) {
        let Self {} = self;
    }

    /// Software has written a register of the chapter `Transmit`; `old` and `new` are its values before and after.
    pub(crate) fn written(
        &mut self,
        _reg: Reg,
        _index: usize,
        _old: u32,
        _new: u32,
        _hw: &mut Hw<'_>,
    ) {
    }

    /// Sends up to `budget` packets of the queues that have descriptors, in turns. Returns whether more can be done at
    /// once.
    pub(crate) fn step(
        &mut self,
        _budget: usize,
        _hw: &mut Hw<'_>,
        _egress: &mut dyn Egress,
    ) -> bool {
        false
    }
}
