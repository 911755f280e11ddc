//! Drivers that do what the datasheet forbids: the card goes on, the fault is counted, other queues do not notice.

use ixgbe_spec::{
    descriptor::tx::{Data, DataControl, Descriptor, L4Type, LegacyControl},
    register::Reg,
};
use proptest::prelude::*;
use zerocopy::FromBytes;

use super::world::{Lengths, World, context, frame, plain};
use crate::{faults::GuestFaults, testing::TestBus, wire::Capabilities};

const TCP4: Lengths = Lengths {
    mac: 14,
    ip: 20,
    l4: 20,
};

/// A world with queues 0 and 1; what queue 0 does must not keep a frame of queue 1 from leaving.
fn two_queues() -> World {
    let mut world = World::with_ring(64);
    world.enable(1, 8);
    world
}

/// A ring of queue 0 that lies over the frame may change its bytes, but not hold it back.
fn other_queue_goes_on(world: &mut World) -> bool {
    world.sent();
    world.send(1, &frame(77));
    world.run();
    world.sent().iter().any(|sent| sent.len() == 77)
}

fn faults(change: impl FnOnce(&mut GuestFaults)) -> GuestFaults {
    let mut faults = GuestFaults::default();
    change(&mut faults);
    faults
}

#[test]
fn a_ring_of_length_0_stands_still() {
    let mut world = two_queues();
    world.write(Reg::TDLEN, 0, 0);
    world.write(Reg::TDT, 0, 5);
    world.run();
    assert!(world.sent().is_empty());
    assert_eq!(world.faults, faults(|faults| faults.ring_length = 1));
    assert!(other_queue_goes_on(&mut world));
}

#[test]
fn a_queue_that_is_enabled_before_it_has_a_ring_waits_for_it() {
    let mut world = World::new();
    world.write(Reg::TXDCTL, 0, 1 << 25);
    world.run();
    world.enable(0, 8);
    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.sent(), [frame(60)]);
    assert_eq!(world.faults, GuestFaults::default());
}

#[test]
fn a_tail_past_the_end_wraps() {
    let mut world = World::with_ring(8);
    world.send(0, &frame(60));
    world.write(Reg::TDT, 0, 8 + 1);
    world.run();
    assert_eq!(world.sent(), [frame(60)]);
    assert_eq!(world.regs.get(Reg::TDH, 0), 1);
    assert_eq!(world.faults, faults(|faults| faults.tail_past_end = 1));
}

#[test]
fn a_ring_that_is_not_mapped_stalls_its_queue_until_it_is_enabled_anew() {
    let mut world = two_queues();
    world.bus.refuse(World::slot(0, 0)..World::slot(0, 2));
    world.send(0, &frame(60));
    world.send(0, &frame(60));
    world.send(0, &frame(60));
    world.run();
    assert!(world.sent().is_empty());
    assert_eq!(world.faults, faults(|faults| faults.ring_dma = 1));
    assert!(other_queue_goes_on(&mut world));

    world.write(Reg::TXDCTL, 0, 0);
    world.write(Reg::TDH, 0, 2);
    world.write(Reg::TXDCTL, 0, 1 << 25);
    world.write(Reg::TDT, 0, 3);
    world.run();
    assert_eq!(world.sent(), [frame(60)]);
}

#[test]
fn a_ring_that_ends_past_the_address_space_stalls_its_queue() {
    let mut world = two_queues();
    world.write(Reg::TDBAL, 0, u32::MAX);
    world.write(Reg::TDBAH, 0, u32::MAX);
    world.write(Reg::TDH, 0, 60);
    world.write(Reg::TDT, 0, 61);
    world.run();
    assert_eq!(world.faults, faults(|faults| faults.ring_dma = 1));
    assert!(other_queue_goes_on(&mut world));
}

#[test]
fn a_ring_that_cannot_be_written_stalls_its_queue_after_the_frame() {
    let mut world = two_queues();
    world.write(Reg::TDWBAL, 0, 1);
    world.send(0, &frame(60));
    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.sent().len(), 1);
    assert_eq!(world.faults, faults(|faults| faults.ring_dma = 1));
    assert!(other_queue_goes_on(&mut world));
}

#[test]
fn a_buffer_that_is_not_mapped_costs_its_packet_only() {
    let mut world = World::with_ring(8);
    let mut descriptors = world.packet(&frame(300), &[100], plain(300));
    descriptors[0].low = 0.into();
    world.post(0, &descriptors);
    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.sent(), [frame(60)]);
    assert!(world.descriptor(0, 1).is_done());
    assert_eq!(world.faults, faults(|faults| faults.buffer_dma = 1));
}

