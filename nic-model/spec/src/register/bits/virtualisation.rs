//! Virtualisation inside a function: pools and the switch between them (8.2.3.17, 8.2.3.27).

/// Virtual Control (8.2.3.27).
pub mod vt_ctl {
    /// Pools are in force.
    pub const VT_ENA: u32 = 1 << 0;
    /// Place of the default pool, 6 bits.
    pub const DEF_PL_SHIFT: u32 = 7;
    /// Frames that belong to no pool are dropped instead of going to the default pool.
    pub const DIS_DEF_POOL: u32 = 1 << 29;
    /// A frame can go to several pools.
    pub const RPL_EN: u32 = 1 << 30;
}

/// VM L2 Control (8.2.3.27), also PFVML2FLT: what else than its addresses a pool accepts.
pub mod vmolr {
    /// Untagged frames.
    pub const AUPE: u32 = 1 << 24;
    /// Multicasts by the multicast table.
    pub const ROMPE: u32 = 1 << 25;
    /// Unicasts by the unicast table.
    pub const ROPE: u32 = 1 << 26;
    /// Broadcasts.
    pub const BAM: u32 = 1 << 27;
    /// Every multicast.
    pub const MPE: u32 = 1 << 28;
}

/// VM VLAN Pool Filter (8.2.3.27).
pub mod vlvf {
    /// VLAN id.
    pub const VLAN_ID: u32 = 0xFFF;
    /// The entry is in force.
    pub const VI_EN: u32 = 1 << 31;
}

/// Mirror Rule Control (8.2.3.27).
pub mod mrctl {
    /// What goes to the pools of VMRVM is mirrored.
    pub const VPME: u32 = 1 << 0;
    /// What comes from the network is mirrored.
    pub const UPME: u32 = 1 << 1;
    /// What goes to the network is mirrored.
    pub const DPME: u32 = 1 << 2;
    /// What has a VLAN of VMRVLAN is mirrored.
    pub const VLME: u32 = 1 << 3;
    /// Place of the pool that gets the copies, 6 bits.
    pub const MP_SHIFT: u32 = 8;
}

/// Multiple Transmit Queues Command (8.2.3.9.15).
pub mod mtqc {
    /// Queues belong to traffic classes (DCB).
    pub const RT_ENA: u32 = 1 << 0;
    /// Queues belong to pools.
    pub const VT_ENA: u32 = 1 << 1;
    /// Place of the number of queues in a pool, 2 bits: 1 two, 2 four, 3 eight. With traffic classes, 2 means four of
    /// them and 3 eight.
    pub const QUEUES_SHIFT: u32 = 2;
}

/// VM VLAN Insert (8.2.3.27).
pub mod vmvir {
    /// Tag that is inserted.
    pub const PORT_VLAN: u32 = 0xFFFF;
    /// Place of what is done, 2 bits: 0 what the descriptor says, 1 the tag is always inserted, 2 never.
    pub const VLANA_SHIFT: u32 = 30;
}

/// DMA Tx General Switch Control (8.2.3.27).
pub mod pfdtxgswc {
    /// Frames for pools of this port are looped back.
    pub const LBE: u32 = 1 << 0;
}

/// PF Mailbox (8.2.3.27).
pub mod pfmailbox {
    /// There is a message for the VF; reads 0.
    pub const STS: u32 = 1 << 0;
    /// The VF's message was read; reads 0.
    pub const ACK: u32 = 1 << 1;
    /// The PF owns the memory. The VF's bit stands where it does in [`vfmailbox`](super::vfmailbox).
    pub const PFU: u32 = 1 << 3;
    /// Takes the memory from the VF, and forgets what it has told; reads 0.
    pub const RVFU: u32 = 1 << 4;
}

/// VF Mailbox (8.3), as the PF sees it.
pub mod vfmailbox {
    /// There is a message for the PF; reads 0.
    pub const REQ: u32 = 1 << 0;
    /// The PF's message was read; reads 0.
    pub const ACK: u32 = 1 << 1;
    /// The VF owns the memory.
    pub const VFU: u32 = 1 << 2;
    /// The PF owns the memory.
    pub const PFU: u32 = 1 << 3;
    /// The PF has a message.
    pub const PFSTS: u32 = 1 << 4;
    /// The PF has read the message.
    pub const PFACK: u32 = 1 << 5;
    /// The PF is being reset.
    pub const RSTI: u32 = 1 << 6;
    /// The PF's reset is over.
    pub const RSTD: u32 = 1 << 7;
    /// What a read clears.
    pub const READ_TO_CLEAR: u32 = PFSTS | PFACK | RSTD;
}

/// PF Mailbox Interrupt Causes (8.2.3.27).
pub mod pfmbicr {
    /// Place of the VFs that have read a message; those that have one stand in the low half.
    pub const VFACK_SHIFT: u32 = 16;
}

/// VF Control (8.3), as the PF sees it.
pub mod vtctrl {
    /// The VF is reset; reads 0.
    pub const RST: u32 = 1 << 26;
}
