//! What transmit does for the VM pool of a queue.

use ixgbe_spec::{
    descriptor::tx::{DataControl, L4Type, LegacyControl},
    register::Reg,
};

use super::{
    offloads::TCP4,
    world::{World, context, frame, plain},
};

/// VMVIR: always this tag; never one.
const ALWAYS: u32 = 1 << 30 | 0x6064;
const NEVER: u32 = 2 << 30;

/// Queue 2 is enabled and belongs to pool 1 of 64.
fn pools(vmvir: u32) -> World {
    let mut world = World::new();
    world.enable(2, 32);
    world.write(Reg::MTQC, 0, 0x4 | 0x2);
    world.write(Reg::VMVIR, 1, vmvir);
    world
}

fn tagged(frame: &[u8], tci: u16) -> Vec<u8> {
    let [a, b] = tci.to_be_bytes();
    let mut frame = frame.to_vec();
    frame.splice(12..12, [0x81, 0, a, b]);
    frame
}

#[test]
fn the_tag_of_the_pool_goes_into_every_frame() {
    let mut world = pools(ALWAYS);
    let bytes = frame(100);
    world.send(2, &bytes);
    let legacy = LegacyControl::new().with_eop(true).with_ifcs(true);
    let other_tag = legacy.with_vle(true).with_vlan(7);
    for control in [legacy, other_tag] {
        let descriptor = world.legacy(&bytes, control);
        world.post(2, &[descriptor]);
    }
    world.run();

    let expected = tagged(&bytes, 0x6064);
    assert_eq!(world.sent(), [&expected[..], &expected, &expected]);
}

#[test]
fn a_pool_without_tags_gets_none_whatever_its_descriptors_say() {
    let mut world = pools(NEVER);
    let bytes = frame(100);
    let packet = world.packet(&bytes, &[], plain(100).with_vle(true));
    world.post(2, &packet);
    world.run();

    assert_eq!(world.sent(), [bytes]);
}

#[test]
fn queues_of_other_pools_and_queues_without_pools_do_as_descriptors_say() {
    let bytes = frame(100);
    let mut world = pools(ALWAYS);
    world.enable(0, 32);
    world.send(0, &bytes);
    world.run();
    assert_eq!(world.sent(), [&bytes[..]]);

    world.write(Reg::MTQC, 0, 0);
    world.send(2, &bytes);
    world.run();
    assert_eq!(world.sent(), [bytes]);
}

#[test]
fn each_segment_gets_the_tag_of_the_pool() {
    let mut world = pools(ALWAYS);
    let mut bytes = Vec::new();
    etherparse::PacketBuilder::ethernet2([2; 6], [4; 6])
        .ipv4([192, 0, 2, 1], [198, 51, 100, 7], 64)
        .tcp(1, 2, 3, 4)
        .write(&mut bytes, &[7; 250])
        .unwrap();
    let control = DataControl::new()
        .with_ifcs(true)
        .with_tse(true)
        .with_txsm(true)
        .with_ixsm(true)
        .with_paylen(250);
    let mut descriptors = vec![context(&TCP4, L4Type::Tcp, 100).into()];
    descriptors.extend(world.packet(&bytes, &[], control));
    world.post(2, &descriptors);
    world.run();

    let sent = world.sent();
    let lengths: Vec<usize> = sent.iter().map(Vec::len).collect();
    assert_eq!(lengths, [158, 158, 108]);
    assert!(
        sent.iter()
            .all(|frame| frame[12..16] == [0x81, 0, 0x60, 0x64])
    );
    assert!(sent.iter().all(|frame| {
        let sliced = etherparse::SlicedPacket::from_ethernet(frame).unwrap();
        matches!(sliced.transport, Some(etherparse::TransportSlice::Tcp(_)))
    }));
}
