//! The L2 address filter (7.1.1.1).

use ixgbe_spec::register::{
    Reg,
    bits::{
        fctrl::{BAM, MPE, UPE},
        mcstctrl::{MFE, MO},
        rah::{ADDRESS, AV},
    },
};

use crate::regs::RegisterFile;

/// An Ethernet address as a number, first byte in the low bits (the layout of RAL and RAH).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(u64);

impl Mac {
    /// The broadcast address.
    const BROADCAST: Self = Self(0xFFFF_FFFF_FFFF);

    /// The address that starts with the first of six bytes.
    pub(crate) const fn new([a, b, c, d, e, f]: [u8; 6]) -> Self {
        Self(u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    /// The address in a receive address register.
    pub(crate) const fn from_rar(low: u32, high: u32) -> Self {
        Self(((high & ADDRESS) as u64) << 32 | low as u64)
    }

    /// The station's: that in the first receive address register, if that is valid.
    #[inline]
    pub(crate) fn own(regs: &RegisterFile) -> Option<Self> {
        let high = regs.get(Reg::RAH, 0);
        (high & AV != 0).then(|| Self::from_rar(regs.get(Reg::RAL, 0), high))
    }

    /// What the address is a group of.
    pub(crate) const fn kind(self) -> Kind {
        if self.0 == Self::BROADCAST.0 {
            Kind::Broadcast
        } else if self.0 & 1 == 1 {
            Kind::Multicast
        } else {
            Kind::Unicast
        }
    }

    /// Row and bit in MTA or PFUTA that the twelve address bits lead to which MCSTCTRL.MO selects (8.2.3.7).
    pub(crate) const fn hash(self, multicast_control: u32) -> (usize, u32) {
        let lowest_bit = match multicast_control & MO {
            0 => 36,
            1 => 35,
            2 => 34,
            _ => 32,
        };
        let bits = (self.0 >> lowest_bit & 0xFFF) as u32;
        ((bits >> 5) as usize, bits & 31)
    }

    /// Whether its bit is set in MTA or PFUTA.
    #[inline]
    fn hits(self, table: Reg, regs: &RegisterFile) -> bool {
        let (row, bit) = self.hash(regs.get(Reg::MCSTCTRL, 0));
        regs.get(table, row) >> bit & 1 == 1
    }
}

/// Kinds of destination address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One station.
    Unicast,
    /// A group.
    Multicast,
    /// All stations.
    Broadcast,
}

/// How a frame passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// Its address is in a receive address register, or unicast frames of any address pass.
    Exact,
    /// By hash, or as multicast or broadcast (status bit PIF).
    Inexact,
}

/// Which filter lets a frame in by its destination (7.1.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressMatch {
    /// The receive address register with this number, 0 to 127.
    Rar(usize),
    /// FCTRL.BAM.
    Broadcast,
    /// MTA, with MCSTCTRL.MFE.
    MulticastHash,
    /// FCTRL.MPE.
    MulticastPromiscuous,
    /// PFUTA.
    UnicastHash,
    /// FCTRL.UPE.
    UnicastPromiscuous,
}

impl AddressMatch {
    /// The filter that lets frames to `mac` in; of several the narrowest.
    pub(crate) fn of(mac: Mac, regs: &RegisterFile) -> Option<Self> {
        let control = regs.get(Reg::FCTRL, 0);
        let multicast = regs.get(Reg::MCSTCTRL, 0);
        let has = |bit| control & bit != 0;
        let rar = || {
            let valid = |n: &usize| regs.get(Reg::RAH, *n) & AV != 0;
            let holds =
                |n: &usize| Mac::from_rar(regs.get(Reg::RAL, *n), regs.get(Reg::RAH, *n)) == mac;
            let mut entries = (0..Reg::RAH.count()).filter(valid);
            entries.find(holds).map(Self::Rar)
        };
        match mac.kind() {
            Kind::Broadcast if has(BAM) => Some(Self::Broadcast),
            Kind::Broadcast => has(MPE).then_some(Self::MulticastPromiscuous),
            Kind::Multicast => rar()
                .or_else(|| {
                    let hit = multicast & MFE != 0 && mac.hits(Reg::MTA, regs);
                    hit.then_some(Self::MulticastHash)
                })
                .or_else(|| has(MPE).then_some(Self::MulticastPromiscuous)),
            Kind::Unicast => rar()
                .or_else(|| has(UPE).then_some(Self::UnicastPromiscuous))
                .or_else(|| mac.hits(Reg::PFUTA, regs).then_some(Self::UnicastHash)),
        }
    }
}

