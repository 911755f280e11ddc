//! Faults of the card, seen as a driver sees them.

use std::time::Duration;

use ixgbe_spec::register::Reg;

use super::{Fault, FaultKind, FaultState, Target, Trigger};
use crate::{
    HardwareError, Module,
    bus::Signal,
    observe::Direction,
    port::tests::world::{MAC, World},
    testing::TestBus,
};

const RX_RING: u64 = TestBus::BASE;
const TX_RING: u64 = 0x1_1000;
const RX_BUFFERS: u64 = 0x2_0000;
const TX_BUFFERS: u64 = 0x4_0000;
const RX_VECTOR: [Signal; 1] = [Signal::MsiX(3)];
const PCI_CAUSE: u32 = 1 << 18;
const RST: u32 = 1 << 26;

fn fault(kind: FaultKind) -> Fault {
    Fault {
        kind,
        target: Target::default(),
        trigger: Trigger::always(1),
        delay: None,
        every: None,
    }
}

fn nth(kind: FaultKind, nth: u64) -> Fault {
    let trigger = Trigger {
        nth: Some(nth),
        ..Trigger::always(1)
    };
    Fault {
        trigger,
        ..fault(kind)
    }
}

fn lasting(kind: FaultKind, duration: Duration) -> Fault {
    let trigger = Trigger {
        duration: Some(duration),
        ..Trigger::always(1)
    };
    Fault {
        trigger,
        ..fault(kind)
    }
}

/// A port whose queue 0 receives into 512-byte buffers, vector 3, and sends, vector 4. Nothing is moderated.
fn running() -> World {
    let mut world = World::msix();
    for n in 0..128 {
        let buffer = RX_BUFFERS + 512 * n;
        world.bus.poke(RX_RING + 16 * n, &buffer.to_le_bytes());
    }
    world.set(Reg::GPIE, 1 << 4);
    world.set(Reg::IVAR, 0x84_83);
    world.set(Reg::EIAC, 0b11000);
    world.set(Reg::EIMS_EX, 0b11000);
    world.set(Reg::RDBAL, u32::try_from(RX_RING).unwrap());
    world.set(Reg::RDLEN, 2048);
    world.set(Reg::SRRCTL, 1 << 25 | 2);
    world.set(Reg::RXDCTL, 1 << 25);
    world.set(Reg::RDT, 100);
    world.set(Reg::RXCTRL, 1);
    world.set(Reg::DMATXCTL, 0x8100_0001);
    world.set(Reg::TDBAL, u32::try_from(TX_RING).unwrap());
    world.set(Reg::TDLEN, 2048);
    world.set(Reg::TXDCTL, 1 << 25);
    world.signals();
    world
}

impl World {
    fn fault(&mut self, fault: Fault) {
        self.call(|port, context| port.add_fault(7, fault, context))
            .unwrap();
    }

    fn clear_faults(&mut self) -> usize {
        self.call(|port, context| port.clear_faults(None, context))
    }

    /// How often the only fault has struck.
    fn fired(&self) -> u64 {
        self.port.fault_reports()[0].fired
    }

    /// Frame `n` arrives; its last bytes are `n`.
    fn arrive(&mut self, n: u8) {
        let mut frame = vec![n; 60];
        frame[..6].copy_from_slice(&MAC);
        frame[12..14].copy_from_slice(&[0x88, 0xB5]);
        self.receive(&frame);
    }

    /// Packet `n` is put on the ring; all of its bytes are `n`.
    fn send(&mut self, n: u8) {
        let (place, buffer) = (TX_RING + 16 * u64::from(n), TX_BUFFERS + 64 * u64::from(n));
        self.bus.poke(buffer, &[n; 60]);
        self.bus.poke(place, &buffer.to_le_bytes());
        // Length 60, EOP, IFCS and RS.
        self.bus
            .poke(place + 8, &(60_u64 | 0xB << 24).to_le_bytes());
        self.set(Reg::TDT, u32::from(n) + 1);
        while self.step() {}
    }

    fn sent(&self) -> Vec<u8> {
        self.wire.frames.iter().map(|frame| frame[30]).collect()
    }

    fn rx_done(&self, n: u64) -> bool {
        self.bus.peek(RX_RING + 16 * n + 8, 1)[0] & 1 != 0
    }

