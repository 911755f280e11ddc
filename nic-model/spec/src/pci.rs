//! PCI identity, and where the 82599 has its capabilities (chapter 9).

/// Intel.
pub const VENDOR_ID: u16 = 0x8086;
/// 82599 with SFP+ (82599ES, X520).
pub const DEVICE_ID: u16 = 0x10FB;
/// Revision id of shipped cards.
pub const REVISION_ID: u8 = 0x01;
/// Ethernet controller.
pub const CLASS_CODE: u32 = 0x02_0000;
/// Subsystem of the X520-2 adapter.
pub const SUBSYSTEM_ID: u16 = 0x0003;

/// Bytes of configuration space.
pub const CONFIG_SIZE: usize = 4096;

/// Size of BAR0 (CSRs, and the flash's window), in bytes.
pub const CSR_BAR_SIZE: u32 = 512 * 1024;
/// Size of BAR2 (IOADDR and IODATA), in bytes.
pub const IO_BAR_SIZE: u32 = 32;
/// Size of BAR4 (MSI-X), in bytes.
pub const MSIX_BAR_SIZE: u32 = 16 * 1024;
/// Offset of the MSI-X pending bits in BAR4.
pub const MSIX_PBA: u32 = 0x2000;
/// MSI-X vectors of the function.
pub const MSIX_VECTORS: u8 = 64;

/// Offset of IOADDR in BAR2.
pub const IOADDR: u32 = 0x0;
/// Offset of IODATA in BAR2.
pub const IODATA: u32 = 0x4;

/// Registers of the type 0 header.
pub mod header {
    /// Vendor id.
    pub const VENDOR: usize = 0x00;
    /// Device id.
    pub const DEVICE: usize = 0x02;
    /// Command.
    pub const COMMAND: usize = 0x04;
    /// Status.
    pub const STATUS: usize = 0x06;
    /// Revision id; the class code follows.
    pub const REVISION: usize = 0x08;
    /// Cache line size.
    pub const CACHE_LINE: usize = 0x0C;
    /// Header type.
    pub const TYPE: usize = 0x0E;
    /// [`TYPE`]: the device has further functions.
    pub const MULTI_FUNCTION: u8 = 1 << 7;
    /// Base address register 0; the others follow.
    pub const BAR0: usize = 0x10;
    /// Subsystem vendor id.
    pub const SUBSYSTEM_VENDOR: usize = 0x2C;
    /// Subsystem id.
    pub const SUBSYSTEM: usize = 0x2E;
    /// Expansion ROM base address.
    pub const ROM: usize = 0x30;
    /// Bit of [`ROM`]: the ROM answers.
    pub const ROM_ENABLE: u32 = 1 << 0;
    /// Offset of the first capability.
    pub const CAPABILITIES: usize = 0x34;
    /// Interrupt line.
    pub const INTERRUPT_LINE: usize = 0x3C;
    /// Interrupt pin.
    pub const INTERRUPT_PIN: usize = 0x3D;
}

/// Bits of the command register.
pub mod command {
    /// The I/O BAR answers.
    pub const IO: u16 = 1 << 0;
    /// The memory BARs answer.
    pub const MEMORY: u16 = 1 << 1;
    /// The function may issue requests.
    pub const BUS_MASTER: u16 = 1 << 2;
    /// Parity error response.
    pub const PARITY: u16 = 1 << 6;
    /// System errors are reported.
    pub const SERR: u16 = 1 << 8;
    /// The INTx pin stays inactive.
    pub const INTX_DISABLE: u16 = 1 << 10;
}

/// Bits of the status register.
pub mod status {
    /// An INTx interrupt is pending.
    pub const INTERRUPT: u16 = 1 << 3;
    /// There is a list of capabilities.
    pub const CAPABILITIES: u16 = 1 << 4;
    /// The function has refused a request.
    pub const SIGNALLED_TARGET_ABORT: u16 = 1 << 11;
    /// A request of the function was not answered.
    pub const RECEIVED_MASTER_ABORT: u16 = 1 << 13;
    /// The function has sent a message of an uncorrectable error.
    pub const SIGNALLED_SYSTEM_ERROR: u16 = 1 << 14;
    /// The function has received poisoned data.
    pub const DETECTED_PARITY_ERROR: u16 = 1 << 15;
    /// Error bits, cleared by writing 1.
    pub const ERRORS: u16 = 0xF900;
}

/// Capability: power management.
pub const PM: usize = 0x40;
/// Power management control and status.
pub const PMCSR: usize = PM + 4;
/// Capability: MSI.
pub const MSI: usize = 0x50;
/// Capability: MSI-X. Linux reads its table size at the fixed offset 0x72.
pub const MSIX: usize = 0x70;
/// Capability: PCI Express.
pub const EXPRESS: usize = 0xA0;
/// Device control of the PCI Express capability.
pub const DEVICE_CONTROL: usize = EXPRESS + 8;
/// Device status of the PCI Express capability.
pub const DEVICE_STATUS: usize = EXPRESS + 0xA;

/// Bits of device control, which report errors, and in the same places those of device status, which note them.
pub mod device {
    /// Correctable errors.
    pub const CORRECTABLE: u16 = 1 << 0;
    /// Uncorrectable errors that are not fatal.
    pub const NON_FATAL: u16 = 1 << 1;
    /// Fatal errors.
    pub const FATAL: u16 = 1 << 2;
    /// Unsupported requests.
    pub const UNSUPPORTED_REQUEST: u16 = 1 << 3;
}