/// The receive address registers in a form that is quick to search.
#[derive(Debug, Default)]
pub(crate) struct AddressFilter {
    /// The valid addresses of RAL and RAH from element 1 on.
    exact: Vec<Mac>,
    stale: bool,
}

impl AddressFilter {
    /// The state after a reset; the registers are looked at when the next frame comes.
    pub(crate) fn reset(&mut self) {
        self.changed();
    }

    /// RAL or RAH has been written.
    pub(crate) fn changed(&mut self) {
        let Self { exact, stale } = self;
        exact.clear();
        *stale = true;
    }

    /// Whether, and how, a frame to `mac` passes.
    pub(crate) fn accept(&mut self, mac: Mac, regs: &RegisterFile) -> Option<Match> {
        let control = regs.get(Reg::FCTRL, 0);
        let multicast = regs.get(Reg::MCSTCTRL, 0);
        match mac.kind() {
            Kind::Broadcast => (control & (BAM | MPE) != 0).then_some(Match::Inexact),
            Kind::Multicast => (control & MPE != 0
                || multicast & MFE != 0 && mac.hits(Reg::MTA, regs)
                || self.is_exact(mac, regs))
            .then_some(Match::Inexact),
            Kind::Unicast if control & UPE != 0 || self.is_exact(mac, regs) => Some(Match::Exact),
            Kind::Unicast => mac.hits(Reg::PFUTA, regs).then_some(Match::Inexact),
        }
    }

