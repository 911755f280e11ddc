//! Wake-up: what a sleeping function notices (5.3, 8.2.3.18).
//!
//! In D3hot a frame that one of the filters of WUFC knows, or a change of the link, is noted in WUS and sets the PME
//! status of the configuration space; the first such frame is kept in WUPL and WUPM. Nothing carries the PME message
//! to the client: it has to read the status.
//!
//! Not implemented: the ARP, IP and flexible filters.

use ixgbe_spec::register::{
    Reg,
    bits::{wuc, wufc},
};

use crate::{filter::Kind, regs::RegisterFile};

/// Bytes of the frame that woke the function which software can read.
const KEPT: usize = 128;

/// Whether a sleeping function has been woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// It sleeps on.
    No,
    /// It asks for its power.
    Yes,
}

/// Whether any filter is on.
pub(crate) fn is_armed(regs: &RegisterFile) -> bool {
    regs.get(Reg::WUFC, 0) != 0
}

/// A frame arrives while the function sleeps; `kind` is that of its address if the address filters let it in.
pub(crate) fn frame(bytes: &[u8], kind: Option<Kind>, regs: &mut RegisterFile) -> Wake {
    let by_address = match kind {
        Some(Kind::Unicast) if is_exact(bytes, regs) => wufc::EX,
        Some(Kind::Multicast) => wufc::MC,
        Some(Kind::Broadcast) => wufc::BC,
        Some(Kind::Unicast) | None => 0,
    };
    let broadcast = bytes.first_chunk() == Some(&[0xFF; 6]);
    let magic = if (kind.is_some() || broadcast) && is_magic(bytes, regs) {
        wufc::MAG
    } else {
        0
    };
    let reasons = (by_address | magic) & regs.get(Reg::WUFC, 0);
    if reasons != 0 && regs.get(Reg::WUS, 0) == 0 {
        keep(bytes, regs);
    }
    wake(reasons, regs)
}

/// The link has come or gone while the function sleeps.
pub(crate) fn link_change(regs: &mut RegisterFile) -> Wake {
    wake(wufc::LNKC & regs.get(Reg::WUFC, 0), regs)
}

fn wake(reasons: u32, regs: &mut RegisterFile) -> Wake {
    if reasons == 0 {
        return Wake::No;
    }
    regs.set(Reg::WUS, 0, regs.get(Reg::WUS, 0) | reasons);
    regs.set(Reg::WUC, 0, regs.get(Reg::WUC, 0) | wuc::PME_STATUS);
    Wake::Yes
}

/// Whether the destination is one of the receive addresses; the address filters know inexact matches, too.
fn is_exact(bytes: &[u8], regs: &RegisterFile) -> bool {
    (0..Reg::RAL.count()).any(|entry| {
        let valid = regs.get(Reg::RAH, entry) >> 31 == 1;
        valid && bytes.starts_with(&address(entry, regs))
    })
}

/// Whether a frame holds, anywhere, six bytes of ones and then the port's address sixteen times.
fn is_magic(bytes: &[u8], regs: &RegisterFile) -> bool {
    let mut pattern = vec![0xFF; 6];
    pattern.extend(address(0, regs).repeat(16));
    bytes
        .windows(pattern.len())
        .any(|window| window == pattern.as_slice())
}

fn address(entry: usize, regs: &RegisterFile) -> [u8; 6] {
    let [a, b, c, d] = regs.get(Reg::RAL, entry).to_le_bytes();
    let [e, f, ..] = regs.get(Reg::RAH, entry).to_le_bytes();
    [a, b, c, d, e, f]
}

