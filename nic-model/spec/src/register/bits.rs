//! Bits of the registers that the model acts on, one module per register.

mod dcb;
mod fcoe;
mod receive;
mod security;
mod timesync;
mod virtualisation;

pub use dcb::*;
pub use fcoe::*;
pub use receive::*;
pub use security::*;
pub use timesync::*;
pub use virtualisation::*;

/// Device Control (8.2.3.1.1).
pub mod ctrl {
    /// GIO master disable: no new request of the function's own on the bus.
    pub const GIO_DIS: u32 = 1 << 2;
    /// Link reset; clears itself.
    pub const LRST: u32 = 1 << 3;
    /// Device reset; clears itself.
    pub const RST: u32 = 1 << 26;
}

/// Device Status (8.2.3.1.2).
pub mod status {
    /// Place of the LAN id.
    pub const LAN_ID_SHIFT: u32 = 2;
    /// The link is up.
    pub const LINK_UP: u32 = 1 << 7;
    /// Place of the number of virtual functions that are enabled.
    pub const VFS_SHIFT: u32 = 10;
    /// All bits of that number.
    pub const VFS_MASK: u32 = 0xFF << VFS_SHIFT;
    /// Virtual functions are enabled.
    pub const IOV_ACTIVE: u32 = 1 << 18;
    /// The function may issue requests, or still has some open.
    pub const GIO: u32 = 1 << 19;
}

/// Extended Device Control (8.2.3.1).
pub mod ctrl_ext {
    /// PF reset done; clears itself.
    pub const PFRSTD: u32 = 1 << 14;
    /// Frames may carry two VLAN tags.
    pub const EXTENDED_VLAN: u32 = 1 << 26;
}

/// Extended SDP Control (8.2.3.1).
pub mod esdp {
    /// Loss of signal, an input on SFP+ boards.
    pub const SDP1: u32 = 1 << 1;
    /// Module present, an input on SFP+ boards.
    pub const SDP2: u32 = 1 << 2;
    /// `TX_DISABLE` of the module, an output on SFP+ boards.
    pub const SDP3: u32 = 1 << 3;
    /// Place of the direction bits; 1 is an output.
    pub const DIRECTION_SHIFT: u32 = 8;
    /// Place of the bits that give a pin to its native function.
    pub const NATIVE_SHIFT: u32 = 16;
}

/// I2C Control (8.2.3.1).
pub mod i2cctl {
    /// Clock line as it is.
    pub const CLK_IN: u32 = 1 << 0;
    /// Clock line, 0 pulls it down.
    pub const CLK_OUT: u32 = 1 << 1;
    /// Data line as it is.
    pub const DATA_IN: u32 = 1 << 2;
    /// Data line, 0 pulls it down.
    pub const DATA_OUT: u32 = 1 << 3;
}

/// EEPROM/Flash Control (8.2.3.2).
pub mod eec {
    /// Clock to the EEPROM.
    pub const SK: u32 = 1 << 0;
    /// Chip select of the EEPROM, 0 selects it (the pin is low-active).
    pub const CS: u32 = 1 << 1;
    /// Data to the EEPROM.
    pub const DI: u32 = 1 << 2;
    /// Data from the EEPROM.
    pub const DO: u32 = 1 << 3;
    /// What may be done to the flash other than by its pins.
    pub const FWE_MASK: u32 = 3 << 4;
    /// Of [`FWE_MASK`]: it may be erased, by FLA.
    pub const FWE_ERASE: u32 = 0 << 4;
    /// Of [`FWE_MASK`]: it may be written, in BAR0.
    pub const FWE_WRITE: u32 = 2 << 4;
    /// Software asks for the pins.
    pub const REQ: u32 = 1 << 6;
    /// Software has the pins.
    pub const GNT: u32 = 1 << 7;
    /// Place of the size: of n, 2^(n + [`SIZE_UNIT`]) words.
    pub const SIZE_SHIFT: u32 = 11;
    /// The size, after the shift.
    pub const SIZE_MASK: u32 = 0xF;
    /// Logarithm of the words of a chip whose size is 0.
    pub const SIZE_UNIT: u32 = 6;
}

/// Flash Access (8.2.3.2).
pub mod fla {
    /// Clock to the flash.
    pub const SK: u32 = 1 << 0;
    /// Chip select of the flash, 0 selects it (the pin is low-active).
    pub const CE: u32 = 1 << 1;
    /// Data to the flash.
    pub const SI: u32 = 1 << 2;
    /// Data from the flash.
    pub const SO: u32 = 1 << 3;
    /// Software asks for the pins.
    pub const REQ: u32 = 1 << 4;
    /// Software has the pins.
    pub const GNT: u32 = 1 << 5;
    /// Erases the flash; clears itself.
    pub const FL_ER: u32 = 1 << 31;
}

