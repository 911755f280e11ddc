//! The embedded host, seen by another TCP/IP stack (smoltcp as a client) over frames alone.
#![expect(clippy::unwrap_used, reason = "a test stops where a step fails")]

mod client;
mod frames;
mod hostile;

use client::Client;
use smoltcp::{
    socket::{dhcpv4, tcp, udp},
    wire::{IpAddress, Ipv4Address, Ipv6Address},
};

const HOST_V4: IpAddress = IpAddress::Ipv4(Ipv4Address::new(10, 0, 2, 2));
const HOST_V6: IpAddress = IpAddress::Ipv6(Ipv6Address::new(0xfd00, 0x8259, 0, 0, 0, 0, 0, 2));
const HOST_LINK_LOCAL: IpAddress =
    IpAddress::Ipv6(Ipv6Address::new(0xfe80, 0, 0, 0, 0x0082, 0x59ff, 0xfe00, 2));

#[test]
fn dhcp_gives_the_first_address_with_mask_and_router() {
    let mut client = Client::without_address(1500);

    let lease = client.dhcp();

    assert_eq!(lease.address.to_string(), "10.0.2.15/24");
    assert_eq!(lease.router, Some(Ipv4Address::new(10, 0, 2, 2)));
    assert!(lease.dns_servers.is_empty());
}

#[test]
fn a_dhcp_lease_is_renewed_before_it_ends() {
    let mut client = Client::without_address(1500);
    client.dhcp();
    let socket = client.sockets.add(dhcpv4::Socket::new());

    let configured = client.run_until(100_000, |client| {
        matches!(
            client.sockets.get_mut::<dhcpv4::Socket<'_>>(socket).poll(),
            Some(dhcpv4::Event::Configured(_))
        )
    });
    // Two days, longer than the lease; a lost lease would be an event.
    let lost = client.run_until(200_000_000, |client| {
        matches!(
            client.sockets.get_mut::<dhcpv4::Socket<'_>>(socket).poll(),
            Some(dhcpv4::Event::Deconfigured)
        )
    });

    assert!(configured);
    assert!(!lost);
}

#[test]
fn ping_is_answered_over_ipv4() {
    let mut client = Client::new(1500);

    assert!(client.ping(HOST_V4, 56));
}

#[test]
fn ping_is_answered_over_ipv6() {
    let mut client = Client::new(1500);

    assert!(client.ping(HOST_V6, 56));
    assert!(client.ping(HOST_LINK_LOCAL, 56));
}

#[test]
fn a_ping_larger_than_the_mtu_comes_back_in_fragments_that_fit() {
    let mut client = Client::new(1500);

    assert!(client.ping(HOST_V4, 8000));
    assert!(client.largest_received <= 1514);
}

#[test]
fn a_jumbo_ping_comes_back_in_one_frame() {
    let mut client = Client::new(9710);

    assert!(client.ping(HOST_V4, 9682));
    assert!(client.ping(HOST_V6, 9662));
    assert_eq!(client.largest_received, 9724);
}

#[test]
fn a_router_advertisement_lets_the_client_configure_an_address() {
    let mut client = Client::without_address(1500);

    let configured = client.run_until(10_000, |client| {
        client
            .interface
            .ip_addrs()
            .iter()
            .any(|address| address.to_string().starts_with("fd00:8259::"))
    });

    assert!(configured);
}

#[test]
fn a_megabyte_comes_back_from_tcp_echo() {
    let mut client = Client::new(1500);
    let sent: Vec<u8> = (0..1_000_000_u32)
        .map(|n| n.to_le_bytes()[n as usize % 4])
        .collect();

    let received = client.exchange(HOST_V4, 7, &sent, sent.len());

    assert_eq!(received, sent);
}

#[test]
fn a_megabyte_comes_back_from_tcp_echo_over_ipv6_in_jumbo_frames() {
    let mut client = Client::new(9000);
    let sent = vec![0x42; 1_000_000];

    let received = client.exchange(HOST_V6, 7, &sent, sent.len());

    assert_eq!(received, sent);
    assert_eq!(client.largest_received, 9014);
}

