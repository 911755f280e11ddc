//! Flow control of its own: PAUSE frames when the receive packet buffer fills (3.7.7.3, 8.2.3.3).
//!
//! A buffer that holds more than FCRTH asks the other end to be silent (XOFF) for the time of FCTTV, and again before
//! that is over (FCRTV), until it holds less than FCRTL and says so (XON). FCCFG chooses between one frame for the whole
//! link, for the first buffer, and priority flow control, a buffer for each traffic class (IEEE 802.1Qbb). Control
//! frames leave ahead of all others, also while transmit has to be silent itself.

use ixgbe_spec::register::{
    Reg,
    bits::{fccfg, fcrth, fcrtl, links},
};
use serde::{Deserialize, Serialize};

use crate::{
    hw::Hw,
    regs::RegisterFile,
    state::Shift,
    time::Time,
    tx::count_control_frame,
    wire::{Offload, TxFrame, Wire, WireBusy},
};

/// Number of traffic classes.
const CLASSES: usize = 8;
/// Length of a control frame without FCS.
const FRAME_LEN: usize = 60;
/// Where PAUSE frames go: to the other end of the cable and no further (IEEE 802.3 annex 31B).
const PAUSE_ADDRESS: [u8; 6] = [0x01, 0x80, 0xC2, 0x00, 0x00, 0x01];
const MAC_CONTROL: u16 = 0x8808;
const PAUSE: u16 = 0x0001;
/// Least time from one XOFF to the next, 51.2 us at 10 Gbit/s: settings that ask for more keep nobody busy.
const LEAST_QUANTA: u16 = 1000;
/// Threshold bits of FCRTH and FCRTL; they count bytes.
const THRESHOLD: u32 = 0x0007_FFE0;

/// What the other end was told last about each traffic class.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FlowControl {
    /// When XOFF has to be said again; `None` if it may send.
    off: [Option<Time>; CLASSES],
}

/// Which of the two kinds is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Link,
    Priority,
}

/// What is said about a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Xoff,
    Xon,
}

impl FlowControl {
    /// Puts everything back to the state after a reset of the function, or the loss of the link: the other end has
    /// forgotten, too.
    pub(crate) fn reset(&mut self) {
        let Self { off } = self;
        *off = [None; CLASSES];
    }

    /// On another clock.
    pub(crate) fn restored(self, shift: Shift) -> Self {
        Self {
            off: self.off.map(|again| shift.maybe(again)),
        }
    }

    /// When [`FlowControl::step`] has something to do.
    pub(crate) fn deadline(&self) -> Option<Time> {
        self.off.into_iter().flatten().min()
    }

    /// Tells the other end what the fill levels of the packet buffers, in bytes, ask for.
    pub(crate) fn step(&mut self, levels: [usize; CLASSES], hw: &mut Hw<'_>, wire: &mut dyn Wire) {
        let settings = hw.regs.get(Reg::FCCFG, 0);
        let (kind, classes) = if settings & fccfg::TFCE_PRIORITY != 0 {
            (Kind::Priority, CLASSES)
        } else if settings & fccfg::TFCE_LINK != 0 {
            (Kind::Link, 1)
        } else {
            return;
        };
        for (class, level) in levels.into_iter().enumerate().take(classes) {
            let Some(word) = self.wanted(class, level, hw) else {
                continue;
            };
            if word == Word::Xon && hw.regs.get(Reg::FCRTL, class) & fcrtl::XONE == 0 {
                // The time of the last XOFF runs out by itself.
                if let Some(off) = self.off.get_mut(class) {
                    *off = None;
                }
                continue;
            }
            let frame = frame(kind, word, class, hw.regs);
            let frame = TxFrame {
                head: &frame,
                payload: &[],
                offload: Offload::None,
            };
            match wire.transmit(&frame) {
                Ok(()) => self.said(kind, word, class, hw),
                // It is offered the frame again at a later step.
                Err(WireBusy) => self.postpone(hw),
            }
        }
    }

    /// Whether flow control is on at all.
    pub(crate) fn is_on(regs: &RegisterFile) -> bool {
        regs.get(Reg::FCCFG, 0) & (fccfg::TFCE_LINK | fccfg::TFCE_PRIORITY) != 0
    }

    /// Whether the other end of the cable is asked to be silent as a whole before the packet buffer runs over.
    pub(crate) fn holds_the_link(regs: &RegisterFile) -> bool {
        regs.get(Reg::FCCFG, 0) & fccfg::TFCE_LINK != 0
            && regs.get(Reg::FCRTH, 0) & fcrth::FCEN != 0
    }

    /// Lets nothing be due right now.
    fn postpone(&mut self, hw: &Hw<'_>) {
        let later = hw.now.plus_nanos(quanta_nanos(LEAST_QUANTA, hw.regs));
        for again in self.off.iter_mut().flatten() {
            *again = (*again).max(later);
        }
    }

