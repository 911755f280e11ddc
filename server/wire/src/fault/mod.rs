//! Faults of the cable, which somebody asks for while it runs.
//!
//! They stand between the person at the cable and the wire behind: what is injected has them as well, and a capture sees what
//! comes of them. Frames that the port sends are looked at as they lie on the cable, a large TCP frame as its segments. A
//! cable without faults pays a branch for each frame that it sends and each burst that comes.
//!
//! Each fault sees the frames of its directions in order; a frame that one of them drops is not seen by those after it.

mod lane;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use nic_model::{
    Time,
    fault::{Dice, Fault, FaultKind, FaultList, FaultReport, FaultState, Occasion, TooManyFaults},
    observe,
    wire::{Fcs, L4Checksum, RxFrame, TxFrame, WireBusy},
};

use crate::{
    Backend, Direction,
    passing::{Passing, Sight},
};
use lane::{Frame, Lane};

/// Bytes at the start of a frame that are not corrupted, so that it still gets to its receiver: addresses and type.
const SPARED: usize = 14;
/// Bytes of a frame that is too long for every setting of the card (MAXFRS is 15.5 KB at most), without FCS.
const GIANT: usize = 16_000;
/// Least and most bytes of a runt, without FCS.
const RUNT: std::ops::Range<usize> = 14..60;
/// Longest payload that a length field tells, as IEEE 802.3 has it.
const LONGEST_PAYLOAD: usize = 1500;
/// Frames that are handed to the wire behind in one turn.
const PER_TURN: usize = 256;
/// Least time between two flaps.
const LEAST_EVERY: Duration = Duration::from_millis(1);

/// The faults of a cable, and the frames that they hold.
#[derive(Debug, Default)]
pub(crate) struct WireFaults {
    list: FaultList,
    now: Time,
    coming: Lane,
    going: Lane,
    /// The wire behind has refused a frame since the last [`WireFaults::advance`].
    blocked: bool,
    /// When each flap comes next.
    next: BTreeMap<u64, Time>,
    /// Until when each flap keeps the carrier away.
    down: BTreeMap<u64, Time>,
    /// Frames that were taken off the cable.
    dropped: u64,
    sight: Sight,
}

impl WireFaults {
    /// One more fault.
    pub(crate) fn add(&mut self, id: u64, fault: Fault, now: Time) -> Result<(), TooManyFaults> {
        self.now = now;
        self.list.add(id, fault, now)?;
        // The list may have forgotten one for it. Nobody could clear it any more: its carrier comes back.
        let list = &self.list;
        let is_kept = |id: u64| list.iter().any(|armed| armed.id() == id);
        self.next.retain(|id, _| is_kept(*id));
        self.down.retain(|id, _| is_kept(*id));
        if fault.kind.occasion() == Occasion::Time {
            self.next.insert(id, now);
        }
        self.flap();
        Ok(())
    }

    /// Ends the fault of this number, or all. Frames that are under way still come at their time.
    pub(crate) fn clear(&mut self, id: Option<u64>) -> usize {
        let cleared = self.list.clear(id);
        for armed in &cleared {
            self.next.remove(&armed.id());
            self.down.remove(&armed.id());
        }
        cleared.len()
    }

    pub(crate) fn reports(&self) -> Vec<FaultReport> {
        self.list.iter().map(|armed| armed.report()).collect()
    }

