//! The embedded host, asked with single frames that etherparse builds and reads.

use etherparse::PacketBuilder;
use nic_model::{
    Time, Wire,
    wire::{Flow, Offload, TxFrame},
};
use wire::{Backend, Host, HostConfig};

const HOST_MAC: [u8; 6] = [0x02, 0x82, 0x59, 0, 0, 2];
const MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x77];

/// What the host sends when it is sent `frame`.
fn answers(host: &mut Host, frame: &[u8]) -> Vec<Vec<u8>> {
    host.transmit(&TxFrame {
        head: frame,
        payload: &[],
        offload: Offload::None,
    })
    .unwrap();
    host.advance(Time::from_nanos(1_000_000));
    let mut answers = Vec::new();
    host.receive(100, &mut |frame| {
        answers.push([frame.head, frame.body].concat());
        Flow::More
    });
    answers
}

fn arp(to: [u8; 6], target: [u8; 4]) -> Vec<u8> {
    let mut frame = [&to[..], &MAC, &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1], &MAC].concat();
    frame.extend_from_slice(&[10, 0, 2, 77, 0, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(&target);
    frame.resize(60, 0);
    frame
}

fn ping(to: [u8; 6], address: [u8; 4]) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(MAC, to)
        .ipv4([10, 0, 2, 77], address, 64)
        .icmpv4_echo_request(1, 1)
        .write(&mut frame, &[0x55; 40])
        .unwrap();
    frame
}

/// A DHCP message of this type with these options after it.
fn dhcp(kind: u8, client: [u8; 6], client_ip: [u8; 4], options: &[u8]) -> Vec<u8> {
    let mut message = vec![1, 1, 6, 0, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 0];
    message.extend_from_slice(&client_ip);
    message.resize(28, 0);
    message.extend_from_slice(&client);
    message.resize(236, 0);
    message.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    message.extend_from_slice(options);
    message.push(255);
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(client, [0xff; 6])
        .ipv4([0; 4], [255; 4], 64)
        .udp(68, 67)
        .write(&mut frame, &message)
        .unwrap();
    frame
}

/// DHCP type and offered address of an answer.
fn offer(frame: &[u8]) -> (u8, [u8; 4]) {
    let message = &frame[42..];
    assert_eq!(message[236..240], [0x63, 0x82, 0x53, 0x63]);
    assert_eq!(message[240..242], [53, 1]);
    (message[242], message[16..20].try_into().unwrap())
}

#[test]
fn arp_for_the_hosts_address_is_answered() {
    let mut host = Host::new(HostConfig::default());

    let answers = answers(&mut host, &arp([0xff; 6], [10, 0, 2, 2]));

    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0][..6], MAC);
    assert_eq!(answers[0][20..28], [0, 2, 0x02, 0x82, 0x59, 0, 0, 2]);
}

#[test]
fn arp_for_another_address_is_not_answered() {
    let mut host = Host::new(HostConfig::default());

    assert!(answers(&mut host, &arp([0xff; 6], [10, 0, 2, 3])).is_empty());
}

#[test]
fn a_frame_for_another_mac_address_is_ignored() {
    let mut host = Host::new(HostConfig::default());
    answers(&mut host, &arp([0xff; 6], [10, 0, 2, 2]));

    assert!(answers(&mut host, &ping([2, 2, 2, 2, 2, 2], [10, 0, 2, 2])).is_empty());
    assert_eq!(answers(&mut host, &ping(HOST_MAC, [10, 0, 2, 2])).len(), 1);
}

#[test]
fn a_packet_for_another_ip_address_is_ignored() {
    let mut host = Host::new(HostConfig::default());
    answers(&mut host, &arp([0xff; 6], [10, 0, 2, 2]));

    assert!(answers(&mut host, &ping(HOST_MAC, [10, 0, 2, 3])).is_empty());
}

#[test]
fn a_packet_with_a_wrong_checksum_is_ignored() {
    let mut host = Host::new(HostConfig::default());
    answers(&mut host, &arp([0xff; 6], [10, 0, 2, 2]));
    let mut broken = ping(HOST_MAC, [10, 0, 2, 2]);
    broken[60] ^= 1;

    assert!(answers(&mut host, &broken).is_empty());
}

#[test]
fn an_offer_goes_to_the_client_alone_unless_it_asks_for_a_broadcast() {
    let mut host = Host::new(HostConfig::default());
    let plain = dhcp(1, MAC, [0; 4], &[]);
    let mut flagged = plain.clone();
    flagged[42 + 10] = 0x80;
    // No UDP checksum over the changed flag.
    flagged[40..42].fill(0);

    let to_client = answers(&mut host, &plain);
    let to_all = answers(&mut host, &flagged);

    assert_eq!(to_client[0][..6], MAC);
    assert_eq!(to_client[0][30..34], [10, 0, 2, 15]);
    assert_eq!(to_all[0][..6], [0xff; 6]);
    assert_eq!(to_all[0][30..34], [255; 4]);
    assert_eq!(offer(&to_all[0]), (2, [10, 0, 2, 15]));
}

#[test]
fn two_clients_get_two_addresses_and_keep_them() {
    let mut host = Host::new(HostConfig::default());
    let other = [0x02, 0, 0, 0, 0, 0x78];

    let first = answers(&mut host, &dhcp(1, MAC, [0; 4], &[]));
    let second = answers(&mut host, &dhcp(1, other, [0; 4], &[]));
    let again = answers(&mut host, &dhcp(3, MAC, [0; 4], &[50, 4, 10, 0, 2, 15]));

    assert_eq!(offer(&first[0]), (2, [10, 0, 2, 15]));
    assert_eq!(offer(&second[0]), (2, [10, 0, 2, 16]));
    assert_eq!(offer(&again[0]), (5, [10, 0, 2, 15]));
}

#[test]
fn a_request_for_a_foreign_address_is_refused() {
    let mut host = Host::new(HostConfig::default());

    let answers = answers(&mut host, &dhcp(3, MAC, [0; 4], &[50, 4, 192, 168, 0, 1]));

    assert_eq!(offer(&answers[0]), (6, [0; 4]));
}

#[test]
fn a_request_to_another_server_is_not_answered() {
    let mut host = Host::new(HostConfig::default());
    let options = [50, 4, 10, 0, 2, 15, 54, 4, 10, 0, 2, 9];

    assert!(answers(&mut host, &dhcp(3, MAC, [0; 4], &options)).is_empty());
}

#[test]
fn a_declined_address_is_not_offered_again_soon() {
    let mut host = Host::new(HostConfig::default());
    answers(&mut host, &dhcp(1, MAC, [0; 4], &[]));
    answers(&mut host, &dhcp(4, MAC, [0; 4], &[50, 4, 10, 0, 2, 15]));

    let next = answers(&mut host, &dhcp(1, MAC, [0; 4], &[]));

    assert_eq!(offer(&next[0]), (2, [10, 0, 2, 16]));
}

#[test]
fn when_all_addresses_are_leased_a_new_client_gets_no_answer() {
    let mut host = Host::new(HostConfig::default());
    for client in 0..240 {
        answers(&mut host, &dhcp(1, [2, 9, 9, 9, 9, client], [0; 4], &[]));
    }

    assert!(answers(&mut host, &dhcp(1, MAC, [0; 4], &[])).is_empty());
}
