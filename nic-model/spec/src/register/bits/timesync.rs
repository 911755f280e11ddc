//! Bits of the time sync registers (8.2.3.16).

/// Rx Time Sync Control.
pub mod tsyncrxctl {
    /// RXSTMP and RXSATR hold a time stamp, and no other is taken.
    pub const VALID: u32 = 1 << 0;
    /// Place of the type.
    pub const TYPE_SHIFT: u32 = 1;
    /// Type, after the shift.
    pub const TYPE_MASK: u32 = 7;
    /// Type: version 2 over Ethernet.
    pub const L2_V2: u32 = 0;
    /// Type: version 1 over UDP.
    pub const L4_V1: u32 = 1;
    /// Type: version 2 over Ethernet and UDP.
    pub const L2_L4_V2: u32 = 2;
    /// Type: all event messages of version 2, over Ethernet and UDP.
    pub const EVENT_V2: u32 = 5;
    /// Time stamps are taken.
    pub const EN: u32 = 1 << 4;
}

/// Tx Time Sync Control.
pub mod tsynctxctl {
    /// TXSTMP holds a time stamp, and no other is taken.
    pub const VALID: u32 = 1 << 0;
    /// Time stamps are taken.
    pub const EN: u32 = 1 << 4;
}

/// Rx Message Type.
pub mod rxmtrl {
    /// CTRLT: control field of the version 1 messages to stamp.
    pub const CTRLT: u32 = 0xFF;
    /// Place of MSGT, the message id of the version 2 messages to stamp.
    pub const MSGT_SHIFT: u32 = 8;
    /// MSGT, after the shift.
    pub const MSGT_MASK: u32 = 0xFF;
    /// Place of UDPT, the UDP port of messages.
    pub const UDPT_SHIFT: u32 = 16;
}

/// Increment Attributes.
pub mod timinca {
    /// What SYSTIM grows by in a period.
    pub const VALUE: u32 = 0x00FF_FFFF;
    /// Place of the period, in ticks of the clock.
    pub const PERIOD_SHIFT: u32 = 24;
}

/// Time Sync Auxiliary Control.
pub mod tsauxc {
    /// Target time 0 is awaited; clears itself when it is reached. That of target time 1 follows.
    pub const EN_TT0: u32 = 1 << 0;
    /// Auxiliary time stamp 0 is taken when its pin changes. That of auxiliary time stamp 1 is two bits higher.
    pub const EN_TS0: u32 = 1 << 8;
    /// Auxiliary time stamp 0 was taken, and no other is. That of auxiliary time stamp 1 is two bits higher.
    pub const AUTT0: u32 = 1 << 9;
}

/// Time Adjustment High.
pub mod timadjh {
    /// The adjustment is subtracted.
    pub const SIGN: u32 = 1 << 31;
}
