use std::net::IpAddr;

use anyhow::{Context, Result, ensure};
use ixgbe_spec::{
    descriptor::rx::{PacketType, Status},
    register::{
        Reg,
        bits::{ipsidx, ipsrxmod, secrxctrl, sectxctrl},
    },
};
use nic_driver::{Config, IpSec, L4, Packet};

use super::checksums::{flow_v4, flow_v6};
use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, Checked, ETHERNET, Flow, PEER, numbered, padded, same},
    ipsec::{Association, ICV, Kind, Mode, reframed},
    offload,
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard a_packet_leaves_as_its_association_protects_it,
    OnCard a_protected_packet_arrives_opened_and_is_told_as_such,
    OnCard what_is_wrong_with_a_protected_packet_is_told,
    OnCard a_large_segment_leaves_in_pieces_each_protected,
    OnCard each_of_1024_associations_has_its_own_key,
    OnCard frames_wait_while_the_security_block_is_stopped,
];

const SEQUENCE: u32 = 0xFFFF_FFFE;
const IV: u64 = 0x0123_4567_FFFF_FFFE;

fn association(kind: Kind, number: u32) -> Association {
    let mut key = [0x5A; 16];
    key[..4].copy_from_slice(&number.to_be_bytes());
    Association {
        kind,
        spi: 0xC000_0000 | number,
        key,
        salt: number.wrapping_mul(0x0101_0101).to_be_bytes(),
    }
}

/// Brings the card up with the security block on, as Linux does it.
fn bring_up(world: &mut CardWorld) -> Result<()> {
    let config = Config {
        ring_len: 256,
        ..Config::default()
    };
    let driver = world.bring_up(&config)?;
    // Store and forward.
    driver.set_register(Reg::SECTXCTRL, 0, 1 << 2)?;
    driver.set_register(Reg::SECRXCTRL, 0, 0)?;
    driver.set_register(Reg::IPSTXIDX, 0, ipsidx::EN)?;
    driver.set_register(Reg::IPSRXIDX, 0, ipsidx::EN)?;
    Ok(())
}

fn write_secret(world: &mut CardWorld, key: Reg, salt: Reg, of: &Association) -> Result<()> {
    let driver = world.driver()?;
    for (index, word) in of.key.as_chunks::<4>().0.iter().rev().enumerate() {
        driver.set_register(key, index, u32::from_be_bytes(*word))?;
    }
    Ok(driver.set_register(salt, 0, u32::from_be_bytes(of.salt))?)
}

fn add_transmit(world: &mut CardWorld, index: u32, association: &Association) -> Result<()> {
    write_secret(world, Reg::IPSTXKEY, Reg::IPSTXSALT, association)?;
    let command = ipsidx::EN | ipsidx::WRITE | index << ipsidx::INDEX_SHIFT;
    Ok(world.driver()?.set_register(Reg::IPSTXIDX, 0, command)?)
}

/// Entry `index` of the tables, with the address in entry `index` of the table of addresses, modulo its length.
fn add_receive(
    world: &mut CardWorld,
    index: u32,
    association: &Association,
    to: IpAddr,
) -> Result<()> {
    let ip_index = index % 128;
    let (address, version) = match to {
        IpAddr::V4(to) => ([&[0; 12][..], &to.octets()].concat(), 0),
        IpAddr::V6(to) => (to.octets().to_vec(), ipsrxmod::IPV6),
    };
    let mode = version
        | ipsrxmod::VALID
        | match association.kind {
            Kind::Esp => ipsrxmod::ESP | ipsrxmod::DECRYPT,
            Kind::EspNull => ipsrxmod::ESP,
            Kind::Ah => 0,
        };
    let command = |table: u32, index: u32| {
        ipsidx::EN | ipsidx::WRITE | table << ipsidx::TABLE_SHIFT | index << ipsidx::INDEX_SHIFT
    };
    let driver = world.driver()?;
    for (word, bytes) in address.as_chunks::<4>().0.iter().enumerate() {
        driver.set_register(Reg::IPSRXIPADDR, word, u32::from_le_bytes(*bytes))?;
    }
    driver.set_register(Reg::IPSRXIDX, 0, command(ipsidx::TABLE_IP, ip_index))?;
    let spi = u32::from_le_bytes(association.spi.to_be_bytes());
    driver.set_register(Reg::IPSRXSPI, 0, spi)?;
    driver.set_register(Reg::IPSRXIPIDX, 0, ip_index)?;
    driver.set_register(Reg::IPSRXIDX, 0, command(ipsidx::TABLE_SPI, index))?;
    write_secret(world, Reg::IPSRXKEY, Reg::IPSRXSALT, association)?;
    let driver = world.driver()?;
    driver.set_register(Reg::IPSRXMOD, 0, mode)?;
    driver.set_register(Reg::IPSRXIDX, 0, command(ipsidx::TABLE_KEY, index))?;
    // A frame on the cable does not wait for posted writes.
    driver.register(Reg::IPSRXIDX, 0)?;
    Ok(())
}

