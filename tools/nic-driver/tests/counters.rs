//! What the driver reads off the model in this process: counters, interrupts, segments.
#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::time::Duration;

use ixgbe_spec::register::Reg;
use nic_driver::{
    Config, Driver, L4, Packet,
    in_process::{Bench, InProcess},
};
use nic_model::PortConfig;

const MAC: [u8; 6] = [0x02, 0x00, 0x00, 0x00, 0x00, 0x17];
const PATIENCE: Duration = Duration::from_millis(10);

fn driver(config: &Config) -> Driver<InProcess<Bench>> {
    Driver::new(
        InProcess::new(PortConfig::new(MAC), Bench::default()),
        config,
    )
    .unwrap()
}

/// A frame for `to` of `len` bytes of an ethertype that nothing looks into.
fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xB5]].concat();
    frame.extend((0..=250_u8).cycle().take(len - 14));
    frame
}

#[test]
fn frames_of_both_directions_arrive_and_are_counted() {
    let mut driver = driver(&Config::default());
    driver.device().wire().incoming.push_back(frame(MAC, 1000));
    let received = driver.wait_for_packet(PATIENCE).unwrap().unwrap();
    driver
        .send(0, &Packet::plain(&frame([0xFF; 6], 5000)))
        .unwrap();
    driver.device().turn();

    assert_eq!(received.bytes, frame(MAC, 1000));
    let sent = driver.device().wire().sent.pop_front().unwrap();
    assert_eq!(sent.0, frame([0xFF; 6], 5000));
    let (ring, _) = driver.tx(0);
    assert_eq!(ring.reclaim(), 1);
    let statistics = driver.statistics().unwrap();
    assert_eq!(statistics.total(Reg::GPRC, 0), 1);
    assert_eq!(statistics.wide(Reg::GORCL, Reg::GORCH, 0), 1004);
    assert_eq!(statistics.total(Reg::GPTC, 0), 1);
    assert_eq!(statistics.wide(Reg::GOTCL, Reg::GOTCH, 0), 5004);
    assert_eq!(statistics.total(Reg::BPTC, 0), 1);
}

#[test]
fn totals_go_on_when_the_card_has_cleared_its_counters() {
    let mut driver = driver(&Config::default());
    for expected in 1..4 {
        driver.send(0, &Packet::plain(&frame(MAC, 100))).unwrap();
        driver.device().turn();
        assert_eq!(driver.statistics().unwrap().total(Reg::GPTC, 0), expected);
    }
    let counted: Vec<_> = driver.statistics().unwrap().iter().collect();
    assert!(counted.contains(&(Reg::PTC127, 0, 3)));
}

#[test]
fn a_large_packet_leaves_as_segments_with_the_tag() {
    let mut driver = driver(&Config::default());
    let mut bytes = frame(MAC, 54 + 3000);
    bytes[12..14].copy_from_slice(&[8, 0]);
    bytes[14] = 0x45;
    bytes[46] = 0x50;
    let packet = Packet {
        vlan: Some(5),
        ip_checksum: true,
        ipv4: true,
        l4: Some(L4::Tcp),
        mss: Some(1000),
        mac_len: 14,
        ip_len: 20,
        l4_len: 20,
        ..Packet::plain(&bytes)
    };
    driver.send(0, &packet).unwrap();
    driver.device().turn();

    let sent = &driver.device().wire().sent;
    let lengths: Vec<_> = sent.iter().map(|(bytes, _)| bytes.len()).collect();
    assert_eq!(lengths, [1058, 1058, 1058]);
    assert_eq!(sent[2].0[12..16], [0x81, 0, 0, 5]);
}

#[test]
fn a_vector_fires_for_a_frame_and_for_a_completed_packet() {
    let config = Config {
        interrupts: Some(0),
        ..Config::default()
    };
    let mut driver = driver(&config);
    driver.send(0, &Packet::plain(&frame(MAC, 100))).unwrap();
    driver.device().turn();
    assert_eq!(nic_driver::Device::fired(driver.device(), 0).unwrap(), 1);

    driver.device().wire().incoming.push_back(frame(MAC, 100));
    driver.device().turn();
    assert_eq!(nic_driver::Device::fired(driver.device(), 0).unwrap(), 1);
}
