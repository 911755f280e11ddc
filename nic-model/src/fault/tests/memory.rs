//! Memory that is refused, poisoned, gone or exchanged.

use std::time::Duration;

use ixgbe_spec::register::Reg;

use super::{
    super::{CardFaults, Fault, FaultKind, FaultState, Target, Trigger},
    PCI_CAUSE, RX_BUFFERS, fault, lasting, nth, only, running,
};
use crate::{
    bus::{DmaError, Iova, Requester},
    observe::Direction,
    port::tests::world::World,
    testing::TestBus,
    time::Time,
};

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
    // The ring was fetched when it was enabled: the first access of a frame is that to its buffer.
    world.arrive(0);
    world.fault(Fault {
        target: only(Direction::Receive),
        ..lasting(FaultKind::UnmappedPage, Duration::from_secs(1))
    });

    world.arrive(1);
    world.arrive(2);
    let refused = world.port.faults().buffer_dma;
    world.pass(Duration::from_secs(1));
    world.arrive(3);

    assert!(refused >= 1, "{refused}");
    assert_eq!(world.port.faults().buffer_dma, refused);
    assert!(world.rx_done(3), "the page is there again");
    assert_eq!(world.port.fault_reports()[0].state, FaultState::Over);
}

#[test]
fn a_frame_that_comes_when_the_time_of_a_fault_is_over_does_not_make_it_last() {
    let mut world = running();
    world.arrive(0);
    world.fault(Fault {
        target: only(Direction::Receive),
        ..lasting(FaultKind::UnmappedPage, Duration::from_secs(1))
    });
    world.arrive(1);

    world.pass_nanos(2_000_000_000);
    world.arrive(2);
    world.step();
    let refused = world.port.faults().buffer_dma;
    world.arrive(3);

    assert_eq!(world.port.fault_reports()[0].state, FaultState::Over);
    assert_eq!(world.port.faults().buffer_dma, refused);
    assert!(world.rx_done(3), "the page is there again");
}

#[test]
fn a_switched_page_holds_other_bytes_and_keeps_what_is_written_from_the_client() {
    let mut world = running();
    // The second access is that to the buffer.
    world.fault(Fault {
        target: only(Direction::Transmit),
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
    let fired = world.fired();
    world.pass(Duration::from_secs(1));
    world.arrive(0);

    assert_eq!(fired, 1);
    assert_eq!(world.port.fault_reports()[0].state, FaultState::Over);
}

/// The last byte in the buffer of descriptor `n`, all of which are in one page.
fn byte_of(world: &World, n: u64) -> u8 {
    world.bus.peek(RX_BUFFERS + 512 * n + 59, 1)[0]
}

#[test]
fn a_page_that_two_faults_have_unmapped_is_back_when_both_have_ended() {
    let mut world = running();
    world.arrive(0);
    for id in [1, 2] {
        world.fault_of(
            id,
            Fault {
                target: only(Direction::Receive),
                ..fault(FaultKind::UnmappedPage)
            },
        );
    }
    world.arrive(1);

    world.clear_fault(1);
    world.arrive(2);
    let by_one = world.port.faults().buffer_dma;
    world.clear_fault(2);
    world.arrive(3);

    assert_eq!(by_one, 2);
    assert_eq!(world.port.faults().buffer_dma, 2);
    assert_eq!(byte_of(&world, 3), 3);
}

#[test]
fn a_page_that_two_faults_have_exchanged_is_the_clients_when_both_have_ended() {
    let mut world = running();
    world.arrive(0);
    for id in [1, 2] {
        let target = only(Direction::Receive);
        world.fault_of(
            id,
            Fault {
                target,
                ..fault(FaultKind::MemorySwitch)
            },
        );
    }

    world.arrive(1);
    world.clear_fault(1);
    world.arrive(2);
    let exchanged = [byte_of(&world, 1), byte_of(&world, 2)];
    world.clear_fault(2);
    world.arrive(3);

    assert_eq!(exchanged, [0, 0]);
    assert_eq!(byte_of(&world, 3), 3);
}

/// A fault that takes more occasions than there are pages.
fn endless(kind: FaultKind) -> CardFaults {
    let trigger = Trigger {
        count: Some(1000),
        ..Trigger::always(1)
    };
    let mut faults = CardFaults::default();
    let fault = Fault {
        trigger,
        ..fault(kind)
    };
    faults.add(1, fault, Time::ZERO).unwrap();
    faults
}

/// Memory of 600 pages.
fn large() -> TestBus {
    TestBus::new(600 * 4096)
}

fn page(n: u64) -> Iova {
    Iova(TestBus::BASE + 4096 * n)
}

#[test]
fn no_more_than_256_pages_are_unmapped_at_a_time() {
    let bus = large();
    let mut faults = endless(FaultKind::UnmappedPage);

    let refused = (0..300)
        .filter(|n| {
            let written = faults.write(&bus, Requester::Pf, page(*n), &[1]);
            matches!(written, Err(DmaError::Refused { .. }))
        })
        .count();

    assert_eq!(refused, 256);
    assert_eq!(
        (faults.reports()[0].seen, faults.reports()[0].fired),
        (256, 256)
    );
}

#[test]
fn no_more_than_256_pages_are_exchanged_at_a_time() {
    let bus = large();
    let mut faults = endless(FaultKind::MemorySwitch);

    for n in 0..300 {
        faults.write(&bus, Requester::Pf, page(n), &[1]).unwrap();
    }
    let reached = (0..300).filter(|n| bus.peek(page(*n).0, 1) == [1]).count();
    faults.write(&bus, Requester::Pf, page(0), &[2]).unwrap();

    assert_eq!(reached, 300 - 256);
    assert_eq!(bus.peek(page(0).0, 1), [0], "it is exchanged still");
    assert_eq!(faults.reports()[0].fired, 257);
}
