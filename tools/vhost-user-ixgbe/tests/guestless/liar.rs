//! What a card reports that no card does.

use std::sync::Arc;

use nic_driver::in_process::{Bench, InProcess};
use nic_model::PortConfig;
use vhost_user_ixgbe::{
    chain::{Chain, Way},
    counters::Counters,
    delivery::{Delivery, Outcome},
    memory::{GuestRam, Region},
    negotiated::{Negotiated, Switch},
    own::Own,
    packet::{Packet, Piece},
    place::Place,
    turn::Turn,
    vring::Vring,
};
use vm_memory::GuestAddress;

use crate::guest::{BASE, BUFFERS, MERGEABLE, SIZE, VERSION_1, WRITE, World, settings};

const RX: usize = 0;
/// Bytes that the card leaves in front of each chain.
const SEAM: usize = 12;

#[test]
fn a_packet_whose_first_chain_cannot_fill_up_the_next_one_is_lost_and_all_its_chains_go_back() {
    let mut world = World::new(settings(), MERGEABLE);
    (0..3).for_each(|nth| {
        world.add(RX, &[(BUFFERS + nth * 0x1000, 1536)], WRITE);
    });
    let mut ram = GuestRam::default();
    let region = Region {
        guest: BASE,
        user: BASE,
        size: SIZE,
        offset: 0,
        file: Arc::new(world.file()),
    };
    ram.replace(vec![region], None).unwrap();
    let memory = ram.mapped();
    let mut vring = Vring::default();
    let [descriptors, available, used] =
        [0, 0x1000, 0x2000].map(|offset| GuestAddress(BASE + offset));
    vring.set_size(256).unwrap();
    vring
        .set_addresses(&memory, (descriptors, available, used))
        .unwrap();
    vring.start();
    let mut chain = Chain::default();
    // Nearly nothing in the first chain, and more behind it.
    let pieces = [SEAM - 1, 1024, 100].into_iter().enumerate();
    let pieces = pieces.map(|(slot, len)| {
        let read = vring.take(&memory, &mut chain, Way::ToGuest);
        assert_eq!(read, Some(Ok(())));
        let place = Place::whole(&chain, SEAM, 0, 1024);
        Piece { slot, place, len }
    });
    let packet = Packet {
        pieces: pieces.collect(),
        ..Packet::default()
    };
    let mut card = InProcess::new(PortConfig::new([2, 0, 0, 0, 0, 1]), Bench::default());
    let own = Own::new(&mut card, 1 << 38, Switch::Off, (4, 1024)).unwrap();
    let mut delivery = Delivery::new(own);
    let mut counters = Counters::default();
    let mut turn = Turn {
        ram: &ram,
        memory: &memory,
        negotiated: Negotiated(VERSION_1 | MERGEABLE),
        counters: &mut counters,
        budget: 1,
        frame_len: 9000,
    };

    let outcome = delivery.hand_over(&mut turn, &mut vring, &packet);
    delivery.give_back(&turn, &mut vring);
    vring.publish(&memory);

    assert_eq!(outcome, Outcome::Done);
    assert_eq!(world.used(RX), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!([counters.rx_no_room, counters.rx_zero_copy], [1, 0]);
}
