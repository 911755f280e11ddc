//! What observers are told, event by event.

use std::sync::{Arc, Mutex};

use ixgbe_spec::register::Reg;

use super::{Event, Observer, ObserverId, Transfer};
use crate::{
    Time,
    port::tests::world::{MAC, World},
};

const RING: u32 = 0x2_0000;
const BUFFERS: u64 = 0x4_0000;
const QUEUE_ENABLE: u32 = 1 << 25;

/// Writes down what it is told.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<String>>>);

impl Observer for Record {
    fn see(&mut self, _now: Time, event: &Event<'_>) {
        self.0.lock().unwrap().push(match event {
            Event::RegisterRead { offset, value } => format!("read {offset:#x}: {value:#x}"),
            Event::RegisterWrite {
                offset,
                value,
                mask,
            } => format!("write {offset:#x}: {value:#x} & {mask:#x}"),
            Event::Fetched(d) | Event::WrittenBack(d) => {
                let what = if matches!(event, Event::Fetched(_)) {
                    "fetched"
                } else {
                    "written back"
                };
                format!(
                    "{what} {:?} {}.{} at {:#x}: {:#x} {:#x}",
                    d.direction, d.queue, d.index, d.iova.0, d.low, d.high
                )
            }
            Event::Dma(Transfer {
                direction,
                queue,
                iova,
                len,
                purpose,
                result,
            }) => format!(
                "dma {direction:?} {queue:?} {purpose:?} {len} at {:#x}: {}",
                iova.0,
                result.is_ok()
            ),
            Event::Arrived { frame } => format!("arrived {}", frame.len()),
            Event::Steered(to) => format!("steered to {} by {:?}", to.queue, to.chooser),
            Event::Received { frame, verdict } => format!("received {}: {verdict:?}", frame.len()),
            Event::Sent { queue, frame } => format!("sent {queue}: {}", frame.len()),
            Event::Cause { vectors, other } => format!("cause {vectors:#x} {other:#x}"),
            Event::Interrupt { signal, .. } => format!("interrupt {signal:?}"),
            other => format!("{other:?}"),
        });
    }
}

