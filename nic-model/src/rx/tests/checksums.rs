//! What descriptors say about checksums. etherparse computes the right ones.

use etherparse::{IpFragOffset, IpNumber, Ipv4Header, PacketHeaders, TransportHeader};
use ixgbe_spec::descriptor::rx::{Fragment, PacketType};
use proptest::prelude::*;

use super::*;
use crate::wire::L4Checksum;

/// The status bits that concern checksums, of the descriptor for `frame`.
fn status(frame: &[u8]) -> Status {
    let mut bench = Bench::with_queue();
    let mut frame = frame.to_vec();
    frame.resize(frame.len().max(60), 0);
    assert_eq!(bench.receive(&RxFrame::new(&frame)), DELIVERED);
    let done = bench.written_back(0, 0).status();
    let wrong = done.intersects(Status::IPE | Status::L4E);
    assert_eq!(bench.get(Reg::XEC), u32::from(wrong));
    done & (Status::IPCS | Status::IPE | Status::L4CS | Status::L4E | Status::UDPCS | Status::UDPV)
}

fn udp6(payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv6([1; 16], [2; 16], 64)
        .udp(7, 9)
        .write(&mut frame, payload)
        .unwrap();
    frame
}

fn sctp() -> Vec<u8> {
    let mut packet = vec![0, 7, 0, 9, 1, 2, 3, 4, 0, 0, 0, 0, 3, 0, 0, 4, 1, 1, 1];
    let crc = crc32c::crc32c(&packet);
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, OWN)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .write(&mut frame, IpNumber::SCTP, &packet)
        .unwrap();
    frame
}

const IP: Status = Status::IPCS;
const UDP: Status = Status::UDPCS.union(Status::L4CS);

#[test]
fn right_checksums_are_good() {
    assert_eq!(status(&tcp(b"abc")), IP | Status::L4CS);
    assert_eq!(status(&udp(b"abc")), IP | UDP);
    assert_eq!(status(&udp6(b"abc")), UDP);
    assert_eq!(status(&sctp()), IP | Status::L4CS);
}

#[test]
fn wrong_checksums_are_errors() {
    let flipped = |mut frame: Vec<u8>, place: usize| {
        frame[place] ^= 0x10;
        frame
    };
    assert_eq!(
        status(&flipped(tcp(b"abc"), 54)),
        IP | Status::L4CS | Status::L4E
    );
    assert_eq!(status(&flipped(udp(b"abc"), 44)), IP | UDP | Status::L4E);
    assert_eq!(status(&flipped(udp6(b"abc"), 62)), UDP | Status::L4E);
    assert_eq!(
        status(&flipped(sctp(), 50)),
        IP | Status::L4CS | Status::L4E
    );
    let ttl = flipped(udp(b"abc"), 22);
    assert_eq!(status(&ttl), IP | Status::IPE | UDP);
}

#[test]
fn no_udp_checksum_is_fine_over_ipv4_and_an_error_over_ipv6() {
    let mut frame = udp(b"abc");
    frame[40..42].fill(0);
    assert_eq!(status(&frame), IP);
    let mut frame = udp6(b"abc");
    frame[60..62].fill(0);
    assert_eq!(status(&frame), UDP | Status::L4E);
}

#[test]
fn what_is_not_ip_has_no_checksums() {
    assert_eq!(status(&frame_to(OWN, 100)), Status::empty());
}

#[test]
fn a_packet_that_is_cut_short_is_not_verified() {
    let mut frame = udp(&[1; 100]);
    frame.truncate(100);
    assert_eq!(status(&frame), IP);
}

#[test]
fn the_l4_checksum_over_ipv6_can_be_turned_off() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RFCTL, 0, 1 << 11);

    bench.receive(&RxFrame::new(&udp6(b"abc")));

    let status = bench.written_back(0, 0).status();
    assert_eq!(status, Status::DD | Status::EOP);
}

#[test]
fn a_checksum_that_the_wire_vouches_for_is_not_computed() {
    let mut bench = Bench::with_queue();
    let mut frame = udp(&[1; 100]);
    frame[100] ^= 1;

    bench.receive(&RxFrame {
        l4_checksum: L4Checksum::Valid,
        ..RxFrame::new(&frame)
    });

    let status = bench.written_back(0, 0).status();
    assert_eq!(status, Status::DD | Status::EOP | IP | UDP);
}

pub(super) fn fragment(payload: &[u8], offset: u16, more: bool) -> Vec<u8> {
    let mut ip = Ipv4Header::new(
        u16::try_from(payload.len()).unwrap(),
        64,
        IpNumber::UDP,
        [10, 0, 0, 1],
        [10, 0, 0, 2],
    )
    .unwrap();
    ip.identification = 0x1234;
    ip.fragment_offset = IpFragOffset::try_new(offset).unwrap();
    ip.more_fragments = more;
    ip.header_checksum = ip.calc_header_checksum();
    let mut frame = frame_to(OWN, 14);
    frame[12..14].copy_from_slice(&[8, 0]);
    ip.write(&mut frame).unwrap();
    frame.extend_from_slice(payload);
    frame
}

