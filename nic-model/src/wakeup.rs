//! Wake-up: what a sleeping function notices (5.3, 8.2.3.18).
//!
//! In D3hot a frame that one of the filters of WUFC knows, or a change of the link, is noted in WUS and sets the PME
//! status of the configuration space; the first such frame is kept in WUPL and WUPM. Nothing carries the PME message
//! to the client: it has to read the status.
//!
//! Not implemented: waking by a management controller, of which there is none.

use ixgbe_spec::register::{
    Reg,
    bits::{ipav, wuc, wufc},
};

use crate::{filter::Kind, regs::RegisterFile};

/// Bytes that a flexible filter compares.
const FLEXIBLE: usize = 128;
/// Registers of one flexible filter: 16 rows of two with eight bytes, one with their mask, and one more.
const FLEXIBLE_REGISTERS: usize = 64;

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
    let directed = match kind {
        Some(_) => by_ip(bytes, regs) | by_pattern(bytes, regs),
        None => 0,
    };
    let reasons = (by_address | magic | directed) & regs.get(Reg::WUFC, 0);
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

/// What a frame is to the ARP, IPv4 and IPv6 filters (5.3.3.1.5 to 5.3.3.1.7).
fn by_ip(bytes: &[u8], regs: &RegisterFile) -> u32 {
    const ARP_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let tag = (regs.get(Reg::VLNCTRL, 0) & 0xFFFF).to_be_bytes();
    let rest = bytes.get(12..).unwrap_or_default();
    // Behind a tag, if there is one.
    let rest = match rest.strip_prefix(&tag[2..]) {
        Some(tagged) => tagged.get(2..).unwrap_or_default(),
        None => rest,
    };
    let at = |place: usize, len| rest.get(place..place + len).unwrap_or_default();
    match (rest.first_chunk(), rest.get(2)) {
        (Some([0x08, 0x06]), _) if at(2, 8) == ARP_REQUEST && is_ipv4(at(26, 4), regs) => wufc::ARP,
        (Some([0x08, 0x00]), Some(0x40..=0x4F)) if is_ipv4(at(18, 4), regs) => wufc::IPV4,
        (Some([0x86, 0xDD]), Some(0x60..=0x6F)) if is_ipv6(at(26, 16), regs) => wufc::IPV6,
        _ => 0,
    }
}

fn is_ipv4(address: &[u8], regs: &RegisterFile) -> bool {
    (0..Reg::IP4AT.count()).any(|n| {
        let valid = regs.get(Reg::IPAV, 0) & ipav::V40 << n != 0;
        valid && address == regs.get(Reg::IP4AT, n).to_le_bytes()
    })
}

fn is_ipv6(address: &[u8], regs: &RegisterFile) -> bool {
    let (dwords, _) = address.as_chunks();
    let mut pairs = dwords.iter().enumerate();
    let same = pairs.all(|(n, dword)| *dword == regs.get(Reg::IP6AT, n).to_le_bytes());
    regs.get(Reg::IPAV, 0) & ipav::V60 != 0 && address.len() == 16 && same
}

/// The flexible filters that a frame passes (5.3.3.2).
fn by_pattern(bytes: &[u8], regs: &RegisterFile) -> u32 {
    let armed = |n: &usize| regs.get(Reg::WUFC, 0) & wufc::FLX0 << n != 0;
    let filters = (Reg::FHFT.count() + Reg::FHFT_EXT.count()) / FLEXIBLE_REGISTERS;
    let passed = (0..filters)
        .filter(armed)
        .filter(|n| is_pattern(bytes, *n, regs));
    passed.fold(0, |reasons, n| reasons | wufc::FLX0 << n)
}