impl Record {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn observe(world: &mut World) -> (Record, ObserverId) {
    let record = Record::default();
    let id = world.port.observe(Box::new(record.clone()));
    (record, id)
}

fn receiving() -> World {
    let mut world = World::enabled();
    world.set(Reg::RXCTRL, 1);
    for n in 0..8 {
        let descriptor = u64::from(RING) + 16 * n;
        world
            .bus
            .poke(descriptor, &(BUFFERS + 2048 * n).to_le_bytes());
    }
    world.set(Reg::RDBAL, RING);
    world.set(Reg::RDLEN, 128);
    world.set(Reg::SRRCTL, 0x0200_0002);
    world.set(Reg::RXDCTL, QUEUE_ENABLE);
    world.set(Reg::IVAR, 0x8180);
    world.set(Reg::EIMS, 3);
    world
}

fn frame() -> Vec<u8> {
    let mut frame = vec![0x5A; 60];
    frame[..6].copy_from_slice(&MAC);
    frame[12..14].copy_from_slice(&[0x88, 0xB5]);
    frame
}

#[test]
fn accesses_to_registers_are_told_with_what_was_read_and_written() {
    let mut world = World::enabled();
    let (record, _) = observe(&mut world);

    world.set(Reg::VLNCTRL, 0x1234_8100);
    world.get(Reg::VLNCTRL);
    world.write(0x1_FFFC, 7);

    let offset = Reg::VLNCTRL.offset(0);
    assert_eq!(
        record.take(),
        [
            format!("write {offset:#x}: 0x12348100 & 0xffffffff"),
            format!(
                "read {offset:#x}: {:#x}",
                world.port.register(Reg::VLNCTRL, 0)
            ),
            "write 0x1fffc: 0x7 & 0xffffffff".to_owned(),
        ]
    );
}

#[test]
fn a_received_frame_is_told_from_the_cable_to_the_interrupt() {
    let mut world = receiving();
    world.set(Reg::RDT, 2);
    let (record, _) = observe(&mut world);

    world.receive(&frame());

    let told = record.take();
    assert_eq!(
        told[..9],
        [
            "arrived 60",
            "steered to 0 by Mrqc",
            "dma Receive Some(0) DescriptorFetch 32 at 0x20000: true",
            "fetched Receive 0.0 at 0x20000: 0x40000 0x0",
            "fetched Receive 0.1 at 0x20010: 0x40800 0x0",
            "dma Receive Some(0) Packet 60 at 0x40000: true",
            "dma Receive Some(0) DescriptorWriteBack 16 at 0x20000: true",
            told[7].as_str(),
            "received 60: Delivered { queue: 0 }",
        ]
    );
    let words = world.bus.peek(RING.into(), 16);
    let word = |at: usize| u64::from_le_bytes(words[at..at + 8].try_into().unwrap());
    assert_eq!(
        told[7],
        format!(
            "written back Receive 0.0 at 0x20000: {:#x} {:#x}",
            word(0),
            word(8)
        )
    );
    assert_eq!(told[9..], ["cause 0x1 0x0", "interrupt IntxAssert"]);
}

#[test]
fn a_frame_that_no_filter_accepts_is_told_with_the_reason() {
    let mut world = receiving();
    world.set(Reg::RDT, 2);
    let (record, _) = observe(&mut world);
    let mut frame = frame();
    frame[0] = 2;

    world.receive(&frame);

    assert_eq!(
        record.take(),
        ["arrived 60", "received 60: Dropped(Address)"]
    );
}

#[test]
fn a_frame_that_waits_for_descriptors_is_told_when_it_waits_and_when_it_goes_on() {
    let mut world = receiving();
    let (record, _) = observe(&mut world);

    world.receive(&frame());
    let waits = record.take();
    world.set(Reg::RDT, 1);
    record.take();
    world.step();
    let goes_on = record.take();

    assert_eq!(
        waits,
        [
            "arrived 60",
            "steered to 0 by Mrqc",
            "Buffered { class: 0, len: 60 }",
            "received 60: Buffered"
        ]
    );
    let released = "Released { class: 0, queue: 0, verdict: Delivered { queue: 0 } }";
    assert_eq!(goes_on.iter().filter(|told| *told == released).count(), 1);
}

#[test]
fn a_sent_frame_is_told_from_the_doorbell_to_the_interrupt() {
    let mut world = World::enabled();
    let (low, high) = (BUFFERS, 60_u64 | 0xB << 24);
    world.bus.poke(RING.into(), &low.to_le_bytes());
    world.bus.poke(u64::from(RING) + 8, &high.to_le_bytes());
    world.set(Reg::DMATXCTL, 1);
    world.set(Reg::TDBAL, RING);
    world.set(Reg::TDLEN, 128);
    world.set(Reg::TXDCTL, QUEUE_ENABLE);
    world.set(Reg::IVAR, 0x8180);
    world.set(Reg::EIMS, 3);
    let (record, _) = observe(&mut world);

    world.set(Reg::TDT, 1);
    while world.step() {}

    assert_eq!(
        record.take(),
        [
            format!("write {:#x}: 0x1 & 0xffffffff", Reg::TDT.offset(0)),
            "dma Transmit Some(0) DescriptorFetch 16 at 0x20000: true".to_owned(),
            format!("fetched Transmit 0.0 at 0x20000: {low:#x} {high:#x}"),
            "dma Transmit Some(0) Packet 60 at 0x40000: true".to_owned(),
            "sent 0: 60".to_owned(),
            "dma Transmit Some(0) DescriptorWriteBack 16 at 0x20000: true".to_owned(),
            format!(
                "written back Transmit 0.0 at 0x20000: {low:#x} {:#x}",
                high | 1 << 32
            ),
            "cause 0x2 0x0".to_owned(),
            "interrupt IntxAssert".to_owned(),
        ]
    );
}

#[test]
fn an_access_that_is_refused_is_told_as_such() {
    let mut world = receiving();
    world.bus.refuse(BUFFERS..BUFFERS + 64);
    world.set(Reg::RDT, 2);
    let (record, _) = observe(&mut world);

    world.receive(&frame());

    let refused = "dma Receive Some(0) Packet 60 at 0x40000: false".to_owned();
    assert!(record.take().contains(&refused));
}

#[test]
fn resets_are_told_with_their_reach() {
    let mut world = World::enabled();
    let (record, _) = observe(&mut world);

    world.set(Reg::CTRL, 1 << 26);
    world.call(|port, context| port.reset(context));

    assert_eq!(
        record.take(),
        [
            "write 0x0: 0x4000000 & 0xffffffff",
            "Reset(Device)",
            "Reset(Bus)"
        ]
    );
}

#[test]
fn who_has_stopped_is_told_nothing_more_and_the_others_are() {
    let mut world = World::enabled();
    let (first, id) = observe(&mut world);
    let (second, _) = observe(&mut world);

    let gone = world.port.stop_observing(id);
    world.set(Reg::VLNCTRL, 0);

    assert!(gone.is_some());
    assert!(world.port.stop_observing(id).is_none());
    assert_eq!((first.take().len(), second.take().len()), (0, 1));
}

mod account {
    use super::*;
    use crate::observe::{Account, Direction, QueueAccount};

