//! Causes, masks and vectors, and the queues that they are for.
//!
//! Drivers poll queues on purpose, mask vectors while they poll, and unmask all vectors whether they use them or not. So a
//! queue is only told of when its driver has never touched it, though it does use interrupts of others.

use ixgbe_spec::register::{
    Reg,
    bits::{eicr, gpie, ivar, rxdctl},
};

use super::{Rule, desk::Desk, finding::Subject, ring::Ring};
use crate::{
    bus::Signal,
    observe::{Direction, Scene},
};

/// `GCR_EXT.VT_Mode`: queues belong to virtual functions, which have vectors of their own.
const VT_MODE: u32 = 3;
/// Highest cause that a queue can have without GPIE.MULTIPLE_MSIX.
const HIGHEST_CAUSE: u8 = 15;

/// What is known of the interrupts. Bits of a `u64` are vectors, or without GPIE.MULTIPLE_MSIX queue causes; those of a
/// `u128` receive queues.
#[derive(Debug, Default)]
pub(super) struct Interrupts {
    /// Those that the driver has unmasked since the reset.
    unmasked: u64,
    /// Those that were unmasked at the end of the last call.
    mask: u64,
    /// GPIE.MULTIPLE_MSIX, at the end of the last call.
    multiple: bool,
    /// Those that were signalled since the reset, as a vector.
    signalled: u64,
    /// Those that are pending, and neither signalled nor read.
    unseen: u64,
    /// Those that the driver has cleared unseen, in this call.
    lost: u64,
    /// Queues that were enabled since the reset.
    enabled: u128,
    /// Queues that frames were steered to in this call, and that were not.
    stray: u128,
}

impl Interrupts {
    /// Software has read a register.
    pub(super) fn read(&mut self, reg: Reg, index: usize, value: u32) {
        match reg {
            Reg::EICR | Reg::EICS => self.unseen &= !low(value),
            Reg::EICS_EX => self.unseen &= !wide(index, value),
            _ => {}
        }
    }

    /// Software writes a register; nothing has come of it yet.
    pub(super) fn writes(&mut self, reg: Reg, index: usize, value: u32) {
        match reg {
            Reg::EIMS => self.unmasked |= low(value),
            Reg::EIMS_EX => self.unmasked |= wide(index, value),
            Reg::EICR => {
                // A driver that has had no interrupt by a vector does not wait for one.
                if self.multiple {
                    self.lost |= low(value) & self.unseen & self.mask & self.signalled;
                }
                self.unseen &= !low(value);
            }
            _ => {}
        }
    }

    /// Causes have become pending.
    pub(super) fn pending(&mut self, vectors: u64) {
        self.unseen |= vectors;
    }

    /// An interrupt was signalled.
    pub(super) fn signalled(&mut self, signal: Signal) {
        match signal {
            Signal::MsiX(vector) if self.multiple => {
                let bit = 1_u64.checked_shl(vector.into()).unwrap_or(0);
                self.signalled |= bit;
                self.unseen &= !bit;
            }
            _ => self.unseen = 0,
        }
    }

    /// A frame goes to a queue.
    pub(super) fn steered(&mut self, queue: u8) {
        self.stray |= bit(queue) & !self.enabled;
    }

