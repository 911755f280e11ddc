//! The parser against frames made by hand and against etherparse.

use etherparse::{NetHeaders, PacketBuilder, PacketHeaders, TransportHeader};
use proptest::prelude::*;

use super::*;

const SETTINGS: Settings = Settings {
    vlan_type: 0x8100,
    outer_vlan_type: None,
    rfctl: 0,
};
const DOUBLE: Settings = Settings {
    outer_vlan_type: Some(0x88A8),
    ..SETTINGS
};

fn parse(frame: &[u8], settings: &Settings) -> Headers {
    let mut headers = Headers::default();
    headers.parse(&frame[..frame.len().min(WINDOW)], frame.len(), settings);
    headers
}

fn tcp4() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1024, 80, 1, 100)
        .write(&mut frame, b"payload")
        .unwrap();
    frame
}

#[test]
fn tcp_over_ipv4_is_recognised_up_to_its_payload() {
    let frame = tcp4();

    let headers = parse(&frame, &SETTINGS);

    assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
    assert_eq!((headers.l3, headers.l4), (L3::Ipv4, L4::Tcp));
    assert_eq!((headers.l3_offset, headers.l4_offset), (14, 34));
    assert_eq!((headers.payload_offset, headers.ip_end), (54, 61));
    assert_eq!(headers.tag, None);
}

#[test]
fn a_tagged_frame_is_typed_behind_the_tag() {
    let mut frame = tcp4();
    frame.splice(12..12, [0x81, 0x00, 0x60, 0x64]);

    let headers = parse(&frame, &SETTINGS);

    let tag = headers.tag.unwrap();
    assert_eq!((tag.offset(), tag.id(), tag.priority()), (12, 100, 3));
    assert!(!tag.cfi());
    assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
    assert_eq!(headers.l3_offset, 18);
}

#[test]
fn of_two_tags_the_inner_one_is_the_vlan_tag() {
    let mut frame = tcp4();
    frame.splice(12..12, [0x88, 0xA8, 0, 7, 0x81, 0x00, 0, 9]);

    let headers = parse(&frame, &DOUBLE);

    assert!(headers.outer_tag);
    assert_eq!(headers.tag, Tag::new(16, 9));
    assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
}

#[test]
fn an_outer_tag_alone_is_no_vlan_tag() {
    let mut frame = tcp4();
    frame.splice(12..12, [0x88, 0xA8, 0, 7]);

    let headers = parse(&frame, &DOUBLE);

    assert!(headers.outer_tag);
    assert_eq!(headers.tag, None);
    assert_eq!(headers.l3, L3::Ipv4);
}

#[test]
fn ip_behind_a_snap_header_is_recognised() {
    let mut frame = tcp4();
    let length = u16::try_from(frame.len() - 14 + 8).unwrap();
    frame.splice(12..14, length.to_be_bytes());
    frame.splice(14..14, [0xAA, 0xAA, 3, 0, 0, 0, 8, 0]);

    let headers = parse(&frame, &SETTINGS);

    assert!(headers.snap);
    assert_eq!(headers.length, Some(length));
    assert_eq!(headers.packet_type, PacketType::IPV4 | PacketType::TCP);
}

#[test]
fn a_fragment_has_no_transport_layer() {
    let mut frame = tcp4();
    frame[20] = 0x20;

    let headers = parse(&frame, &SETTINGS);

    assert!(headers.fragment);
    assert_eq!(headers.packet_type, PacketType::IPV4);
    assert_eq!(headers.l4, L4::None);
}

#[test]
fn a_routing_header_with_addresses_left_is_noticed() {
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0, 32, 43, 64]);
    frame.extend([1; 32]);
    frame.extend([17, 2, 2, 1, 0, 0, 0, 0]);
    frame.extend([9; 16]);
    frame.extend([0, 1, 0, 2, 0, 8, 0, 0]);

    let headers = parse(&frame, &SETTINGS);

    assert!(headers.source_routed);
    assert_eq!(headers.l4, L4::Udp);
    assert_eq!(
        headers.packet_type,
        PacketType::IPV6 | PacketType::IPV6_EXTENSIONS | PacketType::UDP
    );
}

#[test]
fn an_endless_extension_chain_ends_with_the_window() {
    let mut frame = vec![0; 12];
    frame.extend([0x86, 0xDD, 0x60, 0, 0, 0, 0x20, 0, 0, 64]);
    frame.resize(9000, 0);

    let headers = parse(&frame, &SETTINGS);

    assert_eq!(headers.l4, L4::None);
    assert_eq!(headers.l3, L3::Ipv6);
}

