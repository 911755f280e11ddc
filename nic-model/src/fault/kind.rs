//! The kinds of faults: names, where they belong, and what an occasion of each is.

use std::{fmt, str::FromStr, time::Duration};

use crate::{HardwareError, observe::Direction};

/// Who makes a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultRoom {
    /// The cable.
    Wire,
    /// The card.
    Card,
}

/// What one occasion of a fault is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// A frame on the wire.
    Frame,
    /// An interrupt's signal.
    Interrupt,
    /// A descriptor that is written back.
    WriteBack,
    /// A packet at the head of a transmit queue.
    Packet,
    /// An access to client memory.
    Access,
    /// A read of client memory.
    Read,
    /// A reset by software (CTRL.RST).
    Reset,
    /// The fault makes its own: one at once, and one after each `every`.
    Time,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// A frame is lost on the cable.
    Drop,
    /// A frame comes twice.
    Duplicate,
    /// A frame is overtaken by the next one of its direction.
    Reorder,
    /// A frame comes later; those behind it overtake it.
    Delay,
    /// A byte of a frame behind its addresses and type changes, and the FCS does not tell.
    Corrupt,
    /// A frame comes with a wrong FCS (CRCERRS).
    Crc,
    /// A frame's length field contradicts its length (RLEC).
    Length,
    /// A frame is cut off below the least length (RUC).
    Runt,
    /// A frame is longer than the card can take (ROC).
    Giant,
    /// The carrier goes, and comes back.
    LinkFlap,
    /// The module is drawn from the cage, until the fault ends.
    ModulePulled,
    /// An interrupt's message gets lost.
    InterruptLost,
    /// An interrupt's message comes late.
    InterruptLate,
    /// An interrupt comes that has no cause.
    InterruptSpurious,
    /// A descriptor is written back late, and those of its ring behind it.
    WriteBackLate,
    /// A descriptor is written back after the next one of its ring.
    WriteBackReorder,
    /// A transmit queue stops, until it is reset or disabled, or the fault ends.
    TransmitStuck,
    /// An access to client memory is refused (an unsupported request).
    DmaError,
    /// A read of client memory is answered with a poisoned TLP.
    DmaPoisoned,
    /// The page of an access is not mapped any more, until the fault ends.
    UnmappedPage,
    /// The page of an access is exchanged for one of other contents, until the fault ends.
    MemorySwitch,
    /// A bit of the NVM's contents flips, until the fault is cleared.
    NvmCorrupt,
    /// A reset by software takes long (CTRL.RST stays set).
    ResetSlow,
    /// An error that the card tells of, and no more.
    Hardware(HardwareError),
}

/// A text is the name of no kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of fault; there are {}", FaultKind::names().collect::<Vec<_>>().join(", "))]
pub struct UnknownFault;

impl FaultKind {
    /// All but the errors of the hardware.
    pub const MADE: [Self; 23] = [
        Self::Drop,
        Self::Duplicate,
        Self::Reorder,
        Self::Delay,
        Self::Corrupt,
        Self::Crc,
        Self::Length,
        Self::Runt,
        Self::Giant,
        Self::LinkFlap,
        Self::ModulePulled,
        Self::InterruptLost,
        Self::InterruptLate,
        Self::InterruptSpurious,
        Self::WriteBackLate,
        Self::WriteBackReorder,
        Self::TransmitStuck,
        Self::DmaError,
        Self::DmaPoisoned,
        Self::UnmappedPage,
        Self::MemorySwitch,
        Self::NvmCorrupt,
        Self::ResetSlow,
    ];

    /// Every kind.
    pub fn all() -> impl Iterator<Item = Self> {
        let errors = HardwareError::ALL.into_iter().map(Self::Hardware);
        Self::MADE.into_iter().chain(errors)
    }

