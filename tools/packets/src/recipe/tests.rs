use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;

const NIC: Mac = [2, 0, 0, 0, 0, 9];

fn words(text: &str) -> Vec<Words> {
    let items = text.split_whitespace();
    items
        .map(|item| {
            let (layer, fields) = item.split_once(':').unwrap_or((item, ""));
            Words::parse(Layer::named(layer).unwrap(), fields).unwrap()
        })
        .collect()
}

/// `ip:ttl=1 udp:dport=7`
fn recipe(text: &str) -> Recipe {
    Recipe::new(words(text)).unwrap()
}

fn frames(recipe: &Recipe, n: u64) -> Vec<Vec<u8>> {
    let circumstances = Circumstances {
        nic: Some(NIC),
        answered: None,
    };
    recipe.frames(n, &circumstances).unwrap()
}

fn frame(recipe: &Recipe) -> Vec<u8> {
    frames(recipe, 0).remove(0)
}

fn bytes(text: &[u8]) -> Option<Payload> {
    Some(Payload::Bytes(text.to_vec()))
}

#[test]
fn a_datagram_is_as_etherparse_makes_it() {
    let mut expected = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], NIC)
        .single_vlan(5.try_into().unwrap())
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 7)
        .udp(1000, 80)
        .write(&mut expected, b"hello")
        .unwrap();
    // It sets DF.
    let recipe = recipe("vlan:5 ip:src=10.0.0.1,dst=10.0.0.2,ttl=7,df udp:sport=1000,dport=80");

    assert_eq!(frame(&recipe.payload(bytes(b"hello"))), expected);
}

#[test]
fn a_segment_over_ipv6_is_as_etherparse_makes_it() {
    let mut expected = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4])
        .ipv6([0xFD; 16], [0xFE; 16], 64)
        .tcp(1000, 80, 17, 1024)
        .syn()
        .ack(18)
        .write(&mut expected, b"x")
        .unwrap();
    let recipe = recipe(
        "eth:src=02:00:00:00:00:03,dst=02:00:00:00:00:04 \
         ip6:src=fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd,dst=fefe:fefe:fefe:fefe:fefe:fefe:fefe:fefe \
         tcp:sport=1000,dport=80,seq=17,ack=18,window=1024,flags=SA",
    );

    assert_eq!(frame(&recipe.payload(bytes(b"x"))), expected);
}

#[test]
fn an_arp_request_goes_to_all_and_tells_its_sender() {
    let frame = frame(&recipe(
        "eth:src=02:00:00:00:00:03 arp:who-has=10.0.0.2,tell=10.0.0.1",
    ));

    let packet = SlicedPacket::from_ethernet(&frame).unwrap();
    let Some(NetSlice::Arp(arp)) = packet.net else {
        panic!("{packet:?}")
    };
    assert_eq!(frame[..6], [0xFF; 6]);
    assert_eq!(arp.operation().0, 1);
    assert_eq!(arp.sender_hw_addr(), [2, 0, 0, 0, 0, 3]);
    assert_eq!(arp.sender_protocol_addr(), [10, 0, 0, 1]);
    assert_eq!(arp.target_protocol_addr(), [10, 0, 0, 2]);
}

#[test]
fn an_echo_request_has_a_good_checksum_unless_it_is_to_be_bad() {
    let good = frame(&recipe("icmp:echo,id=7,seq=8").payload(bytes(b"ping")));
    let bad = frame(&recipe("icmp:echo,id=7,seq=8,sum=bad").payload(bytes(b"ping")));

    let valid = |frame: &[u8]| {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Icmpv4(icmp)) = packet.transport else {
            panic!("{packet:?}")
        };
        icmp.icmp_type().calc_checksum(icmp.payload()) == icmp.checksum()
    };
    assert!(valid(&good));
    assert!(!valid(&bad));
}

#[test]
fn a_wrong_sum_or_length_of_ip_is_as_wrong_as_said() {
    let good = frame(&recipe("ip:id=1 udp"));
    let sum = frame(&recipe("ip:id=1,sum=bad udp"));
    let len = frame(&recipe("ip:id=1,len=+4 udp"));
    let ihl = frame(&recipe("ip:id=1,ihl=15,version=5 udp"));

    assert_eq!((&sum[..24], &sum[26..]), (&good[..24], &good[26..]));
    assert_ne!(sum[24..26], good[24..26]);
    assert_eq!(len[16..18], [0, 32]);
    assert_eq!(ihl[14], 0x5F);
}

#[test]
fn two_tags_are_those_of_provider_and_customer() {
    let frame = frame(&recipe("eth:type=0x1234 vlan:100 vlan:5,pcp=7,dei"));

    assert_eq!(
        frame[12..],
        [0x88, 0xA8, 0, 100, 0x81, 0, 0xF0, 5, 0x12, 0x34]
    );
}

