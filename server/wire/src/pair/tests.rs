use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::*;

fn ends() -> [Pair; 2] {
    Pair::new("a").unwrap()
}

fn send(end: &mut Pair, bytes: &[u8]) -> Result<(), WireBusy> {
    end.transmit(&TxFrame {
        head: bytes,
        payload: &[],
        offload: Offload::None,
    })
}

fn take(end: &mut Pair, budget: usize) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    end.receive(budget, &mut |frame| {
        frames.push([frame.head, frame.body].concat());
        Flow::More
    });
    frames
}

/// Whether the end's bell rings.
fn rings(end: &Pair) -> bool {
    let mut fds = [PollFd::new(end.poll_fd().unwrap(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).unwrap() == 1
}

#[test]
fn what_one_end_sends_the_other_receives_in_order_and_the_other_way_round() {
    let [mut a, mut b] = ends();

    send(&mut a, &[1; 60]).unwrap();
    send(&mut a, &[2; 1514]).unwrap();
    send(&mut b, &[3; 61]).unwrap();

    assert_eq!(take(&mut b, 10), [vec![1; 60], vec![2; 1514]]);
    assert_eq!(take(&mut a, 10), [vec![3; 61]]);
    assert_eq!((a.counters().tx_bytes, b.counters().rx_bytes), (1574, 1574));
}

#[test]
fn a_short_frame_is_padded_with_zeros_whatever_the_buffer_held_before() {
    let [mut a, mut b] = ends();
    send(&mut a, &[0xFF; 1514]).unwrap();
    take(&mut b, 1);

    send(&mut a, &[7; 20]).unwrap();

    let frames = take(&mut b, 1);
    assert_eq!(frames[0][..20], [7; 20]);
    assert_eq!(frames[0][20..], [0; 40]);
}

#[test]
fn a_sender_without_room_waits_and_goes_on_when_the_receiver_has_taken_a_frame() {
    let [mut a, mut b] = ends();
    while send(&mut a, &[1; 60]).is_ok() {}

    let waits = (a.counters().tx_frames, a.deadline());
    take(&mut b, 1);

    assert_eq!(waits, (512, Some(Time::ZERO + RETRY)));
    assert_eq!(send(&mut a, &[2; 60]), Ok(()));
    assert_eq!(a.counters().tx_dropped, 0);
}

#[test]
fn a_receiver_that_takes_nothing_does_not_hold_the_sender_up_for_ever() {
    let [mut a, mut b] = ends();
    while send(&mut a, &[1; 60]).is_ok() {}
    a.advance(Time::ZERO + PATIENCE);

    let lost = [send(&mut a, &[2; 60]), send(&mut a, &[3; 60])];
    let (arrived, later) = (take(&mut b, 1000).len(), send(&mut a, &[4; 60]));

    assert_eq!((lost, later), ([Ok(()); 2], Ok(())));
    assert_eq!(a.counters().tx_dropped, 2);
    assert_eq!(arrived, 512);
    assert_eq!(take(&mut b, 10), [vec![4; 60]]);
}

#[test]
fn the_carrier_is_the_other_ends_light_and_a_change_rings() {
    let [mut a, b] = ends();
    let before = (b.carrier(), rings(&b));

    a.set_far_link(false);
    let dark = (b.carrier(), rings(&b));

    assert_eq!((before, dark), ((true, false), (false, true)));
    a.set_far_link(true);
    assert!(b.carrier());
    assert!(a.carrier());
}

#[test]
fn an_end_whose_other_end_has_gone_has_no_carrier_and_loses_what_it_sends() {
    let [mut a, b] = ends();

    drop(b);

    assert!(!a.carrier());
    assert!(rings(&a));
    (0..2000).for_each(|_| send(&mut a, &[1; 60]).unwrap());
    assert_eq!(a.counters().tx_dropped, 2000);
    assert_eq!(take(&mut a, 10), Vec::<Vec<u8>>::new());
}

#[test]
fn the_bell_rings_once_for_a_burst_and_is_silent_when_all_is_taken() {
    let [mut a, mut b] = ends();
    (0..3).for_each(|_| send(&mut a, &[1; 60]).unwrap());

    let announced = rings(&b);
    let first = take(&mut b, 2).len();
    let left = b.has_frames();
    let rest = take(&mut b, 10).len();

    assert_eq!((announced, first, left, rest), (true, 2, true, 1));
    assert!(!b.has_frames());
    assert!(!rings(&b));
    send(&mut a, &[1; 60]).unwrap();
    assert!(rings(&b));
}

#[test]
fn a_frame_that_asks_for_an_offload_is_lost_and_counted() {
    let [mut a, mut b] = ends();

    let sent = a.transmit(&TxFrame {
        head: &[0; 60],
        payload: &[],
        offload: Offload::Checksum {
            start: 34,
            offset: 16,
        },
    });

    assert_eq!((sent, a.counters().tx_dropped), (Ok(()), 1));
    assert_eq!(take(&mut b, 10), Vec::<Vec<u8>>::new());
}

/// Each thread sleeps on its bell whenever it has seen no frame, so a wake-up that gets lost ends the test never.
#[test]
fn two_threads_that_sleep_between_frames_lose_none_and_no_wake_up() {
    const COUNT: u32 = 200_000;
    let [mut a, mut b] = ends();
    let receiver = thread::spawn(move || {
        let mut next = 0_u32;
        while next < COUNT {
            if !b.has_frames() {
                let mut fds = [PollFd::new(b.poll_fd().unwrap(), PollFlags::POLLIN)];
                poll(&mut fds, PollTimeout::NONE).unwrap();
            }
            b.receive(7, &mut |frame| {
                assert_eq!(frame.head[..4], next.to_le_bytes());
                next += 1;
                Flow::More
            });
        }
    });
    for number in 0..COUNT {
        let mut frame = [0; 60];
        frame[..4].copy_from_slice(&number.to_le_bytes());
        while send(&mut a, &frame).is_err() {
            thread::yield_now();
        }
    }

    receiver.join().unwrap();
}

#[test]
fn a_cable_has_two_ends_and_no_third() {
    let mut cables = Cables::new();
    let mut a = cables.end("x").unwrap();
    let mut b = cables.end("x").unwrap();
    let other = cables.end("y").unwrap();

    send(&mut a, &[1; 60]).unwrap();

    assert_eq!(take(&mut b, 1).len(), 1);
    assert!(other.carrier(), "the other end waits to be taken");
    let third = cables.end("x").unwrap_err().to_string();
    assert!(third.contains("pair:x"), "{third}");
}
