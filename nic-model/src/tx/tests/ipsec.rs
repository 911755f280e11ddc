//! Descriptors that ask for IPsec, and such as contradict their packet.

use ixgbe_spec::{
    descriptor::tx::{Context, Descriptor, L4Type},
    register::{
        Reg,
        bits::{ipsidx, sectxctrl::SECTX_DIS},
    },
};

use super::{
    offloads::{FROM4, TO4},
    world::{Lengths, World, context, frame, plain},
};
use crate::offload::Sum;

/// An ESP header with initialisation vector.
const ESP: [u8; 16] = [0, 0, 0xC0, 0xDE, 0, 0, 0, 5, 1, 2, 3, 4, 5, 6, 7, 8];
/// One byte of padding, its length, UDP; then the check value.
const TRAILER_LEN: u16 = 3 + 16;

/// A UDP datagram of 13 bytes with a checksum to be inserted, in ESP.
fn esp_frame() -> Vec<u8> {
    let seed = Sum::pseudo_header_v4(FROM4, TO4, 17, 13).folded();
    let [high, low] = seed.to_be_bytes();
    let mut ip = [
        &[0x45, 0, 0, 68, 0, 0, 0, 0, 64, 50, 0, 0][..],
        &FROM4.octets(),
    ]
    .concat();
    ip.extend(TO4.octets());
    let checksum = Sum::of(&ip).checksum().to_be_bytes();
    ip[10..12].copy_from_slice(&checksum);
    let mut bytes = [&frame(14)[..12], &[8, 0], &ip, &ESP].concat();
    bytes.extend([0, 53, 0x14, 0xE9, 0, 13, high, low]);
    bytes.extend(b"hello");
    bytes.extend([1, 1, 17]);
    bytes.extend([0; 16]);
    bytes
}

/// ESP that only authenticates, so that what leaves can be read.
fn esp_context() -> Context {
    let lengths = Lengths {
        mac: 14,
        ip: 36,
        l4: 8,
    };
    let mut context = context(&lengths, L4Type::Udp, 0);
    context.high = context
        .high
        .with_ipv4(true)
        .with_ipsec_esp(true)
        .with_ipsec_esp_len(TRAILER_LEN);
    context
}

fn world() -> World {
    let mut world = World::with_ring(16);
    world.regs.set(Reg::SECTXCTRL, 0, 0);
    world.regs.set(Reg::IPSTXIDX, 0, ipsidx::EN);
    world
}

impl World {
    fn send_protected(&mut self, context: Context, bytes: &[u8]) {
        let control = plain(bytes.len()).with_cc(true).with_txsm(true);
        let mut descriptors: Vec<Descriptor> = vec![context.into()];
        descriptors.extend(self.packet(bytes, &[20], control.with_ipsec(true)));
        self.post(0, &descriptors);
        self.run();
    }
}

#[test]
fn the_l4_checksum_ends_before_the_esp_trailer() {
    let mut world = world();
    world.send_protected(esp_context(), &esp_frame());

    let sent = world.sent().remove(0);
    let mut sum = Sum::pseudo_header_v4(FROM4, TO4, 17, 13);
    sum.add(&sent[50..63]);
    assert_eq!(sum.folded(), 0xFFFF);
    assert_eq!(sent[63..66], [1, 1, 17]);
    assert_ne!(sent[66..], [0; 16]);
}

#[test]
fn while_the_block_is_off_a_packet_leaves_as_the_driver_made_it() {
    let mut world = world();
    world.regs.set(Reg::SECTXCTRL, 0, SECTX_DIS);
    world.send_protected(esp_context(), &esp_frame());

    let sent = world.sent().remove(0);
    assert_eq!(sent[66..], [0; 16]);
    assert_eq!(world.faults.offload, 1);
}

#[test]
fn a_packet_that_is_not_what_its_descriptor_says_is_not_sent() {
    let mut world = world();
    let mut udp = esp_frame();
    udp[23] = 17;
    world.send_protected(esp_context(), &udp);
    let mut as_ah = esp_context();
    as_ah.high = as_ah.high.with_ipsec_esp(false);
    world.send_protected(as_ah, &esp_frame());
    let mut long_trailer = esp_context();
    long_trailer.high = long_trailer.high.with_ipsec_esp_len(500);
    world.send_protected(long_trailer, &esp_frame());
    let cut_short = &esp_frame()[..60];
    let mut no_checksum = esp_context();
    no_checksum.high = no_checksum.high.with_ipsec_esp_len(0);
    world.send_protected(no_checksum, cut_short);

    assert_eq!(world.sent(), Vec::<Vec<u8>>::new());
    assert_eq!(world.faults.offload, 4);
    // All of them are done, for the driver.
    assert_eq!(world.regs.get(Reg::TDH, 0), world.regs.get(Reg::TDT, 0));
}
