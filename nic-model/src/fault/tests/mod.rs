//! Faults of the card, seen as a driver sees them.

mod memory;
mod saved;
mod signals;

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

/// Everything of one direction.
fn only(direction: Direction) -> Target {
    Target {
        direction: Some(direction),
        ..Target::default()
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
        self.fault_of(7, fault);
    }

    fn fault_of(&mut self, id: u64, fault: Fault) {
        self.call(|port, context| port.add_fault(id, fault, context))
            .unwrap();
    }

    fn clear_fault(&mut self, id: u64) {
        self.call(|port, context| port.clear_faults(Some(id), context));
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
fn a_late_write_back_keeps_back_those_behind_it() {
    let mut world = running();
    world.fault(Fault {
        target: only(Direction::Receive),
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

    // A read clears it.
    let at_once = world.get(Reg::TXDBUEST);
    let later = [(); 3].map(|()| {
        world.pass(Duration::from_secs(1));
        world.get(Reg::TXDBUEST)
    });

    assert_eq!((at_once, later), (1, [1, 1, 0]));
    assert_eq!(world.fired(), 3);
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

#[test]
fn a_queue_that_two_faults_have_stopped_goes_on_when_both_have_ended() {
    let mut world = running();
    for id in [1, 2] {
        world.fault_of(id, fault(FaultKind::TransmitStuck));
    }
    world.send(0);

    world.clear_fault(1);
    while world.step() {}
    let sent = world.sent();
    world.clear_fault(2);
    while world.step() {}

    assert_eq!(sent, [0_u8; 0]);
    assert_eq!(world.sent(), [0]);
}

#[test]
fn the_end_of_a_fault_lets_no_queue_go_on_that_another_has_stopped() {
    let mut world = running();
    let of = |queue| Fault {
        target: Target {
            queue: Some(queue),
            ..Target::default()
        },
        ..fault(FaultKind::TransmitStuck)
    };
    world.fault_of(1, of(0));
    world.fault_of(2, of(1));
    world.send(0);

    world.clear_fault(2);
    while world.step() {}

    assert_eq!(world.sent(), [0_u8; 0]);
    assert_eq!(world.fired(), 1);
}

#[test]
fn the_end_of_a_fault_writes_back_nothing_that_another_holds() {
    let mut world = running();
    let of = |direction| Fault {
        target: only(direction),
        ..fault(FaultKind::WriteBackLate)
    };
    world.fault_of(1, of(Direction::Receive));
    world.fault_of(2, of(Direction::Transmit));
    world.arrive(0);
    world.send(0);

    world.clear_fault(1);
    let done = (world.rx_done(0), world.tx_done(0));
    world.clear_fault(2);

    assert_eq!(done, (true, false));
    assert!(world.tx_done(0));
}

#[test]
fn a_module_that_two_faults_have_drawn_is_back_when_both_have_ended() {
    let mut world = running();
    world.plug(Module::Lr);
    for id in [1, 2] {
        world.fault_of(id, fault(FaultKind::ModulePulled));
    }

    world.clear_fault(1);
    let drawn = world.port.module();
    world.clear_fault(2);

    assert_eq!(drawn, Module::Absent);
    assert_eq!(world.port.module(), Module::Lr);
}

#[test]
fn each_bit_that_faults_have_flipped_in_the_nvm_is_back_with_its_fault() {
    let mut world = running();
    let image = |world: &World| world.port.nvm().image();
    let right = image(&world);
    let often = |seed| Fault {
        trigger: Trigger {
            count: Some(1000),
            ..Trigger::always(seed)
        },
        every: Some(MILLISECOND),
        ..fault(FaultKind::NvmCorrupt)
    };
    world.fault_of(1, often(1));
    let by_one = image(&world);
    world.fault_of(2, often(2));
    for _ in 0..100 {
        world.pass(MILLISECOND);
    }
    let by_both = image(&world);

    world.clear_fault(1);
    let by_other = image(&world);
    world.clear_fault(2);

    assert!(![by_one, by_both, by_other].contains(&right));
    assert!(right == image(&world));
}
