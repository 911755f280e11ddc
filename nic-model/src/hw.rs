//! What the data path works with during one call.

use crate::{
    dma::Dma, faults::GuestFaults, interrupt::Interrupts, ipsec::IpSec, regs::RegisterFile,
    time::Time, timesync::TimeSync,
};

/// The parts of a port that receive and transmit share.
pub(crate) struct Hw<'a> {
    /// Now.
    pub(crate) now: Time,
    /// Client memory. Refuses everything while the function must not master the bus.
    pub(crate) dma: Dma<'a>,
    /// All registers, statistics included.
    pub(crate) regs: &'a mut RegisterFile,
    /// Where causes are reported.
    pub(crate) irq: &'a mut Interrupts,
    /// The system time, which stamps frames.
    pub(crate) timesync: &'a TimeSync,
    /// The security associations.
    pub(crate) ipsec: &'a IpSec,
    /// What the guest did wrong.
    pub(crate) faults: &'a mut GuestFaults,
}
