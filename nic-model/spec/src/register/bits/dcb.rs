//! Data centre bridging and rate limits of transmit (8.2.3.10).

/// DCB Transmit Descriptor Plane Control and Status (8.2.3.10).
pub mod rttdcs {
    /// Classes are arbitrated by weighted strict priority, not in turn.
    pub const TDPAC: u32 = 1 << 0;
    /// VM pools, or queues, are arbitrated by weight, not in turn.
    pub const VMPAC: u32 = 1 << 1;
    /// What a class need not have of a refill, others of its bandwidth group get.
    pub const TDRM: u32 = 1 << 4;
    /// The arbiter rests.
    pub const ARBDIS: u32 = 1 << 6;
}

/// DCB Transmit Packet Plane Control and Status (8.2.3.10).
pub mod rttpcs {
    /// Classes are arbitrated by weighted strict priority, not in turn.
    pub const TPPAC: u32 = 1 << 5;
    /// The arbiter rests.
    pub const ARBDIS: u32 = 1 << 6;
    /// What a class need not have of a refill, others of its bandwidth group get.
    pub const TPRM: u32 = 1 << 8;
}

/// DCB Transmit Packet Plane T2 Config (8.2.3.10), and the Descriptor Plane's, RTTDT2C.
pub mod rttpt2c {
    /// Credits of a refill, 64 bytes each.
    pub const CRQ: u32 = 0x1FF;
    /// Place of the bandwidth group.
    pub const BWG_SHIFT: u32 = 9;
    /// Bandwidth group, after the shift.
    pub const BWG_MASK: u32 = 7;
    /// Place of the most credits that a class can have.
    pub const MCL_SHIFT: u32 = 12;
    /// Most credits, after the shift.
    pub const MCL_MASK: u32 = 0xFFF;
    /// Strict priority in the group.
    pub const GSP: u32 = 1 << 30;
    /// Strict priority on the link.
    pub const LSP: u32 = 1 << 31;
}

/// Transmit Rate-Scheduler Config (8.2.3.10).
pub mod rttbcnrc {
    /// Rate factor: the speed of the link divided by the rate, a fixed point number.
    pub const RF: u32 = 0x00FF_FFFF;
    /// Bits of the rate factor after the point.
    pub const RF_INT_SHIFT: u32 = 14;
    /// The queue's rate is limited.
    pub const RS_ENA: u32 = 1 << 31;
}

/// Transmit Rate-Scheduler Memory (8.2.3.10), also RTTBCNRM.
pub mod rttqcnrm {
    /// What a queue may make up for, in KB.
    pub const MMW_SIZE: u32 = 0x7FF;
}