/// EEPROM Read (8.2.3.2), and EEPROM Write, which is laid out in the same way.
pub mod eerd {
    /// Starts a read, or a write.
    pub const START: u32 = 1 << 0;
    /// The data is there, or written.
    pub const DONE: u32 = 1 << 1;
    /// Place of the word address.
    pub const ADDR_SHIFT: u32 = 2;
    /// Word address, after the shift.
    pub const ADDR_MASK: u32 = 0x3FFF;
    /// Place of the data.
    pub const DATA_SHIFT: u32 = 16;
}

/// Software Semaphore.
pub mod swsm {
    /// Semaphore between software; the read that finds it 0 takes it.
    pub const SMBI: u32 = 1 << 0;
    /// All bits that are stored.
    pub const STORED: u32 = 0x7;
}

/// Extended Interrupt Cause and its masks (8.2.3.5.1).
pub mod eicr {
    /// Queues (legacy, MSI) or vectors (MSI-X).
    pub const RTX_QUEUE: u32 = 0x0000_FFFF;
    /// Flow Director: a filter could not be added or removed, or few are left.
    pub const FLOW_DIR: u32 = 1 << 16;
    /// The packet buffer overran.
    pub const RX_MISS: u32 = 1 << 17;
    /// PCIe exception.
    pub const PCI: u32 = 1 << 18;
    /// Mailbox event.
    pub const MAILBOX: u32 = 1 << 19;
    /// Link status change.
    pub const LSC: u32 = 1 << 20;
    /// `LinkSec` packet number.
    pub const LINKSEC: u32 = 1 << 21;
    /// Manageability event.
    pub const MNG: u32 = 1 << 22;
    /// SDP0; SDP1 to 3 follow.
    pub const GPI_SDP0: u32 = 1 << 24;
    /// ECC error.
    pub const ECC: u32 = 1 << 28;
    /// Descriptor handler error.
    pub const DHER: u32 = 1 << 29;
    /// The TCP timer ran out.
    pub const TCP_TIMER: u32 = 1 << 30;
    /// A cause among [`OTHER_CAUSES`] is pending and enabled.
    pub const OTHER: u32 = 1 << 31;
    /// Causes that [`OTHER`] sums up.
    pub const OTHER_CAUSES: u32 = 0x3FFF_0000;
}

/// General Purpose Interrupt Enable (8.2.3.5).
pub mod gpie {
    /// A rise of SDP0 is a cause; the bit of SDP1 follows.
    pub const SDP0_GPIEN: u32 = 1 << 0;
    /// A rise of SDP1 is a cause.
    pub const SDP1_GPIEN: u32 = 1 << 1;
    /// A rise of SDP2 is a cause.
    pub const SDP2_GPIEN: u32 = 1 << 2;
    /// A vector per queue group, by IVAR.
    pub const MULTIPLE_MSIX: u32 = 1 << 4;
    /// A read of EICR clears only the causes outside the queues.
    pub const OCD: u32 = 1 << 5;
    /// A cause set through EICS is not moderated.
    pub const EIMEN: u32 = 1 << 6;
    /// Place of `LL_INTERVAL`, 4 bits: the time in which each vector gets a credit for a low latency interrupt.
    pub const LL_INTERVAL_SHIFT: u32 = 7;
    /// Its unit at 1 and 10 Gbit/s, in ns.
    pub const LL_INTERVAL_NANOS: u64 = 4_000;
    /// An MSI-X message masks its vector, by EIAM.
    pub const EIAME: u32 = 1 << 30;
    /// Setting a bit of EIMS clears the vector's pending bit.
    pub const PBA_SUPPORT: u32 = 1 << 31;
}

/// Extended Interrupt Throttle (8.2.3.5).
pub mod eitr {
    /// Place of the interval.
    pub const INTERVAL_SHIFT: u32 = 3;
    /// Interval after the shift, in units of [`UNIT_NANOS`].
    pub const INTERVAL_MASK: u32 = 0x1FF;
    /// Low latency interrupts are moderated as well, by credits.
    pub const LLI_MOD: u32 = 1 << 15;
    /// Place of the credits.
    pub const LLI_CREDIT_SHIFT: u32 = 16;
    /// Credits after the shift: as many as a vector can have.
    pub const LLI_CREDIT_MASK: u32 = 0x1F;
    /// Place of the counter's 7 most significant bits (of 9).
    pub const COUNTER_SHIFT: u32 = 21;
    /// Counter after the shift.
    pub const COUNTER_MASK: u32 = 0x7F;
    /// Leave the counter as it is; write only.
    pub const CNT_WDIS: u32 = 1 << 31;
    /// What is stored: interval and `LLI_MOD`.
    pub const STORED: u32 = 0x0000_8FF8;
    /// Unit of interval and counter at 1 and 10 Gbit/s, in ns.
    pub const UNIT_NANOS: u64 = 2048;
}