    /// Whether a valid receive address register holds `mac`. The first one is the station's own and what most frames
    /// carry; the card itself loads it, so it is read from the registers each time.
    fn is_exact(&mut self, mac: Mac, regs: &RegisterFile) -> bool {
        if Mac::own(regs) == Some(mac) {
            return true;
        }
        if self.stale {
            self.stale = false;
            self.exact = (1..Reg::RAH.count())
                .filter(|n| regs.get(Reg::RAH, *n) & AV != 0)
                .map(|n| Mac::from_rar(regs.get(Reg::RAL, n), regs.get(Reg::RAH, n)))
                .collect();
        }
        self.exact.contains(&mac)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OWN: [u8; 6] = [2, 0x11, 0x22, 0x33, 0x44, 0x55];
    const GROUP: [u8; 6] = [0x01, 0x00, 0x5E, 0x7F, 0x12, 0xAB];

    fn set_rar(regs: &mut RegisterFile, index: usize, mac: [u8; 6]) {
        regs.set(
            Reg::RAL,
            index,
            u32::from_le_bytes(mac[..4].try_into().unwrap()),
        );
        regs.set(
            Reg::RAH,
            index,
            AV | u32::from(mac[4]) | u32::from(mac[5]) << 8,
        );
    }

    fn accept(regs: &RegisterFile, mac: [u8; 6]) -> Option<Match> {
        let mut filter = AddressFilter::default();
        filter.reset();
        filter.accept(Mac::new(mac), regs)
    }

    #[test]
    fn a_frame_passes_by_the_first_and_by_the_last_address_register() {
        let mut regs = RegisterFile::default();
        set_rar(&mut regs, 0, OWN);
        set_rar(&mut regs, 127, [2, 0, 0, 0, 0, 9]);

        assert_eq!(accept(&regs, OWN), Some(Match::Exact));
        assert_eq!(accept(&regs, [2, 0, 0, 0, 0, 9]), Some(Match::Exact));
        assert_eq!(accept(&regs, [2, 0, 0, 0, 0, 8]), None);
    }

    #[test]
    fn an_address_register_that_is_not_valid_passes_nothing() {
        let mut regs = RegisterFile::default();
        set_rar(&mut regs, 3, OWN);
        regs.set(Reg::RAH, 3, regs.get(Reg::RAH, 3) & !AV);

        assert_eq!(accept(&regs, OWN), None);
    }

    #[test]
    fn a_change_of_an_address_register_is_seen() {
        let mut regs = RegisterFile::default();
        let mut filter = AddressFilter::default();
        filter.reset();
        assert_eq!(filter.accept(Mac::new(OWN), &regs), None);

        set_rar(&mut regs, 5, OWN);
        filter.changed();

        assert_eq!(filter.accept(Mac::new(OWN), &regs), Some(Match::Exact));
    }

    #[test]
    fn broadcast_passes_with_bam_or_multicast_promiscuous_only() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::FCTRL, 0, UPE);
        assert_eq!(accept(&regs, [0xFF; 6]), None);
        regs.set(Reg::FCTRL, 0, BAM);
        assert_eq!(accept(&regs, [0xFF; 6]), Some(Match::Inexact));
        regs.set(Reg::FCTRL, 0, MPE);
        assert_eq!(accept(&regs, [0xFF; 6]), Some(Match::Inexact));
    }

    #[test]
    fn promiscuous_modes_are_for_their_kind_of_address() {
        let mut regs = RegisterFile::default();
        regs.set(Reg::FCTRL, 0, UPE);
        assert_eq!(accept(&regs, OWN), Some(Match::Exact));
        assert_eq!(accept(&regs, GROUP), None);
        regs.set(Reg::FCTRL, 0, MPE);
        assert_eq!(accept(&regs, OWN), None);
        assert_eq!(accept(&regs, GROUP), Some(Match::Inexact));
    }

    #[test]
    fn the_multicast_table_counts_only_if_it_is_enabled() {
        let mut regs = RegisterFile::default();
        let (row, bit) = Mac::new(GROUP).hash(0);
        regs.set(Reg::MTA, row, 1 << bit);

        assert_eq!(accept(&regs, GROUP), None);
        regs.set(Reg::MCSTCTRL, 0, MFE);
        assert_eq!(accept(&regs, GROUP), Some(Match::Inexact));
        assert_eq!(accept(&regs, [1, 0, 0x5E, 0, 0, 1]), None);
    }

    #[test]
    fn a_unicast_frame_passes_by_the_unicast_hash_table() {
        let mut regs = RegisterFile::default();
        let (row, bit) = Mac::new(OWN).hash(0);
        regs.set(Reg::PFUTA, row, 1 << bit);

        assert_eq!(accept(&regs, OWN), Some(Match::Inexact));
    }

    /// Linux `ixgbe_mta_vector`.
    fn linux_mta_vector(addr: [u8; 6], mc_filter_type: u32) -> u16 {
        let [.., a4, a5] = addr.map(u16::from);
        let vector = match mc_filter_type {
            0 => a4 >> 4 | a5 << 4,
            1 => a4 >> 3 | a5 << 5,
            2 => a4 >> 2 | a5 << 6,
            _ => a4 | a5 << 8,
        };
        vector & 0xFFF
    }

    proptest! {
        #[test]
        fn a_filter_is_named_for_what_is_let_in_and_for_nothing_else(
            mac in prop::sample::select(&[OWN, GROUP, [0xFF; 6], [2, 0, 0, 0, 0, 9]]),
            control in prop::collection::vec(prop::sample::select(&[BAM, MPE, UPE]), 0..4),
            (multicast, rars) in (any::<bool>(), prop::collection::vec((0..128_usize, any::<bool>()), 0..3)),
            tables in prop::collection::vec(prop::sample::select(&[Reg::MTA, Reg::PFUTA]), 0..3),
        ) {
            let mut regs = RegisterFile::default();
            regs.set(Reg::FCTRL, 0, control.iter().fold(0, |all, bit| all | bit));
            regs.set(Reg::MCSTCTRL, 0, if multicast { MFE } else { 0 });
            for (index, same) in rars {
                set_rar(&mut regs, index, if same { mac } else { [2, 0, 0, 0, 0, 7] });
            }
            let (row, bit) = Mac::new(mac).hash(0);
            for table in tables {
                regs.set(table, row, 1 << bit);
            }

            let named = AddressMatch::of(Mac::new(mac), &regs);

            // A receive address register takes no broadcasts by itself.
            prop_assert_eq!(named.is_some(), accept(&regs, mac).is_some(), "{:?}", named);
        }

        #[test]
        fn the_hash_is_the_one_that_linux_programs(mac in any::<[u8; 6]>(), offset in 0u32..4) {
            let vector = linux_mta_vector(mac, offset);

            let (row, bit) = Mac::new(mac).hash(offset);

            prop_assert_eq!(row, usize::from(vector >> 5));
            prop_assert_eq!(bit, u32::from(vector & 31));
        }
    }
}
