//! Words of the NVM that software reads (chapter 6).

/// Words of the NVM that the card comes with, as EEC.SIZE says.
pub const WORDS: usize = 8192;
/// Words of the smallest NVM: drivers find what they need in it.
pub const MIN_WORDS: usize = 2048;
/// Words of the largest NVM: EERD has 14 bits for the address.
pub const MAX_WORDS: usize = 1 << 14;

/// Size of the flash, and so of the expansion ROM, in bytes.
pub const FLASH_SIZE: u32 = 512 * 1024;
/// Size of the flash's window in BAR0 in bytes, as BARCTRL says: with the CSRs it makes the 512 KB of an X520.
pub const FLASH_WINDOW_SIZE: u32 = 256 * 1024;

/// First of the pointers (0x03 to 0x0E) to sections that the checksum covers.
pub const FIRST_SECTION_POINTER: usize = 0x03;
/// Last of them.
pub const LAST_SECTION_POINTER: usize = 0x0E;
/// Pointer to the core section of port 0, whose words 1 to 3 are its MAC address; that of port 1 follows.
pub const CORE_SECTION_POINTER: usize = 0x09;
/// Pointer to the firmware's section.
pub const FIRMWARE_POINTER: usize = 0x0F;
/// Words of the firmware's section, and of what it points to.
pub mod firmware {
    /// Pointer to the parameters of the link establishment state machine; there is none.
    pub const LESM_POINTER: usize = 2;
    /// Pointer to the configuration of the pass-through patch.
    pub const PATCH_POINTER: usize = 4;
    /// Version, a word of that configuration. Drivers call versions up to 5 "pre-production" and warn.
    pub const PATCH_VERSION: usize = 7;
}
/// Printed board assembly: [`PBA_IS_STRING`], or the number itself.
pub const PBA: usize = 0x15;
/// Pointer to the string of the printed board assembly.
pub const PBA_POINTER: usize = 0x16;
/// [`PBA`] if the number is a string elsewhere.
pub const PBA_IS_STRING: u16 = 0xFAFA;
/// Pointer to the initialisation list of SFP+ modules.
pub const SFP_INIT_POINTER: usize = 0x2B;
/// Device capabilities. Bit 1 says that there are no `FCoE` offloads.
pub const DEVICE_CAPS: usize = 0x2C;
/// Low and high half of the tool's identification of the image.
pub const ETRACK_ID: usize = 0x2D;
/// Pointer to the vital product data.
pub const VPD_POINTER: usize = 0x2F;
/// Checksum: all words from 0 to here, and the sections, sum up to [`CHECKSUM_SUM`].
pub const CHECKSUM: usize = 0x3F;
/// See [`CHECKSUM`].
pub const CHECKSUM_SUM: u16 = 0xBABA;

/// Keys of the initialisation list: kind of module on the first port; the second port's is one more.
pub mod sfp_init {
    /// Passive direct attach cable.
    pub const DIRECT_ATTACH: u16 = 3;
    /// Short or long range optics.
    pub const OPTICS: u16 = 5;
    /// End of the list, and of a data block.
    pub const END: u16 = 0xFFFF;
}
