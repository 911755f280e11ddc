use etherparse::PacketBuilder;
use proptest::prelude::*;

use super::*;

fn tcp(port: u16) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2])
        .ipv4([10, 0, 0, 1], [192, 168, 3, 4], 3)
        .tcp(40_000, port, 3, 4)
        .syn()
        .write(&mut frame, b"GET")
        .unwrap();
    frame
}

fn tagged_udp6() -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2([2, 0, 0, 0, 0, 1], [0xFF; 6])
        .single_vlan(5.try_into().unwrap())
        .ipv6([0xFD; 16], [0xFE; 16], 64)
        .udp(53, 1500)
        .write(&mut frame, &[0; 100])
        .unwrap();
    frame
}

fn arp() -> Vec<u8> {
    let arp = [
        0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 10, 0, 0, 2,
    ];
    [&[0xFF; 6][..], &[2, 0, 0, 0, 0, 1, 8, 6], &arp].concat()
}

fn passes(text: &str, frame: &[u8]) -> bool {
    let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{error}"));
    filter.lets_through(&Dissection::new(frame), Some(Course::Outbound))
}

fn complaint(text: &str) -> String {
    text.parse::<Filter>().unwrap_err().to_string()
}

#[test]
fn protocols_hosts_networks_and_ports_are_told_apart() {
    let frame = tcp(80);
    let yes = [
        "",
        "ip",
        "tcp",
        "tcp port 80",
        "port http",
        "dst port 80",
        "portrange 70-90",
        "host 10.0.0.1",
        "src host 10.0.0.1 and dst 192.168.3.4",
        "net 10",
        "dst net 192.168.0.0/16",
        "net 10.0.0.0 mask 255.0.0.0",
        "ether host 02:00:00:00:00:02",
        "ether src 2:0:0:0:0:1",
        "ether proto 0x800",
        "ether proto ip",
        "ip proto tcp",
        "proto 6",
        "tcp port 80 and host 10.0.0.1",
        "src or dst port 80",
        "10.0.0.1",
        "outbound",
    ];
    let no = [
        "udp",
        "arp",
        "ip6",
        "src port 80",
        "tcp src port 80",
        "udp port 80",
        "host 10.0.0.2",
        "dst net 10",
        "src and dst port 80",
        "ether dst 02:00:00:00:00:01",
        "vlan",
        "icmp",
        "inbound",
        "ether broadcast",
        "ip multicast",
    ];

    let wrong = |texts: &[&'static str], wanted: bool| -> Vec<&'static str> {
        let all = texts.iter().copied();
        all.filter(|text| passes(text, &frame) != wanted).collect()
    };
    assert_eq!(wrong(&yes, true), Vec::<&str>::new());
    assert_eq!(wrong(&no, false), Vec::<&str>::new());
}

#[test]
fn tags_are_asked_for_and_looked_through() {
    let frame = tagged_udp6();

    assert!(passes("vlan", &frame));
    assert!(passes("vlan 5 and ip6 and udp port domain", &frame));
    assert!(passes("broadcast and multicast and icmp6 or udp", &frame));
    assert!(!passes("vlan 6", &frame));
    assert!(!passes("not vlan", &frame));
}

#[test]
fn an_address_is_also_that_of_arp() {
    assert!(passes("host 10.0.0.2", &arp()));
    assert!(passes("arp and src 10.0.0.1", &arp()));
    assert!(passes("arp host 10.0.0.2", &arp()));
    assert!(!passes("ip host 10.0.0.2", &arp()));
    assert!(passes("arp[6:2] = 1", &arp()));
}

#[test]
fn a_value_takes_the_keywords_of_the_one_before() {
    assert!(passes("port 22 or 80", &tcp(80)));
    assert!(passes("tcp dst port ssh or 80 or 443", &tcp(443)));
    assert!(!passes("port 22 or 23", &tcp(80)));
}

#[test]
fn and_and_or_bind_equally_from_left_to_right() {
    // (tcp or udp) and udp
    assert!(!passes("tcp or udp and udp", &tcp(80)));
    assert!(passes("tcp or (udp and udp)", &tcp(80)));
    assert!(!passes("not tcp or udp", &tcp(80)));
    assert!(passes("!(udp || arp) && ! ! tcp", &tcp(80)));
}

#[test]
fn bytes_and_lengths_are_compared() {
    let frame = tcp(80);

    assert!(passes("len = 57", &frame));
    assert!(passes("less 57 and greater 57", &frame));
    assert!(!passes("less 56", &frame));
    assert!(passes("ip[8] < 5", &frame));
    assert!(passes(
        "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn",
        &frame
    ));
    assert!(passes("tcp[13]&tcp-ack=0", &frame));
    assert!(passes("ether[0] & 1 = 0 and ether[12:2] = 0x0800", &frame));
    // The payload of TCP, as everybody writes it.
    assert!(passes(
        "(((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
        &frame
    ));
    assert!(passes("2 + 3 * 4 = 14", &frame));
    assert!(!passes("udp[0] >= 0", &frame));
    assert!(!passes("ip[1000] >= 0", &frame));
    assert!(!passes("1 / 0 = 1", &frame));
    assert!(passes("tcp[2:2]-50 = 30", &frame));
}

#[test]
fn an_unknown_word_is_shown_with_what_is_known() {
    let error = complaint("tcp prot 80");

    assert!(
        error.starts_with("tcp prot 80\n    ^^^^ and, or"),
        "{error}"
    );
    let error = complaint("host 10.0.0.1 and tpc");
    assert!(
        error.starts_with(
            "host 10.0.0.1 and tpc\n                  ^^^ unknown word; known: host, net, port"
        ),
        "{error}"
    );
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    let place = |text: &str| {
        complaint(text)
            .lines()
            .nth(1)
            .unwrap()
            .trim_end()
            .to_owned()
    };

    assert!(place("port 70000").starts_with("     ^^^^^ a port from 0 to 65535"));
    assert!(place("host example.com").starts_with("     ^^^^^^^^^^^ an address is wanted"));
    assert!(place("tcp and").starts_with("       ^ the filter ends"));
    assert!(place("(tcp").starts_with("    ^ ) is wanted"));
    assert!(place("tcp)").starts_with("   ^ there is no ("));
    assert!(place("vlan 5000").starts_with("     ^^^^ a VLAN has"));
    assert!(place("len").starts_with("   ^ a comparison is wanted"));
    assert!(place("ip[0:3] = 1").starts_with("     ^ 1, 2 or 4"));
    assert!(place("icmp port 5").starts_with("          ^ icmp has no ports"));
    assert!(place("tcp $ 3").starts_with("    ^ this sign"));
}

#[test]
fn a_filter_that_is_too_deep_or_too_long_is_refused() {
    let deep = "(".repeat(2000);
    let long = "1+".repeat(5000);
    let nots = format!("{}tcp", "not ".repeat(2000));

    assert!(complaint(&deep).contains("too many parentheses"));
    assert!(complaint(&long).contains("too long"));
    assert!(passes(&nots, &tcp(80)));
}

fn any_filter() -> impl Strategy<Value = String> {
    let words = [
        "tcp",
        "udp",
        "ip",
        "ip6",
        "arp",
        "vlan",
        "host",
        "net",
        "port",
        "portrange",
        "src",
        "dst",
        "ether",
        "proto",
        "and",
        "or",
        "not",
        "(",
        ")",
        "[",
        "]",
        ":",
        "<",
        "=",
        "&",
        "-",
        "/",
        "80",
        "10.0.0.1",
        "10.0.0.0/8",
        "::1",
        "02:00:00:00:00:01",
        "len",
        "less",
        "tcp-syn",
        "1-2",
        "mask",
        "broadcast",
        "é",
        "0x10",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30)
        .prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn any_words_are_a_filter_or_a_complaint_of_two_lines(text in any_filter(), frame in prop::collection::vec(any::<u8>(), 0..80)) {
        match text.parse::<Filter>() {
            Ok(filter) => {
                let dissection = Dissection::new(&frame);
                let passes = filter.lets_through(&dissection, None);
                let opposite: Filter = format!("not ({text})").parse().unwrap_or_else(|_| text.parse().unwrap());
                let empty = filter.is_empty();
                prop_assert!(empty || passes != opposite.lets_through(&dissection, None) || text.trim().is_empty());
            }
            Err(complaint) => prop_assert_eq!(complaint.to_string().lines().count(), 2),
        }
    }

    #[test]
    fn any_text_is_a_filter_or_a_complaint(text in "\\PC{0,60}") {
        if let Err(complaint) = text.parse::<Filter>() {
            prop_assert_eq!(complaint.to_string().lines().count(), 2);
        }
    }
}
