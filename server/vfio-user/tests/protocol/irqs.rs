//! `DEVICE_SET_IRQS` in all its forms.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use vfio_user::Errno;
use vfio_user::client::{Client, ClientError};
use vfio_user::message::{HeaderFlags, IrqSet, IrqSetFlags, Request};
use vfio_user::server::IrqAction;

use crate::support::{ERR, Event, INTX, MSI, MSIX, REQ, Server, count, eventfd};

const NONE: u32 = IrqSetFlags::DATA_NONE.bits();
const BOOL: u32 = IrqSetFlags::DATA_BOOL.bits();
const EVENTFD: u32 = IrqSetFlags::DATA_EVENTFD.bits();
const MASK: u32 = IrqSetFlags::ACTION_MASK.bits();
const UNMASK: u32 = IrqSetFlags::ACTION_UNMASK.bits();
const TRIGGER: u32 = IrqSetFlags::ACTION_TRIGGER.bits();

/// Sends one message of these very fields; returns the errno of the reply.
fn set_irqs(
    client: &mut Client,
    flags: u32,
    (index, start, count): (u32, u32, u32),
    data: &[u8],
    fds: &[OwnedFd],
) -> Option<Errno> {
    let set = IrqSet {
        argsz: 20.into(),
        flags: flags.into(),
        index: index.into(),
        start: start.into(),
        count: count.into(),
    };
    let mut message = Vec::new();
    Request::DeviceSetIrqs(set, data).encode_into(77, HeaderFlags::empty(), &mut message);
    let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    client.send_raw(&message, &fds).unwrap();
    let reply = client.receive_raw().unwrap();
    assert_eq!(reply.header.id.get(), 77);
    assert!(reply.payload.is_empty());
    reply.header.failure()
}

fn eventfds(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| eventfd()).collect()
}

#[test]
fn an_assigned_eventfd_is_written_when_its_vector_fires() {
    let (server, mut client) = Server::with_client();
    let fds = eventfds(3);

    assert_eq!(
        set_irqs(&mut client, EVENTFD | TRIGGER, (MSIX, 5, 3), &[], &fds),
        None
    );

    assert_eq!(server.fire(MSIX, 6), 1);
    assert_eq!(fds.iter().map(count).collect::<Vec<_>>(), [0, 1, 0]);
}

#[test]
fn a_second_eventfd_replaces_the_first() {
    let (server, mut client) = Server::with_client();
    let (old, new) = (eventfds(1), eventfds(1));

    set_irqs(&mut client, EVENTFD | TRIGGER, (MSIX, 0, 1), &[], &old);
    set_irqs(&mut client, EVENTFD | TRIGGER, (MSIX, 0, 1), &[], &new);

    assert_eq!(server.fire(MSIX, 0), 1);
    assert_eq!((count(&old[0]), count(&new[0])), (0, 1));
}

#[test]
fn no_eventfd_at_all_turns_vectors_on_without_any() {
    let (server, mut client) = Server::with_client();

    let refused = set_irqs(&mut client, EVENTFD | TRIGGER, (MSIX, 0, 1), &[], &[]);

    assert_eq!(refused, None);
    assert_eq!(
        server.take_events(),
        [Event::AssignIrqs {
            index: MSIX,
            action: IrqAction::Trigger,
            start: 0,
            eventfds: vec![false],
        }]
    );
}

#[test]
fn fewer_eventfds_than_vectors_leave_the_last_ones_without() {
    let (server, mut client) = Server::with_client();

    set_irqs(
        &mut client,
        EVENTFD | TRIGGER,
        (MSIX, 0, 3),
        &[],
        &eventfds(2),
    );

    assert_eq!(
        server.take_events(),
        [Event::AssignIrqs {
            index: MSIX,
            action: IrqAction::Trigger,
            start: 0,
            eventfds: vec![true, true, false],
        }]
    );
}