    /// The names of all kinds.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::all().map(Self::name)
    }

    /// The name by which people choose it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drop => "drop",
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::Corrupt => "corrupt",
            Self::Crc => "crc",
            Self::Length => "length",
            Self::Runt => "runt",
            Self::Giant => "giant",
            Self::LinkFlap => "link-flap",
            Self::ModulePulled => "module-pulled",
            Self::InterruptLost => "interrupt-lost",
            Self::InterruptLate => "interrupt-late",
            Self::InterruptSpurious => "interrupt-spurious",
            Self::WriteBackLate => "write-back-late",
            Self::WriteBackReorder => "write-back-reorder",
            Self::TransmitStuck => "tx-stuck",
            Self::DmaError => "dma-error",
            Self::DmaPoisoned => "dma-poisoned",
            Self::UnmappedPage => "unmapped-page",
            Self::MemorySwitch => "memory-switch",
            Self::NvmCorrupt => "nvm-corrupt",
            Self::ResetSlow => "reset-slow",
            Self::Hardware(error) => error.name(),
        }
    }

    /// Who makes it.
    #[must_use]
    pub const fn room(self) -> FaultRoom {
        match self.occasion() {
            Occasion::Frame => FaultRoom::Wire,
            _ if matches!(self, Self::LinkFlap) => FaultRoom::Wire,
            _ => FaultRoom::Card,
        }
    }

    /// What an occasion of it is.
    #[must_use]
    pub const fn occasion(self) -> Occasion {
        match self {
            Self::Drop
            | Self::Duplicate
            | Self::Reorder
            | Self::Delay
            | Self::Corrupt
            | Self::Crc
            | Self::Length
            | Self::Runt
            | Self::Giant => Occasion::Frame,
            Self::InterruptLost | Self::InterruptLate => Occasion::Interrupt,
            Self::WriteBackLate | Self::WriteBackReorder => Occasion::WriteBack,
            Self::TransmitStuck => Occasion::Packet,
            Self::DmaError | Self::UnmappedPage | Self::MemorySwitch => Occasion::Access,
            Self::DmaPoisoned => Occasion::Read,
            Self::ResetSlow => Occasion::Reset,
            Self::LinkFlap
            | Self::ModulePulled
            | Self::InterruptSpurious
            | Self::NvmCorrupt
            | Self::Hardware(_) => Occasion::Time,
        }
    }

    /// Whether only frames that come can have it.
    const fn is_of_receive(self) -> bool {
        matches!(self, Self::Crc | Self::Length | Self::Runt | Self::Giant)
    }

    /// Whether it lasts from its occasion to its end, rather than for the occasion.
    #[must_use]
    pub const fn is_state(self) -> bool {
        matches!(
            self,
            Self::ModulePulled | Self::UnmappedPage | Self::MemorySwitch | Self::NvmCorrupt
        )
    }

    /// Whether one occasion is what is meant if nothing is said.
    #[must_use]
    pub const fn is_singular(self) -> bool {
        match self.occasion() {
            Occasion::Packet | Occasion::Access | Occasion::Read | Occasion::Time => true,
            Occasion::Frame | Occasion::Interrupt | Occasion::WriteBack | Occasion::Reset => false,
        }
    }

    /// How late or how long, if nothing is said.
    #[must_use]
    pub const fn usual_delay(self) -> Duration {
        match self {
            Self::LinkFlap => Duration::from_millis(500),
            Self::ResetSlow => Duration::from_millis(20),
            _ => Duration::from_millis(10),
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for FaultKind {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::all();
        all.find(|kind| kind.name() == text).ok_or(UnknownFault)
    }
}

/// What a fault is aimed at. What is not said is everything.
///
/// Only MSI-X with more than one vector (GPIE.Multiple_MSIX) has interrupts of queues. Otherwise one is for all causes: it is
/// aimed at if a queue that is meant is among the causes that it tells of. MSI and INTx have no vectors: with one, a fault
/// of interrupts never takes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Frames, rings and interrupts of this direction.
    pub direction: Option<Direction>,
    /// Packets, rings and interrupts of this queue, 0 to 127.
    pub queue: Option<u8>,
    /// This MSI-X vector, 0 to 63.
    pub vector: Option<u8>,
}

