//! What configuration space holds after power-on (9.3, 9.4).

use ixgbe_spec::{
    nvm::FLASH_SIZE,
    pci::{
        AER, ARI, CLASS_CODE, CSR_BAR_SIZE, DEVICE_ID, EXPRESS, IO_BAR_SIZE, MSI, MSIX,
        MSIX_BAR_SIZE, MSIX_PBA, MSIX_VECTORS, PM, PMCSR, REVISION_ID, SERIAL_NUMBER, SRIOV,
        SUBSYSTEM_ID, VENDOR_ID, VPD, command, header, status,
    },
};

use super::{space::ConfigSpace, sriov};
use crate::{
    card::{Functions, Place},
    port::LanId,
};

const CAP_PM: u8 = 0x01;
const CAP_VPD: u8 = 0x03;
const CAP_MSI: u8 = 0x05;
const CAP_EXPRESS: u8 = 0x10;
const CAP_MSIX: u8 = 0x11;
const EXT_AER: u16 = 0x0001;
const EXT_SERIAL_NUMBER: u16 = 0x0003;
const EXT_ARI: u16 = 0x000E;
const EXT_SRIOV: u16 = 0x0010;

/// Builds the space of a function.
pub(super) fn power_on(place: &Place) -> ConfigSpace {
    let mut space = ConfigSpace::new();
    type0_header(&mut space, place);
    power_management(&mut space);
    msi(&mut space);
    msix(&mut space);
    express(&mut space);
    space.set(VPD, &[CAP_VPD, 0]);
    space.define16(VPD + 2, 0, u16::MAX);
    space.define32(VPD + 4, 0, u32::MAX);
    advanced_error_reporting(&mut space);
    serial_number(&mut space, place.serial);
    alternative_routing(&mut space, place);
    space.set(SRIOV, &extended(EXT_SRIOV, 0));
    sriov::power_on(&mut space, place.lan_id);
    space
}

fn type0_header(space: &mut ConfigSpace, place: &Place) {
    space.define16(header::VENDOR, VENDOR_ID, 0);
    space.define16(header::DEVICE, DEVICE_ID, 0);
    space.define16(
        header::COMMAND,
        0,
        command::IO
            | command::MEMORY
            | command::BUS_MASTER
            | command::PARITY
            | command::SERR
            | command::INTX_DISABLE,
    );
    space.define16(header::STATUS, status::CAPABILITIES, 0);
    space.clear_by_one16(header::STATUS, status::ERRORS);
    space.define32(
        header::REVISION,
        CLASS_CODE << 8 | u32::from(REVISION_ID),
        0,
    );
    space.define16(header::CACHE_LINE, 0, 0x00FF);
    // 64-bit prefetchable (twice) and I/O: their low bits are the kind, the size is what can be written.
    space.define32(header::BAR0, 0xC, !(CSR_BAR_SIZE - 1));
    space.define32(header::BAR0 + 4, 0, u32::MAX);
    space.define32(header::BAR0 + 8, 0x1, !(IO_BAR_SIZE - 1));
    space.define32(header::BAR0 + 16, 0xC, !(MSIX_BAR_SIZE - 1));
    space.define32(header::BAR0 + 20, 0, u32::MAX);
    space.define32(header::ROM, 0, !(FLASH_SIZE - 1) | header::ROM_ENABLE);
    space.define16(header::SUBSYSTEM_VENDOR, VENDOR_ID, 0);
    space.define16(header::SUBSYSTEM, SUBSYSTEM_ID, 0);
    space.set(header::CAPABILITIES, &[pointer(PM)]);
    space.define16(header::INTERRUPT_LINE, 0, 0x00FF);
    if place.functions == Functions::Two {
        space.set(header::TYPE, &[header::MULTI_FUNCTION]);
    }
    let pin = match place.lan_id {
        LanId::Port0 => 1,
        LanId::Port1 => 2,
    };
    space.set(header::INTERRUPT_PIN, &[pin]);
}

fn power_management(space: &mut ConfigSpace) {
    // Version 3, device specific initialisation, PME from D0 and D3hot.
    space.set(PM, &[CAP_PM, pointer(MSI), 0x23, 0x48]);
    // State (1:0) and PME enable (8) can be written; a move from D3hot to D0 resets (bit 3 is 0).
    space.define16(PMCSR, 0x2000, 0x0103);
    space.clear_by_one16(PMCSR, 0x8000);
}