#[test]
fn an_nfs_call_is_recognised() {
    let mut call = [0; 40];
    call[0] = 0x77;
    call[11] = 2;
    call[13..16].copy_from_slice(&[1, 0x86, 0xA3]);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .udp(1024, 2049)
        .write(&mut frame, &call)
        .unwrap();

    let headers = parse(&frame, &SETTINGS);

    assert_eq!(
        headers.packet_type,
        PacketType::IPV4 | PacketType::UDP | PacketType::NFS
    );
}

#[derive(Clone, Debug)]
struct Build {
    six: bool,
    udp: bool,
    vlan: Option<u16>,
    hop_by_hop: bool,
    options: u8,
    payload: Vec<u8>,
}

fn build() -> impl Strategy<Value = Build> {
    (
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(0u16..4096),
        any::<bool>(),
        0u8..=5,
        proptest::collection::vec(any::<u8>(), 0..200),
    )
        .prop_map(|(six, udp, vlan, hop_by_hop, options, payload)| Build {
            six,
            udp,
            vlan,
            hop_by_hop,
            options,
            payload,
        })
}

fn frame_of(build: &Build) -> Vec<u8> {
    use etherparse::{
        IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header, Ipv6Extensions, Ipv6Header,
        Ipv6RawExtHeader, VlanId,
    };
    let ip = if build.six {
        let extensions = Ipv6Extensions {
            hop_by_hop_options: build
                .hop_by_hop
                .then(|| Ipv6RawExtHeader::new_raw(IpNumber::UDP, &[1, 4, 0, 0, 0, 0]).unwrap()),
            ..Ipv6Extensions::default()
        };
        IpHeaders::Ipv6(
            Ipv6Header {
                source: [1; 16],
                destination: [2; 16],
                ..Ipv6Header::default()
            },
            extensions,
        )
    } else {
        let mut header =
            Ipv4Header::new(0, 64, IpNumber::UDP, [10, 0, 0, 1], [10, 0, 0, 2]).unwrap();
        let options = [1; 20];
        header.options = options[..usize::from(build.options) * 4]
            .try_into()
            .unwrap();
        IpHeaders::Ipv4(header, Ipv4Extensions::default())
    };
    let ethernet = PacketBuilder::ethernet2([2; 6], [4; 6]);
    let mut frame = Vec::new();
    let builder = match build.vlan {
        Some(id) => ethernet.single_vlan(VlanId::try_new(id).unwrap()).ip(ip),
        None => ethernet.ip(ip),
    };
    if build.udp {
        builder.udp(7, 9).write(&mut frame, &build.payload).unwrap();
    } else {
        builder
            .tcp(7, 9, 3, 4)
            .write(&mut frame, &build.payload)
            .unwrap();
    }
    frame
}

proptest! {
    #[test]
    fn the_parser_agrees_with_etherparse(build in build()) {
        let frame = frame_of(&build);
        let oracle = PacketHeaders::from_ethernet_slice(&frame).unwrap();

        let headers = parse(&frame, &SETTINGS);

        prop_assert_eq!(
            headers.tag.map(Tag::id),
            oracle.vlan_ids().first().map(|id| id.value())
        );
        let options = match oracle.net.unwrap() {
            NetHeaders::Ipv4(ip, _) => {
                prop_assert_eq!(headers.l3, L3::Ipv4);
                prop_assert_eq!(
                    headers.l4_offset - headers.l3_offset,
                    u16::try_from(ip.header_len()).unwrap()
                );
                headers.packet_type.contains(PacketType::IPV4_OPTIONS) != ip.options.is_empty()
            }
            NetHeaders::Ipv6(_, extensions) => {
                prop_assert_eq!(headers.l3, L3::Ipv6);
                headers.packet_type.contains(PacketType::IPV6_EXTENSIONS)
                    != extensions.is_empty()
            }
            NetHeaders::Arp(_) => false,
        };
        prop_assert!(options);
        let l4 = match oracle.transport.unwrap() {
            TransportHeader::Udp(_) => L4::Udp,
            _ => L4::Tcp,
        };
        prop_assert_eq!(headers.l4, l4);
        let payload = oracle.payload.slice();
        prop_assert_eq!(&frame[usize::from(headers.payload_offset)..], payload);
        prop_assert_eq!(usize::from(headers.ip_end), frame.len());
    }

    #[test]
    fn no_bytes_take_the_parser_out_of_the_frame(
        mut frame in proptest::collection::vec(any::<u8>(), 0..300),
        six in any::<bool>(),
    ) {
        if let Some(place) = frame.get_mut(12..15) {
            place.copy_from_slice(if six { &[0x86, 0xDD, 0x60] } else { &[8, 0, 0x45] });
        }

        let headers = parse(&frame, &SETTINGS);

        prop_assert!(usize::from(headers.l4_offset) <= frame.len());
        prop_assert!(usize::from(headers.payload_offset) <= frame.len());
    }
}