#[test]
fn a_frame_of_a_length_is_filled_and_one_shorter_than_its_headers_refused() {
    let long = recipe("ip udp").len(Some(Sequence::one(1514)));
    let short = recipe("ip udp").len(Some(Sequence::one(40)));
    let cut = recipe("ip udp").truncate(Some(40));

    assert_eq!(frame(&long).len(), 1514);
    assert!(
        SlicedPacket::from_ethernet(&frame(&long))
            .unwrap()
            .transport
            .is_some()
    );
    assert_eq!(
        short.frames(
            0,
            &Circumstances {
                nic: Some(NIC),
                answered: None
            }
        ),
        Err(CraftError::Short {
            headers: 42,
            len: 40
        })
    );
    assert_eq!(frame(&cut).len(), 40);
    assert_eq!(frame(&cut)[..40], frame(&recipe("ip udp"))[..40]);
}

#[test]
fn fields_count_over_frames() {
    let recipe = recipe("ip:src=10.0.0.0/30 udp:dport=1000-1005");

    let seen: Vec<_> = (0..7)
        .map(|n| {
            let frame = frames(&recipe, n).remove(0);
            (frame[29], u16::from_be_bytes([frame[36], frame[37]]))
        })
        .collect();

    assert_eq!(
        seen,
        [
            (0, 1000),
            (1, 1001),
            (2, 1002),
            (3, 1003),
            (0, 1004),
            (1, 1005),
            (2, 1000)
        ]
    );
}

#[test]
fn a_packet_for_a_group_goes_to_the_address_of_the_group() {
    let destination = |text: &str| frame(&recipe(text))[..6].to_vec();

    assert_eq!(destination("ip:dst=239.129.2.3 udp"), [1, 0, 0x5E, 1, 2, 3]);
    assert_eq!(
        destination("ip6:dst=ff02::1:ff00:2 udp"),
        [0x33, 0x33, 0xFF, 0, 0, 2]
    );
    assert_eq!(destination("ip:dst=255.255.255.255 udp"), [0xFF; 6]);
    assert_eq!(destination("ip udp"), NIC);
}

#[test]
fn an_answer_takes_its_addresses_from_what_it_answers() {
    let asked = frame(&recipe(
        "eth:src=02:00:00:00:00:05 arp:request,spa=10.0.0.7,tpa=10.0.0.8",
    ));
    let answered = Dissection::new(&asked);
    let answer = recipe("eth:dst=@eth.src arp:reply,spa=@arp.tpa,tpa=@arp.spa,tha=@arp.sha");
    let circumstances = Circumstances {
        nic: Some(NIC),
        answered: Some(&answered),
    };

    let frame = answer.frames(0, &circumstances).unwrap().remove(0);

    let dissection = Dissection::new(&frame);
    assert!(answer.answers());
    assert_eq!(frame[..6], [2, 0, 0, 0, 0, 5]);
    assert_eq!(
        dissection.value(Layer::Arp, "spa"),
        answered.value(Layer::Arp, "tpa")
    );
    assert_eq!(
        dissection.value(Layer::Arp, "tha"),
        answered.value(Layer::Arp, "sha")
    );
}

#[test]
fn headers_that_do_not_go_together_are_refused() {
    assert_eq!(
        Recipe::new(words("ip arp")).unwrap_err(),
        CraftError::Both("arp", "ip")
    );
    assert_eq!(
        Recipe::new(words("arp tcp")).unwrap_err(),
        CraftError::Both("arp", "tcp")
    );
    assert_eq!(
        Recipe::new(words("ip frag6")).unwrap_err(),
        CraftError::Needs("frag6", "--ip6")
    );
}

#[test]
fn fragments_are_put_together_again_by_etherparse() {
    let whole = recipe("ip:id=9 udp:dport=7").len(Some(Sequence::one(3000)));
    let cut = whole
        .clone()
        .fragments(Some("1480,overlap=8,reverse".parse().unwrap()));

    let mut data = vec![0; 3000 - 34];
    let mut last = 0;
    for frame in frames(&cut, 0) {
        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        let Some(NetSlice::Ipv4(ip)) = packet.net else {
            panic!("{packet:?}")
        };
        let at = usize::from(ip.header().fragments_offset().value()) * 8;
        let piece = ip.payload().payload;
        assert_eq!(
            ip.header().header_checksum(),
            ip.header().to_header().calc_header_checksum()
        );
        last += usize::from(!ip.header().more_fragments());
        data[at..at + piece.len()].copy_from_slice(piece);
    }

    assert_eq!(frames(&cut, 0).len(), 3);
    assert_eq!(last, 1);
    assert_eq!(data, frame(&whole)[34..]);
}

