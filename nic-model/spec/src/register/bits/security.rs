//! Bits of the security block: what stops it, and `IPsec`.

/// Security Tx Control (8.2.3.12.1).
pub mod sectxctrl {
    /// The security block is off, frames pass it by.
    pub const SECTX_DIS: u32 = 1 << 0;
    /// No frame enters the security block.
    pub const TX_DIS: u32 = 1 << 1;
}

/// Security Rx Control (8.2.3.12.6).
pub mod secrxctrl {
    /// The security block is off, frames pass it by.
    pub const SECRX_DIS: u32 = 1 << 0;
    /// No frame enters the security block.
    pub const RX_DIS: u32 = 1 << 1;
}

/// `IPsec` Tx Index and `IPsec` Rx Index (8.2.3.13): a command on one entry of a table.
pub mod ipsidx {
    /// Frames are looked up in the tables.
    pub const EN: u32 = 1 << 0;
    /// Place of the table, of receive only.
    pub const TABLE_SHIFT: u32 = 1;
    /// The table of IP addresses, after the shift.
    pub const TABLE_IP: u32 = 1;
    /// The table of SPIs, after the shift.
    pub const TABLE_SPI: u32 = 2;
    /// The table of keys, after the shift.
    pub const TABLE_KEY: u32 = 3;
    /// Table selection, after the shift.
    pub const TABLE_MASK: u32 = 3;
    /// Place of the entry's index.
    pub const INDEX_SHIFT: u32 = 3;
    /// Index, after the shift.
    pub const INDEX_MASK: u32 = 0x3FF;
    /// The entry goes to the data registers; clears itself.
    pub const READ: u32 = 1 << 30;
    /// The data registers go to the entry; clears itself.
    pub const WRITE: u32 = 1 << 31;
}

/// `IPsec` Rx Mode (8.2.3.13).
pub mod ipsrxmod {
    /// The entry is in use.
    pub const VALID: u32 = 1 << 0;
    /// ESP, otherwise AH.
    pub const ESP: u32 = 1 << 2;
    /// The payload is encrypted, otherwise authenticated only.
    pub const DECRYPT: u32 = 1 << 3;
    /// The IP address is one of IPv6.
    pub const IPV6: u32 = 1 << 4;
}
