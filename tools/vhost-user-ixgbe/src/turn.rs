//! What the two halves of a queue pair work with in one turn.

use crate::{
    counters::Counters,
    memory::{GuestRam, Mapped},
    negotiated::Negotiated,
};

/// One turn: up to so many packets each way.
#[derive(Debug)]
pub struct Turn<'a> {
    /// The guest's memory.
    pub ram: &'a GuestRam,
    /// The same, as it is mapped.
    pub memory: &'a Mapped,
    /// What front-end and guest have agreed on.
    pub negotiated: Negotiated,
    /// What is counted.
    pub counters: &'a mut Counters,
    /// Packets to move at most.
    pub budget: usize,
    /// Bytes of the longest frame, without FCS.
    pub frame_len: usize,
}
