//! The SR-IOV capability (7.10, 9.4.4).
//!
//! It can be read and written as on the card: VF Enable shows in STATUS, fixes NumVFs, and cleared it takes away what is
//! left of the VFs. A vfio-user socket has one function, so the VFs themselves answer nowhere: a driver that enables them
//! finds none on the bus. What their PF sees of them is in [`crate::virtual_function`] and [`crate::mailbox`].

use ixgbe_spec::pci::{
    SRIOV, SRIOV_TOTAL_VFS, VF_BAR_SIZE, VF_DEVICE_ID,
    sriov::{
        CONTROL, CONTROL_ARI, CONTROL_ENABLE, CONTROL_MEMORY, DEPENDENCY, DEVICE, FIRST_OFFSET,
        INITIAL_VFS, NUM_VFS, PAGE_SIZE, PAGE_SIZES, STRIDE, TOTAL_VFS, VF_BAR0,
    },
};

use super::space::ConfigSpace;
use crate::port::LanId;

const STRIDE_BETWEEN_PORTS: u16 = 2;
/// Distance from a port's routing id to that of its first virtual function, with device numbers that count, and without.
const FIRST_WITH_ARI: u16 = 0x80;
const FIRST_WITHOUT_ARI: u16 = 0x180;
/// 4 KB, 8 KB, 64 KB, 256 KB, 1 MB and 4 MB.
const SUPPORTED_PAGES: u32 = 0x0000_0553;
/// 64 bits wide, not prefetchable.
const BAR_KIND: u32 = 0x4;

/// Fills in the capability as it is after power-on, but for its header.
pub(super) fn power_on(space: &mut ConfigSpace, lan_id: LanId) {
    let ari = match lan_id {
        LanId::Port0 => CONTROL_ARI,
        // The first function's bit counts for the whole card.
        LanId::Port1 => 0,
    };
    space.define16(SRIOV + CONTROL, 0, CONTROL_ENABLE | CONTROL_MEMORY | ari);
    space.define16(SRIOV + INITIAL_VFS, SRIOV_TOTAL_VFS, 0);
    space.define16(SRIOV + TOTAL_VFS, SRIOV_TOTAL_VFS, 0);
    space.define16(SRIOV + NUM_VFS, 0, 0x00FF);
    let own = match lan_id {
        LanId::Port0 => 0,
        LanId::Port1 => 1,
    };
    space.set(SRIOV + DEPENDENCY, &[own]);
    space.define16(SRIOV + STRIDE, STRIDE_BETWEEN_PORTS, 0);
    space.define16(SRIOV + DEVICE, VF_DEVICE_ID, 0);
    space.define32(SRIOV + PAGE_SIZES, SUPPORTED_PAGES, 0);
    space.define32(SRIOV + PAGE_SIZE, 1, SUPPORTED_PAGES);
    for bar in [0, 3] {
        space.define32(SRIOV + VF_BAR0 + 4 * bar, BAR_KIND, 0);
        space.define32(SRIOV + VF_BAR0 + 4 * (bar + 1), 0, u32::MAX);
    }
    follow(space);
}

/// Brings what follows from other registers up to date, after a write.
pub(super) fn follow(space: &mut ConfigSpace) {
    let control = space.get16(SRIOV + CONTROL);
    let first = if control & CONTROL_ARI != 0 {
        FIRST_WITH_ARI
    } else {
        FIRST_WITHOUT_ARI
    };
    space.set(SRIOV + FIRST_OFFSET, &first.to_le_bytes());
    // The number stays while the functions are there.
    let changeable = if control & CONTROL_ENABLE == 0 {
        0xFF
    } else {
        0
    };
    let number = space.get16(SRIOV + NUM_VFS).min(SRIOV_TOTAL_VFS);
    space.define16(SRIOV + NUM_VFS, number, changeable);
    // A BAR is no smaller than a page.
    let page = space.get32(SRIOV + PAGE_SIZE).max(1);
    let page = 4096 << (31 - page.leading_zeros());
    let size = VF_BAR_SIZE.max(page);
    for bar in [0, 3] {
        let at = SRIOV + VF_BAR0 + 4 * bar;
        let address = space.get32(at) & !(size - 1);
        space.define32(at, address | BAR_KIND, !(size - 1));
    }
}

/// How many virtual functions are enabled.
pub(super) fn enabled(space: &ConfigSpace) -> u16 {
    if space.get16(SRIOV + CONTROL) & CONTROL_ENABLE == 0 {
        return 0;
    }
    space.get16(SRIOV + NUM_VFS)
}