    /// What has to be said about a class now, if anything.
    fn wanted(&self, class: usize, level: usize, hw: &Hw<'_>) -> Option<Word> {
        let high = hw.regs.get(Reg::FCRTH, class);
        let low = hw.regs.get(Reg::FCRTL, class);
        let exceeds = |threshold: u32| level > (threshold & THRESHOLD) as usize;
        match self.off.get(class).copied().flatten() {
            None => (high & fcrth::FCEN != 0 && exceeds(high)).then_some(Word::Xoff),
            Some(_) if !exceeds(low) => Some(Word::Xon),
            Some(again) => (again <= hw.now).then_some(Word::Xoff),
        }
    }

    /// Takes note of a frame that is on its way.
    fn said(&mut self, kind: Kind, word: Word, class: usize, hw: &mut Hw<'_>) {
        let counter = match (kind, word) {
            (Kind::Link, Word::Xoff) => Reg::LXOFFTXC,
            (Kind::Link, Word::Xon) => Reg::LXONTXC,
            (Kind::Priority, Word::Xoff) => Reg::PXOFFTXC,
            (Kind::Priority, Word::Xon) => Reg::PXONTXC,
        };
        hw.regs.count16(counter, class);
        let was_on = self.off.get(class).is_some_and(Option::is_none);
        if kind == Kind::Priority && was_on {
            hw.regs.count16(Reg::PXON2OFFCNT, class);
        }
        count_control_frame(hw.regs, &PAUSE_ADDRESS, FRAME_LEN);
        let quanta = timer(class, hw.regs).saturating_sub(refresh(hw.regs));
        let again = hw
            .now
            .plus_nanos(quanta_nanos(quanta.max(LEAST_QUANTA), hw.regs));
        if let Some(off) = self.off.get_mut(class) {
            *off = match word {
                Word::Xoff => Some(again),
                Word::Xon => None,
            };
        }
    }
}

/// Nanoseconds of so many times 512 bit times at the speed of the link.
pub(crate) fn quanta_nanos(quanta: u16, regs: &RegisterFile) -> u64 {
    let speed = regs.get(Reg::LINKS, 0) >> links::SPEED_SHIFT & links::SPEED_MASK;
    let tenths = if speed == links::SPEED_1G { 5120 } else { 512 };
    u64::from(quanta) * tenths / 10
}

/// The pause time of a class: FCTTV has two in each element.
fn timer(class: usize, regs: &RegisterFile) -> u16 {
    let [low0, low1, high0, high1] = regs.get(Reg::FCTTV, class / 2).to_le_bytes();
    u16::from_le_bytes(if class.is_multiple_of(2) {
        [low0, low1]
    } else {
        [high0, high1]
    })
}

fn refresh(regs: &RegisterFile) -> u16 {
    let [low, high, ..] = regs.get(Reg::FCRTV, 0).to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// The control frame, without FCS.
fn frame(kind: Kind, word: Word, class: usize, regs: &RegisterFile) -> [u8; FRAME_LEN] {
    let quanta = match word {
        Word::Xoff => timer(class, regs),
        Word::Xon => 0,
    };
    let [a, b, c, d] = regs.get(Reg::RAL, 0).to_le_bytes();
    let [e, f, ..] = regs.get(Reg::RAH, 0).to_le_bytes();
    let mut frame = [0; FRAME_LEN];
    put(&mut frame, 0, PAUSE_ADDRESS);
    put(&mut frame, 6, [a, b, c, d, e, f]);
    match kind {
        Kind::Link => {
            put(&mut frame, 12, MAC_CONTROL.to_be_bytes());
            put(&mut frame, 14, PAUSE.to_be_bytes());
            put(&mut frame, 16, quanta.to_be_bytes());
        }
        Kind::Priority => {
            let [type_low, type_high, opcode_low, opcode_high] =
                regs.get(Reg::PFCTOP, 0).to_le_bytes();
            put(&mut frame, 12, [type_high, type_low]);
            put(&mut frame, 14, [opcode_high, opcode_low]);
            // The priorities of the class, and a time for each of them.
            let mapping = regs.get(Reg::RTRUP2TC, 0);
            for priority in 0..8 {
                if (mapping >> (3 * priority) & 7) as usize == class {
                    frame[17] |= 1 << priority;
                    put(&mut frame, 18 + 2 * priority, quanta.to_be_bytes());
                }
            }
        }
    }
    frame
}

/// Writes `bytes` from `at` on; both are constants of [`frame`].
fn put<const N: usize>(frame: &mut [u8; FRAME_LEN], at: usize, bytes: [u8; N]) {
    frame[at..at + N].copy_from_slice(&bytes);
}