#[test]
fn a_fragment_has_its_sum_and_identification_if_software_asks_for_it() {
    let mut bench = Bench::with_queue();
    bench.write(Reg::RXCSUM, 0, 1 << 12);
    let payload: Vec<u8> = (1..=64).collect();

    bench.receive(&RxFrame::new(&fragment(&payload, 0, true)));
    bench.receive(&RxFrame::new(&fragment(&payload, 8, false)));

    let first = bench.written_back(0, 0);
    let sum = payload.chunks(2).fold(0u32, |sum, word| {
        sum + u32::from(word[0]) * 256 + u32::from(word[1])
    });
    let expected = Fragment::new()
        .with_ip_id(0x1234)
        .with_checksum(u16::try_from(sum % 0xFFFF).unwrap());
    assert_eq!(first.hash.get(), expected.into_bits());
    assert_eq!(
        first.status(),
        Status::DD | Status::EOP | Status::IPCS | Status::UDPV
    );
    assert_eq!(first.info().packet_type(), PacketType::IPV4);
    let second = bench.written_back(0, 1);
    assert_eq!(second.hash.get(), expected.into_bits());
    assert_eq!(second.status(), Status::DD | Status::EOP | Status::IPCS);
}

#[derive(Clone, Debug)]
struct Build {
    six: bool,
    udp: bool,
    payload: Vec<u8>,
    flip: Option<(prop::sample::Index, u8)>,
    split: prop::sample::Index,
}

fn build() -> impl Strategy<Value = Build> {
    (
        any::<bool>(),
        any::<bool>(),
        proptest::collection::vec(any::<u8>(), 26..1400),
        proptest::option::of((any::<prop::sample::Index>(), 1u8..)),
        any::<prop::sample::Index>(),
    )
        .prop_map(|(six, udp, payload, flip, split)| Build {
            six,
            udp,
            payload,
            flip,
            split,
        })
}

fn frame_of(build: &Build) -> Vec<u8> {
    let ethernet = PacketBuilder::ethernet2(PEER, OWN);
    let ip = if build.six {
        ethernet.ipv6([1; 16], [3; 16], 64)
    } else {
        ethernet.ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
    };
    let mut frame = Vec::new();
    if build.udp {
        ip.udp(7, 9).write(&mut frame, &build.payload).unwrap();
    } else {
        ip.tcp(7, 9, 1, 2)
            .write(&mut frame, &build.payload)
            .unwrap();
    }
    if let Some((place, bits)) = build.flip {
        // Anywhere in the payload, so that the frame still parses.
        let start = frame.len() - build.payload.len();
        frame[start + place.index(build.payload.len())] ^= bits;
    }
    frame
}

/// Whether etherparse computes the checksum that is in the frame.
fn is_right(frame: &[u8]) -> bool {
    let headers = PacketHeaders::from_ethernet_slice(frame).unwrap();
    let payload = headers.payload.slice();
    let net = headers.net.unwrap();
    match (headers.transport.unwrap(), net.ipv4_ref(), net.ipv6_ref()) {
        (TransportHeader::Udp(udp), Some((ip, _)), _) => {
            udp.checksum == udp.calc_checksum_ipv4(ip, payload).unwrap()
        }
        (TransportHeader::Udp(udp), _, Some((ip, _))) => {
            udp.checksum == udp.calc_checksum_ipv6(ip, payload).unwrap()
        }
        (TransportHeader::Tcp(tcp), Some((ip, _)), _) => {
            tcp.checksum == tcp.calc_checksum_ipv4(ip, payload).unwrap()
        }
        (TransportHeader::Tcp(tcp), _, Some((ip, _))) => {
            tcp.checksum == tcp.calc_checksum_ipv6(ip, payload).unwrap()
        }
        _ => unreachable!("only these are built"),
    }
}

proptest! {
    #[test]
    fn the_error_bit_is_what_etherparse_computes(build in build()) {
        let frame = frame_of(&build);
        let mut bench = Bench::with_queue();
        let (head, body) = frame.split_at(build.split.index(frame.len()));

        bench.receive(&RxFrame { head, body, ..RxFrame::new(&[]) });

        let status = bench.written_back(0, 0).status();
        prop_assert!(status.contains(Status::L4CS));
        prop_assert_eq!(status.contains(Status::L4E), !is_right(&frame));
        prop_assert_eq!(status.contains(Status::UDPCS), build.udp);
        prop_assert_eq!(status.contains(Status::IPCS), !build.six);
    }
}