fn request(sa: u16, association: &Association, prepared: &[u8]) -> Result<IpSec> {
    let esp = association.kind != Kind::Ah;
    Ok(IpSec {
        sa,
        esp,
        encrypt: association.kind == Kind::Esp,
        trailer_len: if esp {
            Association::trailer_len(prepared)?
        } else {
            0
        },
    })
}

/// The ends of a tunnel, of either IP version.
fn tunnels() -> [Mode; 2] {
    [flow_v4(), flow_v6()].map(|flow| Mode::Tunnel(flow.source.0, flow.destination.0))
}

/// Every kind of association with every mode and IP version that goes with it.
fn cases() -> Vec<(Kind, Mode, Flow)> {
    let mut cases = Vec::new();
    for flow in [flow_v4(), flow_v6()] {
        for kind in [Kind::Esp, Kind::EspNull, Kind::Ah] {
            cases.push((kind, Mode::Transport, flow));
            cases.extend(tunnels().map(|tunnel| (kind, tunnel, flow)));
        }
    }
    cases
}

/// How far a transport header is moved into a frame by IPsec: what lies between it and the first IP header.
fn l4_start(kind: Kind, mode: Mode, flow: &Flow) -> usize {
    let ip_len = |address: IpAddr| if address.is_ipv4() { 20 } else { 40 };
    let (outer, inner) = match mode {
        Mode::Transport => (flow.source.0, 0),
        Mode::Tunnel(from, _) => (from, ip_len(flow.source.0)),
    };
    let header = match (kind, outer.is_ipv4()) {
        (Kind::Ah, true) => 36,
        (Kind::Ah, false) => 40,
        _ => 16,
    };
    ETHERNET + ip_len(outer) + header + inner
}

/// Bytes of AH behind its check value.
fn ah_padding(flow: &Flow) -> usize {
    if flow.source.0.is_ipv4() { 0 } else { 4 }
}

fn a_packet_leaves_as_its_association_protects_it(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let mac = world.driver()?.mac();
    for (number, (kind, mode, flow)) in cases().into_iter().enumerate() {
        let what = || format!("{kind:?}, {mode:?}, {flow:?}");
        let sa = u16::try_from(number)?;
        let association = association(kind, sa.into());
        add_transmit(world, sa.into(), &association)?;
        for len in [0, 1, 2, 3, 300, 1300] {
            let payload: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
            let frame = flow.udp(mac, BROADCAST, &payload)?;
            let prepared = association.prepare(&frame[ETHERNET..], mode, SEQUENCE, IV)?;
            let expected = association.protect(&prepared)?;

            // The checksums are asked of the card, and stand for what they are in the frame.
            let l4 = l4_start(kind, mode, &flow);
            let blank = offload::checksum(&frame, L4::Udp)?;
            let udp = ETHERNET + if flow.source.0.is_ipv4() { 20 } else { 40 };
            let mut bytes = reframed(&frame, &prepared);
            bytes[l4 + 6..l4 + 8].copy_from_slice(&blank.packet().bytes[udp + 6..udp + 8]);
            let ipv4 = bytes[ETHERNET] >> 4 == 4;
            if ipv4 {
                bytes[ETHERNET + 10..ETHERNET + 12].fill(0);
            }
            let packet = Packet {
                bytes: &bytes,
                ip_checksum: ipv4,
                ipv4,
                l4: Some(L4::Udp),
                mac_len: 14,
                ip_len: u16::try_from(l4 - ETHERNET)?,
                ipsec: Some(request(sa, &association, &prepared)?),
                ..Packet::default()
            };
            world.send_packet(0, &packet)?;
            let sent = world.sent(1)?;
            same(&sent, &[reframed(&frame, &expected)]).with_context(what)?;
            let opened = association.open(&sent[0][ETHERNET..]).with_context(what)?;
            ensure!(opened.packet == frame[ETHERNET..], "{}", what());
        }
    }
    Ok(())
}

