//! Faults that somebody asks for: of the cable and of the card.
//!
//! A fault is a kind ([`FaultKind`]), a target and a trigger. Its trigger says which of its occasions it takes; the chances are
//! those of a seed, so that the same traffic with the same seed has the same faults. Faults of the cable are made by the
//! wire (the crate `wire`), those of the card here: `memory` stands between the DMA engine and the bus, `signals` has a say in
//! what interrupts are signalled, `card` keeps what has been asked for, and `port/injected.rs` does what concerns the whole port.
//!
//! A fault makes the condition, and what the card does about it is its own way: a refused access is refused by the bus, a
//! stuck queue is a queue that is not served, a lost interrupt is a message that does not go out.
//!
//! A port without faults pays a branch for each packet it sends and none for a packet it receives: while a fault is at the
//! memory, the DMA engine has no windows and takes its slow way.
//!
//! Faults are not saved with a port: one that is restored goes on without, its stuck queues run, a slow reset is done, and
//! what a fault held back (write-backs, late interrupts) is lost with the port that was saved. What a fault has done to the
//! card's parts is saved as they are, and nobody undoes it: a module that is pulled is not there, and a bit of the NVM that
//! has flipped is the NVM's. Faults that were asked for of a port that becomes another by
//! [`Port::restore`](crate::Port::restore) go on with that one, but nothing that they have done before lasts.
//!
//! In a recording they are calls like others, and a replay has them at the same occasions.
//!
//! Not there: faults of a single access to a register, and of the accesses to the MSI-X table.

mod card;
mod kind;
mod memory;
mod signals;
#[cfg(test)]
mod tests;
mod trigger;

pub(crate) use card::{CardFaults, Deed};
pub use kind::{BadTarget, FaultKind, FaultRoom, Occasion, Target, UnknownFault};
pub use trigger::{
    Armed, Dice, Fault, FaultList, FaultReport, FaultState, MAX_FAULTS, TooManyFaults, Trigger,
};