/// A fault cannot be aimed like this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTarget {
    /// The kind knows no queues.
    #[error("a fault of the kind {0} has no queue")]
    Queue(FaultKind),
    /// The kind knows no vectors.
    #[error("a fault of the kind {0} has no vector")]
    Vector(FaultKind),
    /// The kind knows no direction, or not this one.
    #[error("a fault of the kind {0} cannot have this direction")]
    Direction(FaultKind),
    /// A number is too high.
    #[error("queues are 0 to 127, vectors 0 to 63")]
    Range,
    /// A probability is none.
    #[error("a probability is a number from 0 to 1")]
    Probability,
}

impl super::Fault {
    /// Looks whether there can be such a fault.
    ///
    /// # Errors
    /// [`BadTarget`].
    pub fn check(&self) -> Result<(), BadTarget> {
        let (kind, target) = (self.kind, self.target);
        let (queues, vectors, directions) = match kind.occasion() {
            Occasion::Frame => (false, false, true),
            Occasion::Interrupt => (true, true, true),
            Occasion::WriteBack | Occasion::Access | Occasion::Read => (true, false, true),
            Occasion::Packet => (true, false, false),
            Occasion::Reset => (false, false, false),
            Occasion::Time => (false, matches!(kind, FaultKind::InterruptSpurious), false),
        };
        let wrong_way = target.direction.is_some_and(|direction| {
            !directions || direction == Direction::Transmit && kind.is_of_receive()
        });
        if target.queue.is_some() && !queues {
            Err(BadTarget::Queue(kind))
        } else if target.vector.is_some() && !vectors {
            Err(BadTarget::Vector(kind))
        } else if wrong_way {
            Err(BadTarget::Direction(kind))
        } else if target.queue.is_some_and(|queue| queue > 127)
            || target.vector.is_some_and(|vector| vector > 63)
        {
            Err(BadTarget::Range)
        } else if !(0.0..=1.0).contains(&self.trigger.probability) {
            Err(BadTarget::Probability)
        } else {
            Ok(())
        }
    }
}

impl Target {
    /// Whether a frame of this direction is aimed at.
    #[must_use]
    pub fn has_frame(&self, kind: FaultKind, direction: Direction) -> bool {
        let possible = direction == Direction::Receive || !kind.is_of_receive();
        possible && self.direction.is_none_or(|wanted| wanted == direction)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Fault, Trigger};

    #[test]
    fn every_kind_is_found_by_its_name_and_the_refusal_names_them_all() {
        let refusal = UnknownFault.to_string();

        for kind in FaultKind::all() {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert!(refusal.contains(kind.name()), "{kind}");
        }
        assert_eq!("gremlin".parse::<FaultKind>(), Err(UnknownFault));
    }

    #[test]
    fn a_target_that_a_kind_does_not_know_is_refused() {
        let aimed = |kind, target| {
            let trigger = Trigger::always(0);
            let (delay, every) = (None, None);
            Fault {
                kind,
                target,
                trigger,
                delay,
                every,
            }
            .check()
        };
        let queue = |queue| Target {
            queue: Some(queue),
            ..Target::default()
        };
        let sent = Target {
            direction: Some(Direction::Transmit),
            ..Target::default()
        };

        assert_eq!(aimed(FaultKind::TransmitStuck, queue(127)), Ok(()));
        assert_eq!(aimed(FaultKind::Drop, sent), Ok(()));
        assert_eq!(
            aimed(FaultKind::Drop, queue(1)),
            Err(BadTarget::Queue(FaultKind::Drop))
        );
        assert_eq!(
            aimed(FaultKind::Crc, sent),
            Err(BadTarget::Direction(FaultKind::Crc))
        );
        assert_eq!(
            aimed(FaultKind::NvmCorrupt, sent),
            Err(BadTarget::Direction(FaultKind::NvmCorrupt))
        );
        assert_eq!(
            aimed(FaultKind::DmaError, queue(128)),
            Err(BadTarget::Range)
        );
    }
}