#[test]
fn a_packet_without_an_end_is_passed_until_the_next_end() {
    let mut world = World::with_ring(1024 / 2);
    let piece = world.data(&frame(100), plain(100));
    let end = world.data(&frame(100), plain(100).with_eop(true).with_rs(true));
    let mut descriptors = vec![piece; 400];
    descriptors.push(end);
    world.post(0, &descriptors);
    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.sent(), [frame(60)]);
    assert!(world.descriptor(0, 400).is_done());
    assert_eq!(world.faults, faults(|faults| faults.descriptor = 1));
}

#[test]
fn descriptors_of_mixed_kinds_are_passed() {
    let mut world = World::with_ring(16);
    let data = world.data(&frame(100), plain(100));
    let end = world.data(&frame(100), plain(100).with_eop(true));
    let legacy = world.legacy(&frame(100), LegacyControl::new().with_eop(true));
    let described: Descriptor = context(&TCP4, L4Type::Tcp, 0).into();
    let reserved = Descriptor {
        low: 0.into(),
        high: (1 << 29 | 1 << 24).into(),
    };
    world.post(0, &[data, legacy]);
    world.post(0, &[data, described, end]);
    world.post(0, &[reserved]);
    world.post(0, &[data, reserved]);
    world.send(0, &frame(60));
    world.run();
    assert_eq!(world.sent(), [frame(60)]);
    assert_eq!(world.faults, faults(|faults| faults.descriptor = 4));
}

#[test]
fn frames_that_are_too_short_or_too_long_are_passed() {
    let mut world = World::with_ring(16);
    let empty = world.packet(&[], &[], plain(0));
    world.post(0, &empty);
    let short = world.packet(&frame(13), &[], plain(13));
    world.post(0, &short);
    let longest = world.packet(&frame(15_872), &[], plain(15_872));
    world.post(0, &longest);
    let long = world.packet(&frame(15_873), &[5000], plain(15_873));
    world.post(0, &long);
    world.run();
    let lengths: Vec<_> = world.sent().iter().map(Vec::len).collect();
    assert_eq!(lengths, [15_872]);
    assert_eq!(world.faults, faults(|faults| faults.descriptor = 3));
}

#[test]
fn contradictory_offloads_are_passed() {
    let mut world = World::with_ring(64);
    let mut tried = 0;
    let mut attempt = |lengths: Lengths, l4t, mss, control: DataControl| {
        let mut descriptors: Vec<Descriptor> = vec![context(&lengths, l4t, mss).into()];
        descriptors.extend(world.packet(&frame(300), &[], control));
        world.post(0, &descriptors);
        world.run();
        tried += 1;
        assert!(world.sent().is_empty(), "attempt {tried}");
        assert_eq!(world.faults.offload, tried);
    };
    let tso = plain(300 - 54)
        .with_tse(true)
        .with_ixsm(true)
        .with_txsm(true);
    attempt(TCP4, L4Type::Tcp, 0, tso);
    attempt(TCP4, L4Type::Tcp, 100, tso.with_paylen(247));
    attempt(TCP4, L4Type::Tcp, 100, tso.with_paylen(0));
    attempt(TCP4, L4Type::Sctp, 100, tso);
    attempt(TCP4, L4Type::Tcp, 100, tso.with_idx(1));
    attempt(TCP4, L4Type::Tcp, 100, tso.with_idx(7));
    attempt(
        Lengths {
            mac: 13,
            ip: 21,
            l4: 20,
        },
        L4Type::Tcp,
        100,
        tso,
    );
    attempt(
        Lengths {
            mac: 15,
            ip: 19,
            l4: 20,
        },
        L4Type::Tcp,
        100,
        tso,
    );
    attempt(
        Lengths {
            mac: 15,
            ip: 20,
            l4: 19,
        },
        L4Type::Tcp,
        100,
        tso,
    );
    attempt(
        Lengths {
            mac: 127,
            ip: 511,
            l4: 255,
        },
        L4Type::Tcp,
        100,
        tso,
    );
    attempt(
        Lengths {
            mac: 14,
            ip: 39,
            l4: 20,
        },
        L4Type::Tcp,
        100,
        plain(300).with_tse(true),
    );
    attempt(
        Lengths {
            mac: 14,
            ip: 267,
            l4: 0,
        },
        L4Type::Tcp,
        0,
        plain(300).with_txsm(true),
    );
    attempt(
        Lengths {
            mac: 14,
            ip: 287,
            l4: 0,
        },
        L4Type::Tcp,
        0,
        plain(300).with_ixsm(true),
    );
    attempt(
        Lengths {
            mac: 14,
            ip: 19,
            l4: 0,
        },
        L4Type::Tcp,
        0,
        plain(300).with_ixsm(true),
    );
    attempt(TCP4, L4Type::Reserved, 0, plain(300).with_txsm(true));
}

