//! The speed of the link: what the link mode of AUTOC allows and what the module can (3.7.4, 8.2.3.22.19).

use ixgbe_spec::register::bits::{autoc, links};
use serde::{Deserialize, Serialize};

use super::Module;

/// A speed that the link can have.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) enum Speed {
    /// 1 Gbit/s.
    Gigabit,
    /// 10 Gbit/s.
    TenGigabit,
}

impl Speed {
    /// The field of LINKS.
    pub(super) const fn field(self) -> u32 {
        match self {
            Self::Gigabit => links::SPEED_1G,
            Self::TenGigabit => links::SPEED_10G,
        }
    }
}

/// The speed at which `module` and the link mode of `autoc` agree, if they do. The modes for backplanes negotiate the
/// best, so that any module agrees with them; drivers pass through them when they restart the link.
pub(super) fn agreed(module: Module, autoc: u32) -> Option<Speed> {
    let asked: &[Speed] = match autoc >> autoc::LMS_SHIFT & autoc::LMS_MASK {
        autoc::LMS_1G | autoc::LMS_1G_AN | autoc::LMS_SGMII => &[Speed::Gigabit],
        autoc::LMS_10G | autoc::LMS_10G_SERIAL => &[Speed::TenGigabit],
        _ => &[Speed::TenGigabit, Speed::Gigabit],
    };
    let mut asked = asked.iter().copied();
    asked.find(|speed| module.supports(*speed))
}

/// The speed of a link that FLU forces up: that of the link mode alone.
pub(super) const fn forced(autoc: u32) -> Speed {
    match autoc >> autoc::LMS_SHIFT & autoc::LMS_MASK {
        autoc::LMS_1G | autoc::LMS_1G_AN | autoc::LMS_SGMII => Speed::Gigabit,
        _ => Speed::TenGigabit,
    }
}
