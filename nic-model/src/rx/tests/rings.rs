//! Properties of rings.

use proptest::prelude::*;

use super::*;

/// What is done to a queue.
#[derive(Clone, Debug)]
enum Act {
    Frame(usize),
    Post(u16),
    Step,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => (60usize..6000).prop_map(Act::Frame),
        2 => (1u16..8).prop_map(Act::Post),
        1 => Just(Act::Step),
    ]
}

proptest! {
    #[test]
    fn every_posted_descriptor_is_done_once_and_in_order(
        acts in proptest::collection::vec(act(), 0..120),
    ) {
        let mut bench = Bench::new();
        bench.write(Reg::HLREG0, 0, bench.get(Reg::HLREG0) | 1 << 2);
        bench.write(Reg::MAXFRS, 0, 9018 << 16);
        bench.queue(0, ONE_BUFFER | 2);
        let (mut tail, mut head) = (0u16, 0u16);
        let mut sent: Vec<Vec<u8>> = Vec::new();
        let mut received: Vec<Vec<u8>> = vec![Vec::new()];

        for act in acts {
            match act {
                Act::Frame(len) => {
                    let mut frame = frame_to(OWN, len);
                    frame[20..28].copy_from_slice(&(sent.len() as u64).to_le_bytes());
                    bench.receive(&RxFrame::new(&frame));
                    sent.push(frame);
                }
                Act::Post(n) => {
                    for _ in 0..n.min(15 - (tail.wrapping_sub(head) & 15)) {
                        bench.post(0, tail, tail + 1);
                        tail = (tail + 1) & 15;
                    }
                }
                Act::Step => {
                    bench.step();
                }
            }
            for write in bench.bus.take_writes() {
                let n = (write.start - RING) / 16;
                if write.start >= BUFFERS {
                    let n = (write.start - BUFFERS) / BUFFER_LEN;
                    prop_assert!(write.end <= buffer(0, n) + 2048);
                    continue;
                }
                prop_assert_eq!(n, u64::from(head), "descriptors complete in ring order");
                prop_assert!(head != tail, "only posted descriptors complete");
                let done = bench.written_back(0, n);
                received.last_mut().unwrap().extend(bench.data(0, n));
                if done.status().contains(Status::EOP) {
                    received.push(Vec::new());
                }
                head = (head + 1) & 15;
            }
            prop_assert_eq!(bench.get(Reg::RDH), u32::from(head));
        }
        received.pop();
        prop_assert_eq!(&received[..], &sent[..received.len()]);
    }
}