fn a_protected_packet_arrives_opened_and_is_told_as_such(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let mac = world.driver()?.mac();
    for (number, (kind, mode, flow)) in cases().into_iter().enumerate() {
        let what = || format!("{kind:?}, {mode:?}, {flow:?}");
        let number = u32::try_from(number)?;
        let association = association(kind, number);
        let outer = match mode {
            Mode::Transport => flow,
            Mode::Tunnel(from, to) => Flow {
                source: (from, 0),
                destination: (to, 0),
            },
        };
        add_receive(world, number, &association, outer.destination.0)?;
        for len in [18, 19, 300, 1300] {
            let payload: Vec<u8> = (0..len).map(|at: usize| at.to_le_bytes()[0]).collect();
            let frame = flow.udp(PEER, mac, &payload)?;
            let prepared = association.prepare(&frame[ETHERNET..], mode, SEQUENCE, IV)?;
            let sealed = association.protect(&prepared)?;
            world.cable().put(&[reframed(&frame, &sealed)])?;
            let received = world.receive().with_context(what)?;

            // All is as its sender had it before, but for the check value, which stays.
            let check_value = match kind {
                Kind::Ah => l4_start(kind, Mode::Transport, &outer) - ICV - ah_padding(&outer),
                _ => received.bytes.len() - ICV,
            };
            let check_value = check_value..check_value + ICV;
            let mut expected = reframed(&frame, &prepared);
            expected[check_value.clone()].copy_from_slice(&reframed(&frame, &sealed)[check_value]);
            same(&[received.bytes], &[expected]).with_context(what)?;
            let errors = Status::SECERR_AUTHENTICATION | Status::L4E | Status::IPE;
            ensure!(
                received.status & (Status::SECP | errors) == Status::SECP,
                "{}: {:?}",
                what(),
                received.status
            );
            let header = match kind {
                Kind::Ah => PacketType::AH,
                _ => PacketType::ESP,
            };
            let transport = mode == Mode::Transport;
            let kinds = received.info.packet_type();
            ensure!(
                kinds.contains(header) && kinds.contains(PacketType::UDP) == transport,
                "{}: {kinds:?}",
                what()
            );
            ensure!(
                received.status.contains(Status::L4CS) == transport,
                "{}: {:?}",
                what(),
                received.status
            );
        }
    }
    Ok(())
}

fn what_is_wrong_with_a_protected_packet_is_told(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let mac = world.driver()?.mac();
    let flow = flow_v4();
    let esp = association(Kind::Esp, 1);
    add_receive(world, 5, &esp, flow.destination.0)?;
    let frame = flow.udp(PEER, mac, &[7; 100])?;
    let packet = &frame[ETHERNET..];
    let sealed = reframed(&frame, &esp.seal(packet, Mode::Transport, 1, 1)?);
    let as_ah = Association {
        kind: Kind::Ah,
        ..esp
    };
    let stranger = association(Kind::Esp, 2);

    let mut forged = sealed.clone();
    forged[60] ^= 1;
    // The IP header says that there is more than there is.
    let cut = sealed[..sealed.len() - 20].to_vec();
    let ah = reframed(&frame, &as_ah.seal(packet, Mode::Transport, 1, 1)?);
    let unknown = reframed(&frame, &stranger.seal(packet, Mode::Transport, 1, 1)?);
    let all = Status::SECP | Status::SECERR_AUTHENTICATION;
    for (frame, expected) in [
        (forged, all),
        (cut, Status::SECP | Status::SECERR_LENGTH),
        (ah, Status::SECP | Status::SECERR_PROTOCOL),
        (unknown, Status::empty()),
    ] {
        world.cable().put(std::slice::from_ref(&frame))?;
        let received = world.receive()?;
        ensure!(
            received.status & all == expected,
            "{:?} instead of {expected:?}",
            received.status
        );
        // It comes as it came in.
        same(&[received.bytes], &[frame])?;
    }
    Ok(())
}

