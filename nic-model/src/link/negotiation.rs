//! What the registers of auto-negotiation show (3.7.4): clause 37 for a 1 Gbit/s link, clause 73 for a backplane.
//!
//! The other end can do whatever there is, asks for nothing, and agrees to PAUSE of both kinds. So negotiation is over as
//! soon as there is a link. A module's port negotiates at 1 Gbit/s only; the modes of a backplane are there for drivers
//! that pass through them when they restart the link, and for those that write them.

use ixgbe_spec::register::{
    Reg,
    bits::{anlp, autoc, links, links2, pcs1gan, pcs1glsta},
};

use super::speed::Speed;
use crate::regs::RegisterFile;

/// Shows what a link of this speed has negotiated. Returns what of it stands in LINKS.
pub(super) fn publish(up: Option<Speed>, regs: &mut RegisterFile) -> u32 {
    let autoc = regs.get(Reg::AUTOC, 0);
    let mode = autoc >> autoc::LMS_SHIFT & autoc::LMS_MASK;
    let gigabit = up == Some(Speed::Gigabit);
    regs.set(
        Reg::PCS1GLSTA,
        0,
        match mode {
            _ if !gigabit => 0,
            autoc::LMS_1G_AN => pcs1glsta::LINK_OK | pcs1glsta::SYNC_OK | pcs1glsta::AN_COMPLETE,
            _ => pcs1glsta::LINK_OK | pcs1glsta::SYNC_OK,
        },
    );
    let partner = if gigabit && mode == autoc::LMS_1G_AN {
        pcs1gan::FULL_DUPLEX | pcs1gan::SYM_PAUSE | pcs1gan::ASM_PAUSE | pcs1gan::ACKNOWLEDGE
    } else {
        0
    };
    regs.set(Reg::PCS1GANLP, 0, partner);
    let backplane = matches!(
        mode,
        autoc::LMS_KX4_KX_KR | autoc::LMS_KX4_KX_KR_1G_AN | autoc::LMS_KX4_KX_KR_SGMII
    );
    // A link that is forced has no partner.
    let negotiated = up.is_some() && backplane && autoc & autoc::FLU == 0;
    let (page, abilities, supported, complete) = if negotiated {
        (
            anlp::SELECTOR | anlp::SYM_PAUSE | anlp::ASM_PAUSE | anlp::ACKNOWLEDGE,
            anlp::KX | anlp::KX4 | anlp::KR,
            links2::AN_SUPPORTED,
            links::AN_COMPLETE,
        )
    } else {
        (0, 0, 0, 0)
    };
    // Drivers take a state of 0 for a state machine that does not start.
    let state = regs.get(Reg::ANLP1, 0) & anlp::STATE_MASK;
    regs.set(Reg::ANLP1, 0, state | page);
    regs.set(Reg::ANLP2, 0, abilities);
    regs.set(Reg::LINKS2, 0, supported);
    complete
}
