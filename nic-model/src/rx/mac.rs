//! What the MAC lets in: lengths, FCS, flow control; and what it counts (7.1.1, 8.2.3.22.8, 8.2.3.23).

use ixgbe_spec::register::{
    Reg,
    bits::{fctrl, hlreg0, mflcn},
};

use super::{
    DropReason,
    header::{ETHERNET_LEN, Headers, Tag, word},
    tally::Tally,
};
use crate::{
    link::pause::Pauses,
    regs::RegisterFile,
    time::Time,
    wire::{Fcs, RxFrame},
};

/// Length of the FCS.
pub(crate) const FCS_LEN: usize = 4;
/// Shortest frame, with FCS.
pub(crate) const MIN_LEN: usize = 64;
/// Longest frame without a tag if jumbo frames are off, with FCS.
const STANDARD_LEN: usize = 1518;
/// Longest frame that the card takes at all, with FCS: 15.5 KB.
pub(crate) const LONGEST_LEN: usize = 15_872;
/// Shortest payload of an Ethernet frame; shorter ones are padded.
const MIN_PAYLOAD: usize = 46;

/// Ethertype of MAC control frames (IEEE 802.3, 31).
pub(crate) const MAC_CONTROL: u16 = 0x8808;
const PAUSE: u16 = 0x0001;
const PRIORITY_PAUSE: u16 = 0x0101;

/// Whether a frame that may go on is in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Health {
    /// It is.
    Good,
    /// It has an error and goes on because FCTRL.SBP is set.
    Bad,
}

/// Counts an arriving frame and checks FCS and lengths.
///
/// # Errors
/// [`DropReason::Mac`] for a frame with an error, unless bad packets are stored.
#[inline]
pub(crate) fn inspect(
    frame: &RxFrame<'_>,
    headers: &Headers,
    tally: &mut Tally,
    regs: &mut RegisterFile,
) -> Result<Health, DropReason> {
    let len = frame.len() + FCS_LEN;
    tally.arrived(len);
    let Some(counter) = error(frame.fcs, len, headers, regs) else {
        tally.intact(len);
        return Ok(Health::Good);
    };
    regs.count(counter, 0, 1);
    if counter == Reg::RJC {
        // It has 64 bytes or more, as those that CRCERRS counts: drivers add up their errors without RJC.
        regs.count(Reg::CRCERRS, 0, 1);
    }
    let stored = regs.get(Reg::FCTRL, 0) & fctrl::SBP != 0
        && (ETHERNET_LEN + FCS_LEN..=LONGEST_LEN).contains(&len);
    if stored {
        Ok(Health::Bad)
    } else {
        Err(DropReason::Mac)
    }
}

/// The counter of what is wrong with a frame of `len` bytes, FCS included.
#[inline]
fn error(fcs: Fcs, len: usize, headers: &Headers, regs: &RegisterFile) -> Option<Reg> {
    let tags = usize::from(headers.tag.is_some()) + usize::from(headers.outer_tag);
    let longest = longest(tags, regs);
    let bad = fcs == Fcs::Bad;
    if len < MIN_LEN {
        return Some(if bad { Reg::RFC } else { Reg::RUC });
    }
    if len > longest {
        return Some(if bad { Reg::RJC } else { Reg::ROC });
    }
    if bad {
        return Some(Reg::CRCERRS);
    }
    let length = usize::from(headers.length?);
    if regs.get(Reg::HLREG0, 0) & hlreg0::RXLNGTHERREN == 0 {
        return None;
    }
    let header = ETHERNET_LEN + tags * Tag::LEN;
    let payload = len - FCS_LEN - header;
    let padded = length.max(MIN_PAYLOAD - tags * Tag::LEN);
    (length > payload || payload > padded).then_some(Reg::RLEC)
}

/// Longest frame with so many tags, FCS included.
#[inline]
pub(crate) fn longest(tags: usize, regs: &RegisterFile) -> usize {
    let longest = if regs.get(Reg::HLREG0, 0) & hlreg0::JUMBOEN == 0 {
        STANDARD_LEN
    } else {
        (regs.get(Reg::MAXFRS, 0) >> 16) as usize
    };
    (longest + tags * Tag::LEN).min(LONGEST_LEN)
}

/// Whether the FCS does not go to client memory (HLREG0.RXCRCSTRP).
#[inline]
pub(crate) fn strips_fcs(regs: &RegisterFile) -> bool {
    regs.get(Reg::HLREG0, 0) & hlreg0::RXCRCSTRP != 0
}

/// What becomes of a frame with regard to flow control (3.7.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// No MAC control frame.
    No,
    /// A MAC control frame that the filters may let through; it is not counted as a good packet.
    Pass,
    /// A MAC control frame that ends here.
    Discard,
}

/// Recognises MAC control frames, counts those that say pause, and tells `pauses` of them.
#[inline]
pub(crate) fn control(
    window: &[u8],
    headers: &Headers,
    pauses: &mut Pauses,
    now: Time,
    regs: &mut RegisterFile,
) -> Control {
    if headers.ethertype != MAC_CONTROL {
        return Control::No;
    }
    let settings = regs.get(Reg::MFLCN, 0);
    let at = usize::from(headers.l3_offset);
    match word(window, at) {
        Some(PAUSE) => {
            if settings & mflcn::RFCE != 0 {
                let quanta = word(window, at + 2).unwrap_or(0);
                regs.count16(on_or_off(quanta, Reg::LXONRXCNT, Reg::LXOFFRXCNT), 0);
                pauses.link(quanta, now, regs);
            }
        }
        Some(PRIORITY_PAUSE) => {
            if settings & mflcn::RPFCE != 0 {
                priority_pause(window, at, pauses, now, regs);
            }
        }
        _ if settings & mflcn::PMCF == 0 => return Control::Discard,
        _ => return Control::Pass,
    }
    if settings & mflcn::DPF == 0 {
        Control::Pass
    } else {
        Control::Discard
    }
}

/// Takes a priority flow control frame whose opcode is at `at`: a vector of the priorities it is about, then a time
/// for each (IEEE 802.1Qbb).
fn priority_pause(
    window: &[u8],
    at: usize,
    pauses: &mut Pauses,
    now: Time,
    regs: &mut RegisterFile,
) {
    let enabled = word(window, at + 2).unwrap_or(0);
    for priority in (0..8).filter(|priority| enabled >> priority & 1 == 1) {
        let quanta = word(window, at + 4 + 2 * priority).unwrap_or(0);
        let counter = on_or_off(quanta, Reg::PXONRXCNT, Reg::PXOFFRXCNT);
        regs.count16(counter, priority);
        pauses.priority(priority, quanta, now, regs);
    }
}

const fn on_or_off(quanta: u16, on: Reg, off: Reg) -> Reg {
    if quanta == 0 { on } else { off }
}
