//! Drivers that program nonsense: the queue that is wrong does nothing or stops, the others go on.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use ixgbe_spec::{descriptor::tx, register::Reg};
use nic_driver::{Config, Device, Packet};

use super::checksums::flow_v4;
use crate::{
    card_world::{CardWorld, MAC, RSS_KEY},
    frames::{BROADCAST, PEER, from, numbered, same},
    offload,
    scenario::{Scenario, scenarios},
    world::World,
};

pub(super) const SCENARIOS: &[Scenario] = scenarios![
    OnCard a_transmit_ring_outside_memory_stops_only_its_queue,
    OnCard a_receive_ring_outside_memory_stops_only_its_queue,
    OnCard rings_of_no_length_do_nothing,
    OnCard a_tail_past_the_end_of_the_ring_stops_only_its_queue,
    OnCard descriptors_that_point_nowhere_stop_only_their_queue,
    OnCard segmentation_with_nonsense_in_its_context_harms_nobody,
    OnCard descriptors_of_random_bytes_harm_nobody,
    OnCard registers_of_random_values_harm_nobody,
];

/// Nothing is mapped there.
const NOWHERE: u32 = 0xDEAD_0000;

fn config() -> Config {
    Config {
        rx_queues: 2,
        tx_queues: 2,
        rss: Some(nic_driver::Rss {
            key: RSS_KEY,
            fields: 1,
        }),
        ..Config::default()
    }
}

/// Queue 0 sends and receives.
fn others_go_on(world: &mut CardWorld) -> Result<()> {
    world.exchange(&[numbered(MAC, 1, 200)])?;
    let frame = from(MAC, BROADCAST, 2, 200);
    let sent = world.send(std::slice::from_ref(&frame))?;
    same(&sent, &[frame])?;
    Ok(())
}

/// A reset and the usual bring-up make everything good again.
fn recovers(world: &mut CardWorld) -> Result<()> {
    world.bring_up(&config())?;
    for queue in 0..2 {
        let frame = from(MAC, BROADCAST, queue, 100);
        world.send_packet(queue, &Packet::plain(&frame))?;
        let sent = world.sent(1)?;
        ensure!(
            sent == [frame],
            "after a reset queue {queue} sent {sent:02x?}"
        );
    }
    others_go_on(world)
}

fn a_transmit_ring_outside_memory_stops_only_its_queue(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&config())?;
    driver.set_register(Reg::TDBAL, 1, NOWHERE)?;
    driver.set_register(Reg::TDBAH, 1, 0xFFFF_FFFF)?;
    driver.set_register(Reg::TDT, 1, 5)?;
    others_go_on(world)?;
    recovers(world)
}

fn a_receive_ring_outside_memory_stops_only_its_queue(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&config())?;
    driver.set_register(Reg::RDBAL, 1, NOWHERE)?;
    driver.set_register(Reg::RDBAH, 1, 0xFFFF_FFFF)?;
    // A flow of queue 1.
    let mut flow = flow_v4();
    while crate::rss::hash(&RSS_KEY, &flow) & 1 == 0 {
        flow.source.1 += 1;
    }
    let frame = flow.tcp(PEER, MAC, b"for the bad ring")?;
    world.cable().put(&[frame.clone(), frame])?;
    others_go_on(world)?;
    recovers(world)
}

fn rings_of_no_length_do_nothing(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&config())?;
    driver.set_register(Reg::TDLEN, 1, 0)?;
    driver.set_register(Reg::TDT, 1, 3)?;
    driver.set_register(Reg::RDLEN, 1, 0)?;
    driver.set_register(Reg::RDT, 1, 3)?;
    others_go_on(world)?;
    // Not a multiple of 128: the low bits do not exist.
    world.driver()?.set_register(Reg::TDLEN, 1, 0x7F)?;
    world.driver()?.set_register(Reg::TDT, 1, 7)?;
    others_go_on(world)?;
    recovers(world)
}

fn a_tail_past_the_end_of_the_ring_stops_only_its_queue(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&config())?;
    driver.set_register(Reg::TDT, 1, 0xFFFF)?;
    driver.set_register(Reg::RDT, 1, 0xFFFF)?;
    driver.set_register(Reg::TDH, 1, 0xFFFF)?;
    driver.set_register(Reg::RDH, 1, 0xFFFF)?;
    others_go_on(world)?;
    recovers(world)
}

