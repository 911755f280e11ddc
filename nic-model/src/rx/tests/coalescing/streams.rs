//! Streams of any shape: a reader that follows the descriptors as a driver does gets each of them in order.

use proptest::prelude::*;

use super::*;

/// What comes on the wire.
#[derive(Clone, Debug)]
enum Act {
    /// The next segment of a connection.
    Next {
        port: u16,
        len: usize,
        push: bool,
    },
    /// A segment that the receive side never sees.
    Lost {
        port: u16,
        len: usize,
    },
    Other(usize),
    Pass(u64),
}

fn act() -> impl Strategy<Value = Act> {
    let port = 0u16..3;
    prop_oneof![
        8 => (port.clone(), 7usize..1460, prop::bool::weighted(0.1))
            .prop_map(|(port, len, push)| Act::Next { port, len, push }),
        1 => (port, 1usize..1460).prop_map(|(port, len)| Act::Lost { port, len }),
        1 => (60usize..1514).prop_map(Act::Other),
        1 => (0..2 * INTERVAL_NANOS).prop_map(Act::Pass),
    ]
}

/// A packet that has begun.
#[derive(Default)]
struct Part {
    /// Where its pieces lie, and their lengths.
    pieces: Vec<(u64, usize)>,
    /// Packets on the wire that it is, by RSCCNT.
    count: usize,
}

/// A driver that reads a ring as drivers do: descriptors in order, the pieces of a packet chained by NEXTP. It looks
/// into a buffer only when the packet is complete, since the headers may change until then, and posts others instead.
#[derive(Default)]
struct Reader {
    next: u64,
    /// How often each descriptor was posted anew.
    generations: [usize; 16],
    /// Beginnings of packets, by the descriptor with which they go on.
    parts: std::collections::BTreeMap<u64, Part>,
    packets: Vec<Vec<u8>>,
    counted: usize,
}

impl Reader {
    fn read(&mut self, bench: &mut Bench) {
        while bench.status(self.next).contains(Status::DD) {
            let n = self.next;
            let slot = usize::try_from(n).unwrap();
            let mut part = self.parts.remove(&n).unwrap_or_default();
            let done = bench.written_back(0, n);
            let place = buffer(self.generations[slot], n);
            part.pieces.push((place, done.length.get().into()));
            let rsc = usize::from(bench.rsc_count(n));
            part.count += rsc.saturating_sub(1);
            if done.status().contains(Status::EOP) {
                let piece = |(at, len): &(u64, usize)| bench.bus.peek(*at, *len);
                self.packets
                    .push(part.pieces.iter().flat_map(piece).collect());
                self.counted += if rsc == 0 { 1 } else { part.count };
            } else {
                assert!(rsc > 0, "only large receives have several descriptors here");
                let next = u64::from(done.status().bits() >> 4 & 0xFFFF);
                assert!(self.parts.insert(next, part).is_none());
            }
            self.next = (n + 1) % 16;
            // So many that a large receive is complete before its first buffer comes again.
            self.generations[slot] = (self.generations[slot] + 1) % 32;
            self.post(bench, (n + 15) % 16);
        }
    }

    /// Gives the card the descriptor before the tail that it has then.
    fn post(&self, bench: &mut Bench, n: u64) {
        let slot = usize::try_from(n).unwrap();
        let place = buffer(self.generations[slot], n);
        bench.bus.poke(descriptor(0, n), &place.to_le_bytes());
        bench.bus.poke(descriptor(0, n) + 8, &[0; 8]);
        bench.write(Reg::RDT, 0, (u32::try_from(n).unwrap() + 1) % 16);
    }
}

proptest! {
    #[test]
    fn large_receives_carry_each_stream_in_order_and_count_its_packets(
        acts in proptest::collection::vec(act(), 0..150),
    ) {
        let mut bench = Bench::coalescing();
        let mut streams = [0, 1, 2].map(Stream::new);
        let mut sent = [(); 3].map(|()| Vec::new());
        let mut reader = Reader::default();
        let mut frames = 0;

        for act in acts {
            match act {
                Act::Next { port, len, push } => {
                    let stream = &mut streams[usize::from(port)];
                    stream.header.psh = push;
                    let seed = stream.header.sequence_number.to_le_bytes()[0];
                    let payload = bytes(seed, len);
                    sent[usize::from(port)].push((stream.header.sequence_number, payload.clone()));
                    let frame = stream.next(&payload);
                    bench.receive(&RxFrame::new(&frame));
                    frames += 1;
                }
                Act::Lost { port, len } => {
                    streams[usize::from(port)].next(&bytes(0, len));
                }
                Act::Other(len) => {
                    bench.receive(&RxFrame::new(&frame_to(OWN, len)));
                    frames += 1;
                }
                Act::Pass(nanos) => bench.now = bench.now.plus_nanos(nanos),
            }
            bench.step();
            reader.read(&mut bench);
        }
        for _ in 0..FLUSH {
            bench.end();
            reader.read(&mut bench);
        }

        prop_assert_eq!(reader.counted, frames);
        let mut received = [(); 3].map(|()| Vec::new());
        for packet in &reader.packets {
            let headers = etherparse::PacketHeaders::from_ethernet_slice(packet).unwrap();
            let (Some(etherparse::NetHeaders::Ipv4(ip, _)), Some(etherparse::TransportHeader::Tcp(tcp))) =
                (&headers.net, &headers.transport)
            else {
                continue;
            };
            let payload = headers.payload.slice();
            prop_assert_eq!(packet.len(), 14 + usize::from(ip.total_len));
            prop_assert_eq!(ip.header_checksum, ip.calc_header_checksum());
            prop_assert_eq!(tcp.checksum, tcp.calc_checksum_ipv4(ip, payload).unwrap());
            let stream = &mut received[usize::from(tcp.source_port)];
            for (at, byte) in payload.iter().enumerate() {
                let at = u32::try_from(at).unwrap();
                stream.push((tcp.sequence_number.wrapping_add(at), *byte));
            }
        }
        let sent = sent.map(|segments: Vec<(u32, Vec<u8>)>| {
            let numbered = |(first, payload): (u32, Vec<u8>)| {
                (0..).zip(payload).map(move |(at, byte)| (first.wrapping_add(at), byte))
            };
            segments.into_iter().flat_map(numbered).collect::<Vec<_>>()
        });
        prop_assert_eq!(received, sent);
    }
}
