//! Bits of the `FCoE` registers (8.2.3.15).

/// FC Receive Control.
pub mod fcrxctrl {
    /// Packets of a context interrupt at once where one of them is posted.
    pub const FCOELLI: u32 = 1 << 0;
    /// The header of the first data frame of a context is posted.
    pub const FRSTRDH: u32 = 1 << 2;
    /// The header of the last frame of a sequence is posted.
    pub const LASTSEQH: u32 = 1 << 3;
    /// The headers of all data frames are posted.
    pub const ALLH: u32 = 1 << 4;
    /// The header of the first frame of a sequence is posted.
    pub const FRSTSEQH: u32 = 1 << 5;
    /// Contexts take frames whose FC CRC is wrong.
    pub const ICRC: u32 = 1 << 6;
    /// The FC CRC is in the order of the Ethernet FCS, least significant byte first.
    pub const FCCRCBO: u32 = 1 << 7;
    /// Place of the `FCoE` version that is handled, 4 bits.
    pub const FCOEVER_SHIFT: u32 = 8;
}

/// FC Filter: what a filter context holds, along with FCPARAM.
pub mod fcflt {
    /// The context is in force.
    pub const VALID: u32 = 1 << 0;
    /// A frame has come for it.
    pub const FIRST: u32 = 1 << 1;
    /// Place of the id of the sequence that is received, 8 bits.
    pub const SEQ_ID_SHIFT: u32 = 8;
    /// Place of the sequence count that is expected, 16 bits.
    pub const SEQ_CNT_SHIFT: u32 = 16;
}

/// FC Filter Read/Write Control: which filter context is accessed, and how.
pub mod fcfltrw {
    /// The context.
    pub const SELECT: u32 = 0x1FF;
    /// With WE: only FCFLT.VALID is taken.
    pub const RVALDT: u32 = 1 << 13;
    /// FCFLT and FCPARAM go to the context.
    pub const WE: u32 = 1 << 14;
    /// The context goes to FCFLT and FCPARAM.
    pub const RE: u32 = 1 << 15;
}

/// FC Buffer Control: what a DMA context holds, along with FCPTRL, FCPTRH and FCDMARW.LASTSIZE.
pub mod fcbuff {
    /// The context is in force.
    pub const VALID: u32 = 1 << 0;
    /// Place of the size of a buffer, 2 bits: 4, 8, 16 or 64 KB.
    pub const SIZE_SHIFT: u32 = 3;
    /// The context is that of a target: data is written to it.
    pub const WRCONTX: u32 = 1 << 7;
    /// Place of the number of buffers, 8 bits; 0 is 256.
    pub const COUNT_SHIFT: u32 = 8;
    /// Place of the offset in the first buffer.
    pub const OFFSET_SHIFT: u32 = 16;
}

/// FC Receive DMA Read/Write: which DMA context is accessed, and how.
pub mod fcdmarw {
    /// The context.
    pub const SELECT: u32 = 0x1FF;
    /// FCPTRL, FCPTRH, FCBUFF and LASTSIZE go to the context.
    pub const WE: u32 = 1 << 14;
    /// The context goes to FCPTRL, FCPTRH, FCBUFF and LASTSIZE.
    pub const RE: u32 = 1 << 15;
    /// Place of the bytes in the last buffer, 16 bits.
    pub const LASTSIZE_SHIFT: u32 = 16;
}

/// `FCoE` Redirection Control.
pub mod fcrectl {
    /// FCRETA chooses the queue of a frame by the low bits of its exchange id.
    pub const ENA: u32 = 1 << 0;
}