/// Keeps the length and the first bytes of a frame.
fn keep(bytes: &[u8], regs: &mut RegisterFile) {
    regs.set(Reg::WUPL, 0, u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let mut first = [0; KEPT];
    for (to, from) in first.iter_mut().zip(bytes) {
        *to = *from;
    }
    for (n, dword) in first.as_chunks().0.iter().enumerate() {
        regs.set(Reg::WUPM, n, u32::from_le_bytes(*dword));
    }
}

#[cfg(test)]
mod tests {
    use ixgbe_spec::register::Reg;

    use crate::port::tests::world::{MAC, World};

    const LNKC: u32 = 1 << 0;
    const MAG: u32 = 1 << 1;
    const EX: u32 = 1 << 2;
    const MC: u32 = 1 << 3;
    const BC: u32 = 1 << 4;
    const PMCSR: u16 = 0x44;
    const PME_STATUS: u16 = 1 << 15;

    /// A function with a link that sleeps with these filters.
    fn asleep(filters: u32) -> World {
        let mut world = World::enabled();
        world.set(Reg::FCTRL, 1 << 10);
        world.set(Reg::WUC, 1 << 1);
        world.set(Reg::WUFC, filters);
        world.config_write16(PMCSR, 0x0103);
        world
    }

    /// Wakes it as Linux does, and returns the reasons.
    fn reasons(world: &mut World) -> u32 {
        world.config_write16(PMCSR, 0);
        world.get(Reg::WUS)
    }

    fn is_signalled(world: &mut World) -> bool {
        world.config_read16(PMCSR) & PME_STATUS != 0
    }

    fn frame(to: [u8; 6]) -> Vec<u8> {
        let mut frame = vec![0; 200];
        frame[..6].copy_from_slice(&to);
        frame[12..14].copy_from_slice(&[0x08, 0x42]);
        frame
    }

    fn magic(of: [u8; 6]) -> Vec<u8> {
        let mut frame = frame([0xFF; 6]);
        frame[30..36].fill(0xFF);
        frame[36..132].copy_from_slice(&of.repeat(16));
        frame
    }

    #[test]
    fn a_magic_packet_wakes_and_is_kept() {
        let mut world = asleep(MAG);
        world.receive(&frame([0xFF; 6]));
        world.receive(&magic([2, 0, 0, 0, 0, 9]));
        assert!(!is_signalled(&mut world), "no magic, and another's");

        let packet = magic(MAC);
        world.receive(&packet);

        assert!(is_signalled(&mut world));
        assert_eq!(reasons(&mut world), MAG);
        assert_eq!(world.get(Reg::WUPL), 200);
        let kept: Vec<u8> = (0..32)
            .flat_map(|n| world.get_at(Reg::WUPM, n).to_le_bytes())
            .collect();
        assert_eq!(kept, packet[..128]);
        assert_eq!(world.get(Reg::WUC) & 0x6, 0x6, "PME enable and status");
        world.set(Reg::WUS, u32::MAX);
        assert_eq!(world.get(Reg::WUS), 0);
    }

    #[test]
    fn frames_wake_by_their_address_if_the_filter_is_on() {
        for (to, filter) in [(MAC, EX), ([0xFF; 6], BC)] {
            let mut off = asleep(!filter & 0x1F & !LNKC);
            off.receive(&frame(to));
            assert_eq!(reasons(&mut off), 0);
            let mut on = asleep(filter);
            on.receive(&frame(to));
            assert_eq!(reasons(&mut on), filter);
        }
        let mut other = asleep(EX | MC | BC);
        other.receive(&frame([0x00, 0x1B, 0x21, 0, 0, 1]));
        other.receive(&frame([0x01, 0, 0x5E, 0, 0, 1]));
        assert_eq!(reasons(&mut other), 0, "the address filters refuse both");
    }

    #[test]
    fn a_change_of_the_link_wakes() {
        let mut world = asleep(LNKC);
        world.carrier(false);
        assert!(is_signalled(&mut world));
        assert_eq!(reasons(&mut world), LNKC);
    }

    #[test]
    fn nothing_wakes_a_function_that_does_not_sleep() {
        let mut world = asleep(MAG | LNKC | BC);
        world.config_write16(PMCSR, 0);
        world.set(Reg::FCTRL, 1 << 10);
        world.set(Reg::WUFC, MAG | LNKC | BC);
        world.receive(&magic(MAC));
        world.carrier(false);
        assert_eq!(world.get(Reg::WUS), 0);
        assert!(!is_signalled(&mut world));
    }
}
