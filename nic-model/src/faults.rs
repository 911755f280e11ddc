//! Counters of what a guest did wrong.

use serde::{Deserialize, Serialize};

/// How often a guest's driver did what the datasheet forbids, by kind. The outcome is what the card does (a dropped
/// frame, a stalled queue, an error bit); these counters are how one sees it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct GuestFaults {
    /// A descriptor ring lies (partly) in memory that the client did not map for it.
    pub ring_dma: u64,
    /// A buffer that a descriptor points to lies in memory that the client did not map for it.
    pub buffer_dma: u64,
    /// A tail at or past the end of its ring.
    pub tail_past_end: u64,
    /// A ring was enabled with length 0.
    pub ring_length: u64,
    /// A descriptor of a kind or with fields that the datasheet does not allow.
    pub descriptor: u64,
    /// A transmit offload whose context contradicts the frame (MSS 0, header longer than the frame, ...).
    pub offload: u64,
    /// A frame that its VM pool may not send (PFVFTE, PFVFSPOOF), or with no room for both addresses in it.
    pub pool: u64,
    /// An access of a width or alignment that no register has.
    pub register_access: u64,
}