#[test]
fn chargen_sends_the_pattern_of_rfc_864() {
    let mut client = Client::new(1500);

    let received = client.exchange(HOST_V4, 19, &[], 100_000);

    let lines: Vec<_> = received.split(|&byte| byte == b'\n').take(96).collect();
    assert_eq!(
        lines[0],
        b" !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg\r"
    );
    assert!(lines[1].starts_with(b"!\"#$"));
    assert_eq!(lines[0], lines[95]);
}

#[test]
fn discard_takes_everything_and_says_nothing() {
    let mut client = Client::new(1500);

    let received = client.exchange(HOST_V4, 9, &vec![1; 1_000_000], 0);

    assert!(received.is_empty(), "{received:?}");
}

#[test]
fn several_connections_at_once_keep_their_bytes_apart() {
    let mut client = Client::new(1500);
    let handles: Vec<_> = (0..12).map(|_| client.connect(HOST_V4, 7)).collect();

    let connected = client.run_until(10_000, |client| {
        handles
            .iter()
            .all(|&handle| client.sockets.get::<tcp::Socket<'_>>(handle).may_send())
    });
    for (index, &handle) in handles.iter().enumerate() {
        let socket = client.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .send_slice(format!("connection {index:02}").as_bytes())
            .unwrap();
    }
    let answered = client.run_until(10_000, |client| {
        handles
            .iter()
            .all(|&handle| client.sockets.get::<tcp::Socket<'_>>(handle).recv_queue() == 13)
    });

    assert!(connected);
    assert!(answered);
    let last = client.sockets.get_mut::<tcp::Socket<'_>>(handles[11]);
    assert_eq!(
        last.recv(|bytes| (bytes.len(), bytes.to_vec())).unwrap(),
        b"connection 11"
    );
}

#[test]
fn connections_beyond_the_limit_are_refused_and_later_ones_served() {
    let mut client = Client::new(1500);
    let handles: Vec<_> = (0..60).map(|_| client.connect(HOST_V4, 9)).collect();
    client.run_until(1000, |_| false);
    let established = |client: &Client| {
        handles
            .iter()
            .filter(|&&handle| client.sockets.get::<tcp::Socket<'_>>(handle).may_send())
            .count()
    };
    let served = established(&client);

    for &handle in &handles {
        client.sockets.get_mut::<tcp::Socket<'_>>(handle).close();
    }
    client.run_until(1000, |_| false);
    let echoed = client.exchange(HOST_V4, 7, b"still there", 11);
    let discarded = client.exchange(HOST_V4, 9, b"still there", 0);

    assert_eq!(served, 40);
    assert_eq!(echoed, b"still there");
    assert_eq!(discarded, b"");
}

#[test]
fn udp_echo_answers_from_the_address_that_was_asked() {
    let mut client = Client::new(1500);

    let (bytes, from) = client.datagram(HOST_V6, 7, b"hello").expect("an answer");

    assert_eq!(bytes, b"hello");
    assert_eq!(from.addr, HOST_V6);
    assert_eq!(from.port, 7);
}

#[test]
fn udp_chargen_answers_a_datagram_with_a_line() {
    let mut client = Client::new(1500);

    let (bytes, _) = client.datagram(HOST_V4, 19, b"").expect("an answer");

    assert_eq!(bytes.len(), 74);
}

#[test]
fn udp_discard_does_not_answer() {
    let mut client = Client::new(1500);

    assert_eq!(client.datagram(HOST_V4, 9, b"hello"), None);
}

#[test]
fn two_echo_services_do_not_answer_each_other() {
    let mut client = Client::new(1500);
    let socket = client.udp_socket(7);
    client
        .sockets
        .get_mut::<udp::Socket<'_>>(socket)
        .send_slice(b"ping", (HOST_V4, 7))
        .unwrap();

    let answered = client.run_until(2000, |client| {
        client.sockets.get::<udp::Socket<'_>>(socket).can_recv()
    });

    assert!(!answered);
}

#[test]
fn a_host_that_nobody_talks_to_has_nothing_to_do() {
    let mut client = Client::without_address(1500);
    client
        .interface
        .update_ip_addrs(|addresses| addresses.clear());

    let host = client.idle_host();

    assert_eq!(wire::Backend::deadline(&host), None);
    assert!(!wire::Backend::has_frames(&host));
}