/// An entry of IVAR and `IVAR_MISC` (8.2.3.5).
pub mod ivar {
    /// The entry counts.
    pub const VALID: u32 = 1 << 7;
    /// Vector.
    pub const VECTOR: u32 = 0x3F;
}

/// TCP Timer (8.2.3.14).
pub mod tcptimer {
    /// Duration in ms.
    pub const DURATION: u32 = 0xFF;
    /// Start from the duration; reads 0.
    pub const KICK_START: u32 = 1 << 8;
    /// Count.
    pub const COUNT_ENABLE: u32 = 1 << 9;
    /// Raise the interrupt now and start over; reads 0.
    pub const COUNT_FINISH: u32 = 1 << 10;
    /// Start over when the time is up.
    pub const LOOP: u32 = 1 << 11;
}

/// Flow Control Configuration (8.2.3.3).
pub mod fccfg {
    /// Flow control of the whole link: PAUSE frames are sent.
    pub const TFCE_LINK: u32 = 1 << 3;
    /// Priority flow control: frames are sent for the traffic classes.
    pub const TFCE_PRIORITY: u32 = 1 << 4;
}

/// Transmit Flow Control Status (8.2.3.3).
pub mod tfcs {
    /// The traffic classes that may send, one bit each.
    pub const TC_XON: u32 = 0xFF;
}

/// Flow Control Receive Threshold High (8.2.3.3).
pub mod fcrth {
    /// A packet buffer above the threshold says XOFF.
    pub const FCEN: u32 = 1 << 31;
}

/// Flow Control Receive Threshold Low (8.2.3.3).
pub mod fcrtl {
    /// A packet buffer below the threshold says XON.
    pub const XONE: u32 = 1 << 31;
}

/// MAC Core Control 0 (8.2.3.22.8).
pub mod hlreg0 {
    /// The FCS is not delivered.
    pub const RXCRCSTRP: u32 = 1 << 1;
    /// Frames up to MAXFRS pass.
    pub const JUMBOEN: u32 = 1 << 2;
    /// Transmit goes to receive, not to the wire.
    pub const LPBK: u32 = 1 << 15;
    /// A length field that contradicts the frame is an error.
    pub const RXLNGTHERREN: u32 = 1 << 27;
}

/// Auto-Negotiation Control (8.2.3.22).
pub mod autoc {
    /// Force link up.
    pub const FLU: u32 = 1 << 0;
    /// Restart the link; clears itself.
    pub const AN_RESTART: u32 = 1 << 12;
    /// Place of the link mode.
    pub const LMS_SHIFT: u32 = 13;
    /// Link mode, after the shift.
    pub const LMS_MASK: u32 = 0x7;
    /// Link mode: 1 Gbit/s without auto-negotiation.
    pub const LMS_1G: u32 = 0;
    /// Link mode: 10 Gbit/s by four lanes, without auto-negotiation.
    pub const LMS_10G: u32 = 1;
    /// Link mode: 1 Gbit/s with auto-negotiation.
    pub const LMS_1G_AN: u32 = 2;
    /// Link mode: 10 Gbit/s by one lane, as modules have it.
    pub const LMS_10G_SERIAL: u32 = 3;
    /// Link mode: a backplane, of which negotiation chooses the kind.
    pub const LMS_KX4_KX_KR: u32 = 4;
    /// Link mode: SGMII.
    pub const LMS_SGMII: u32 = 5;
    /// Link mode: a backplane, or 1 Gbit/s with auto-negotiation.
    pub const LMS_KX4_KX_KR_1G_AN: u32 = 6;
    /// Link mode: a backplane, or SGMII.
    pub const LMS_KX4_KX_KR_SGMII: u32 = 7;
}

/// Auto-Negotiation Control 2 (8.2.3.22).
pub mod autoc2 {
    /// Bits that take the link down.
    pub const LINK_DISABLE: u32 = 0x7000_0000;
}

