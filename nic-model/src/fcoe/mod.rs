//! Fibre Channel over Ethernet (7.13): the FC CRC, direct data placement, and sequences that are cut.
//!
//! **Receive.** Frames of an ethertype filter with ETQF.FCOE are FC frames; FCRECTL spreads them over queues. The filter
//! unit (`filter`) checks the FC CRC and looks for the context of the frame's exchange (`context`, 512 of them). Data
//! that comes in order goes straight to the user buffers of the context (`placement`), and the ring gets no more than
//! the headers that FCRXCTRL asks for. What does not fit is in the ring as a whole, with the reason in its descriptor,
//! and its context is invalid from then on.
//!
//! **Transmit.** A packet whose context has TUCMD.FCOE gets its SOF, its FC CRC and its EOF; a large one is cut into the
//! frames of a sequence (`sequence`).
//!
//! Choices where neither the datasheet nor a driver says it:
//! - A frame belongs to an initiator's context by OX_ID if its sender has answered the exchange, to a target's
//!   (FCBUFF.WRCONTX) by RX_ID if its sender has begun it.
//! - Solicited FCP data with a relative offset is placed; an `FCP_RSP` ends the context; other frames of the exchange pass.
//! - A target's context stays in force after the last frame of a sequence; software ends it.
//! - Frames with a wrong FC CRC are always posted, whatever FCRXCTRL.SAVBAD says: Linux expects them without it.
//! - A VFT header before the FC header and optional headers behind it are stepped over. Frames of another version, cut
//!   short or not a multiple of four bytes are ordinary frames.
//! - FCOEPRC counts frames that have reached the ring or the user buffers. The counters of DWords have FC headers,
//!   payload and FC CRC.
//! - Between segments F_CTL loses End_Sequence, Sequence Initiative, the continue condition and the fill bytes, which
//!   belong to the last frame; what the other bits say goes into each.
//!
//! Not implemented: contexts for frames that are copied to several VM pools or come from one.

mod context;
mod filter;
mod frame;
mod placement;
mod sequence;
#[cfg(test)]
pub(crate) mod tests;

use ixgbe_spec::register::{Reg, bits::fcrectl};

use context::Contexts;
pub(crate) use context::Saved;
pub(crate) use filter::Arrival;
use frame::FcHeader;
pub(crate) use placement::{Extent, Posting};
pub(crate) use sequence::Sequence;

use crate::{regs::RegisterFile, rx::header::Headers, state::StateError};

/// The receive side of `FCoE` in a port.
#[derive(Debug, Default)]
pub(crate) struct Fcoe {
    contexts: Contexts,
}

impl Fcoe {
    /// The state after a reset: no context is in force.
    pub(crate) fn reset(&mut self) {
        let Self { contexts } = self;
        contexts.clear();
    }

    /// The saved form: the contexts that are not as before software wrote any.
    pub(crate) fn save(&self) -> Saved {
        let Self { contexts } = self;
        contexts.save()
    }

    /// Of the saved form.
    ///
    /// # Errors
    /// A context that there is not, or that says what none can.
    pub(crate) fn restore(saved: Saved) -> Result<Self, StateError> {
        let contexts = Contexts::restore(saved)?;
        Ok(Self { contexts })
    }

    /// Software has written a register of the chapter.
    pub(crate) fn written(&mut self, reg: Reg, regs: &mut RegisterFile) {
        match reg {
            Reg::FCFLTRW => self.contexts.filter_accessed(regs),
            Reg::FCDMARW => self.contexts.dma_accessed(regs),
            _ => {}
        }
    }
}

/// The queue of an FC frame by its exchange id (FCRETA), if FCRECTL spreads them (7.1.2.4).
pub(crate) fn redirection(window: &[u8], headers: &Headers, regs: &RegisterFile) -> Option<u8> {
    if regs.get(Reg::FCRECTL, 0) & fcrectl::ENA == 0 {
        return None;
    }
    let header = FcHeader::parse(window, headers)?;
    let entry = regs.get(Reg::FCRETA, usize::from(header.exchange() & 7));
    Some((entry & 0x7F) as u8)
}