fn msi(space: &mut ConfigSpace) {
    space.set(MSI, &[CAP_MSI, pointer(MSIX)]);
    // One message, 64-bit address, maskable.
    space.define16(MSI + 2, 0x0180, 0x0071);
    space.define32(MSI + 4, 0, 0xFFFF_FFFC);
    space.define32(MSI + 8, 0, u32::MAX);
    space.define16(MSI + 0xC, 0, u16::MAX);
    space.define32(MSI + 0x10, 0, 1);
}

fn msix(space: &mut ConfigSpace) {
    const BIR: u32 = 4;
    space.set(MSIX, &[CAP_MSIX, pointer(EXPRESS)]);
    space.define16(MSIX + 2, u16::from(MSIX_VECTORS) - 1, 0xC000);
    space.define32(MSIX + 4, BIR, 0);
    space.define32(MSIX + 8, MSIX_PBA | BIR, 0);
}

fn express(space: &mut ConfigSpace) {
    // Version 2, endpoint.
    space.set(EXPRESS, &[CAP_EXPRESS, pointer(VPD), 0x02, 0x00]);
    // Payload 512 B, L0s < 512 ns, L1 < 64 us, role based errors, function level reset.
    space.define32(EXPRESS + 4, 0x1000_8CC2, 0);
    // Relaxed ordering, no snoop, read requests of 512 B. Bit 15 starts a function level reset and reads 0.
    space.define16(EXPRESS + 8, 0x2810, 0x7CFF);
    space.define16(EXPRESS + 0xA, 0, 0);
    space.clear_by_one16(EXPRESS + 0xA, 0x000F);
    // 5 GT/s, 8 lanes, L0s; the same as the link's state.
    space.define32(EXPRESS + 0xC, 0x0001_C482, 0);
    space.define16(EXPRESS + 0x10, 0, 0x00CB);
    space.define16(EXPRESS + 0x12, 0x1082, 0);
    // Completion timeout ranges A to D, and off.
    space.define32(EXPRESS + 0x24, 0x0000_001F, 0);
    space.define16(EXPRESS + 0x28, 0, 0x001F);
    space.define16(EXPRESS + 0x30, 0x0002, 0x0FFF);
}

fn advanced_error_reporting(space: &mut ConfigSpace) {
    const UNCORRECTABLE: u32 = 0x001F_F010;
    const CORRECTABLE: u32 = 0x0000_31C1;
    space.set(AER, &extended(EXT_AER, SERIAL_NUMBER));
    space.clear_by_one32(AER + 4, UNCORRECTABLE);
    space.define32(AER + 8, 0, UNCORRECTABLE);
    space.define32(AER + 0xC, 0x0006_2010, UNCORRECTABLE);
    space.clear_by_one32(AER + 0x10, CORRECTABLE);
    space.define32(AER + 0x14, 0x0000_2000, CORRECTABLE);
    space.define32(AER + 0x18, 0x0000_00A0, 0x0000_0140);
}

fn serial_number(space: &mut ConfigSpace, mac: [u8; 6]) {
    let [a, b, c, d, e, f] = mac;
    space.set(SERIAL_NUMBER, &extended(EXT_SERIAL_NUMBER, ARI));
    // EUI-64, its first byte in the most significant place.
    space.set(SERIAL_NUMBER + 4, &[f, e, d, 0xFF, 0xFF, c, b, a]);
}

fn alternative_routing(space: &mut ConfigSpace, place: &Place) {
    let next_function = match (place.functions, place.lan_id) {
        (Functions::Two, LanId::Port0) => 1,
        (Functions::Two, LanId::Port1) | (Functions::One, _) => 0,
    };
    space.set(ARI, &extended(EXT_ARI, SRIOV));
    space.set(ARI + 4, &[0, next_function]);
}

/// The next-pointer of a capability.
fn pointer(offset: usize) -> u8 {
    u8::try_from(offset).expect("capabilities lie in the first 256 bytes")
}

/// Header of an extended capability of version 1.
fn extended(id: u16, next: usize) -> [u8; 4] {
    let next = u32::try_from(next).expect("capabilities lie in the first 4096 bytes");
    (next << 20 | 1 << 16 | u32::from(id)).to_le_bytes()
}
