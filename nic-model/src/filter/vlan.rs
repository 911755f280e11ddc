//! The VLAN filter (7.1.1.2).

use ixgbe_spec::register::{
    Reg,
    bits::vlnctrl::{CFI, CFIEN, VFE},
};

use crate::{regs::RegisterFile, rx::header::Tag};

/// Whether a frame with this tag passes.
pub(crate) fn accepts(tag: Option<Tag>, regs: &RegisterFile) -> bool {
    let control = regs.get(Reg::VLNCTRL, 0);
    let Some(tag) = tag else { return true };
    if control & VFE == 0 {
        return true;
    }
    let id = usize::from(tag.id());
    let cfi = control & CFIEN == 0 || tag.cfi() == (control & CFI != 0);
    cfi && regs.get(Reg::VFTA, id >> 5) >> (id & 31) & 1 == 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn tag(tci: u16) -> Option<Tag> {
        Tag::new(12, tci)
    }

    #[test]
    fn every_tag_passes_while_the_filter_is_off() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::VLNCTRL, 0, CFIEN | 0x8100);

        assert!(accepts(tag(0xFFFF), &regs));
        assert!(accepts(None, &regs));
    }

    #[test]
    fn only_the_ids_of_the_table_pass_and_frames_without_tag() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::VLNCTRL, 0, VFE | 0x8100);
        regs.set(Reg::VFTA, 3, 1 << 4);

        assert!(accepts(tag(0xE064), &regs));
        assert!(!accepts(tag(101), &regs));
        assert!(!accepts(tag(0), &regs));
        assert!(accepts(None, &regs));
    }

    #[test]
    fn the_cfi_bit_has_to_be_the_expected_one_if_it_is_compared() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::VFTA, 0, 1 << 1);

        regs.set(Reg::VLNCTRL, 0, VFE | CFIEN);
        assert!(accepts(tag(1), &regs));
        assert!(!accepts(tag(0x1001), &regs));
        regs.set(Reg::VLNCTRL, 0, VFE | CFIEN | CFI);
        assert!(!accepts(tag(1), &regs));
        assert!(accepts(tag(0x1001), &regs));
    }
}