    /// An account that the test can look at while the port adds to it.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Account>>);

    impl Observer for Shared {
        fn see(&mut self, now: Time, event: &Event<'_>) {
            self.0.lock().unwrap().see(now, event);
        }
    }

    fn account(world: &mut World) -> Shared {
        let shared = Shared::default();
        world.port.observe(Box::new(shared.clone()));
        shared
    }

    impl Shared {
        fn queue(&self, direction: Direction) -> QueueAccount {
            self.0.lock().unwrap().queues(direction)[0]
        }
    }

    #[test]
    fn a_received_frame_is_copied_once() {
        let mut world = receiving();
        let account = account(&mut world);
        world.set(Reg::RDT, 2);

        world.receive(&frame());

        let expected = QueueAccount {
            frames: 1,
            frame_bytes: 60,
            moved: 60,
            copied: 0,
            ring: 2 * 16 + 16,
            fetched: 2,
            doorbells: 1,
            refused: 0,
        };
        assert_eq!(account.queue(Direction::Receive), expected);
        assert_eq!(expected.copies_per_thousand(), Some(1000));
        assert_eq!(account.0.lock().unwrap().interrupts(), 1);
    }

    #[test]
    fn a_frame_that_waits_in_the_packet_buffer_is_copied_twice() {
        let mut world = receiving();
        let account = account(&mut world);

        world.receive(&frame());
        world.set(Reg::RDT, 1);
        world.step();

        let queue = account.queue(Direction::Receive);
        assert_eq!((queue.frames, queue.moved, queue.copied), (1, 60, 60));
        assert_eq!(queue.copies_per_thousand(), Some(2000));
    }

    #[test]
    fn a_dropped_frame_is_not_moved() {
        let mut world = receiving();
        let account = account(&mut world);
        let mut frame = frame();
        frame[0] = 2;

        world.receive(&frame);

        assert!(account.queue(Direction::Receive).is_empty());
    }

    #[test]
    fn a_refused_write_is_no_copy() {
        let mut world = receiving();
        world.bus.refuse(BUFFERS..BUFFERS + 64);
        world.set(Reg::RDT, 2);
        let account = account(&mut world);

        world.receive(&frame());

        let queue = account.queue(Direction::Receive);
        assert_eq!((queue.moved, queue.refused), (0, 1));
    }

    fn send(len: u64) -> QueueAccount {
        let mut world = World::enabled();
        let descriptor = [BUFFERS, len | 0xB << 24];
        world.bus.poke(RING.into(), &descriptor[0].to_le_bytes());
        world
            .bus
            .poke(u64::from(RING) + 8, &descriptor[1].to_le_bytes());
        world.set(Reg::DMATXCTL, 1);
        world.set(Reg::TDBAL, RING);
        world.set(Reg::TDLEN, 128);
        world.set(Reg::TXDCTL, QUEUE_ENABLE);
        let account = account(&mut world);
        world.set(Reg::TDT, 1);
        while world.step() {}
        account.queue(Direction::Transmit)
    }

    #[test]
    fn of_a_long_frame_to_send_only_the_headers_are_copied_besides() {
        let queue = send(1514);

        assert_eq!((queue.frames, queue.frame_bytes), (1, 1514));
        assert_eq!(queue.moved, 1514);
        assert!(queue.copied <= 64, "{queue:?}");
        assert_eq!((queue.doorbells, queue.ring), (1, 32));
    }

    #[test]
    fn a_short_frame_to_send_is_copied_whole() {
        let queue = send(60);

        assert_eq!((queue.moved, queue.copied), (60, 60));
    }
}