    /// Whether nothing is left, so that there is no need to keep this.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
            && self.coming.is_empty()
            && self.going.is_empty()
            && self.down.is_empty()
    }

    /// Whether the carrier is away.
    pub(crate) fn is_down(&self) -> bool {
        !self.down.is_empty()
    }

    /// Frames that faults took off the cable.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The cable was pulled: what is on it is lost. Returns how many frames that were.
    pub(crate) fn lose_all(&mut self) -> usize {
        self.coming.clear().saturating_add(self.going.clear())
    }

    /// Whether frames have arrived that the port has not taken.
    pub(crate) fn has_frames(&self) -> bool {
        self.coming.is_due(self.now)
    }

    /// When something is due that is not due yet.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let armed = self.list.iter();
        let armed = armed.filter(|armed| armed.state() == FaultState::Armed);
        let flaps = armed.filter_map(|armed| self.next.get(&armed.id()).copied());
        let ends = self.list.iter().filter_map(nic_model::fault::Armed::end);
        let coming = self.coming.deadline().filter(|due| *due > self.now);
        let going = self.going.deadline().filter(|_| !self.blocked);
        let frames = coming.into_iter().chain(going);
        let down = self.down.values().copied();
        flaps.chain(ends).chain(frames).chain(down).min()
    }

    /// Time has passed.
    pub(crate) fn advance(&mut self, now: Time) {
        self.now = now;
        self.blocked = false;
        self.coming.advance(now);
        self.going.advance(now);
        for armed in self.list.iter_mut() {
            armed.expire(now);
        }
        self.down.retain(|_, until| *until > now);
        self.flap();
    }

    fn flap(&mut self) {
        let now = self.now;
        for armed in self.list.iter_mut() {
            let Some(next) = self.next.get_mut(&armed.id()) else {
                continue;
            };
            if *next > now {
                continue;
            }
            *next = now + armed.fault().every().max(LEAST_EVERY);
            if armed.takes(now) {
                let until = self.down.entry(armed.id()).or_insert(now);
                *until = (*until).max(now + armed.fault().delay());
            }
        }
    }

    /// A frame comes from the wire.
    pub(crate) fn comes(&mut self, frame: &RxFrame<'_>) {
        let frame = Frame {
            bytes: [frame.head, frame.body].concat(),
            fcs: frame.fcs,
            l4_checksum: frame.l4_checksum,
        };
        let lane = &mut self.coming;
        let direction = observe::Direction::Receive;
        if put(frame, direction, &mut self.list, lane, self.now) == Fate::Dropped {
            self.dropped = self.dropped.wrapping_add(1);
        }
    }

    /// How many frames may be taken from the wire so that `budget` can be handed out.
    pub(crate) fn wants(&self, budget: usize) -> usize {
        budget.saturating_sub(self.coming.due(self.now, budget))
    }

    /// The next frame that has arrived.
    pub(crate) fn arrived(&mut self) -> Option<Frame> {
        self.coming.take(self.now)
    }

    /// A frame goes to `wire`, and `look` sees what gets there.
    pub(crate) fn transmit(
        &mut self,
        frame: &TxFrame<'_>,
        wire: &mut impl Backend,
        look: &mut dyn FnMut(&Passing<'_>),
    ) -> Result<(), WireBusy> {
        self.depart(wire, look);
        // What is cut into many frames leaves in turns; more is not taken before.
        if self.blocked || self.going.is_due(self.now) {
            return Err(WireBusy);
        }
        let Self {
            list,
            going,
            now,
            sight,
            dropped,
            ..
        } = self;
        sight.sent(frame, &mut |passing| {
            let frame = Frame {
                bytes: [passing.head, passing.body].concat(),
                fcs: Fcs::Good,
                l4_checksum: L4Checksum::Unknown,
            };
            if put(frame, observe::Direction::Transmit, list, going, *now) == Fate::Dropped {
                *dropped = dropped.wrapping_add(1);
            }
        });
        self.depart(wire, look);
        Ok(())
    }

    /// Hands to the wire what has got to its end of the cable, a turn's worth of it; [`WireFaults::deadline`] has the rest.
    pub(crate) fn depart(&mut self, wire: &mut impl Backend, look: &mut dyn FnMut(&Passing<'_>)) {
        for _ in 0..PER_TURN {
            if self.blocked {
                return;
            }
            let Some(frame) = self.going.front(self.now) else {
                return;
            };
            let sent = TxFrame {
                head: &frame.bytes,
                payload: &[],
                offload: nic_model::wire::Offload::None,
            };
            if wire.transmit(&sent) == Err(WireBusy) {
                self.blocked = true;
                return;
            }
            look(&Passing {
                direction: Direction::Transmit,
                head: &frame.bytes,
                body: &[],
            });
            self.going.take(self.now);
        }
    }
}

/// What has become of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is on its lane.
    Carried,
    /// A fault has taken it.
    Dropped,
}

/// Puts a frame on its lane, with what goes wrong with it.
fn put(
    mut frame: Frame,
    direction: observe::Direction,
    list: &mut FaultList,
    lane: &mut Lane,
    now: Time,
) -> Fate {
    let mut copies = 1_usize;
    let mut due = now;
    let mut overtaken = None;
    for armed in list.iter_mut() {
        let fault = *armed.fault();
        let kind = fault.kind;
        let aimed = kind.occasion() == Occasion::Frame && fault.target.has_frame(kind, direction);
        if !aimed || !armed.takes(now) {
            continue;
        }
        match kind {
            FaultKind::Drop => return Fate::Dropped,
            FaultKind::Duplicate => copies = copies.saturating_add(1),
            FaultKind::Delay => due = due.max(now + fault.delay()),
            FaultKind::Reorder => overtaken = Some(now + fault.delay()),
            kind => damage(kind, &mut frame, armed.dice()),
        }
    }
    for _ in 1..copies {
        lane.push(frame.clone(), due, overtaken);
    }
    lane.push(frame, due, overtaken);
    Fate::Carried
}

/// Damages a frame.
fn damage(kind: FaultKind, frame: &mut Frame, dice: &mut Dice) {
    let bytes = &mut frame.bytes;
    let len = bytes.len();
    match kind {
        FaultKind::Crc => {
            frame.fcs = Fcs::Bad;
            return;
        }
        FaultKind::Corrupt => {
            let at = SPARED + dice.below(len.saturating_sub(SPARED));
            let [bits, ..] = dice.roll().to_le_bytes();
            if let Some(byte) = bytes.get_mut(at) {
                // Never the same byte.
                *byte ^= bits.max(1);
            }
        }
        FaultKind::Length => {
            // The payload is longer or shorter than what is told, and not by padding.
            let payload = len.saturating_sub(SPARED);
            let told = if payload < LONGEST_PAYLOAD {
                payload + 1 + dice.below(LONGEST_PAYLOAD - payload)
            } else {
                LONGEST_PAYLOAD - 1 - dice.below(LONGEST_PAYLOAD / 2)
            };
            let [low, high, ..] = told.to_le_bytes();
            if let Some(field) = bytes.get_mut(12..14) {
                field.copy_from_slice(&[high, low]);
            }
        }
        FaultKind::Runt => bytes.truncate(RUNT.start + dice.below(RUNT.len())),
        FaultKind::Giant => bytes.resize(GIANT.max(len), 0),
        _ => return,
    }
    frame.l4_checksum = L4Checksum::Unknown;
}
