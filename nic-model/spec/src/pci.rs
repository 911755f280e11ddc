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
/// Capability: vital product data.
pub const VPD: usize = 0xE0;
/// Extended capability: advanced error reporting.
pub const AER: usize = 0x100;
/// Extended capability: device serial number.
pub const SERIAL_NUMBER: usize = 0x140;
/// Extended capability: alternative routing id.
pub const ARI: usize = 0x150;
