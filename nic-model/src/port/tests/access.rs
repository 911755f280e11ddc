//! Widths, alignments, BARs and offsets.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use ixgbe_spec::register::{Access, CSR_SPACE, Reg};
use proptest::prelude::*;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use super::world::World;
use crate::{Bar, Port};

#[test]
fn a_qword_write_reaches_the_low_register_first() {
    let mut world = World::enabled();
    let data = 0x2222_2222_1111_1111_u64.to_le_bytes();
    world.call(|port, context| port.bar_write(Bar::Csr, 0x0EE18, &data, context));
    assert_eq!(world.get(Reg::FDIRIPSA), 0x1111_1111);
    assert_eq!(world.get(Reg::FDIRIPDA), 0x2222_2222);
    assert_eq!(world.port.faults().register_access, 0);
}

#[test]
fn a_byte_write_changes_one_byte_and_is_counted_as_a_fault() {
    let mut world = World::enabled();
    world.set(Reg::RAL, 0x4433_2211);
    world.call(|port, context| port.bar_write(Bar::Csr, 0x0A202, &[0xEE], context));
    assert_eq!(world.get(Reg::RAL), 0x44EE_2211);
    assert_eq!(world.port.faults().register_access, 1);
}

#[test]
fn a_byte_write_to_a_mask_sets_no_other_bit() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 0x0000_0001);
    world.call(|port, context| port.bar_write(Bar::Csr, 0x00882, &[0x10], context));
    assert_eq!(world.get(Reg::EIMS), 0x0010_0001);
    world.call(|port, context| port.bar_write(Bar::Csr, 0x0088A, &[0x10], context));
    assert_eq!(world.get(Reg::EIMS), 0x0000_0001);
}

#[test]
fn an_unaligned_read_gives_the_bytes_of_both_registers() {
    let mut world = World::enabled();
    world.set(Reg::FDIRIPSA, 0x4433_2211);
    world.set(Reg::FDIRIPDA, 0x8877_6655);
    let mut data = [0; 4];
    world.call(|port, context| port.bar_read(Bar::Csr, 0x0EE1A, &mut data, context));
    assert_eq!(data, [0x33, 0x44, 0x55, 0x66]);
}

#[test]
fn aliases_are_one_register() {
    let mut world = World::enabled();
    world.write(0x05C00 + 4 * 31, 0x1234_5678);
    assert_eq!(world.read(0x0EB00 + 4 * 31), 0x1234_5678);
    world.write(0x0A200 + 8 * 15, 0xCAFE_F00D);
    assert_eq!(world.read(0x05400 + 8 * 15), 0xCAFE_F00D);
    world.write(0x0EC80, 1);
    assert_eq!(world.read(0x05818), 1);
    world.write(0x02100 + 4 * 7, 0x0200_0402);
    assert_eq!(world.read(0x01014 + 0x40 * 7), 0x0200_0402);
}

#[test]
fn an_offset_without_a_register_reads_zero_and_keeps_nothing() {
    let mut world = World::enabled();
    for offset in [0x00014, 0x1FFFC, 0x60000, 0x7FFFC] {
        world.write(offset, u32::MAX);
        assert_eq!(world.read(offset), 0);
    }
    world.call(|port, context| {
        let mut data = [0xAA; 8];
        port.bar_read(Bar::Csr, u64::MAX - 3, &mut data, context);
        port.bar_write(Bar::Csr, u64::MAX - 3, &data, context);
    });
}

#[test]
fn ioaddr_and_iodata_reach_the_registers() {
    let mut world = World::enabled();
    let ioaddr = 0x0A200_u32.to_le_bytes();
    let mut data = [0; 4];
    world.call(|port, context| {
        port.bar_write(Bar::Io, 0, &ioaddr, context);
        port.bar_write(Bar::Io, 4, &[1, 2, 3, 4], context);
        port.bar_read(Bar::Io, 4, &mut data, context);
    });
    assert_eq!(data, [1, 2, 3, 4]);
    assert_eq!(world.get(Reg::RAL), 0x0403_0201);
}

#[test]
fn a_counter_is_cleared_by_its_read_and_not_by_a_look_at_it() {
    let mut world = World::enabled();
    world.port.regs.count(Reg::GPRC, 0, 7);
    world
        .port
        .regs
        .count36(Reg::GORCL, Reg::GORCH, 0, 0x3_0000_0040);
    let shown: Vec<_> = world
        .port
        .statistics()
        .filter(|(_, value)| *value != 0)
        .collect();
    assert_eq!(shown, [("GPRC".into(), 7), ("GORC".into(), 0x3_0000_0040)]);
    assert_eq!(world.port.register(Reg::GPRC, 0), 7);
    assert_eq!(world.get(Reg::GPRC), 7);
    assert_eq!(world.get(Reg::GPRC), 0);
    assert_eq!(world.get(Reg::GORCL), 0x40);
    assert_eq!(world.get(Reg::GORCH), 3);
}