/// Whether a frame has the bytes that filter `n` asks for; the filter is as long as its last register says.
fn is_pattern(bytes: &[u8], n: usize, regs: &RegisterFile) -> bool {
    let (reg, first) = match n * FLEXIBLE_REGISTERS {
        first if first < Reg::FHFT.count() => (Reg::FHFT, first),
        first => (Reg::FHFT_EXT, first - Reg::FHFT.count()),
    };
    let register = |place: usize| regs.get(reg, first + place);
    let len = usize::from(register(FLEXIBLE_REGISTERS - 1).to_le_bytes()[0]);
    let Some(compared) = bytes.get(..len).filter(|_| (1..=FLEXIBLE).contains(&len)) else {
        return false;
    };
    compared.iter().enumerate().all(|(at, byte)| {
        let row = at / 8 * 4;
        let expected = register(row + at % 8 / 4).to_le_bytes();
        let ignored = register(row + 2) >> (at % 8) & 1 == 0;
        ignored || Some(byte) == expected.get(at % 4)
    })
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
        asleep_after(filters, |_| ())
    }

    /// The same, and something is set before: registers cannot be reached in D3hot.
    fn asleep_after(filters: u32, set: impl FnOnce(&mut World)) -> World {
        let mut world = World::enabled();
        set(&mut world);
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

    const ARP: u32 = 1 << 5;
    const IPV4: u32 = 1 << 6;
    const IPV6: u32 = 1 << 7;
    const FLX0: u32 = 1 << 16;
    const FLX5: u32 = 1 << 21;

    /// Reasons after `frame` of a function that sleeps with these filters, IP addresses 10.0.0.9 (the third) and
    /// fe80::9.
    fn woken(filters: u32, valid: u32, frame: &[u8]) -> u32 {
        let mut world = asleep_after(filters, |world| {
            world.set(Reg::IPAV, valid);
            world.set_at(Reg::IP4AT, 2, u32::from_le_bytes([10, 0, 0, 9]));
            world.set_at(Reg::IP6AT, 0, 0x0000_80FE);
            world.set_at(Reg::IP6AT, 3, 0x0900_0000);
        });
        world.receive(frame);
        reasons(&mut world)
    }

    fn arp_request(operation: u8, target: u8) -> Vec<u8> {
        let mut frame = frame([0xFF; 6]);
        frame[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
        frame[38..42].copy_from_slice(&[10, 0, 0, target]);
        frame
    }

    fn ip_packet(destination: [u8; 4]) -> Vec<u8> {
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], MAC)
            .ipv4([10, 0, 0, 1], destination, 64)
            .udp(1, 2)
            .write(&mut frame, &[0; 40])
            .unwrap();
        frame
    }

    fn ipv6_packet(last: u8) -> Vec<u8> {
        let mut destination = [0; 16];
        destination[..2].copy_from_slice(&[0xFE, 0x80]);
        destination[15] = last;
        let mut frame = Vec::new();
        etherparse::PacketBuilder::ethernet2([2; 6], MAC)
            .ipv6([0; 16], destination, 64)
            .udp(1, 2)
            .write(&mut frame, &[0; 40])
            .unwrap();
        frame
    }

    #[test]
    fn an_arp_request_for_one_of_its_addresses_wakes() {
        assert_eq!(woken(ARP, 1 << 2, &arp_request(1, 9)), ARP);
        assert_eq!(woken(ARP, 1 << 2, &arp_request(1, 8)), 0, "another's");
        assert_eq!(woken(ARP, 1 << 2, &arp_request(2, 9)), 0, "a reply");
        assert_eq!(woken(ARP, 1 << 1, &arp_request(1, 9)), 0, "not valid");
        assert_eq!(woken(IPV4, 1 << 2, &arp_request(1, 9)), 0, "not asked for");
    }

    #[test]
    fn a_tag_does_not_hide_an_arp_request() {
        let mut tagged = arp_request(1, 9);
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        assert_eq!(woken(ARP, 1 << 2, &tagged), ARP);
    }

    #[test]
    fn an_ip_packet_for_one_of_its_addresses_wakes() {
        assert_eq!(woken(IPV4, 1 << 2, &ip_packet([10, 0, 0, 9])), IPV4);
        assert_eq!(woken(IPV4, 1 << 2, &ip_packet([10, 0, 0, 8])), 0);
        assert_eq!(woken(IPV6, 1 << 16, &ipv6_packet(9)), IPV6);
        assert_eq!(woken(IPV6, 1 << 16, &ipv6_packet(8)), 0);
        assert_eq!(woken(IPV6, 1 << 2, &ipv6_packet(9)), 0, "not valid");
    }

    /// Programs a flexible filter from register `first` of `reg` on: of `len` bytes, and byte 14 is to be 0x77.
    fn pattern(world: &mut World, reg: Reg, first: usize, len: u32) {
        world.set_at(reg, first + 5, 0x0077_0000);
        world.set_at(reg, first + 6, 1 << 6);
        world.set_at(reg, first + 63, len);
    }

    #[test]
    fn a_frame_that_a_flexible_filter_knows_wakes() {
        let mut known = frame(MAC);
        known[14] = 0x77;
        let mut first = asleep_after(FLX0 | FLX5, |world| pattern(world, Reg::FHFT, 0, 15));
        let mut last = asleep_after(FLX0 | FLX5, |world| {
            pattern(world, Reg::FHFT_EXT, 64, 128);
        });

        first.receive(&frame(MAC));
        assert!(!is_signalled(&mut first), "byte 14 is another");
        first.receive(&known);
        last.receive(&known);

        assert_eq!(reasons(&mut first), FLX0);
        assert_eq!(reasons(&mut last), FLX5);
    }

    #[test]
    fn a_frame_for_another_station_wakes_by_no_flexible_filter() {
        let mut world = asleep_after(FLX0, |world| pattern(world, Reg::FHFT, 0, 15));
        let mut other = frame([0x00, 0x1B, 0x21, 0, 0, 1]);
        other[14] = 0x77;

        world.receive(&other);

        assert_eq!(reasons(&mut world), 0);
    }

    #[test]
    fn a_frame_shorter_than_a_flexible_filter_does_not_pass_it() {
        let mut world = asleep_after(FLX0, |world| pattern(world, Reg::FHFT, 0, 128));
        let mut short = frame(MAC);
        short.truncate(64);
        short[14] = 0x77;

        world.receive(&short);

        assert_eq!(reasons(&mut world), 0);
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
