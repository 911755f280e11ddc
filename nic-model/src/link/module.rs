//! The kinds of modules that can be plugged into the cage.

use std::{fmt, str::FromStr};

use super::speed::Speed;

/// What is in the cage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Module {
    /// Nothing.
    Absent,
    /// An SFP+ module for 10GBASE-SR, of the vendor whose modules every 82599 driver accepts.
    #[default]
    Sr,
    /// The same that works at 1 Gbit/s, too, as 1000BASE-SX: drivers try both speeds.
    SrDualRate,
    /// An SFP+ module for 10GBASE-LR.
    Lr,
    /// A direct attach copper cable without electronics of its own.
    DirectAttachPassive,
    /// A direct attach copper cable with a limiting amplifier in its ends.
    DirectAttachActive,
    /// An SFP module for 1000BASE-SX.
    Sx,
    /// An SFP module with a PHY for 1000BASE-T.
    BaseT,
}

/// A text is the name of no module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no kind of module; there are sr, sr-1g, lr, da-passive, da-active, 1g-sx, 1g-t and none")]
pub struct UnknownModule;

impl Module {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Sr,
        Self::SrDualRate,
        Self::Lr,
        Self::DirectAttachPassive,
        Self::DirectAttachActive,
        Self::Sx,
        Self::BaseT,
        Self::Absent,
    ];

    /// The name by which people choose it: `sr`, `sr-1g`, `lr`, `da-passive`, `da-active`, `1g-sx`, `1g-t`, `none`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "none",
            Self::Sr => "sr",
            Self::SrDualRate => "sr-1g",
            Self::Lr => "lr",
            Self::DirectAttachPassive => "da-passive",
            Self::DirectAttachActive => "da-active",
            Self::Sx => "1g-sx",
            Self::BaseT => "1g-t",
        }
    }

    /// Whether it works at this speed.
    pub(super) const fn supports(self, speed: Speed) -> bool {
        match self {
            Self::Absent => false,
            Self::SrDualRate => true,
            Self::Sr | Self::Lr | Self::DirectAttachPassive | Self::DirectAttachActive => {
                matches!(speed, Speed::TenGigabit)
            }
            Self::Sx | Self::BaseT => matches!(speed, Speed::Gigabit),
        }
    }

    /// Whether it can stop sending at the pin TX_DISABLE. A passive cable has nothing that could.
    pub(super) const fn can_be_silenced(self) -> bool {
        !matches!(self, Self::Absent | Self::DirectAttachPassive)
    }
}

impl fmt::Display for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Module {
    type Err = UnknownModule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut all = Self::ALL.into_iter();
        all.find(|module| module.name() == text)
            .ok_or(UnknownModule)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_name_and_the_error_names_them_all() {
        let error = UnknownModule.to_string();

        for module in Module::ALL {
            assert_eq!(module.to_string().parse(), Ok(module));
            assert!(error.contains(module.name()), "{module}");
        }
        assert_eq!("xfp".parse::<Module>(), Err(UnknownModule));
    }
}