#[test]
fn statistics_have_unique_names() {
    let port = World::cold().port;
    let names: Vec<_> = port.statistics().map(|(name, _)| name).collect();
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len());
    assert!(names.contains(&"QPRC[15]".into()));
    assert!(names.contains(&"model.ring_dma".into()));
}

#[test]
fn an_unknown_offset_is_logged_once() {
    let log = Log::default();
    let mut world = World::enabled();
    tracing::subscriber::with_default(log.clone(), || {
        world.read(0x1FFFC);
        world.read(0x1FFFC);
        world.write(0x1FFFC, 1);
    });
    let lines = log.0.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("0x1fffc"), "{lines:?}");
}

#[test]
fn a_register_that_is_only_stored_is_logged_once_and_one_that_works_never() {
    let log = Log::default();
    let mut world = World::enabled();
    tracing::subscriber::with_default(log.clone(), || {
        world.get(Reg::DCA_CTRL);
        world.set(Reg::DCA_CTRL, 1);
        world.get(Reg::STATUS);
    });
    let lines = log.0.lock().unwrap();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("DCA_CTRL"), "{lines:?}");
}

/// Keeps the messages of events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message(&self.0));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

struct Message<'a>(&'a Mutex<Vec<String>>);

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0.lock().unwrap().push(format!("{value:?}"));
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Read { bar: u8, offset: u64, len: usize },
    Write { bar: u8, offset: u64, data: Vec<u8> },
    ConfigWrite { offset: u16, data: Vec<u8> },
    Step { nanos: u64 },
    Frame { len: usize },
}

fn bar(n: u8) -> Bar {
    [Bar::Csr, Bar::Io, Bar::MsiX][usize::from(n % 3)]
}

/// Mostly places with a register.
fn offset() -> impl Strategy<Value = u64> {
    let registers = (0..Reg::ALL.len(), any::<u16>(), 0..4_u64).prop_map(|(reg, index, byte)| {
        let reg = Reg::ALL[reg];
        u64::from(reg.offset(usize::from(index) % reg.count())) + if byte == 3 { 1 } else { 0 }
    });
    prop_oneof![8 => registers, 1 => any::<u64>(), 1 => 0..0x80000_u64]
}

fn act() -> impl Strategy<Value = Act> {
    let data = prop_oneof![
        4 => any::<[u8; 4]>().prop_map(Vec::from),
        1 => proptest::collection::vec(any::<u8>(), 0..17),
    ];
    let config_data = proptest::collection::vec(any::<u8>(), 0..9);
    prop_oneof![
        4 => (0..8_u8, offset(), 0..17_usize).prop_map(|(bar, offset, len)| {
            Act::Read { bar: bar.saturating_sub(5), offset, len }
        }),
        8 => (0..8_u8, offset(), data).prop_map(|(bar, offset, data)| {
            Act::Write { bar: bar.saturating_sub(5), offset, data }
        }),
        1 => (0..0x1010_u16, config_data).prop_map(|(offset, data)| Act::ConfigWrite { offset, data }),
        1 => (0..10_000_000_u64).prop_map(|nanos| Act::Step { nanos }),
        1 => (0..10_000_usize).prop_map(|len| Act::Frame { len }),
    ]
}

fn perform(world: &mut World, act: Act) {
    match act {
        Act::Read {
            bar: n,
            offset,
            len,
        } => {
            let mut data = vec![0; len];
            world.call(|port, context| port.bar_read(bar(n), offset, &mut data, context));
        }
        Act::Write {
            bar: n,
            offset,
            data,
        } => world.call(|port, context| port.bar_write(bar(n), offset, &data, context)),
        Act::ConfigWrite { offset, data } => world.config_write(offset, &data),
        Act::Step { nanos } => {
            world.pass_nanos(nanos);
            world.call(Port::step);
        }
        Act::Frame { len } => {
            world.receive(&vec![0xFF; len]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_sequence_of_accesses_panics_or_changes_what_the_table_says_is_fixed(
        acts in proptest::collection::vec(act(), 1..300)
    ) {
        let mut world = World::enabled();
        for act in acts {
            perform(&mut world, act);
        }
        for reg in Reg::ALL {
            let row = reg.row();
            for index in 0..reg.count() {
                if row.access == Access::ReadWrite && row.coverage == ixgbe_spec::register::Coverage::Stored {
                    let fixed = world.port.register(*reg, index) & !row.write_mask;
                    prop_assert_eq!(fixed, row.reset & !row.write_mask, "{}", row.name);
                }
            }
        }
        for (reg, value) in [(Reg::MREVID, 1), (Reg::SECTXSTAT, 1), (Reg::SECRXSTAT, 1), (Reg::FWSM, 0x8000)] {
            prop_assert_eq!(world.port.register(reg, 0), value);
        }
        prop_assert_eq!(world.config_read32(0), 0x10FB_8086);
    }
}

#[test]
fn the_table_ends_where_the_register_space_does() {
    assert!(
        Reg::ALL
            .iter()
            .all(|reg| reg.offset(reg.count() - 1) < CSR_SPACE)
    );
}
