//! What the stack counts.

/// What the stack has done, in packets unless it says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Received packets that the card has written into the guest's pages as a whole.
    pub rx_zero_copy: u64,
    /// Received packets whose payload the card has written into the guest's pages, and whose headers were copied there.
    pub rx_split: u64,
    /// Received packets that were copied into the guest's buffers.
    pub rx_copied: u64,
    /// Bytes that this process has copied for received packets, without virtio's header.
    pub rx_bytes_copied: u64,
    /// Those of them that were headers of [`Counters::rx_split`].
    pub rx_header_bytes_copied: u64,
    /// Those of them that went from the end of a chain to the beginning of the next one.
    pub rx_seam_bytes_copied: u64,
    /// Large receives: packets that the card has made of several, and that were counted once above.
    pub rx_large: u64,
    /// Received packets that the guest had no buffers for that they fit into, or that could not be handed over when their
    /// ring stopped, as a part was missing or the ring was broken. One that was in the guest's pages when its ring was found
    /// broken is counted above as well.
    pub rx_no_room: u64,
    /// Guest buffers that were given back unused: not memory, chains with no end, or of the wrong direction.
    pub rx_bad_chains: u64,
    /// Rings of the guest that were found broken: they are not in its memory, or announce what no ring has.
    pub broken_rings: u64,
    /// Packets that were sent out of the guest's pages.
    pub tx_zero_copy: u64,
    /// Bytes that this process has copied for packets to send: headers of those that the card segments.
    pub tx_bytes_copied: u64,
    /// Packets of the guest that were not sent: not memory, chains with no end, impossible offloads.
    pub tx_bad_chains: u64,
}
