//! Interrupts: causes, masks, moderation, and the signals that come of them (7.3).

use crate::regs::RegisterFile;

/// Interrupt state of a port.
#[derive(Debug, Default)]
pub struct Interrupts {}

impl Interrupts {
    /// Receive queue `queue` has written back a packet's last descriptor (7.3.1).
    pub(crate) fn rx_queue(&mut self, _regs: &mut RegisterFile, _queue: usize) {}

    /// Transmit queue `queue` has written back a descriptor or its head (7.3.1).
    pub(crate) fn tx_queue(&mut self, _regs: &mut RegisterFile, _queue: usize) {}

    /// Sets causes outside the queues, EICR bits 31:16 (8.2.3.5.1).
    pub(crate) fn other(&mut self, _regs: &mut RegisterFile, _causes: u32) {}
}