/// Capability: vital product data.
pub const VPD: usize = 0xE0;
/// Extended capability: advanced error reporting.
pub const AER: usize = 0x100;
/// Extended capability: device serial number.
pub const SERIAL_NUMBER: usize = 0x140;
/// Extended capability: alternative routing id.
pub const ARI: usize = 0x150;
/// Extended capability: single root I/O virtualisation.
pub const SRIOV: usize = 0x160;

/// Virtual functions that the function can have.
pub const SRIOV_TOTAL_VFS: u16 = 64;
/// Device id of the virtual functions.
pub const VF_DEVICE_ID: u16 = 0x10ED;
/// Bytes of each of a virtual function's BARs.
pub const VF_BAR_SIZE: u32 = 16 * 1024;

/// Registers of the advanced error reporting capability, and their bits (9.4.1).
pub mod aer {
    /// Uncorrectable errors that were seen.
    pub const UNCORRECTABLE_STATUS: usize = 0x04;
    /// Uncorrectable errors that are not reported.
    pub const UNCORRECTABLE_MASK: usize = 0x08;
    /// Uncorrectable errors that are fatal.
    pub const SEVERITY: usize = 0x0C;
    /// Correctable errors that were seen.
    pub const CORRECTABLE_STATUS: usize = 0x10;
    /// Correctable errors that are not reported.
    pub const CORRECTABLE_MASK: usize = 0x14;
    /// Capabilities and control.
    pub const CONTROL: usize = 0x18;
    /// The first four doublewords of the packet with the first error.
    pub const HEADER_LOG: usize = 0x1C;

    /// [`CONTROL`]: number of the status bit of the first error.
    pub const FIRST_ERROR: u32 = 0x1F;

    /// Uncorrectable: data link protocol error.
    pub const DATA_LINK_PROTOCOL: u32 = 1 << 4;
    /// Uncorrectable: poisoned TLP received.
    pub const POISONED_TLP: u32 = 1 << 12;
    /// Uncorrectable: flow control protocol error.
    pub const FLOW_CONTROL_PROTOCOL: u32 = 1 << 13;
    /// Uncorrectable: completion timeout.
    pub const COMPLETION_TIMEOUT: u32 = 1 << 14;
    /// Uncorrectable: completer abort.
    pub const COMPLETER_ABORT: u32 = 1 << 15;
    /// Uncorrectable: unexpected completion.
    pub const UNEXPECTED_COMPLETION: u32 = 1 << 16;
    /// Uncorrectable: receiver overflow.
    pub const RECEIVER_OVERFLOW: u32 = 1 << 17;
    /// Uncorrectable: malformed TLP.
    pub const MALFORMED_TLP: u32 = 1 << 18;
    /// Uncorrectable: ECRC error.
    pub const ECRC: u32 = 1 << 19;
    /// Uncorrectable: unsupported request.
    pub const UNSUPPORTED_REQUEST: u32 = 1 << 20;

    /// Correctable: receiver error.
    pub const RECEIVER_ERROR: u32 = 1 << 0;
    /// Correctable: bad TLP.
    pub const BAD_TLP: u32 = 1 << 6;
    /// Correctable: bad DLLP.
    pub const BAD_DLLP: u32 = 1 << 7;
    /// Correctable: the replay number has rolled over.
    pub const REPLAY_ROLLOVER: u32 = 1 << 8;
    /// Correctable: the replay timer has run out.
    pub const REPLAY_TIMEOUT: u32 = 1 << 12;
    /// Correctable: an uncorrectable error that is only advisory.
    pub const ADVISORY_NON_FATAL: u32 = 1 << 13;
}

/// Registers of the SR-IOV capability (9.4.4).
pub mod sriov {
    /// Control.
    pub const CONTROL: usize = 0x08;
    /// Virtual functions that are there at first.
    pub const INITIAL_VFS: usize = 0x0C;
    /// Virtual functions that there can be.
    pub const TOTAL_VFS: usize = 0x0E;
    /// Virtual functions that are to be there.
    pub const NUM_VFS: usize = 0x10;
    /// Function whose virtual functions come and go with this one's: itself.
    pub const DEPENDENCY: usize = 0x12;
    /// Distance of the first virtual function's routing id.
    pub const FIRST_OFFSET: usize = 0x14;
    /// Distance between the routing ids of virtual functions.
    pub const STRIDE: usize = 0x16;
    /// Device id of the virtual functions.
    pub const DEVICE: usize = 0x1A;
    /// Page sizes that can be chosen; bit n is 4 KB << n.
    pub const PAGE_SIZES: usize = 0x1C;
    /// The page size.
    pub const PAGE_SIZE: usize = 0x20;
    /// Base address register 0 of the virtual functions; the others follow.
    pub const VF_BAR0: usize = 0x24;

    /// [`CONTROL`]: the virtual functions are there.
    pub const CONTROL_ENABLE: u16 = 1 << 0;
    /// [`CONTROL`]: their memory answers.
    pub const CONTROL_MEMORY: u16 = 1 << 3;
    /// [`CONTROL`]: routing ids have no device number.
    pub const CONTROL_ARI: u16 = 1 << 4;
}