/// Link Status (8.2.3.22).
pub mod links {
    /// The link has been up ever since the last read.
    pub const UP_SINCE_READ: u32 = 1 << 7;
    /// Place of the speed.
    pub const SPEED_SHIFT: u32 = 28;
    /// Speed, after the shift.
    pub const SPEED_MASK: u32 = 3;
    /// Speed: 100 Mbit/s.
    pub const SPEED_100M: u32 = 1;
    /// Speed: 1 Gbit/s.
    pub const SPEED_1G: u32 = 2;
    /// Speed: 10 Gbit/s.
    pub const SPEED_10G: u32 = 3;
    /// The link is up.
    pub const UP: u32 = 1 << 30;
    /// The negotiation of a backplane is over.
    pub const AN_COMPLETE: u32 = 1 << 31;
}

/// Link Status 2 (8.2.3.22).
pub mod links2 {
    /// The other end of the backplane negotiates.
    pub const AN_SUPPORTED: u32 = 1 << 6;
}

/// Auto-Negotiation Link Partner's Control 1 and 2: the low and the high half of its base page (clause 73).
pub mod anlp {
    /// The page is one of Ethernet.
    pub const SELECTOR: u32 = 1;
    /// It can symmetric PAUSE.
    pub const SYM_PAUSE: u32 = 1 << 10;
    /// It can PAUSE in one direction.
    pub const ASM_PAUSE: u32 = 1 << 11;
    /// It has received ours.
    pub const ACKNOWLEDGE: u32 = 1 << 14;
    /// State of the state machine, in the first of the two.
    pub const STATE_MASK: u32 = 0xF << 16;
    /// In the second: it can 1000BASE-KX.
    pub const KX: u32 = 1 << 5;
    /// In the second: it can 10GBASE-KX4.
    pub const KX4: u32 = 1 << 6;
    /// In the second: it can 10GBASE-KR.
    pub const KR: u32 = 1 << 7;
}

/// LED Control (8.2.3.1.6): a byte for each LED.
pub mod ledctl {
    /// Mode.
    pub const MODE: u32 = 0xF;
    /// The LED is lit where its mode would leave it dark, and the other way round.
    pub const INVERT: u32 = 1 << 6;
    /// The LED blinks where its mode would light it.
    pub const BLINK: u32 = 1 << 7;
}

/// `PCS_1G` Link Status (8.2.3.22).
pub mod pcs1glsta {
    /// Link.
    pub const LINK_OK: u32 = 1 << 0;
    /// Synchronised.
    pub const SYNC_OK: u32 = 1 << 4;
    /// Auto-negotiation is complete.
    pub const AN_COMPLETE: u32 = 1 << 16;
}

/// `PCS_1G` Auto-Negotiation Advertisement and Link Partner Ability (8.2.3.22, IEEE 802.3 clause 37).
pub mod pcs1gan {
    /// Full duplex.
    pub const FULL_DUPLEX: u32 = 1 << 5;
    /// Symmetric pause.
    pub const SYM_PAUSE: u32 = 1 << 7;
    /// Asymmetric pause.
    pub const ASM_PAUSE: u32 = 1 << 8;
    /// The page of the other end has come.
    pub const ACKNOWLEDGE: u32 = 1 << 14;
}

/// Wake Up Control (8.2.3.18).
pub mod wuc {
    /// The function has been woken.
    pub const PME_STATUS: u32 = 1 << 2;
}

/// Wake Up Filter Control and Wake Up Status (8.2.3.18).
pub mod wufc {
    /// A change of the link.
    pub const LNKC: u32 = 1 << 0;
    /// A magic packet.
    pub const MAG: u32 = 1 << 1;
    /// A frame for one of the receive addresses.
    pub const EX: u32 = 1 << 2;
    /// A multicast that the address filters let in.
    pub const MC: u32 = 1 << 3;
    /// A broadcast.
    pub const BC: u32 = 1 << 4;
    /// An ARP request for an address of IP4AT.
    pub const ARP: u32 = 1 << 5;
    /// An IPv4 packet for an address of IP4AT.
    pub const IPV4: u32 = 1 << 6;
    /// An IPv6 packet for the address of IP6AT.
    pub const IPV6: u32 = 1 << 7;
    /// A frame that the first flexible filter knows; the others follow.
    pub const FLX0: u32 = 1 << 16;
}

/// IP Address Valid (8.2.3.18.4).
pub mod ipav {
    /// The first address of IP4AT; the others follow.
    pub const V40: u32 = 1 << 0;
    /// The address of IP6AT.
    pub const V60: u32 = 1 << 16;
}

/// MDI Single Command and Address (8.2.3.22).
pub mod msca {
    /// Place of the operation code.
    pub const OP_SHIFT: u32 = 26;
    /// Operation code after the shift: 2 and 3 are reads in clause 45.
    pub const OP_MASK: u32 = 0x3;
    /// Start; clears itself.
    pub const COMMAND: u32 = 1 << 30;
}
