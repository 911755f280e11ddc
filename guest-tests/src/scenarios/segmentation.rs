use anyhow::{Result, ensure};
use etherparse::TcpHeader;
use nic_driver::{Config, Packet};

use super::checksums::{flow_v4, flow_v6};
use crate::{
    card_world::CardWorld,
    frames::{BROADCAST, Checked, Flow},
    offload,
    scenario::{Scenario, scenarios},
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard a_large_ipv4_segment_leaves_in_pieces_that_make_the_whole,
    OnCard a_large_ipv6_segment_leaves_in_pieces_that_make_the_whole,
    OnCard the_pieces_of_a_large_segment_each_get_the_tag,
    OnCard a_large_segment_that_fits_one_frame_is_one_frame,
];

const MSS: u16 = 1448;
const SEQUENCE: u32 = 0xFFFF_F000;

fn header() -> TcpHeader {
    let mut header = TcpHeader::new(0, 0, SEQUENCE, 0x4000);
    header.ack = true;
    header.acknowledgment_number = 77;
    header.psh = true;
    header.fin = true;
    header.cwr = true;
    // A time stamp, as every Linux sends.
    let stamp = etherparse::TcpOptionElement::Timestamp(1, 2);
    let nop = etherparse::TcpOptionElement::Noop;
    header
        .set_options(&[nop.clone(), nop, stamp])
        .expect("12 bytes fit");
    header
}

fn payload(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 7 + at / 256).to_le_bytes()[0])
        .collect()
}

/// Sends `len` bytes of payload as one packet and checks that its pieces are what a driver that segments by itself
/// would have sent.
fn segments(world: &mut CardWorld, flow: &Flow, len: usize, vlan: Option<u16>) -> Result<()> {
    let config = Config {
        ring_len: 256,
        ..Config::default()
    };
    let mac = world.bring_up(&config)?.mac();
    let payload = payload(len);
    let small = flow.tcp_with(mac, BROADCAST, header(), &[])?;
    let large = offload::segmentation(&small, &payload, MSS)?;
    let packet = Packet {
        vlan,
        ..large.packet()
    };
    world.send_packet(0, &packet)?;

    let count = len.div_ceil(usize::from(MSS)).max(1);
    let frames = world.sent(count)?;
    ensure!(
        frames.len() == count,
        "{} frames instead of {count}",
        frames.len()
    );
    let first_id = Checked::new(&frames[0])?.ipv4_id();
    let mut whole = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        let piece = Checked::new(frame)?;
        let tcp = piece.tcp()?;
        let (first, last) = (number == 0, number == count - 1);
        let sequence = SEQUENCE.wrapping_add(u32::try_from(whole.len())?);
        ensure!(
            tcp.sequence_number == sequence,
            "piece {number} begins at {:#x} instead of {sequence:#x}",
            tcp.sequence_number
        );
        ensure!(
            (tcp.cwr, tcp.psh, tcp.fin, tcp.ack) == (first, last, last, true),
            "flags of piece {number}: {tcp:?}"
        );
        ensure!(tcp.options == header().options, "options: {tcp:?}");
        let number = u16::try_from(number)?;
        ensure!(
            piece.ipv4_id() == first_id.map(|id| id.wrapping_add(number)),
            "piece {number} has the identification {:?}, the first one {first_id:?}",
            piece.ipv4_id()
        );
        ensure!(piece.vlan == vlan, "tag {:?}", piece.vlan);
        ensure!(
            last || piece.payload.len() == usize::from(MSS),
            "a short piece {number}"
        );
        whole.extend(piece.payload);
    }
    ensure!(
        whole == payload,
        "the pieces make {} other bytes",
        whole.len()
    );
    Ok(())
}

fn a_large_ipv4_segment_leaves_in_pieces_that_make_the_whole(world: &mut CardWorld) -> Result<()> {
    segments(world, &flow_v4(), 65_000, None)?;
    segments(world, &flow_v4(), usize::from(MSS) * 3, None)?;
    segments(world, &flow_v4(), usize::from(MSS) * 3 + 1, None)
}

fn a_large_ipv6_segment_leaves_in_pieces_that_make_the_whole(world: &mut CardWorld) -> Result<()> {
    segments(world, &flow_v6(), 65_000, None)?;
    segments(world, &flow_v6(), usize::from(MSS) * 3, None)?;
    segments(world, &flow_v6(), usize::from(MSS) * 3 + 1, None)
}

fn the_pieces_of_a_large_segment_each_get_the_tag(world: &mut CardWorld) -> Result<()> {
    segments(world, &flow_v4(), 10_000, Some(100))?;
    segments(world, &flow_v6(), 10_000, Some(3 << 13 | 4094))
}

fn a_large_segment_that_fits_one_frame_is_one_frame(world: &mut CardWorld) -> Result<()> {
    segments(world, &flow_v4(), usize::from(MSS), None)?;
    segments(world, &flow_v6(), 1, None)
}