    /// Software has written a register; `rings` are those that it has touched, `scene` shows what has become of it.
    pub(super) fn written<'a>(
        &mut self,
        (reg, index, value): (Reg, usize, u32),
        mut rings: impl Iterator<Item = &'a Ring>,
        scene: &Scene<'_>,
        desk: &Desk<'_>,
    ) {
        match reg {
            Reg::RXDCTL if scene.register(Reg::RXDCTL, index) & rxdctl::ENABLE != 0 => {
                self.enabled |= u8::try_from(index).map_or(0, bit);
            }
            Reg::EIMS | Reg::EIMS_EX
                if (reg == Reg::EIMS_EX || value & eicr::RTX_QUEUE != 0)
                    && scene.register(Reg::GPIE, 0) & gpie::MULTIPLE_MSIX == 0 =>
            {
                let out_of_reach = rings.find_map(|ring| {
                    let vector = vector(ring.direction(), ring.queue(), scene)?;
                    (ring.is_enabled() && vector > HIGHEST_CAUSE).then_some((ring, vector))
                });
                if let Some((ring, vector)) = out_of_reach {
                    desk.ring(Rule::VectorOutOfReach, ring, None, || {
                        format!(
                            "IVAR gives it {vector}; without GPIE.MULTIPLE_MSIX there are 0 to {HIGHEST_CAUSE}"
                        )
                    });
                }
            }
            _ => {}
        }
    }

    /// A call is over.
    pub(super) fn settle<'a>(
        &mut self,
        rings: impl Iterator<Item = &'a Ring> + Clone,
        scene: &Scene<'_>,
        desk: &Desk<'_>,
    ) {
        let mask = [0, 1].map(|half| wide(half, scene.register(Reg::EIMS_EX, half)));
        self.mask = mask[0] | mask[1];
        self.unmasked |= self.mask;
        self.multiple = scene.register(Reg::GPIE, 0) & gpie::MULTIPLE_MSIX != 0;
        let lost = std::mem::take(&mut self.lost);
        if lost != 0 {
            desk.other(Rule::CauseClearedUnseen, Subject::Port, || {
                let vector = lost.trailing_zeros();
                format!(
                    "a write of EICR clears the cause of vector {vector}, whose interrupt is still to come"
                )
            });
        }
        let stray = std::mem::take(&mut self.stray);
        // The card may have come with queues enabled, from a saved state.
        for queue in (0..128).filter(|queue| stray & bit(*queue) != 0) {
            if scene.register(Reg::RXDCTL, queue.into()) & rxdctl::ENABLE != 0 {
                self.enabled |= bit(queue);
            }
        }
        let stray = stray & !self.enabled;
        if scene.register(Reg::GCR_EXT, 0) & VT_MODE != 0 {
            return;
        }
        if stray != 0 {
            self.tell_stray(stray, scene, desk);
        }
        for ring in rings.clone() {
            if ring.is_forgotten(scene) {
                self.tell_forgotten(ring, rings.clone(), scene, desk);
            }
        }
    }

    /// A frame was steered to queues that were never enabled.
    fn tell_stray(&self, stray: u128, scene: &Scene<'_>, desk: &Desk<'_>) {
        for queue in (0..128).filter(|queue| stray & bit(*queue) != 0) {
            let Some(vector) = vector(Direction::Receive, queue, scene) else {
                continue;
            };
            if self.is_unmasked(vector) {
                let subject = Subject::queue(Direction::Receive, queue);
                desk.other(Rule::InterruptWithoutQueue, subject, || {
                    format!(
                        "a frame goes to it, and vector {vector} is unmasked for it, but it was never enabled"
                    )
                });
            }
        }
    }

    /// A queue has been filled, and its driver has not looked.
    fn tell_forgotten<'a>(
        &self,
        ring: &Ring,
        mut rings: impl Iterator<Item = &'a Ring>,
        scene: &Scene<'_>,
        desk: &Desk<'_>,
    ) {
        let own = vector(Direction::Receive, ring.queue(), scene);
        if own.is_some_and(|own| self.is_unmasked(own)) {
            return;
        }
        let other = rings.find_map(|other| {
            let receives = other.direction() == Direction::Receive && other.is_enabled();
            let vector = vector(Direction::Receive, other.queue(), scene)?;
            (receives && self.is_unmasked(vector)).then_some((other.queue(), vector))
        });
        let Some((queue, vector)) = other else {
            return;
        };
        desk.ring(Rule::QueueWithoutInterrupt, ring, None, || {
            let why = own.map_or_else(
                || "IVAR gives it no vector".to_owned(),
                |own| format!("its vector {own} was never unmasked"),
            );
            format!(
                "all its descriptors are filled and the driver has not looked: {why}, while receive queue {queue} has vector {vector}"
            )
        });
    }

    const fn is_unmasked(&self, vector: u8) -> bool {
        self.unmasked >> vector & 1 != 0
    }
}

/// What IVAR gives to a queue; `None` if it gives nothing.
fn vector(direction: Direction, queue: u8, scene: &Scene<'_>) -> Option<u8> {
    let shift = match (queue % 2, direction) {
        (0, Direction::Receive) => 0,
        (0, Direction::Transmit) => 8,
        (_, Direction::Receive) => 16,
        (_, Direction::Transmit) => 24,
    };
    let entry = scene.register(Reg::IVAR, usize::from(queue / 2)) >> shift;
    let vector = (entry & ivar::VECTOR) as u8;
    (entry & ivar::VALID != 0).then_some(vector)
}

/// The queue causes in a register of 32 causes.
const fn low(value: u32) -> u64 {
    (value & eicr::RTX_QUEUE) as u64
}

/// The vectors in element `index` of a register for each vector.
fn wide(index: usize, value: u32) -> u64 {
    let value = u64::from(value);
    if index == 0 { value } else { value << 32 }
}

const fn bit(queue: u8) -> u128 {
    1 << (queue & 0x7F)
}