    fn tx_done(&self, n: u64) -> bool {
        self.bus.peek(TX_RING + 16 * n + 12, 1)[0] & 1 != 0
    }

    fn pass(&mut self, time: Duration) {
        self.pass_nanos(u64::try_from(time.as_nanos()).unwrap());
        self.step();
    }

    /// Disables the transmit queue and enables it anew.
    fn restart_transmit(&mut self) {
        self.set(Reg::TXDCTL, 0);
        self.set(Reg::TXDCTL, 1 << 25);
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_lost_interrupt_is_a_message_that_never_goes_out() {
    let mut world = running();
    world.fault(nth(FaultKind::InterruptLost, 1));

    world.arrive(0);
    let first = world.signals();
    world.pass(Duration::from_secs(10));
    let later = world.signals();
    world.arrive(1);

    assert!(world.rx_done(0), "the frame itself is there");
    assert_eq!((first, later), (vec![], vec![]));
    assert_eq!(world.signals(), RX_VECTOR);
    assert_eq!(world.fired(), 1);
}

#[test]
fn only_the_interrupts_of_the_queue_that_is_meant_get_lost() {
    let mut world = running();
    let target = Target {
        queue: Some(0),
        direction: Some(Direction::Transmit),
        vector: None,
    };
    world.fault(Fault {
        target,
        ..fault(FaultKind::InterruptLost)
    });

    world.arrive(0);
    let received = world.signals();
    world.send(0);

    assert_eq!(received, RX_VECTOR);
    assert_eq!(world.signals(), []);
}

#[test]
fn a_late_interrupt_comes_after_its_delay() {
    let mut world = running();
    world.fault(nth(FaultKind::InterruptLate, 1));

    world.arrive(0);
    assert_eq!(
        world.port.deadline(),
        Some(world.now + Duration::from_millis(10))
    );
    world.pass(9 * MILLISECOND);
    assert_eq!(world.signals(), []);
    world.pass(MILLISECOND);

    assert_eq!(world.signals(), RX_VECTOR);
}

#[test]
fn spurious_interrupts_come_at_their_times_without_a_cause() {
    let mut world = running();
    let trigger = Trigger {
        count: Some(2),
        ..Trigger::always(1)
    };
    let target = Target {
        vector: Some(5),
        ..Target::default()
    };
    world.fault(Fault {
        trigger,
        target,
        every: Some(MILLISECOND),
        ..fault(FaultKind::InterruptSpurious)
    });

    let at_once = world.signals();
    world.pass(MILLISECOND);
    let second = world.signals();
    world.pass(MILLISECOND);

    assert_eq!(at_once, [Signal::MsiX(5)]);
    assert_eq!(second, [Signal::MsiX(5)]);
    assert_eq!(world.signals(), []);
    assert_eq!(world.get(Reg::EICR), 0);
}

#[test]
fn a_pin_whose_interrupt_is_lost_stays_inactive_until_the_next() {
    let mut world = World::enabled();
    world.set(Reg::EIMS, 1 << 28);
    world.fault(nth(FaultKind::InterruptLost, 1));
    let error = HardwareError::ReceiveEcc;

    world.call(|port, context| port.inject_error(error, context));
    let lost = world.signals();
    world.get(Reg::EICR);
    world.signals();
    world.call(|port, context| port.inject_error(error, context));

    assert_eq!(lost, []);
    assert_eq!(world.signals(), [Signal::IntxAssert]);
}

#[test]
fn a_late_write_back_keeps_back_those_behind_it() {
    let mut world = running();
    let target = Target {
        direction: Some(Direction::Receive),
        ..Target::default()
    };
    world.fault(Fault {
        target,
        ..nth(FaultKind::WriteBackLate, 2)
    });

    world.arrive(0);
    world.arrive(1);
    world.arrive(2);
    world.pass(9 * MILLISECOND);
    let before = [0, 1, 2].map(|n| world.rx_done(n));
    world.pass(MILLISECOND);

    assert_eq!(before, [true, false, false]);
    assert_eq!([0, 1, 2].map(|n| world.rx_done(n)), [true; 3]);
    assert_eq!(world.fired(), 1);
}

#[test]
fn a_write_back_out_of_order_comes_after_the_next_one() {
    let mut world = running();
    world.fault(nth(FaultKind::WriteBackReorder, 1));

    world.arrive(0);
    let before = world.rx_done(0);
    world.bus.take_writes();
    world.arrive(1);
    let ring = RX_RING..RX_RING + 2048;
    let writes = world.bus.take_writes();
    let order: Vec<_> = writes
        .iter()
        .filter(|write| ring.contains(&write.start))
        .map(|write| (write.start - RX_RING) / 16)
        .collect();

    assert!(!before);
    assert_eq!(order, [1, 0]);
}

#[test]
fn a_queue_that_is_disabled_has_written_back_everything() {
    let mut world = running();
    world.fault(nth(FaultKind::WriteBackLate, 1));
    world.send(0);
    let held = world.tx_done(0);

    world.set(Reg::TXDCTL, 0);

    assert!(!held);
    assert!(world.tx_done(0));
}

#[test]
fn a_stuck_queue_neither_sends_nor_reports_until_its_driver_restarts_it() {
    let mut world = running();
    world.fault(nth(FaultKind::TransmitStuck, 2));

    world.send(0);
    world.send(1);
    world.send(2);
    world.pass(Duration::from_secs(2));
    let stuck = (world.sent(), world.tx_done(1), world.get(Reg::TDH));
    world.restart_transmit();
    world.set(Reg::TDT, 3);
    while world.step() {}

    assert_eq!(stuck, (vec![0], false, 1));
    assert_eq!(world.sent(), [0, 1, 2]);
    assert_eq!(world.port.fault_reports()[0].state, FaultState::Spent);
}

#[test]
fn a_stuck_queue_goes_on_when_the_fault_is_cleared() {
    let mut world = running();
    world.fault(fault(FaultKind::TransmitStuck));
    world.send(0);
    let stuck = world.sent();

    let cleared = world.clear_faults();
    while world.step() {}

    assert_eq!((stuck, cleared), (Vec::<u8>::new(), 1));
    assert_eq!(world.sent(), [0]);
}

#[test]
fn a_refused_access_goes_the_way_of_memory_that_is_not_there() {
    let mut world = running();
    let target = Target {
        direction: Some(Direction::Transmit),
        queue: Some(0),
        vector: None,
    };
    world.fault(Fault {
        target,
        ..fault(FaultKind::DmaError)
    });

    world.send(0);
    let cause = world.port.register(Reg::EICR, 0) & 1 << 31;
    let ring = world.port.faults().ring_dma;
    world.restart_transmit();
    world.set(Reg::TDT, 1);
    while world.step() {}

    assert_eq!((ring, world.fired()), (1, 1));
    assert_eq!(cause, 0, "EICR.PCI is not enabled here");
    assert_eq!(world.get(Reg::EICR) & PCI_CAUSE, PCI_CAUSE);
    assert_eq!(world.config_read16(0x06) & 1 << 13, 1 << 13, "master abort");
    assert_eq!(world.sent(), [0], "the queue stood still until its restart");
}

#[test]
fn a_poisoned_answer_is_noted_in_aer_and_is_no_master_abort() {
    let mut world = running();
    // The ring's descriptor is read first, then the buffer.
    world.fault(nth(FaultKind::DmaPoisoned, 2));

    world.send(0);

    assert_eq!(world.sent(), [0_u8; 0]);
    assert_eq!(world.port.faults().buffer_dma, 1);
    assert_eq!(world.get(Reg::EICR) & PCI_CAUSE, PCI_CAUSE);
    assert_eq!(
        world.config_read32(0x104) & 1 << 12,
        1 << 12,
        "poisoned TLP"
    );
    assert_eq!(world.config_read16(0x06) & 1 << 13, 0, "master abort");
}

#[test]
fn an_unmapped_page_refuses_everything_until_the_fault_ends() {
    let mut world = running();
    let target = Target {
        direction: Some(Direction::Receive),
        queue: None,
        vector: None,
    };
    // The ring was fetched when it was enabled: the first access of a frame is that to its buffer.
    world.arrive(0);
    world.fault(Fault {
        target,
        ..lasting(FaultKind::UnmappedPage, Duration::from_secs(1))
    });

    world.arrive(1);
    world.arrive(2);
    let refused = world.port.faults().buffer_dma;
    world.pass(Duration::from_secs(1));
    world.arrive(3);

    assert!(refused >= 1, "{refused}");
    assert_eq!(world.port.faults().buffer_dma, refused);
    assert_eq!(world.port.fault_reports()[0].state, FaultState::Over);
}

#[test]
fn a_switched_page_holds_other_bytes_and_keeps_what_is_written_from_the_client() {
    let mut world = running();
    let target = Target {
        direction: Some(Direction::Transmit),
        queue: None,
        vector: None,
    };
    // The second access is that to the buffer.
    world.fault(Fault {
        target,
        ..nth(FaultKind::MemorySwitch, 2)
    });

    world.send(0);
    world.clear_faults();
    world.send(1);

    let frames = &world.wire.frames;
    assert_eq!(frames.len(), 2);
    assert_ne!(frames[0], vec![0; 60]);
    assert_eq!(frames[1], vec![1; 60]);
}

#[test]
fn a_switched_ring_is_one_of_nonsense_and_does_no_harm() {
    let mut world = running();
    world.fault(lasting(FaultKind::MemorySwitch, Duration::from_secs(1)));

    for n in 0..100 {
        world.send(n);
        world.arrive(n);
    }
    world.pass(Duration::from_secs(1));
    world.arrive(0);

    assert_eq!(world.port.fault_reports()[0].state, FaultState::Over);
}

#[test]
fn the_nvm_has_a_wrong_checksum_until_the_fault_is_cleared() {
    let mut world = running();
    let right = world.port.nvm().image().checksum_is_right();

    world.fault(fault(FaultKind::NvmCorrupt));
    let corrupt = world.port.nvm().image().checksum_is_right();
    world.clear_faults();

    assert_eq!((right, corrupt), (true, false));
    assert!(world.port.nvm().image().checksum_is_right());
}

#[test]
fn a_module_that_is_pulled_for_a_while_is_the_same_when_it_is_back() {
    let mut world = running();
    world.plug(Module::Lr);
    world.fault(lasting(FaultKind::ModulePulled, Duration::from_secs(1)));
    let pulled = (world.port.module(), world.port.link_is_up());

    world.pass(Duration::from_secs(1));
    let back = world.port.module();
    world.train();

    assert_eq!(pulled, (Module::Absent, false));
    assert_eq!(back, Module::Lr);
    assert!(world.port.link_is_up());
}

#[test]
fn a_slow_reset_keeps_its_bit_and_loses_what_is_written_meanwhile() {
    let mut world = running();
    world.fault(nth(FaultKind::ResetSlow, 1));

    world.set(Reg::CTRL, RST);
    let during = world.get(Reg::CTRL) & RST;
    world.set(Reg::RDLEN, 2048);
    world.pass(19 * MILLISECOND);
    let still = world.get(Reg::CTRL) & RST;
    world.pass(MILLISECOND);

    assert_eq!((during, still), (RST, RST));
    assert_eq!(world.get(Reg::CTRL) & RST, 0);
    assert_eq!(world.get(Reg::RDLEN), 0);
}

#[test]
fn an_error_of_the_hardware_comes_again_and_again() {
    let mut world = running();
    let trigger = Trigger {
        count: Some(3),
        ..Trigger::always(1)
    };
    world.fault(Fault {
        trigger,
        ..fault(FaultKind::Hardware(HardwareError::TransmitEcc))
    });

    let first = world.get(Reg::TXDBUEST);
    world.pass(Duration::from_secs(1));
    world.pass(Duration::from_secs(1));
    world.pass(Duration::from_secs(1));

    assert_eq!(first, 1);
    assert_eq!(world.fired(), 3);
}

#[test]
fn the_same_seed_loses_the_same_interrupts() {
    let run = |seed| {
        let mut world = running();
        let trigger = Trigger {
            probability: 0.5,
            ..Trigger::always(seed)
        };
        world.fault(Fault {
            trigger,
            ..fault(FaultKind::InterruptLost)
        });
        let lost: Vec<_> = (0..50)
            .map(|n| {
                world.arrive(n);
                world.signals().is_empty()
            })
            .collect();
        lost
    };

    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn a_port_whose_faults_are_cleared_keeps_nothing_of_them() {
    let mut world = running();
    world.fault(fault(FaultKind::WriteBackLate));
    world.arrive(0);

    world.clear_faults();

    assert!(world.rx_done(0));
    assert_eq!(world.port.fault_reports(), []);
    assert_eq!(world.port.deadline(), None);
}