#[test]
fn the_kernels_array_leaves_holes_where_it_says_minus_one() {
    let (server, mut client) = Server::with_client();
    let array: Vec<u8> = [7i32, -1, 8].iter().flat_map(|n| n.to_le_bytes()).collect();
    let fds = eventfds(2);

    let refused = set_irqs(&mut client, EVENTFD | TRIGGER, (MSIX, 0, 3), &array, &fds);

    assert_eq!(refused, None);
    assert_eq!((server.fire(MSIX, 1), server.fire(MSIX, 2)), (0, 1));
    assert_eq!(fds.iter().map(count).collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn an_array_that_does_not_match_its_eventfds_is_refused() {
    let (_server, mut client) = Server::with_client();
    let array =
        |numbers: &[i32]| -> Vec<u8> { numbers.iter().flat_map(|n| n.to_le_bytes()).collect() };
    let mut assign = |data: &[u8], fds: usize| {
        set_irqs(
            &mut client,
            EVENTFD | TRIGGER,
            (MSIX, 0, 2),
            data,
            &eventfds(fds),
        )
    };

    assert_eq!(assign(&array(&[3, 4]), 1), Some(Errno::INVAL));
    assert_eq!(assign(&array(&[3, -1]), 2), Some(Errno::INVAL));
    assert_eq!(assign(&array(&[3]), 1), Some(Errno::INVAL));
    assert_eq!(assign(&array(&[3, -1])[..7], 1), Some(Errno::INVAL));
}

#[test]
fn more_eventfds_than_one_message_holds_come_in_several() {
    let (server, mut client) = Server::with_client();
    let fds = eventfds(40);
    // 20 with, 3 without, 20 with.
    let mut borrowed: Vec<Option<BorrowedFd<'_>>> = fds.iter().map(|fd| Some(fd.as_fd())).collect();
    for hole in 20..23 {
        borrowed.insert(hole, None);
    }

    client
        .assign_irqs(MSIX, IrqAction::Trigger, 10, &borrowed)
        .unwrap();

    let starts: Vec<_> = server
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::AssignIrqs {
                start, eventfds, ..
            } => (start, eventfds.len(), eventfds[0]),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        starts,
        [
            (10, 16, true),
            (26, 4, true),
            (30, 3, false),
            (33, 16, true),
            (49, 4, true)
        ]
    );
    assert_eq!(server.fire(MSIX, 52), 1);
    assert_eq!(count(&fds[39]), 1);
}

#[test]
fn a_type_is_turned_off_as_a_whole() {
    let (server, mut client) = Server::with_client();
    set_irqs(
        &mut client,
        EVENTFD | TRIGGER,
        (MSIX, 0, 4),
        &[],
        &eventfds(4),
    );
    server.take_events();

    client.disable_irqs(MSIX).unwrap();

    assert_eq!(server.take_events(), [Event::DisableIrqs { index: MSIX }]);
}

#[test]
fn what_is_not_an_eventfd_is_refused_and_closed() {
    let (server, mut client) = Server::with_client();
    let (ours, theirs) = UnixStream::pair().unwrap();
    // Once the other end is closed everywhere, ours sees the end.
    let refused = set_irqs(
        &mut client,
        EVENTFD | TRIGGER,
        (MSIX, 0, 1),
        &[],
        &[OwnedFd::from(theirs)],
    );

    assert_eq!(refused, Some(Errno::INVAL));
    assert!(server.take_events().is_empty());
    assert_eq!(std::io::Read::read(&mut &ours, &mut [0]).unwrap(), 0);
}

#[test]
fn a_range_is_masked_unmasked_and_triggered() {
    let (server, mut client) = Server::with_client();

    client.act_on_irqs(INTX, IrqAction::Mask, 0, 1).unwrap();
    client.act_on_irqs(INTX, IrqAction::Unmask, 0, 1).unwrap();
    client.act_on_irqs(MSIX, IrqAction::Trigger, 62, 2).unwrap();

    let act = |index, action, vectors| Event::ActOnIrqs {
        index,
        action,
        vectors,
    };
    assert_eq!(
        server.take_events(),
        [
            act(INTX, IrqAction::Mask, vec![0]),
            act(INTX, IrqAction::Unmask, vec![0]),
            act(MSIX, IrqAction::Trigger, vec![62, 63]),
        ]
    );
}

#[test]
fn only_chosen_vectors_are_acted_on() {
    let (server, mut client) = Server::with_client();

    client
        .act_on_chosen_irqs(MSIX, IrqAction::Trigger, 8, &[true, false, true])
        .unwrap();

    assert_eq!(
        server.take_events(),
        [Event::ActOnIrqs {
            index: MSIX,
            action: IrqAction::Trigger,
            vectors: vec![8, 10],
        }]
    );
}

#[test]
fn kvms_resample_eventfd_is_assigned_to_unmask() {
    let (server, mut client) = Server::with_client();

    let refused = set_irqs(
        &mut client,
        EVENTFD | UNMASK,
        (INTX, 0, 1),
        &[],
        &eventfds(1),
    );

    assert_eq!(refused, None);
    assert_eq!(
        server.take_events(),
        [Event::AssignIrqs {
            index: INTX,
            action: IrqAction::Unmask,
            start: 0,
            eventfds: vec![true],
        }]
    );
}

#[test]
fn an_eventfd_that_blocks_is_left_as_it_is() {
    let (_server, mut client) = Server::with_client();
    let blocking = rustix::event::eventfd(0, rustix::event::EventfdFlags::CLOEXEC).unwrap();
    let ours = blocking.try_clone().unwrap();

    set_irqs(
        &mut client,
        EVENTFD | TRIGGER,
        (MSI, 0, 1),
        &[],
        &[blocking],
    );

    let flags = rustix::fs::fcntl_getfl(&ours).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

/// Every way in which the fields can contradict each other or the device.
#[test]
fn contradictory_requests_are_refused_and_nothing_happens() {
    let (server, mut client) = Server::with_client();
    let mut refused =
        |flags, range, data: &[u8], fds| set_irqs(&mut client, flags, range, data, &eventfds(fds));
    let invalid = Some(Errno::INVAL);

    // One data bit, one action bit, nothing else.
    assert_eq!(refused(TRIGGER, (MSIX, 0, 1), &[], 0), invalid);
    assert_eq!(refused(NONE, (MSIX, 0, 1), &[], 0), invalid);
    assert_eq!(
        refused(NONE | BOOL | TRIGGER, (MSIX, 0, 1), &[1], 0),
        invalid
    );
    assert_eq!(refused(NONE | MASK | UNMASK, (INTX, 0, 1), &[], 0), invalid);
    assert_eq!(
        refused(NONE | TRIGGER | 1 << 6, (MSIX, 0, 1), &[], 0),
        invalid
    );
    // Ranges.
    assert_eq!(refused(NONE | TRIGGER, (5, 0, 1), &[], 0), invalid);
    assert_eq!(refused(NONE | TRIGGER, (u32::MAX, 0, 1), &[], 0), invalid);
    assert_eq!(refused(NONE | TRIGGER, (MSIX, 64, 1), &[], 0), invalid);
    assert_eq!(refused(NONE | TRIGGER, (MSIX, 63, 2), &[], 0), invalid);
    assert_eq!(
        refused(EVENTFD | TRIGGER, (MSIX, 0, u32::MAX), &[], 0),
        invalid
    );
    assert_eq!(
        refused(NONE | TRIGGER, (MSIX, u32::MAX, u32::MAX), &[], 0),
        invalid
    );
    assert_eq!(refused(NONE | TRIGGER, (ERR, 0, 2), &[], 0), invalid);
    // A count of 0 means "off", and that has one form.
    assert_eq!(refused(NONE | TRIGGER, (MSIX, 1, 0), &[], 0), invalid);
    assert_eq!(refused(NONE | MASK, (INTX, 0, 0), &[], 0), invalid);
    assert_eq!(refused(BOOL | TRIGGER, (MSIX, 0, 0), &[], 0), invalid);
    assert_eq!(refused(EVENTFD | TRIGGER, (MSIX, 0, 0), &[], 0), invalid);
    // Types that cannot be masked.
    assert_eq!(refused(NONE | MASK, (ERR, 0, 1), &[], 0), invalid);
    assert_eq!(refused(NONE | UNMASK, (REQ, 0, 1), &[], 0), invalid);
    assert_eq!(refused(EVENTFD | MASK, (MSIX, 0, 1), &[], 1), invalid);
    // Data.
    assert_eq!(refused(BOOL | TRIGGER, (MSIX, 0, 3), &[1, 1], 0), invalid);
    assert_eq!(refused(BOOL | TRIGGER, (MSIX, 0, 1), &[1, 1], 0), invalid);
    assert_eq!(refused(EVENTFD | TRIGGER, (MSIX, 0, 1), &[], 2), invalid);
    assert_eq!(refused(NONE | TRIGGER, (MSIX, 0, 1), &[], 1), invalid);
    assert_eq!(refused(BOOL | TRIGGER, (MSIX, 0, 1), &[1], 1), invalid);
    assert!(server.take_events().is_empty());
}

#[test]
fn a_refusal_reaches_the_caller() {
    let (_server, mut client) = Server::with_client();
    let refused = client.disable_irqs(9).unwrap_err();
    assert!(matches!(refused, ClientError::Refused { .. }));
}