#[test]
fn a_ring_full_of_contexts_is_passed_a_bounded_number_at_a_time() {
    let mut world = World::with_ring(512);
    let described: Descriptor = context(&TCP4, L4Type::Tcp, 0).into();
    world.post(0, &vec![described; 500]);
    assert!(world.step(1));
    assert!(world.regs.get(Reg::TDH, 0) < 500);
    world.run();
    assert_eq!(world.regs.get(Reg::TDH, 0), 500);
}

#[test]
fn a_ring_that_moves_while_a_packet_is_being_cut_starts_anew() {
    let mut world = World::with_ring(16);
    let header = [frame(54), vec![0; 1000]].concat();
    let mut descriptors: Vec<Descriptor> = vec![context(&TCP4, L4Type::Tcp, 10).into()];
    let control = plain(1000).with_tse(true).with_ixsm(true).with_txsm(true);
    descriptors.extend(world.packet(&header, &[], control));
    world.post(0, &descriptors);
    assert!(world.step(4));
    world.write(Reg::TDH, 0, 1);
    world.sent();
    world.run();
    assert_eq!(world.sent().len(), 100);
}

/// Descriptors that are often nearly right.
fn descriptor() -> impl Strategy<Value = Descriptor> {
    let nearby = TestBus::BASE..TestBus::BASE + (1 << 20);
    prop_oneof![
        any::<[u8; 16]>().prop_map(|bytes| Descriptor::read_from_bytes(&bytes).unwrap()),
        (nearby, any::<u64>(), 0_u16..600).prop_map(|(address, bits, len)| {
            let control = DataControl::from_bits(bits).with_dtalen(len).with_idx(0);
            Data { address, control }.into()
        }),
        (any::<u64>(), any::<u32>()).prop_map(|(high, low)| {
            // DEXT and DTYP of a context.
            let high = high & !(0xF << 20) | 1 << 29 | 2 << 20;
            Descriptor {
                low: u64::from(low).into(),
                high: (high & !(7 << 36)).into(),
            }
        }),
        (14_u8..20, 20_u16..44, 8_u8..24, 0_u16..40).prop_map(|(mac, ip, l4, mss)| {
            context(&Lengths { mac, ip, l4 }, L4Type::Tcp, mss).into()
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn no_descriptors_panic_or_are_reported_twice(
        descriptors in prop::collection::vec(descriptor(), 1..63),
        checksum in any::<bool>(),
        tso in any::<bool>(),
        budget in 1_usize..70,
        hlreg0 in any::<u32>(),
    ) {
        let mut world = two_queues();
        world.wire.capabilities = Capabilities { checksum, tso4: tso, tso6: tso };
        world.regs.set(Reg::HLREG0, 0, hlreg0 | 1);
        world.post(0, &descriptors);
        // The largest packet there can be has 2^18 bytes of payload.
        let mut steps = 0;
        while world.step(budget) && steps < 1 << 18 {
            steps += 1;
            let head = world.regs.get(Reg::TDH, 0);
            prop_assert!(head < 64);
            world.wire.frames.clear();
        }
        prop_assert!(steps < 1 << 18);

        let mut slots: Vec<u64> = world.bus.take_writes().iter().map(|write| write.start).collect();
        let reported = slots.len();
        slots.sort_unstable();
        slots.dedup();
        prop_assert_eq!(slots.len(), reported);
        prop_assert!(slots.iter().all(|slot| (World::slot(0, 0)..World::slot(0, 63)).contains(slot)));
        prop_assert!(other_queue_goes_on(&mut world));
    }

    #[test]
    fn no_register_values_panic(
        writes in prop::collection::vec(
            (
                prop::sample::select(vec![
                    Reg::TDBAL, Reg::TDBAH, Reg::TDLEN, Reg::TDH, Reg::TDT, Reg::TXDCTL, Reg::TDWBAL, Reg::TDWBAH,
                    Reg::DMATXCTL, Reg::DTXTCPFLGL, Reg::DTXTCPFLGH,
                ]),
                any::<u32>(),
                any::<bool>(),
            ),
            1..60,
        ),
    ) {
        let mut world = two_queues();
        world.send(0, &frame(60));
        for (reg, value, small) in writes {
            world.write(reg, 0, if small { value % 70 } else { value });
            world.step(64);
        }
        world.write(Reg::DMATXCTL, 0, 1);
        world.write(Reg::HLREG0, 0, 0x0801_0403);
        prop_assert!(other_queue_goes_on(&mut world));
    }
}
