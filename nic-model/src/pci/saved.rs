//! The saved form of the function on its bus.

use std::collections::BTreeMap;

use ixgbe_spec::pci::{
    AER, CONFIG_SIZE, MSI, MSIX_VECTORS, SRIOV, aer, header, sriov as capability, status,
};
use serde::{Deserialize, Serialize};

use super::{
    Function, Rights, layout,
    msix::{Entry, MsixTable},
    space::ConfigSpace,
    sriov,
};
use crate::{
    card::{Card, Place},
    state::{
        StateError,
        sparse::{self, Sparse},
    },
};

/// Configuration space, MSI-X table and pending signals.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    /// The doublewords that differ from those after power-on, by their offset.
    config: BTreeMap<u16, u32>,
    msix: Sparse<Entry>,
    msix_pending: u64,
    intx: bool,
    pin: bool,
    msi_pending: bool,
    gio_disabled: bool,
}

impl Saved {
    /// Messages of these vectors wait, too.
    pub(crate) fn add_pending_vectors(&mut self, vectors: u64) {
        self.msix_pending |= vectors;
    }
}

impl Function {
    /// The saved form of the function at `place`.
    pub(crate) fn save(&self, place: &Place) -> Saved {
        let Self {
            space,
            msix: MsixTable { entries, pending },
            card: _,
            intx,
            pin,
            msi_pending,
            gio_disabled,
            rights: _,
        } = self;
        let usual = layout::power_on(place);
        let config = (0..CONFIG_SIZE).step_by(4).filter_map(|offset| {
            let value = space.get32(offset);
            let key = u16::try_from(offset).ok()?;
            (value != usual.get32(offset)).then_some((key, value))
        });
        Saved {
            config: config.collect(),
            msix: sparse::save(entries, |entry| {
                (*entry != Entry::reset()).then_some(*entry)
            }),
            msix_pending: *pending,
            intx: *intx,
            pin: *pin,
            msi_pending: *msi_pending,
            gio_disabled: *gio_disabled,
        }
    }

    /// Of the saved form. Software finds in configuration space what it or the card can have put there: a state cannot
    /// make another device of the card.
    pub(crate) fn restore(saved: Saved, place: &Place, card: Card) -> Result<Self, StateError> {
        let Saved {
            config,
            msix,
            msix_pending,
            intx,
            pin,
            msi_pending,
            gio_disabled,
        } = saved;
        let mut space = layout::power_on(place);
        for (offset, value) in config {
            let at = usize::from(offset);
            let field = || format!("config.{offset}");
            let is_place = at.is_multiple_of(4) && at < CONFIG_SIZE;
            StateError::unless(is_place, field(), "no doubleword of configuration space")?;
            let changes = value ^ space.get32(at);
            let allowed = space.changeable32(at) | set_by_card(at);
            StateError::unless(
                changes & !allowed == 0,
                field(),
                format!("bits {:#010x} never change", changes & !allowed),
            )?;
            space.set(at, &value.to_le_bytes());
        }
        sriov::follow(&mut space);
        let vectors = u32::from(MSIX_VECTORS);
        let valid = 1_u64.checked_shl(vectors).map_or(u64::MAX, |bit| bit - 1);
        let known = msix_pending & !valid == 0;
        StateError::unless(known, "msix_pending", "there are fewer vectors")?;
        let mut table = MsixTable::new();
        sparse::fill(msix, &mut table.entries).map_err(|error| error.within("msix"))?;
        table.pending = msix_pending;
        Ok(Self {
            rights: Rights::of(&space, gio_disabled),
            space,
            msix: table,
            card,
            intx,
            pin,
            msi_pending,
            gio_disabled,
        })
    }
}

/// The bits of a doubleword that the card itself changes, beside those that software clears.
fn set_by_card(offset: usize) -> u32 {
    const COMMAND_AND_STATUS: usize = header::COMMAND;
    const MSI_PENDING: usize = MSI + 0x14;
    const FIRST_ERROR: usize = AER + aer::CONTROL;
    const HEADER_LOG: usize = AER + aer::HEADER_LOG;
    const HEADER_LOG_END: usize = HEADER_LOG + 12;
    const FIRST_VF: usize = SRIOV + capability::FIRST_OFFSET;
    match offset {
        COMMAND_AND_STATUS => {
            u32::from(status::INTERRUPT | status::ERRORS | status::RECEIVED_MASTER_ABORT) << 16
        }
        MSI_PENDING => 1,
        FIRST_ERROR => aer::FIRST_ERROR,
        HEADER_LOG..=HEADER_LOG_END => u32::MAX,
        FIRST_VF => 0xFFFF,
        _ => 0,
    }
}

impl ConfigSpace {
    /// The bits of a 32-bit register that software can change.
    fn changeable32(&self, offset: usize) -> u32 {
        let word = |cells: &[u8]| {
            let bytes = cells.get(offset..).and_then(<[u8]>::first_chunk);
            u32::from_le_bytes(bytes.copied().unwrap_or_default())
        };
        word(self.writable()) | word(self.clear_by_one())
    }
}