fn a_large_segment_leaves_in_pieces_each_protected(world: &mut CardWorld) -> Result<()> {
    const MSS: u16 = 1400;
    bring_up(world)?;
    let mac = world.driver()?.mac();
    for (number, flow) in [flow_v4(), flow_v6()].into_iter().enumerate() {
        for kind in [Kind::Esp, Kind::EspNull, Kind::Ah] {
            let association = association(kind, 9);
            let sa = u16::try_from(number)?;
            add_transmit(world, sa.into(), &association)?;
            let payload: Vec<u8> = (0..30_001_usize).map(|at| at.to_le_bytes()[0]).collect();
            let small = flow.tcp(mac, BROADCAST, &[])?;
            let large = offload::segmentation(&small, &payload, MSS)?;
            let large = large.packet();
            // Headers, IPsec header, TCP header and payload; the card adds the trailers.
            let l4 = ETHERNET + usize::from(large.ip_len);
            let prepared =
                association.prepare(&small[ETHERNET..], Mode::Transport, SEQUENCE, IV)?;
            let header = l4_start(kind, Mode::Transport, &flow) - l4;
            let inner = l4 - ETHERNET;
            let mut bytes = large.bytes[..l4].to_vec();
            bytes.extend(&prepared[inner..inner + header]);
            bytes.extend(&large.bytes[l4..]);
            bytes[if large.ipv4 { 23 } else { 20 }] = if kind == Kind::Ah { 51 } else { 50 };
            let ipsec = IpSec {
                trailer_len: 0,
                ..request(sa, &association, &prepared)?
            };
            let packet = Packet {
                bytes: &bytes,
                ip_len: u16::try_from(inner + header)?,
                ipsec: Some(ipsec),
                ..large
            };
            world.send_packet(0, &packet)?;

            let count = payload.len().div_ceil(MSS.into());
            let mut whole = Vec::new();
            let frames = world.sent(count)?;
            ensure!(frames.len() == count, "{} frames", frames.len());
            for (number, frame) in (0_u32..).zip(&frames) {
                let opened = association
                    .open(&frame[ETHERNET..])
                    .with_context(|| format!("{kind:?}, piece {number}"))?;
                ensure!(
                    opened.sequence == SEQUENCE.wrapping_add(number)
                        && opened.iv == IV + u64::from(number),
                    "piece {number} is {:#x} with {:#x}",
                    opened.sequence,
                    opened.iv
                );
                let protected = &frame[ETHERNET..];
                if large.ipv4 {
                    let (header, _) = etherparse::Ipv4Header::from_slice(protected)?;
                    ensure!(header.header_checksum == header.calc_header_checksum());
                    ensure!(usize::from(header.total_len) == protected.len());
                }
                let piece = Checked::new(&padded(&reframed(frame, &opened.packet)))?;
                whole.extend(piece.payload);
            }
            ensure!(whole == payload, "the pieces make other bytes");
        }
    }
    Ok(())
}

fn each_of_1024_associations_has_its_own_key(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let mac = world.driver()?.mac();
    let flow = flow_v4();
    let frame = flow.udp(mac, BROADCAST, b"to the peer")?;
    let back = flow.udp(PEER, mac, b"from the peer")?;
    for number in 0..1024 {
        let association = association(Kind::Esp, number);
        add_transmit(world, number, &association)?;
        add_receive(world, number, &association, flow.destination.0)?;
    }
    for number in [0, 1, 127, 128, 511, 1023] {
        let association = association(Kind::Esp, number);
        let prepared = association.prepare(&frame[ETHERNET..], Mode::Transport, 1, 2)?;
        let bytes = reframed(&frame, &prepared);
        let packet = Packet {
            bytes: &bytes,
            ipv4: true,
            mac_len: 14,
            ipsec: Some(request(u16::try_from(number)?, &association, &prepared)?),
            ..Packet::default()
        };
        world.send_packet(0, &packet)?;
        let expected = reframed(&frame, &association.protect(&prepared)?);
        same(&world.sent(1)?, &[expected])?;
        let sealed = association.seal(&back[ETHERNET..], Mode::Transport, 1, 2)?;
        world.cable().put(&[reframed(&back, &sealed)])?;
        let received = world.receive()?;
        ensure!(
            received.status & (Status::SECP | Status::SECERR_AUTHENTICATION) == Status::SECP,
            "association {number}: {:?}",
            received.status
        );
    }
    Ok(())
}

fn frames_wait_while_the_security_block_is_stopped(world: &mut CardWorld) -> Result<()> {
    bring_up(world)?;
    let mac = world.driver()?.mac();
    let driver = world.driver()?;
    driver.set_register(Reg::SECRXCTRL, 0, secrxctrl::RX_DIS)?;
    driver.set_register(Reg::SECTXCTRL, 0, sectxctrl::TX_DIS)?;
    // A read after posted writes: they have arrived.
    ensure!(driver.register(Reg::SECRXSTAT, 0)? & 1 == 1, "not ready");
    ensure!(driver.register(Reg::SECTXSTAT, 0)? & 1 == 1, "not ready");
    let arriving = numbered(mac, 1, 100);
    let leaving = numbered(BROADCAST, 2, 100);
    world.cable().put(std::slice::from_ref(&arriving))?;
    world.send_packet(0, &Packet::plain(&leaving))?;
    world.pass(std::time::Duration::from_millis(2))?;
    let driver = world.driver()?;
    ensure!(driver.register(Reg::TDH, 0)? == 0, "a frame was sent");
    ensure!(driver.receive()?.is_none(), "a frame was received");

    driver.set_register(Reg::SECRXCTRL, 0, 0)?;
    driver.set_register(Reg::SECTXCTRL, 0, 0)?;
    same(&world.sent(1)?, &[leaving])?;
    same(&[world.receive()?.bytes], &[arriving])
}