#[test]
fn a_frame_that_was_made_is_one_of_the_recipe() {
    let made =
        recipe("vlan:5 ip:ttl=1,src=10.0.0.0/24,len=good,sum=good tcp:dport=80,flags=S,sum=bad")
            .payload(bytes(b"GET /"))
            .len(Some(Sequence::one(200)));
    let other = recipe("vlan:6 ip:ttl=2,src=10.0.1.0/24 tcp:dport=81,flags=SA");

    let frame = frame(&made);
    let dissection = Dissection::new(&frame);

    assert_eq!(made.mismatches(&dissection, None), []);
    let told: Vec<String> = other
        .mismatches(&dissection, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        told,
        [
            "vlan.id: expected 6, seen 5",
            "ip.ttl: expected 2, seen 1",
            "ip.src: expected 10.0.1.0 or one of 255 more, seen 10.0.0.0",
            "tcp.dport: expected 81, seen 80",
            "tcp.flags: expected SA, seen S",
        ]
    );
}

#[test]
fn a_frame_without_the_header_is_told_by_its_headers() {
    let frame = frame(&recipe("arp"));

    let told = recipe("udp:dport=7").mismatches(&Dissection::new(&frame), None);

    assert_eq!(told[0].to_string(), "headers: expected udp, seen eth/arp");
}

proptest! {
    #[test]
    fn frames_are_good_by_etherparse(
        tags in 0..3_usize,
        v6: bool,
        transport in prop::sample::select(vec!["tcp", "udp", "icmp"]),
        extra in 0..1400_u64,
        n: u64,
    ) {
        let (network, transport) = match (v6, transport) {
            (true, "icmp") => ("ip6", "icmp6"),
            (true, transport) => ("ip6", transport),
            (false, transport) => ("ip", transport),
        };
        let text = format!("{} {network} {transport}", "vlan:7 ".repeat(tags));
        let len = 100 + extra;
        let recipe = recipe(&text).len(Some(Sequence::one(len.into())));

        let frame = frames(&recipe, n).remove(0);

        let packet = SlicedPacket::from_ethernet(&frame).unwrap();
        prop_assert_eq!(frame.len() as u64, len);
        prop_assert_eq!(packet.link_exts.len(), tags);
        let (v4, v6) = match &packet.net {
            Some(NetSlice::Ipv4(ip)) => (Some(ip.header().to_header()), None),
            Some(NetSlice::Ipv6(ip)) => (None, Some(ip.header().to_header())),
            other => panic!("{other:?}"),
        };
        let sums = match (packet.transport.unwrap(), &v4, &v6) {
            (TransportSlice::Tcp(tcp), Some(ip), _) => (tcp.checksum(), tcp.to_header().calc_checksum_ipv4(ip, tcp.payload()).unwrap()),
            (TransportSlice::Tcp(tcp), _, Some(ip)) => (tcp.checksum(), tcp.to_header().calc_checksum_ipv6(ip, tcp.payload()).unwrap()),
            (TransportSlice::Udp(udp), Some(ip), _) => (udp.checksum(), udp.to_header().calc_checksum_ipv4(ip, udp.payload()).unwrap()),
            (TransportSlice::Udp(udp), _, Some(ip)) => (udp.checksum(), udp.to_header().calc_checksum_ipv6(ip, udp.payload()).unwrap()),
            (TransportSlice::Icmpv4(icmp), ..) => (icmp.checksum(), icmp.icmp_type().calc_checksum(icmp.payload())),
            (TransportSlice::Icmpv6(icmp), _, Some(ip)) => (
                icmp.checksum(),
                icmp.icmp_type().calc_checksum(ip.source, ip.destination, icmp.payload()).unwrap(),
            ),
            other => panic!("{other:?}"),
        };
        prop_assert_eq!(sums.0, sums.1);
        if let Some(ip) = v4 {
            prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
        }
    }

    #[test]
    fn any_words_make_frames_of_the_length_that_was_asked_for_or_none(
        eth in "(|type=0x[0-9a-f]{4}|dst=random)",
        ip in "(|ttl=[0-9]{1,3}|len=[+-][0-9]{1,2}|ihl=[0-9]|options=01010101|frag=3,mf|sum=bad)",
        udp in "(|len=0|sum=0|sport=1-9/2|dport=random)",
        len in 40..2000_u32,
        n: u64,
    ) {
        let parse = |layer, text: &str| Words::parse(layer, text);
        let all = [parse(Layer::Eth, &eth), parse(Layer::Ip, &ip), parse(Layer::Udp, &udp)];
        if let Ok(words) = all.into_iter().collect::<Result<Vec<_>, _>>() {
            let recipe = Recipe::new(words).unwrap().len(Some(Sequence::one(len.into())));
            let circumstances = Circumstances { nic: Some(NIC), answered: None };
            if let Ok(frames) = recipe.frames(n, &circumstances) {
                prop_assert_eq!(frames[0].len() as u64, u64::from(len));
            }
        }
    }
}