fn descriptors_that_point_nowhere_stop_only_their_queue(world: &mut CardWorld) -> Result<()> {
    let driver = world.bring_up(&config())?;
    let (ring, device) = driver.tx(1);
    ring.write(
        tx::Data {
            address: u64::from(NOWHERE),
            control: tx::DataControl::new()
                .with_dtalen(100)
                .with_paylen(100)
                .with_eop(true)
                .with_rs(true)
                .with_ifcs(true),
        }
        .into(),
    );
    ring.ring_doorbell(device)?;
    // The ring stays, its buffers go: addresses in the descriptors lead nowhere.
    let (ring, _) = driver.rx(1);
    let descriptors = ring.len();
    for index in 0..descriptors {
        ring.memory().store(index * 16, u64::from(NOWHERE));
    }
    let mut flow = flow_v4();
    while crate::rss::hash(&RSS_KEY, &flow) & 1 == 0 {
        flow.source.1 += 1;
    }
    world.cable().put(&[flow.tcp(PEER, MAC, b"to nowhere")?])?;
    others_go_on(world)?;
    recovers(world)
}

fn segmentation_with_nonsense_in_its_context_harms_nobody(world: &mut CardWorld) -> Result<()> {
    let small = flow_v4().tcp(MAC, BROADCAST, b"")?;
    let large = offload::segmentation(&small, &[7; 5000], 1000)?;
    let nonsense = [
        Packet {
            mss: Some(0),
            ..large.packet()
        },
        Packet {
            mss: Some(1),
            ..large.packet()
        },
        Packet {
            ip_len: 511,
            ..large.packet()
        },
        Packet {
            ip_len: 0,
            mac_len: 0,
            l4_len: 0,
            ..large.packet()
        },
        Packet {
            l4_len: 255,
            ..large.packet()
        },
        Packet {
            mss: Some(u16::MAX),
            ..large.packet()
        },
        Packet {
            bytes: &[],
            ..large.packet()
        },
    ];
    for (number, packet) in nonsense.iter().enumerate() {
        world.bring_up(&config())?;
        world.send_packet(1, packet)?;
        let frame = from(MAC, BROADCAST, 2, 200);
        world.send_packet(0, &Packet::plain(&frame))?;
        let mut left = 100_000;
        // The segments of the other queue may come before.
        while !world
            .sent(1)
            .with_context(|| format!("queue 0 is stuck after nonsense {number}"))?
            .contains(&frame)
        {
            left -= 1;
            ensure!(left > 0, "endless frames after nonsense {number}");
        }
        world.exchange(&[numbered(MAC, 3, 60)])?;
    }
    recovers(world)
}

/// A sequence of numbers without a pattern, the same each time (xorshift64*).
struct Numbers(u64);

impl Iterator for Numbers {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        Some(self.0.wrapping_mul(0x2545_F491_4F6C_DD1D))
    }
}

fn descriptors_of_random_bytes_harm_nobody(world: &mut CardWorld) -> Result<()> {
    let mut numbers = Numbers(0x8259_9000_0000_0001);
    for _ in 0..20 {
        let driver = world.bring_up(&config())?;
        let mut next = || numbers.next().unwrap_or_default();
        for _ in 0..40 {
            let (ring, _) = driver.tx(1);
            let memory = ring.memory().iova(0);
            let (low, high) = (next(), next());
            // Half of them point into memory.
            let low = if low & 1 == 0 {
                memory + low % 4096
            } else {
                low
            };
            ring.write(tx::Descriptor {
                low: low.into(),
                high: high.into(),
            });
        }
        let (ring, device) = driver.tx(1);
        ring.ring_doorbell(device)?;
        world.pass(Duration::from_millis(2))?;
        world.cable().take(Duration::ZERO)?;
        // It may have sent anything, but queue 0 still receives.
        world.exchange(&[numbered(MAC, 3, 60)])?;
    }
    recovers(world)
}

fn registers_of_random_values_harm_nobody(world: &mut CardWorld) -> Result<()> {
    let mut numbers = Numbers(0x8259_9000_0000_0002);
    for _ in 0..10 {
        let device = world.bring_up(&config())?.device();
        for _ in 0..2000 {
            let number = numbers.next().unwrap_or_default();
            let [a, b, c, d, value @ ..] = number.to_le_bytes();
            let offset = u32::from_le_bytes([a, b, c, d]) & 0x7_FFFC;
            device.write(offset, u32::from_le_bytes(value))?;
            device.read(offset ^ 4)?;
        }
        world
            .cable()
            .put(&[numbered(MAC, 3, 60), numbered(BROADCAST, 4, 1500)])?;
        world.pass(Duration::from_millis(2))?;
        world.cable().take(Duration::ZERO)?;
    }
    // The random writes may have pulled at the link.
    recovers(world)
}
