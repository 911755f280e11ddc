//! The driver on the model in this process.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use nic_driver::{
    Config, Device, Driver, Packet,
    in_process::{Bench, InProcess},
};
use nic_model::PortConfig;

const MAC: [u8; 6] = [0x02, 0, 0, 0x12, 0x34, 0x56];
const PATIENCE: Duration = Duration::from_millis(10);

fn driver(config: &Config) -> Driver<InProcess<Bench>> {
    let card = InProcess::new(PortConfig::new(MAC), Bench::default());
    Driver::new(card, config).unwrap()
}

fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &[0x02, 0, 0, 0, 0, 9], &[0x88, 0xB5]].concat();
    frame.extend((frame.len()..len).map(|at| at.to_le_bytes()[0]));
    frame
}

#[test]
fn the_card_comes_up_with_its_own_address() {
    let driver = driver(&Config::default());

    assert_eq!(driver.mac(), MAC);
}

#[test]
fn a_sent_frame_is_on_the_wire_and_its_descriptor_is_done() {
    let mut driver = driver(&Config::default());
    let sent = frame([0xFF; 6], 300);

    driver.send(0, &Packet::plain(&sent)).unwrap();
    driver.device().pass(Duration::ZERO).unwrap();

    assert_eq!(driver.device().wire().sent.pop_front().unwrap().0, sent);
    assert_eq!(driver.tx(0).0.reclaim(), 1);
}

#[test]
fn a_frame_that_arrives_is_received_as_it_was() {
    let mut driver = driver(&Config::default());
    let arriving = frame(MAC, 300);
    driver.device().wire().incoming.push_back(arriving.clone());

    let received = driver.wait_for_packet(PATIENCE).unwrap().unwrap();

    assert_eq!(received.bytes, arriving);
    assert_eq!(driver.receive().unwrap(), None);
}

#[test]
fn a_ring_takes_many_times_its_length() {
    let mut driver = driver(&Config {
        ring_len: 8,
        ..Config::default()
    });
    let mut received = Vec::new();

    for len in 60..160 {
        let arriving = frame(MAC, len);
        driver.device().wire().incoming.push_back(arriving);
        received.push(
            driver
                .wait_for_packet(PATIENCE)
                .unwrap()
                .unwrap()
                .bytes
                .len(),
        );
    }

    assert_eq!(received, Vec::from_iter(60..160));
}

#[test]
fn after_a_restart_the_card_works_as_before() {
    let mut driver = driver(&Config::default());

    driver.restart(&Config::default()).unwrap();
    let arriving = frame(MAC, 60);
    driver.device().wire().incoming.push_back(arriving.clone());

    let received = driver.wait_for_packet(PATIENCE).unwrap().unwrap();
    assert_eq!(received.bytes, arriving);
}
